"""Isotropic densities on momentum space, p(w) = spectrum(|w|)/Z on |w| < cutoff, with exact quantiles.

Everything goes through one variable. Let S(k) be the probability that |w| > k, and

    rho = -ln S(k),    sigma = rho^(1/d).

Near k = 0, 1 - S is proportional to k^d, so sigma is proportional to k; in a power-law tail rho is a logarithm of k.
So y = asinh(k/scale) is a smooth function of sigma everywhere. It is tabulated once, by Gauss-Legendre quadrature and
Newton's method, and evaluated from piecewise polynomials. Then

    a draw is             rho ~ Exponential(1), because S(|w|) is uniform,
    and a smooth map from a standard normal vector z in R^d is     rho = -ln Pr(chi_d > |z|).
"""

import math
from collections.abc import Callable
from typing import Any, overload

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.polynomial import chebyshev
from numpy.polynomial.legendre import leggauss

from nnft_mcmc import _checks

# Beyond rho = 40 lies e^-40 = 4e-18 of the probability; there the quantile stays at the end of its table.
RHO_MAX = 40.0
# Cells no wider than this in y, whose nearest singularity is at i pi/2, and in sigma: degree 7 then errs by 1e-14.
_CELL = 0.125
_DEGREE = 7
_NODES, _WEIGHTS = leggauss(20)


class RadialLaw:
    """The law of |w| for w in R^dim with density proportional to spectrum(|w|) on |w| < cutoff.

    `spectrum` maps numpy to numpy and JAX to JAX arrays and varies on the scale `scale`. `cutoff` may be infinite
    where the density normalises. The quantile errs by less than 1e-12 (k + scale * e^-rho).
    """

    def __init__(self, dim: int, spectrum: Callable, scale: float, cutoff: float) -> None:
        self.dim, self.scale, self.cutoff, self._spectrum = dim, scale, cutoff, spectrum
        survival = _Survival(dim, spectrum, scale, cutoff)
        sphere = 2.0 * math.pi ** (dim / 2) / math.gamma(dim / 2)  # area of the unit sphere
        self.normalisation = sphere * survival.total
        self._breaks, self._table = _piecewise_polynomials(survival)

    def log_density(self, k: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
        """ln p(w) at |w| = k, inside the cut-off."""
        return jnp.log(self._spectrum(k)) - math.log(self.normalisation)

    @overload
    def quantile(self, rho: np.ndarray) -> np.ndarray: ...
    @overload
    def quantile(self, rho: Array) -> Array: ...
    def quantile(self, rho: Any) -> Any:
        """The momentum k with Pr(|w| > k) = e^-rho; a numpy array is worked on in float64 on the host."""
        xp = np if isinstance(rho, np.ndarray) else jnp
        sigma = rho ** (1 / self.dim)
        breaks = xp.asarray(self._breaks)
        cell = xp.clip(xp.searchsorted(breaks, sigma, side="right") - 1, 0, len(self._breaks) - 2)
        u = xp.minimum((sigma - breaks[cell]) / (breaks[cell + 1] - breaks[cell]), 1.0)
        coefficients = xp.asarray(self._table)[:, cell]
        y = coefficients[-1]
        for c in coefficients[-2::-1]:
            y = c + u * y
        return self.scale * xp.sinh(y)


class _Survival:
    """S as a function of y = asinh(k/scale), from integrals over panels of y taken from both ends."""

    def __init__(self, dim: int, spectrum: Callable, scale: float, cutoff: float) -> None:
        self.dim, self._spectrum, self._scale = dim, spectrum, scale
        self._edges = self._panels(cutoff)
        panels = self._integral(self._edges[:-1], self._edges[1:])
        self._below = np.concatenate([[0.0], np.cumsum(panels)])
        self._above = np.concatenate([np.cumsum(panels[::-1])[::-1], [0.0]])
        self.total = float(self._below[-1])

    def density(self, y: np.ndarray) -> np.ndarray:
        """k^(d-1) spectrum(k) dk/dy."""
        k = self._scale * np.sinh(y)
        root = self._spectrum(k) ** (1 / self.dim)  # k^d alone would overflow
        return (root * k) ** (self.dim - 1) * root * self._scale * np.cosh(y)

    def _integral(self, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
        half = (stop - start) / 2
        y = (start + stop)[..., None] / 2 + half[..., None] * _NODES
        return half * (self.density(y) @ _WEIGHTS)

    def _panels(self, cutoff: float) -> np.ndarray:
        if math.isfinite(cutoff):
            end = math.asinh(cutoff / self._scale)
            return np.linspace(0.0, end, math.ceil(end / _CELL) + 1)
        edges = np.arange(0.0, 300.0, _CELL)
        panels = self._integral(edges[:-1], edges[1:])
        # A tail cut at e^-36 of what lies beyond the table's last entry moves no digit of it.
        negligible = panels < math.exp(-RHO_MAX - 36) * panels.sum()
        peak = int(np.argmax(panels))
        end = peak + int(np.argmax(negligible[peak:]))
        underflow = self._spectrum(self._scale * np.sinh(edges[end])) == 0.0
        if not negligible[end] or underflow:
            raise _checks.InputError(
                "the momentum density falls too slowly for its tail to be represented without a cut-off; give a finite"
                " cutoff or a larger alpha."
            )
        return edges[: end + 1]

    def sigma_and_slope(self, y: np.ndarray, panel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """sigma(y) and d sigma/dy in panel number `panel`, from the nearer end so that no digit is lost."""
        below = self._below[panel] + self._integral(self._edges[panel], y)
        above = self._above[panel + 1] + self._integral(y, self._edges[panel + 1])
        # Next to a cut-off the last bits of y decide whether anything is left above.
        above = np.maximum(above, 1e-300 * self.total)
        from_zero = -np.log1p(-np.minimum(below / self.total, 0.75))  # 0.75 guards the branch that is not taken
        from_infinity = -np.log(above / self.total)
        rho = np.where(below < above, from_zero, from_infinity)
        sigma = rho ** (1 / self.dim)
        return sigma, self.density(y) / above * sigma / (self.dim * rho)

    def cells(self, sigma_max: float) -> np.ndarray:
        """Break points in sigma of cells narrow in sigma and in y alike."""
        panel = np.arange(1, len(self._edges) - 1)
        at_edges, _ = self.sigma_and_slope(self._edges[1:-1], panel)
        uniform = np.linspace(0.0, sigma_max, math.ceil(sigma_max / _CELL) + 1)
        return np.unique(np.concatenate([uniform, at_edges[at_edges < sigma_max]]))

    def inverse(self, sigma: np.ndarray) -> np.ndarray:
        """y of given sigma > 0: bracketed by a panel, then Newton's method, bisecting where it would leave."""
        at_edges, _ = self.sigma_and_slope(self._edges[1:-1], np.arange(1, len(self._edges) - 1))
        panel = np.searchsorted(at_edges, sigma)
        low, high = self._edges[panel], self._edges[panel + 1]
        y = (low + high) / 2
        for _ in range(60):
            found, slope = self.sigma_and_slope(y, panel)
            low, high = np.where(found < sigma, y, low), np.where(found < sigma, high, y)
            newton = y + (sigma - found) / slope
            following = np.where((newton >= low) & (newton < high), newton, (low + high) / 2)
            if np.all(np.abs(following - y) <= 2e-15 * y):
                break
            y = following
        return y


def _piecewise_polynomials(survival: _Survival) -> tuple[np.ndarray, np.ndarray]:
    """Break points of sigma, and c[j, cell] of y = sum_j c_j u^j with u in [0, 1] across the cell."""
    breaks = survival.cells(RHO_MAX ** (1 / survival.dim))
    points = chebyshev.chebpts1(_DEGREE + 1)
    y = survival.inverse(breaks[:-1, None] + (points + 1) / 2 * np.diff(breaks)[:, None])
    # Interpolate at Chebyshev points of [-1, 1], then substitute 2u - 1.
    monomials = np.array(
        [chebyshev.cheb2poly(np.eye(_DEGREE + 1)[k]).tolist() + [0.0] * (_DEGREE - k) for k in range(_DEGREE + 1)]
    ).T
    degrees = range(_DEGREE + 1)
    shift = np.array([[math.comb(k, j) * 2.0**j * (-1.0) ** (k - j) for k in degrees] for j in degrees])
    table = shift @ monomials @ chebyshev.chebfit(points, y.T, _DEGREE)
    table[0, 0] = 0.0  # sigma = 0 is k = 0, exactly
    return breaks, table
