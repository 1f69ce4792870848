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
# # Feature learning and width scaling
#
# Which powers of the width $N$ keep preactivations finite, let predictions evolve and let features evolve? The
# section on feature learning of J. Halverson, *TASI lectures on physics for machine learning*, arXiv:2408.00082,
# equations (100) to (127), as linear algebra first and then as a measurement.

# %%
import jax

jax.config.update("jax_enable_x64", True)

import matplotlib.pyplot as plt
import numpy as np

from nnft_mcmc.architectures import MLP
from nnft_mcmc.architectures.layers import PARAMETRIZATIONS, preset
from nnft_mcmc.dynamics.constraints import DESIDERATA, breaches, solve
from nnft_mcmc.dynamics.data import Data
from nnft_mcmc.dynamics.scaling import ScalingSettings, sweep
from nnft_mcmc.dynamics.scaling_verdict import MET, judge
from nnft_mcmc.dynamics.signal_propagation import SignalPropagation, critical_line, critical_weight_std

# %% [markdown]
# ## The constraints
#
# The network is $z^{(l)} = N^{-a_l} W^{(l)} \sigma(z^{(l-1)})$, $\phi = z^{(L)}/(\gamma_0 N^d)$, with weights of
# variance $N^{-b_l}$ and the learning rate $\eta = \eta_0\gamma_0^2 N^{2d-c}$. Three desiderata leave one exponent
# free, a fourth, that $\eta$ does not depend on $N$, fixes it.

# %%
print(solve(depth=3), "\n")
print(solve(depth=3, names=DESIDERATA), "\n")
for name in PARAMETRIZATIONS:
    print(name, *breaches(preset(name, 3), DESIDERATA), sep="\n    ")

# %% [markdown]
# ## The coordinate check
#
# Independent networks of each width take three steps of gradient descent. Features move as much at every width in
# maximal update; in the parametrisation of the neural tangent kernel they freeze, and the kernel with them.

# %%
data = Data(np.array([[1.0, 1, 1, -1], [1, -1, -1, -1], [-1, 1, -1, 1]]), np.array([2.0, -2.0, 2.0]))
settings = ScalingSettings(widths=(64, 128, 256, 512), num_networks=200, steps=3)
found = {}
for name in ("maximal_update", "ntk"):
    network = MLP(4, 64, depth=2, parametrization=name)
    found[name] = judge(network, sweep(network, data, settings, seed=1), settings)

# %%
shown = ("phi_0", "dphi/dt", "change of z(1)", "change of Theta")
figure, panels = plt.subplots(1, 4, figsize=(13, 3.6), layout="constrained")
for axes, quantity in zip(panels, shown, strict=True):
    for name, scaling in found.items():
        (row,) = (r for r in scaling.rows if r.name == quantity)
        label = f"{name}: {row.exponent.value:.2f}({row.exponent.error:.2f})"
        axes.errorbar(settings.widths, row.log2, row.log2_error, fmt="o", ms=4, capsize=2, label=label)
        axes.plot(
            settings.widths, row.log2[-1] + row.predicted * np.log2(np.array(settings.widths) / 512), "k--", lw=0.8
        )
    axes.set_xscale("log", base=2)
    axes.set_title(quantity)
    axes.set_xlabel("N")
    axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.2))
panels[0].set_ylabel("log2")
plt.show()

# %% [markdown]
# ## Signal propagation
#
# Before training, and for $N \to \infty$, the variance $q$ and the correlation $c$ of two inputs obey a recursion
# in depth (arXiv:1611.01232). Its critical line separates the ordered phase, where all inputs become alike, from
# the chaotic one.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for name in ("tanh", "erf"):
    sw, sb = critical_line(name, np.linspace(0.0, 2.0, 60))
    left.plot(sb**2, sw**2, label=name)
left.set_xlabel("sb^2")
left.set_ylabel("sw^2")
left.set_title("chi_1 = 1: ordered below, chaotic above")
left.legend()
for sw2 in (1.2, 1.5, 1.7609, 2.2, 3.0):
    theory = SignalPropagation("tanh", sw2**0.5, 0.05**0.5)
    q = theory.fixed_point().q
    right.plot(theory.trajectory(q, q, 0.5, 40)[2], label=f"sw^2 = {sw2}")
right.set_xlabel("layer")
right.set_ylabel("c")
right.set_title("tanh, sb^2 = 0.05")
right.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# ## Against the exact exponents
#
# Every fitted exponent against power counting; the cell raises where one is at odds with it, where maximal update
# breaks a desideratum or the tangent kernel's parametrisation does not freeze its features, or where the critical
# point is missed.

# %%
for name, scaling in found.items():
    print(name)
    for row in scaling.rows:
        fitted = f"{row.exponent.value:8.3f} ± {row.exponent.error:.3f}"
        print(f"    {row.name:18s}{fitted}   exact {row.predicted:5.2f}   {row.verdict}")
    assert scaling.at_odds == ()
assert all(finding.verdict == MET for finding in found["maximal_update"].findings)
(broken,) = found["ntk"].broken
assert broken.desideratum.name == "features evolve in finite time"
assert abs(critical_weight_std("tanh", 0.05**0.5) ** 2 - 1.76) < 0.005
assert abs(critical_weight_std("relu", 0.0) ** 2 - 2.0) < 1e-12
