"""Tempering: replica exchange in the strength of the interaction.

R replicas of the ensemble, at the scales 1 = s_0 > s_1 > ... > s_{R-1} = 0, have the joint density

    prod_k P(theta_k) exp(-s_k S_int[phi_k]).

In one transition every replica moves at its own scale by the base kernel, the last one is redrawn from the prior, which
is independent of everything, and then neighbours k, k + 1 swap their positions with probability

    min(1, exp[(s_k - s_{k+1}) (S_int[phi_k] - S_int[phi_{k+1}])]),

the even pairs in one transition, the odd pairs in the next: so a position drifts through the ladder instead of
diffusing (Okabe et al., Chem. Phys. Lett. 335 (2001) 435; S. Syed et al., J. R. Stat. Soc. B 84 (2022) 321). A position
that comes from the prior and arrives at s = 1 is independent of what was there before. The sampled position is the
replica at s = 1. Step sizes and other tuning stay with the scale.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array
from numpyro.infer.mcmc import MCMCKernel

from nnft_mcmc import _checks
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.sampling import ladder
from nnft_mcmc.sampling._base import AnnealableKernel, BatchedKernel, Position, Sampler, position_of_z
from nnft_mcmc.sampling.base_moves import BASES, base_kernel, prior_position


class TemperingState(NamedTuple):
    """`z` is the position at scale 1; leaves of `replicas` have the replicas, from scale 1 to 0, as their first axis.

    `actions` are S_int of the replicas before the swaps, `from_prior` says which have not been at scale 1 since they
    were drawn from the prior.
    """

    z: dict[str, Array]
    replicas: Any
    ladder: ladder.Ladder
    actions: Array
    swap_acceptance_rate: Array
    from_prior: Array
    num_round_trips: Array
    rng_key: Array


class TemperingKernel(BatchedKernel):
    """One transition: a base move of every replica, and one round of swaps."""

    def __init__(self, base: AnnealableKernel, num_replicas: int) -> None:
        self.base, self.ensemble, self.num_replicas = base, base.ensemble, num_replicas

    def init_chain(self, rng_key: Array, num_warmup: int, init_params: dict[str, Array] | None) -> TemperingState:
        rng_key, key = jax.random.split(rng_key)
        keys = jax.random.split(key, self.num_replicas)
        replicas = jax.vmap(lambda key: self.base.init_chain(key, num_warmup, init_params))(keys)
        start = ladder.start(self.num_replicas - 1, num_warmup)
        actions = jax.vmap(self.base.action)(replicas)
        nothing = jnp.zeros(self.num_replicas, dtype=bool)
        return TemperingState(
            _first(replicas.z), replicas, start, actions, jnp.ones_like(actions[1:]), nothing, start.num_seen, rng_key
        )

    def step(self, state: TemperingState) -> TemperingState:
        rng_key, key_prior, key_swap = jax.random.split(state.rng_key, 3)
        scales = state.ladder.scales[::-1]
        replicas = self.moved(state.replicas, scales, key_prior)
        actions = jax.vmap(self.base.action)(replicas)
        log_ratio = self.log_swap_ratio(scales, actions)
        proposed = jnp.arange(self.num_replicas - 1) % 2 == state.ladder.transition % 2
        swap = proposed & (-jax.random.exponential(key_swap, log_ratio.shape, log_ratio.dtype) < log_ratio)
        up, down = jnp.append(swap, False), jnp.append(False, swap)
        source = jnp.arange(self.num_replicas) + up.astype(int) - down.astype(int)
        replicas = jax.vmap(self.base.at)(replicas, jax.tree.map(lambda a: a[source], replicas.z))
        from_prior = state.from_prior.at[-1].set(True)[source]
        acceptance = jnp.where(jnp.isnan(log_ratio), 0, jnp.exp(jnp.minimum(log_ratio, 0)))
        rungs = ladder.observed(state.ladder, 1 - acceptance[::-1])
        return TemperingState(
            z=_first(replicas.z),
            replicas=replicas,
            ladder=ladder.renewed(rungs, rungs.mean),
            actions=actions,
            swap_acceptance_rate=acceptance,
            from_prior=from_prior.at[0].set(False),
            num_round_trips=state.num_round_trips + (from_prior[0] & state.ladder.frozen),
            rng_key=rng_key,
        )

    def moved(self, replicas: Any, scales: Array, key: Array) -> Any:
        """Every replica after a base move, the last one drawn from the prior."""
        interacting, free = (jax.tree.map(lambda a, part=part: a[part], replicas) for part in (slice(-1), -1))
        interacting = jax.vmap(self.base.step_at)(interacting, scales[:-1])
        free = self.base.at(free, prior_position(self.ensemble, key))
        return jax.tree.map(lambda a, b: jnp.concatenate([a, b[None]]), interacting, free)

    def log_swap_ratio(self, scales: Array, actions: Array) -> Array:
        """Logarithm of the ratio of joint densities after and before the swap of neighbours, (R - 1,)."""
        return (scales[:-1] - scales[1:]) * (actions[:-1] - actions[1:])


def _first(replicas: Any) -> Any:
    return jax.tree.map(lambda a: a[0], replicas)


@dataclass(frozen=True, kw_only=True)
class Tempering(Sampler):
    """Replica exchange between the prior and the deformed density; `base` moves each of `num_replicas` replicas."""

    num_replicas: int = 8
    base: str = "composite"

    def check_settings(self) -> None:
        _checks.integer("sampler.num_replicas", self.num_replicas, minimum=2)
        _checks.one_of("sampler.base", self.base, BASES)

    def kernel(self, ensemble: Ensemble) -> MCMCKernel:
        return TemperingKernel(base_kernel(self.base, ensemble), self.num_replicas)

    def position(self, ensemble: Ensemble, kernel: MCMCKernel) -> Callable[[TemperingState], Position]:
        return position_of_z

    def statistics(self, state: TemperingState) -> dict[str, Array]:
        return {
            **BASES[self.base].statistics(_first(state.replicas)),
            "swap_acceptance_rate": state.swap_acceptance_rate,
            "num_round_trips": state.num_round_trips,
            "replica_scale": state.ladder.scales[::-1],
            "replica_action": state.actions,
        }
