r"""Expectations of products of functions of a few Gaussian variables, in float64 on the host.

u ~ N(0, Sigma), zero mean, any positive semi-definite Sigma.

`smooth_product`       E prod_i f(u_i) for f analytic in a strip, by the trapezoidal rule in the eigenbasis of Sigma;
`planar_ramp_product`  E prod_i max(u_i, 0) for Sigma of rank 1 or 2;
`sign_product`         E prod_{i<=4} sign(u_i),
`ramp_product`         E prod_{i<=4} max(u_i, 0), both exact up to one integral over t in (0, 1), by the tanh-sinh rule.

The last two scale the correlations, R(t) = 1 + t (R - 1), and differentiate (Price 1958; Plackett 1954): with
{i, j, k, l} = {1, 2, 3, 4} and r_kl|ij the correlation of u_k, u_l given u_i = u_j = 0,

    d/dt E sign sign sign sign = sum_{i<j} R_ij (2/pi) (1 - t^2 R_ij^2)^{-1/2} (2/pi) asin r_kl|ij
    d/dt E u_1+ u_2+ u_3+ u_4+ = sum_{i<j} R_ij E[1(all u > 0) u_k u_l]

and integrating the last expectation by parts leaves only r_kl|ij and the orthant probability, whose own derivative is
of the first kind. R(t) is regular below t = 1, so coincident and linearly dependent points need no special case:
what is ill-determined at 1 - t = e has weight e in `ramp_product`. Measured accuracy there: 2e-13 of the product of
standard deviations. `sign_product` needs a regular Sigma: 1e-14 while all |R_ij| < 0.99, 1e-12 at 1 - |R_ij| = 5e-4,
2e-11 at 5e-5 (an erf of preactivations of standard deviation 30 and 100).
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from nnft_mcmc._checks import InputError

FloatArray = NDArray[np.float64]

_RANGE = 8.5  # standard deviations; what lies beyond has probability 2e-17
_DIGITS = 36.0  # exp(-36) = 2e-16
_EVALUATIONS_PER_CHUNK = 2**20
_POINTS_PER_CHUNK = 2048
_PAIRS = ((0, 1, 2, 3), (0, 2, 1, 3), (0, 3, 1, 2), (1, 2, 0, 3), (1, 3, 0, 2), (2, 3, 0, 1))


def _tanh_sinh() -> tuple[FloatArray, FloatArray, FloatArray]:
    """Nodes t, 1 - t and weights on (0, 1), down to 1e-17 from its ends."""
    x = np.arange(-54, 55) / 16
    t, s = 1 / (1 + np.exp(-math.pi * np.sinh(x))), 1 / (1 + np.exp(math.pi * np.sinh(x)))
    return t, s, math.pi / 16 * np.cosh(x) * t * s


_T, _S, _WEIGHTS = _tanh_sinh()


def smooth_product(f: Callable[[FloatArray], FloatArray], covariance: FloatArray, strip: float) -> FloatArray:
    """E prod_i f(u_i) for covariance (..., n, n); f is analytic where |Im z| < strip and grows slowly there.

    In the direction of a principal axis with largest loading s the step h of the trapezoidal rule has an error of
    exp(-2 pi y/h + y^2/2) at the height y = strip/s, or exp(-2 pi^2/h^2) if that is smaller, and h is chosen to make it
    2e-16: about 60 nodes for tanh of a unit normal variable (strip pi/2), fewer than Gauss-Hermite needs.
    """
    *batch, n, _ = covariance.shape
    flat = covariance.reshape(-1, n, n)
    variances, axes = np.linalg.eigh(flat)
    loadings = axes * np.sqrt(np.maximum(variances, 0.0))[:, None, :]
    resolved = variances.max(axis=0, initial=0.0) > 8 * np.finfo(np.float64).eps * variances.max(initial=0.0)
    resolved[-1] = True
    loadings = loadings[:, :, resolved]
    rules = [_trapezoid(s, strip) for s in np.abs(loadings).max(axis=(0, 1), initial=0.0)]
    step = max(1, _EVALUATIONS_PER_CHUNK // math.prod(len(z) for z, _ in rules[:-1]))
    parts = [_tensor_rule(f, loadings[start : start + step], rules) for start in range(0, len(flat), step)]
    return np.concatenate([np.empty(0), *parts]).reshape(batch)


def _trapezoid(std: float, strip: float) -> tuple[FloatArray, FloatArray]:
    """Nodes in standard deviations and weights for a standard normal variable."""
    entire = math.sqrt(2 * _DIGITS)
    height = strip / std if std > 0.0 else math.inf
    frequency = _DIGITS / height + height / 2 if height < entire else entire
    side = math.ceil(_RANGE * frequency / (2 * math.pi))
    z = np.linspace(-side, side, 2 * side + 1) * (2 * math.pi / frequency)
    weights = np.exp(-(z**2) / 2)
    return z, weights / np.sum(weights)


def _tensor_rule(
    f: Callable[[FloatArray], FloatArray], loadings: FloatArray, rules: Sequence[tuple[FloatArray, FloatArray]]
) -> FloatArray:
    """sum over the grid of weight prod_i f(sum_k loadings_ik z_k); loadings (batch, n, k)."""
    num_points, n, num_axes = loadings.shape
    grid, weights = np.zeros((num_points, n, 1)), np.ones(1)
    for k, (z, w) in enumerate(rules[:-1]):
        grid = (grid[..., None] + loadings[:, :, k, None, None] * z).reshape(num_points, n, -1)
        weights = np.multiply.outer(weights, w).ravel()
    total = np.zeros(num_points)
    for z, w in zip(*rules[-1], strict=True):
        product = np.prod(f(grid + z * loadings[:, :, num_axes - 1, None]), axis=1)
        total += w * (product @ weights)
    return total


def planar_ramp_product(covariance: FloatArray) -> FloatArray:
    """E prod max(u_i, 0) for covariance (..., n, n) of rank 1 or 2: u_i = r l_i cos(phi - phi_i) in polar coordinates.

    E r^n = 2^{n/2} (n/2)! for even n, and where all u_i are positive is one arc, on which the integrand is analytic.
    """
    *batch, n, _ = covariance.shape
    variances, axes = np.linalg.eigh(covariance.reshape(-1, n, n))
    if (variances[:, :-2] > 1e-12 * variances[:, -1:]).any():
        raise InputError(
            f"the product of {n} ReLU preactivations is only known where they span a plane: at points on a line through"
            " the origin, in dim = 2 without biases, or in dim = 1; estimate it from draws otherwise."
        )
    plane = axes[:, :, -2:] * np.sqrt(np.maximum(variances[:, None, -2:], 0.0))
    direction = np.arctan2(plane[..., 0], plane[..., 1])
    offset = np.remainder(direction - direction[:, :1] + math.pi, 2 * math.pi) - math.pi
    low, high = offset.max(axis=1) - math.pi / 2, offset.min(axis=1) + math.pi / 2
    half = np.maximum(high - low, 0.0)[:, None] / 2
    node, weight = np.polynomial.legendre.leggauss(12 + n)
    phi = (low + high)[:, None] / 2 + half * node
    product = np.prod(
        np.hypot(*np.moveaxis(plane, -1, 0))[..., None] * np.cos(phi[:, None] - offset[..., None]), axis=1
    )
    total = (half * product) @ weight / (2 * math.pi)
    return (2 ** (n / 2) * math.factorial(n // 2) * total).reshape(batch)


def sign_product(covariance: FloatArray) -> FloatArray:
    """E prod sign(u_i) for covariance (..., 4, 4)."""
    return _in_chunks(_sign_product, covariance)


def _sign_product(covariance: FloatArray) -> FloatArray:
    correlation, _ = _correlation(covariance)
    slope = np.zeros((len(correlation), len(_T)))
    for i, j, k, m in _PAIRS:
        rho, angle = correlation[:, i, j, None], _conditional_angle(correlation, (i, j, k, m))
        slope += rho / np.sqrt(_one_minus_square(rho)) * angle
    return 4 / math.pi**2 * (slope @ _WEIGHTS)


def ramp_product(covariance: FloatArray) -> FloatArray:
    """E prod max(u_i, 0) for covariance (..., 4, 4)."""
    return _in_chunks(_ramp_product, covariance)


def _ramp_product(covariance: FloatArray) -> FloatArray:
    correlation, std = _correlation(covariance)
    quadrant = {}  # P(u_k > 0, u_l > 0 | u_i = u_j = 0)
    for i, j, k, m in _PAIRS:
        angle = _conditional_angle(correlation, (i, j, k, m))
        quadrant[i, j] = quadrant[j, i] = 0.25 + angle / (2 * math.pi)
    edge = {(m, k): _mean_at_edge(correlation, quadrant, m, k) for m in range(4) for k in range(4) if k != m}
    slope, orthant_slope, pairings = (
        np.zeros_like(quadrant[0, 1]),
        np.zeros_like(quadrant[0, 1]),
        np.zeros(len(correlation)),
    )
    for i, j, k, m in _PAIRS:
        rho = correlation[:, i, j, None]
        boundary = edge[k, m] + sum(_T * correlation[:, k, q, None] * edge[q, m] for q in (i, j))
        slope += rho * boundary / math.sqrt(2 * math.pi)
        orthant_slope += rho / (2 * math.pi * np.sqrt(_one_minus_square(rho))) * quadrant[i, j]
        pairings += correlation[:, i, j] * correlation[:, k, m] / 2
    # int 2 t P dt = P(0) + int (1 - t^2) P' dt for the orthant probability P, which starts at 1/16.
    orthant = 1 / 16 + (orthant_slope * _S * (1 + _T)) @ _WEIGHTS
    return np.prod(std, axis=-1) * (1 / (4 * math.pi**2) + slope @ _WEIGHTS + pairings * orthant)


def _mean_at_edge(correlation: FloatArray, quadrant: dict[tuple[int, int], FloatArray], m: int, k: int) -> FloatArray:
    """E[u_k 1(the other three > 0) | u_m = 0], shape (points, nodes)."""
    total = np.zeros_like(quadrant[m, k])
    for q in {0, 1, 2, 3} - {m}:
        variance = _one_minus_square(correlation[:, q, m, None])
        product = _T**2 * correlation[:, k, m, None] * correlation[:, q, m, None]
        covariance = variance if q == k else _T * correlation[:, k, q, None] - product
        total += covariance / np.sqrt(2 * math.pi * variance) * quadrant[m, q]
    return total


def _conditional_angle(correlation: FloatArray, indices: tuple[int, int, int, int]) -> FloatArray:
    """asin of the correlation of u_k and u_l given u_i = u_j = 0, for indices i, j, k, l; shape (points, nodes)."""
    i, j, k, m = indices
    rij, rki, rkj, rmi, rmj, rkm = (
        correlation[:, a, b, None] for a, b in ((i, j), (k, i), (k, j), (m, i), (m, j), (k, m))
    )
    det = _one_minus_square(rij)
    cov = _T * rkm - _T**2 * (rki * rmi + rkj * rmj - _T * rij * (rki * rmj + rkj * rmi)) / det
    var_k = _one_minus_square(rki) - _T**2 * (rkj - _T * rij * rki) ** 2 / det
    var_m = _one_minus_square(rmi) - _T**2 * (rmj - _T * rij * rmi) ** 2 / det
    # 1 - t is below every eigenvalue of R(t), hence below these variances too.
    return np.arcsin(np.clip(cov / np.sqrt(np.maximum(var_k, _S) * np.maximum(var_m, _S)), -1.0, 1.0))


def _one_minus_square(rho: FloatArray) -> FloatArray:
    """1 - t^2 rho^2 without cancellation."""
    return np.maximum((1 - rho) * (1 + rho), 0.0) + rho**2 * _S * (1 + _T)


def _correlation(covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Correlations, 0 with a variable that does not vary, and standard deviations."""
    std = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    scale = np.where(std > 0.0, std, 1.0)
    return np.clip(covariance / (scale[..., :, None] * scale[..., None, :]), -1.0, 1.0), std


def _in_chunks(function: Callable[[FloatArray], FloatArray], covariance: FloatArray) -> FloatArray:
    flat = covariance.reshape(-1, 4, 4)
    starts = range(0, len(flat), _POINTS_PER_CHUNK)
    parts = [function(flat[start : start + _POINTS_PER_CHUNK]) for start in starts]
    return np.concatenate([np.empty(0), *parts]).reshape(covariance.shape[:-2])
