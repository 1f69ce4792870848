"""Effective masses of a zero-momentum correlator C(t), and their plateau.

    log     m(t + a/2) = ln[C(t)/C(t + a)]/a                            C(t) = A e^{-m t}: an infinite extent of time
    cosh    m(t)       = arccosh[(C(t - a) + C(t + a))/2C(t)]/a         C(t) = A cosh(m (T/2 - t)): a torus of length T

Both are exact where one state is all there is, at every spacing. Of C(t) = sum_n A_n e^{-E_n t}, A_n > 0, m(t) falls to
the lowest E_n. An entry that uses a C(t) of less than MINIMUM_SIGNAL errors is NaN and says why.
"""

from collections.abc import Sequence

import numpy as np

from nnft_mcmc.estimators.series import MINIMUM_SIGNAL, Coordinates, Observable, Series, linearised
from nnft_mcmc.statistics import gamma_method

_LOST = f"a C(t) that it is made of is below {MINIMUM_SIGNAL:g} times its error: lost in noise"
_CONSTANT = "a C(t) that it is made of has no error"


def effective_mass(correlator: Series, t: Coordinates) -> Observable:
    """The log effective mass, in units of 1/length, from C (chain, draw, k) at uniform t (k,)."""
    c, lost = _above_noise(correlator)
    spacing, k = t[1] - t[0], np.arange(len(c) - 1)
    gradient = np.zeros((len(k), len(c)))
    gradient[k, k], gradient[k, k + 1] = 1 / (spacing * c[:-1]), -1 / (spacing * c[1:])
    series = linearised(np.log(c[:-1] / c[1:]) / spacing, gradient, correlator)
    return Observable(series, (t[:-1] + t[1:]) / 2, reasons=_first(lost, len(k), 2))


def torus_effective_mass(correlator: Series, t: Coordinates) -> Observable:
    """The cosh effective mass at t > 0, in units of 1/length."""
    c, lost = _above_noise(correlator)
    spacing, k = t[1] - t[0], np.arange(1, len(c) - 1)
    cosh = (c[k - 1] + c[k + 1]) / (2 * c[k])
    with np.errstate(invalid="ignore", divide="ignore"):  # at or below 1 there is no mass, and a reason below
        value, slope = np.arccosh(cosh) / spacing, 1 / (spacing * np.sqrt(cosh**2 - 1))
    gradient = np.zeros((len(k), len(c)))
    rows = np.arange(len(k))
    gradient[rows, k - 1] = gradient[rows, k + 1] = slope / (2 * c[k])
    gradient[rows, k] = -slope * cosh / c[k]
    reasons = tuple(
        reason or (f"(C(t - a) + C(t + a))/2C(t) = {ratio:.4g} is not above 1" if ratio <= 1 else "")
        for reason, ratio in zip(_first(lost, len(k), 3), cosh, strict=True)
    )
    return Observable(linearised(value, gradient, correlator), t[k], reasons=reasons)


def _above_noise(correlator: Series) -> tuple[Series, list[str]]:
    """The mean of C, NaN where it is less than MINIMUM_SIGNAL of its errors, and there why."""
    estimate = gamma_method(correlator)
    known = estimate.value > MINIMUM_SIGNAL * estimate.error
    why = np.where(known, "", np.where(np.isfinite(estimate.error), _LOST, _CONSTANT))
    return np.where(known, estimate.value, np.nan), why.tolist()


def _first(lost: Sequence[str], entries: int, used: int) -> tuple[str, ...]:
    """Of each entry, the first reason among the `used` values of C that it is made of."""
    return tuple(next(filter(None, lost[k : k + used]), "") for k in range(entries))


def plateau_window(t: Coordinates) -> tuple[float, float]:
    """First and last of the separations t in their middle third; of all where there is none."""
    window = t[(t >= t[-1] / 3) & (t <= 2 * t[-1] / 3)]
    chosen = window if window.size else t
    return float(chosen[0]), float(chosen[-1])


def plateau(mass: Observable) -> Observable:
    """Mean of the effective masses in the middle third of the separations: past the excited states, off the edges.

    The window is fixed before any number is seen; where an entry in it is undefined, so is the plateau.
    """
    t = np.asarray(mass.coords)
    first, last = plateau_window(t)
    window = (t >= first) & (t <= last)
    values = mass.series[..., window]
    undefined = t[window][~np.isfinite(values).all(axis=(0, 1))]
    note = f"effective mass averaged over {first:g} <= t <= {last:g}"
    if undefined.size:
        at = ", ".join(f"{x:g}" for x in undefined)
        reason = (
            f"effective_mass is undefined at t = {at}, in the window {first:g} <= t <= {last:g} of the plateau; nnft"
            " spectrum fits where C(t) is known"
        )
        return Observable(np.full(mass.series.shape[:2], np.nan), note=note, reasons=(reason,))
    return Observable(values.mean(axis=-1), note=note)
