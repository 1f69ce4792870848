"""Rows of a lattice theory on a torus as operators between states of the bonds in time: see `torus`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import NDArray

from nnft_mcmc._checks import InputError

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


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of `width` sites in `dim` dimensions, 1 or 2, of S = sum_x [-hopping sum_mu phi phi_mu + U(phi)].

    States whose weight is below `precision` of the largest are dropped.
    """

    dim: int
    width: int
    hopping: float
    potential: Sequence[float] | Array
    precision: float

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

    @property
    def log_scale(self) -> float:
        """Logarithm of what all operators have been divided by."""
        return self.width * self.dim * self._bonds.log_scale

    def shifted(self, operator: Array, distance: int) -> Array:
        """The same operator moved along the row."""
        states = self._states.indices
        place = {tuple(index): k for k, index in enumerate(states)}
        order = [place[tuple(index)] for index in np.roll(states, -distance, axis=1)]
        return operator[np.ix_(order, order)]

    @cached_property
    def _bonds(self) -> _Bonds:
        grid, d = self._grid(), self.dim
        energy = self.constant_field(grid) / (2 * d)
        exponent = -energy[:, None] - energy - self.hopping * (grid[:, None] - grid) ** 2 / 2
        values, vectors = np.linalg.eigh(np.exp(exponent - exponent.max()))
        order = np.argsort(-values)
        kept = order[values[order] > self.precision * values[order[0]]]
        log_scale = float(exponent.max() + math.log(values[kept[0]]))
        return _Bonds(grid, grid[1] - grid[0], vectors[:, kept], values[kept] / values[kept[0]], log_scale)

    @property
    def constant_field(self) -> Polynomial:
        """U(phi) - d c phi^2, the action of a constant field per site."""
        return Polynomial(self.potential) - Polynomial([0.0, 0.0, self.dim * self.hopping])

    def _grid(self) -> Array:
        constant, potential = self.constant_field, Polynomial(self.potential)
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

    def operator(self, powers: tuple[int, ...]) -> Array:
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


def _where_real(polynomial: Polynomial) -> tuple[float, float]:
    """The outermost real roots."""
    roots = polynomial.roots()
    real_roots = roots.real[np.abs(roots.imag) < 1e-7 * (1 + np.abs(roots))]
    return float(real_roots.min()), float(real_roots.max())
