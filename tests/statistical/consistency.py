"""When a test of stochastic code passes: the one helper that all statistical tests use.

`assert_consistent` asks three questions, in this order:

1. Are there enough independent draws (`min_ess`) for the error itself to be known?
2. Is the error small enough, error <= resolution * scale, for agreement to mean something?
3. Is |z| below the bound that a correct code exceeds in any of the entries with probability `false_alarm` (Bonferroni;
   Student's t, with the degrees of freedom of the estimated error)?

`assert_inconsistent` is the negative control: the same call with a wrong oracle must pass 1 and 2 and fail 3.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from nnft_mcmc.statistics import Estimate, bonferroni_bound, z_score

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class _Comparison:
    """The arrays of one comparison, all of the shape of the observable."""

    value: FloatArray
    error: FloatArray
    oracle: FloatArray
    scale: FloatArray
    ess: FloatArray
    z: FloatArray
    bound: FloatArray

    def line(self, where: NDArray[np.bool_]) -> str:
        """The worst of the entries picked out by `where`."""
        excess = np.where(where, np.nan_to_num(np.abs(self.z), nan=np.inf), -1.0)
        index = np.unravel_index(int(excess.argmax()), excess.shape)
        return (
            f"entry {tuple(int(i) for i in index)} ({int(where.sum())} of {where.size} fail): "
            f"value {self.value[index]:.8g}, error {self.error[index]:.3g}, oracle {self.oracle[index]:.8g}, "
            f"z {self.z[index]:.3f}, bound {self.bound[index]:.3f}, ess {self.ess[index]:.4g}, "
            f"error/scale {self.error[index] / self.scale[index]:.3g}"
        )


def assert_consistent(
    estimate: Estimate,
    oracle: ArrayLike,
    *,
    resolution: ArrayLike,
    false_alarm: float = 1e-4,
    oracle_error: ArrayLike = 0.0,
    scale: ArrayLike | None = None,
    min_ess: float = 400.0,
) -> None:
    """`estimate` agrees with `oracle`; `false_alarm` is per call, `scale` is |oracle| unless given.

    `resolution` is one number or one for each entry.
    """
    comparison = _compare(estimate, oracle, false_alarm, oracle_error, scale)
    _require_gates(comparison, resolution, min_ess)
    outside = ~(np.abs(comparison.z) <= comparison.bound)
    if outside.any():
        raise AssertionError(f"inconsistent with the oracle: {comparison.line(outside)}")


def assert_inconsistent(
    estimate: Estimate,
    wrong_oracle: ArrayLike,
    *,
    resolution: ArrayLike,
    false_alarm: float = 1e-4,
    oracle_error: ArrayLike = 0.0,
    scale: ArrayLike | None = None,
    min_ess: float = 400.0,
) -> None:
    """Negative control: the same call with a wrong oracle passes the gates and fails by the z-bound."""
    comparison = _compare(estimate, wrong_oracle, false_alarm, oracle_error, scale)
    _require_gates(comparison, resolution, min_ess)
    if not (np.abs(comparison.z) > comparison.bound).any():
        everywhere = np.ones(comparison.z.shape, dtype=bool)
        raise AssertionError(f"the wrong oracle was not detected, closest: {comparison.line(everywhere)}")


def detectable_deviation(
    estimate: Estimate,
    oracle: ArrayLike,
    *,
    false_alarm: float = 1e-4,
    oracle_error: ArrayLike = 0.0,
    scale: ArrayLike | None = None,
    probability: float = 0.95,
) -> FloatArray:
    """The smallest |truth - oracle|/scale of each entry that `assert_consistent` detects with this probability.

    P(z > bound) = probability for z normal about delta/error:  delta = (bound + Phi^-1(probability)) error.
    """
    comparison = _compare(estimate, oracle, false_alarm, oracle_error, scale)
    return (comparison.bound + ndtri(probability)) * comparison.error / comparison.scale


def _compare(
    estimate: Estimate, oracle: ArrayLike, false_alarm: float, oracle_error: ArrayLike, scale: ArrayLike | None
) -> _Comparison:
    shape = np.shape(estimate.value)
    if np.shape(oracle) not in {(), shape}:
        raise ValueError(f"the oracle has shape {np.shape(oracle)}, the estimate {shape}")
    error = np.hypot(estimate.error, np.asarray(oracle_error, dtype=np.float64))
    z = z_score(estimate.value, estimate.error, oracle, oracle_error)
    bound = bonferroni_bound(z.size, false_alarm, estimate.error_dof)
    size = np.abs(np.asarray(oracle if scale is None else scale, dtype=np.float64))
    if not (size > 0.0).all():
        raise ValueError("an oracle or scale is zero or NaN: give the scale that the error is to be compared with")
    arrays = (estimate.value, error, oracle, size, estimate.ess, z, bound)
    return _Comparison(*np.broadcast_arrays(*(np.asarray(array, dtype=np.float64) for array in arrays)))


def _require_gates(comparison: _Comparison, resolution: ArrayLike, min_ess: float) -> None:
    few = ~(comparison.ess >= min_ess)
    if few.any():
        raise AssertionError(f"gate: ess below {min_ess:g}, {comparison.line(few)}")
    allowed = np.broadcast_to(np.asarray(resolution, dtype=np.float64), comparison.scale.shape)
    coarse = ~(comparison.error <= allowed * comparison.scale)
    if coarse.any():
        limits = " to ".join(f"{limit:g}" for limit in sorted({allowed[coarse].min(), allowed[coarse].max()}))
        raise AssertionError(f"gate: error above {limits} of the scale, {comparison.line(coarse)}")
