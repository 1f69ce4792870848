"""Composite: a refresh sweep, then Hamiltonian Monte Carlo on the output weights.

phi is linear in the output weights a, so at fixed neurons the conditional density P(a) exp(-S_int[a . f]) is smooth and
well scaled whatever the momenta are. HMC moves the whole field along it at once, which refresh, one neuron at a time,
does not; refresh moves everything else. NumPyro's HMC does the trajectories, with the prior variances of the weights as
its inverse mass, under which the free theory is a set of equal oscillators; the step size is adapted in warm-up.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpyro
from jaxtyping import Array
from numpyro.infer import HMC as NumpyroHMC
from numpyro.infer import init_to_sample
from numpyro.infer.hmc import HMCState
from numpyro.infer.mcmc import MCMCKernel
from numpyro.infer.util import potential_energy

from nnft_mcmc import _checks
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.sampling._base import AnnealableKernel, Position, Sampler, position_of_z, require_smooth_map
from nnft_mcmc.sampling.refresh import RefreshKernel, RefreshState, sum_of_neurons


class CompositeState(NamedTuple):
    """`z` is the position after both moves."""

    z: dict[str, Array]
    refresh: RefreshState
    hmc: HMCState
    rng_key: Array


class CompositeKernel(AnnealableKernel):
    """One transition: a refresh sweep and one HMC trajectory of `num_steps` leapfrog steps in the output weights."""

    def __init__(self, ensemble: Ensemble, num_steps: int, target_accept: float) -> None:
        self.ensemble = ensemble
        self.architecture = sum_of_neurons("composite", ensemble)
        self._refresh = RefreshKernel(ensemble)
        self._prior = self.architecture.prior()["amplitudes"].to_event()
        require_smooth_map(self._prior)
        self._hmc = NumpyroHMC(
            self._model,
            num_steps=num_steps,
            trajectory_length=None,  # otherwise NumPyro silently takes steps of 2 pi/num_steps
            target_accept_prob=target_accept,
            inverse_mass_matrix=jnp.ravel(self._prior.variance),
            adapt_mass_matrix=False,
            init_strategy=init_to_sample,
        )

    def _per_neuron(self, amplitudes: Array, features: Array) -> Array:
        """a_i . f_i(x), shape (neurons, sites); features (neurons, sites, ...) with the shape of a_i last."""
        return jax.vmap(lambda a, f: jnp.sum(a * f, axis=tuple(range(1, f.ndim))))(amplitudes, features)

    def _model(self, features: Array, scale: Array) -> None:
        amplitudes = numpyro.sample("amplitudes", self._prior)
        field = self._per_neuron(amplitudes, features).sum(axis=0).reshape(self.ensemble.lattice.shape)
        numpyro.factor("insertion", -scale * self.ensemble.action(field))

    def _features(self, theta: dict[str, Array]) -> Array:
        sites = jnp.asarray(self.ensemble.lattice.sites.reshape(-1, self.ensemble.lattice.dim))
        at_sites = jax.vmap(self.architecture.feature, in_axes=(None, 0))
        return jax.vmap(at_sites, in_axes=(0, None))(theta, sites)

    def init_chain(self, rng_key: Array, num_warmup: int, init_params: dict[str, Array] | None) -> CompositeState:
        rng_key, key_refresh, key_hmc = jax.random.split(rng_key, 3)
        refresh = self._refresh.init_chain(key_refresh, num_warmup, init_params)
        start = {"amplitudes": refresh.z["amplitudes"]}
        arguments = {"features": self._features(position_of_z(refresh).theta), "scale": 1.0}
        hmc = self._hmc.init(key_hmc, num_warmup, start, (), arguments)
        return CompositeState(refresh.z, refresh, hmc, rng_key)

    def at(self, state: CompositeState, z: dict[str, Array]) -> CompositeState:
        return state._replace(z=z, refresh=self._refresh.at(state.refresh, z))

    def step_at(self, state: CompositeState, scale: Array) -> CompositeState:
        refresh = self._refresh.step_at(state.refresh, scale)
        arguments = {"features": self._features(position_of_z(refresh).theta), "scale": scale}
        z = {"amplitudes": refresh.z["amplitudes"]}
        # The neurons have changed under HMC, and with them its potential.
        energy, gradient = jax.value_and_grad(lambda z: potential_energy(self._model, (), arguments, z))(z)
        hmc = state.hmc._replace(z=z, potential_energy=energy, z_grad=gradient)
        hmc = self._hmc.sample(hmc, (), arguments)
        theta = position_of_z(refresh).theta | hmc.z
        per_neuron = self._per_neuron(theta["amplitudes"], arguments["features"])
        refresh = self._refresh.arrive(
            theta, per_neuron, refresh.acceptance_rate, refresh.num_not_finite, refresh.rng_key
        )
        return CompositeState(refresh.z, refresh, hmc, state.rng_key)


@dataclass(frozen=True, kw_only=True)
class Composite(Sampler):
    """A refresh sweep, then one HMC trajectory of `num_steps` leapfrog steps in the output weights."""

    num_steps: int = 8
    target_accept: float = 0.8

    def check_settings(self) -> None:
        _checks.integer("sampler.num_steps", self.num_steps, minimum=1)
        _checks.fraction("sampler.target_accept", self.target_accept)

    def kernel(self, ensemble: Ensemble) -> MCMCKernel:
        return CompositeKernel(ensemble, self.num_steps, self.target_accept)

    def position(self, ensemble: Ensemble, kernel: MCMCKernel) -> Callable[[CompositeState], Position]:
        return position_of_z

    def statistics(self, state: CompositeState) -> dict[str, Array]:
        return {
            "acceptance_rate": state.refresh.acceptance_rate,
            "num_not_finite": state.refresh.num_not_finite,
            "hmc_acceptance_rate": state.hmc.accept_prob,
            "diverging": state.hmc.diverging,
            "n_steps": state.hmc.num_steps,
            "step_size": state.hmc.adapt_state.step_size,
        }
