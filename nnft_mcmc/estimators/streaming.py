"""Sums over many independent draws, in batches on the device: nothing of the size of the draws is ever kept.

A statistic turns the key of one draw into a few values (the field at some points), and those into the numbers s that
are summed (products of the values). Draw i has the key fold_in(key, i) and belongs to block i mod B of the jackknife,
so that what is drawn depends on the key alone. A compiled loop makes batch after batch and adds

    S_b = sum_{i = b mod B} s_i                              (numbers, B)

of which all cumulants and their errors follow (`statistics.CumulantAccumulator`). The same settings give the same bits;
another batch size gives the same draws, summed in another order. Memory is that of one batch and of S_b, whatever the
number of draws. One device does the work.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray

from nnft_mcmc import _checks
from nnft_mcmc.field_evaluation import bytes_in
from nnft_mcmc.statistics import CumulantEstimate

# Bytes of one batch, counted as in `field_evaluation.bytes_of`.
MEMORY = 64 * 2**20
# One compiled call makes this part of the draws; after each the sums go to the host, in float64.
_CALLS = 100
# Draws are numbered by 32 bits, of which the last batch may need a few more.
_MOST_DRAWS = 2**31

Progress = Callable[[int], object]


@dataclass(frozen=True)
class Batch:
    """Draws at once, and an upper bound of the bytes that they and the sums take on the device."""

    size: int
    bytes: int


class Statistic(eqx.Module):
    """The numbers that are summed over draws; they vanish where all values do."""

    @abstractmethod
    def draw(self, key: Array) -> Float[Array, " values"]:
        """The values of one draw."""

    @abstractmethod
    def numbers(self, values: Float[Array, "values draws"]) -> Float[Array, "numbers draws"]:
        """The numbers of several draws."""


@dataclass(frozen=True)
class Sums:
    """Sums (B, numbers) over the draws of each block, in float64, and the number of draws in each, (B,).

    batch: what was held at once.
    """

    sums: NDArray[np.float64]
    counts: NDArray[np.int64]
    batch: Batch

    def of(self, numbers: slice) -> "Sums":
        """The sums of some of the numbers."""
        return Sums(self.sums[:, numbers], self.counts, self.batch)

    def means(self) -> CumulantEstimate:
        """Mean of each number with the jackknife over blocks."""
        total, num_draws = self.sums.sum(axis=0), int(self.counts.sum())
        if self.counts.min() == 0:
            raise _checks.InputError(
                f"{num_draws} draws do not fill {len(self.counts)} blocks; draw more, or take fewer blocks."
            )
        replicas = (total - self.sums) / (num_draws - self.counts)[:, None]
        return CumulantEstimate(total / num_draws, replicas, num_draws)


def stream(
    statistic: Statistic,
    key: Array,
    num_draws: int,
    num_blocks: int,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> Sums:
    """Sum `statistic` over `num_draws` draws; `progress` is told the number of new draws now and then.

    batch_size: draws at once, rounded down to a divisor or a multiple of num_blocks; None: what MEMORY allows.
    """
    num_draws = _checks.integer("num_draws", num_draws, 1, _MOST_DRAWS)
    num_blocks = _checks.integer("num_blocks", num_blocks, 4)
    one = eqx.filter_make_jaxpr(_of_one_draw(statistic))(key)[0]
    numbers, each = one.out_avals[0], bytes_in(one.jaxpr)
    limit = MEMORY // each if batch_size is None else _checks.integer("batch_size", batch_size, 1)
    size = _fitting(min(limit, num_blocks * -(-num_draws // num_blocks)), num_blocks)
    total = np.zeros((*numbers.shape, num_blocks))
    for first, last in _calls(-(-num_draws // size)):
        total = total + _summed(statistic, key, first, last, num_draws, size, num_blocks)
        if progress is not None:
            progress(min(last * size, num_draws) - first * size)
    counts = np.full(num_blocks, num_draws // num_blocks) + (np.arange(num_blocks) < num_draws % num_blocks)
    return Sums(total.T, counts, Batch(size, size * each + 3 * total.size * numbers.dtype.itemsize))


def _of_one_draw(statistic: Statistic) -> Callable[[Array], Float[Array, " numbers"]]:
    return lambda key: statistic.numbers(statistic.draw(key)[:, None])[:, 0]


def _fitting(limit: int, num_blocks: int) -> int:
    """The largest divisor or multiple of num_blocks up to `limit`."""
    if limit >= num_blocks:
        return limit // num_blocks * num_blocks
    return max(n for n in range(1, max(limit, 1) + 1) if num_blocks % n == 0)


def _calls(num_batches: int) -> Iterator[tuple[int, int]]:
    """First and last batch of each compiled call."""
    step = -(-num_batches // _CALLS)
    for first in range(0, num_batches, step):
        yield first, min(first + step, num_batches)


def _summed(
    statistic: Statistic, key: Array, first: int, last: int, num_draws: int, batch: int, num_blocks: int
) -> NDArray[np.float64]:
    sums = _compiled(
        statistic, key, jnp.asarray(first), jnp.asarray(last), jnp.asarray(num_draws, jnp.uint32), batch, num_blocks
    )
    return np.asarray(sums, dtype=np.float64)


@eqx.filter_jit
def _compiled(
    statistic: Statistic, key: Array, first: Array, last: Array, num_draws: Array, batch: int, num_blocks: int
) -> Float[Array, "numbers blocks"]:
    rows = min(batch, num_blocks)
    shape = jax.eval_shape(_of_one_draw(statistic), key)

    def add(number: Array, sums: Array) -> Array:
        index = number.astype(jnp.uint32) * batch + jnp.arange(batch, dtype=jnp.uint32)
        keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, index)
        values = jax.vmap(statistic.draw)(keys)
        # Past the last draw: zeros add nothing to any sum.
        values = jnp.where((index < num_draws)[:, None], values, 0)
        turns = jnp.swapaxes(values.reshape(batch // rows, rows, -1), 1, 2)
        added, _ = jax.lax.scan(lambda s, v: (s + statistic.numbers(v), None), zeros, turns)
        if rows == num_blocks:
            return sums + added
        start = (index[0] % num_blocks).astype(int)
        block = jax.lax.dynamic_slice_in_dim(sums, start, rows, axis=1)
        return jax.lax.dynamic_update_slice_in_dim(sums, block + added, start, axis=1)

    zeros = jnp.zeros((*shape.shape, rows), shape.dtype)
    return jax.lax.fori_loop(first, last, add, jnp.zeros((*shape.shape, num_blocks), shape.dtype))
