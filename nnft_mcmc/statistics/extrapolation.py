r"""Limits x -> 0 of independent numbers y(x) with errors: weighted fits, averaged over models.

    y(x) = c_0 + sum_k c_k x^{p_k},

with the first K = 1, 2, .. of the powers p_k, to all points and to those that remain when the largest x are left out,
as long as a degree of freedom is left that tests the fit. Each has chi^2, P = K + 1 parameters and leaves out n points;
with

    AIC = chi^2 + 2 P + 2 n,    w ~ exp(-AIC/2),

(W. I. Jay and E. T. Neil, Phys. Rev. D 103 (2021) 114502, eqs. 23 and 32) the limit and its variance are

    c_0 = sum_i w_i c_0,i,    var = sum_i w_i var_i + sum_i w_i c_0,i^2 - (sum_i w_i c_0,i)^2;

the first sum is the square of `stat_error`, the others that of `model_error`. A constant alone is no model: that y does
not depend on x may be because the errors are large.

The limit is refused (`Unsupported`) where there are fewer than 3 different x, where the smallest is more than half of
the largest, so that the limit is farther from the points than they are from each other, and where no fit has a p-value
above ACCEPTABLE.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaincc

from nnft_mcmc._checks import InputError

FloatArray = NDArray[np.float64]

ACCEPTABLE = 0.01
MINIMUM_POINTS = 3
LARGEST_REACH = 0.5


class Unsupported(InputError):
    """The points do not determine the limit."""


@dataclass(frozen=True, eq=False)
class Fit:
    """One model: `powers`, `coefficients` (c_0, c_1, ..) and their `covariance`, of the points with x <= `largest`."""

    powers: tuple[float, ...]
    largest: float
    coefficients: FloatArray
    covariance: FloatArray
    chi2: float
    dof: int
    weight: float

    @property
    def p_value(self) -> float:
        """Of chi^2."""
        return float(gammaincc(self.dof / 2, self.chi2 / 2))

    def __call__(self, x: ArrayLike) -> FloatArray:
        """The fit at x (..)."""
        return design(np.asarray(x, dtype=np.float64), self.powers) @ self.coefficients


@dataclass(frozen=True, eq=False)
class Limit:
    """The average over `fits`, the likeliest first."""

    value: float
    stat_error: float
    model_error: float
    fits: tuple[Fit, ...]

    @property
    def error(self) -> float:
        """Both errors in quadrature."""
        return float(np.hypot(self.stat_error, self.model_error))

    @property
    def best(self) -> Fit:
        """The likeliest fit."""
        return self.fits[0]

    def bias(self, x: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """y(x) - y(0) of the average over models, and its error: what the limit removes from a number at x."""
        at = np.asarray(x, dtype=np.float64)
        weights = np.array([fit.weight for fit in self.fits])
        shifts = np.stack([fit(at) - fit.coefficients[0] for fit in self.fits])
        rows = [design(at, fit.powers) * (np.arange(len(fit.powers) + 1) > 0) for fit in self.fits]
        variances = np.stack(
            [np.einsum("...j,jk,...k->...", row, f.covariance, row) for row, f in zip(rows, self.fits, strict=True)]
        )
        mean = np.tensordot(weights, shifts, 1)
        spread = np.tensordot(weights, shifts**2, 1) - mean**2
        return mean, np.sqrt(np.tensordot(weights, variances, 1) + np.maximum(spread, 0.0))


def design(x: FloatArray, powers: Sequence[float]) -> FloatArray:
    """1, x^{p_1}, x^{p_2}, ..; shape (.., 1 + K)."""
    return np.stack([np.ones_like(x), *[x**p for p in powers]], axis=-1)


def extrapolate(x: ArrayLike, value: ArrayLike, error: ArrayLike, powers: Sequence[float] = (1.0, 2.0)) -> Limit:
    """The limit x -> 0 of values (n,) with independent errors (n,) at x (n,) > 0; see the module docstring."""
    x, value, error = (np.asarray(a, dtype=np.float64) for a in (x, value, error))
    _check(x, value, error, powers)
    order = np.argsort(x)
    x, value, error = x[order], value[order], error[order]
    fits = [
        _fit(x[:kept], value[:kept], error[:kept], tuple(powers[:number]), len(x) - kept)
        for number in range(1, len(powers) + 1)
        for kept in range(len(x), 0, -1)
        if len(set(x[:kept])) > number + 1 and (kept == len(x) or x[kept] > x[kept - 1])
    ]
    if not any(fit.p_value >= ACCEPTABLE for fit, _ in fits):
        best, _ = max(fits, key=lambda f: f[0].p_value)
        tried = ", ".join(f"{p:g}" for p in powers)
        raise Unsupported(
            f"no sum of the powers {tried} of x fits (the best has chi^2 = {best.chi2:.1f} for {best.dof},"
            f" p = {best.p_value:.1g}); add points of smaller x, or give other powers."
        )
    criteria = np.array([criterion for _, criterion in fits])
    weights = np.exp(-(criteria - criteria.min()) / 2)
    weights /= weights.sum()
    weighted = [_weighted(fit, float(w)) for (fit, _), w in zip(fits, weights, strict=True)]
    limits = np.array([fit.coefficients[0] for fit in weighted])
    variances = np.array([fit.covariance[0, 0] for fit in weighted])
    mean = float(weights @ limits)
    return Limit(
        value=mean,
        stat_error=float(np.sqrt(weights @ variances)),
        model_error=float(np.sqrt(weights @ (limits - mean) ** 2)),
        fits=tuple(sorted(weighted, key=lambda fit: -fit.weight)),
    )


def _fit(
    x: FloatArray, value: FloatArray, error: FloatArray, powers: tuple[float, ...], left_out: int
) -> tuple[Fit, float]:
    scale = x.max() ** np.array([0.0, *powers])  # columns of equal size
    matrix = design(x, powers) / scale / error[:, None]
    coefficients, *_ = np.linalg.lstsq(matrix, value / error)
    covariance = np.linalg.inv(matrix.T @ matrix)
    chi2 = float(np.sum((value / error - matrix @ coefficients) ** 2))
    parameters = len(coefficients)
    fit = Fit(
        powers,
        float(x.max()),
        coefficients / scale,
        covariance / np.outer(scale, scale),
        chi2,
        len(x) - parameters,
        np.nan,
    )
    return fit, chi2 + 2 * parameters + 2 * left_out


def _weighted(fit: Fit, weight: float) -> Fit:
    return Fit(fit.powers, fit.largest, fit.coefficients, fit.covariance, fit.chi2, fit.dof, weight)


def _check(x: FloatArray, value: FloatArray, error: FloatArray, powers: Sequence[float]) -> None:
    if not powers or any(p <= 0 for p in powers) or list(powers) != sorted(set(powers)):
        raise InputError(f"powers are {tuple(powers)}; they must be positive and increase.")
    if x.ndim != 1 or not x.shape == value.shape == error.shape or not (x > 0).all() or not np.isfinite(x).all():
        raise InputError(f"x is {x.tolist()}; it must be positive numbers, one for each value and error.")
    if not np.isfinite(value).all() or not (np.isfinite(error).all() and (error > 0).all()):
        raise Unsupported("a value or its error is not a number; see nnft measure of that point.")
    different = sorted(set(x.tolist()))
    if len(different) < MINIMUM_POINTS:
        raise Unsupported(
            f"there are {len(different)} different x and the limit needs {MINIMUM_POINTS} or more; add points."
        )
    if different[0] > LARGEST_REACH * different[-1]:
        raise Unsupported(
            f"the smallest x, {different[0]:g}, is more than half of the largest, {different[-1]:g}: the limit lies"
            " farther from the points than they lie apart; add points of smaller x."
        )
