"""Energies from correlators: fits with the covariance of the data, averaged over windows.

    C(t) = sum_{k=1}^{K} A_k g(E_k, t),   g = e^{-E t},   on a torus of length T  e^{-E t} + e^{-E (T - t)},   K = 1, 2

is fitted to the data t_min <= t <= t_max with their covariance S, from the jackknife over B blocks, nu = B - 1. S is an
estimate, so chi^2 at the minimum follows Hotelling's distribution and not chi^2's: with n data and k = 2K parameters,

    chi^2 (nu - d + 1)/(nu d) ~ F(d, nu - d + 1),     d = n - k,

and the parameters have the covariance (J^T S^-1 J)^-1 (nu + chi^2)/(nu - d), J the derivatives of the model (C. R. Rao,
Biometrika 46 (1959) 49). For given E the A are linear, and are eliminated.

Windows. t_max is where C(t) is last above MINIMUM_SIGNAL errors without a gap, or where n = nu/4, whichever is first.
Every t_min in the first half of these data is tried, with K = 1 and 2; two states count where both amplitudes, E_1 and
the distance to E_2 are above RESOLVED errors, for else E_1 is what the noise likes. The lowest energies E_w
with their errors s_w are averaged with the weights of W. I. Jay and E. T. Neil, arXiv:2008.01069,

    w ~ exp(-AIC/2),   AIC = chi^2 (nu - d - 1)/nu + 2 k + 2 (data that were cut),   E = sum w E_w,
    error^2 = (sum w s_w)^2 + sum w E_w^2 - E^2,

the factor bringing chi^2 to the mean d. The first term is the largest variance that the average of correlated E_w can
have, in place of their sum w s_w^2, which a few windows with large errors rule; the second is the spread among windows.
An energy is undefined, with a reason, where fewer than MINIMUM_POINTS data are above the noise, where no fit has a
minimum, and where the best has a p-value below WORST_FIT.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.optimize import least_squares

from nnft_mcmc.estimators.series import MINIMUM_SIGNAL
from nnft_mcmc.statistics.comparison import hotelling_p_value
from nnft_mcmc.statistics.resampling import Jackknife

FloatArray = NDArray[np.float64]

MINIMUM_POINTS = 3
WORST_FIT = 0.01
MOST_STATES = 2
_DATA_PER_DOF = 4
_MOST_POINTS = 32
RESOLVED = 2.0
_RIDGE, _SINGULAR = 1e-12, 1e-7
_LARGEST_RATE, _SMALLEST_RATE = 50.0, 1e-4  # of E in units of 1/spacing


@dataclass(frozen=True)
class WindowFit:
    """One fit: E_1 of `num_states` exponentials between t_min and t_max, with chi^2, its dof and p-value, and AIC."""

    energy: float
    error: float
    num_states: int
    t_min: float
    t_max: float
    chi2: float
    dof: int
    p_value: float
    aic: float


@dataclass(frozen=True)
class Energy:
    """An energy, 1/length, averaged over windows; `best` is the window of the largest weight.

    error: statistical error and spread among windows, added in quadrature. Value and errors are NaN where there is a
    reason; `best` is then the fit that is refused, or None.
    """

    value: float
    error: float
    statistical_error: float
    spread: float
    best: WindowFit | None
    num_windows: int
    reason: str


def fit_energy(correlator: Jackknife, t: FloatArray, period: float = math.inf) -> Energy:
    """The lowest energy in C(t), value (lags,), at uniform separations t (lags,); `period` is T of a torus.

    t = 0 is left out: operators at one time have contact terms.
    """
    reason, used = _usable(correlator, t)
    if reason:
        return _undefined(reason)
    fits = []
    for states in range(1, MOST_STATES + 1):
        for first in range(used.start, min(used.stop - 2 * states, (used.start + used.stop) // 2 + 1)):
            fit = _fit(correlator, t, slice(first, used.stop), states, period, first - used.start)
            fits += [] if fit is None else [fit]
    if not fits:
        return _undefined("no fit to C(t) has a minimum at a positive energy")
    return _average(fits)


def _usable(correlator: Jackknife, t: FloatArray) -> tuple[str, slice]:
    """The data that fits may use, and why there are too few of them."""
    signal = correlator.value > MINIMUM_SIGNAL * correlator.error  # false for NaN
    lost = np.flatnonzero(~signal[1:])
    stop = 1 + (int(lost[0]) if lost.size else len(t) - 1)
    stop = min(stop, 1 + correlator.error_dof // _DATA_PER_DOF, 1 + _MOST_POINTS)
    if stop - 1 >= MINIMUM_POINTS:
        return "", slice(1, stop)
    if correlator.error_dof // _DATA_PER_DOF < MINIMUM_POINTS:
        return f"{correlator.error_dof + 1} blocks of draws are too few for a covariance; draw more", slice(1, 1)
    return (
        f"C(t) is above {MINIMUM_SIGNAL:g} of its errors at {stop - 1} separations t > 0 and a fit needs"
        f" {MINIMUM_POINTS}; draw more, or take a smaller spacing",
        slice(1, 1),
    )


def _fit(correlator: Jackknife, t: FloatArray, window: slice, states: int, period: float, cut: int) -> WindowFit | None:
    """The fit in one window; None where it has no minimum inside, or no error."""
    x, y = t[window], correlator.value[window]
    spacing, nu = float(t[1] - t[0]), correlator.error_dof
    whiten = _whitening(Jackknife(y, correlator.replicas[:, window]))
    target = whiten(y)

    def shapes(logs: FloatArray) -> FloatArray:
        return whiten(_shape(np.cumsum(np.exp(logs)) / spacing, x, period))

    def residual(logs: FloatArray) -> FloatArray:
        design = shapes(logs)
        return target - design @ np.linalg.lstsq(design, target, rcond=None)[0]

    # ln E_1 a and ln (E_2 - E_1) a; energies are increasing.
    bounds = (math.log(_SMALLEST_RATE), math.log(_LARGEST_RATE))
    start = np.clip(np.log(_starting_rates(x, y, spacing, states)), bounds[0] + 0.1, bounds[1] - 0.1)
    found = least_squares(residual, start, bounds=bounds, xtol=1e-12, ftol=1e-12, gtol=1e-12)
    if not found.success or (np.abs(found.x[:, None] - bounds) < 1e-3).any():
        return None
    energies: FloatArray = np.cumsum(np.exp(found.x)) / spacing
    design = shapes(found.x)
    amplitudes = np.asarray(np.linalg.lstsq(design, target, rcond=None)[0], dtype=np.float64)
    if not (amplitudes > 0).all():  # C_aa(t) is a sum of squares
        return None
    jacobian = np.hstack([design, whiten(_slope(energies, x, period)) * amplitudes])
    chi2, dof = float(np.sum(found.fun**2)), len(x) - 2 * states
    covariance = _inverse(jacobian) * (nu + chi2) / (nu - dof)
    error = math.sqrt(covariance[states, states])
    if not _is_resolved(amplitudes, energies, covariance):
        return None
    p_value = hotelling_p_value(chi2, dof, nu)
    aic = chi2 * (nu - dof - 1) / nu + 4 * states + 2 * cut
    return WindowFit(float(energies[0]), error, states, float(x[0]), float(x[-1]), chi2, dof, p_value, aic)


def _shape(energies: FloatArray, t: FloatArray, period: float) -> FloatArray:
    """g(E_k, t), (t, K)."""
    decay = np.exp(-np.outer(t, energies))
    return decay if math.isinf(period) else decay + np.exp(-np.outer(period - t, energies))


def _slope(energies: FloatArray, t: FloatArray, period: float) -> FloatArray:
    """dg/dE, (t, K)."""
    slope = -t[:, None] * np.exp(-np.outer(t, energies))
    return slope if math.isinf(period) else slope - (period - t)[:, None] * np.exp(-np.outer(period - t, energies))


def _starting_rates(t: FloatArray, c: FloatArray, spacing: float, states: int) -> FloatArray:
    """E_1 a from the later half of the window, and for a second state twice as much above it."""
    middle = len(t) // 2
    rate = max(math.log(c[middle - 1] / c[-1]) / (t[-1] - t[middle - 1]) * spacing, 10 * _SMALLEST_RATE)
    return rate * np.array([1.0, 2.0])[:states]


def _whitening(data: Jackknife) -> Callable[[FloatArray], FloatArray]:
    """The map of columns (n, ..) to units in which the data are independent with unit variance."""
    error = data.error
    lower = np.linalg.cholesky(data.covariance / np.outer(error, error) + _RIDGE * np.eye(len(error)))
    return lambda columns: solve_triangular(lower, (columns.T / error).T, lower=True)


def _inverse(jacobian: FloatArray) -> FloatArray:
    """(J^T J)^-1; infinite where J is singular to rounding."""
    scale = np.linalg.norm(jacobian, axis=0)
    singular = np.linalg.svd(jacobian / scale, compute_uv=False)
    if not singular[-1] > _SINGULAR * singular[0]:
        return np.full((len(scale), len(scale)), np.inf)
    return np.linalg.inv((jacobian / scale).T @ (jacobian / scale)) / np.outer(scale, scale)


def _is_resolved(amplitudes: FloatArray, energies: FloatArray, covariance: FloatArray) -> bool:
    """Whether the energy has an error, and of two states amplitudes, E_1 and E_2 - E_1 are above RESOLVED errors."""
    k = len(energies)
    if not np.isfinite(covariance).all():
        return False
    if k == 1:
        return True
    distance = covariance[k, k] + covariance[k + 1, k + 1] - 2 * covariance[k, k + 1]
    numbers = np.array([*amplitudes, energies[0], energies[1] - energies[0]])
    variances = np.array([*np.diag(covariance)[: k + 1], max(distance, 0.0)])
    return bool((numbers > RESOLVED * np.sqrt(variances)).all())


def _average(fits: list[WindowFit]) -> Energy:
    """The average over windows, refused where the best fit is no fit."""
    aic = np.array([fit.aic for fit in fits])
    weights = np.exp(-(aic - aic.min()) / 2)
    weights /= weights.sum()
    best = fits[int(aic.argmin())]
    if best.p_value < WORST_FIT:
        reason = f"no window is fitted: the best has p = {best.p_value:.2g} and {WORST_FIT:g} is required"
        return _undefined(reason, best, len(fits))
    energies = np.array([fit.energy for fit in fits])
    value = float(weights @ energies)
    statistical = float(weights @ np.array([fit.error for fit in fits]))
    spread = math.sqrt(max(0.0, float(weights @ (energies - value) ** 2)))
    return Energy(value, math.hypot(statistical, spread), statistical, spread, best, len(fits), "")


def _undefined(reason: str, best: WindowFit | None = None, num_windows: int = 0) -> Energy:
    return Energy(math.nan, math.nan, math.nan, math.nan, best, num_windows, reason)
