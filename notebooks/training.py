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
# # Training that is solved exactly
#
# A network starts at a draw of its parameters and follows the gradient of the loss
# $\frac{1}{|D|}\sum_a\frac12(\phi(x_a)-y_a)^2$. At infinite width its tangent kernel $\Theta$ stays what it was, the
# equation is linear, and the whole ensemble of trained networks is known at every time. Equation numbers are those of
# J. Halverson, arXiv:2408.00082, section 4.
#
# $$\phi_t(x) = \phi_0(x) + A_t(x)\,(y - \phi_0(X)), \qquad
#   A_t(x) = \Theta(x, X)\,\Theta^{-1}\bigl(1 - e^{-\eta\Theta t/|D|}\bigr) .$$
#
# That is (96) without its prefactor $1/|D|$ and with $|D|$ in the exponent; for gradient descent the exponential is the
# power $(1 - \eta\Theta/|D|)^t$.

# %%
import time

import jax
import matplotlib.pyplot as plt
import numpy as np
from scipy.linalg import expm

from nnft_mcmc import MLP
from nnft_mcmc.dynamics.data import Data
from nnft_mcmc.dynamics.infinite_width import kernels
from nnft_mcmc.dynamics.optimizers import EnergyConservingDescent, GradientDescent, GradientFlow
from nnft_mcmc.dynamics.solved_model import KernelsAt, SolvedModel
from nnft_mcmc.dynamics.task import Nonlinear
from nnft_mcmc.dynamics.training import Training, train
from nnft_mcmc.statistics import bonferroni_bound, hotelling_of_independent, z_score
from nnft_mcmc.statistics.joint_cumulants import joint_cumulants

jax.config.update("jax_enable_x64", True)

ETA, WIDTH, NETWORKS = 0.5, 512, 500
inputs = np.linspace(-1, 1, 4)[:, None]
data = Data(inputs, np.sin(2 * inputs[:, 0]))
points = np.linspace(-1.5, 1.5, 10)[:, None]
times = [0, 2, 8, 32, 128]


def network(width):
    return MLP(dim=1, width=width, activation="erf", weight_std=1.5, bias_std=0.3)


# %% [markdown]
# ## The exact band
#
# One factorisation of $\Theta(X, X)$ gives the mean $\mu_t$ and the covariance
# $C_t = K + A_t K A_t^T - A_t K - K A_t^T$ over initialisations at all times, infinity included.

# %%
limit = network(1)  # kernels in the NTK parametrisation do not depend on the width
on_data, cross, among = kernels(limit, inputs), kernels(limit, points, inputs), kernels(limit, points)
model = SolvedModel(data.targets, on_data.ntk, GradientDescent(ETA), ETA, on_data.nngp)
exact = model.predict(KernelsAt(cross.ntk, cross.nngp, among.nngp), [*times, np.inf])
print("condition number at t = infinity:", f"{exact.condition[-1]:.3g}", " jitter:", exact.jitter)
print("stable for eta below", f"{2 * len(data) / model.spectrum[0][-1]:.4f}")

# %% [markdown]
# ## Real networks

# %%
began = time.monotonic()
training = Training(Nonlinear(network(WIDTH)), data, GradientDescent(ETA), times, points, NETWORKS)
ensemble = train(training, jax.random.key(3))
print(f"{NETWORKS} networks of width {WIDTH}, {times[-1]} steps: {time.monotonic() - began:.1f} s")

fine = np.linspace(-1.8, 1.8, 121)[:, None]
at_fine = KernelsAt(kernels(limit, fine, inputs).ntk, kernels(limit, fine, inputs).nngp, kernels(limit, fine).nngp)
band = model.predict(at_fine, times)
figure, panels = plt.subplots(1, 4, figsize=(13, 3.2), layout="constrained")
for axes, k in zip(panels, (0, 1, 2, 4), strict=True):
    low, high = band.band()
    axes.fill_between(fine[:, 0], low[k], high[k], color="0.85", lw=0, label="exact, mean ± 2 std")
    axes.plot(fine[:, 0], band.mean[k], color="black", lw=1)
    fields = ensemble.fields[:, k]
    axes.errorbar(points[:, 0], fields.mean(axis=0), 2 * fields.std(axis=0), fmt="o", ms=3, capsize=2, label="networks")
    axes.plot(inputs[:, 0], data.targets, "x", color="tab:red", label="data")
    axes.set_title(f"step {times[k]}")
    axes.set_xlabel("$x$")
panels[0].set_ylabel(r"$\phi_t(x)$")
panels[3].legend(frameon=False, fontsize=8)
plt.show()

# %% [markdown]
# ## Are they the same?
#
# Every mean and every covariance between two of the ten points, at every time, with the error of independent networks.
# What is printed in (96) is held against the same numbers.


# %%
upper = np.triu_indices(len(points))
flat = ensemble.fields.reshape(NETWORKS, -1)
pairs = [(10 * k + i, 10 * k + j) for k in range(len(times)) for i, j in zip(*upper, strict=True)]
found_mean = joint_cumulants(flat, [(i,) for i in range(flat.shape[1])])
found_covariance = joint_cumulants(flat, pairs)


def largest(found, reference):
    """The largest |z|, and the bound that a correct reference exceeds in one of 10,000 cases."""
    return np.abs(z_score(found.value, found.error, reference)).max(), bonferroni_bound(
        found.value.size, 1e-4, found.error_dof
    )


mean, covariance = exact.mean[:-1], exact.covariance[:-1]
checks = {"mean": (found_mean, mean.ravel()), "covariance": (found_covariance, covariance[:, *upper].ravel())}
for name, (found, reference) in checks.items():
    z, bound = largest(found, reference)
    print(f"{name:11s} {found.value.size:4d} numbers, largest |z| {z:.2f}, bound {bound:.2f}")
    if z > bound:
        raise RuntimeError(f"the {name} of the networks misses the exact one")
for k, t in enumerate(times):
    p = hotelling_of_independent(ensemble.fields[:, k], mean[k]).p_value
    print(f"step {t:4d}  all means together: p = {p:.2f}")

printed = [
    cross.ntk @ np.linalg.solve(on_data.ntk, np.eye(4) - expm(-ETA * on_data.ntk * t)) @ data.targets / 4 for t in times
]
z, bound = largest(found_mean, np.ravel(printed))
print(f"eq. (96) as printed: largest |z| of the means {z:.0f}")
if z < bound:
    raise RuntimeError("the printed equation was not told from the solution")

# %% [markdown]
# ## Training as a change of the correlators
#
# $G_t^{(2)}$ and $G_t^{(4)}$ of the ensemble, (19), as it trains: the connected two-point function shrinks where there
# are data, and the connected four-point function, zero at infinite width, stays within what 500 networks can tell.

# %%
four = joint_cumulants(flat, [(i,) * 4 for i in range(flat.shape[1])])
two = joint_cumulants(flat, [(i, i) for i in range(flat.shape[1])])
for k, t in enumerate(times):
    i = 10 * k + 9
    ratio, error = four.value[i] / two.value[i] ** 2, four.error[i] / two.value[i] ** 2
    print(f"step {t:4d}  x = 1.5:  G2 = {two.value[i]:.4f}({two.error[i]:.4f})   G4/G2^2 = {ratio:+.2f}({error:.2f})")

# %% [markdown]
# ## Other ways down
#
# Gradient flow with the same eta, and energy-conserving descent, whose frictionless motion has a conserved energy.

# %%
small = Nonlinear(network(64))
curve = np.unique(np.rint(np.geomspace(1, 300, 30)))
runs = {
    "gradient flow": train(Training(small, data, GradientFlow(ETA), curve, points, 16), jax.random.key(1)),
    "gradient descent": train(Training(small, data, GradientDescent(ETA), curve, points, 16), jax.random.key(1)),
    "energy conserving": train(
        Training(small, data, EnergyConservingDescent(0.05, concentration=2.0), curve, points, 16), jax.random.key(1)
    ),
}
energies = runs["energy conserving"].more["energy"]
print("energies conserved to", f"{np.abs(energies - energies[:, :1]).max():.1e}")
figure, axes = plt.subplots(figsize=(5, 3.4), layout="constrained")
for name, run in runs.items():
    axes.loglog(curve, np.median(run.losses, axis=0), label=name)
axes.set_xlabel("time or steps")
axes.set_ylabel("median loss of 16 networks")
axes.legend(frameon=False)
plt.show()
