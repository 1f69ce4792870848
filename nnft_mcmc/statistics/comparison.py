"""Is a result consistent with a reference: z-scores, and Hotelling's T^2 test for many correlated numbers at once.

Hotelling's test of the means of K observables against a reference mu, from n independent vectors b with the sample
mean b_bar and the sample covariance S (divisor n - 1):

    T^2 = n (b_bar - mu)^T S^-1 (b_bar - mu),     T^2 (n - K) / (K (n - 1)) ~ F(K, n - K)

(T. W. Anderson, An Introduction to Multivariate Statistical Analysis, section 5.2). The F distribution includes the
noise of S, which the chi^2 distribution with K degrees of freedom ignores. The b are means of blocks of B successive
draws of one chain.

Blocks. Neighbouring blocks are correlated across their common end, so S falls short. For an exponential
autocorrelation

    Var(block mean) = 2 tau_int Gamma(0)/B [1 - (tau_int - 1/(4 tau_int))/B]

up to exp(-B/tau_int), and T^2 comes out too large by tau_int/B. The bracket is divided out; what is left, where the
autocorrelation is not one exponential, is a part of tau_int/B. Few blocks cost power, not correctness: the quantiles
of F exceed those of chi^2 by a fraction of about (K + 2)/n. With N draws, n = N/B, the sum of both costs,
tau/B + (K + 2) B/N, is smallest at

    B = sqrt(tau N / (K + 2)),

tau being the largest of tau_int and 1/(4 tau_int), the decay time of an alternating series, over the observables and
their principal components. B is at least 10 tau and n at least 5 K + 5; draws that do not allow both are refused
(`TooFewDraws`).

Near-singular covariances. The observables are scaled to unit variance and rotated to the principal components of
the correlation matrix of the draws. A component whose eigenvalue is below 1e-10 of the largest is a linear relation
that the draws obey up to rounding: it is dropped, `num_dropped` counts it and `dof` is K less that number. A
reference that breaks such a relation, by more than 10 standard errors of a component at the threshold, gets
chi2 = inf and p_value = 0. Every other component is kept, however small: the reference must be as accurate as the
best-determined linear combination of the observables.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import fdtrc, stdtrit

from nnft_mcmc._checks import InputError, integer
from nnft_mcmc.statistics.autocorrelation import MINIMUM_DRAWS, gamma_method

FloatArray = NDArray[np.float64]

RELATIVE_EIGENVALUE_FLOOR = 1e-10
MINIMUM_BLOCK_LENGTH = 10.0  # in units of tau_int
BROKEN_RELATION = 10.0  # in standard errors


class TooFewDraws(InputError):
    """The draws cannot support the test; `num_draws` were given, about `draws_needed` of the same quality would do."""

    def __init__(self, num_draws: int, draws_needed: int, reason: str) -> None:
        self.num_draws = num_draws
        self.draws_needed = draws_needed
        super().__init__(
            f"{num_draws} draws were given and the test needs about {draws_needed}: {reason}. "
            f"Draw {draws_needed - num_draws} more, thin less, or test fewer observables."
        )


@dataclass(frozen=True)
class ChiSquared:
    """Hotelling's T^2 as `chi2` for `dof` directions, its F-distributed `p_value`, and the blocks that it rests on."""

    chi2: float
    dof: int
    p_value: float
    num_blocks: int
    block_length: int
    num_dropped: int


def z_score(value: ArrayLike, error: ArrayLike, reference: ArrayLike, reference_error: ArrayLike = 0.0) -> FloatArray:
    """(value - reference) / sqrt(error^2 + reference_error^2), errors independent; NaN where that root is 0 or NaN."""
    if np.any(np.less(error, 0.0)) or np.any(np.less(reference_error, 0.0)):
        raise InputError("A standard error is negative; errors must be 0 or more.")
    deviation = np.subtract(value, reference, dtype=np.float64)
    combined = np.hypot(np.asarray(error, dtype=np.float64), np.asarray(reference_error, dtype=np.float64))
    deviation, combined = np.broadcast_arrays(deviation, combined)
    return np.divide(deviation, combined, out=np.full(deviation.shape, np.nan), where=combined > 0.0)[()]


def bonferroni_bound(num_tests: int, false_alarm: float, error_dof: ArrayLike = np.inf) -> FloatArray:
    """The bound on |z| that any of `num_tests` tests exceeds with a probability of at most `false_alarm`.

        num_tests P(|z| > bound) = false_alarm

    z is normal when its error is exact and Student's t with `error_dof` degrees of freedom when the error is an
    estimate: an error with the relative uncertainty r has error_dof = 1/(2 r^2). The tests may be correlated.
    """
    integer("num_tests", num_tests, 1)
    if not 0.0 < false_alarm < 1.0:
        raise InputError(f"false_alarm is {false_alarm!r}; it must lie between 0 and 1.")
    return -stdtrit(np.asarray(error_dof, dtype=np.float64), false_alarm / (2.0 * num_tests))


def hotelling_p_value(chi2: float, dof: int, covariance_dof: float) -> float:
    """Of chi^2 = x^T S^-1 x with `dof` entries, S a covariance estimated with `covariance_dof` degrees of freedom."""
    left = covariance_dof - dof + 1
    return float(fdtrc(dof, left, chi2 * left / (covariance_dof * dof)))


def hotelling(samples: ArrayLike, reference: ArrayLike) -> ChiSquared:
    """Test of the means of `samples` (chain, draw, K) against the exact `reference` (K,), correlations included.

    Raises `TooFewDraws` where the draws do not suffice, `InputError` where an observable is not finite or constant.
    """
    deviations = _standardised_deviations(samples, reference)
    rotation, relations, smallest_variance = principal_components(deviations)
    components = deviations @ rotation
    taus = gamma_method(np.concatenate([components, deviations], axis=-1)).tau_int
    slowest = float(np.maximum(taus, 1.0 / (4.0 * taus)).max())
    block_length = choose_block_length(deviations.shape[:2], rotation.shape[1], slowest)

    standard_error = np.sqrt(smallest_variance * 2.0 * slowest / (deviations.shape[0] * deviations.shape[1]))
    broken = np.abs(deviations.mean(axis=(0, 1)) @ relations) > BROKEN_RELATION * standard_error
    blocks = block_means(components, block_length)
    tau_int = taus[: rotation.shape[1]]
    chi2 = np.inf if broken.any() else _t_squared(blocks, 1.0 - (tau_int - 1.0 / (4.0 * tau_int)) / block_length)
    n, dof = blocks.shape
    p_value = hotelling_p_value(chi2, dof, n - 1)
    return ChiSquared(float(chi2), dof, p_value, n, block_length, relations.shape[1])


def hotelling_of_independent(draws: ArrayLike, reference: ArrayLike) -> ChiSquared:
    """The same test for independent `draws` (n, K), which are all used as they are; n at least 5 K + 5."""
    values = np.asarray(draws, dtype=np.float64)
    deviations = _standardised_deviations(values[None], reference)
    rotation, relations, smallest_variance = principal_components(deviations)
    broken = np.abs(deviations.mean(axis=(0, 1)) @ relations) > BROKEN_RELATION * np.sqrt(
        smallest_variance / len(values)
    )
    components = (deviations @ rotation)[0]
    n, dof = components.shape
    chi2 = np.inf if broken.any() else _t_squared(components, np.ones(dof))
    return ChiSquared(float(chi2), dof, hotelling_p_value(chi2, dof, n - 1), n, 1, relations.shape[1])


def _standardised_deviations(samples: ArrayLike, reference: ArrayLike) -> FloatArray:
    """(samples - reference) / standard deviation, (chain, draw, K), after the checks."""
    draws = np.asarray(samples, dtype=np.float64)
    mu = np.asarray(reference, dtype=np.float64)
    if draws.ndim != 3 or mu.shape != draws.shape[2:] or mu.size == 0:
        raise InputError(
            f"samples and reference have shapes {draws.shape} and {mu.shape}; they must be (chain, draw, K) and (K,)."
        )
    num_draws = draws.shape[0] * draws.shape[1]
    least = max(_least_blocks(mu.size), MINIMUM_DRAWS * draws.shape[0])
    if num_draws < least:
        raise TooFewDraws(num_draws, least, f"{mu.size} observables need as many blocks")
    useless = ~(np.isfinite(draws).all(axis=(0, 1)) & np.isfinite(mu) & (draws != draws[:1, :1]).any(axis=(0, 1)))
    if useless.any():
        raise InputError(
            f"Observables {np.flatnonzero(useless).tolist()} are not finite or never change, so they have no error. "
            "Leave them out of the test."
        )
    return (draws - mu) / draws.std(axis=(0, 1))


def principal_components(deviations: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """Rotation (K, dof) to uncorrelated components of unit variance, dropped directions (K, K - dof), the threshold."""
    centred = deviations - deviations.mean(axis=(0, 1))
    correlation = np.einsum("cdk,cdl->kl", centred, centred, optimize=True) / (centred.shape[0] * centred.shape[1])
    eigenvalues, vectors = np.linalg.eigh(correlation)
    threshold = RELATIVE_EIGENVALUE_FLOOR * eigenvalues[-1]
    kept = eigenvalues > threshold
    return vectors[:, kept] / np.sqrt(eigenvalues[kept]), vectors[:, ~kept], float(threshold)


def _least_blocks(dof: int) -> int:
    return 5 * dof + 5


def choose_block_length(draws_shape: tuple[int, ...], dof: int, slowest: float) -> int:
    """B, the draws of a chain divided into equal blocks; the trade-off is in the module docstring."""
    num_chains, draws_per_chain = draws_shape
    num_draws = num_chains * draws_per_chain
    shortest = math.ceil(MINIMUM_BLOCK_LENGTH * slowest)
    least_per_chain = math.ceil(_least_blocks(dof) / num_chains)
    longest = draws_per_chain // least_per_chain
    if longest < shortest:
        needed = num_chains * least_per_chain * shortest
        reason = f"{_least_blocks(dof)} blocks of 10 tau_int, and the largest tau_int is {slowest:.3g}"
        raise TooFewDraws(num_draws, needed, reason)
    best = math.ceil(math.sqrt(slowest * num_draws / (dof + 2)))
    blocks_per_chain = draws_per_chain // min(max(best, shortest), longest)
    return draws_per_chain // blocks_per_chain


def block_means(components: FloatArray, block_length: int) -> FloatArray:
    """(chain, draw, K) -> (block, K); the draws that are left over are the first of each chain."""
    num_chains, draws_per_chain, dof = components.shape
    used = components[:, draws_per_chain % block_length :]
    return used.reshape(num_chains, -1, block_length, dof).mean(axis=2).reshape(-1, dof)


def _t_squared(blocks: FloatArray, bracket: FloatArray) -> float:
    """T^2 of block means (n, K) about zero, the covariance divided by the bracket of the module docstring."""
    b_bar = blocks.mean(axis=0) * np.sqrt(bracket)
    s = np.cov(blocks, rowvar=False).reshape(len(b_bar), len(b_bar))
    return float(len(blocks) * b_bar @ np.linalg.solve(s, b_bar))
