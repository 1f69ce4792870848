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
# # Every network of the lectures
#
# A field theory is a network $\phi_\theta(x)$ with a density $P(\theta)$ on its parameters. Equation numbers are those
# of J. Halverson, *TASI lectures on physics for machine learning*, arXiv:2408.00082, sections 3 and 4.3.
#
# This notebook writes each network in one line, draws sample fields, and holds the two-point function of the draws
# against its exact value where the network knows it at finite width, and against the kernel of the infinite-width
# limit where only that is known. It ends with the large-$N$ duality of gauss-net and cos-net.

# %%
import math

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import numpyro.distributions as dist

from nnft_mcmc import (
    MLP,
    CallableNet,
    ConvNet,
    CosNet,
    CubeNet,
    DeepEuclideanNet,
    DenseNet,
    Ensemble,
    EquivariantNet,
    EuclideanNet,
    GaussNet,
    InfiniteWidth,
    Lattice,
    LatticeModes,
    LinearAttention,
    MaternNet,
    ScalarNet,
    SiteField,
    SoftmaxAttention,
    StratifiedNet,
    TwoQuadratureNet,
    VectorNet,
    estimate_momentum_n_point,
    estimate_n_point,
    momentum_two_point,
)
from nnft_mcmc.architectures import ExactCorrelators
from nnft_mcmc.statistics import z_score

jax.config.update("jax_enable_x64", True)

FALSE_ALARM = 1e-3  # of each of the comparisons below that stop the notebook
N = 50
KEY = jax.random.key(2)

# %% [markdown]
# ## One line each
#
# * **Single layer.** Gauss-net (60)-(61), cos-net (68)-(69), scalar-net (72)-(73): `alpha = -1` is the lectures' choice
#   of uniform momenta, `alpha = 0` draws the momenta from the propagator. Erf, ReLU and tanh networks (32).
# * **Euclidean-invariant nets (65)-(67)** with any momentum density and amplitude $F$. Spectrum shaping: $G(p) =
#   (2\pi)^d \frac{\mu_2}{2} F(p)^2 P(p)$, so a net can be had for any propagator. Uniform momenta in a *cube* are the
#   counterexample: translations hold, rotations do not.
# * **Deep**: (100)-(105) with the width exponents $(a, b, c, d)$; on a Euclidean input layer (65); convolutions with
#   $N$ channels; attention with $N$ heads.
# * **Lattice**: the Gaussian process itself, (41), and free lattice field theory in modes and in site values.

# %%
line = Lattice([33], 0.25)  # -4 .. 4
ring = Lattice([32], 0.25, "torus")
single_layer = {
    "gauss-net (60)": GaussNet(dim=1, width=N, weight_std=0.5, bias_std=0.2),
    "cos-net (68)": CosNet(dim=1, width=N),
    "scalar-net (72), alpha = -1": ScalarNet(dim=1, width=N, mass=1.0, cutoff=10.0, alpha=-1.0),
    "Cauchy-cos-net, alpha = 0": ScalarNet(dim=1, width=N, mass=1.0, cutoff=math.inf),
    "Matern, (p^2+m^2)^-2": MaternNet(dim=1, width=N, mass=1.0, power=2.0),
    "shaped, G = 1/(1+p^4)": EuclideanNet.from_propagator(1, N, lambda p: 1 / (1 + p**4), cutoff=20.0),
    "two quadratures": TwoQuadratureNet(ScalarNet(1, N, mass=1.0, cutoff=math.inf)),
    "stratified momenta": StratifiedNet(ScalarNet(1, N, mass=1.0, cutoff=math.inf)),
    "cube": CubeNet(dim=1, width=N, cutoff=3.0),
    "erf (32)": DenseNet(dim=1, width=N, activation="erf", weight_std=2.0, bias_std=1.0),
    "ReLU (32)": DenseNet(dim=1, width=N, activation="relu", bias_std=0.5),
    "tanh (32)": DenseNet(dim=1, width=N, activation="tanh", weight_std=2.0, bias_std=1.0),
}
deep = {
    "MLP, 3 layers (100)": MLP(dim=1, width=N, depth=3, activation="erf", weight_std=1.5, bias_std=0.3),
    "MLP, maximal update": MLP(dim=1, width=N, depth=3, parametrization="maximal_update", bias_std=0.3),
    "deep Euclidean (65)": DeepEuclideanNet(CosNet(dim=1, width=N), depth=3),
    "callable": CallableNet(
        lambda theta, x: jnp.dot(theta["a"], jnp.tanh(theta["w"] * x[0])) / math.sqrt(N),
        {"w": dist.Normal(0.0, 1.0).expand((N,)), "a": dist.Normal(0.0, 1.0).expand((N,))},
        dim=1,
    ),
}
on_lattice = {
    "infinite width (41)": InfiniteWidth(CosNet(dim=1, width=1), line),
    "lattice modes": LatticeModes(ring, mass=1.0),
    "site field": SiteField(ring, mass=1.0),
}
inputs_of_four = {
    "convolution": ConvNet(dim=4, width=N, filter_size=3),
    "linear attention": LinearAttention(tokens=2, features=2, width=N),
    "softmax attention": SoftmaxAttention(tokens=2, features=2, width=N),
}
vectors = {"O(2) outputs": VectorNet(CosNet(2, N), 2), "equivariant (53)": EquivariantNet(2, CosNet(1, N))}

# %% [markdown]
# ## Sample fields
#
# Three draws of each on the same line. A typical gauss-net dies off away from the origin, while
# $\langle\phi^2\rangle$ is the same everywhere, (62): rare networks are large there. The scalar-nets without cut-off
# have the roughness of a free field, which in $d = 1$ is that of a random walk. Lattice modes and site values are two
# parametrisations of one theory; from one key they give the same fields.

# %%
drawn = {**single_layer, **deep, **on_lattice}
figure, axes = plt.subplots(4, 5, figsize=(13, 8), sharex=False, layout="constrained")
for axis, (name, net) in zip(axes.flat, drawn.items(), strict=False):
    where = ring if isinstance(net, (LatticeModes, SiteField)) else line
    ensemble = Ensemble(net, where)
    fields = [ensemble.field(net.sample_parameters(key)) for key in jax.random.split(KEY, 3)]
    axis.plot(where.axis(0), np.asarray(fields).T, lw=1)
    axis.set_title(name, fontsize=9)
for axis in axes.flat[len(drawn) :]:
    axis.axis("off")

# %% [markdown]
# ## Two-point functions: exact at finite width
#
# For i.i.d. neurons $G^{(2)}$ is the same at every $N$ (39). Each row draws 10,000 networks. The largest of three
# deviations, in units of its error, must stay below 4.6: over all rows together that happens by chance in fewer than
# one run in a thousand. A connected function would be the same test of finite width; it is that of the notebook
# `correlators.py`.

# %%
BOUND = 4.6
NUM_DRAWS = 10_000
PAIRS = [(0, 0), (0, 1), (0, 2)]


def compare(name, net, points, exact):
    """G of the draws at pairs of the points against the exact values; the largest |z|."""
    found = estimate_n_point(net, KEY, NUM_DRAWS, PAIRS, points).cumulants
    z = z_score(found.value, found.error, exact)
    cells = "  ".join(f"{v:8.4f} ± {e:.4f} ({x:8.4f})" for v, e, x in zip(found.value, found.error, exact, strict=True))
    print(f"{name:28s} {cells}   |z| < {np.abs(z).max():.1f}")
    if np.abs(z).max() > BOUND:
        raise RuntimeError(f"{name} misses its two-point function by {np.abs(z).max():.1f} errors")


print(f"{'':28s} G(0, 0) (exact)               G(0, 0.5)                     G(0, 1)")
for name, net in {**single_layer, **on_lattice}.items():
    x = np.array([[0.0], [0.5], [1.0]])
    compare(name, net, x, [float(net.two_point(x[i], x[j])) for i, j in PAIRS])

# %% [markdown]
# ## Two-point functions: the infinite-width kernel
#
# Deep networks know their kernel only as $N \to \infty$ (34)-(39); at width $N$ the two-point function of the draws
# may differ by terms of order $1/N$. For one hidden layer, and for one layer of attention, the kernel is exact at every
# $N$. That of softmax attention is an average over one head by Monte Carlo, with an error. Asked for correlators at
# finite width, a deep network says what it lacks.

# %%
four = np.array([[0.5, -0.2, 0.8, 0.1], [0.4, 0.1, 0.6, -0.3], [-0.6, 0.9, 0.2, 0.4]])


def compare_limit(name, net, points):
    found = estimate_n_point(net, KEY, NUM_DRAWS // 2, PAIRS, points).cumulants
    i, j = np.array(PAIRS).T
    if hasattr(net, "infinite_width_kernel"):
        kernel, kernel_error = net.infinite_width_kernel(points[i], points[j]), 0.0
    else:
        kernel, kernel_error = net.estimate_kernel(jax.random.key(3), points[i], points[j], 20_000)
    size = math.sqrt(kernel[0] * kernel.max())
    allowed = BOUND * np.hypot(found.error, kernel_error) + size / N  # the terms of order 1/N
    print(
        f"{name:24s} "
        + "  ".join(f"{v:8.4f} ± {e:.4f} ({k:8.4f})" for v, e, k in zip(found.value, found.error, kernel, strict=True))
    )
    if (np.abs(found.value - kernel) > allowed).any():
        raise RuntimeError(f"{name} misses its infinite-width kernel")


line_points = np.array([[0.3], [0.8], [-1.0]])
for name in ("MLP, 3 layers (100)", "MLP, maximal update", "deep Euclidean (65)"):
    compare_limit(name, deep[name], line_points)
for name, net in inputs_of_four.items():
    compare_limit(name, net, four)
try:
    deep["MLP, 3 layers (100)"].two_point(line_points[0], line_points[1])
except AttributeError as missing:
    print(missing)

# %% [markdown]
# ## Momentum space
#
# The scalar-net is a free field, (74): $G(p) = 1/(p^2 + m^2)$ at every width. A box of length $L$ sees it smeared over
# $2\pi/L$ and folded into $|p| < \pi/a$, which is known exactly too (`momentum_two_point`); on a torus, where momentum
# is conserved, the lattice field has $1/(\hat p^2 + m^2)$.

# %%
free = Ensemble(single_layer["Cauchy-cos-net, alpha = 0"], line)
box = estimate_momentum_n_point(free, KEY, 10_000).cumulants
torus = estimate_momentum_n_point(Ensemble(on_lattice["site field"], ring), KEY, 10_000).cumulants
half = slice(0, 16)
p_box = 2 * math.pi * np.arange(33) / (33 * 0.25)
p_ring = 2 * math.pi * np.arange(32) / (32 * 0.25)
exact_box = momentum_two_point(free.architecture, line)
exact_torus = on_lattice["site field"].propagator(p_ring[:, None])
figure, axis = plt.subplots(figsize=(6, 3.6), layout="constrained")
p = np.linspace(0, 12, 200)
axis.plot(p, free.architecture.propagator(p[:, None]), "k-", lw=1, label="$1/(p^2+m^2)$")
axis.plot(p_box[half], exact_box[half], "-", color="#c2571a", lw=1, label="box, exact")
axis.errorbar(p_box[half], box.value[half], box.error[half], fmt="o", ms=3, color="#c2571a", label="Cauchy-cos-net")
axis.plot(p_ring[half], exact_torus[half], "-", color="#1f5fa8", lw=1, label=r"torus, $1/(\hat p^2+m^2)$")
axis.errorbar(p_ring[half], torus.value[half], torus.error[half], fmt="s", ms=3, color="#1f5fa8", label="site field")
axis.set_yscale("log")
axis.set_xlabel("$p$")
axis.set_ylabel("$G(p)$")
_ = axis.legend(frameon=False)

# %%
for name, found, exact in (("box", box, exact_box), ("torus", torus, exact_torus)):
    z = np.abs(z_score(found.value, found.error, exact)).max()
    print(f"G(p), {name}: largest |z| of {exact.size} is {z:.1f}")
    if z > BOUND:
        raise RuntimeError(f"G(p) of the {name} misses its exact value by {z:.1f} errors")

# %% [markdown]
# ## Large-$N$ duality of gauss-net and cos-net
#
# The two have the same two-point function, (62) and (70), at every width, so as $N \to \infty$ they are the same
# Gaussian process. At finite $N$ their connected four-point functions (64) and (71) differ: both fall as $1/N$, with
# different coefficients, and gauss-net's grows away from the origin. Lines are exact; points are draws at the origin.

# %%
widths = np.array([1, 2, 4])
makers = {
    "gauss-net": lambda n: GaussNet(1, int(n), weight_std=1.0, bias_std=0.2),
    "cos-net": lambda n: CosNet(1, int(n), weight_std=1.0),
}
figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
r = np.linspace(-3, 3, 61)[:, None]
for (name, make), colour in zip(makers.items(), ("#c2571a", "#1f5fa8"), strict=True):
    axes[0].plot(r, make(4).two_point(r, np.zeros(1)), "--" if name == "cos-net" else "-", color=colour, label=name)
    exact = np.array([float(make(n).four_point_connected(*np.zeros((4, 1)))) for n in widths])
    found = [estimate_n_point(make(n), KEY, 50_000, [(0, 0, 0, 0)], np.zeros((1, 1))).cumulants for n in widths]
    value, error = (np.array([getattr(f, what)[0] for f in found]) for what in ("value", "error"))
    axes[1].plot(widths, exact, "-", color=colour, lw=1)
    axes[1].errorbar(widths, value, error, fmt="o", ms=4, capsize=2, color=colour, label=name)
    z = (value - exact) / error
    print(
        f"{name:10s} N Gc4(0,0,0,0) is {widths[0] * exact[0]:.4f} at every N; |z| of the draws < {np.abs(z).max():.1f}"
    )
    if np.abs(z).max() > BOUND or np.ptp(widths * exact) > 1e-10:
        raise RuntimeError(f"{name} misses its four-point function")
axes[0].set_title("$G(x, 0)$: the same function")
axes[0].legend(frameon=False)
axes[1].set_xscale("log")
axes[1].set_yscale("log")
axes[1].set_xticks(widths, [str(n) for n in widths])
axes[1].minorticks_off()
axes[1].set_xlabel("$N$")
axes[1].set_title("$G_c^{(4)}$ at one point, $\\propto 1/N$")
_ = axes[1].legend(frameon=False)
difference = np.abs(
    makers["gauss-net"](4).two_point(r, r.T[..., None]) - makers["cos-net"](4).two_point(r, r.T[..., None])
)
print(f"largest difference of the two-point functions: {difference.max():.1e}")
if difference.max() > 1e-12 or not isinstance(makers["gauss-net"](4), ExactCorrelators):
    raise RuntimeError("gauss-net and cos-net are not dual")
