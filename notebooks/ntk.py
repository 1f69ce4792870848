# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The neural tangent kernel
#
# Under gradient descent a network moves as $\dot\phi(x) = \frac{\eta}{|D|}\sum_a \Delta(x_a)\,\Theta(x, x_a)$ with the
# tangent kernel $\Theta(x, y) = \sum_i \partial_i\phi(x)\,\partial_i\phi(y)$. It depends on the draw of the parameters;
# as the width $N$ grows it becomes a fixed function. This notebook looks at how: the mean, the fluctuation, which is
# known exactly for one hidden layer, and the correction of order $1/N$ for two. Equation numbers are those of
# J. Halverson, arXiv:2408.00082, section 4.

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np

from nnft_mcmc import MLP, DenseNet
from nnft_mcmc.dynamics.empirical_kernel import tangent_kernel, tangent_kernel_blocks
from nnft_mcmc.dynamics.infinite_width import kernels
from nnft_mcmc.dynamics.kernel_estimates import draw_kernels
from nnft_mcmc.statistics import bonferroni_bound

jax.config.update("jax_enable_x64", True)

FALSE_ALARM = 1e-3  # of each of the comparisons below that stop the notebook
x = np.linspace(-2, 2, 41)[:, None]
CENTRE = 25  # x = 0.5

# %% [markdown]
# ## One network, two, and the limit
#
# Which parameters a kernel belongs to, and what each of them adds. Weights are measured in units of their standard
# deviation (coordinates "standardised"), so that the output weights by themselves give the covariance of the field.


# %%
def network(width):
    return MLP(dim=1, width=width, depth=3, activation="erf", weight_std=1.5, bias_std=0.3)


limit = kernels(network(1), x, coordinates="standardised")
readout = kernels(network(1), x, trained="readout", coordinates="standardised")
assert np.allclose(readout.ntk, limit.nngp)

figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.8), layout="constrained")
for width, colour in ((16, "#c2571a"), (128, "#3f8f4f"), (1024, "#1f5fa8")):
    for seed in range(3):
        theta = network(width).sample_parameters(jax.random.key(seed))
        row = tangent_kernel(network(width), theta, x[CENTRE : CENTRE + 1], x, coordinates="standardised")[0]
        left.plot(x[:, 0], row, lw=0.8, color=colour, label=f"N = {width}" if seed == 0 else None)
left.plot(x[:, 0], limit.ntk[CENTRE], "--", color="#222222", label="N = inf")
left.set(xlabel="x", ylabel=r"$\Theta(0.5, x)$", title="three draws at each width")
left.legend(frameon=False, fontsize=8)

wide = network(1024)
blocks = tangent_kernel_blocks(wide, wide.sample_parameters(jax.random.key(0)), x, coordinates="standardised")
for name, block in blocks.items():
    right.plot(x[:, 0], block[CENTRE], lw=1.2, label=name)
right.set(xlabel="x", ylabel=r"part of $\Theta(0.5, x)$", title="what each parameter adds, N = 1024")
right.legend(frameon=False, fontsize=7)
plt.show()

# %% [markdown]
# ## The fluctuation of one hidden layer, exactly
#
# With one hidden layer the kernel of the readout is an average over $N$ independent neurons, eq. (92). Its mean is the
# limit at every width, and its variance is that of one neuron over $N$,
#
# $$N\,\mathrm{Var}\,K(x, y) = s_1^4\bigl(\langle\sigma^2\sigma'^2\rangle - \langle\sigma\sigma'\rangle^2\bigr),$$
#
# a product of four activations of jointly Gaussian preactivations, which `nnft_mcmc` knows exactly.

# %%
POINTS = np.array([[-1.0], [0.3], [1.2]])
WIDTHS, DRAWS = (8, 32, 128, 512), 4000


def dense(width):
    return DenseNet(1, width, "erf", weight_std=1.5, bias_std=0.3)


covariance = 0.3**2 + 1.5**2 * POINTS @ POINTS.T
exact = np.empty((3, 3))
for i, j in np.ndindex(3, 3):
    four = covariance[np.ix_([i, i, j, j], [i, i, j, j])]
    mean = dense(1).sigma.expectation(covariance[i, i], covariance[j, j], covariance[i, j])
    exact[i, j] = dense(1).sigma.product(four) - mean**2

found = {
    width: draw_kernels(
        dense(width), jax.random.key(width), POINTS, None, DRAWS, trained="readout", coordinates="standardised"
    ).estimates()
    for width in WIDTHS
}
bound = bonferroni_bound(2 * len(WIDTHS) * 6, FALSE_ALARM, DRAWS - 1)
k = kernels(dense(1), POINTS).nngp
for width, estimates in found.items():
    z_mean = (estimates.ntk.value - k) / estimates.ntk.error
    z_variance = (width * estimates.variance.value - exact) / (width * estimates.variance.error)
    print(f"N = {width:4d}: largest |z| of the mean {abs(z_mean).max():.2f}, of N Var {abs(z_variance).max():.2f}")
    assert np.abs(z_mean).max() < bound, "the mean is not the limit"
    assert np.abs(z_variance).max() < bound, "the fluctuation is not that of one neuron"

figure, axis = plt.subplots(figsize=(5.6, 3.8), layout="constrained")
for (i, j), colour in (((0, 0), "#1f5fa8"), ((0, 1), "#c2571a"), ((1, 2), "#3f8f4f")):
    variance = np.array([found[width].variance.value[i, j] for width in WIDTHS])
    error = np.array([found[width].variance.error[i, j] for width in WIDTHS])
    label = f"x = {POINTS[i, 0]:g}, y = {POINTS[j, 0]:g}"
    axis.errorbar(WIDTHS, variance, error, fmt="o", ms=4, capsize=2, color=colour, label=label)
    axis.plot(WIDTHS, exact[i, j] / np.array(WIDTHS), "-", lw=1, color=colour)
axis.set(xscale="log", yscale="log", xlabel="N", ylabel="variance of K", title="lines: one neuron's variance over N")
axis.legend(frameon=False, fontsize=8)
plt.show()

# %% [markdown]
# ## All of it, at once
#
# `nnft ntk` does the same for the configuration of any architecture: means over draws against the limit, with the
# correction of order $1/N$ taken off by networks of half the width. The last comparison is with numbers that were
# computed once and for all: one hidden layer, $x = (1, 0)$, $y = (0.6, 0.8)$, erf, $\sigma_w = 1.5$, $\sigma_b = 0.1$.

# %%
pair = np.array([[1.0, 0.0], [0.6, 0.8]])
net = MLP(dim=2, width=256, weight_std=1.5, bias_std=0.1)
numbers = kernels(net, pair, coordinates="standardised")
assert np.allclose(numbers.nngp[0], [1.10906685, 0.62922402], atol=5e-9, rtol=0)
assert np.allclose(numbers.ntk[0], [2.49051191, 1.29014177], atol=5e-9, rtol=0)

drawn = draw_kernels(net, jax.random.key(7), pair, num_draws=2000, coordinates="standardised").estimates()
z = (drawn.ntk.value - numbers.ntk) / drawn.ntk.error
print(f"networks of 256: {drawn.ntk.value[0, 1]:.4f} +- {drawn.ntk.error[0, 1]:.4f}, limit {numbers.ntk[0, 1]:.4f}")
assert np.abs(z).max() < bonferroni_bound(3, FALSE_ALARM, 1999), "networks do not agree with infinite width"
