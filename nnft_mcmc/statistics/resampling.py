"""Errors of functions of means by the blocked jackknife, for arrays of any size.

The draws of R chains are cut into B blocks of successive draws, none of which spans two chains. With n_b draws in
block b and n in all, the means without block b, the function of them, and its error are

    x_b = (n x - n_b xbar_b)/(n - n_b),     f_b = f(x_b),     error^2 = (B - 1)/B sum_b (f_b - mean f)^2,

with B - 1 degrees of freedom; covariances likewise. Blocks of length l that are not much longer than tau_int are still
correlated: the error falls short by the fraction tau_int/2l of itself, 2.5% at LENGTH_IN_TAU_INTS. All blocks are
reduced and all f_b computed at once: f acts on arrays with the blocks in front.

Source: B. Efron and C. Stein, Ann. Statist. 9 (1981) 586.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnft_mcmc._checks import InputError, integer

FloatArray = NDArray[np.float64]

LENGTH_IN_TAU_INTS = 20
MOST_BLOCKS = 400
LEAST_BLOCKS = 4


@dataclass(frozen=True, eq=False)
class Jackknife:
    """value (*f) of all draws, and replicas (B, *f), those without one of the blocks.

    The value is f of the means, without a correction of its bias, of relative order tau_int/draws.
    """

    value: FloatArray
    replicas: FloatArray

    @property
    def error(self) -> FloatArray:
        """One standard error, of the shape of the value."""
        return replica_error(self.replicas)

    @property
    def covariance(self) -> FloatArray:
        """Covariance of all entries, (K, K) with K of them in C order."""
        return replica_covariance(self.replicas.reshape(len(self.replicas), -1))

    @property
    def error_dof(self) -> int:
        """Degrees of freedom of error^2 and of the covariance, B - 1."""
        return len(self.replicas) - 1

    def derived(self, function: Callable[[FloatArray], FloatArray]) -> "Jackknife":
        """A function (..., *f) -> (..., *g), of the value and of every replica."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return Jackknife(function(self.value[None])[0], function(self.replicas))


def replica_error(replicas: FloatArray) -> FloatArray:
    """One standard error from the values (B, *f) without one of B blocks."""
    with np.errstate(invalid="ignore"):
        return np.sqrt((len(replicas) - 1) * replicas.var(axis=0))


def replica_covariance(replicas: FloatArray) -> FloatArray:
    """Covariance (K, K) from the values (B, K) without one of B blocks."""
    with np.errstate(invalid="ignore"):
        delta = replicas - replicas.mean(axis=0)
        return (len(delta) - 1) / len(delta) * delta.T @ delta


def jackknife(samples: ArrayLike, num_blocks: int) -> Jackknife:
    """The means of samples (chain, draw, *obs) by about `num_blocks` blocks; functions of them by `.derived`.

    The number of blocks is rounded to a multiple of the number of chains.
    """
    draws = np.asarray(samples)
    if draws.ndim < 2 or draws.dtype.kind not in "biuf":
        raise InputError(
            f"samples have shape {draws.shape} and dtype {draws.dtype}; they must be real numbers (chain, draw, ...)."
        )
    means, counts = block_means(draws, num_blocks)
    return from_blocks(means, counts)


def block_means(draws: NDArray[np.generic], num_blocks: int) -> tuple[FloatArray, NDArray[np.int64]]:
    """Means (B, *obs) over blocks of draws (chain, draw, *obs), and how many draws each has, (B,)."""
    num_chains, draws_per_chain, *shape = draws.shape
    starts = block_starts(num_chains, draws_per_chain, num_blocks)
    longer, length = draws_per_chain % len(starts), draws_per_chain // len(starts)
    first = draws[:, : longer * (length + 1)].reshape(num_chains, longer, length + 1, *shape)
    rest = draws[:, longer * (length + 1) :].reshape(num_chains, len(starts) - longer, length, *shape)
    means = np.concatenate([part.mean(axis=2, dtype=np.float64) for part in (first, rest)], axis=1)
    return means.reshape(-1, *shape), np.tile(np.diff(np.append(starts, draws_per_chain)), num_chains)


def block_starts(num_chains: int, draws_per_chain: int, num_blocks: int) -> NDArray[np.int64]:
    """First draw of each block of a chain; the lengths differ by one at most, the longer ones come first."""
    num_blocks = integer("num_blocks", num_blocks, LEAST_BLOCKS)
    per_chain = max(1, round(num_blocks / num_chains))
    if per_chain > draws_per_chain or per_chain * num_chains < LEAST_BLOCKS:
        raise InputError(
            f"num_blocks is {num_blocks} for {num_chains} chains of {draws_per_chain} draws; take {LEAST_BLOCKS} blocks"
            " or more and one draw or more in each."
        )
    length, longer = divmod(draws_per_chain, per_chain)
    return np.arange(per_chain) * length + np.minimum(np.arange(per_chain), longer)


def from_blocks(means: FloatArray, counts: NDArray[np.int64]) -> Jackknife:
    """The jackknife of block means (B, *obs) of `counts` (B,) draws each."""
    n = counts.reshape(-1, *[1] * (means.ndim - 1))
    with np.errstate(invalid="ignore"):
        total = (n * means).sum(axis=0)
        return Jackknife(total / counts.sum(), (total - n * means) / (counts.sum() - n))


def blocks_for(num_chains: int, draws_per_chain: int, tau_int: float) -> int:
    """How many blocks of LENGTH_IN_TAU_INTS tau_int there are, MOST_BLOCKS at most; 0 where tau_int is not known."""
    if not math.isfinite(tau_int):
        return 0
    length = math.ceil(LENGTH_IN_TAU_INTS * max(tau_int, 0.5))
    return min(num_chains * (draws_per_chain // length), num_chains * max(1, MOST_BLOCKS // num_chains))
