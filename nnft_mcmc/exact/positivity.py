r"""Exact Gram matrices of reflection positivity, M_AB = <Theta[O_A] O_B>, for products of fields and for exponentials.

Operators are products of fields over tuples of points, `reflected` the points of Theta[O_A], `forward` those of O_B;
the empty tuple is the operator 1. Correlators follow from connected n-point functions,

    <phi_1 .. phi_n> = sum over partitions of prod kappa(B),

of the kind that architectures know (`n_point_connected`, odd ones zero); `gaussian` makes one of a covariance. In a
Gaussian field <exp(i J.phi)> = exp(-J G J/2), so that also cos and sin of J.phi have exact Gram matrices. The theory is
reflection positive on these operators if no eigenvalue is negative.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnft_mcmc._checks import InputError
from nnft_mcmc.exact.wick import moments_from_cumulants
from nnft_mcmc.statistics.partitions import LARGEST_ORDER

Array = NDArray[np.float64]
Connected = Callable[..., ArrayLike]  # points (..., dim), any even number of them -> (...)
TwoPoint = Callable[[Array, Array], ArrayLike]


def product_gram_matrix(connected: Connected, reflected: Sequence[ArrayLike], forward: Sequence[ArrayLike]) -> Array:
    """<prod of phi over reflected[A], prod of phi over forward[B]>, (A, B).

    connected(x1, .., xn) is the connected function of points (..., dim), broadcast, for even n up to the number of
    fields in the largest product; odd ones vanish. Each operator is an array of points (fields, dim), (0, dim) for 1.
    """
    left, right = ([np.asarray(points, dtype=np.float64) for points in operators] for operators in (reflected, forward))
    order = max(len(a) for a in left) + max(len(b) for b in right)
    if order > LARGEST_ORDER:
        raise InputError(f"the operators make products of {order} fields; give products of at most {LARGEST_ORDER}.")
    gram = np.zeros((len(left), len(right)))
    for a, b in {(len(a), len(b)) for a in left for b in right}:
        rows, columns = ([k for k, x in enumerate(side) if len(x) == n] for side, n in ((left, a), (right, b)))
        if a + b == 0:
            gram[np.ix_(rows, columns)] = 1.0
        elif (a + b) % 2 == 0:
            pairs = [np.concatenate([left[i], right[j]]) for i in rows for j in columns]
            values = _correlators(connected, np.stack(pairs))
            gram[np.ix_(rows, columns)] = values.reshape(len(rows), len(columns))
    return gram


def _correlators(connected: Connected, points: Array) -> Array:
    """<phi .. phi> of points (K, n, dim), (K,); each connected function is asked for once, at all K."""
    return moments_from_cumulants(
        lambda block: connected(*(points[:, k] for k in block)), points.shape[1], even=True
    ) + np.zeros(len(points))


def gaussian(two_point: TwoPoint) -> Connected:
    """Connected functions of a Gaussian field of this two-point function."""

    def connected(*points: Array) -> ArrayLike:
        return two_point(*points) if len(points) == 2 else np.zeros(points[0].shape[:-1])

    return connected


def exponential_gram_matrix(covariance: ArrayLike, sources: ArrayLike, constant: bool = False) -> Array:
    """M of {cos(J_1.phi), .., cos(J_S.phi), sin(J_1.phi), ..}, after 1 where `constant`, in a Gaussian field.

    covariance (2 P, 2 P) is that of the fields at the P reflected points, then at the P points; sources (S, P).

        <cos a cos b> = (e^{-<(a-b)^2>/2} + e^{-<(a+b)^2>/2})/2,    <sin a sin b> the same with a minus.
    """
    c, j = np.asarray(covariance, dtype=np.float64), np.atleast_2d(np.asarray(sources, dtype=np.float64))
    num = j.shape[1]
    if c.shape != (2 * num, 2 * num):
        raise InputError(f"covariance has shape {c.shape} and sources {j.shape}; they must be (2 P, 2 P) and (S, P).")
    if constant:
        j = np.concatenate([np.zeros((1, num)), j])
    square = [np.einsum("sp,pq,sq->s", j, c[part, part], j) for part in (slice(None, num), slice(num, None))]
    total, mixed = square[0][:, None] + square[1], j @ c[:num, num:] @ j.T
    minus, plus = np.exp(-(total - 2 * mixed) / 2), np.exp(-(total + 2 * mixed) / 2)
    first = int(constant)
    zero = np.zeros((len(j), len(j) - first))
    sines = (minus - plus)[first:, first:] / 2
    return np.block([[(minus + plus) / 2, zero], [zero.T, sines]])
