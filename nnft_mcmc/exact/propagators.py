"""Free propagators in position space, with and without a momentum cut-off.

    matern         G(r) = int d^dp/(2 pi)^d e^{i p.r} (p^2 + m^2)^{-s}
                        = 2^{1-s} / ((2 pi)^{d/2} Gamma(s)) (r/m)^{s-d/2} K_{s-d/2}(m r)
    ball_transform G(r) = int_{|p|<L} d^dp/(2 pi)^d e^{i p.r} f(|p|)
                        = S_d/(2 pi)^d int_0^L p^{d-1} Omega_d(p r) f(p) dp

S_d = 2 pi^{d/2}/Gamma(d/2) is the area of the unit sphere and Omega_d(z) = Gamma(d/2) (2/z)^{d/2-1} J_{d/2-1}(z) the
plane wave averaged over directions: cos z, J_0(z), sin z/z, 2 J_1(z)/z for d = 1, 2, 3, 4. Units: r is a length, p, m
and L are inverse lengths. The first integral is Abramowitz-Stegun 9.6.25 / DLMF 10.32.11 generalised to d dimensions
(the Matern covariance); s = 1 is the free scalar.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import j0, j1, kve

from nnft_mcmc._checks import InputError, integer, positive

Array = NDArray[np.float64]

# 32 Gauss-Legendre nodes integrate e^{i z x} on [-1, 1] to 1e-21 for z <= 20, and (p^2 + m^2)^{-s} on [q, 2q] to 1e-40.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(32)
_MAX_PHASE_PER_PANEL = 40.0
_SMALLEST_PANEL = 2.0**-44
_CHUNK = 1 << 20


def ball_volume(dim: int, radius: float) -> float:
    """Volume of the d-ball, pi^{d/2} R^d / Gamma(d/2 + 1)."""
    dim, radius = integer("dim", dim, 1), positive("radius", radius)
    return math.pi ** (dim / 2) * radius**dim / math.gamma(dim / 2 + 1)


def matern(r: ArrayLike, mass: float, dim: int, power: float) -> Array:
    """G(r) of (p^2 + m^2)^{-power} over all momenta; r any shape, only |r| matters.

    At r = 0 it is Gamma(s - d/2) m^{d-2s} / ((4 pi)^{d/2} Gamma(s)) for s > d/2 and infinite otherwise.
    """
    mass, power, dim = positive("mass", mass), positive("power", power), integer("dim", dim, 1)
    order = power - dim / 2
    z = mass * np.abs(_distances(r))
    scale = 2 ** (1 - power) / ((2 * math.pi) ** (dim / 2) * math.gamma(power)) * mass ** (-2 * order)
    at_zero = scale * 2 ** (order - 1) * math.gamma(order) if order > 0 else math.inf
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        bessel = kve(order, np.minimum(z, 1e6))  # kve has no value beyond 1e9, where e^{-z} is 0
        value = scale * z**order * bessel * np.exp(-z)
    # K overflows only where z^order K_order(z) has reached its limit.
    return np.where(np.isinf(bessel), at_zero, value)


def ball_transform(r: ArrayLike, dim: int, cutoff: float, spectrum: Callable[[Array], Array]) -> Array:
    """G(r) of spectrum(|p|) over the ball |p| < cutoff, dim = 1..4; r any shape, only |r| matters.

    `spectrum` maps an array of p to an array of the same shape. It may have any scale: the panels of the composite
    Gauss-Legendre rule halve towards p = 0, so anything as smooth as (p^2 + m^2)^{-s} is resolved for every mass, and
    none of them holds more than a few oscillations of the plane wave. The error is about 1e-13 of G(0).
    """
    dim, cutoff = integer("dim", dim, 1, 4), positive("cutoff", cutoff)
    distances = np.abs(_distances(r))
    unique, inverse = np.unique(distances, return_inverse=True)
    result = np.empty_like(unique)
    octave = np.floor(np.log2(np.maximum(cutoff * unique, 1.0)))
    for value in np.unique(octave):
        members = octave == value
        result[members] = _ball_transform(unique[members], dim, cutoff, spectrum)
    return result[inverse].reshape(distances.shape)


def _ball_transform(r: Array, dim: int, cutoff: float, spectrum: Callable[[Array], Array]) -> Array:
    """One set of panels, fine enough for the largest of r (k,), applied to all of them."""
    momenta, weights = _panels(cutoff, float(r.max()))
    density = np.asarray(spectrum(momenta), dtype=np.float64)
    if density.shape != momenta.shape or not np.all(np.isfinite(density)):
        raise InputError(
            f"spectrum returned shape {density.shape} or non-finite values for momenta of shape {momenta.shape} below "
            f"the cut-off {cutoff!r}; it must map an array of |p| to finite numbers of the same shape."
        )
    sphere = 2 * math.pi ** (dim / 2) / math.gamma(dim / 2) / (2 * math.pi) ** dim
    measure = sphere * weights * momenta ** (dim - 1) * density
    step = max(1, _CHUNK // momenta.size)
    chunks = [_plane_wave(np.outer(r[i : i + step], momenta), dim) @ measure for i in range(0, r.size, step)]
    return np.concatenate(chunks)


def _panels(cutoff: float, distance: float) -> tuple[Array, Array]:
    """Nodes and weights on [0, cutoff]: dyadic panels towards 0, cut where the phase p * distance is large."""
    edges = [0.0]
    dyadic = cutoff * 2.0 ** np.arange(math.log2(_SMALLEST_PANEL), 1)
    for right in dyadic:
        pieces = max(1, math.ceil((right - edges[-1]) * distance / _MAX_PHASE_PER_PANEL))
        edges.extend(np.linspace(edges[-1], right, pieces + 1)[1:])
    left, half = np.array(edges[:-1]), np.diff(edges) / 2
    nodes = left[:, None] + half[:, None] * (1 + _NODES)
    return nodes.ravel(), (half[:, None] * _WEIGHTS).ravel()


def _plane_wave(z: Array, dim: int) -> Array:
    """Omega_d(z), the plane wave e^{i p.r} averaged over the directions of p."""
    if dim == 1:
        return np.cos(z)
    if dim == 2:
        return j0(z)
    if dim == 3:
        return np.sinc(z / math.pi)
    tiny = z < 1e-8
    return np.where(tiny, 1.0, 2 * j1(z) / np.where(tiny, 1.0, z))


def _distances(r: ArrayLike) -> Array:
    values = np.asarray(r, dtype=np.float64)
    if not np.all(np.isfinite(values)):
        raise InputError("r holds values that are not finite; every distance must be a finite number.")
    return values
