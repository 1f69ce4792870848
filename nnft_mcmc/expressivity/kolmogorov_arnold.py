r"""Kolmogorov-Arnold representation of a continuous function of two variables, lectures Theorem 2.2, by construction:

    f(x_1, x_2) = sum_{q=0}^m Phi_q( xi_q(x) ) + f_R(x),    xi_q(x) = psi(u_1 + q a) + lambda psi(u_2 + q a),

u = x (g - 2)/g, x in [0, 1]^2, with one inner function psi for all f (Sprecher 1996,
corrected by Koeppen 2002; Braun and Griebel, Constr. Approx. 30 (2009) 653) and outer functions from R iterations.
base g >= m + 2, m >= 4, beta(r) = 2^r - 1; all arguments u + q a are below one,

    a = sum_{r>=2} g^-r,    lambda = sum_{r>=1} g^-beta(r),

psi is continuous and strictly increasing, on terminating fractions D = sum_r i_r g^-r with k digits

    psi_1(D) = D
    psi_k(D) = psi_{k-1}(D - i_k g^-k) + i_k g^-beta(k)                           i_k < g - 1
    psi_k(D) = [ psi_k(D - g^-k) + psi_{k-1}(D + g^-k) ] / 2                      i_k = g - 1.

For each q the squares of a grid of step g^-k with corners D, shrunk by (g - 2)/(g - 1) and shifted by -q a, have
images under xi_q that are disjoint intervals T_q(D), and each x is outside of them for at most 2 values of q. The outer
function of an iteration is

    Phi_q = f_{r-1}(D)/(m + 1) on T_q(D), falling linearly to zero within g^-beta(k+1)/2,
    f_r   = f_{r-1} - sum_q Phi_q(xi_q).

**Theorem.** |f_r(x)| <= [ (m - 1) w + 4 |f_{r-1}| ]/(m + 1), with |.| the largest value and w the largest change of
f_{r-1} within a square of side g^-k. Where w = epsilon |f_{r-1}| with epsilon < (m - 3)/(m - 1) the error falls by a
constant factor in each iteration; one with m large is already as near to f as one likes.

Everything is integers and rounds nowhere, but for the values of f and the ramps: x is taken to `rank` digits, where
psi, a and lambda are their truncations and all statements above hold exactly. f_r is computed where it is needed.
"""

import bisect
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from nnft_mcmc import _checks
from nnft_mcmc.expressivity.approximation import Modulus

FloatArray = NDArray[np.float64]
Function2 = Callable[[float, float], float]

LARGEST_RANK = 9  # numbers of (2^rank - 1) log2(base) bits


def beta(r: int) -> int:
    """1 + 2 + .. + 2^(r - 1)."""
    return 2**r - 1


@dataclass(frozen=True)
class InnerFunction:
    """psi at fractions of `rank` digits, as integers in units of 1/(2^rank base^beta(rank))."""

    base: int
    rank: int

    def __post_init__(self) -> None:
        _checks.integer("base", self.base, minimum=3)
        _checks.integer("rank", self.rank, minimum=1, maximum=LARGEST_RANK)

    @property
    def unit(self) -> int:
        """What psi = 1 is in these units."""
        return 2**self.rank * self.base ** beta(self.rank)

    def __call__(self, number: int, digits: int | None = None) -> int:
        """psi at number/base^digits, digits = rank by default; number may exceed base^digits."""
        return _psi(self, self.rank if digits is None else digits, number)

    def value(self, number: int, digits: int | None = None) -> Fraction:
        """The same as a fraction."""
        return Fraction(self(number, digits), self.unit)

    def power(self, exponent: int) -> int:
        """base^-exponent in these units."""
        return 2**self.rank * self.base ** (beta(self.rank) - exponent)

    def shift(self, digits: int) -> int:
        """base^digits times sum_{r=2}^digits base^-r."""
        return (self.base ** (digits - 1) - 1) // (self.base - 1)


@functools.lru_cache(maxsize=2**18)
def _psi(psi: InnerFunction, k: int, number: int) -> int:
    parent, digit = divmod(number, psi.base)
    if k == 1:
        return number * psi.power(1)
    if digit < psi.base - 1:
        return _psi(psi, k - 1, parent) + digit * psi.power(beta(k))
    return (_psi(psi, k, number - 1) + _psi(psi, k - 1, parent + 1)) // 2


@dataclass(frozen=True, eq=False)
class Superposition:
    """sum_q Phi_q(xi_q(x)) after iterations on grids of base^k points, k in `levels`.

    f(x_1, x_2) is a function of floats, terms = m + 1. Each level must be below `rank`.
    """

    f: Function2
    terms: int
    base: int
    levels: tuple[int, ...]
    rank: int
    _known: dict[tuple[int, int, int], float] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        _checks.integer("terms", self.terms, minimum=5)
        _checks.integer("base", self.base, minimum=self.terms + 1)
        for level in self.levels:
            _checks.integer("levels", level, minimum=1, maximum=self.rank - 1)
        if not self.levels:
            raise _checks.InputError("levels is empty; give one level for each iteration.")

    @property
    def psi(self) -> InnerFunction:
        """The inner function."""
        return InnerFunction(self.base, self.rank)

    @property
    def side(self) -> int:
        """How many steps base^-1 the unit square is wide in the variables that psi takes."""
        return self.base - 2

    @property
    def weights(self) -> tuple[int, int]:
        """1 and lambda, in units of base^-beta(rank)."""
        whole = beta(self.rank)
        return self.base**whole, sum(self.base ** (whole - beta(r)) for r in range(1, self.rank + 1))

    def __call__(self, x: FloatArray) -> FloatArray:
        """Values at points (n, 2) of the unit square, each cut to `rank` digits."""
        return np.array([self._f(0, *n) - self._f(len(self.levels), *n) for n in self.digits(x)])

    def remainder(self, x: FloatArray, iterations: int | None = None) -> FloatArray:
        """f_r(x) after so many of the iterations, by default all, at points (n, 2) cut to `rank` digits."""
        r = len(self.levels) if iterations is None else _checks.integer("iterations", iterations, 0, len(self.levels))
        return np.array([self._f(r, *n) for n in self.digits(x)])

    def digits(self, x: FloatArray) -> list[tuple[int, int]]:
        """base^rank x, rounded down."""
        points = np.asarray(x, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 2 or not ((points >= 0) & (points <= 1)).all():
            raise _checks.InputError(f"x has shape {points.shape}; it must be points (n, 2) of the unit square.")
        n = self.side * self.base ** (self.rank - 1)
        return [(int(Fraction(a) * n), int(Fraction(b) * n)) for a, b in points.tolist()]

    def xi(self, q: int, x: int, y: int) -> int:
        """xi_q at two numbers of `rank` digits, in units of psi times those of `weights`."""
        shift = q * self.psi.shift(self.rank)
        return self._sum(self.psi(x + shift), self.psi(y + shift))

    def interval(self, q: int, level: int, i: int, j: int) -> tuple[int, int]:
        """T_q(D), D = (i, j)/base^level, in the units of `xi`."""
        psi, shift = self.psi, q * self.psi.shift(level)
        start = self._sum(psi(i + shift, level), psi(j + shift, level))
        return start, start + self._length(level)

    def ramp(self, level: int) -> int:
        """The width of the ramps beside an interval, in the units of `xi`."""
        return self.weights[0] * self.psi.power(beta(level + 1)) // 2

    def _sum(self, first: int, second: int) -> int:
        return self.weights[0] * first + self.weights[1] * second

    def _f(self, r: int, x: int, y: int) -> float:
        """f_r at two numbers of `rank` digits."""
        if r == 0:
            n = self.side * self.base ** (self.rank - 1)
            return float(self.f(x / n, y / n))
        if (r, x, y) not in self._known:
            outer = math.fsum(self._outer(r, q, x, y) for q in range(self.terms))
            self._known[r, x, y] = self._f(r - 1, x, y) - outer
        return self._known[r, x, y]

    def _outer(self, r: int, q: int, x: int, y: int) -> float:
        """Phi_q of iteration r at xi_q(x, y)."""
        level = self.levels[r - 1]
        step = self.base ** (self.rank - level)
        found = self._square(q, level, x, y) or self._interval_at(q, level, self.xi(q, x, y))
        if found is None:
            return 0.0
        i, j, height = found
        return height * self._f(r - 1, i * step, j * step) / self.terms

    def _square(self, q: int, level: int, x: int, y: int) -> tuple[int, int, float] | None:
        """The square of family q that holds the point: there xi_q is in its interval, and nothing need be searched."""
        step, beyond = self.base ** (self.rank - level), self.psi.shift(self.rank - level + 1)
        places = [divmod(n + q * beyond, step) for n in (x, y)]
        if all(rest <= (self.base - 2) * beyond for _, rest in places):
            return places[0][0], places[1][0], 1.0
        return None

    def _interval_at(self, q: int, level: int, at: int) -> tuple[int, int, float] | None:
        """The square whose interval, with its ramps, holds a value of xi_q, and how high the ramp is there."""
        heights, ramp, (one, weight) = _heights(self.psi, q, level), self.ramp(level), self.weights
        reach = weight * heights[-1] + self._length(level) + ramp
        first, last = bisect.bisect_left(heights, (at - reach) // one), bisect.bisect_right(heights, (at + ramp) // one)
        for i in range(first, last):
            j = bisect.bisect_right(heights, (at + ramp - one * heights[i]) // weight) - 1
            if j < 0:
                continue
            low, high = self.interval(q, level, i, j)
            outside = max(low - at, at - high, 0)
            if outside < ramp:
                return i, j, 1 - outside / ramp
        return None

    def _length(self, level: int) -> int:
        """Of an interval."""
        return (
            sum(self.weights) * (self.base - 2) * sum(self.psi.power(beta(r)) for r in range(level + 1, self.rank + 1))
        )


@functools.lru_cache(maxsize=256)
def _heights(psi: InnerFunction, q: int, level: int) -> list[int]:
    """psi at the grid points of family q, increasing."""
    shift = q * psi.shift(level)
    return [psi(i + shift, level) for i in range((psi.base - 2) * psi.base ** (level - 1) + 1)]


def bound(terms: int, change: float, largest: float) -> float:
    """The theorem: [(m - 1) w + 4 |f|]/(m + 1) for m + 1 = terms, w = change, |f| = largest."""
    return ((terms - 2) * change + 4 * largest) / terms


def cell(base: int, level: int) -> float:
    """The diameter of a square of the grid in x."""
    return math.sqrt(2) * base / (base - 2) * float(base) ** -level


def superposition(f: Function2, modulus: Modulus, largest: float, accuracy: float) -> tuple[Superposition, float]:
    """One iteration with so many terms that its guaranteed error is at most `accuracy`, and that error.

    largest: an upper bound of |f| on the unit square, modulus: of its changes with the Euclidean distance.
    """
    _checks.positive("largest", largest)
    _checks.positive("accuracy", accuracy)
    terms = max(5, math.ceil(8 * largest / accuracy))
    for level in (1, 2, 3):
        base = terms + 1
        guaranteed = bound(terms, float(modulus(cell(base, level))), largest)
        if guaranteed <= accuracy:
            return Superposition(f, terms, base, (level,), level + 1), guaranteed
    raise _checks.InputError(
        f"accuracy is {accuracy!r} and the function may change by {float(modulus(cell(base, 3))):.3g} within a square"
        " of the finest grid; ask for less accuracy."
    )
