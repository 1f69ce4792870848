"""Observables of a run as series: one number (or array) per draw whose mean is the estimate.

A derived quantity f(<O_1>, <O_2>, ...) becomes a series by exact linear propagation about the means,

    f_i = f(<O>) + sum_k (df/dO_k) (O_k,i - <O_k>),

whose mean is f(<O>) and whose autocorrelated error is that of f. So errors, R-hat and covariances of all observables
come from the same functions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnft_mcmc.estimators.per_draw import separations
from nnft_mcmc.lattice import Lattice
from nnft_mcmc.statistics import gamma_method

Series = NDArray[np.float64]
Coordinates = NDArray[np.float64]

# An effective mass is a ratio of correlators; below this signal-to-noise ratio it is NaN rather than noise.
MINIMUM_SIGNAL = 4.0


@dataclass(frozen=True)
class Observable:
    """`series` (chain, draw) or (chain, draw, k), with the coordinate of k, a length, in the latter case."""

    series: Series
    coords: NDArray[np.float64] | None = None
    note: str = ""


def observables(kept: Mapping[str, Series], lattice: Lattice) -> dict[str, Observable]:
    """Every observable of a run, from the per-draw arrays (chain, draw, ...) that `per_draw` made."""
    return of_moments(moments(kept, lattice), lattice)


def moments(kept: Mapping[str, Any], lattice: Lattice) -> dict[str, Any]:
    """The numbers of each draw of whose means all observables are functions; arrays of NumPy or of JAX alike."""
    magnetization = kept["magnetization"]
    same = ("phi2", "phi4", "phi2_mid", "phi4_mid", "two_point", "correlator", "action", "virial")
    return {
        **{name: kept[name] for name in same if name in kept},
        "abs_magnetization": abs(magnetization),
        "susceptibility": lattice.num_sites * lattice.cell_volume * magnetization**2,
        "magnetization4": magnetization**4,
    }


def of_moments(series: Mapping[str, Series], lattice: Lattice) -> dict[str, Observable]:
    """Every observable from series of `moments`, each (chain, draw, ...)."""
    t = separations(lattice)
    m2 = series["susceptibility"] / (lattice.num_sites * lattice.cell_volume)
    scalars = {
        "phi2": series["phi2"],
        "phi4": series["phi4"],
        "phi2_mid": series["phi2_mid"],
        "phi4_mid": series["phi4_mid"],
        "abs_magnetization": series["abs_magnetization"],
        "susceptibility": series["susceptibility"],
        "binder": binder(m2, series["magnetization4"]),
        **{name: series[name] for name in ("action", "virial") if name in series},
    }
    found = {name: Observable(values) for name, values in scalars.items()}
    found["two_point"] = Observable(series["two_point"], t)
    found["correlator"] = Observable(series["correlator"], t)
    if len(t) > 2:
        effective = torus_effective_mass if lattice.geometry == "torus" else effective_mass
        mass, at = effective(series["correlator"], t)
        found["effective_mass"] = Observable(mass, at)
        found["mass"] = plateau(mass, at)
    return found


def linearised(value: Series, gradient: Series, series: Series) -> Series:
    """value (M,) and gradient (M, K) of M functions of the means of series (chain, draw, K); (chain, draw, M)."""
    return value + (series - series.mean(axis=(0, 1))) @ gradient.T


def binder(magnetization2: Series, magnetization4: Series) -> Series:
    """U4 = 1 - <M^4>/(3 <M^2>^2)."""
    powers = np.stack([magnetization2, magnetization4], axis=-1)
    m2, m4 = powers.mean(axis=(0, 1))
    value = 1 - m4 / (3 * m2**2)
    gradient = np.array([2 * m4 / (3 * m2**3), -1 / (3 * m2**2)])
    return linearised(np.array([value]), gradient[None], powers)[..., 0]


def effective_mass(correlator: Series, t: Coordinates) -> tuple[Series, Coordinates]:
    """m(t + a/2) = ln[C(t)/C(t + a)]/a and its t + a/2, in units of 1/length; NaN where C is lost in its noise."""
    c, spacing = _above_noise(correlator), t[1] - t[0]
    k = np.arange(len(c) - 1)
    gradient = np.zeros((len(k), len(c)))
    gradient[k, k], gradient[k, k + 1] = 1 / (spacing * c[:-1]), -1 / (spacing * c[1:])
    return linearised(np.log(c[:-1] / c[1:]) / spacing, gradient, correlator), (t[:-1] + t[1:]) / 2


def torus_effective_mass(correlator: Series, t: Coordinates) -> tuple[Series, Coordinates]:
    """m(t) = arccosh[(C(t - a) + C(t + a))/2C(t)]/a and its t > 0; NaN where C is lost in its noise.

    C(t) is a sum of cosh(m (T/2 - t)) on a torus of length T.
    """
    c, spacing = _above_noise(correlator), t[1] - t[0]
    k = np.arange(1, len(c) - 1)
    cosh = (c[k - 1] + c[k + 1]) / (2 * c[k])
    with np.errstate(invalid="ignore"):  # noise can push the ratio below 1, where no mass exists
        value, slope = np.arccosh(cosh) / spacing, 1 / (spacing * np.sqrt(cosh**2 - 1))
    gradient = np.zeros((len(k), len(c)))
    rows = np.arange(len(k))
    gradient[rows, k - 1] = gradient[rows, k + 1] = slope / (2 * c[k])
    gradient[rows, k] = -slope * cosh / c[k]
    return linearised(value, gradient, correlator), t[k]


def _above_noise(correlator: Series) -> Series:
    """The mean of C, NaN where it is less than MINIMUM_SIGNAL of its errors."""
    estimate = gamma_method(correlator)
    return np.where(estimate.value > MINIMUM_SIGNAL * estimate.error, estimate.value, np.nan)


def plateau(mass: Series, t: NDArray[np.float64]) -> Observable:
    """Mean of the effective masses in the middle third of the separations: past the excited states, off the edges."""
    window = (t >= t[-1] / 3) & (t <= 2 * t[-1] / 3)
    window = window if window.any() else np.ones_like(window)
    chosen = t[window]
    return Observable(
        mass[..., window].mean(axis=-1), note=f"effective mass averaged over {chosen[0]:g} <= t <= {chosen[-1]:g}"
    )
