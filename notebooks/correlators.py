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
# # Interactions from finite width
#
# At infinite width a network is a Gaussian process; at finite width $N$ its connected correlators do not vanish, and in
# field theory that means interactions. Equation numbers are those of J. Halverson, arXiv:2408.00082, section 3.2 and
# appendix A.
#
# For $N$ i.i.d. neurons, $\phi = N^{-1/2} \sum_i \psi_i$, the connected functions are those of one neuron times a power
# of the width, (50)-(51) and (143),
#
# $$\langle\phi(x_1) \cdots \phi(x_n)\rangle_c = N^{1 - n/2}\, \langle\psi(x_1) \cdots \psi(x_n)\rangle_c ,$$
#
# and exact wherever the moments of one neuron are known.

# %%
import math

import jax
import matplotlib.pyplot as plt
import numpy as np

from nnft_mcmc import CosNet, DenseNet, EdgeworthAction, ScalarNet, cumulant_scaling, estimate_n_point, williams
from nnft_mcmc.exact import moments_from_cumulants
from nnft_mcmc.statistics import z_score

jax.config.update("jax_enable_x64", True)

BOUND = 4.5  # in units of the error: each comparison that stops the notebook does so by chance in under 1e-3 of runs
KEY = jax.random.key(4)


def check(name, value, error, exact):
    z = np.abs(z_score(value, error, exact))
    print(f"{name}: largest |z| of {z.size} is {z.max():.1f}")
    if z.max() > BOUND:
        raise RuntimeError(f"{name} misses the exact values by {z.max():.1f} errors")


# %% [markdown]
# ## Streaming against exact, at finite width
#
# A cos-net of width 3 at five points. Draws are summed in batches, and nothing of the size of the draws is kept. The
# estimates of connected functions are unbiased. Drawing single neurons in place of networks (Williams' technique,
# (36)-(40), made general) has no disconnected part to hide the signal: compare the errors.

# %%
net = CosNet(dim=1, width=3)
points = np.array([[0.0], [0.5], [1.0], [1.5], [2.0]])
tuples = [(0, 0, k, k) for k in range(5)] + [(0, 0, 0, k, k, k) for k in range(5)]
exact = np.array([float(net.n_point_connected(*points[list(t)])) for t in tuples])
networks = estimate_n_point(net, KEY, 200_000, tuples, points).cumulants
neurons = williams(net, KEY, 200_000, tuples, points)
for t, x, a, da, b, db in zip(tuples, exact, networks.value, networks.error, neurons.value, neurons.error, strict=True):
    print(f"{len(t)} points {t!s:20s} exact {x:+.5f}   networks {a:+.5f} ± {da:.5f}   neurons {b:+.5f} ± {db:.5f}")
check("networks", networks.value, networks.error, exact)
check("single neurons", neurons.value, neurons.error, exact)

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
t = np.linspace(0, 2, 61)[:, None]
zero = np.zeros(1)
for axis, order, title in zip(axes, (4, 6), ("$G_c^{(4)}(0,0,t,t)$", "$G_c^{(6)}(0,0,0,t,t,t)$"), strict=True):
    axis.plot(t, net.n_point_connected(*[zero] * (order // 2), *[t] * (order // 2)), "k-", lw=1, label="exact, $N = 3$")
    rows = slice(0, 5) if order == 4 else slice(5, 10)
    for found, shift, label in ((networks, -0.02, "networks"), (neurons, 0.02, "single neurons")):
        axis.errorbar(points[:, 0] + shift, found.value[rows], found.error[rows], fmt="o", ms=3, capsize=2, label=label)
    axis.axhline(0, color="#999999", lw=0.6)
    axis.set_title(title)
    axis.set_xlabel("$t$")
_ = axes[0].legend(frameon=False)

# %% [markdown]
# ## ReLU networks: two laws, and where the signal drowns
#
# One hidden layer of ReLU without biases, $d = 1$, $x > 0$ (arXiv:2008.08601).
# The four-point function is larger than its Gaussian value by the fraction $5/N$, the six-point function by
# $15/N + 44/N^2$; both are exact.
#
# The *background* of that paper is the error of the mean over the networks drawn. For $n$ draws the relative error of
# $\langle\phi^4\rangle$ is $\sqrt{(\langle\phi^8\rangle/\langle\phi^4\rangle^2 - 1)/n}$, and the eighth moment is exact
# too, so that the width at which signal and background cross is known before anything is drawn.

# %%
WIDTHS = (2, 5, 20, 100)
DRAWS = 100_000
x = np.array([0.7])


neuron = {n: float(DenseNet(1, 1, "relu").n_point_connected(*[x] * n)) for n in (2, 4, 6, 8)}
g = neuron[2]


def moment(width, order):
    """<phi(x)^order>, exact: kappa_n = N^(1 - n/2) that of one neuron."""
    return float(
        moments_from_cumulants(lambda block: width ** (1 - len(block) / 2) * neuron[len(block)], order, even=True)
    )


def background(width, draws):
    """Relative error of the mean of phi^4 over `draws` networks."""
    return math.sqrt((moment(width, 8) / moment(width, 4) ** 2 - 1) / draws)


signal, signal_error = {}, {}
for width in WIDTHS:
    k = estimate_n_point(
        DenseNet(1, width, "relu"), jax.random.fold_in(KEY, width), DRAWS, [(0, 0), (0,) * 4, (0,) * 6], x[None]
    ).cumulants

    def deviations(kappa):
        """<phi^4>/3G^2 - 1 and <phi^6>/15G^3 - 1, with the exact G."""
        four = kappa[..., 1] / (3 * g**2)
        return np.stack([four, 3 * four + kappa[..., 2] / (15 * g**3)], axis=-1)

    found = k.derived(deviations)
    signal[width], signal_error[width] = found.value, found.error
    law = np.array([5 / width, 15 / width + 44 / width**2])
    exact = [moment(width, 4) / (3 * g**2) - 1, moment(width, 6) / (15 * g**3) - 1]
    if np.abs(exact / law - 1).max() > 1e-9:
        raise RuntimeError(f"the exact correlators of width {width} break the law")
    z = (found.value - law) / found.error
    print(
        f"N = {width:3d}   4-pt {found.value[0]:.4f} ± {found.error[0]:.4f} (5/N = {law[0]:.4f})"
        f"   6-pt {found.value[1]:.4f} ± {found.error[1]:.4f} (law {law[1]:.4f})"
        f"   background of <phi^4> {background(width, DRAWS):.4f}"
    )
    if np.abs(z[0]) > BOUND:
        raise RuntimeError(f"the four-point function of width {width} misses 5/N by {abs(z[0]):.1f} errors")

# %%
candidates = np.unique(np.round(np.geomspace(2, 3_000, 80)).astype(int))
crossing = {}
for draws in (10_000, 100_000, 1_000_000):
    above = [n for n in candidates if 5 / n > background(int(n), draws)]
    crossing[draws] = int(max(above))
    print(f"{draws:8d} draws: the signal 5/N is above the background up to N of about {crossing[draws]}")

figure, axis = plt.subplots(figsize=(6, 3.6), layout="constrained")
axis.plot(candidates, 5 / candidates, "k-", lw=1, label="signal $5/N$")
for draws, colour in zip(crossing, plt.get_cmap("viridis")((0.1, 0.5, 0.8)), strict=True):
    noise = [background(int(n), draws) for n in candidates]
    axis.plot(candidates, noise, "--", lw=1, color=colour, label=f"background, {draws:,} draws")
    axis.plot(crossing[draws], 5 / crossing[draws], "o", ms=5, color=colour)
measured, errors = ([found[n][0] for n in WIDTHS] for found in (signal, signal_error))
axis.errorbar(WIDTHS, measured, errors, fmt="s", ms=4, capsize=2, color="#c2571a", label=f"measured, {DRAWS:,} draws")
axis.set_xscale("log")
axis.set_yscale("log")
axis.set_xlabel("$N$")
axis.set_title(r"ReLU: $\langle\phi^4\rangle$ above its Gaussian value")
_ = axis.legend(frameon=False)

# %% [markdown]
# For large $N$ the background is $\sqrt{(105/9 - 1)/n}$, that of a Gaussian, so the crossing is at
# $N = 5\sqrt{n}/3.27$: seeing $G_c^{(4)}$ of wide networks takes $n \propto N^2$ draws of networks. Single neurons need
# none of it: one estimate by `williams` serves every width.

# %%
for draws, width in crossing.items():
    if not 0.8 < width / (5 * math.sqrt(draws / (105 / 9 - 1))) < 1.05:
        raise RuntimeError(f"the crossing for {draws} draws is at N = {width}")
relu = williams(DenseNet(1, 100, "relu"), KEY, 200_000, [(0,) * 4], x[None])
check(
    "ReLU by single neurons at N = 2, 5, 20, 100",
    *(np.array([getattr(relu.at_width(n), what)[0] / (3 * g**2) for n in WIDTHS]) for what in ("value", "error")),
    5 / np.array(WIDTHS),
)

# %% [markdown]
# ## The central limit theorem
#
# Cumulants of $\phi(x)$ fall as $\kappa_r \propto N^{1 - r/2}$, (143), for every law of a neuron. Here the lectures'
# scalar-net, (72), whose single neuron has a large kurtosis: measured at four widths, with the exponent of a fit.

# %%
clt = cumulant_scaling(
    lambda n: ScalarNet(1, n, mass=1.0, cutoff=5.0, alpha=-1.0),
    (1, 2, 4, 8),
    KEY,
    [0.0],
    num_draws=100_000,
    orders=(2, 4),
)
figure, axis = plt.subplots(figsize=(5, 3.4), layout="constrained")
for r, colour in zip(range(2), ("#1f5fa8", "#c2571a"), strict=True):
    axis.errorbar(clt.widths, clt.value[r], clt.error[r], fmt="o", ms=4, capsize=2, color=colour)
    axis.plot(clt.widths, clt.exact[r], "-", lw=1, color=colour, label=rf"$\kappa_{clt.orders[r]}$")
    print(
        f"kappa_{clt.orders[r]}: exponent {clt.exponent[r]:+.3f} ± {clt.exponent_error[r]:.3f},"
        f" exactly {clt.expected[r]:+.0f}"
    )
axis.set_xscale("log")
axis.set_yscale("log")
axis.set_xticks(clt.widths, [str(n) for n in clt.widths])
axis.minorticks_off()
axis.set_xlabel("$N$")
_ = axis.legend(frameon=False)
check("cumulants", clt.value.ravel(), clt.error.ravel(), clt.exact.ravel())
check("exponents", clt.exponent, clt.exponent_error, clt.expected)

# %% [markdown]
# ## The action from the correlators
#
# Given $G$ and $G_c^{(4)} = O(1/N)$ on a few points, the density of the field is to first order $e^{-S}$ with
#
# $$S = \tfrac12 \phi\,(G^{-1} + \tfrac12 Q)\,\phi + \tfrac1{4!} \lambda_4\, \phi\phi\phi\phi, \qquad
# \lambda_4 = - G^{-1} G^{-1} G^{-1} G^{-1} G_c^{(4)},$$
#
# the Edgeworth expansion (Demirtas et al., arXiv:2307.03223). (42) is its first term, with the factor 1/2 restored. The
# quadratic shift $Q$ is of the same order as $\lambda_4$. A positive kurtosis, as that of cos-net, makes
# $\lambda_4 < 0$: at one point $\lambda_4 = -6/(N \sigma_{w_1}^4)$.
#
# Do these couplings give the correlators back? By Wick's theorem they do to first order, and the expanded density has
# them exactly. The density at one point is compared with that of the draws: the Gaussian is off by $O(1/N)$, the
# Edgeworth density by $O(1/N^2)$.

# %%
three = np.array([[0.0], [1.0], [2.2]])
net = CosNet(dim=1, width=20)
action = EdgeworthAction.from_functions(net.two_point, net.four_point_connected, three)
back = action.correlators_to_first_order()
gc4 = net.four_point_connected(*(three[i] for i in np.ix_(*[range(3)] * 4)))
errors = [np.abs(back.two_point - action.covariance).max(), np.abs(back.four_point_connected - gc4).max()]
one_point = EdgeworthAction.from_functions(net.two_point, net.four_point_connected, three[:1])
print(f"lambda4 at one point {one_point.lambda4.item():.6f}, -6/N = {-6 / 20:.6f}")
print(f"correlators of exp(-S) to first order against G and Gc4: {errors[0]:.1e}, {errors[1]:.1e}")
if max(errors) > 1e-10 or abs(one_point.lambda4.item() + 6 / 20) > 1e-10:
    raise RuntimeError("the action does not reproduce its correlators")

# %%
# Histogram of phi(0) of width 8 over the Gaussian, and the Edgeworth factor 1 + Gc4 H4/4!.
net = CosNet(dim=1, width=8)
action = EdgeworthAction.from_functions(net.two_point, net.four_point_connected, three[:1])
theta = jax.vmap(net.sample_parameters)(jax.random.split(KEY, 200_000))
phi = np.asarray(jax.vmap(lambda t: net(t, three[0]))(theta))
std = math.sqrt(action.covariance.item())
edges = std * np.linspace(-3, 3, 25)
middle = (edges[1:] + edges[:-1]) / 2
fine = np.linspace(edges[0], edges[-1], 24 * 50 + 1)
fine = (fine[1:] + fine[:-1]) / 2
normal = np.exp(-(fine**2) / (2 * std**2)) / (std * math.sqrt(2 * math.pi)) * (fine[1] - fine[0])
gaussian = normal.reshape(24, 50).sum(axis=1)
edgeworth = (normal * action.density_ratio(fine[:, None])).reshape(24, 50).sum(axis=1)
count = np.histogram(phi, edges)[0] / len(phi)
error = np.sqrt(count / len(phi))
figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
axis.errorbar(middle / std, count / gaussian, error / gaussian, fmt="o", ms=3, color="#1f5fa8", label="draws, $N = 8$")
axis.plot(middle / std, edgeworth / gaussian, "-", color="#c2571a", lw=1.2, label="Edgeworth")
axis.axhline(1, color="#222222", lw=0.8, label="Gaussian")
axis.set_xlabel(r"$\phi/\sigma$")
axis.set_title("density over that of the Gaussian limit")
_ = axis.legend(frameon=False)
misses = {name: float(np.sum(np.abs(count - p))) for name, p in (("Gaussian", gaussian), ("Edgeworth", edgeworth))}
print("sum of |density - draws|: " + ", ".join(f"{name} {miss:.4f}" for name, miss in misses.items()))
if misses["Edgeworth"] > 0.5 * misses["Gaussian"]:
    raise RuntimeError("the Edgeworth density is no better than the Gaussian")
