r"""The physical mass of the continuum phi^4 theory in two dimensions, V = coupling :phi^4:_m, g = coupling/m^2.

    M^2/m^2 = sum_n c_n g^n = 1 - (3/2) g^2 + [9/pi + 63 zeta(3)/(2 pi^3)] g^3 - 14.655869 g^4 + ..

to g^8 (M. Serone, G. Spada and G. Villadoro, JHEP 08 (2018) 148, arXiv:1805.05882). The series diverges and is Borel
summable; c_n grows as (-a)^n n!, 1/a = 1.46261 the action of the complex instanton (same source). Here

    M^2/m^2 = int_0^infinity dt t^b e^{-t} B(g t),     B(z) = sum_n c_n z^n/Gamma(n + b + 1),

is continued by z = 4 w/(a (1 - w)^2), which maps the plane cut at z < -1/a to the disc |w| < 1, and re-expanded as
B = (1 - w)^{-2s} sum_n u_n w^n. The value is the median over b, s and the last two orders, the error half of the range
of the central half of them: it is a spread, not a standard deviation.
"""

import math
from itertools import product

import numpy as np
from numpy.polynomial import polynomial
from numpy.polynomial.laguerre import laggauss
from numpy.typing import NDArray
from scipy.special import binom, gamma, zeta

from nnft_mcmc import _checks

FloatArray = NDArray[np.float64]

COEFFICIENTS: FloatArray = np.array(
    [
        1.0,
        0.0,
        -1.5,
        9 / math.pi + 63 * float(zeta(3)) / (2 * math.pi**3),
        -14.655869,
        65.97308,
        -347.8881,
        2077.703,
        -13771.04,
    ]
)
INSTANTON_ACTION = 1.46261
# Beyond it the orders that are known differ by more than a percent of M.
LARGEST_COUPLING = 1.2
_POWERS_OF_T, _POWERS_OF_W = (1.0, 2.0, 3.0, 4.0), (0.25, 0.75, 1.25, 1.75)
_NODES = 120


def mass_ratio(g: float) -> tuple[float, float]:
    """M/m at 0 <= g <= LARGEST_COUPLING, and the spread of the resummations."""
    g = _checks.non_negative("g", g)
    if g > LARGEST_COUPLING:
        raise _checks.InputError(
            f"g is {g:g}; the known orders determine M up to g = {LARGEST_COUPLING:g}, take a smaller coupling."
        )
    orders = (len(COEFFICIENTS) - 2, len(COEFFICIENTS) - 1)
    sums = [_resummed(g, *how) for how in product(orders, _POWERS_OF_T, _POWERS_OF_W)]
    low, middle, high = np.quantile(np.sqrt(sums), (0.25, 0.5, 0.75))
    return float(middle), float(high - low) / 2


def _resummed(g: float, order: int, b: float, s: float) -> float:
    n = np.arange(order + 1)
    borel = COEFFICIENTS[: order + 1] / gamma(n + b + 1)
    z_of_w = 4 * INSTANTON_ACTION * n  # w/(1 - w)^2 = sum_n n w^n
    in_w, power = np.zeros(order + 1), np.eye(1, order + 1)[0]
    for c in borel:
        in_w += c * power
        power = np.convolve(power, z_of_w)[: order + 1]
    u = np.convolve(in_w, binom(2 * s, n) * (-1.0) ** n)[: order + 1]  # times (1 - w)^{2s}
    t, weights = laggauss(_NODES)
    root = np.sqrt(1 + g * t / INSTANTON_ACTION)
    w = (root - 1) / (root + 1)
    return float(weights @ (t**b * polynomial.polyval(w, u) * (1 - w) ** (-2 * s)))
