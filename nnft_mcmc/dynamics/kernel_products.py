r"""The tangent kernel of one network times vectors, and along a trajectory of its parameters.

    Theta(x, y) v = J(x) S J(y)^T v,     S = diag(s_i^2),

a gradient of sum_j v_j phi(y_j) and a directional derivative of phi(x): the work of a few passes through the network
and no array of points by points.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from nnft_mcmc import _checks
from nnft_mcmc.architectures import Architecture
from nnft_mcmc.dynamics.empirical_kernel import MAX_BYTES, activations, checked_points, padded, tangent_kernel
from nnft_mcmc.dynamics.factors import Theta
from nnft_mcmc.dynamics.parameters import trained_blocks, weights_of_blocks


def tangent_kernel_product(
    architecture: Architecture,
    theta: Theta,
    v: Float[ArrayLike, "columns *vectors"],
    x: Float[ArrayLike, "rows dim"],
    y: Float[ArrayLike, "columns dim"] | None = None,
    *,
    trained: str = "all",
    coordinates: str = "parameters",
    max_bytes: int = MAX_BYTES,
) -> Float[Array, "rows *vectors"]:
    """Theta(x, y) v without Theta, for one vector or several; y is x where it is not given."""
    theta = {name: jnp.asarray(value) for name, value in theta.items()}
    rows, columns = checked_points(architecture, x), checked_points(architecture, x if y is None else y)
    vectors = jnp.asarray(v, columns.dtype)
    if vectors.ndim not in (1, 2) or len(vectors) != len(columns):
        raise _checks.InputError(
            f"v has shape {vectors.shape}; it must be ({len(columns)},), or ({len(columns)}, vectors) for several."
        )
    names = trained_blocks(architecture, trained)
    weights = {name: jnp.asarray(s) for name, s in weights_of_blocks(architecture, names, coordinates).items()}
    num_vectors = vectors.size // len(columns)
    per_point = 2 * activations(architecture, theta) * max(num_vectors, 1) * rows.dtype.itemsize
    tile = max(1, min(max_bytes // per_point, max(len(rows), len(columns))))
    flat = padded(vectors.reshape(len(columns), -1), tile, fill=0.0)
    product = _product(architecture, tile, theta, weights, flat, padded(rows, tile), padded(columns, tile))
    return product[: len(rows)].reshape(len(rows), *vectors.shape[1:])


@functools.partial(jax.jit, static_argnums=(0, 1))
def _product(
    architecture: Architecture, tile: int, theta: Theta, weights: Theta, v: Array, rows: Array, columns: Array
) -> Float[Array, "rows vectors"]:
    own = {name: theta[name] for name in weights}

    def field(own: Theta, points: Array) -> Array:
        return jax.vmap(lambda point: architecture.forward({**theta, **own}, point))(points)

    def of_one(v: Array) -> Array:
        def pull(total: Theta, part: tuple[Array, Array]) -> tuple[Theta, None]:
            points, cotangent = part
            (more,) = jax.vjp(lambda own: field(own, points), own)[1](cotangent)
            return jax.tree.map(jnp.add, total, more), None

        parts = columns.reshape(-1, tile, columns.shape[1]), v.reshape(-1, tile)
        gradient, _ = jax.lax.scan(pull, jax.tree.map(jnp.zeros_like, own), parts)
        along = {name: g * jnp.broadcast_to(weights[name], g.shape) for name, g in gradient.items()}

        def push(points: Array) -> Array:
            return jax.jvp(lambda own: field(own, points), (own,), (along,))[1]

        return jax.lax.map(push, rows.reshape(-1, tile, rows.shape[1])).reshape(-1)

    return jax.vmap(of_one, in_axes=1, out_axes=1)(v)


def tangent_kernels(
    architecture: Architecture,
    thetas: Theta,
    x: Float[ArrayLike, "rows dim"],
    y: Float[ArrayLike, "columns dim"] | None = None,
    *,
    trained: str = "all",
    coordinates: str = "parameters",
    max_bytes: int = MAX_BYTES,
) -> Float[Array, "times rows columns"]:
    """Theta_t(x, y) along training: `thetas` holds the parameters with the times on a first axis of each array."""
    lengths = {name: len(value) if jnp.ndim(value) else 0 for name, value in thetas.items()}
    if len(set(lengths.values())) != 1 or not min(lengths.values()):
        raise _checks.InputError(
            f"the first axes of thetas, which count the times, have the lengths {lengths}; stack the parameters of all"
            " times, as in jax.tree.map(lambda *v: jnp.stack(v), *list_of_thetas)."
        )
    at_time = functools.partial(
        tangent_kernel, architecture, x=x, y=y, trained=trained, coordinates=coordinates, max_bytes=max_bytes
    )
    return jnp.stack(
        [at_time({name: value[t] for name, value in thetas.items()}) for t in range(min(lengths.values()))]
    )


def relative_change(kernels: Float[ArrayLike, "times rows columns"]) -> Float[np.ndarray, " times"]:
    """|Theta_t - Theta_0|/|Theta_0| in the Frobenius norm."""
    values = np.asarray(kernels, dtype=np.float64)
    flat = values.reshape(len(values), math.prod(values.shape[1:]))
    return np.linalg.norm(flat - flat[0], axis=1) / np.linalg.norm(flat[0])
