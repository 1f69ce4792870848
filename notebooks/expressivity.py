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
# # What can a network approximate?
#
# The universal approximation theorem as code: a network of sigmoids for $\sin x$ with a guaranteed bound, made of bumps
# as in Fig. 1 of the lectures; a network that is *not* universal, and the distance that it keeps; and the rate
# $N^{-1/2}$ of Barron, whose constant is known exactly when the neurons are drawn from the function's own spectrum.

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np

from nnft_mcmc import AdditiveNet, DenseNet
from nnft_mcmc.expressivity import fourier_sampling
from nnft_mcmc.expressivity.approximation import Hoelder
from nnft_mcmc.expressivity.bumps import bumps, width_within
from nnft_mcmc.expressivity.curves import Curve, fourier_draws
from nnft_mcmc.expressivity.floors import additive_floor
from nnft_mcmc.expressivity.least_squares import least_squares
from nnft_mcmc.expressivity.nodes import gauss_legendre
from nnft_mcmc.expressivity.problem import of_target
from nnft_mcmc.expressivity.targets import target
from nnft_mcmc.statistics import bonferroni_bound

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## Bumps
#
# Two steep sigmoids are a bump; bumps as high as $f$ at the middles of $N$ cells add up to $f$. The network is
# $\phi(x) = f(c_0) + \sum_k (f(c_k) - f(c_{k-1}))\,\sigma(s(x - t_k))$, a `DenseNet` of $N$ neurons, and for a function
# of modulus of continuity $\omega$
#
# $$\sup |\phi - f| \le \omega\!\left(\tfrac h2 + \tfrac{2 \ln 2}{s}\right),$$
#
# because a sigmoid is the distribution function of the logistic law, whose mean modulus is $2 \ln 2$.

# %%
of = target("sin")
interval = (of.lower[0], of.upper[0])
x = np.linspace(*interval, 4001)[:, None]

figure, panels = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained")
coarse = bumps(of.f, interval, of.modulus, 12)
theta = coarse.theta
edges = -theta["biases"][1:] / theta["weights"][1:, 0]
rises = 1 / (1 + np.exp(-np.clip(theta["weights"][1:, 0] * (x - edges), -500, 500)))
indicators = -np.diff(np.concatenate([np.ones_like(x), rises, np.zeros_like(x)], axis=1), axis=1)
heights = np.concatenate([[theta["amplitudes"][0] / 2], theta["amplitudes"][1:]]).cumsum()
panels[0].plot(x, indicators * heights, color="#9db8d9", lw=0.8)
panels[0].plot(x, coarse(x), color="#1f5fa8", label="12 neurons")
panels[0].plot(x, of.f(x), color="#222222", lw=1, label="sin x")
panels[0].set_xlabel("x")
panels[0].legend(frameon=False)

widths = np.array([2, 4, 8, 16, 32, 64, 128])
built = [bumps(of.f, interval, of.modulus, int(n)) for n in widths]
errors = np.array([np.abs(b(x) - of.f(x)).max() for b in built])
bounds = np.array([b.bound for b in built])
panels[1].loglog(widths, errors, "o", color="#1f5fa8", label="sup-norm of the error")
panels[1].loglog(widths, bounds, "--", color="#c2571a", label="bound")
panels[1].set_xlabel("neurons N")
panels[1].legend(frameon=False)
plt.show()

assert (errors <= bounds).all()
print(f"an error of 0.01 is guaranteed with {width_within(interval, Hoelder(1.0), 0.01)} neurons")

# %% [markdown]
# ## A network that is not universal
#
# The lectures' eq. (21) has the sum over the components of $x$ outside of $\sigma$: a sum of functions of one variable.
# However wide, it keeps the distance of $f$ to all of these, which is the interaction of the analysis of variance. For
# $f = e^{\sin \pi x + y^2}$ on a square that is a number by quadrature. Least squares for the output weights of random
# features, at the same quadrature nodes, go there and no further; with the sum inside of $\sigma$ they go on.

# %%
of = target("exp_sin")
ORDER = 10
nodes = gauss_legendre(of.lower, of.upper, ORDER)
floor = additive_floor(of.f, of.lower, of.upper, ORDER)
print(f"distance of f to the additive functions: {floor:.10f}")
print("   N   additive      dense")
for width in (4, 16, 64, 256):
    networks = (AdditiveNet(2, width, "tanh", 12.0, 6.0), DenseNet(2, width, "tanh", 12.0, 6.0))
    found = [
        least_squares(net, net.sample_parameters(jax.random.key(1)), nodes, of.f(nodes.points)).rms for net in networks
    ]
    print(f"{width:4d}   {found[0]:.10f}  {found[1]:.3e}")
    stalled = found[0]
assert abs(stalled / floor - 1) < 1e-10

# %% [markdown]
# ## Barron's rate, with its constant
#
# Where $f(x) = \langle \cos w\cdot x\rangle$ over momenta of density $P$, draw $N$ of them:
# $\phi = \frac1N \sum_i \cos w_i \cdot x$. Then, exactly and at every $N$,
#
# $$\langle (\phi - f)^2 \rangle = \frac1N\left[\frac{1 + f(2x)}{2} - f(x)^2\right].$$
#
# A Gaussian in two dimensions, 100 draws at each of seven widths, against this formula:

# %%
of = target("gaussian", [-2.0, -2.0], [2.0, 2.0])
problem = of_target(of, 12)
NUM_DRAWS = 100
widths = [2**k for k in range(1, 8)]
keys = jax.random.split(jax.random.key(7), len(widths))
points = [fourier_draws(of, problem, n, key, NUM_DRAWS) for n, key in zip(widths, keys, strict=True)]
curve = Curve("gaussian", "fourier_sampling", tuple(points))
rms, error = curve.summary("rms")
exact = np.array([fourier_sampling.rms_error(of.spectrum, of.lower, of.upper, n) for n in widths])

figure, axes = plt.subplots(figsize=(5.5, 3.8), layout="constrained")
axes.errorbar(widths, rms, error, fmt="o", ms=4, capsize=2, color="#1f5fa8", label="measured")
axes.plot(widths, exact, color="#222222", lw=1, label="exact")
axes.set_xscale("log", base=2)
axes.set_yscale("log")
axes.set_xlabel("neurons N")
axes.set_ylabel("L2 error")
axes.legend(frameon=False)
plt.show()

# %%
z = (rms - exact) / error
rate = curve.rate("rms")
print("   N   measured      exact       z")
for n, value, spread, truth, score in zip(widths, rms, error, exact, z, strict=True):
    print(f"{n:4d}   {value:.4f} +- {spread:.4f}   {truth:.4f}   {score:5.2f}")
print(f"fitted exponent {rate.value:.3f} +- {rate.error:.3f}; Barron: -1/2")
# Eight comparisons with a false alarm of 1e-3 together; Student's t, because the errors are those of 100 draws.
bound = bonferroni_bound(len(z) + 1, 1e-3, NUM_DRAWS - 1)
assert np.abs(z).max() < bound
assert abs(rate.value + 0.5) < bound * rate.error
