"""Where chains start: at draws from the prior, or every second one cold.

Hot is a draw from the prior, whose field fluctuates more than the interacting one. Cold has every normal parameter at
its mean, so that phi = 0 wherever the output weights, modes or sites are normal; all other parameters are drawn. Chains
that have forgotten their start agree, whichever it was.
"""

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array

from nnft_mcmc.architectures import Architecture
from nnft_mcmc.architectures.on_lattice import FreeField

PRIOR, HOT_AND_COLD = "prior", "hot_and_cold"
STARTS = (PRIOR, HOT_AND_COLD)


def hot_and_cold(architecture: Architecture, keys: Array) -> dict[str, Array]:
    """Parameters of one chain for each key, even ones hot and odd ones cold; leading axis the chains."""
    cold = jnp.arange(len(keys)) % 2 == 1
    return jax.vmap(lambda key, cold: _start(architecture, key, cold))(keys, cold)


def _start(architecture: Architecture, key: Array, cold: Array) -> dict[str, Array]:
    drawn, prior = architecture.sample_parameters(key), architecture.prior()
    return {name: jnp.where(cold, cold_value(prior[name], value), value) for name, value in drawn.items()}


def cold_value(distribution: dist.Distribution, drawn: Array) -> Array:
    """The mean of a normal parameter, what was drawn of any other."""
    entry = distribution
    while isinstance(entry, (dist.Independent, dist.ExpandedDistribution)):
        entry = entry.base_dist
    if isinstance(entry, dist.Normal):
        return jnp.broadcast_to(jnp.asarray(distribution.mean, drawn.dtype), drawn.shape)
    return jnp.zeros_like(drawn) if isinstance(entry, FreeField) else drawn
