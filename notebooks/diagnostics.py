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
# # Can the draws be believed?
#
# Three runs of the same $\phi^4$ theory in one dimension: a right one, one whose kernel uses a coupling that is not the
# stated one, and one whose momenta are drawn wrongly. R-hat, effective sample sizes and autocorrelation times are fine
# for all three: they ask whether chains agree with each other. Only identities of the stated density,
#
# $$\langle \mathrm{div}\, u + u \cdot \nabla \ln \tilde P \rangle = 0$$
#
# for vector fields $u$ on the parameters (Stein; Schwinger and Dyson), ask whether they agree with the theory. In the
# end the couplings that the identities read off the draws are held against the exact answer.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from nnft_mcmc.architectures import InfiniteWidth, ScalarNet
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.estimators import identities
from nnft_mcmc.insertions import PhiPower
from nnft_mcmc.lattice import Lattice
from nnft_mcmc.references import exact_reference
from nnft_mcmc.runs.certificate import certificate
from nnft_mcmc.runs.measure import bulk_and_tail_ess, rhat
from nnft_mcmc.sampling import Chains, GaussianFlow, MoveKernel
from nnft_mcmc.sampling.gaussian_flow import Flow, GaussianFlowMove, whitenings
from nnft_mcmc.statistics import gamma_method

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# The theory: the infinite-width limit of the Cauchy-cos-net, mass 1, on 17 sites at spacing 0.25, $\lambda = 0.5$.

# %%
LATTICE, COUPLING, WRONG = Lattice((17,), 0.25), 0.5, 0.55
NET = ScalarNet(dim=1, width=1, mass=1.0, cutoff=float("inf"))
LINE = InfiniteWidth(NET, LATTICE)


def theory(coupling):
    return Ensemble(LINE, LATTICE, PhiPower(4, coupling, "trapezoid"))


stated = theory(COUPLING)
observe = identities(stated)


def collect(position):
    middle = position.field[LATTICE.centre] ** 2
    return {"kept": {**observe(position.theta, position.field), "phi2_mid": middle}}


# %% [markdown]
# A bad sampler: Hamiltonian Monte Carlo whose momenta are drawn 5% too broad, a mistake that refuses nothing, diverges
# nowhere and mixes well.


# %%
class HotMomenta(Flow):
    """Trajectories with p ~ N(0, 1.05^2), accepted as if p ~ N(0, 1)."""

    def trajectory(self, field_of, z, tuning, scale, key):
        key_momentum, key_accept = jax.random.split(key)
        start = self._evaluated(field_of, z, 1.05 * jax.random.normal(key_momentum, z.shape, z.dtype), scale)
        end = self.integrate(field_of, start, 0.3, 5, scale)
        energy_error = end.action - start.action + (end.z**2 + end.p**2 - start.z**2 - start.p**2).sum() / 2
        accept = -jax.random.exponential(key_accept) < -energy_error
        return jnp.where(accept, end.z, z), jnp.where(accept, end.field, start.field), tuning


class BadFlow(GaussianFlow):
    def kernel(self, ensemble):
        return MoveKernel(ensemble, GaussianFlowMove(HotMomenta(ensemble, 64, 0.8), whitenings(ensemble)))


# %%
SETTINGS = {"num_chains": 64, "num_warmup": 200, "num_samples": 800}
RUNS = {
    "right": (stated, GaussianFlow(**SETTINGS)),
    "wrong coupling": (theory(WRONG), GaussianFlow(**SETTINGS)),
    "bad sampler": (stated, BadFlow(**SETTINGS)),
}


def sampled(truth, sampler):
    chains = Chains(truth, sampler, jax.random.key(5), collect, sampler.num_samples)
    chains.warm_up(sampler.num_warmup)
    return chains.draw(sampler.num_samples)["kept"]


kept = {name: sampled(*run) for name, run in RUNS.items()}

# %% [markdown]
# ## What convergence says
#
# All three pass.

# %%
print(f"{'run':16} {'R-hat':>8} {'bulk ESS':>9} {'tail ESS':>9}  tau_int of phi^2 mid-box")
for name, series in kept.items():
    bulk, tail = bulk_and_tail_ess(series["phi2_mid"])
    tau = gamma_method(series["phi2_mid"])
    print(
        f"{name:16} {float(rhat(series['phi2_mid'])):8.4f} {float(bulk):9.0f} {float(tail):9.0f}"
        f"  {float(tau.tau_int):.3f} ± {float(tau.tau_int_error):.3f}"
    )

# %% [markdown]
# ## What the identities say
#
# z-scores of each, and the coupling that the draws obey, in units of the stated one. Dashed: the bound that a right run
# exceeds with a probability of $10^{-3}$ in all.

# %%
found = {name: certificate(stated, series) for name, series in kept.items()}
figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), width_ratios=(2, 1), layout="constrained")
labels = [t.name for t in found["right"].identities]
for shift, (name, c) in enumerate(found.items()):
    axes[0].bar(np.arange(len(labels)) + 0.27 * (shift - 1), [t.z for t in c.identities], 0.25, label=name)
    (coupling,) = c.couplings
    axes[1].errorbar(shift, coupling.ratio, coupling.error, fmt="o", capsize=3)
    verdict = "holds" if c.holds else "is BROKEN"
    print(f"{name:16} coupling {coupling.ratio:.4f} ± {coupling.error:.4f}, z = {coupling.z:+.1f}: {verdict}")
for sign in (-1, 1):
    axes[0].axhline(sign * found["right"].identities[0].bound, color="0.4", lw=0.9, ls="--")
axes[0].set_xticks(np.arange(len(labels)), labels, rotation=45, ha="right")
axes[0].set_ylabel("mean / error")
axes[0].legend(frameon=False, loc="upper right")
axes[1].axhline(1, color="0.4", lw=0.9)
axes[1].axhline(WRONG / COUPLING, color="0.4", lw=0.9, ls=":")
axes[1].set_xticks(range(3), list(found), rotation=20)
axes[1].set_xlim(-0.5, 2.5)
_ = axes[1].set_ylabel("coupling / stated coupling")

# %% [markdown]
# ## The comparison that counts
#
# $\langle\phi^2\rangle$ mid-box from the transfer matrix, at the stated coupling and at the one that the identities
# read off the second run. The first must agree with the right run alone, the second with the second run.


# %%
def exact(coupling):
    return float(exact_reference(Ensemble(NET, LATTICE, PhiPower(4, coupling, "trapezoid"))).values["phi2_mid"])


estimates = {name: gamma_method(series["phi2_mid"]) for name, series in kept.items()}
z = {name: float((e.value - exact(COUPLING)) / e.error) for name, e in estimates.items()}
for name, e in estimates.items():
    print(f"{name:16} {float(e.value):.5f} ± {float(e.error):.5f}, exact {exact(COUPLING):.5f}, z = {z[name]:+.1f}")
(read_off,) = found["wrong coupling"].couplings
obeyed, second = COUPLING * read_off.ratio, estimates["wrong coupling"]
slope = (exact(WRONG) - exact(COUPLING)) / (WRONG - COUPLING)
error = np.hypot(float(second.error), slope * COUPLING * read_off.error)
z_obeyed = (float(second.value) - exact(obeyed)) / error
print(f"wrong coupling at {obeyed:.4f}, which it obeys: exact {exact(obeyed):.5f}, z = {z_obeyed:+.1f}")

if not (found["right"].holds and abs(z["right"]) < 3.3):
    raise RuntimeError("the right run fails its identities or disagrees with the exact answer")
if any(found[name].holds for name in ("wrong coupling", "bad sampler")) or abs(z["bad sampler"]) < 3.3:
    raise RuntimeError("a wrong run was not found out")
if not (abs(read_off.ratio - WRONG / COUPLING) < 4 * read_off.error + 0.02 and abs(z_obeyed) < 4):
    raise RuntimeError("the coupling read off the draws is not the one that they were made with")
