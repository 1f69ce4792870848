"""NumPyro's HMC with the energy error of every proposal, dH = H(proposed) - H(old), accepted or not: <exp(-dH)> = 1.

Its state keeps H of the draw and min(1, exp(-dH)). Where that is below one it tells dH; where it is one the proposal
was accepted and H is its energy, from which that of the old position with its momentum is taken. The momentum is drawn
again, with the key that the transition uses, so that the chain is NumPyro's bit for bit.
"""

from collections import namedtuple
from typing import Any, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array
from numpyro.infer import HMC
from numpyro.infer.hmc import HMCState, momentum_generator
from numpyro.infer.hmc_util import euclidean_kinetic_energy

# HMCState with one more field, whatever its fields are, which no type checker can follow.
MeasuredState: Any = cast(Any, namedtuple)("MeasuredState", (*HMCState._fields, "energy_error"))


class MeasuredHMC(HMC):
    """NumPyro's HMC whose state has the field `energy_error` besides its own; 0 before the first transition."""

    def init(
        self,
        rng_key: Array,
        num_warmup: int,
        init_params: dict[str, Array] | None = None,
        model_args: tuple = (),
        model_kwargs: dict | None = None,
    ) -> Any:
        state = HMC.init(self, rng_key, num_warmup, init_params, model_args, model_kwargs or {})
        return MeasuredState(*state, jnp.zeros_like(state.energy))

    def sample(self, state: Any, model_args: tuple, model_kwargs: dict) -> Any:
        old = HMCState(*state[:-1])
        new = HMC.sample(self, old, model_args, model_kwargs)
        error = jax.vmap(energy_error) if old.energy.ndim else energy_error
        return MeasuredState(*new, error(old, new))


def energy_error(old: HMCState, new: HMCState) -> Array:
    """dH of the proposal of one chain's transition from `old` to `new`; infinite where it has no energy."""
    _, key_momentum, _ = jax.random.split(old.rng_key, 3)
    tuning = old.adapt_state
    momentum = momentum_generator(old.z, tuning.mass_matrix_sqrt, key_momentum)
    energy = old.potential_energy + euclidean_kinetic_energy(tuning.inverse_mass_matrix, momentum)
    return jnp.where(new.accept_prob < 1.0, -jnp.log(new.accept_prob), new.energy - energy)
