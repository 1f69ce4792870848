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
from numpy.polynomial import Polynomial
from numpy.typing import ArrayLike, NDArray

from nnft_mcmc._checks import InputError, integer, positive, real

Array = NDArray[np.float64]

_TAIL = 60.0  # the weight of a constant field at the ends of the grid is e^-60 of its largest
_BULK = 25.0  # the curvature of U that sets the step is looked for down to e^-25
_STEPS_PER_WIDTH = 2.5
_LARGEST_GRID = 4000
_LARGEST_COST = 1e9


@dataclass(frozen=True)
class _Bonds:
    """Grid (n,), its step, eigenvectors (n, J) of the kernel and its eigenvalues (J,) over the largest, whose logarithm
    is `log_scale`."""

    grid: Array
    step: float
    vectors: Array
    values: Array
    log_scale: float


@dataclass(frozen=True)
class _States:
    """Multi-indices (M, sites), the square roots of their weights (M,), and the states they were made from."""

    indices: NDArray[np.int64]
    roots: Array
    parents: NDArray[np.int64]


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
        constant_field = self._constant_field.trim()
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
    def log_z(self) -> float:
        """ln Z."""
        return self.shape[0] * self._spectrum.log_largest + math.log(self._trace)

    @cached_property
    def gap(self) -> float:
        """The mass at T = inf: ln of the ratio of the two largest eigenvalues of the transfer operator."""
        return -math.log(self._spectrum.values[1])

    @cached_property
    def cost(self) -> float:
        """Multiplications for one operator between rows, or ten times the numbers held for half a row if that is more.

        The shorter axis should be the second.
        """
        bonds = self._bonds.values.size**2 if self.dim == 2 else 1
        half = self._num_states((self.width + 1) // 2)
        return float(bonds) * max(self._num_states(self.width) ** 2, 10 * half**2)

    def _num_states(self, sites: int) -> float:
        """How many states some neighbouring sites have, `inf` for more than a million."""
        weights = np.ones(1)
        for _ in range(sites):
            weights = np.outer(weights, self._bonds.values).ravel()
            weights = weights[weights > self.precision]
            if weights.size > 1e6:
                return math.inf
        return weights.size

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
        mean = sum((self._shifted(self._field, x) for x in range(self.width)), np.zeros_like(self._field)) / self.width
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
        values, vectors = np.linalg.eigh(self._row((0,) * self.width))
        order = np.argsort(-np.abs(values))
        scale = values[order[0]]
        log_row = math.log(scale) + self.width * self.dim * self._bonds.log_scale
        return _Spectrum(vectors[:, order], values[order] / scale, log_row)

    @cached_property
    def _field(self) -> Array:
        return self._operator((1, *[0] * (self.width - 1)))

    def _operator(self, powers: tuple[int, ...]) -> Array:
        """The row with phi(x)^powers[x] in it, over the largest eigenvalue of the row without."""
        scale = math.exp(self._spectrum.log_largest - self.width * self.dim * self._bonds.log_scale)
        return self._row(powers) / scale

    def _shifted(self, operator: Array, distance: int) -> Array:
        """The same operator moved along the row."""
        states = self._states.indices
        place = {tuple(index): k for k, index in enumerate(states)}
        order = [place[tuple(index)] for index in np.roll(states, -distance, axis=1)]
        return operator[np.ix_(order, order)]

    @cached_property
    def _bonds(self) -> _Bonds:
        grid, d = self._grid(), self.dim
        energy = self._constant_field(grid) / (2 * d)
        exponent = -energy[:, None] - energy - self.hopping * (grid[:, None] - grid) ** 2 / 2
        values, vectors = np.linalg.eigh(np.exp(exponent - exponent.max()))
        order = np.argsort(-values)
        kept = order[values[order] > self.precision * values[order[0]]]
        log_scale = float(exponent.max() + math.log(values[kept[0]]))
        return _Bonds(grid, grid[1] - grid[0], vectors[:, kept], values[kept] / values[kept[0]], log_scale)

    @property
    def _constant_field(self) -> Polynomial:
        """U(phi) - d c phi^2, the action of a constant field per site."""
        return Polynomial(self.potential) - Polynomial([0.0, 0.0, self.dim * self.hopping])

    def _grid(self) -> Array:
        constant, potential = self._constant_field, Polynomial(self.potential)
        lowest = min(constant(x.real) for x in constant.deriv().roots() if abs(x.imag) < 1e-9)
        ends = _where_real(constant - lowest - _TAIL)
        bulk = np.linspace(*_where_real(constant - lowest - _BULK), 401)
        width = 1 / math.sqrt(max(float(potential.deriv(2)(bulk).max()), 2 * self.hopping))
        size = math.ceil(_STEPS_PER_WIDTH * (ends[1] - ends[0]) / width) + 1
        if size > _LARGEST_GRID:
            raise InputError(
                f"the field reaches from {ends[0]:.3g} to {ends[1]:.3g} and a site varies by {width:.2g}, so the"
                f" contraction needs {size} field values and {_LARGEST_GRID} are the most; use a wider spacing or a"
                " larger mass."
            )
        return np.linspace(*ends, size)

    @cached_property
    def _halves(self) -> tuple[list[_States], list[_States]]:
        """The states of the first and of the second half of a row, site by site."""
        first = (self.width + 1) // 2
        return self._grown(first), self._grown(self.width - first)

    def _grown(self, sites: int) -> list[_States]:
        roots = np.sqrt(self._bonds.values)
        grown = [_States(np.zeros((1, 0), dtype=int), np.ones(1), np.zeros(1, dtype=int))]
        for _ in range(sites):
            last = grown[-1]
            weight = last.roots[:, None] * roots
            parents, new = np.nonzero(weight**2 > self.precision)
            indices = np.column_stack([last.indices[parents], new])
            grown.append(_States(indices, weight[parents, new], parents))
        return grown

    @cached_property
    def _states(self) -> _States:
        """The states of a row; `parents` are numbers of pairs of states of its halves, first * (second's number)."""
        first, second = (half[-1] for half in self._halves)
        weight = first.roots[:, None] * second.roots
        one, other = np.nonzero(weight**2 > self.precision)
        indices = np.column_stack([first.indices[one], second.indices[other]])
        return _States(indices, weight[one, other], one * second.roots.size + other)

    def _row(self, powers: tuple[int, ...]) -> Array:
        """Matrix elements (M, M) of a row with phi(x)^powers[x] in it, between states with their roots of weights."""
        if self.cost > _LARGEST_COST:
            raise InputError(
                f"rows of {self.width} sites have {self._num_states(self.width):g} states of weight above"
                f" {self.precision:g}, which is too many; contract a smaller torus, or allow a coarser precision."
            )
        first, second = self._halves
        split = len(first) - 1
        left, right = self._half(first, powers[:split]), self._half(second, powers[split:])
        one, other = np.divmod(self._states.parents, len(right))
        # Closing the ring is a product over both bond indices, one of them transposed.
        left, right = left.reshape(*left.shape[:2], -1), np.swapaxes(right, 2, 3).reshape(*right.shape[:2], -1)
        rows = [np.einsum("sd,sd->s", left[i][one], right[j][other]) for i, j in zip(one, other, strict=True)]
        return np.stack(rows)

    def _half(self, states: list[_States], powers: tuple[int, ...]) -> Array:
        """Some neighbouring sites, (m, m, D, D): states, and the open bonds at both ends."""
        bonds = self._bonds.values.size if self.dim == 2 else 1
        result = np.eye(bonds)[None, None]
        for site, power in zip(states[1:], powers, strict=True):
            tensor, p, k = self._site(power), site.parents, site.indices[:, -1]
            result = result[np.ix_(p, p)] @ tensor[np.ix_(k, k)]
        return result

    def _site(self, power: int) -> Array:
        """h sum_phi phi^power u_a u_b u_alpha u_beta with the roots of all kappa, (J, J, D, D); without space D = 1."""
        b = self._bonds
        pairs = np.einsum("ia,ib->iab", b.vectors * np.sqrt(b.values), b.vectors * np.sqrt(b.values))
        weighted = b.step * (b.grid**power)[:, None, None] * pairs
        if self.dim == 1:
            return weighted.sum(axis=0)[:, :, None, None]
        return np.tensordot(weighted, pairs, axes=(0, 0))


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


def _where_real(polynomial: Polynomial) -> tuple[float, float]:
    """The outermost real roots."""
    roots = polynomial.roots()
    real_roots = roots.real[np.abs(roots.imag) < 1e-7 * (1 + np.abs(roots))]
    return float(real_roots.min()), float(real_roots.max())
