"""Sums and maps over neurons, some at a time, so that nothing of the size neurons x sites is ever held.

Each piece is computed anew in the backward pass, for which only its inputs are kept.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

Tree = TypeVar("Tree")
Result = TypeVar("Result")


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
    size = -(-count // number)
    whole = number - 1
    if whole == 0:
        return None, neurons
    pieces = jax.tree.map(lambda a: a[: whole * size].reshape(whole, size, *a.shape[1:]), neurons)
    return pieces, jax.tree.map(lambda a: a[whole * size :], neurons)
