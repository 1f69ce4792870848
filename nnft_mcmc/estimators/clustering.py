r"""Cluster decomposition: do connected functions of two clusters, pulled apart to the distance R, vanish?

The connected functions at distances R_k, with the covariance S of the estimates over all distances (jackknife), are
fitted by

    f(R) = A k_m(R) + c,

k_m(R) the `Exchange` of one particle or more (exp(-m R) in d = 1), from the smallest R_min on from which the fit is
acceptable (p above 0.05, at least 4 distances), and c is tested; `clustering_fits` has the formulas. What decays faster
than an exponential, a Gaussian kernel for instance, is fitted by one with a spurious c. So c counts only where f itself
is not zero, and of the same sign, at the largest quarter of the distances: of both p-values the larger is taken.

Outcomes. `floor`: c is not zero. `decays`: f is not zero, c is, and a c of RESOLUTION of the largest f would have been
seen with probability POWER. `vanishes`: f is zero within errors at all distances, and a constant of RESOLUTION of the
scale G(0)^(n/2) would have been seen. `undecided`: neither; `draws_needed` says how many draws would do.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from nnft_mcmc import _checks
from nnft_mcmc.estimators.clustering_fits import (
    ACCEPTABLE,
    MINIMUM_DISTANCES,
    Data,
    acceptable,
    constant,
    p_value_of_floor,
)
from nnft_mcmc.estimators.exchange import Exchange
from nnft_mcmc.estimators.symmetry import POWER
from nnft_mcmc.statistics import CumulantEstimate
from nnft_mcmc.statistics.comparison import hotelling_p_value

FloatArray = NDArray[np.float64]

RESOLUTION = 0.1
_ON_A_LINE = Exchange()


@dataclass(frozen=True, eq=False)
class Clustering:
    """Connected functions `value` with `error` at `distances`, the fit from `first_distance` on, and the outcome.

    rate, amplitude, floor: m, A and c of the fit, with A k_m(R) alone where the outcome is `decays`; errors are NaN
    where the data do not determine the number. p_value: that of c = 0 or, where the outcome is `vanishes`, of f = 0;
    fit_p_value: of the fit. scale: G(0)^(n/2), the natural size of f. draws_needed: NaN unless `undecided`, and there
    where more draws would not help: the distances do not suffice.
    """

    label: str
    distances: FloatArray
    value: FloatArray
    error: FloatArray
    outcome: str
    rate: float
    rate_error: float
    amplitude: float
    floor: float
    floor_error: float
    p_value: float
    fit_p_value: float
    first_distance: float
    exchange: Exchange
    scale: float
    num_draws: int
    draws_needed: float
    false_alarm: float

    @property
    def is_violated(self) -> bool:
        """Whether cluster decomposition is rejected."""
        return self.outcome == "floor"

    @property
    def verdict(self) -> str:
        """The outcome in words."""
        floor = f"{self.floor:.3g} +- {self.floor_error:.2g}"
        if self.outcome == "floor":
            return f"approaches a non-zero constant, {floor} (p = {self.p_value:.2g})"
        if self.outcome == "decays" and np.isfinite(self.rate_error):
            mass = f"{self.rate:.4g} +- {self.rate_error:.2g} from R = {self.first_distance:.3g} on"
            return f"decays with mass {mass}; constant {floor}"
        if self.outcome == "decays":
            return f"decays, not as one exponential; constant {floor}"
        if self.outcome == "vanishes":
            return f"zero within errors at every distance; constant {floor}"
        needed = f"need about {self.draws_needed:.1g}" if np.isfinite(self.draws_needed) else "need larger distances"
        return f"cannot tell from this many draws, {self.num_draws}; {needed}"

    def curve(self, r: FloatArray) -> FloatArray:
        """The fit at distances r."""
        floor = 0.0 if self.outcome == "decays" else self.floor
        if self.amplitude == 0.0:
            return np.full(len(r), floor)
        return self.amplitude * self.exchange(np.array([self.rate]), r)[0] + floor


def clustering_test(
    label: str,
    distances: FloatArray,
    estimate: CumulantEstimate,
    scale: float,
    false_alarm: float = 1e-3,
    exchange: Exchange = _ON_A_LINE,
) -> Clustering:
    """The outcome for connected functions `estimate` (K,) at increasing `distances` (K,); see the module docstring.

    A distance of 0 is not fitted where the exchange diverges there.
    """
    r, least = np.asarray(distances, dtype=np.float64), MINIMUM_DISTANCES + exchange.diverges_at_zero
    if r.shape != estimate.value.shape or len(r) < least or not (np.diff(r) > 0).all():
        raise _checks.InputError(
            f"distances are {r.tolist()} for {estimate.value.size} estimates; clustering needs"
            f" {least} or more increasing distances, one for each."
        )
    if not (np.isfinite(estimate.value).all() and np.isfinite(estimate.error).all()):
        raise _checks.InputError(f"{label} or its error is not finite; clustering cannot be tested.")
    if not 0.0 < false_alarm < 1.0:
        raise _checks.InputError(f"false_alarm is {false_alarm!r}; it must lie between 0 and 1.")
    data = Data(
        r,
        estimate.value,
        estimate.covariance,
        estimate.error_dof,
        exchange,
        _checks.positive("scale", scale),
    )
    zero, p_zero = constant(data), hotelling_p_value(data.chi2(estimate.value), len(r), data.nu)
    if p_zero >= false_alarm:
        needed = _needed(estimate, zero.floor_error, scale, false_alarm)
        outcome, p_value, fit, fit_p = "vanishes" if needed <= estimate.num_draws else "undecided", p_zero, zero, p_zero
    else:
        fit, fit_p = acceptable(data, True)
        p_value = p_value_of_floor(data, fit)
        needed = _needed(estimate, fit.floor_error, float(np.abs(estimate.value).max()), false_alarm)
        outcome = "floor" if p_value < false_alarm else "decays" if needed <= estimate.num_draws else "undecided"
    if fit_p < ACCEPTABLE and p_zero < false_alarm:
        outcome, needed = "undecided", math.nan
    shown = acceptable(data, False)[0] if outcome == "decays" else fit
    return Clustering(
        label=label,
        distances=r,
        value=estimate.value,
        error=estimate.error,
        outcome=outcome,
        rate=shown.rate,
        rate_error=shown.rate_error,
        amplitude=shown.amplitude,
        floor=fit.floor,
        floor_error=fit.floor_error,
        p_value=p_value,
        fit_p_value=fit_p,
        first_distance=float(r[shown.start]),
        exchange=exchange,
        scale=scale,
        num_draws=estimate.num_draws,
        draws_needed=needed if outcome == "undecided" else math.nan,
        false_alarm=false_alarm,
    )


def _needed(estimate: CumulantEstimate, error: float, size: float, false_alarm: float) -> float:
    """Draws for which a floor of RESOLUTION `size` is seen with probability POWER."""
    bound = (-stdtrit(estimate.error_dof, false_alarm / 2) + ndtri(POWER)) * error
    return float(estimate.num_draws * (bound / (RESOLUTION * size)) ** 2)
