"""Neuron refresh: Metropolis moves that redraw one neuron at a time from its prior.

For phi = sum_i phi_i with independent neurons, propose theta_i' ~ P(theta_i) and accept with probability

    min(1, exp(-[S_int(phi - phi_i + phi_i') - S_int(phi)])).

The prior cancels from the ratio, so the move needs no gradient and no step size, and heavy-tailed or stiff parameters
cost nothing. One neuron of many changes the field by O(N^-1/2), so the acceptance rises with the width N, and a sweep
over all neurons replaces nearly the whole field. One transition of the kernel is one sweep.

The field is carried along the sweep, and computed afresh from the neurons at its end, so that rounding cannot drift.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array
from numpyro.infer.mcmc import MCMCKernel

from nnft_mcmc import _checks
from nnft_mcmc.architectures import SumOfNeurons
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.sampling._base import AnnealableKernel, Position, Sampler, position_of_z


class RefreshState(NamedTuple):
    """`z` is the position as NumPyro collects it; `per_neuron` (neurons, sites) what each neuron adds to the field."""

    z: dict[str, Array]
    per_neuron: Array
    acceptance_rate: Array
    num_not_finite: Array
    rng_key: Array


class RefreshKernel(AnnealableKernel):
    """One sweep of neuron refreshes. `z` holds the parameters and `field`."""

    def __init__(self, ensemble: Ensemble) -> None:
        self.architecture = sum_of_neurons("refresh", ensemble)
        self.ensemble = ensemble
        self._sites = jnp.asarray(ensemble.lattice.sites.reshape(-1, ensemble.lattice.dim))

    def per_neuron(self, theta: dict[str, Array]) -> Array:
        """What each neuron adds to the field, shape (neurons, sites)."""
        return self.architecture.neurons(theta, self._sites)

    def init_chain(self, rng_key: Array, num_warmup: int, init_params: dict[str, Array] | None) -> RefreshState:
        rng_key, key = jax.random.split(rng_key)
        theta = self.architecture.sample_parameters(key) if init_params is None else init_params
        zero = jnp.zeros((), dtype=int)
        return self.arrive(theta, self.per_neuron(theta), jnp.ones(()), zero, rng_key)

    def arrive(
        self, theta: dict[str, Array], per_neuron: Array, acceptance_rate: Array, num_not_finite: Array, rng_key: Array
    ) -> RefreshState:
        """The state at given neurons, with the field computed afresh from them."""
        field = per_neuron.sum(axis=0).reshape(self.ensemble.lattice.shape)
        return RefreshState({**theta, "field": field}, per_neuron, acceptance_rate, num_not_finite, rng_key)

    def at(self, state: RefreshState, z: dict[str, Array]) -> RefreshState:
        moved = state._replace(z=z)
        return moved._replace(per_neuron=self.per_neuron(position_of_z(moved).theta))

    def step_at(self, state: RefreshState, scale: Array) -> RefreshState:
        rng_key, key_propose, key_accept = jax.random.split(state.rng_key, 3)
        theta = {name: value for name, value in state.z.items() if name != "field"}
        proposed = self.architecture.sample_parameters(key_propose)
        # The barrier keeps XLA from recomputing the cosines wherever they are used.
        proposed, proposed_per_neuron = jax.lax.optimization_barrier((proposed, self.per_neuron(proposed)))
        shape = self.ensemble.lattice.shape
        log_uniform = -jax.random.exponential(key_accept, (self.architecture.width,), dtype=state.per_neuron.dtype)

        def action(field: Array) -> Array:
            return scale * self.ensemble.action(field)

        def refresh(
            carry: tuple[Array, Array], neuron: tuple[Array, Array, Array]
        ) -> tuple[tuple[Array, Array], tuple[Array, Array, Array]]:
            field, current_action = carry
            old, new, threshold = neuron
            proposed_field = field + (new - old)
            proposed_action = action(proposed_field.reshape(shape))
            log_ratio = current_action - proposed_action
            accept = threshold < log_ratio  # false for NaN
            carry = jnp.where(accept, proposed_field, field), jnp.where(accept, proposed_action, current_action)
            return carry, (accept, jnp.where(accept, new, old), jnp.isnan(log_ratio))

        start = state.z["field"].reshape(-1), action(state.z["field"])
        neurons = state.per_neuron, proposed_per_neuron, log_uniform
        _, (accept, per_neuron, not_finite) = jax.lax.scan(refresh, start, neurons)

        def choose(new: Array, old: Array) -> Array:
            return jnp.where(accept.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        theta = jax.tree.map(choose, proposed, theta)
        return self.arrive(theta, per_neuron, accept.mean(dtype=per_neuron.dtype), not_finite.sum(), rng_key)


@dataclass(frozen=True, kw_only=True)
class Refresh(Sampler):
    """Neuron refresh, for any architecture that is a sum of independent neurons; one transition is one sweep."""

    def kernel(self, ensemble: Ensemble) -> MCMCKernel:
        return RefreshKernel(ensemble)

    def position(self, ensemble: Ensemble, kernel: MCMCKernel) -> Callable[[RefreshState], Position]:
        return position_of_z

    def statistics(self, state: RefreshState) -> dict[str, Array]:
        return {"acceptance_rate": state.acceptance_rate, "num_not_finite": state.num_not_finite}


def sum_of_neurons(sampler: str, ensemble: Ensemble) -> SumOfNeurons:
    """The ensemble's architecture, if neurons can be redrawn one by one."""
    if not isinstance(ensemble.architecture, SumOfNeurons):
        raise _checks.InputError(
            f"sampler.name is {sampler!r}, which redraws neurons one by one, and {type(ensemble.architecture).__name__}"
            " is not a sum of independent neurons; use 'nuts' or 'hmc'."
        )
    return ensemble.architecture
