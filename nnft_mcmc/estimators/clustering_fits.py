r"""Fits of A k_m(R) + c to connected functions at distances R_k, with an estimated covariance.

For given m both A and c are linear, and chi^2 is minimised over m on a grid. The floor c is tested by the fit with
c = 0 on the same distances,

    t^2 = [chi^2(c = 0) - chi^2] (nu - K + 3) / (nu + chi^2) ~ F(1, nu - K + 3),

nu the degrees of freedom of the covariance, K the number of distances; the factor is that of C. R. Rao, Biometrika 46
(1959) 49, for a least-squares fit with an estimated covariance. Errors of m and c are where chi^2 has grown by the same
measure 1. Rates below 1/(R_max - R_1) are not considered: what decays over more than the distances at hand cannot be
told from a constant, and is called one.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import fdtrc

from nnft_mcmc.estimators.exchange import Exchange
from nnft_mcmc.statistics.comparison import hotelling_p_value

FloatArray = NDArray[np.float64]

MINIMUM_DISTANCES = 4
ACCEPTABLE = 0.05
# A number known that much better than the others is exact for a fit; so is one known to rounding of the scale.
_EXACT, _ROUNDING = 1e-3, 1e-14
_RIDGE = 1e-10
_RATES, _FINER = 200, 400
_FASTEST = 8.0  # e^-8 from one distance to the next


@dataclass(frozen=True, eq=False)
class Data:
    """What is fitted: value (K,) at r (K,), of natural size `scale`, covariance (K, K) of `nu` degrees of freedom."""

    r: FloatArray
    value: FloatArray
    covariance: FloatArray
    nu: int
    exchange: Exchange
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
class Fit:
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


def _fit(data: Data, start: int, with_floor: bool) -> Fit:
    """The best fits, on the grid of rates and on a finer one around the best of it."""
    coarse = _at_rates(data, start, with_floor, data.rates)
    below, above = data.rates[max(0, coarse.best - 2)], data.rates[min(_RATES - 1, coarse.best + 2)]
    return _at_rates(data, start, with_floor, np.union1d(data.rates, np.geomspace(below, above, _FINER)))


def _at_rates(data: Data, start: int, with_floor: bool, rates: FloatArray) -> Fit:
    y = data.whitened(data.value, start)
    ones = data.whitened(np.ones(len(data.r)), start)
    # Normalised at the first distance: exp(-m R) may be too small for a number.
    decay = data.exchange(rates, data.r)
    first = decay[:, start]
    k = data.whitened(decay / first[:, None], start)
    kk, ky, k1, y1, n1 = (k**2).sum(axis=1), k @ y, k @ ones, ones @ y, ones @ ones
    determinant = kk * n1 - k1**2
    floors = (kk * y1 - k1 * ky) / determinant if with_floor else np.zeros(len(rates))
    amplitudes = (ky - k1 * floors) / kk
    chi2 = np.sum((y - amplitudes[:, None] * k - floors[:, None] * ones) ** 2, axis=1)
    num, parameters = len(data.r) - start, 3 if with_floor else 2
    measure = (data.nu + float(chi2.min())) / (data.nu - num + parameters)
    return Fit(start, rates, chi2, amplitudes / first, floors, kk / determinant, measure)


def constant(data: Data, start: int = 0) -> Fit:
    """The constant that fits best, from the distance number `start` on."""
    ones, y = data.whitened(np.ones(len(data.r)), start), data.whitened(data.value, start)
    floor = ones @ y / (ones @ ones)
    chi2 = float(np.sum((y - floor * ones) ** 2))
    measure = (data.nu + chi2) / (data.nu - len(y) + 1)
    rate, none = np.array([math.nan]), np.zeros(1)
    return Fit(start, rate, np.array([chi2]), none, np.array([floor]), np.array([1 / (ones @ ones)]), measure)


def acceptable(data: Data, with_floor: bool) -> tuple[Fit, float]:
    """The fit from the smallest distance on from which it is acceptable, else from the largest, with its p-value."""
    first = int(data.exchange.diverges_at_zero and data.r[0] == 0)
    for start in range(first, len(data.r) - MINIMUM_DISTANCES + 1):
        fit = _fit(data, start, with_floor)
        p_value = hotelling_p_value(float(fit.chi2.min()), len(data.r) - start - (3 if with_floor else 2), data.nu)
        if p_value >= ACCEPTABLE:
            break
    return fit, p_value


def p_value_of_floor(data: Data, fit: Fit) -> float:
    """Of c = 0; and of f = 0 at the largest distances, if that is less significant or of another sign."""
    without = _fit(data, fit.start, False)
    t2 = max(0.0, float(without.chi2.min() - fit.chi2.min())) / fit.measure
    tail = constant(data, len(data.r) - max(2, len(data.r) // 4))
    if tail.floor * fit.floor <= 0.0:
        return 1.0
    t2_tail = (tail.floor / tail.floor_error) ** 2
    return float(max(fdtrc(1, data.nu - (len(data.r) - fit.start) + 3, t2), fdtrc(1, data.nu, t2_tail)))
