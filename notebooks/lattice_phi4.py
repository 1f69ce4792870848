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
# # Lattice $\phi^4$ theory in the same frame
#
# A field theory here is an architecture with a density on its parameters. Lattice field theory is one of them: the
# parameters are the site values, or the amplitudes of the plane waves of a torus, and the insertion makes the total
# action the one of a paper. So a lattice run has the observables, diagnostics and comparisons of a network run, and is
# itself a reference for networks.

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np

from nnft_mcmc import (
    Cluster,
    Ensemble,
    GaussianFlow,
    Lattice,
    LatticeModes,
    LatticePhi4,
    SiteField,
    TorusTheory,
    convert,
    exact_reference,
    gamma_method,
    sample,
)
from nnft_mcmc.statistics import hotelling

jax.config.update("jax_enable_x64", True)

FALSE_ALARM = 1e-3  # of each of the comparisons below that stop the notebook

# %% [markdown]
# ## Conventions
#
# The ensembles of arXiv:1904.12072 have $S = \sum_x [(\partial\phi)^2 + m^2\phi^2 + \lambda\phi^4]$, without the
# factor $1/2$. The same theory in other conventions, and what happens to a susceptibility of 1:

# %%
for name in ("schaich_loinaz", "standard", "continuum", "hopping", "hasenbusch"):
    to = convert("albergo", name, {"m2": -4.0, "lam": 6.975}, dim=2)
    couplings = ", ".join(f"{key} = {value:.6g}" for key, value in to.couplings.items())
    print(f"{name:15} {couplings:36} chi -> {to.observable('susceptibility', 1.0):.6f}")

# %% [markdown]
# ## A torus without Monte Carlo
#
# Small tori can be contracted exactly. On $3 \times 3$ sites:

# %%
torus = TorusTheory((3, 3), hopping=2.0, potential=(0, 0, 0, 0, 6.975))
identity = -2 * 2.0 * 2 * torus.nearest_neighbour + 4 * 6.975 * torus.moment(4)
print(f"ln Z = {torus.log_z:.10f}, <phi^2> = {torus.moment(2):.10f}, chi = {torus.susceptibility:.10f}")
print(f"Schwinger-Dyson: -2 c d E + 4 b <phi^4> = {identity:.12f}")
if abs(torus.susceptibility - 0.782872411670) > 1e-11 or abs(identity - 1) > 1e-11:
    raise AssertionError("the contraction misses the published susceptibility or the Schwinger-Dyson identity")

# %% [markdown]
# ## Two parametrisations of one theory
#
# Modes with the lattice dispersion and site values have equal densities up to a constant Jacobian. Sampled by
# different algorithms, both agree with the contraction. The field of an ensemble has the kinetic term
# $(\partial\phi)^2/2$, so that $\phi^2$ is twice that of the paper.

# %%
lattice = Lattice((3, 3), 1.0, "torus")
albergo = LatticePhi4("albergo", m2=-4.0, lam=6.975)
routes = {
    "modes, Fourier-accelerated HMC": (LatticeModes(lattice, 1.5), GaussianFlow(num_chains=16, num_samples=1500)),
    "sites, sign clusters": (SiteField(lattice, 1.5), Cluster(num_chains=16, num_samples=1500)),
}
names = ("phi2", "phi4", "nearest_neighbour")
for number, (name, (architecture, sampler)) in enumerate(routes.items()):
    ensemble = Ensemble(architecture, lattice, albergo)
    draws = sample(ensemble, jax.random.key(number), sampler, store=())["observables"]
    series = np.stack([draws[key].values for key in names], axis=-1)
    exact = np.array([float(exact_reference(ensemble).values[key]) for key in names])
    e, test = gamma_method(series), hotelling(series, exact)
    found = ", ".join(f"{k} {v:.4f} +- {s:.4f}" for k, v, s in zip(names, e.value, e.error, strict=True))
    print(f"{name:31} {found}; chi^2 = {test.chi2:.1f} for {test.dof}, p = {test.p_value:.2g}")
    if test.p_value < FALSE_ALARM:
        raise AssertionError(f"{name}: p = {test.p_value:.2g} against the contracted torus")

# %% [markdown]
# ## At the critical point
#
# At $\mu^2 = -1.27251$, $\lambda = 1$ of arXiv:0902.0045 the theory is critical. Trajectories, even of
# Fourier-accelerated HMC with tuned length, change the sign of large domains more and more slowly as $L$ grows;
# clusters change it at once. The autocorrelation time of $M^2$, in transitions:

# %%
critical = LatticePhi4("schaich_loinaz", mu2=-1.27251, lam=1.0)
settings = {"num_chains": 8, "num_warmup": 300, "num_samples": 1200}
samplers = {"trajectories": GaussianFlow(**settings), "clusters": Cluster(**settings)}
sizes = (8, 16)
tau = {name: [] for name in samplers}
for size in sizes:
    plane = Lattice((size, size), 1.0, "torus")
    for name, sampler in samplers.items():
        ensemble = Ensemble(SiteField(plane, 4.0 / size), plane, critical)
        draws = sample(ensemble, jax.random.key(size), sampler, store=())["observables"]
        e = gamma_method(draws["magnetization"].values ** 2)
        tau[name].append((float(e.tau_int), float(e.tau_int_error)))
        print(f"L = {size:2}, {name:12}: tau_int(M^2) = {e.tau_int:.2f} +- {e.tau_int_error:.2f}")

# %%
figure, axes = plt.subplots(figsize=(4.6, 3.4), layout="constrained")
for name, values in tau.items():
    value, error = zip(*values, strict=True)
    axes.errorbar(sizes, value, error, fmt="o-", ms=4, capsize=2, label=name)
axes.set_xlabel("$L$")
axes.set_xticks(sizes)
axes.set_ylabel(r"$\tau_\mathrm{int}(M^2)$  (transitions)")
axes.set_title(r"critical $\phi^4$ on $L \times L$ sites", fontsize=10)
axes.legend(frameon=False)
plt.show()
