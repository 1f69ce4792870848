r"""Universal approximation in d dimensions with one hidden layer of sigmoids, with a bound.

A product of bumps, or a bump in two dimensions, is no sum of sigmoids of w.x + b, and towers out of two hidden layers
have a hole at each corner of a cell where four of them meet, whatever their steepness. One hidden layer is enough, by
ridges. On a box with sides l_i and u_i = pi (x_i - a_i)/l_i in [0, pi]:

1. **Jackson.** With the kernel K(u) = 1 + 2 sum_{k=1}^n rho_k cos(k u) >= 0 of Fejer and Korovkin,

       rho_k = sum_j s_j s_{j+k} / sum_j s_j^2,   s_j = sin((j + 1) pi/(n + 2)),   rho_1 = cos(pi/(n + 2)),

   and samples at u_j = pi (j + 1/2)/m, m = n + 2, continued evenly,

       T(x) = sum_j p_j(u) f(x_j) = sum_k c_k prod_i cos(k_i u_i),
       p_j(u) = prod_i (1/m)[1 + 2 sum_k rho_k cos(k u_i) cos(k u_{j_i})].

   The p_j are positive and sum to one, because 2m equidistant points integrate trigonometric polynomials of degree
   n + 1 < 2m exactly. For the same reason sum_j p_j (1 - cos(u - u_j)) over the points and their mirror images is
   1 - rho_1, and |u|^2 <= (pi^2/2)(1 - cos u). With the lemma of `approximation`

       |T - f|  <=  w( r_n ),    r_n^2 = sum_i l_i^2 (1 - rho_1)/2,    r_n ~ (pi/2)|l|/(n + 2).

2. **Ridges.** prod_i cos(k_i u_i) is a mean of the cosines cos(q.u), q = (k_1, +-k_2, ..).

3. **Cosines out of sigmoids.** Steps of height cos(c_j) over cells of length h, smoothed by the logistic law of scale
   1/s, are sum_j cos(c_j) p_j(t), p_j as in `bumps`. Poisson's formula, with chi(z) = (pi z)/sinh(pi z),

       sum_{j in Z} p_j(t) e^{i c_j} = sum_{m in Z} e^{i v_m t + ..} chi(v_m/s) sin(v_m h/2)/(v_m h/2),
       v_m = 1 + 2 pi m/h,

   says that this is A cos(t), A = chi(1/s) sin(h/2)/(h/2), and other waves which are exponentially small in 1/(s h).
   So cos(t) = (1/A) sum_j cos(c_j) p_j(t) with an error of at most

       eta = (1/A) [ sum_{m != 0} chi(v_m/s) |sin(h/2)|/(|v_m| h/2) + 4 e^{-s margin} ],

   where the sum over j is cut `margin` beyond both ends of the range of t. Finite steepness costs nothing here.

**Theorem.** phi, a sum of sigmoids of w.x + b, has |phi(x) - f(x)| <= w(r_n) + eta sum_q |c_q| everywhere in the box.

The network is `DenseNet(d, N, "sigmoid")` with biases; N grows like n^(d+1).
"""

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from nnft_mcmc import _checks
from nnft_mcmc.architectures import DenseNet
from nnft_mcmc.expressivity.approximation import Approximation, Function, Modulus, checked_modulus, samples

FloatArray = NDArray[np.float64]

STEEPNESS = 1.0  # s, for an argument t that runs over 2 pi in a period
CELL = 1.0  # h; s h = 1 makes other waves 1e-6
MARGIN = 16.0
LARGEST_DEGREE = 40


def ridges(f: Function, lower: Sequence[float], upper: Sequence[float], modulus: Modulus, degree: int) -> Approximation:
    """phi of the module docstring for f on the box lower <= x <= upper, with n = degree."""
    low, sides = _box(lower, upper)
    _checks.integer("degree", degree, minimum=1, maximum=LARGEST_DEGREE)
    checked_modulus(modulus, float(np.linalg.norm(sides)))
    coefficients = jackson_coefficients(f, low, sides, degree)
    weights, biases, amplitudes, constant, total = [], [], [], 0.0, 0.0
    for q, share in _ridges(degree, len(low)):
        c = coefficients[tuple(np.abs(q))] * share
        if not q.any():
            constant += c
            continue
        edges, levels = _cosine(q)
        weights.append(np.broadcast_to(STEEPNESS * math.pi * q / sides, (len(edges), len(low))))
        biases.append(-STEEPNESS * (edges + math.pi * float(q @ (low / sides))))
        amplitudes.append(c / AMPLITUDE * np.diff(levels))
        constant += c / AMPLITUDE * levels[0]
        total += abs(c)
    theta = {
        "weights": np.concatenate([np.zeros((1, len(low))), *weights]),
        "biases": np.concatenate([[0.0], *biases]),
        "amplitudes": np.concatenate([[2 * constant], *amplitudes]),
    }
    width = len(theta["amplitudes"])
    network = DenseNet(len(low), width, "sigmoid", weight_std=1.0, bias_std=1.0)
    rounding = np.finfo(np.float64).eps * float(np.abs(theta["amplitudes"]).sum()) * width
    return Approximation(network, theta, float(modulus(reach_of(sides, degree))) + ETA * total, rounding)


def jackson_coefficients(f: Function, low: FloatArray, sides: FloatArray, degree: int) -> FloatArray:
    """c_k of T, an array with an axis of length degree + 1 for each dimension."""
    m = degree + 2
    u = math.pi * (np.arange(m) + 0.5) / m
    mesh = np.stack(np.meshgrid(*[u] * len(low), indexing="ij"), axis=-1).reshape(-1, len(low))
    values = samples(f, low + sides * mesh / math.pi).reshape([m] * len(low))
    k = np.arange(degree + 1)
    transform = np.where(k == 0, 1.0, 2.0)[:, None] * fejer_korovkin(degree)[:, None] * np.cos(np.outer(k, u)) / m
    for axis in range(len(low)):
        values = np.moveaxis(np.tensordot(transform, values, (1, axis)), 0, axis)
    return values


def fejer_korovkin(degree: int) -> FloatArray:
    """rho_0 .. rho_n; rho_0 = 1."""
    s = np.sin(np.arange(1, degree + 2) * math.pi / (degree + 2))
    return np.correlate(s, s, "full")[degree:] / (s @ s)


def reach_of(sides: FloatArray, degree: int) -> float:
    """r_n: the root mean square of the distances over which T averages, at most."""
    return float(np.linalg.norm(sides)) * math.sqrt((1 - math.cos(math.pi / (degree + 2))) / 2)


def width_of(degree: int, dim: int) -> int:
    """The number of neurons at this degree."""
    return 1 + sum(len(_cosine(q)[0]) for q, _ in _ridges(degree, dim) if q.any())


def degree_of_width(width: int, dim: int) -> int:
    """The largest degree, LARGEST_DEGREE at most, that `width` neurons allow."""
    if width_of(1, dim) > width:
        raise _checks.InputError(
            f"width is {width} and a sum of ridges in {dim} dimensions takes {width_of(1, dim)} neurons at least."
        )
    return next((n - 1 for n in range(2, LARGEST_DEGREE + 1) if width_of(n, dim) > width), LARGEST_DEGREE)


def ridges_within(
    f: Function, lower: Sequence[float], upper: Sequence[float], modulus: Modulus, epsilon: float
) -> Approximation:
    """The approximation of smallest degree whose bound is at most epsilon."""
    _, sides = _box(lower, upper)
    _checks.positive("epsilon", epsilon)
    for degree in range(1, LARGEST_DEGREE + 1):
        if float(modulus(reach_of(sides, degree))) > epsilon:
            continue
        found = ridges(f, lower, upper, modulus, degree)
        if found.bound <= epsilon:
            return found
    raise _checks.InputError(
        f"epsilon is {epsilon!r} and degree {LARGEST_DEGREE} has the bound"
        f" {float(modulus(reach_of(sides, LARGEST_DEGREE))):.3g}; ask for a larger epsilon."
    )


def _chi(z: float) -> float:
    """The characteristic function of the logistic law."""
    return math.pi * z / math.sinh(math.pi * z)


def _other_waves() -> float:
    """sum over m != 0 of the moduli in Poisson's formula; terms fall as e^{-2 pi^2 |m|/(s h)}."""
    v = np.abs(1 + 2 * math.pi * np.concatenate([np.arange(-20, 0), np.arange(1, 21)]) / CELL)
    return sum(_chi(z / STEEPNESS) * abs(math.sin(CELL / 2)) / (z * CELL / 2) for z in v.tolist())


AMPLITUDE = _chi(1 / STEEPNESS) * math.sin(CELL / 2) / (CELL / 2)
ETA = (_other_waves() + 4 * math.exp(-STEEPNESS * MARGIN)) / AMPLITUDE


def _cosine(q: NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
    """Edges (J,), and cos at the centres (J + 1,) of the cells between them, for t = q.u over the box."""
    low, high = math.pi * np.minimum(q, 0).sum(), math.pi * np.maximum(q, 0).sum()
    number = math.ceil((high - low + 2 * MARGIN) / CELL) + 1
    edges = low - MARGIN + CELL * np.arange(number)
    return edges, np.cos(np.append(edges - CELL / 2, edges[-1] + CELL / 2))


def _ridges(degree: int, dim: int) -> Iterator[tuple[NDArray[np.int64], float]]:
    """q, and its share of c_|q|: the product of cosines is the mean over signs of all components but the first."""
    for k in itertools.product(range(degree + 1), repeat=dim):
        present = [i for i in range(dim) if k[i]]
        for signs in itertools.product((1, -1), repeat=max(0, len(present) - 1)):
            q = np.array(k)
            q[present[1:]] *= np.array(signs, dtype=int)
            yield q, 0.5 ** len(signs)


def _box(lower: Sequence[float], upper: Sequence[float]) -> tuple[FloatArray, FloatArray]:
    """Lower corner and sides."""
    low, high = (np.array([_checks.real("a corner of the box", v) for v in corner]) for corner in (lower, upper))
    if low.ndim != 1 or low.shape != high.shape or len(low) == 0 or not (low < high).all():
        raise _checks.InputError(
            f"lower is {lower!r} and upper {upper!r}; they must be corners of one box, lower below upper."
        )
    return low, high - low
