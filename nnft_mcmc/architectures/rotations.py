"""The uniform law on rotations, Haar's measure on O(d): what turns a partition of momentum space as a whole."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array
from numpyro.distributions import constraints

from nnft_mcmc.architectures.priors import NoSmoothMap


class HaarRotation(dist.Distribution):
    """A uniformly distributed orthogonal matrix of shape (dim, dim), reflections included.

    Drawn as Q of a standard normal matrix Z = Q R with the diagonal of R made positive (Mezzadri, Notices AMS 54 (2007)
    592). The density is with respect to Haar's probability measure: 1 on orthogonal matrices, 0 elsewhere.
    """

    arg_constraints: ClassVar[dict] = {}
    pytree_aux_fields = ("dim",)

    def __init__(self, dim: int) -> None:
        self.dim = dim
        super().__init__(batch_shape=(), event_shape=(dim, dim))

    @property
    def support(self) -> constraints.Constraint:
        return NoSmoothMap("rotations are orthogonal matrices", event_dim=2)

    @property
    def mean(self) -> Array:
        return jnp.zeros(self.event_shape)

    @property
    def variance(self) -> Array:
        return jnp.full(self.event_shape, 1 / self.dim)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        q, r = jnp.linalg.qr(jax.random.normal(key, (*sample_shape, self.dim, self.dim)))
        return q * jnp.sign(jnp.diagonal(r, axis1=-2, axis2=-1))[..., None, :]

    def log_prob(self, value: Array) -> Array:
        gram = jnp.einsum("...ij,...ik->...jk", value, value)
        defect = jnp.abs(gram - jnp.broadcast_to(jnp.eye(self.dim), gram.shape)).max(axis=(-2, -1))
        return jnp.where(defect < 1e4 * jnp.finfo(value.dtype).eps, 0.0, -jnp.inf)
