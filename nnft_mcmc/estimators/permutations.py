"""Permutation invariance of measured correlators: <phi(x_1) .. phi(x_n)> in any order of its points.

Products of real numbers commute, so this holds for every theory. It is a check of the estimator, whose sums over
partitions must treat all points alike: the spread over orders is rounding, or the estimator is wrong.
"""

import math
from itertools import islice, permutations

import numpy as np
from numpy.typing import NDArray

from nnft_mcmc import _checks
from nnft_mcmc.statistics import CumulantAccumulator
from nnft_mcmc.statistics.k_statistics import ORDERS

FloatArray = NDArray[np.float64]

ROUNDING = 1e-9
_MOST_ORDERS, _BLOCKS = 24, 8


def permutation_spread(fields: FloatArray) -> dict[int, float]:
    """Largest spread over orders of the points of the connected n-point function of fields (draws, P), by n.

    In units of its natural size, the product of the root mean squares; n runs over 2, 4 and 6 up to P.
    """
    phi = np.asarray(fields, dtype=np.float64)
    if phi.ndim != 2 or phi.shape[1] < 2 or not np.isfinite(phi).all():
        raise _checks.InputError(
            f"fields has shape {phi.shape}; it must be finite numbers (draws, P) with P from 2 on."
        )
    return {n: _spread(phi[:, :n]) for n in ORDERS if n <= phi.shape[1]}


def _spread(phi: FloatArray) -> float:
    num = phi.shape[1]
    step = max(1, math.factorial(num) // _MOST_ORDERS)
    values = [_connected(phi[:, order]) for order in islice(permutations(range(num)), 0, None, step)]
    return float(np.ptp(values) / np.prod(np.sqrt((phi**2).mean(axis=0))))


def _connected(phi: FloatArray) -> float:
    accumulator = CumulantAccumulator([tuple(range(phi.shape[1]))], _BLOCKS)
    accumulator.update(phi)
    return float(accumulator.estimate().value[0])
