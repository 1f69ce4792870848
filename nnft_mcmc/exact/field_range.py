"""Whether a locally deformed Gaussian chain exists, and how far its field reaches.

Density exp(-phi G^{-1} phi/2 - sum_x V_x(phi_x)) with G = e^{-m|t-s|}/2m at increasing times and V_x(phi) = sum_k
coefficients[k, x] phi^k. With N(mu, C) the Gaussian that holds the sites of degree <= 2 exactly, W_x the rest of the
potential and Jensen's bound Z >= Z_{mu,C} exp(-sum E W), the marginal of every site obeys

    p_x(phi) <= N(phi; mu_x, C_xx) exp(sum_y (E W_y - min W_y) - (W_x(phi) - min W_x)).

All functions take mass (1/length), times (n,) and coefficients (K + 1, n).
"""

import math

import numpy as np
from numpy.polynomial import Polynomial, polynomial
from numpy.typing import NDArray

from nnft_mcmc._checks import InputError

Array = NDArray[np.float64]


def stiffness(mass: float, times: Array) -> Array:
    """k = m/sinh(m dt) between neighbouring sites, minus the off-diagonal of G^{-1}, (n-1,)."""
    gaps = mass * np.diff(times)
    return -2 * mass * np.exp(-gaps) / np.expm1(-2 * gaps)


def increment_variances(mass: float, times: Array) -> Array:
    """Variances (1 - rho^2)/2m of each site given the one before, and 1/2m of a site by itself, (n,)."""
    return np.append(-np.expm1(-2 * mass * np.diff(times)), 1.0) / (2 * mass)


def require_integrable(mass: float, times: Array, coefficients: Array) -> None:
    """Refuse potentials for which the density has no finite integral."""
    degrees = _degrees(coefficients)
    leading = coefficients[degrees, np.arange(degrees.size)]
    for x in np.flatnonzero((degrees > 2) & ((degrees % 2 == 1) | (leading < 0))):
        raise InputError(
            f"the potential at site {x} has leading term {leading[x]:g} phi^{degrees[x]} and is unbounded below; its "
            f"highest power must be even with a positive coefficient."
        )
    soft, quadratic = degrees <= 2, _quadratic(coefficients)
    if np.any(soft) and _softest(_precision(mass, times, quadratic)[np.ix_(soft, soft)]) <= 0:
        raise InputError(
            f"the quadratic coefficients reach {quadratic.min():g}, below what the free theory of mass {mass:g} holds "
            f"up against; raise them or add a positive quartic term."
        )


def field_range(mass: float, times: Array, coefficients: Array, tail: float) -> tuple[float, float]:
    """Field values beyond which the marginal of every site is below exp(-tail)."""
    degrees, quadratic = _degrees(coefficients), _comparison(mass, times, coefficients)
    covariance = np.linalg.inv(_precision(mass, times, quadratic))
    linear = np.where(degrees <= 2, coefficients[1], 0.0) if coefficients.shape[0] > 1 else np.zeros(degrees.size)
    mean, width = -covariance @ linear, np.sqrt(np.diag(covariance))
    rest = [_rest(coefficients[: degrees[x] + 1, x], quadratic[x], mean[x], width[x]) for x in range(degrees.size)]
    nodes, weights = np.polynomial.hermite_e.hermegauss(coefficients.shape[0] // 2 + 1)
    slack = sum(float(weights @ w(nodes)) for w in rest) / math.sqrt(2 * math.pi)
    low, high = np.transpose([_outermost(w + Polynomial([-slack - tail, 0.0, 0.5])) for w in rest])
    return float(np.min(mean + width * low)), float(np.max(mean + width * high))


def _degrees(coefficients: Array) -> NDArray[np.intp]:
    """Highest power with a non-zero coefficient at each site, (n,); 0 for a site without any."""
    powers = np.arange(coefficients.shape[0])[:, None]
    return np.where(coefficients != 0, powers, 0).max(axis=0)


def _quadratic(coefficients: Array) -> Array:
    """Coefficient of phi^2 at the sites of degree 2, 0 at the others, (n,)."""
    degrees = _degrees(coefficients)
    return np.where(degrees == 2, coefficients[2], 0.0) if coefficients.shape[0] > 2 else np.zeros(degrees.size)


def _precision(mass: float, times: Array, quadratic: Array) -> Array:
    """G^{-1} + 2 diag(quadratic), (n, n): tridiagonal, m coth(m dt) from each neighbour and m beyond each end."""
    decay = np.exp(-2 * mass * np.diff(times))
    to_neighbour = mass * (1 + decay) / -np.expm1(-2 * mass * np.diff(times))
    diagonal = np.append(to_neighbour, mass) + np.append(mass, to_neighbour) + 2 * quadratic
    coupling = stiffness(mass, times)
    return np.diag(diagonal) - np.diag(coupling, 1) - np.diag(coupling, -1)


def _softest(precision: Array) -> float:
    return float(np.linalg.eigvalsh(precision)[0])


def _comparison(mass: float, times: Array, coefficients: Array) -> Array:
    """phi^2 coefficients of the comparison Gaussian, (n,): those of the sites of degree <= 2, else 0 where that does.

    Sites of negative curvature that only their neighbours hold need a stiffer Gaussian at the neighbours.
    """
    soft, quadratic = _degrees(coefficients) <= 2, _quadratic(coefficients)
    if np.all(quadratic >= 0) or np.all(soft):
        return quadratic
    softest = _softest(_precision(mass, times, quadratic)[np.ix_(soft, soft)])
    while _softest(_precision(mass, times, quadratic)) < softest / 2:
        quadratic = np.where(soft, quadratic, 2 * quadratic + mass / 4)
    return quadratic


def _rest(potential: Array, quadratic: float, mean: float, width: float) -> Polynomial:
    """W - min W in z = (phi - mean)/width, W the potential without its quadratic phi^2; 0 for degree <= 2."""
    if potential.size <= 3:
        return Polynomial([0.0])
    shifted = Polynomial(potential - quadratic * np.eye(1, potential.size, 2)[0])(Polynomial([mean, width]))
    return shifted - shifted(shifted.deriv().roots().real).min()


def _outermost(function: Polynomial) -> tuple[float, float]:
    """Smallest and largest real root of a polynomial that is negative somewhere and positive far out."""
    roots = polynomial.polyroots(function.coef)
    real_roots = roots.real[np.abs(roots.imag) <= 1e-6 * np.abs(roots)]
    return float(real_roots.min()), float(real_roots.max())
