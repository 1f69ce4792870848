r"""How signals travel through a deep random network at infinite width (S. S. Schoenholz et al., arXiv:1611.01232).

With weights of variance sw^2/N and biases of variance sb^2 the preactivations of two inputs have, layer by layer,

    q_{l+1} = sb^2 + sw^2 <sigma(u)^2>,  u ~ N(0, q_l),
    c_{l+1} = (sb^2 + sw^2 <sigma(u) sigma(v)>) / (q^a_{l+1} q^b_{l+1})^{1/2},  cov(u, v) = c_l (q^a_l q^b_l)^{1/2},

which is the recursion of the kernels in `architectures.kernels`. At the fixed point q* of the first, c = 1 is a fixed
point of the second, of slope

    chi_1 = sw^2 <sigma'(u)^2>,   u ~ N(0, q*):

chi_1 < 1 is the ordered phase, where c -> 1 and gradients vanish, chi_1 > 1 the chaotic one, where c -> c* < 1 and they
explode. Near the fixed points the distances go as e^{-l/xi},

    1/xi_q = -ln |chi_q|,   chi_q = dq_{l+1}/dq_l at q* = sw^2 <sigma'^2 + sigma sigma''>,
    1/xi_c = -ln |chi_c|,   chi_c = sw^2 <sigma'(u) sigma'(v)> at c*.

xi_c diverges on the line chi_1 = 1, which each q crosses once: sw^2 = 1/<sigma'^2>, sb^2 = q - sw^2 <sigma^2>.
`weight_std` and `bias_std` are those of an `MLP` with finite preactivations; sigma = tanh: sw = 1 at sb = 0; ReLU:
sw^2 = 2, sb = 0; erf: sw^2 = pi/4 at sb = 0.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from nnft_mcmc import _checks
from nnft_mcmc.architectures.activations import Activation, activation
from nnft_mcmc.architectures.kernels import Gram, affine_gram, features_gram

FloatArray = NDArray[np.float64]

SMALLEST, LARGEST, STRIDE = 1e-12, 1e6, 1.5  # of a variance q that is looked for, and the factor between two trials
GRID = 200
CRITICAL = 1e-9  # |chi_1 - 1| below this is critical: what double precision leaves of it
ORDERED_PHASE, CHAOTIC_PHASE, CRITICAL_PHASE = "ordered", "chaotic", "critical"


@dataclass(frozen=True)
class FixedPoint:
    """q*, c* and the slopes there; depth scales in layers, inf where signals are kept for ever, 0 where chi = 0."""

    q: float
    c: float
    chi_1: float
    chi_q: float
    chi_c: float

    @property
    def phase(self) -> str:
        """ordered, chaotic or critical."""
        if abs(self.chi_1 - 1) < CRITICAL:
            return CRITICAL_PHASE
        return ORDERED_PHASE if self.chi_1 < 1 else CHAOTIC_PHASE

    @property
    def xi_q(self) -> float:
        """Layers over which the variance approaches q*."""
        return _depth_scale(self.chi_q)

    @property
    def xi_c(self) -> float:
        """Layers over which the correlation of two inputs approaches c*."""
        return _depth_scale(self.chi_c)

    @property
    def xi_gradient(self) -> float:
        """Layers over which squared gradients change by e: < 0 where they grow towards the input, eq. 14 there."""
        return math.inf if abs(self.chi_1 - 1) < CRITICAL else -1 / math.log(self.chi_1)


def _depth_scale(chi: float) -> float:
    if chi == 0.0:
        return 0.0
    return math.inf if abs(abs(chi) - 1) < CRITICAL else -1 / math.log(abs(chi))


@dataclass(frozen=True)
class SignalPropagation:
    """The recursion of one activation at (sw, sb)."""

    sigma: str | Activation
    weight_std: float
    bias_std: float = 0.0

    def __post_init__(self) -> None:
        activation("sigma", self.sigma)
        _checks.positive("weight_std", self.weight_std)
        _checks.non_negative("bias_std", self.bias_std)

    def gram(self, gram: Gram) -> Gram:
        """One layer: q^a, q^b and their covariance, from those of the layer below."""
        sigma = activation("sigma", self.sigma)
        return affine_gram(features_gram(sigma, gram), self.weight_std**2, self.bias_std)

    def variance(self, q: ArrayLike) -> FloatArray:
        """The map q_l -> q_{l+1}."""
        q = np.asarray(q, dtype=np.float64)
        return self.gram(Gram(q, q, q)).xy

    def correlation(self, c: ArrayLike, q: float) -> FloatArray:
        """The map c_l -> c_{l+1} of two inputs of variance q*."""
        c = np.asarray(c, dtype=np.float64)
        same = np.full(c.shape, float(q))
        return self.gram(Gram(same, same, c * q)).xy / q

    def trajectory(self, q_a: float, q_b: float, c: float, depth: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """q^a, q^b and c of `depth` layers, those of the first given."""
        _checks.integer("depth", depth, minimum=1)
        first = (_checks.positive("q_a", q_a), _checks.positive("q_b", q_b))
        if abs(_checks.real("c", c)) > 1.0:
            raise _checks.InputError(f"c is {c!r}; a correlation lies between -1 and 1.")
        grams = [Gram(*(np.asarray(k) for k in (*first, c * math.sqrt(first[0] * first[1]))))]
        for _ in range(depth - 1):
            grams.append(self.gram(grams[-1]))
        xx, yy, xy = (np.array([k[part] for k in grams], dtype=np.float64) for part in range(3))
        return xx, yy, xy / np.sqrt(xx * yy)

    def slope_of_variance(self, q: float) -> float:
        """chi_q = d variance/dq at q > 0, by differences of eighth order in q^(1/2)."""
        root = math.sqrt(_checks.positive("q", q))
        step, shifts = 0.02 * root, np.arange(1, 5)
        rise = self.variance((root + step * shifts) ** 2) - self.variance((root - step * shifts) ** 2)
        return float(np.dot(rise, [4 / 5, -1 / 5, 4 / 105, -1 / 280]) / step / (2 * root))

    def slope_of_correlation(self, q: float, c: float) -> float:
        """chi_c = d correlation/dc at q and c; at c = 1 it is chi_1."""
        a, b = np.asarray(q, dtype=np.float64), np.asarray(c * q, dtype=np.float64)
        return float(self.weight_std**2 * activation("sigma", self.sigma).slope_expectation(a, a, b))

    def fixed_point(self, start: float = 1.0) -> FixedPoint:
        """The fixed point that inputs of variance `start` flow to.

        Raises `InputError` where the variance grows without bound, or settles to a cycle.
        """
        q = self._settled_variance(_checks.positive("start", start))
        near = max(q, SMALLEST)  # a kink at zero, as that of ReLU, is met from above
        chi_1, chi_q = self.slope_of_correlation(near, 1.0), self.slope_of_variance(near)
        if q == 0.0:  # no signal is left to correlate
            return FixedPoint(q, math.nan, chi_1, chi_q, chi_1)
        c = self._settled_correlation(q) if chi_1 > 1 + CRITICAL else 1.0
        return FixedPoint(q, c, chi_1, chi_q, self.slope_of_correlation(q, c))

    def _settled_variance(self, start: float) -> float:
        """The fixed point next to `start` on the side to which the map moves, if the map settles there."""
        q = self._next_fixed_point(start)
        slope = self.slope_of_variance(max(q, SMALLEST))
        if abs(slope) > 1 + CRITICAL:
            raise _checks.InputError(
                f"the map of the variance of {self.sigma} is unstable at its fixed point q* = {q:g}, where its slope is"
                f" {slope:.3g}: it does not settle there; choose another weight_std, bias_std or start."
            )
        return q

    def _next_fixed_point(self, start: float) -> float:
        def excess(q: float) -> float:
            return float(self.variance(q)) - q

        first = excess(start)
        if abs(first) <= 4 * np.finfo(np.float64).eps * start:
            return start
        factor = STRIDE if first > 0 else 1 / STRIDE
        near, far = start, start * factor
        while SMALLEST < far < LARGEST and excess(far) * first > 0:
            near, far = far, far * factor
        if far >= LARGEST:
            raise _checks.InputError(
                f"the variance of {self.sigma} grows without bound at weight_std = {self.weight_std:g}, bias_std ="
                f" {self.bias_std:g}: there is no fixed point q* below {LARGEST:g}; lower weight_std."
            )
        return 0.0 if far <= SMALLEST else float(brentq(excess, near, far, xtol=1e-300, rtol=1e-15))

    def _settled_correlation(self, q: float) -> float:
        """c* < 1 of the chaotic phase, the largest root below 1."""
        below = 1 - np.geomspace(1e-9, 2.0, GRID)
        values = self.correlation(below, q) - below
        turned = np.flatnonzero(values >= 0)
        if not turned.size:
            return -1.0

        def excess(c: float) -> float:
            return float(self.correlation(c, q)) - c

        k = int(turned[0])
        return float(brentq(excess, below[k], below[k - 1], xtol=1e-15, rtol=1e-15))


def critical_line(sigma: str | Activation, q: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """(sw, sb) at which q is a fixed point and chi_1 = 1; NaN where that would need sb^2 < 0."""
    f, q = activation("sigma", sigma), np.asarray(q, dtype=np.float64)
    if (q < 0).any() or not np.isfinite(q).all():
        raise _checks.InputError("a variance q is negative or not finite; give q >= 0.")
    weight_variance = 1 / f.slope_expectation(q, q, q)
    bias_variance = q - weight_variance * f.expectation(q, q, q)
    tiny = np.abs(bias_variance) <= 8 * np.finfo(np.float64).eps * q
    bias_variance = np.where(tiny, 0.0, bias_variance)
    return np.sqrt(weight_variance), np.sqrt(np.where(bias_variance >= 0, bias_variance, np.nan))


def critical_weight_std(sigma: str | Activation, bias_std: float) -> float:
    """sw on the critical line at a given sb: the one with the least q*.

    Raises `InputError` where the line has no such point, as for ReLU with sb > 0.
    """
    f, wanted = activation("sigma", sigma), _checks.non_negative("bias_std", bias_std)

    def excess(q: float) -> float:
        at = np.asarray(q, dtype=np.float64)
        return float(at - f.expectation(at, at, at) / f.slope_expectation(at, at, at) - wanted**2)

    near, far = SMALLEST, SMALLEST * STRIDE
    if abs(excess(near)) <= CRITICAL * SMALLEST:  # critical as q* -> 0, up to corrections of this order
        return float(critical_line(f, near)[0])
    while excess(near) * excess(far) > 0:
        near, far = far, far * STRIDE
        if far > LARGEST:
            raise _checks.InputError(
                f"{sigma} has no critical point at bias_std = {bias_std:g}: chi_1 = 1 at no q* below {LARGEST:g};"
                " choose another bias_std."
            )
    return float(critical_line(f, brentq(excess, near, far, xtol=1e-300, rtol=1e-15))[0])
