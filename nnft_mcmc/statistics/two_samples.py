"""Do two simulations have the same means: Hotelling's test for two samples with covariances of their own.

With block means of both (`comparison`), their means b_1, b_2, and the covariances of those means S_1, S_2,

    T^2 = (b_1 - b_2)^T S^-1 (b_1 - b_2),     S = S_1 + S_2,     T^2 (nu - K + 1)/(nu K) ~ F(K, nu - K + 1),

    nu = (K + K^2) / sum_i { tr[(S_i S^-1)^2] + (tr S_i S^-1)^2 } / (n_i - 1),

approximately: the multivariate Behrens-Fisher problem has no exact solution of this form, and nu is that of
Krishnamoorthy and Yu, Stat. Probab. Lett. 66 (2004) 161. Of equal samples it is near n_1 + n_2 - 2.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnft_mcmc._checks import InputError
from nnft_mcmc.statistics.autocorrelation import gamma_method
from nnft_mcmc.statistics.comparison import (
    ChiSquared,
    block_means,
    choose_block_length,
    hotelling_p_value,
    principal_components,
)

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class _Sample:
    """Mean (K,) and its covariance, from `num_blocks` blocks."""

    mean: FloatArray
    covariance: FloatArray
    num_blocks: int
    block_length: int


def hotelling_two_samples(first: ArrayLike, second: ArrayLike) -> ChiSquared:
    """Test of the hypothesis that two independent series (chain, draw, K) have equal means, correlations included.

    Raises `TooFewDraws` where the draws of one do not suffice, `InputError` where an observable is not finite or
    constant. `num_blocks` and `block_length` are those of the sample with fewer blocks.
    """
    series = [np.asarray(draws, dtype=np.float64) for draws in (first, second)]
    if any(s.ndim != 3 for s in series) or series[0].shape[2] != series[1].shape[2] or series[0].shape[2] == 0:
        raise InputError(
            f"the samples have shapes {series[0].shape} and {series[1].shape}; they must be (chain, draw, K), with the"
            " same K."
        )
    useless = ~np.all([np.isfinite(s).all(axis=(0, 1)) & (np.ptp(s, axis=(0, 1)) > 0) for s in series], axis=0)
    if useless.any():
        raise InputError(
            f"Observables {np.flatnonzero(useless).tolist()} are not finite or never change, so they have no error. "
            "Leave them out of the test."
        )
    scale = np.sqrt(sum(s.var(axis=(0, 1)) for s in series))
    centred = [(s - s.mean(axis=(0, 1))) / scale for s in series]
    flat = np.concatenate([s.reshape(-1, s.shape[2]) for s in centred])
    rotation, relations, _ = principal_components(flat[None])
    one, other = (_sample(s / scale @ rotation) for s in series)
    total = one.covariance + other.covariance
    difference = one.mean - other.mean
    dof, chi2 = len(difference), float(difference @ np.linalg.solve(total, difference))
    spread = [_spread(np.linalg.solve(total, s.covariance)) / (s.num_blocks - 1) for s in (one, other)]
    nu = (dof + dof**2) / sum(spread)
    fewer = min(one, other, key=lambda s: s.num_blocks)
    p_value = hotelling_p_value(chi2, dof, nu)
    return ChiSquared(chi2, dof, p_value, fewer.num_blocks, fewer.block_length, relations.shape[1])


def _sample(components: FloatArray) -> _Sample:
    tau = gamma_method(components).tau_int
    slowest = float(np.maximum(tau, 1 / (4 * tau)).max())
    length = choose_block_length(components.shape[:2], components.shape[2], slowest)
    blocks = block_means(components, length)
    # Neighbouring blocks are correlated across their ends: see `comparison`.
    bracket = np.sqrt(1 - (tau - 1 / (4 * tau)) / length)
    covariance = np.cov(blocks, rowvar=False).reshape(len(tau), len(tau)) / len(blocks)
    return _Sample(blocks.mean(axis=0), covariance / np.outer(bracket, bracket), len(blocks), length)


def _spread(share: NDArray[np.floating]) -> float:
    """tr[A^2] + (tr A)^2."""
    return float(np.trace(share @ share) + math.pow(np.trace(share), 2))
