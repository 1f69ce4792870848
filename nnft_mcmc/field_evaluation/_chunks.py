"""Sums and maps over neurons, some at a time, so that nothing of the size neurons x sites is ever held.

Each piece is computed anew in the backward pass, for which only its inputs are kept.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.extend import core
from jaxtyping import Array

Tree = TypeVar("Tree")
Result = TypeVar("Result")

# Bytes that are held at once: what stays in a core's cache, or what keeps an accelerator busy.
_AT_ONCE = {"cpu": 2**21}
_AT_ONCE_ON_ACCELERATORS = 2**27


def bytes_at_once() -> int:
    """Bytes of one piece's intermediate results."""
    return _AT_ONCE.get(jax.default_backend(), _AT_ONCE_ON_ACCELERATORS)


def bytes_of(function: Callable, *arguments: Any) -> int:
    """Bytes of all intermediate results of one call together: what it takes if the compiler reuses nothing."""
    return max(1, bytes_in(eqx.filter_make_jaxpr(function)(*arguments)[0].jaxpr))


def bytes_in(jaxpr: Any) -> int:
    """The same for a traced function; of the functions that it calls in one step, the largest counts."""
    total = 0
    for equation in jaxpr.eqns:
        inner = [bytes_in(j) for j in core.jaxprs_in_params(equation.params)]
        total += max(inner, default=0) + sum(math.prod(v.aval.shape) * v.aval.dtype.itemsize for v in equation.outvars)
    return total


def sum_over(function: Callable[[Tree], Array], neurons: Tree, most: int) -> Array:
    """sum of function(piece), which adds up a piece's neurons: the first axis of each array, at most `most` at once."""
    pieces, rest = _cut(neurons, most)
    if pieces is None:
        return function(rest)
    piecewise = jax.checkpoint(function)
    zero = jax.eval_shape(function, rest)
    start = jnp.zeros(zero.shape, zero.dtype)
    total, _ = jax.lax.scan(lambda sum_, piece: (sum_ + piecewise(piece), None), start, pieces)
    return total + piecewise(rest)


def map_over(function: Callable[[Tree], Result], neurons: Tree, most: int) -> Result:
    """function(piece) of all pieces, joined; the first axis of each result counts the neurons."""
    pieces, rest = _cut(neurons, most)
    if pieces is None:
        return function(rest)
    many = jax.lax.map(jax.checkpoint(function), pieces)
    return jax.tree.map(lambda m, r: jnp.concatenate([m.reshape(-1, *m.shape[2:]), r]), many, function(rest))


def _cut(neurons: Tree, most: int) -> tuple[Tree | None, Tree]:
    """Pieces of equal size, stacked, and the rest, which is not larger than a piece and not empty."""
    count = len(jax.tree.leaves(neurons)[0])
    number = max(1, -(-count // most))
    size = max(1, -(-count // number))
    whole = max(0, -(-count // size) - 1)
    if whole == 0:
        return None, neurons
    pieces = jax.tree.map(lambda a: a[: whole * size].reshape(whole, size, *a.shape[1:]), neurons)
    return pieces, jax.tree.map(lambda a: a[whole * size :], neurons)
