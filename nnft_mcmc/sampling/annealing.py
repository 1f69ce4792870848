"""Sequential Monte Carlo from the prior to the deformed density, as a Markov chain of independent proposals.

One proposal: P particles are drawn from P(theta), exactly and at no cost, and taken through the scales
0 = s_0 < s_1 < ... < s_T = 1 of P(theta) exp(-s S_int). At each step particle j is weighted by

    w_j -> w_j exp(-(s_t - s_{t-1}) S_int[phi_j])

and then moved by the base kernel, which leaves scale s_t invariant. When Kish's effective number of particles falls
below P/2 they are resampled (systematically) and their weights set to 1. The product over the stages between resampling
of the mean weights is Z_hat, an unbiased estimate of Z/Z0 at every P and T; one particle is picked by its weight. With
P = 1 this is annealed importance sampling (R. M. Neal, Stat. Comput. 11 (2001) 125).

The proposal replaces the current position, of estimate Z_hat, with probability

    min(1, Z_hat'/Z_hat),

which leaves the deformed density invariant at every P and T: particle independent Metropolis-Hastings (C. Andrieu,
A. Doucet and R. Holenstein, J. R. Stat. Soc. B 72 (2010) 269). P and T only set how often proposals are accepted. The
Z_hat of all proposals, accepted or not, are independent and identically distributed after warm-up.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float
from numpyro.infer.mcmc import MCMCKernel

from nnft_mcmc import _checks
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.sampling import ladder
from nnft_mcmc.sampling._base import AnnealableKernel, BatchedKernel, Position, Sampler, position_of_z
from nnft_mcmc.sampling.base_moves import BASES, base_kernel, prior_position


class Population(NamedTuple):
    """Positions z of the particles, ln of their weights (P,) since they were last resampled, ln of Z_hat up to then."""

    z: dict[str, Array]
    log_weights: Float[Array, " particles"]
    log_z: Float[Array, ""]

    @property
    def effective(self) -> Float[Array, ""]:
        """Kish's effective number of particles; NaN where no particle has a weight."""
        return jnp.exp(2 * logsumexp(self.log_weights) - logsumexp(2 * self.log_weights))

    @property
    def log_estimate(self) -> Float[Array, ""]:
        """ln Z_hat."""
        return self.log_z + logsumexp(self.log_weights) - math.log(len(self.log_weights))


class SMCState(NamedTuple):
    """`z` is the position and `current_log_z` its ln Z_hat; `log_z`, `ess` are those of the last proposal.

    `movers` are states of the base kernel without a position, one for each step and particle: keys and tuning.
    """

    z: dict[str, Array]
    current_log_z: Array
    log_z: Array
    ess: Array
    acceptance_rate: Array
    num_not_finite: Array
    movers: Any
    ladder: ladder.Ladder
    rng_key: Array


class SMCKernel(BatchedKernel):
    """One transition: one population annealed from the prior, and the decision on one of its particles."""

    def __init__(self, base: AnnealableKernel, num_particles: int, num_steps: int) -> None:
        self.base, self.ensemble = base, base.ensemble
        self.num_particles, self.num_steps = num_particles, num_steps

    def init_chain(self, rng_key: Array, num_warmup: int, init_params: dict[str, Array] | None) -> SMCState:
        rng_key, key_start, key_movers = jax.random.split(rng_key, 3)
        z = self.base.init_chain(key_start, num_warmup, init_params).z

        def mover(key: Array) -> Any:
            return self.base.init_chain(key, num_warmup, init_params)._replace(z={})

        keys = jax.random.split(key_movers, (self.num_steps, self.num_particles))
        real, start = jnp.zeros_like(z["field"].sum()), ladder.start(self.num_steps, num_warmup)
        movers = jax.vmap(jax.vmap(mover))(keys)
        return SMCState(z, real - jnp.inf, real, real, real, start.num_seen, movers, start, rng_key)

    def step(self, state: SMCState) -> SMCState:
        rng_key, key_propose, key_pick, key_accept = jax.random.split(state.rng_key, 4)
        population, movers, increments = self.propose(state.movers, state.ladder.scales, key_propose)
        picked = jax.random.categorical(key_pick, population.log_weights)
        log_z = population.log_estimate
        log_ratio = jnp.where(jnp.isnan(log_z), -jnp.inf, log_z - state.current_log_z)
        accept = -jax.random.exponential(key_accept, dtype=log_ratio.dtype) < log_ratio
        rungs = ladder.observed(state.ladder, jnp.nan_to_num(increments, posinf=0.0, neginf=0.0))
        # After warm-up all proposals have one law: trajectory lengths and the like, which are spread by counting moves,
        # begin anew in each.
        tuning = jax.tree.map(
            lambda new, old: jnp.where(state.ladder.frozen, old, new), movers.tuning, state.movers.tuning
        )
        return SMCState(
            z=jax.tree.map(lambda new, old: jnp.where(accept, new[picked], old), population.z, state.z),
            current_log_z=jnp.where(accept, log_z, state.current_log_z),
            log_z=log_z,
            ess=population.effective,
            acceptance_rate=jnp.exp(jnp.minimum(log_ratio, 0)),
            num_not_finite=jnp.isnan(log_z).astype(state.num_not_finite.dtype),
            movers=movers._replace(tuning=tuning),
            ladder=ladder.renewed(rungs, rungs.deviation),
            rng_key=rng_key,
        )

    def propose(
        self, movers: Any, scales: Float[Array, " rungs"], key: Array
    ) -> tuple[Population, Any, Float[Array, "steps particles"]]:
        """A population at scale 1, the movers, and what each step added to the logarithms of the weights."""
        key_prior, key_steps = jax.random.split(key)
        keys = jax.random.split(key_prior, self.num_particles)
        drawn = jax.vmap(lambda key: prior_position(self.ensemble, key))(keys)
        zero = jnp.zeros(self.num_particles, scales.dtype)

        def step(population: Population, rung: tuple[Array, Array, Array, Any]) -> tuple[Population, tuple[Any, Array]]:
            previous, scale, key, movers = rung
            increments = self.log_increments(population.z, previous, scale)
            weighted = population._replace(log_weights=population.log_weights + increments)
            settled = self.resampled(weighted, key)
            moved = self.moved(movers, settled.z, scale)
            return settled._replace(z=moved.z), (moved._replace(z={}), increments)

        rungs = scales[:-1], scales[1:], jax.random.split(key_steps, self.num_steps), movers
        population, (movers, increments) = jax.lax.scan(step, Population(drawn, zero, zero[0]), rungs)
        return population, movers, increments

    def moved(self, movers: Any, z: dict[str, Array], scale: Array) -> Any:
        """States of the base kernel after a move of every particle at one scale."""
        return jax.vmap(lambda mover, z: self.base.step_at(self.base.at(mover, z), scale))(movers, z)

    def log_increments(self, z: dict[str, Array], previous: Array, scale: Array) -> Float[Array, " particles"]:
        """What the step from one scale to the next adds to the logarithm of each weight."""
        return -(scale - previous) * jax.vmap(self.ensemble.action)(z["field"])

    def resampled(self, population: Population, key: Array) -> Population:
        """The population with equal weights where they have become too uneven."""
        count = self.num_particles
        if count == 1:
            return population
        cumulative = jnp.cumsum(jax.nn.softmax(population.log_weights))
        marks = (jnp.arange(count) + jax.random.uniform(key, dtype=cumulative.dtype)) / count
        source = jnp.minimum(jnp.searchsorted(cumulative, marks * cumulative[-1], side="right"), count - 1)
        uneven = population.effective < count / 2
        source = jnp.where(uneven, source, jnp.arange(count))
        return Population(
            jax.tree.map(lambda a: a[source], population.z),
            jnp.where(uneven, 0, population.log_weights),
            jnp.where(uneven, population.log_estimate, population.log_z),
        )


@dataclass(frozen=True, kw_only=True)
class SMC(Sampler):
    """Tempered SMC from the prior: `num_particles` particles through `num_steps` scales make one proposal."""

    num_particles: int = 4
    num_steps: int = 8
    base: str = "composite"

    def check_settings(self) -> None:
        _checks.integer("sampler.num_particles", self.num_particles, minimum=1)
        _checks.integer("sampler.num_steps", self.num_steps, minimum=1)
        _checks.one_of("sampler.base", self.base, BASES)

    def kernel(self, ensemble: Ensemble) -> MCMCKernel:
        return SMCKernel(base_kernel(self.base, ensemble), self.num_particles, self.num_steps)

    def position(self, ensemble: Ensemble, kernel: MCMCKernel) -> Callable[[SMCState], Position]:
        return position_of_z

    def statistics(self, state: SMCState) -> dict[str, Array]:
        return {
            "acceptance_rate": state.acceptance_rate,
            "num_not_finite": state.num_not_finite,
            "log_z": state.log_z,
            "ess": state.ess,
        }
