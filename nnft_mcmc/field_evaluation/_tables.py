"""Tables of e^{i w.y} on two sets of offsets y whose sums y1 + y2 are the sites of a box.

The sites of a box are x = x_0 + y1 + y2: in C order, y1 runs over the first axes and the high digit of one axis, y2
over the low digit of that axis and the remaining ones. Whatever the dimension, both sets have about sqrt(V) members.
Their tables follow from one sine and cosine for each neuron and axis by multiplication,

    e^{i k s} = (e^{i r s})^{k div r} (e^{i s})^{k mod r}        r^2 ~ number of sites along the axis

which costs a few flops for each entry where a cosine costs tens. Rounding grows as the number of sites along an axis
(of each digit) times the machine precision, like that of the product w x in cos(w x) itself.

Complex numbers are pairs of real arrays, tables have shape (offsets, neurons). XLA fuses a table into what reads it and
computes each entry anew for every use, hence the barriers.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nnft_mcmc.field_evaluation._types import Pair
from nnft_mcmc.lattice import Lattice

# What an entry of a table costs, in entries of the matrix that it is multiplied into.
_TABLE_COST = 4


class Split(NamedTuple):
    """Axis `axis` is cut into `high` pieces of `low` sites; the last piece may reach beyond the lattice."""

    axis: int
    high: int
    low: int


@functools.cache
def split_of(shape: tuple[int, ...]) -> Split:
    """The cheapest cut of the sites into two groups."""

    def cost(split: Split) -> int:
        first, second = group_sizes(shape, split)
        return first * second + _TABLE_COST * (first + second)

    cuts = [Split(axis, -(-n // low), low) for axis, n in enumerate(shape) for low in range(1, n + 1)]
    return min(cuts, key=cost)


def group_sizes(shape: tuple[int, ...], split: Split) -> tuple[int, int]:
    """Numbers of offsets in the two groups."""
    return math.prod(shape[: split.axis]) * split.high, split.low * math.prod(shape[split.axis + 1 :])


def tables(momenta: Float[Array, "neurons dim"], start: Pair, lattice: Lattice, split: Split) -> tuple[Pair, Pair]:
    """start e^{i w.(x_0 + y1)} and e^{i w.y2}."""
    axis, high, low = split
    steps = [momenta[:, k] * lattice.spacing for k in range(lattice.dim)]
    origin = jnp.stack([jnp.asarray(lattice.axis(k)[0], momenta.dtype) for k in range(lattice.dim)])
    at_origin = times(start, polar((momenta * origin[None]).sum(axis=1)))
    firsts = [*zip(steps[:axis], lattice.shape[:axis], strict=True), (steps[axis] * low, high)]
    seconds = [(steps[axis], low), *zip(steps[axis + 1 :], lattice.shape[axis + 1 :], strict=True)]
    first = [power_table(step, count, at_origin if k == 0 else None) for k, (step, count) in enumerate(firsts)]
    second = [power_table(step, count) for step, count in seconds]
    return jax.lax.optimization_barrier((functools.reduce(outer, first), functools.reduce(outer, second)))


def power_table(step: Float[Array, " neurons"], count: int, start: Pair | None = None) -> Pair:
    """start e^{i k step} for k = 0 .. count - 1; start is 1 where there is none."""
    radix = math.isqrt(count - 1) + 1 if count > 1 else 1
    powers = _powers(jax.lax.optimization_barrier(polar(step)), radix + 1)
    low = powers[:-1] if start is None else [times(start, power) for power in powers[:-1]]
    re, im = outer(_stacked(_powers(powers[-1], -(-count // radix))), _stacked(low))
    return re[:count], im[:count]


def outer(first: Pair, second: Pair) -> Pair:
    """Products of all rows of two tables, those of the first in the slow index."""
    re, im = times((first[0][:, None], first[1][:, None]), (second[0][None], second[1][None]))
    shape = len(first[0]) * len(second[0]), *re.shape[2:]
    return re.reshape(shape), im.reshape(shape)


def times(z: Pair, y: Pair) -> Pair:
    """Complex product."""
    return z[0] * y[0] - z[1] * y[1], z[0] * y[1] + z[1] * y[0]


def polar(angle: Array) -> Pair:
    """e^{i angle}."""
    return jnp.cos(angle), jnp.sin(angle)


def _powers(z: Pair, count: int) -> list[Pair]:
    """z^k for k < count, each from two of about half its order."""
    powers = [(jnp.ones_like(z[0]), jnp.zeros_like(z[0])), z]
    for k in range(2, count):
        powers.append(times(powers[k // 2], powers[k - k // 2]))
    return powers[:count]


def _stacked(pairs: list[Pair]) -> Pair:
    return jnp.stack([re for re, _ in pairs]), jnp.stack([im for _, im in pairs])
