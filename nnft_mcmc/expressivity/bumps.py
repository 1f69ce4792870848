r"""Universal approximation in one dimension by bumps, lectures section 2.1 and Fig. 1, with a bound.

Cut [a, b] into N cells of length h = (b - a)/N with centres c_k and inner edges t_1 .. t_{N-1}. With the sigmoid
sigma(z) = 1/(1 + e^{-z}) a bump over cell k, the difference of two steep sigmoids, is

    p_k(x) = sigma(s(x - t_k)) - sigma(s(x - t_{k+1})),    sigma(s(x - t_0)) := 1,  sigma(s(x - t_N)) := 0,

and the approximation is the sum of bumps as high as f, which are N - 1 sigmoids and a constant (an edge that two bumps
share is one neuron):

    phi(x) = sum_k f(c_k) p_k(x) = f(c_0) + sum_{k=1}^{N-1} (f(c_k) - f(c_{k-1})) sigma(s(x - t_k)).

**Theorem.** If w is a concave modulus of continuity of f on [a, b], then for every N >= 1 and s > 0

    sup_{x in [a, b]} |phi(x) - f(x)|  <=  w( h/2 + 2 ln 2 / s ).

Proof: sigma is the distribution function of the logistic law, so p_k(x) is the probability that x + L/s falls into cell
k, L logistic, where the first and the last cell reach to infinity. The p_k are therefore positive and sum to one. If
y = x + L/s is in cell k, then |x - c_k| <= |x - y| + h/2 = |L|/s + h/2; where y lies outside of [a, b], x does not, and
c_k is within |x - y| or h/2 of x. <|L|> = 2 ln 2. The lemma of `approximation` is the rest.

The bound goes to w(h/2), that of steps, as s grows: finite steepness costs 2 ln 2/s, known. With s = `sharpness`/h the
bound is w(h (1/2 + 2 ln 2/sharpness)), which is below any epsilon for N large: the theorem of Cybenko for sigmoids in
d = 1, with the number of neurons that it needs.

The network is `DenseNet(1, N, "sigmoid")` with biases; the constant is a neuron of weight and bias zero and output
weight 2 f(c_0), because sigma(0) = 1/2.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nnft_mcmc import _checks
from nnft_mcmc.architectures import DenseNet
from nnft_mcmc.expressivity.approximation import Approximation, Function, Modulus, checked_modulus, refute, samples

FloatArray = NDArray[np.float64]

# s h: how many times a sigmoid rises within a cell. The bound is then 7% above that of steps for a Lipschitz function.
SHARPNESS = 40.0
LARGEST_WIDTH = 10**6


def bumps(
    f: Function, interval: Sequence[float], modulus: Modulus, width: int, sharpness: float = SHARPNESS
) -> Approximation:
    """phi of the module docstring with N = width neurons, for f on interval = [a, b]; s = sharpness/h."""
    low, length = _interval(interval)
    _checks.integer("width", width, minimum=1, maximum=LARGEST_WIDTH)
    _checks.positive("sharpness", sharpness)
    checked_modulus(modulus, length)
    h = length / width
    steepness = sharpness / h
    centres = low + h * (np.arange(width, dtype=np.float64) + 0.5)
    edges = low + h * np.arange(1, width)
    values = samples(f, centres[:, None])
    refute(modulus, centres[:, None], values)
    theta = {
        "weights": np.concatenate([[0.0], np.full(width - 1, steepness)])[:, None],
        "biases": np.concatenate([[0.0], -steepness * edges]),
        "amplitudes": np.concatenate([[2 * values[0]], np.diff(values)]),
    }
    network = DenseNet(1, width, "sigmoid", weight_std=1.0, bias_std=1.0)
    reach = max(abs(low), abs(low + length))
    rounding = np.finfo(np.float64).eps * float(np.abs(theta["amplitudes"]).sum()) * (width + steepness * reach)
    return Approximation(network, theta, bound_of(modulus, h, sharpness), rounding)


def bound_of(modulus: Modulus, h: float, sharpness: float = SHARPNESS) -> float:
    """w(h/2 + 2 ln 2/s), s = sharpness/h."""
    return float(modulus(h * (0.5 + 2 * math.log(2) / sharpness)))


def width_within(interval: Sequence[float], modulus: Modulus, epsilon: float, sharpness: float = SHARPNESS) -> int:
    """The smallest width whose bound is at most epsilon."""
    _, length = _interval(interval)
    _checks.positive("epsilon", epsilon)
    if bound_of(modulus, length / LARGEST_WIDTH, sharpness) > epsilon:
        raise _checks.InputError(
            f"epsilon is {epsilon!r} and {LARGEST_WIDTH} neurons have the bound"
            f" {bound_of(modulus, length / LARGEST_WIDTH, sharpness):.3g}; ask for a larger epsilon."
        )
    too_few, enough = 0, LARGEST_WIDTH
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if bound_of(modulus, length / middle, sharpness) > epsilon:
            too_few = middle
        else:
            enough = middle
    return enough


def _interval(interval: Sequence[float]) -> tuple[float, float]:
    """a and b - a."""
    if len(interval) != 2:
        raise _checks.InputError(f"interval is {interval!r}; it must be two numbers [a, b].")
    low, high = (_checks.real("an end of interval", end) for end in interval)
    if not low < high:
        raise _checks.InputError(f"interval is {interval!r}; a must be below b.")
    return low, high - low
