"""Plane waves on a box by a cosine and a sine for every neuron and site, O(N V): what the other routes must equal."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nnft_mcmc.field_evaluation._chunks import map_over, sum_over
from nnft_mcmc.field_evaluation._types import Pair, Waves
from nnft_mcmc.lattice import Lattice

# Cosines that are held at once.
_ENTRIES = 2**22


def neuron_fields(waves: Waves, lattice: Lattice) -> Float[Array, "neurons num_sites"]:
    """a_i cos(w_i.x) + b_i sin(w_i.x) of each neuron at the sites of a box, in C order."""
    momenta, cosines, sines = waves
    angles = _angles(momenta, _sites(momenta, lattice))
    return cosines[:, None] * jnp.cos(angles) + sines[:, None] * jnp.sin(angles)


def synthesis(waves: Waves, lattice: Lattice) -> Float[Array, "*sites"]:
    """sum_i a_i cos(w_i.x) + b_i sin(w_i.x) on a box."""

    def of_some(some: Waves) -> Array:
        return neuron_fields(some, lattice).sum(axis=0)

    return sum_over(of_some, waves, max(1, _ENTRIES // lattice.num_sites)).reshape(lattice.shape)


def analysis(momenta: Float[Array, "neurons dim"], weights: Float[Array, "*sites"], lattice: Lattice) -> Pair:
    """Real and imaginary parts of sum_x g(x) (1, x) e^{i w.x} for weights g."""
    sites = _sites(momenta, lattice)
    weighted = weights.reshape(-1, 1) * jnp.concatenate([jnp.ones_like(sites[:, :1]), sites], axis=1)

    def of_some(some: Array) -> Pair:
        angles = _angles(some, sites)
        return _product(jnp.cos(angles), weighted), _product(jnp.sin(angles), weighted)

    return map_over(of_some, momenta, max(1, _ENTRIES // lattice.num_sites))


def _sites(like: Array, lattice: Lattice) -> Array:
    return jnp.asarray(lattice.sites.reshape(-1, lattice.dim), like.dtype)


def _angles(momenta: Array, sites: Array) -> Float[Array, "neurons sites"]:
    return _product(momenta, sites.T)


def _product(left: Array, right: Array) -> Array:
    """Matrix product in the full precision of its factors, which accelerators do not use unasked."""
    return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)
