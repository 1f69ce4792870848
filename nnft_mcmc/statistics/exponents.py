r"""Exponents of power laws y(N) ~ N^s with corrections, from independent values of log2 y with errors.

    log2 y = A + s log2 N [+ B N^{-p}],

without the correction and with it, to all N and to those that remain when the smallest are left out, as long as a
degree of freedom is left that tests the fit. The fits are averaged as in `extrapolation`: with P parameters and n
points left out,

    AIC = chi^2 + 2 P + 2 n,    w ~ exp(-AIC/2),    s = sum_i w_i s_i,
    var = sum_i w_i var_i + sum_i w_i s_i^2 - s^2.

The exponent is refused (`Unsupported`) where there are fewer than 4 different N, and where no fit has a p-value
above ACCEPTABLE.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaincc

from nnft_mcmc._checks import InputError
from nnft_mcmc.statistics.extrapolation import Unsupported

FloatArray = NDArray[np.float64]

MINIMUM_POINTS = 4
ACCEPTABLE = 1e-3  # p-value; a sweep fits some twenty exponents


@dataclass(frozen=True)
class PowerLaw:
    """One fit, to the N of at least `smallest`; `power` is p of its correction, 0 where it has none."""

    smallest: float
    power: float
    offset: float
    slope: float
    error: float
    correction: float
    chi2: float
    dof: int
    weight: float

    @property
    def p_value(self) -> float:
        """Of chi^2."""
        return float(gammaincc(self.dof / 2, self.chi2 / 2))

    def __call__(self, n: ArrayLike) -> FloatArray:
        """log2 y at N."""
        at = np.asarray(n, dtype=np.float64)
        return self.offset + self.slope * np.log2(at) + self.correction * at**-self.power


@dataclass(frozen=True)
class Exponent:
    """The average over `fits`, the likeliest first; `error` holds the statistical error and the spread of the fits."""

    value: float
    error: float
    fits: tuple[PowerLaw, ...]

    @property
    def best(self) -> PowerLaw:
        """The likeliest fit."""
        return self.fits[0]


def fit_exponent(n: ArrayLike, log2_y: ArrayLike, error: ArrayLike, corrections: Sequence[float] = (1.0,)) -> Exponent:
    """The exponent of values (k,) with independent errors (k,) at N (k,) > 0; see the module docstring."""
    n, log2_y, error = (np.asarray(values, dtype=np.float64) for values in (n, log2_y, error))
    _check(n, log2_y, error, corrections)
    order = np.argsort(n)
    n, log2_y, error = n[order], log2_y[order], error[order]
    starts = [k for k in range(len(n)) if k == 0 or n[k] > n[k - 1]]
    found = [
        (_fit(n[k:], log2_y[k:], error[k:], power), k)
        for power in (0.0, *corrections)
        for k in starts
        if len(set(n[k:].tolist())) > (3 if power else 2)
    ]
    if not any(fit.p_value >= ACCEPTABLE for fit, _ in found):
        best, _ = max(found, key=lambda pair: pair[0].p_value)
        raise Unsupported(
            f"no power law fits, with or without a correction (the best has chi^2 = {best.chi2:.1f} for {best.dof},"
            f" p = {best.p_value:.1g}); add larger N, or leave out the smallest."
        )
    criteria = np.array([fit.chi2 + 2 * (3 if fit.power else 2) + 2 * left_out for fit, left_out in found])
    weights = np.exp(-(criteria - criteria.min()) / 2)
    weights /= weights.sum()
    slopes, errors = (np.array([getattr(fit, name) for fit, _ in found]) for name in ("slope", "error"))
    mean = float(weights @ slopes)
    variance = float(weights @ errors**2 + weights @ (slopes - mean) ** 2)
    weighted = [
        PowerLaw(**{**vars(fit), "weight": float(weight)}) for (fit, _), weight in zip(found, weights, strict=True)
    ]
    return Exponent(mean, float(np.sqrt(variance)), tuple(sorted(weighted, key=lambda fit: -fit.weight)))


def _fit(n: FloatArray, log2_y: FloatArray, error: FloatArray, power: float) -> PowerLaw:
    scale = n.min() ** -power  # columns of equal size
    columns = [np.ones_like(n), np.log2(n)] + ([n**-power / scale] if power else [])
    matrix = np.stack(columns, axis=-1) / error[:, None]
    coefficients, *_ = np.linalg.lstsq(matrix, log2_y / error)
    covariance = np.linalg.inv(matrix.T @ matrix)
    return PowerLaw(
        smallest=float(n.min()),
        power=power,
        offset=float(coefficients[0]),
        slope=float(coefficients[1]),
        error=float(np.sqrt(covariance[1, 1])),
        correction=float(coefficients[2] / scale) if power else 0.0,
        chi2=float(np.sum((log2_y / error - matrix @ coefficients) ** 2)),
        dof=len(n) - len(coefficients),
        weight=np.nan,
    )


def _check(n: FloatArray, log2_y: FloatArray, error: FloatArray, corrections: Sequence[float]) -> None:
    if any(power <= 0 for power in corrections):
        raise InputError(f"corrections are {tuple(corrections)}; they must be positive powers of 1/N.")
    if n.ndim != 1 or not n.shape == log2_y.shape == error.shape or not (n > 0).all() or not np.isfinite(n).all():
        raise InputError(f"N is {n.tolist()}; it must be positive numbers, one for each value and error.")
    if not np.isfinite(log2_y).all() or not (np.isfinite(error).all() and (error > 0).all()):
        raise Unsupported("a value or its error is not a number, or an error is zero.")
    different = len(set(n.tolist()))
    if different < MINIMUM_POINTS:
        raise Unsupported(
            f"there are {different} different N and the exponent needs {MINIMUM_POINTS} or more; add points."
        )
