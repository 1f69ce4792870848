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
# # The spectrum of an anharmonic oscillator
#
# Quantum mechanics is field theory in one dimension: the Euclidean action
#
# $$S = a \sum_t \left[\frac{(x_{t+a} - x_t)^2}{2 a^2} + \frac{x_t^2}{2} + \lambda x_t^4\right]$$
#
# on a periodic lattice of times has the correlators of a Hamiltonian, and $\langle x(0) x(t) \rangle$ decays with the
# difference of its levels. Here the ensemble is `lattice_modes`, amplitudes of plane waves with independent normal
# priors, deformed by the $\phi^4$ insertion. Every level is known to twelve digits from the transfer matrix.

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np

from nnft_mcmc import HMC, Ensemble, Lattice, LatticeModes, PhiPower, gamma_method, sample
from nnft_mcmc.estimators import observables
from nnft_mcmc.estimators.operators import slices_of_fields
from nnft_mcmc.estimators.spectrum import spectrum
from nnft_mcmc.statistics.resampling import jackknife

jax.config.update("jax_enable_x64", True)

SPACING, COUPLING = 0.25, 0.5
BOUND = 4.0  # in errors; each comparison that stops the notebook does so by chance in under 1e-3 of runs

lattice = Lattice((32,), SPACING, "torus")
oscillator = Ensemble(LatticeModes(lattice=lattice, mass=1.0), lattice, PhiPower(degree=4, coupling=COUPLING))

# %% [markdown]
# ## The exact answer
#
# The transfer matrix on a grid of positions; its eigenvalues are $e^{-a E_n}$.

# %%
x = np.linspace(-6.0, 6.0, 401)
potential = x**2 / 2 + COUPLING * x**4
matrix = np.exp(-((x[:, None] - x) ** 2) / (2 * SPACING) - SPACING * (potential[:, None] + potential) / 2)
energies = -np.log(np.linalg.eigvalsh(matrix)[::-1][:5]) / SPACING
exact = energies[1:] - energies[0]
print("levels above the ground state:", exact.round(6))

# %% [markdown]
# ## Sampling
#
# Sixteen chains of Hamiltonian Monte Carlo. What every run keeps of each draw are a few numbers; here the fields are
# kept as well.

# %%
results = sample(oscillator, jax.random.key(1), HMC(num_chains=16, num_warmup=300, num_samples=3000), store=("field",))
kept = {name: array.values for name, array in results["observables"].items()}
found = observables(kept, lattice)
estimates = {name: gamma_method(o.series) for name, o in found.items()}
for name in ("phi2", "phi4", "susceptibility", "correlation_length", "nearest_neighbour"):
    e = estimates[name]
    print(f"{name:20s} {e.value:.5f} +- {e.error:.5f}   tau_int {e.tau_int:.2f}")

# %% [markdown]
# Errors include autocorrelation: $\tau_{int} = 1/2$ is independent draws. The blocked jackknife is the other way to
# them, and the one for functions that are not linearised.

# %%
phi2 = kept["phi2"]
print("Gamma-method", estimates["phi2"].error, "jackknife", jackknife(phi2, 160).error)

# %% [markdown]
# ## The effective mass
#
# On a torus $C(t)$ is a sum of $\cosh(E (T/2 - t))$, so $m(t) = \mathrm{arccosh}[(C(t-a) + C(t+a))/2C(t)]/a$ is flat
# where one level is left. Entries whose $C(t)$ is below four errors are undefined, and say so.

# %%
mass = found["effective_mass"]
e = estimates["effective_mass"]
for t, value, error, reason in zip(mass.coords, e.value, e.error, mass.reasons, strict=True):
    print(f"t = {t:4.2f}   " + (f"{value:.4f} +- {error:.4f}" if not reason else f"undefined: {reason}"))

# %% [markdown]
# ## Levels
#
# $\phi$ and $\phi^3$ create the odd levels, $\phi^2$ and $\phi^4$ the even ones. The generalised eigenvalue problem
# makes one correlator for each level; fits with the covariance of the data, averaged over windows, give its energy.

# %%
tau_int = max(
    float(np.max(gamma_method(kept[name]).tau_int)) for name in ("magnetization", "phi2", "phi4", "correlator")
)
levels = spectrum(slices_of_fields(results["posterior/field"].values), lattice, tau_int)
order = {("odd", 0): 0, ("even", 0): 1, ("odd", 1): 2, ("even", 1): 3}
for level in levels.levels:
    n = order[level.sector, level.number]
    energy = level.energy
    told = f"{energy.value:.4f} +- {energy.error:.4f}" if not energy.reason else f"undefined: {energy.reason}"
    print(f"E_{n + 1} - E_0 = {exact[n]:.4f}    {told}")

# %%
figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
for level in levels.levels:
    n = order[level.sector, level.number]
    shown = level.effective.error < 0.25 * level.effective.value
    colour = f"C{n}"
    axes.errorbar(
        level.effective_t[shown],
        level.effective.value[shown],
        level.effective.error[shown],
        fmt="o",
        ms=4,
        capsize=2,
        color=colour,
        label=f"{level.sector} {level.number}",
    )
    axes.axhline(exact[n], color=colour, lw=1)
axes.set_xlabel("$t$")
axes.set_ylabel("$E_n(t)$")
axes.set_title("effective energies; lines: the transfer matrix", fontsize=10)
axes.legend(frameon=False)
plt.show()

# %% [markdown]
# ## Against the exact answer
#
# The gap and the next two levels, each within its error; the harmonic levels $1, 2, 3$ would be rejected.

# %%
harmonic = 2 / SPACING * np.arcsinh(SPACING / 2) * np.arange(1, 4)
for level in levels.levels:
    n = order[level.sector, level.number]
    if n > 2:
        continue
    energy = level.energy
    z, z_harmonic = (energy.value - exact[n]) / energy.error, (energy.value - harmonic[n]) / energy.error
    print(f"E_{n + 1} - E_0: {z:+.1f} errors from the exact level, {z_harmonic:+.1f} from the harmonic one")
    if not abs(z) < BOUND:
        raise RuntimeError(f"E_{n + 1} - E_0 misses the exact level by {z:.1f} errors")
    if not abs(z_harmonic) > BOUND:
        raise RuntimeError(f"E_{n + 1} - E_0 does not tell the exact level from the harmonic one")
