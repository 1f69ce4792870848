r"""Cluster decomposition: do connected functions of two clusters, pulled apart to the distance R, vanish?

The connected functions at distances R_k, with the covariance S of the estimates over all distances (jackknife), are
fitted by

    f(R) = A k_m(R) + c,    k_m(R) = R^-s exp(-m R),  on a torus of circumference L  k_m(R) + k_m(L - R),

with s = 0 in d = 1 and s = (d - 1)/2 for every particle that is exchanged in d dimensions (Ornstein and Zernike), from
the smallest R_min on from which the fit is acceptable (p above 0.05, at least 4 distances). The floor c is tested by
the fit with c = 0 on the same distances: for given m both are linear, and chi^2 is minimised over m on a grid,

    t^2 = [chi^2(c = 0) - chi^2] (nu - K + 3) / (nu + chi^2) ~ F(1, nu - K + 3),

nu the degrees of freedom of S, K the number of distances; the factor is that of C. R. Rao, Biometrika 46 (1959) 49, for
a least-squares fit with an estimated covariance. Errors of m and c are where chi^2 has grown by the same measure 1.
What decays faster than an exponential, a Gaussian kernel for instance, is fitted by one with a spurious c. So c counts
only where f itself is not zero, and of the same sign, at the largest quarter of the distances: of both p-values the
larger is taken. Rates below 1/(R_max - R_1) are not considered: what decays over more than the distances at hand cannot
be told from a constant, and is called one.

Outcomes. `floor`: c is not zero. `decays`: f is not zero, c is, and a c of RESOLUTION of the largest f would have been
seen with probability POWER. `vanishes`: f is zero within errors at all distances, and a constant of RESOLUTION of the
scale G(0)^(n/2) would have been seen. `undecided`: neither; `draws_needed` says how many draws would do.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import fdtrc, ndtri, stdtrit

from nnft_mcmc import _checks
from nnft_mcmc.estimators.symmetry import POWER
from nnft_mcmc.statistics import CumulantEstimate

FloatArray = NDArray[np.float64]

RESOLUTION = 0.1
MINIMUM_DISTANCES = 4
ACCEPTABLE = 0.05
# A number known that much better than the others is exact for a fit; so is one known to rounding of the scale.
_EXACT, _ROUNDING = 1e-3, 1e-14
_RIDGE = 1e-10
_RATES, _FINER = 200, 400
_FASTEST = 8.0  # e^-8 from one distance to the next


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
    circumference: float
    power: float
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
        constant = f"{self.floor:.3g} +- {self.floor_error:.2g}"
        if self.outcome == "floor":
            return f"approaches a non-zero constant, {constant} (p = {self.p_value:.2g})"
        if self.outcome == "decays" and np.isfinite(self.rate_error):
            mass = f"{self.rate:.4g} +- {self.rate_error:.2g} from R = {self.first_distance:.3g} on"
            return f"decays with mass {mass}; constant {constant}"
        if self.outcome == "decays":
            return f"decays, not as one exponential; constant {constant}"
        if self.outcome == "vanishes":
            return f"zero within errors at every distance; constant {constant}"
        needed = f"need about {self.draws_needed:.1g}" if np.isfinite(self.draws_needed) else "need larger distances"
        return f"cannot tell from this many draws, {self.num_draws}; {needed}"

    def curve(self, r: FloatArray) -> FloatArray:
        """The fit at distances r."""
        constant = 0.0 if self.outcome == "decays" else self.floor
        if self.amplitude == 0.0:
            return np.full(len(r), constant)
        return self.amplitude * _decay(np.array([self.rate]), r, self.circumference, self.power)[0] + constant


def clustering_test(
    label: str,
    distances: FloatArray,
    estimate: CumulantEstimate,
    scale: float,
    false_alarm: float = 1e-3,
    circumference: float = math.inf,
    power: float = 0.0,
) -> Clustering:
    """The outcome for connected functions `estimate` (K,) at increasing `distances` (K,); see the module docstring.

    power: s. With s > 0 a distance of 0 is not fitted.
    """
    r = np.asarray(distances, dtype=np.float64)
    if r.shape != estimate.value.shape or len(r) < MINIMUM_DISTANCES + (power > 0) or not (np.diff(r) > 0).all():
        raise _checks.InputError(
            f"distances are {r.tolist()} for {estimate.value.size} estimates; clustering needs"
            f" {MINIMUM_DISTANCES + (power > 0)} or more increasing distances, one for each."
        )
    if not (np.isfinite(estimate.value).all() and np.isfinite(estimate.error).all()):
        raise _checks.InputError(f"{label} or its error is not finite; clustering cannot be tested.")
    if not 0.0 < false_alarm < 1.0:
        raise _checks.InputError(f"false_alarm is {false_alarm!r}; it must lie between 0 and 1.")
    data = _Data(
        r,
        estimate.value,
        estimate.covariance,
        estimate.error_dof,
        circumference,
        power,
        _checks.positive("scale", scale),
    )
    zero, p_zero = _constant(data), _p_value(data.chi2(estimate.value), len(r), data.nu)
    if p_zero >= false_alarm:
        needed = _needed(estimate, zero.floor_error, scale, false_alarm)
        outcome, p_value, fit, fit_p = "vanishes" if needed <= estimate.num_draws else "undecided", p_zero, zero, p_zero
    else:
        fit, fit_p = _acceptable(data, True)
        p_value = _p_value_of_floor(data, fit)
        needed = _needed(estimate, fit.floor_error, float(np.abs(estimate.value).max()), false_alarm)
        outcome = "floor" if p_value < false_alarm else "decays" if needed <= estimate.num_draws else "undecided"
    if fit_p < ACCEPTABLE and p_zero < false_alarm:
        outcome, needed = "undecided", math.nan
    shown = _acceptable(data, False)[0] if outcome == "decays" else fit
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
        circumference=circumference,
        power=power,
        scale=scale,
        num_draws=estimate.num_draws,
        draws_needed=needed if outcome == "undecided" else math.nan,
        false_alarm=false_alarm,
    )


@dataclass(frozen=True, eq=False)
class _Data:
    """What is fitted: value (K,) at r (K,), covariance (K, K) of `nu` degrees of freedom."""

    r: FloatArray
    value: FloatArray
    covariance: FloatArray
    nu: int
    circumference: float
    power: float
    scale: float

    @property
    def rates(self) -> FloatArray:
        """The rates that are considered."""
        return np.geomspace(1.0 / (self.r[-1] - self.r[0]), _FASTEST / np.diff(self.r).min(), _RATES)

    def whitened(self, values: FloatArray, start: int = 0) -> FloatArray:
        """values (.., K) from the distance number `start` on, in units in which they are independent."""
        error = np.sqrt(np.diag(self.covariance))
        least = max(_EXACT * float(np.median(error)), _ROUNDING * self.scale)
        covariance = (self.covariance + np.diag(np.maximum(least**2 - error**2, 0.0)))[start:, start:]
        error = np.maximum(error, least)[start:]
        lower = np.linalg.cholesky(covariance / np.outer(error, error) + _RIDGE * np.eye(len(error)))
        return solve_triangular(lower, np.moveaxis(values[..., start:] / error, -1, 0), lower=True).T

    def chi2(self, values: FloatArray) -> float:
        """Of values (K,) against zero."""
        return float(np.sum(self.whitened(values) ** 2))


@dataclass(frozen=True, eq=False)
class _Fit:
    """Best fits from the distance number `start` on, at each of `rates` (M,).

    chi2, and the coefficients of the decay and of the constant, with the variance of the latter. `measure` is the
    growth of chi^2 that is one standard error.
    """

    start: int
    rates: FloatArray
    chi2: FloatArray
    amplitudes: FloatArray
    floors: FloatArray
    variances: FloatArray
    measure: float

    @property
    def best(self) -> int:
        """Number of the best rate."""
        return int(self.chi2.argmin())

    @property
    def rate(self) -> float:
        """m."""
        return float(self.rates[self.best])

    @property
    def rate_error(self) -> float:
        """Half of the interval in which chi^2 has grown by `measure`; NaN where that has no end among the rates."""
        inside = np.flatnonzero(self.chi2 <= self.chi2.min() + self.measure)
        if inside[0] == 0 or inside[-1] == len(self.rates) - 1:
            return math.nan
        return float(self.rates[inside[-1]] - self.rates[inside[0]]) / 2

    @property
    def amplitude(self) -> float:
        """A."""
        return float(self.amplitudes[self.best])

    @property
    def floor(self) -> float:
        """c."""
        return float(self.floors[self.best])

    @property
    def floor_error(self) -> float:
        """The larger distance to the ends of the interval of c in which chi^2, minimised over the rest, has grown by
        `measure`."""
        reach = np.sqrt(self.variances * np.clip(self.chi2.min() + self.measure - self.chi2, 0.0, None))
        allowed = self.chi2 <= self.chi2.min() + self.measure
        ends = np.concatenate([(self.floors + reach)[allowed], (self.floors - reach)[allowed]])
        return float(np.abs(ends - self.floor).max())


def _decay(rates: FloatArray, r: FloatArray, circumference: float, power: float) -> FloatArray:
    """k_m(R), (M, K); of distance 0, which has no k_m where power > 0, exp(-m R) alone."""

    def k(distance: FloatArray) -> FloatArray:
        return np.exp(-np.outer(rates, distance)) / np.where(distance > 0, distance, 1.0) ** power

    return k(r) + (k(circumference - r) if math.isfinite(circumference) else 0.0)


def _fit(data: _Data, start: int, with_floor: bool) -> _Fit:
    """The best fits, on the grid of rates and on a finer one around the best of it."""
    coarse = _at_rates(data, start, with_floor, data.rates)
    below, above = data.rates[max(0, coarse.best - 2)], data.rates[min(_RATES - 1, coarse.best + 2)]
    return _at_rates(data, start, with_floor, np.union1d(data.rates, np.geomspace(below, above, _FINER)))


def _at_rates(data: _Data, start: int, with_floor: bool, rates: FloatArray) -> _Fit:
    y = data.whitened(data.value, start)
    ones = data.whitened(np.ones(len(data.r)), start)
    # Normalised at the first distance: exp(-m R) may be too small for a number.
    decay = _decay(rates, data.r, data.circumference, data.power)
    first = decay[:, start]
    k = data.whitened(decay / first[:, None], start)
    kk, ky, k1, y1, n1 = (k**2).sum(axis=1), k @ y, k @ ones, ones @ y, ones @ ones
    determinant = kk * n1 - k1**2
    floors = (kk * y1 - k1 * ky) / determinant if with_floor else np.zeros(len(rates))
    amplitudes = (ky - k1 * floors) / kk
    chi2 = np.sum((y - amplitudes[:, None] * k - floors[:, None] * ones) ** 2, axis=1)
    num, parameters = len(data.r) - start, 3 if with_floor else 2
    measure = (data.nu + float(chi2.min())) / (data.nu - num + parameters)
    return _Fit(start, rates, chi2, amplitudes / first, floors, kk / determinant, measure)


def _constant(data: _Data, start: int = 0) -> _Fit:
    """The constant that fits best, from the distance number `start` on."""
    ones, y = data.whitened(np.ones(len(data.r)), start), data.whitened(data.value, start)
    floor = ones @ y / (ones @ ones)
    chi2 = float(np.sum((y - floor * ones) ** 2))
    measure = (data.nu + chi2) / (data.nu - len(y) + 1)
    rate, none = np.array([math.nan]), np.zeros(1)
    return _Fit(start, rate, np.array([chi2]), none, np.array([floor]), np.array([1 / (ones @ ones)]), measure)


def _acceptable(data: _Data, with_floor: bool) -> tuple[_Fit, float]:
    """The fit from the smallest distance on from which it is acceptable, else from the largest, with its p-value."""
    first = int(data.power > 0 and data.r[0] == 0)
    for start in range(first, len(data.r) - MINIMUM_DISTANCES + 1):
        fit = _fit(data, start, with_floor)
        p_value = _p_value(float(fit.chi2.min()), len(data.r) - start - (3 if with_floor else 2), data.nu)
        if p_value >= ACCEPTABLE:
            break
    return fit, p_value


def _p_value(chi2: float, dof: int, nu: int) -> float:
    """Of chi^2 with an estimated covariance: Hotelling's T^2."""
    return float(fdtrc(dof, nu - dof + 1, chi2 * (nu - dof + 1) / (nu * dof)))


def _p_value_of_floor(data: _Data, fit: _Fit) -> float:
    """Of c = 0; and of f = 0 at the largest distances, if that is less significant or of another sign."""
    without = _fit(data, fit.start, False)
    t2 = max(0.0, float(without.chi2.min() - fit.chi2.min())) / fit.measure
    tail = _constant(data, len(data.r) - max(2, len(data.r) // 4))
    if tail.floor * fit.floor <= 0.0:
        return 1.0
    t2_tail = (tail.floor / tail.floor_error) ** 2
    return float(max(fdtrc(1, data.nu - (len(data.r) - fit.start) + 3, t2), fdtrc(1, data.nu, t2_tail)))


def _needed(estimate: CumulantEstimate, error: float, size: float, false_alarm: float) -> float:
    """Draws for which a floor of RESOLUTION `size` is seen with probability POWER."""
    bound = (-stdtrit(estimate.error_dof, false_alarm / 2) + ndtri(POWER)) * error
    return float(estimate.num_draws * (bound / (RESOLUTION * size)) ** 2)
