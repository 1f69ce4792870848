r"""Lattice scalar theories on small tori, contracted: nearest-neighbour coupling and any local polynomial, d = 1, 2.

    S = sum_x [ -c sum_mu phi(x) phi(x + mu) + U(phi(x)) ],     Z = int prod_x dphi(x) e^-S,

on a ring of T sites or a torus of T x L. On a grid of field values with step h every integral is a trapezoid sum, which
errs like exp(-2 pi^2 sigma^2/h^2), sigma the narrowest width of a site given its neighbours. With the factors e^-U
shared out among the bonds, each bond is one symmetric kernel with eigenvectors u_j and eigenvalues kappa_j,

    exp(-[U(phi) + U(phi')]/2d + c phi phi') = sum_j kappa_j u_j(phi) u_j(phi'),

and each site is a tensor of them, h sum_phi u_a u_b u_alpha u_beta in d = 2, with an index for each bond. A row of L
sites is an operator between the products of u_a, a multi-index for the bonds in time, its ring of bonds in space summed
by matrix products; states whose product of kappa is below `precision` of the largest are dropped, for kappa_j falls
faster than exponentially with j. Z is the trace of the T-th power of this transfer operator, and expectation values
have operators with powers of the field in it. The exact propagation of a free field of mass m over a time a in d = 1,
Mehler's kernel, is of the same form: see `mehler`.

T or L = 2 has each neighbour twice, and 1 has a site as its own neighbour. Units: those of the action.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnft_mcmc._checks import InputError, integer, positive, real
from nnft_mcmc.exact.torus_rows import Rows

Array = NDArray[np.float64]


@dataclass(frozen=True)
class _Spectrum:
    """Eigenvectors of the transfer operator, its eigenvalues over the largest, and the logarithm of the latter."""

    vectors: Array
    values: Array
    log_largest: float


@dataclass(frozen=True, eq=False)
class TorusTheory:
    """S = sum_x [-hopping sum_mu phi phi_mu + sum_k potential[k] phi^k] on a torus of `shape` (T,) or (T, L).

    `precision` is the relative weight of the states of a row that are dropped. Raises `InputError` for a potential that
    does not confine the field, and for a torus whose rows have too many states.
    """

    shape: tuple[int, ...]
    hopping: float
    potential: Sequence[float] | Array
    precision: float = 1e-13

    def __post_init__(self) -> None:
        if not 1 <= len(self.shape) <= 2:
            raise InputError(
                f"a torus of {len(self.shape)} dimensions was given; contraction is for one dimension or two."
            )
        for n in self.shape:
            integer("shape", n, minimum=1)
        positive("hopping", self.hopping)
        for c in self.potential:
            real("potential", c)
        positive("precision", self.precision)
        constant_field = self._rows.constant_field.trim()
        if constant_field.degree() % 2 or constant_field.degree() < 2 or constant_field.coef[-1] <= 0.0:
            raise InputError(
                "the action of a constant field is unbounded below or flat; its highest power must be even, with a"
                " positive coefficient."
            )

    @property
    def dim(self) -> int:
        """d."""
        return len(self.shape)

    @property
    def width(self) -> int:
        """L, sites of a row."""
        return self.shape[1] if self.dim == 2 else 1

    @cached_property
    def _rows(self) -> Rows:
        return Rows(self.dim, self.width, self.hopping, self.potential, self.precision)

    @cached_property
    def log_z(self) -> float:
        """ln Z."""
        return self.shape[0] * self._spectrum.log_largest + math.log(self._trace)

    @cached_property
    def gap(self) -> float:
        """The mass at T = inf: ln of the ratio of the two largest eigenvalues of the transfer operator."""
        return -math.log(self._spectrum.values[1])

    @property
    def cost(self) -> float:
        """Multiplications for one operator between rows, roughly; the shorter axis should be the second."""
        return self._rows.cost

    def moment(self, power: int) -> float:
        """<phi^power>."""
        return self._one_row(self._operator((integer("power", power, 0), *[0] * (self.width - 1))))

    @cached_property
    def two_point(self) -> Array:
        """G(t) = <phi(0, x) phi(t, x)>, t = 0 .. T//2."""
        field = self._field
        return np.array([self.moment(2), *(self._two_rows(field, field, t) for t in self._times)])

    @cached_property
    def correlator(self) -> Array:
        """C(t) = <M(0) M(t)>, M the mean of a row, t = 0 .. T//2."""
        mean = (
            sum((self._rows.shifted(self._field, x) for x in range(self.width)), np.zeros_like(self._field))
            / self.width
        )
        along_row = np.mean([self._along_row(x) for x in range(self.width)])
        return np.array([along_row, *(self._two_rows(self._field, mean, t) for t in self._times)])

    @cached_property
    def nearest_neighbour(self) -> float:
        """E, the mean of phi(x) phi(x + mu) over sites and directions."""
        in_time = self.moment(2) if self.shape[0] == 1 else self.two_point[1]
        return in_time if self.dim == 1 else (in_time + self._along_row(1 % self.width)) / 2

    @cached_property
    def susceptibility(self) -> float:
        """chi = sum_x <phi(0) phi(x)>."""
        period = self.shape[0]
        return self.width * sum(self.correlator[min(t, period - t)] for t in range(period))

    @property
    def _times(self) -> range:
        return range(1, self.shape[0] // 2 + 1)

    def _along_row(self, distance: int) -> float:
        """<phi(t, 0) phi(t, distance)>."""
        powers = np.zeros(self.width, dtype=int)
        powers[0] += 1
        powers[distance] += 1
        return self._one_row(self._operator(tuple(powers)))

    def _one_row(self, operator: Array) -> float:
        """Expectation value of what is in one row."""
        vectors, values = self._spectrum.vectors, self._spectrum.values
        diagonal = np.sum(vectors * (operator @ vectors), axis=0)
        return float(diagonal @ values ** (self.shape[0] - 1)) / self._trace

    def _two_rows(self, first: Array, second: Array, t: int) -> float:
        """Expectation value of what is in two rows at the distance t > 0."""
        vectors, values = self._spectrum.vectors, self._spectrum.values
        left, right = (vectors.T @ operator @ vectors for operator in (first, second))
        later = values ** (self.shape[0] - t - 1)
        return float(later @ (left * right.T) @ values ** (t - 1)) / self._trace

    @cached_property
    def _trace(self) -> float:
        """Trace of the T-th power of the transfer operator over its largest eigenvalue."""
        return float(np.sum(self._spectrum.values ** self.shape[0]))

    @cached_property
    def _spectrum(self) -> _Spectrum:
        values, vectors = np.linalg.eigh(self._rows.operator((0,) * self.width))
        order = np.argsort(-np.abs(values))
        scale = values[order[0]]
        return _Spectrum(vectors[:, order], values[order] / scale, math.log(scale) + self._rows.log_scale)

    @cached_property
    def _field(self) -> Array:
        return self._operator((1, *[0] * (self.width - 1)))

    def _operator(self, powers: tuple[int, ...]) -> Array:
        """The row with phi(x)^powers[x] in it, over the largest eigenvalue of the row without."""
        return self._rows.operator(powers) / math.exp(self._spectrum.log_largest - self._rows.log_scale)


def mehler(mass: float, spacing: float, potential: ArrayLike) -> tuple[float, Array]:
    """(hopping, potential) of the ring on which the free field of `mass` propagates exactly over each `spacing`.

    The continuum's kernel between neighbours is exp(-k (phi - phi')^2/2 - m tanh(ma/2) (phi^2 + phi'^2)/2), k =
    m/sinh(ma) (Mehler); `potential` is what is inserted at each site, weights included. Z is then that of the periodic
    path integral up to the factor of each kernel, which no expectation value has.
    """
    positive("mass", mass)
    positive("spacing", spacing)
    k = mass / math.sinh(mass * spacing)
    total = np.zeros(max(3, np.size(potential)))
    total[: np.size(potential)] = potential
    total[2] += k + mass * math.tanh(mass * spacing / 2)
    return k, total
