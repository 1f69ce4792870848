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
# # The partition function three ways
#
# The insertion $e^{-S_{\rm int}}$ deforms the density of an ensemble of networks, and
#
# $$\frac{Z}{Z_0} = \big\langle e^{-S_{\rm int}[\phi_\theta]}\big\rangle_{\theta\sim P(\theta)}$$
#
# is the average of its weight over networks drawn from the prior $P(\theta)$. A Markov chain at the deformed density
# does not know it. Here it is found from
#
# 1. **reweighting**: the average as it stands, over independent draws;
# 2. **sequential Monte Carlo** (`smc`): populations annealed from the prior to the deformed density in small steps;
# 3. the **transfer matrix**: exact, at infinite width in $d = 1$.
#
# The field is the free scalar of mass 1 on the line, with $S_{\rm int} = \lambda\int\phi^4$ in a box of length 4.

# %%
import math
from dataclasses import replace

import jax
import matplotlib.pyplot as plt
import numpy as np

from nnft_mcmc import (
    SMC,
    CosNet,
    Ensemble,
    InfiniteWidth,
    Lattice,
    PhiPower,
    ScalarNet,
    exact_reference,
    gamma_method,
    log_partition_ratio,
    reweight,
    sample,
)

jax.config.update("jax_enable_x64", True)

# A deviation of five errors stops the notebook; a correct one does so less than once in a hundred thousand runs.
BOUND = 5.0
lattice = Lattice(shape=[9], spacing=0.5)
network = ScalarNet(dim=1, width=10, mass=1.0, cutoff=math.inf)


def interacting(architecture, coupling):
    return Ensemble(architecture, lattice, PhiPower(4, coupling, "trapezoid"))


def by_sampler(ensemble, settings, key):
    """ln Z/Z0 and its error from what the sampler says of each transition."""
    stats = sample(ensemble, jax.random.key(key), settings, store=())["sample_stats"]
    observable = log_partition_ratio({name: values.to_numpy() for name, values in stats.items()})
    if observable.note:
        raise RuntimeError(observable.note)
    estimate = gamma_method(observable.series)
    return float(estimate.value), float(estimate.error)


# %% [markdown]
# ## Against the exact answer
#
# Reweighting says itself when it is not to be trusted: its weights $w = e^{-S_{\rm int}}$ become uneven, and their
# effective number $\text{ESS} = (\sum w)^2/\sum w^2$ falls with the coupling. At $\lambda = 100$ it refuses. The
# annealed populations go on: each of their steps is a small one.

# %%
infinite = InfiniteWidth(network, lattice)
COUPLINGS = (0.5, 100.0)
smc = SMC(num_chains=16, num_warmup=120, num_samples=100, num_particles=4, num_steps=16, base="gaussian_flow")
table = {}
print("coupling     exact     reweighting            ESS                 smc")
for number, coupling in enumerate(COUPLINGS):
    ensemble = interacting(infinite, coupling)
    exact = exact_reference(interacting(network, coupling)).log_partition_ratio
    weighted = reweight(ensemble, jax.random.key(number), 50_000)
    value, error = weighted.log_partition_ratio, weighted.log_partition_ratio_error
    table[coupling] = exact, (value, error), weighted.weights, by_sampler(ensemble, smc, 10 + number)
    smc_value, smc_error = table[coupling][3]
    verdict = "" if weighted.weights.trusted else "  refused"
    print(
        f"{coupling:8g} {exact:9.4f}  {value:9.4f} ± {error:.4f}  {weighted.weights.ess:7.0f}{verdict:9}"
        f"  {smc_value:9.4f} ± {smc_error:.4f}"
    )

for coupling, (exact, (value, error), weights, (smc_value, smc_error)) in table.items():
    if weights.trusted and abs(value - exact) > BOUND * error:
        raise RuntimeError(f"reweighting is wrong at coupling {coupling} and does not say so")
    if abs(smc_value - exact) > BOUND * smc_error:
        raise RuntimeError(f"smc is wrong at coupling {coupling}")
if table[COUPLINGS[-1]][2].trusted:
    raise RuntimeError("reweighting at the largest coupling should have been refused")

# %% [markdown]
# ## At finite width
#
# At width 10 there is no transfer matrix. Reweighting and `smc` must agree with each other. The shift from infinite
# width is seen. (`tempering`, which exchanges replicas between the prior and the deformed density, knows Z too.)

# %%
ensemble = interacting(network, 10.0)
at_infinity = exact_reference(ensemble).log_partition_ratio
weighted = reweight(ensemble, jax.random.key(20), 50_000)
finite = {
    "reweighting": (weighted.log_partition_ratio, weighted.log_partition_ratio_error),
    "smc": by_sampler(
        ensemble, replace(smc, base="refresh", num_chains=8, num_warmup=24, num_samples=50, num_steps=8), 21
    ),
}
for name, (value, error) in finite.items():
    print(f"N = 10, coupling 10  {name:12} {value:9.4f} ± {error:.4f}")
print(f"N = infinity         exact        {at_infinity:9.4f}")

values, errors = (np.array(column) for column in zip(*finite.values(), strict=True))
common = np.sum(values / errors**2) / np.sum(1 / errors**2)
if (np.abs(values - common) > BOUND * errors).any():
    raise RuntimeError("the estimates at finite width disagree")
if abs(common - at_infinity) < BOUND * np.sum(1 / errors**2) ** -0.5:
    raise RuntimeError("the shift of finite width should be visible at these errors")

# %% [markdown]
# ## A case that anyone can check
#
# One neuron, $\phi(x) = a\cos(wx + b)$ with $a, w$ normal and $b$ uniform, on three sites, $\lambda = 1$: three
# integrals by quadrature.

# %%
one_neuron = Ensemble(CosNet(dim=1, width=1), Lattice(shape=[3], spacing=1.0), PhiPower(4, 1.0))
z = np.linspace(-8, 8, 201)
normal = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
b = 2 * math.pi * np.arange(128) / 128
quartic = sum(np.cos(z[:, None] * x + b) ** 4 for x in (-1.0, 0.0, 1.0))
quadrature = math.log(normal @ np.exp(-np.multiply.outer(z**4, quartic)).mean(axis=-1) @ normal)
weighted = reweight(one_neuron, jax.random.key(30), 200_000)
value, error = weighted.log_partition_ratio, weighted.log_partition_ratio_error
print(
    f"Z/Z0: quadrature {math.exp(quadrature):.10f}, reweighting {math.exp(value):.4f} ± {math.exp(value) * error:.4f}"
)
if abs(value - quadrature) > BOUND * error:
    raise RuntimeError("reweighting disagrees with the quadrature of one neuron")

# %% [markdown]
# ## Where each of them ends
#
# The error of reweighting follows from partition functions alone: $\langle w^2\rangle_0$ is $Z/Z_0$ at twice the
# coupling, so $\text{ESS}/n \to Z(\lambda)^2/(Z(2\lambda)\,Z_0)$. The exact curve and the draws are shown together.

# %%
axis_couplings = 0.1 * 2.0 ** np.arange(12)
log_ratios = np.array([exact_reference(interacting(network, c)).log_partition_ratio for c in axis_couplings])
fraction = np.exp(2 * log_ratios[:-1] - log_ratios[1:])
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
left.plot(axis_couplings[:-1], log_ratios[:-1], color="#222222", lw=1.2, label="transfer matrix")
right.plot(axis_couplings[:-1], fraction, color="#222222", lw=1.2, label="exact, infinitely many draws")
for coupling, (_, (value, error), weights, (smc_value, smc_error)) in table.items():
    face = "#1f5fa8" if weights.trusted else "white"
    left.errorbar(coupling, value, error, fmt="o", ms=5, color="#1f5fa8", mfc=face)
    left.errorbar(1.15 * coupling, smc_value, smc_error, fmt="D", ms=4, color="#2c8a4b")
    right.plot(coupling, weights.ess / weights.num_draws, "o", ms=5, color="#1f5fa8", mfc=face)
left.plot([], [], "o", color="#1f5fa8", label="reweighting (open: refused)")
left.plot([], [], "D", color="#2c8a4b", label="smc (shifted to the right)")
left.set_ylabel(r"$\ln Z/Z_0$")
right.set_ylabel("ESS of reweighting / draws")
right.set_yscale("log")
for axis in (left, right):
    axis.set_xscale("log")
    axis.set_xlabel(r"coupling $\lambda$")
    axis.legend(frameon=False, fontsize=8)
