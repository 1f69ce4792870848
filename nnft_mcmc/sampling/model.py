"""NumPyro's own HMC and NUTS on a model built from the ensemble.

The model samples every parameter from its prior, keeps the field as a deterministic site and adds -S_int as a factor.
NumPyro moves on the unconstrained images of the parameters; `architectures/priors.py` says which maps those are and why
they have no wall, seam or singular point.

The mass matrix is diagonal. It starts, and the step size with it, from the spread of the prior: one inverse mass for
each parameter, the variance of its unconstrained image, so that output weights of size N^-1/2, phases and momenta are
equally stiff before the first step. Warm-up adapts every entry from there, within the block of its parameter.
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array
from numpyro.distributions import biject_to
from numpyro.infer import NUTS as NumpyroNUTS
from numpyro.infer import init_to_sample
from numpyro.infer.mcmc import MCMCKernel

from nnft_mcmc import _checks
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.sampling._base import Position, Sampler, require_smooth_map
from nnft_mcmc.sampling.measured_hmc import MeasuredHMC

# Blocks of the diagonal mass matrix, keyed as NumPyro wants them.
Masses = dict[tuple[str, ...], Array]
VARIANCE_ENTRIES = 1000  # draws of single numbers from which a variance is estimated


def numpyro_model(ensemble: Ensemble) -> Callable[[], None]:
    """The deformed density as a NumPyro model with sites for the parameters and the deterministic site `field`."""

    def model() -> None:
        theta = {name: numpyro.sample(name, d.to_event()) for name, d in ensemble.architecture.prior().items()}
        field = numpyro.deterministic("field", ensemble.field(theta))
        numpyro.factor("insertion", -ensemble.action(field))

    return model


def inverse_masses(prior: dict[str, dist.Distribution]) -> Masses:
    """The variance of each parameter's unconstrained image, estimated from prior draws with a fixed key."""

    def of_block(distribution: dist.Distribution, key: Array) -> Array:
        num_draws = 1 + VARIANCE_ENTRIES // math.prod(distribution.shape())
        images = biject_to(distribution.support).inv(distribution.sample(key, (num_draws,)))
        return jnp.full(images[0].size, jnp.var(images))

    keys = jax.random.split(jax.random.key(0), len(prior))
    return {(name,): of_block(d, key) for (name, d), key in zip(prior.items(), keys, strict=True)}


@dataclass(frozen=True, kw_only=True)
class _Hamiltonian(Sampler):
    """Settings of HMC and NUTS. Chains start at draws from the prior; step size and diagonal mass are adapted."""

    target_accept: float = 0.8

    def check_settings(self) -> None:
        _checks.fraction("sampler.target_accept", self.target_accept)
        self.check_trajectory()

    @abstractmethod
    def check_trajectory(self) -> None:
        """Refuse trajectories that cannot be."""

    def kernel(self, ensemble: Ensemble) -> MCMCKernel:
        for distribution in ensemble.architecture.prior().values():
            require_smooth_map(distribution)
        return self.hamiltonian_kernel(numpyro_model(ensemble), inverse_masses(ensemble.architecture.prior()))

    def initial(self, ensemble: Ensemble, theta: dict[str, Array]) -> dict[str, Array]:
        prior = ensemble.architecture.prior()
        return {name: biject_to(prior[name].support).inv(value) for name, value in theta.items()}

    @abstractmethod
    def hamiltonian_kernel(self, model: Callable[[], None], inverse_masses: Masses) -> MCMCKernel:
        """The NumPyro kernel on the ensemble's model, with masses to start from."""

    def position(self, ensemble: Ensemble, kernel: MCMCKernel) -> Callable[[Any], Position]:
        constrain = kernel.postprocess_fn((), {})

        def position(state: Any) -> Position:
            sites = constrain(state.z)
            return Position({name: sites[name] for name in ensemble.architecture.prior()}, sites["field"])

        return position


def _statistics(state: Any) -> dict[str, Array]:
    """What a transition of either sampler says of itself."""
    return {
        "acceptance_rate": state.accept_prob,
        "diverging": state.diverging,
        "n_steps": state.num_steps,
        "energy": state.energy,
        "lp": -state.potential_energy,
        "step_size": state.adapt_state.step_size,
        "num_not_finite": jnp.isnan(state.potential_energy).astype(int),
    }


@dataclass(frozen=True, kw_only=True)
class HMC(_Hamiltonian):
    """NumPyro's HMC with trajectories of `num_steps` leapfrog steps."""

    num_steps: int = 10

    def check_trajectory(self) -> None:
        _checks.integer("sampler.num_steps", self.num_steps, minimum=1)

    def hamiltonian_kernel(self, model: Callable[[], None], inverse_masses: Masses) -> MCMCKernel:
        return MeasuredHMC(
            model,
            num_steps=self.num_steps,
            trajectory_length=None,  # otherwise NumPyro silently takes steps of 2 pi/num_steps
            inverse_mass_matrix=inverse_masses,
            target_accept_prob=self.target_accept,
            init_strategy=init_to_sample,
        )

    def statistics(self, state: Any) -> dict[str, Array]:
        return {**_statistics(state), "energy_error": state.energy_error}


@dataclass(frozen=True, kw_only=True)
class NUTS(_Hamiltonian):
    """NumPyro's no-U-turn sampler, with at most 2^max_tree_depth - 1 leapfrog steps in a transition."""

    max_tree_depth: int = 10

    def check_trajectory(self) -> None:
        _checks.integer("sampler.max_tree_depth", self.max_tree_depth, minimum=1, maximum=20)

    def hamiltonian_kernel(self, model: Callable[[], None], inverse_masses: Masses) -> MCMCKernel:
        return NumpyroNUTS(
            model,
            max_tree_depth=self.max_tree_depth,
            inverse_mass_matrix=inverse_masses,
            target_accept_prob=self.target_accept,
            init_strategy=init_to_sample,
        )

    def statistics(self, state: Any) -> dict[str, Array]:
        return _statistics(state)
