r"""Joint cumulants of independent draws of any mean: of order 1 the mean, of order 2 the covariance, and so on.

    kappa(1..r) = sum_{partitions pi} (-1)^{|pi|-1} (|pi|-1)! prod_{B in pi} <phi_B>

over all partitions, the draws taken about their common mean, which no cumulant beyond the first depends on. The error
is the delete-one-block jackknife, which also takes off the bias, O(1/draws), of products of means; what is left of it
is O(1/draws^2). For draws that are symmetric under phi -> -phi `k_statistics` is unbiased, and has no use for the mean.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnft_mcmc._checks import InputError
from nnft_mcmc.statistics.k_statistics import CumulantEstimate
from nnft_mcmc.statistics.partitions import Block, moebius, set_partitions
from nnft_mcmc.statistics.resampling import LEAST_BLOCKS, block_means, from_blocks

FloatArray = NDArray[np.float64]

MOST_ORDER = 6
MOST_BLOCKS = 128


def joint_cumulants(
    draws: ArrayLike,
    index_tuples: Sequence[Sequence[int]],
    function: Callable[[FloatArray], FloatArray] | None = None,
) -> CumulantEstimate:
    """kappa of the columns named by each tuple, of independent draws (n, columns); or a function of them.

    `function` (..., K) -> (..., M) is of the cumulants, a square root of variances for instance.
    """
    values = np.asarray(draws, dtype=np.float64)
    if values.ndim != 2 or len(values) < 2 * LEAST_BLOCKS:
        raise InputError(
            f"draws have shape {values.shape}; they must be (draws, columns), with {2 * LEAST_BLOCKS} draws or more."
        )
    tuples = [_checked(indices, values.shape[1]) for indices in index_tuples]
    if not tuples:
        raise InputError("index_tuples is empty; give the tuples of columns whose cumulants are wanted.")
    shift = values.mean(axis=0)
    terms = [[(moebius(p), _factors(indices, p)) for p in set_partitions(len(indices))] for indices in tuples]
    monomials = sorted({factor for term in terms for _, factors in term for factor in factors})
    number = {monomial: k for k, monomial in enumerate(monomials)}
    products = np.stack([np.prod((values - shift)[:, list(m)], axis=1) for m in monomials], axis=1)
    blocks = from_blocks(*block_means(products[None], _number_of_blocks(len(values))))
    shifts = np.array([shift[indices[0]] if len(indices) == 1 else 0.0 for indices in tuples])

    def cumulants(means: FloatArray) -> FloatArray:
        columns = [
            sum(weight * np.prod(means[..., [number[f] for f in factors]], axis=-1) for weight, factors in term)
            for term in terms
        ]
        values = np.stack(columns, axis=-1) + shifts
        return values if function is None else function(values)

    return CumulantEstimate(blocks.value, blocks.replicas, len(values)).derived(cumulants)


def _number_of_blocks(num_draws: int) -> int:
    """At most MOST_BLOCKS, of equal size if that leaves a quarter as many: the first cumulant is then the mean."""
    most = min(MOST_BLOCKS, num_draws // 2)
    equal = max(b for b in range(1, most + 1) if num_draws % b == 0)
    return equal if equal >= most // 4 else most


def _checked(indices: Sequence[int], num_columns: int) -> Block:
    block = tuple(sorted(int(i) for i in indices))
    if not 1 <= len(block) <= MOST_ORDER or block[0] < 0 or block[-1] >= num_columns:
        raise InputError(
            f"the index tuple {tuple(indices)!r} must have 1 to {MOST_ORDER} entries, columns from 0 to"
            f" {num_columns - 1}."
        )
    return block


def _factors(indices: Block, partition: Sequence[Block]) -> tuple[Block, ...]:
    return tuple(sorted(tuple(indices[i] for i in block) for block in partition))
