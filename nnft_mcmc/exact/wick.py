"""Wick sums of a Gaussian, and joint moments from joint cumulants and back.

    <phi_1 .. phi_n> = sum over pairings of prod C_ij         (Gaussian of mean 0 and covariance C)
    <phi_1 .. phi_n> = sum over partitions of prod kappa(B)   (any law; `partitions` holds the converse)

Joint moments and cumulants are functions of index tuples: `moments((0, 0, 2))` is <phi_0 phi_0 phi_2>, a number or an
array whose axes are carried through. They are asked for increasing tuples, once each, and never for the empty one.
"""

import functools
import math
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnft_mcmc._checks import InputError, integer
from nnft_mcmc.statistics.partitions import LARGEST_ORDER, Block, moebius, pairings, set_partitions

Array = NDArray[np.float64]
JointMoments = Callable[[Block], ArrayLike]
TwoPoint = Callable[[Array, Array], ArrayLike]


def gaussian_n_point(covariance: ArrayLike) -> Array:
    """<phi_1 .. phi_n> of the Gaussian of mean 0 and covariance (..., n, n), n <= 10: shape (...), 0 for odd n.

    The two-point function of an architecture enters by way of `covariance_matrix(net.two_point, points)`.
    """
    c = np.asarray(covariance, dtype=np.float64)
    if c.ndim < 2 or c.shape[-1] != c.shape[-2] or not 1 <= c.shape[-1] <= LARGEST_ORDER:
        raise InputError(
            f"covariance has shape {c.shape}; it must be (..., n, n) with n at most {LARGEST_ORDER}, one row and one "
            f"column for each field of the product."
        )
    products = (math.prod(c[..., i, j] for i, j in pairing) for pairing in pairings(c.shape[-1]))
    return _summed(products) + np.zeros(c.shape[:-2])


def covariance_matrix(two_point: TwoPoint, points: ArrayLike) -> Array:
    """G(x_i, x_j) of the points (..., n, dim): shape (..., n, n). `two_point` broadcasts, like an architecture's."""
    x = np.asarray(points, dtype=np.float64)
    if x.ndim < 2:
        raise InputError(f"points has shape {x.shape}; it must be (..., n, dim), n points with dim components each.")
    return np.asarray(two_point(x[..., :, None, :], x[..., None, :, :]), dtype=np.float64)


def moments_from_cumulants(cumulants: JointMoments, order: int, even: bool = False) -> Array:
    """<phi_0 .. phi_{order-1}>; with `even` the odd cumulants vanish and are never asked for. Order 1 to 10."""
    order = integer("order", order, 1, LARGEST_ORDER)
    kappa = _remembered(cumulants)
    return _summed(math.prod(kappa(block) for block in pi) for pi in set_partitions(order, even))


def cumulants_from_moments(moments: JointMoments, order: int, even: bool = False) -> Array:
    """kappa(phi_0, .., phi_{order-1}); with `even` the odd moments vanish and are never asked for. Order 1 to 10."""
    order = integer("order", order, 1, LARGEST_ORDER)
    mean = _remembered(moments)
    return _summed(moebius(pi) * math.prod(mean(block) for block in pi) for pi in set_partitions(order, even))


def _remembered(function: JointMoments) -> Callable[[Block], Array]:
    return functools.cache(lambda block: np.asarray(function(block), dtype=np.float64))


def _summed(terms: Iterable[Array | int]) -> Array:
    return np.asarray(sum(terms, start=np.zeros(())), dtype=np.float64)
