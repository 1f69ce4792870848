"""Independent draws of an architecture at chosen points, in batches that fit into memory."""

from collections.abc import Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from nnft_mcmc import _checks
from nnft_mcmc.architectures import OnLattice
from nnft_mcmc.architectures._base import Architecture
from nnft_mcmc.architectures.vector import VectorArchitecture
from nnft_mcmc.point_evaluation import FieldAt

_NUMBERS_PER_BATCH = 1 << 22


def fields_in_batches(
    architecture: Architecture | VectorArchitecture, key: Array, points: ArrayLike, num_draws: int
) -> Iterator[np.ndarray]:
    """Fields at `points` (P, dim): arrays (batch, P), or (batch, P, components), `num_draws` rows in all.

    Draw i depends on `key` and i only, so the batches have no effect on the draws.
    """
    x = checked_points(architecture, points)
    field = FieldAt(architecture, x)
    total = _checks.integer("num_draws", num_draws, 1)
    size = min(total, _batch_size(architecture, len(x)))
    for start in range(0, total, size):
        yield np.asarray(_batch(field, key, jnp.asarray(start), size))[: total - start]


@eqx.filter_jit
def _batch(field: FieldAt, key: Array, start: Array, size: int) -> Float[Array, "size points ..."]:
    def draw(i: Array) -> Array:
        return field(field.architecture.sample_parameters(jax.random.fold_in(key, i)))

    return jax.vmap(draw)(start + jnp.arange(size))


def checked_points(architecture: Architecture | VectorArchitecture, points: ArrayLike) -> np.ndarray:
    """Points (P, dim) in float64, sites where the field lives on a lattice."""
    x = np.asarray(points, dtype=np.float64)
    if x.ndim != 2 or x.shape[0] < 1 or x.shape[1] != architecture.dim or not np.isfinite(x).all():
        raise _checks.InputError(
            f"points has shape {x.shape}; it must be finite numbers of shape (P, dim) with dim = {architecture.dim}."
        )
    if isinstance(architecture, OnLattice):
        architecture.two_point(x, x)  # refuses what is not a site; the field itself would take the nearest
    return x


def _batch_size(architecture: Architecture | VectorArchitecture, num_points: int) -> int:
    """Draws whose parameters and hidden units at all points are about `_NUMBERS_PER_BATCH` numbers."""
    shapes = [distribution.shape() for distribution in architecture.prior().values()]
    parameters = sum(int(np.prod(shape)) for shape in shapes)
    units = max(shape[0] if shape else 1 for shape in shapes)
    return max(1, _NUMBERS_PER_BATCH // (parameters + num_points * units))
