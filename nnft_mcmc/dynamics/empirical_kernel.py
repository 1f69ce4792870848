r"""The tangent kernel of one network, lectures eq. (82), of any architecture at any parameters:

    Theta(x, y) = sum_i s_i^2 dphi(x)/dtheta_i dphi(y)/dtheta_i,

s_i = 1, or the standard deviations of the parameters in the prior; see `parameters`. Theta is made by tiles of points:
derivatives at a tile of rows and at a tile of columns, and their contraction, block by block. Three ways:

    "jacobian"          the derivatives as they are: 2 P operations for each pair of points and P parameters
    "products"          every weight matrix that enters one product in factored form; see `factors`
    "vector_products"   columns Theta e_j by a gradient at y_j and directional derivatives at all x: no contraction, but
                        the work of a network evaluation for each pair of points

"auto" takes for each block the cheaper of the first two: for W (m, c) times h (c, a), 2 m c operations per pair against
2 a^2 (m + c + 1). Tiles are as large as `max_bytes` allows. With several devices each has its own rows.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, ArrayLike, Float

from nnft_mcmc import _checks
from nnft_mcmc.architectures import Architecture
from nnft_mcmc.dynamics.factors import Factors, Structure, Theta, contract, factorise, factors_at
from nnft_mcmc.dynamics.parameters import trained_blocks, weights_of_blocks

METHODS = ("auto", "jacobian", "products", "vector_products")
MAX_BYTES = 2**30
ROWS = "rows"


class Plan(NamedTuple):
    """How a tangent kernel is made; everything that the compiled code depends on besides shapes."""

    names: tuple[str, ...]  # the trained blocks
    factored: tuple[str, ...]  # those of them in factored form
    rows: int  # points in one tile
    columns: int
    by_vectors: bool
    summed: bool  # over blocks
    symmetric: bool  # the columns are the rows
    mesh: Mesh | None  # devices, if more than one


def tangent_kernel(
    architecture: Architecture,
    theta: Theta,
    x: Float[ArrayLike, "rows dim"],
    y: Float[ArrayLike, "columns dim"] | None = None,
    *,
    method: str = "auto",
    trained: str = "all",
    coordinates: str = "parameters",
    max_bytes: int = MAX_BYTES,
    num_devices: int = 1,
) -> Float[Array, "rows columns"]:
    """Theta(x, y) at the parameters theta; y is x where it is not given.

    `max_bytes` bounds the working memory of each device besides theta and the result. With `num_devices` > 1 the result
    is sharded over its rows.
    """
    scope = Scope(method, trained, coordinates, max_bytes, num_devices)
    return _kernel(architecture, theta, x, y, scope, summed=True)["sum"]


def tangent_kernel_blocks(
    architecture: Architecture,
    theta: Theta,
    x: Float[ArrayLike, "rows dim"],
    y: Float[ArrayLike, "columns dim"] | None = None,
    *,
    method: str = "auto",
    trained: str = "all",
    coordinates: str = "parameters",
    max_bytes: int = MAX_BYTES,
    num_devices: int = 1,
) -> dict[str, Float[Array, "rows columns"]]:
    """What each parameter array adds to Theta(x, y), by its name; their sum is `tangent_kernel`."""
    scope = Scope(method, trained, coordinates, max_bytes, num_devices)
    return _kernel(architecture, theta, x, y, scope, summed=False)


class Scope(NamedTuple):
    """The settings of a tangent kernel, as they are given."""

    method: str
    trained: str
    coordinates: str
    max_bytes: int
    num_devices: int


def plan(
    architecture: Architecture, theta: Theta, num_rows: int, num_columns: int | None, scope: Scope, *, summed: bool
) -> Plan:
    """The cheapest way that the settings allow; `num_columns` is None where the columns are the rows."""
    _checks.one_of("method", scope.method, METHODS)
    _checks.integer("max_bytes", scope.max_bytes, 1, 2**62)
    names = trained_blocks(architecture, scope.trained)
    structure = _structure(architecture, _shapes(theta))
    variances = weights_of_blocks(architecture, names, scope.coordinates)
    usable = {name: p for name, p in structure.products.items() if name in names and variances[name].ndim == 0}
    if scope.method == "auto":
        usable = {name: p for name, p in usable.items() if p.operations < 2 * p.rows * p.contracted}
    factored = tuple(usable) if scope.method in ("auto", "products") else ()
    mesh = _mesh(scope.num_devices)
    rows, columns = -(-num_rows // scope.num_devices), num_columns or num_rows
    dense = sum(theta[name].size for name in names if name not in factored)
    per_point = dense + structure.activations * 2 + sum(p.size for p in usable.values() if scope.method != "jacobian")
    per_pair = 1 + len(names) + 2 * max([p.columns**2 for p in usable.values() if p.columns > 1], default=0)
    tile = _tile(per_point, per_pair, scope.max_bytes // jnp.result_type(*theta.values()).itemsize)
    by_vectors = scope.method == "vector_products"
    symmetric = num_columns is None and mesh is None
    return Plan(names, factored, _even(rows, tile), _even(columns, tile), by_vectors, summed, symmetric, mesh)


def _tile(per_point: int, per_pair: int, numbers: int) -> int:
    """The largest b with 2 b per_point + b^2 per_pair <= numbers."""
    tile = int((math.sqrt(per_point**2 + per_pair * numbers) - per_point) / per_pair)
    if tile < 1:
        raise _checks.InputError(
            f"max_bytes leaves room for {numbers} numbers, and the tangent kernel of two points needs"
            f" {2 * per_point + per_pair}; give more."
        )
    return tile


def _even(length: int, tile: int) -> int:
    """A tile no larger than the given one that cuts `length` points with little left over."""
    return -(-length // -(-length // tile)) if length else 1


def _mesh(num_devices: int) -> Mesh | None:
    _checks.integer("num_devices", num_devices, 1)
    if num_devices > len(jax.devices()):
        raise _checks.InputError(f"num_devices is {num_devices} and there are {len(jax.devices())}; give at most that.")
    return None if num_devices == 1 else Mesh(np.array(jax.devices()[:num_devices]), (ROWS,))


def _kernel(
    architecture: Architecture, theta: Theta, x: ArrayLike, y: ArrayLike | None, scope: Scope, *, summed: bool
) -> dict[str, Array]:
    theta = {name: jnp.asarray(value) for name, value in theta.items()}
    rows, columns = checked_points(architecture, x), None if y is None else checked_points(architecture, y)
    how = plan(architecture, theta, len(rows), None if columns is None else len(columns), scope, summed=summed)
    shape = len(rows), len(rows if columns is None else columns)
    weights = _weights(architecture, how.names, scope.coordinates, jnp.result_type(*theta.values()))
    others = padded(rows if columns is None else columns, how.columns)
    blocks = _compiled(architecture, how, theta, weights, padded(rows, how.rows * scope.num_devices), others)
    return {name: block[: shape[0], : shape[1]] for name, block in blocks.items()}


def checked_points(architecture: Architecture, x: ArrayLike) -> Array:
    """Points (points, dim) in JAX's precision."""
    x = jnp.asarray(x, jnp.result_type(float))
    if x.ndim != 2 or x.shape[1] != architecture.dim or not len(x):
        raise _checks.InputError(
            f"x has shape {x.shape}; a tangent kernel is made at points of shape (points, dim) with dim ="
            f" {architecture.dim}; give at least one, and reshape the sites of a lattice to that."
        )
    return x


def padded(x: Array, tile: int, fill: float | None = None) -> Array:
    """Rows until their number is a multiple of the tile: the last one again, or one of the number `fill`."""
    more = -len(x) % tile
    rows = jnp.repeat(x[-1:], more, axis=0) if fill is None else jnp.full((more, *x.shape[1:]), fill, x.dtype)
    return jnp.concatenate([x, rows])


def activations(architecture: Architecture, theta: Theta) -> int:
    """How many numbers a network computes for one point."""
    return _structure(architecture, _shapes(theta)).activations


def _weights(architecture: Architecture, names: Sequence[str], coordinates: str, dtype: jnp.dtype) -> dict[str, Array]:
    """s_i^2, shape (1, 1) or (1, size)."""
    variances = weights_of_blocks(architecture, tuple(names), coordinates)
    return {name: jnp.asarray(value.reshape(1, -1), dtype) for name, value in variances.items()}


def _shapes(theta: Theta) -> tuple[tuple[str, tuple[int, ...], str], ...]:
    return tuple((name, theta[name].shape, str(theta[name].dtype)) for name in sorted(theta))


@functools.lru_cache(maxsize=64)
def _structure(architecture: Architecture, shapes: tuple[tuple[str, tuple[int, ...], str], ...]) -> Structure:
    return factorise(architecture, {name: jax.ShapeDtypeStruct(shape, dtype) for name, shape, dtype in shapes})


@functools.partial(jax.jit, static_argnums=(0, 1))
def _compiled(
    architecture: Architecture, how: Plan, theta: Theta, weights: Mapping[str, Array], rows: Array, columns: Array
) -> dict[str, Array]:
    tiles = functools.partial(_vector_tiles if how.by_vectors else _contracted_tiles, architecture, how)
    if how.mesh is None:
        return tiles(theta, weights, rows, columns)
    everywhere, own = PartitionSpec(), PartitionSpec(ROWS)
    cut = jax.shard_map(
        tiles, mesh=how.mesh, in_specs=(everywhere, everywhere, own, everywhere), out_specs=own, check_vma=False
    )
    return cut(theta, weights, jax.lax.with_sharding_constraint(rows, NamedSharding(how.mesh, own)), columns)


def _contracted_tiles(
    architecture: Architecture, how: Plan, theta: Theta, weights: Mapping[str, Array], rows: Array, columns: Array
) -> dict[str, Array]:
    one = factors_at(_structure(architecture, _shapes(theta)), how.factored, how.names)
    at = jax.vmap(one, in_axes=(None, 0))

    def overlap(left: Factors, right: Factors) -> dict[str, Array]:
        blocks = contract(left, right, weights)
        return {"sum": functools.reduce(jnp.add, blocks.values())} if how.summed else blocks

    if how.symmetric and how.rows == len(rows):
        factors = at(theta, rows)
        return overlap(factors, factors)

    def of_rows(some: Array) -> dict[str, Array]:
        left = at(theta, some)
        return jax.lax.map(lambda others: overlap(left, at(theta, others)), _cut(columns, how.columns))

    return {name: _assembled(block) for name, block in jax.lax.map(of_rows, _cut(rows, how.rows)).items()}


def _vector_tiles(
    architecture: Architecture, how: Plan, theta: Theta, weights: Mapping[str, Array], rows: Array, columns: Array
) -> dict[str, Array]:
    def field(own: Theta, x: Array) -> Array:
        return jax.vmap(lambda point: architecture.forward({**theta, **own}, point))(x)

    own = {name: theta[name] for name in how.names}

    def column(some: Array, point: Array) -> dict[str, Array]:
        gradient = jax.grad(lambda own: field(own, point[None])[0])(own)
        scaled = {name: g * jnp.reshape(weights[name], _shape_like(weights[name], g)) for name, g in gradient.items()}
        zero = jax.tree.map(jnp.zeros_like, scaled)
        along = {"sum": scaled} if how.summed else {name: {**zero, name: g} for name, g in scaled.items()}
        return {name: jax.jvp(lambda own: field(own, some), (own,), (v,))[1] for name, v in along.items()}

    def of_rows(some: Array) -> dict[str, Array]:
        transposed = jax.lax.map(functools.partial(column, some), columns, batch_size=how.columns)
        return jax.tree.map(jnp.transpose, transposed)

    tiles = jax.lax.map(of_rows, _cut(rows, how.rows))
    return {name: block.reshape(len(rows), len(columns)) for name, block in tiles.items()}


def _shape_like(weight: Array, parameter: Array) -> tuple[int, ...]:
    return parameter.shape if weight.size == parameter.size else (1,) * parameter.ndim


def _cut(x: Array, tile: int) -> Array:
    return x.reshape(-1, tile, x.shape[-1])


def _assembled(tiles: Array) -> Array:
    """One array from tiles (row tile, column tile, row, column)."""
    return jnp.transpose(tiles, (0, 2, 1, 3)).reshape(tiles.shape[0] * tiles.shape[2], tiles.shape[1] * tiles.shape[3])
