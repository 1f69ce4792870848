"""Observables of a run as series: one number (or array) per draw whose mean is the estimate.

A derived quantity f(<O_1>, <O_2>, ...) becomes a series by exact linear propagation about the means,

    f_i = f(<O>) + sum_k (df/dO_k) (O_k,i - <O_k>),

whose mean is f(<O>) and whose autocorrelated error is that of f. So errors, R-hat and covariances of all observables
come from the same functions.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from nnft_mcmc.estimators.effective_mass import effective_mass, plateau, torus_effective_mass
from nnft_mcmc.estimators.per_draw import axis_momenta, longest_axes, separations
from nnft_mcmc.estimators.series import MINIMUM_SIGNAL, Observable, Series, linearised
from nnft_mcmc.lattice import Lattice
from nnft_mcmc.statistics import gamma_method


def observables(kept: Mapping[str, Series], lattice: Lattice) -> dict[str, Observable]:
    """Every observable of a run, from the per-draw arrays (chain, draw, ...) that `per_draw` made."""
    return of_moments(moments(kept, lattice), lattice)


# Per-draw numbers whose means are observables as they are.
_MEANS = (
    "phi2",
    "phi4",
    "phi2_mid",
    "phi4_mid",
    "magnetization",
    "nearest_neighbour",
    "two_point",
    "correlator",
    "improved_correlator",
    "propagator",
    "action",
    "virial",
)


def moments(kept: Mapping[str, Any], lattice: Lattice) -> dict[str, Any]:
    """The numbers of each draw of whose means all observables are functions; arrays of NumPy or of JAX alike."""
    magnetization = kept["magnetization"]
    return {
        **{name: kept[name] for name in _MEANS if name in kept},
        "abs_magnetization": abs(magnetization),
        "susceptibility": lattice.num_sites * lattice.cell_volume * magnetization**2,
        "magnetization4": magnetization**4,
    }


def of_moments(series: Mapping[str, Series], lattice: Lattice) -> dict[str, Observable]:
    """Every observable from series of `moments`, each (chain, draw, ...)."""
    volume = lattice.num_sites * lattice.cell_volume
    m2 = series["susceptibility"] / volume
    names = ("phi2", "phi4", "phi2_mid", "phi4_mid", "magnetization", "abs_magnetization", "susceptibility")
    found = {name: Observable(series[name]) for name in names}
    found |= {
        "connected_susceptibility": Observable(connected_susceptibility(m2, series["abs_magnetization"], volume)),
        "binder": Observable(binder(m2, series["magnetization4"])),
        "excess_kurtosis": Observable(excess_kurtosis(series["phi2_mid"], series["phi4_mid"])),
    }
    if "action" in series:
        found["action"] = Observable(series["action"])
        found["action_density"] = Observable(series["action"] / volume)
    found |= {name: Observable(series[name]) for name in ("nearest_neighbour", "virial") if name in series}
    return found | _of_torus(series, lattice) | _of_time(series, lattice)


def _of_torus(series: Mapping[str, Series], lattice: Lattice) -> dict[str, Observable]:
    """What is made of the propagator along the axes; nothing in a box, where momentum is not conserved."""
    if "propagator" not in series:
        return {}
    propagator = series["propagator"][..., longest_axes(lattice), :].mean(axis=-2)
    found = {"propagator": Observable(propagator, axis_momenta(lattice), note="coords are momenta, in 1/length")}
    if max(lattice.shape) > 1:
        found["correlation_length"] = correlation_length(propagator, lattice)
    return found


def _of_time(series: Mapping[str, Series], lattice: Lattice) -> dict[str, Observable]:
    """Two-point functions in time and what is made of them."""
    t, correlator = separations(lattice), series["correlator"]
    found = {"two_point": Observable(series["two_point"], t), "correlator": Observable(correlator, t)}
    if len(t) > 2:
        if lattice.geometry == "torus":
            found["log_effective_mass"] = effective_mass(correlator, t)
            found["effective_mass"] = torus_effective_mass(correlator, t)
        else:
            found["effective_mass"] = effective_mass(correlator, t)
        found["mass"] = plateau(found["effective_mass"])
        if "improved_correlator" in series:
            found["improved_correlator"] = Observable(series["improved_correlator"], t)
            found["improved_effective_mass"] = torus_effective_mass(series["improved_correlator"], t)
            found["improved_mass"] = plateau(found["improved_effective_mass"])
    return found


def binder(magnetization2: Series, magnetization4: Series) -> Series:
    """U4 = 1 - <M^4>/(3 <M^2>^2)."""
    return -excess_kurtosis(magnetization2, magnetization4) / 3


def excess_kurtosis(second: Series, fourth: Series) -> Series:
    """<x^4>/<x^2>^2 - 3, zero for a normal x of mean zero; `second` and `fourth` are series of x^2 and x^4.

    G_c4(x, x, x, x) = excess_kurtosis <phi(x)^2>^2.
    """
    powers = np.stack([second, fourth], axis=-1)
    m2, m4 = powers.mean(axis=(0, 1))
    gradient = np.array([-2 * m4 / m2**3, 1 / m2**2])
    return linearised(np.array([m4 / m2**2 - 3]), gradient[None], powers)[..., 0]


def connected_susceptibility(magnetization2: Series, abs_magnetization: Series, volume: float) -> Series:
    """V (<M^2> - <|M|>^2), the susceptibility where the symmetry is broken; V the volume, a length^d."""
    powers = np.stack([magnetization2, abs_magnetization], axis=-1)
    m2, m1 = powers.mean(axis=(0, 1))
    gradient = volume * np.array([1.0, -2 * m1])
    return linearised(np.array([volume * (m2 - m1**2)]), gradient[None], powers)[..., 0]


def correlation_length(propagator: Series, lattice: Lattice) -> Observable:
    """The second-moment correlation length, in units of length,

        xi = a (G(0)/G(p) - 1)^(1/2) / (2 sin(pi/L)),     p = 2 pi/(L a) along the longest axes, of L sites each

    (F. Cooper, B. Freedman and D. Preston, Nucl. Phys. B 210 (1982) 210). `propagator` (chain, draw, k), modes 0, 1, ..
    Of a free field on the lattice it is 1/m exactly.
    """
    powers = propagator[..., :2]
    zero, one = powers.mean(axis=(0, 1))
    ratio = linearised(np.array([zero / one - 1]), np.array([[1 / one, -zero / one**2]]), powers)[..., 0]
    estimate = gamma_method(ratio)
    scale = lattice.spacing / (2 * math.sin(math.pi / max(lattice.shape)))
    signal = float(estimate.value / estimate.error)
    if not signal > MINIMUM_SIGNAL:
        reason = (
            f"G(0)/G(p) - 1 = {float(estimate.value):.2g} is {signal:.2g} times its error and {MINIMUM_SIGNAL:g} are"
            " required; draw more, or take a smaller lattice"
        )
        return Observable(np.full(ratio.shape, np.nan), reasons=(reason,))
    xi = scale * math.sqrt(estimate.value)
    return Observable(xi + (ratio - estimate.value) * xi / (2 * estimate.value))
