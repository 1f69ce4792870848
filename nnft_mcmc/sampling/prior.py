"""Independent draws from P(theta), in the form of a Markov chain that forgets everything at each step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array
from numpyro.infer.mcmc import MCMCKernel

from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.sampling._base import BatchedKernel, Position, Sampler, position_of_z


class PriorState(NamedTuple):
    """`z` is the position."""

    z: dict[str, Array]
    rng_key: Array


class PriorKernel(BatchedKernel):
    """Each transition is a draw of the undeformed ensemble, whatever came before."""

    def __init__(self, ensemble: Ensemble) -> None:
        self.ensemble = ensemble

    def init_chain(self, rng_key: Array, num_warmup: int, init_params: dict[str, Array] | None) -> PriorState:
        rng_key, key = jax.random.split(rng_key)
        theta = self.ensemble.architecture.sample_parameters(key) if init_params is None else init_params
        return PriorState({**theta, "field": self.ensemble.field(theta)}, rng_key)

    def step(self, state: PriorState) -> PriorState:
        return self.init_chain(state.rng_key, 0, None)


@dataclass(frozen=True, kw_only=True)
class PriorDraws(Sampler):
    """Independent draws of the undeformed ensemble; an insertion has no effect on them."""

    def kernel(self, ensemble: Ensemble) -> MCMCKernel:
        return PriorKernel(ensemble)

    def position(self, ensemble: Ensemble, kernel: MCMCKernel) -> Callable[[PriorState], Position]:
        return position_of_z

    def statistics(self, state: PriorState) -> dict[str, Array]:
        not_finite = jnp.isnan(state.z["field"]).any()
        return {"acceptance_rate": jnp.ones(()), "num_not_finite": not_finite.astype(int)}
