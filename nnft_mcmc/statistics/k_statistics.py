r"""Unbiased joint cumulants of orders 2, 4 and 6 from independent draws of a Z2-symmetric field.

Where phi and -phi are equally likely every odd moment is known to vanish, and so is the mean:

    kappa(1..r) = sum_{even partitions pi} (-1)^{|pi|-1} (|pi|-1)! prod_{B in pi} <phi_B>.

A product of sample means is a biased estimate of the product of the means, by cov/n: as large as a connected function
that falls with the width. The draws are therefore dealt in turn to a fixed number of blocks, and every product is the
average over factors from *different* blocks,

    <phi_A><phi_B> -> sum_{b != b'} s_b(A) s_b'(B) / sum_{b != b'} n_b n_b',     and alike for three factors,

s_b(A) the sum of the products phi_A over the n_b draws of block b. Different blocks are independent, so each term, and
with it the estimate, is unbiased for every number of draws and every size of the blocks. Pairs of draws within a block
are left out, one in B: this costs a part 1/B of the *second-order* variance of the product, O(1/n^2), and nothing of
the first-order one; the classical k-statistics keep those pairs and gain no more. What is stored is s_b: B numbers for
every distinct product, whatever the number of draws.

The error is the delete-one-block jackknife, (B-1)/B sum_b (k_(b) - mean)^2. Its square is biased upwards, by a part
O(1/n) of itself (Efron and Stein 1981), and has B - 1 degrees of freedom: use Student's t. It is that of a sum of
independent terms once every block mean is nearly normal, and of no use before that: of a double-exponential field, from
20,000 draws, +-2 errors hold the truth in 94% of the runs at order 4 and in 80% at order 6. A gauss-net away from the
origin is worse. Draws of a Markov chain are not independent, and dealing them in turn would hide it: those are for
`gamma_method`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnft_mcmc._checks import InputError, integer
from nnft_mcmc.statistics.partitions import Block, moebius, set_partitions
from nnft_mcmc.statistics.resampling import replica_covariance, replica_error

FloatArray = NDArray[np.float64]
Indices = NDArray[np.intp]

ORDERS = (2, 4, 6)
_CHUNK = 1 << 22  # products held at once while a batch is reduced


@dataclass(frozen=True, eq=False)
class CumulantEstimate:
    """Estimates (K,) with errors (K,) from independent draws, one for each index tuple.

    replicas: (B, K), the estimates without one of the blocks; num_draws: draws in all. A non-finite draw makes the
    estimates that it enters NaN.
    """

    value: FloatArray
    replicas: FloatArray
    num_draws: int

    @property
    def error(self) -> FloatArray:
        """One standard error, (K,)."""
        return replica_error(self.replicas)

    @property
    def covariance(self) -> FloatArray:
        """Jackknife covariance of the estimates, (K, K)."""
        return replica_covariance(self.replicas)

    @property
    def error_dof(self) -> int:
        """Degrees of freedom of error^2: (value - truth)/error follows Student's t with this many."""
        return len(self.replicas) - 1

    @property
    def ess(self) -> float:
        """Effective number of draws: all of them."""
        return float(self.num_draws)

    def derived(self, function: Callable[[FloatArray], FloatArray]) -> "CumulantEstimate":
        """function (..., K) -> (..., M) of the estimates, kappa_4/kappa_2^2 for instance.

        The bias of a curved function, O(1/num_draws), is taken off by the jackknife. Compose functions before, for of
        what is derived already the value and the replicas differ by that bias.
        """
        blocks, replicas = len(self.replicas), function(self.replicas)
        value = blocks * function(self.value) - (blocks - 1) * replicas.mean(axis=0)
        return CumulantEstimate(value, replicas, self.num_draws)


class CumulantAccumulator:
    """Streams independent draws phi (draws, n) into estimates of kappa(phi_i, phi_j, ..) for chosen index tuples.

    index_tuples: tuples of 2, 4 or 6 point numbers, repetitions allowed; num_blocks: B. Draws can also be reduced
    elsewhere: `monomials` are the products to be summed, and `add` takes their sums over each block.
    """

    def __init__(self, index_tuples: Iterable[Sequence[int]], num_blocks: int = 128) -> None:
        self.index_tuples = tuple(_checked_tuple(indices) for indices in index_tuples)
        if not self.index_tuples:
            raise InputError("index_tuples is empty; give the tuples of points whose cumulants are wanted.")
        self.num_blocks = integer("num_blocks", num_blocks, 4)
        self._terms = _terms(self.index_tuples)
        self.monomials: tuple[Block, ...] = tuple(sorted({m for _, _, factors in self._terms for m in factors}))
        self.sums: FloatArray = np.zeros((self.num_blocks, len(self.monomials)))
        self.counts: NDArray[np.int64] = np.zeros(self.num_blocks, dtype=np.int64)

    @property
    def num_draws(self) -> int:
        """Draws so far."""
        return int(self.counts.sum())

    def update(self, batch: ArrayLike) -> None:
        """Add independent draws (draws, n)."""
        draws = np.asarray(batch)
        largest = max(max(indices) for indices in self.index_tuples)
        if draws.ndim != 2 or draws.shape[1] <= largest or draws.dtype.kind not in "iuf":
            raise InputError(
                f"batch has shape {draws.shape} and dtype {draws.dtype}; it must hold real numbers of shape (draws, n) "
                f"with n above {largest}, the largest point number of the index tuples."
            )
        rows = self.num_blocks * max(1, _CHUNK // (self.num_blocks * len(self.monomials)))
        for start in range(0, len(draws), rows):
            self._deal(draws[start : start + rows].astype(np.float64))

    def _deal(self, draws: FloatArray) -> None:
        """Deal draws (draws, n) in turn to the blocks, starting where the last ones ended."""
        blocks, first = self.num_blocks, self.num_draws % self.num_blocks
        turns = -(-len(draws) // blocks)
        fields = np.zeros((draws.shape[1], turns * blocks))
        fields[:, : len(draws)] = draws.T  # a draw of zeros adds nothing to any sum
        dealt = np.bincount(np.arange(len(draws)) % blocks, minlength=blocks)
        sums = _sums(fields.reshape(-1, turns, blocks), self.monomials)
        self.add(np.roll(sums, first, axis=0), np.roll(dealt, first))

    def add(self, sums: ArrayLike, counts: ArrayLike) -> None:
        """Add draws by their sums of `monomials` over each block, (B, M), and their number in each block, (B,)."""
        new_sums, new_counts = np.asarray(sums, dtype=np.float64), np.asarray(counts)
        if new_sums.shape != self.sums.shape or new_counts.shape != self.counts.shape:
            raise InputError(
                f"sums and counts have shapes {new_sums.shape} and {new_counts.shape}; they must be {self.sums.shape} "
                f"and {self.counts.shape}, one row for each block."
            )
        self.sums = self.sums + new_sums
        self.counts = self.counts + new_counts.astype(np.int64)

    def merge(self, other: "CumulantAccumulator") -> None:
        """Add the draws of another accumulator of the same tuples and blocks; they must be independent of these."""
        if (other.index_tuples, other.num_blocks) != (self.index_tuples, self.num_blocks):
            raise InputError("the accumulators have different index tuples or numbers of blocks; give both the same.")
        self.add(other.sums, other.counts)

    def estimate(self) -> CumulantEstimate:
        """The cumulants, one for each index tuple."""
        if self.counts.min() == 0:
            raise InputError(
                f"{self.num_draws} draws do not fill {self.num_blocks} blocks; draw more, or take fewer blocks."
            )
        with np.errstate(invalid="ignore", over="ignore"):
            values = self._replicas()
        return CumulantEstimate(values[0], values[1:], self.num_draws)

    def _replicas(self) -> FloatArray:
        """Estimates from all blocks, then with one block left out, (1 + B, K)."""
        kept = 1.0 - np.eye(self.num_blocks + 1, self.num_blocks, -1)
        column = {monomial: k for k, monomial in enumerate(self.monomials)}
        values = np.zeros((len(kept), len(self.index_tuples)))
        for size in sorted({len(factors) for _, _, factors in self._terms}):
            terms = [term for term in self._terms if len(term[2]) == size]
            columns = np.array([[column[m] for m in factors] for _, _, factors in terms])
            products = _distinct_products(self.sums, self.counts, kept, columns)
            for (k, weight, _), product in zip(terms, products.T, strict=True):
                values[:, k] += weight * product
        return values


def _checked_tuple(indices: Sequence[int]) -> Block:
    block = tuple(sorted(integer("a point number", i, 0) for i in indices))
    if len(block) not in ORDERS:
        raise InputError(
            f"the index tuple {tuple(indices)!r} has {len(block)} entries; cumulants of order 2, 4 and 6 exist."
        )
    return block


@lru_cache(maxsize=16)
def _terms(index_tuples: tuple[Block, ...]) -> list[tuple[int, int, tuple[Block, ...]]]:
    """(number of the tuple, weight, factors <phi_B>) of every even partition, equal ones merged."""
    merged: dict[tuple[int, tuple[Block, ...]], int] = {}
    for k, indices in enumerate(index_tuples):
        for partition in set_partitions(len(indices), even=True):
            factors = tuple(sorted(tuple(indices[i] for i in block) for block in partition))
            merged[k, factors] = merged.get((k, factors), 0) + moebius(partition)
    return [(k, weight, factors) for (k, factors), weight in merged.items()]


def _sums(fields: FloatArray, monomials: Sequence[Block]) -> FloatArray:
    """Sums over the turns of phi_B, fields (n, turns, B): (B, M). Products share their common prefixes."""
    known: dict[Block, FloatArray] = {(i,): field for i, field in enumerate(fields)}
    sums = np.empty((fields.shape[2], len(monomials)))
    for column, monomial in enumerate(monomials):
        for length in range(2, len(monomial) + 1):
            if monomial[:length] not in known:
                known[monomial[:length]] = known[monomial[: length - 1]] * fields[monomial[length - 1]]
        sums[:, column] = known[monomial].sum(axis=0)
    return sums


def _distinct_products(sums: FloatArray, counts: NDArray[np.int64], kept: FloatArray, columns: Indices) -> FloatArray:
    """Average of products of draws from distinct blocks, columns (T, factors): shape (R, T).

    kept (R, B) says which blocks are in. Sum over distinct blocks: one factor S_a; two S_a S_b - S_ab; three
    S_a S_b S_c - S_a S_bc - S_b S_ac - S_c S_ab + 2 S_abc, with S_ab = sum_blocks s(a) s(b).
    """
    factors = [sums[:, columns[:, i]] for i in range(columns.shape[1])]
    number = [counts[:, None].astype(np.float64)] * columns.shape[1]
    return _distinct_sum(factors, kept) / _distinct_sum(number, kept)


def _distinct_sum(factors: Sequence[FloatArray], kept: FloatArray) -> FloatArray:
    if len(factors) == 1:
        return kept @ factors[0]
    if len(factors) == 2:
        a, b = factors
        return (kept @ a) * (kept @ b) - kept @ (a * b)
    a, b, c = factors
    total_a, total_b, total_c = kept @ a, kept @ b, kept @ c
    pairs = total_a * (kept @ (b * c)) + total_b * (kept @ (a * c)) + total_c * (kept @ (a * b))
    return total_a * total_b * total_c - pairs + 2 * (kept @ (a * b * c))
