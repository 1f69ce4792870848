r"""B-splines: the functions on the edges of a Kolmogorov-Arnold network.

Knots t_0 < t_1 < .. < t_{G+2p} hold the grid of G intervals, t_p .. t_{p+G}, and p knots beyond either end. With the
degree p there are G + p basis functions, by the recursion of Cox and de Boor

    B_k^0(x) = 1 for t_k <= x < t_{k+1}, else 0
    B_k^q(x) = (x - t_k)/(t_{k+q} - t_k) B_k^{q-1}(x) + (t_{k+q+1} - x)/(t_{k+q+1} - t_{k+1}) B_{k+1}^{q-1}(x).

They add up to one on the grid and vanish outside of all knots. The functions below that take NumPy arrays are exact
expectations over normal variables, on the host in float64.
"""

import functools
import math

import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray
from scipy.interpolate import BSpline, PPoly
from scipy.special import ndtr

FloatArray = NDArray[np.float64]

# Where a standard normal variable is cut off: the density there is 1e-18.
CUT = 9.0
ORDER = 16  # Gauss-Legendre nodes of one piece


def basis(x: Float[Array, " n"], knots: Float[Array, "n knots"], degree: int) -> Float[Array, "n basis"]:
    """B_k(x_i) for each x_i on its own knots."""
    x = x[:, None]
    b = ((x >= knots[:, :-1]) & (x < knots[:, 1:])).astype(x.dtype)
    for q in range(1, degree + 1):
        rising = (x - knots[:, : -q - 1]) / (knots[:, q:-1] - knots[:, : -q - 1])
        falling = (knots[:, q + 1 :] - x) / (knots[:, q + 1 :] - knots[:, 1:-q])
        b = rising * b[:, :-1] + falling * b[:, 1:]
    return b


def uniform_knots(lower: float, upper: float, grid: int, degree: int) -> FloatArray:
    """G = `grid` equal intervals on [lower, upper] and the knots beyond."""
    return extended(np.linspace(lower, upper, grid + 1), degree)


def extended(points: FloatArray, degree: int) -> FloatArray:
    """The points of a grid with `degree` knots beyond either end, as far from one another as the outermost points."""
    first, last = points[1] - points[0], points[-1] - points[-2]
    beyond = np.arange(1, degree + 1)
    return np.concatenate([points[0] - first * beyond[::-1], points, points[-1] + last * beyond])


def host_basis(x: FloatArray, knots: FloatArray, degree: int) -> FloatArray:
    """B_k(x) of SciPy, (..., basis)."""
    elements = [BSpline.basis_element(piece, extrapolate=False)(x) for piece in _supports(knots, degree)]
    return np.nan_to_num(np.stack(elements, axis=-1))


def product_expectation(a: FloatArray, b: FloatArray, c: FloatArray, knots: FloatArray, degree: int) -> FloatArray:
    """sum_k <B_k(u) B_k(v)> for (u, v) ~ N(0, [[a, c], [c, b]]); a, b, c of one shape.

    Given u = a^(1/2) g, v is normal with mean c g/a^(1/2) and variance b - c^2/a, and the expectation of B_k(v) is a
    sum of incomplete moments. The integral over g is by Gauss-Legendre rules between the places where B_k(u), or B_k at
    the mean of v, change their polynomial. Accuracy: 1e-12 for cubic splines and 1e-5 for degree 1, where the spread of
    v is so small that its effect on a kink is not resolved, and better elsewhere.
    """
    flat = np.array([_product(*abc, knots, degree) for abc in zip(a.ravel(), b.ravel(), c.ravel(), strict=True)])
    return flat.reshape(a.shape)


def _product(a: float, b: float, c: float, knots: FloatArray, degree: int) -> float:
    root = math.sqrt(max(a, 0.0))
    slope = c / root if root > 0.0 else 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        breaks = np.concatenate([knots / root, knots / slope, np.arange(-CUT, CUT + 1)])
    g, weights = _rule(np.unique(np.clip(breaks[np.isfinite(breaks)], -CUT, CUT)))
    density = np.exp(-(g**2) / 2) / math.sqrt(2 * math.pi)
    spread = math.sqrt(max(b - slope**2, 1e-28))
    of_u, of_v = host_basis(root * g, knots, degree), _smeared(slope * g, spread, knots, degree)
    return float((weights * density) @ np.sum(of_u * of_v, axis=-1))


def _rule(breaks: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights on all the pieces between `breaks`."""
    x, w = np.polynomial.legendre.leggauss(ORDER)
    half = np.diff(breaks)[:, None] / 2
    return (breaks[:-1, None] + half * (x + 1)).ravel(), (half * w).ravel()


def _smeared(mean: FloatArray, std: float, knots: FloatArray, degree: int) -> FloatArray:
    """<B_k(v)> for v ~ N(mean, std^2), (n, basis): J_{m+1} = (mean - t) J_m + m std^2 J_{m-1} - std^2 [(v - t)^m N(v)]
    for the moments J_m = <(v - t)^m> of v between a knot t and the next."""
    lower, upper = knots[:-1], knots[1:]
    low, high = ((t - mean[:, None]) / std for t in (lower, upper))
    n_low, n_high = (np.exp(-np.minimum(z**2, 1400.0) / 2) / math.sqrt(2 * math.pi) * std for z in (low, high))
    # The difference of two numbers near 1 is taken in the lower tail.
    moments = [np.where(low > 0, ndtr(-low) - ndtr(-high), ndtr(high) - ndtr(low))]
    offset, width = mean[:, None] - lower, upper - lower
    for m in range(degree):
        before = m * std**2 * moments[m - 1] if m else 0.0
        edge = width**m * n_high - (n_low if m == 0 else 0.0)
        moments.append(offset * moments[m] + before - edge)
    pieces = _pieces(tuple(knots.tolist()), degree)
    return np.einsum("mni,kmi->nk", np.stack(moments), pieces)


@functools.lru_cache(maxsize=64)
def _pieces(knots: tuple[float, ...], degree: int) -> FloatArray:
    """Coefficient of (v - t_i)^m of B_k between knots i and i + 1: (basis, degree + 1, intervals)."""
    array = np.array(knots)
    found = np.zeros((len(knots) - degree - 1, degree + 1, len(knots) - 1))
    for k, support in enumerate(_supports(array, degree)):
        element = BSpline.basis_element(support)
        polynomials = PPoly.from_spline((element.t, element.c, degree))
        found[k, :, k : k + degree + 1] = polynomials.c[::-1, degree : 2 * degree + 1]  # SciPy adds knots to either end
    return found


def _supports(knots: FloatArray, degree: int) -> list[FloatArray]:
    return [knots[k : k + degree + 2] for k in range(len(knots) - degree - 1)]
