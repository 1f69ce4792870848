r"""The infinite-width free scalar on the line under a local polynomial insertion, solved by its transfer matrix.

At N = infinity the d = 1 scalar-net without cut-off is the Ornstein-Uhlenbeck process, the Gaussian of covariance
G(t, s) = e^{-m|t-s|}/2m. It is Markov, so at times t_1 < ... < t_n its density is a chain of Mehler kernels, and

    <O> = (1/Z) int prod_x dphi_x O(phi) exp(-E(phi)),    Z0 = the same without O and V,
    E   = sum_x V_x(phi_x) + (m/2) sum_x (tau_{x-1,x} + tau_{x,x+1}) phi_x^2 + sum_x k_x (phi_{x+1} - phi_x)^2/2,
    V_x(phi) = sum_k coefficients[k, x] phi^k,   tau = tanh(m dt/2) (1 beyond both ends),   k = m/sinh(m dt):

the free propagation between interaction sites is exact at every spacing, which is not the nearest-neighbour lattice
action. Each integral is a trapezoid sum on one uniform grid of field values: the integrand is entire and decays like
a Gaussian or faster, so the error falls like exp(-2 pi^2 sigma^2/h^2) with sigma the narrowest width of the chain.
The grid's ends come from a bound on every one-site marginal (`field_range`), its step is refined until ln Z and the
moments of every site agree to 1e-12. Conventions: the density is proportional to exp(-S_int) times the free one; mass
in 1/length, times in lengths. Reference: Glimm and Jaffe, Quantum Physics (1987), ch. 3.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.polynomial import polynomial
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import toeplitz

from nnft_mcmc._checks import InputError, integer, positive
from nnft_mcmc.exact.field_range import field_range, increment_variances, require_integrable, stiffness

Array = NDArray[np.float64]

_TAIL = 60.0  # what lies beyond the grid is below e^-60 of each marginal, so high moments are safe too
_SMALLEST_GRID, _LARGEST_GRID, _REFINEMENT = 65, 4097, 1.4
_TOLERANCE = 1e-12


@dataclass(frozen=True, eq=False)
class Chain:
    """The chain on a grid, swept from both ends.

    `grid` (M,) field values; `rows` (n-1, M) first rows of the symmetric Toeplitz kernels, step included; `factors`
    (n, M) site factors exp(-(E_site - min)); `left`, `right` (n, M) everything on either side of a site, integrated
    out, divided by the accumulated `left_scale`, `right_scale` (n-1,): left[x+1] = rows[x] @ (factors[x] left[x]) /
    left_scale[x]. `log_partition_ratios` (n,) is ln Z/Z0 as each site sees it; they are equal on a sound grid.
    """

    grid: Array
    rows: Array
    factors: Array
    left: Array
    right: Array
    left_scale: Array
    right_scale: Array
    log_partition_ratios: Array

    @property
    def marginals(self) -> Array:
        """Probability of each grid value at each site, (n, M)."""
        weight = self.left * self.factors * self.right
        return weight / weight.sum(axis=1, keepdims=True)


def transport(row: Array, vectors: Array) -> Array:
    """Integrate `vectors` (M, ...) against the symmetric kernel between two neighbouring sites."""
    return np.tensordot(toeplitz(row), vectors, axes=1)


@dataclass(frozen=True, eq=False)
class TransferMatrix:
    """Free scalar of mass m on the line deformed by exp(-sum_x sum_k coefficients[k, x] phi(x)^k).

    times: (n,) increasing, uniform or not; coefficients: (K + 1, n), quadrature weights already inside. Raises
    `InputError` for a potential that leaves exp(-S_int) without a finite integral, and for one that needs a grid of
    more than 4097 field values.
    """

    mass: float
    times: Array
    coefficients: Array

    def __post_init__(self) -> None:
        times = _checked_times(self.times)
        object.__setattr__(self, "mass", positive("mass", self.mass))
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "coefficients", _checked_coefficients(self.coefficients, times.size))
        require_integrable(self.mass, self.times, self.coefficients)

    @property
    def log_partition_ratio(self) -> float:
        """ln Z/Z0 = ln <exp(-S_int)> in the free theory."""
        return float(self.chain.log_partition_ratios[0])

    def moment(self, power: int) -> Array:
        """<phi(x)^power> at every site, (n,)."""
        return self.chain.marginals @ self.chain.grid ** integer("power", power, 0)

    def two_point(self) -> Array:
        """<phi(x) phi(y)> for every pair of sites, (n, n)."""
        chain, num_sites = self.chain, self.times.size
        result = np.empty((num_sites, num_sites))
        inserted = np.empty((chain.grid.size, 0))  # column x: the left sweep with phi(x) in it
        for y in range(num_sites):
            if y > 0:
                inserted = transport(chain.rows[y - 1], inserted) / chain.left_scale[y - 1]
            inserted = np.column_stack([inserted, chain.left[y] * chain.grid]) * chain.factors[y][:, None]
            total = (chain.left[y] * chain.factors[y]) @ chain.right[y]
            result[y, : y + 1] = result[: y + 1, y] = (chain.grid * chain.right[y]) @ inserted / total
        return result

    def n_point(self, powers: ArrayLike) -> float:
        """<prod_x phi(x)^powers[x]>, powers (n,) whole numbers."""
        exponents = np.asarray(powers)
        if exponents.shape != self.times.shape or exponents.dtype.kind not in "iu" or np.any(exponents < 0):
            raise InputError(
                f"powers is {powers!r}; it must hold one whole number of at least 0 for each of the {self.times.size} "
                f"sites."
            )
        chain = self.chain
        vector = np.ones(chain.grid.size)
        for x, power in enumerate(exponents):
            vector = vector * chain.factors[x] * chain.grid**power
            if x + 1 < exponents.size:
                vector = transport(chain.rows[x], vector) / chain.left_scale[x]
        return float(vector.sum() / (chain.left[-1] @ chain.factors[-1]))

    @cached_property
    def chain(self) -> Chain:
        """The swept chain on the first grid that agrees with the next coarser one to 1e-12."""
        low, high = field_range(self.mass, self.times, self.coefficients, _TAIL)
        narrowest = math.sqrt(increment_variances(self.mass, self.times).min())
        size = max(_SMALLEST_GRID, math.ceil((high - low) / (0.7 * narrowest)))
        coarse = None
        while size <= _LARGEST_GRID:
            fine = _swept(self, np.linspace(low, high, size))
            if coarse is not None and _agree(coarse, fine):
                return fine
            coarse, size = fine, math.ceil(_REFINEMENT * size)
        raise InputError(
            f"the transfer matrix did not settle to {_TOLERANCE} on {_LARGEST_GRID} field values (the field reaches "
            f"from {low:.3g} to {high:.3g} and moves by {narrowest:.3g} between the closest times); use wider time "
            f"spacings or a less extreme potential."
        )


def _checked_times(times: ArrayLike) -> Array:
    values = np.array(times, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not np.all(np.isfinite(values)) or np.any(np.diff(values) <= 0):
        raise InputError(
            f"times is {times!r}; it must be a list of finite, strictly increasing numbers: sort and merge them."
        )
    values.setflags(write=False)
    return values


def _checked_coefficients(coefficients: ArrayLike, num_sites: int) -> Array:
    values = np.array(coefficients, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] == 0 or values.shape[1] != num_sites or not np.all(np.isfinite(values)):
        raise InputError(
            f"coefficients has shape {values.shape}; it must hold finite numbers of shape (degree + 1, {num_sites}), "
            f"one column for each time."
        )
    values.setflags(write=False)
    return values


def _swept(theory: TransferMatrix, grid: Array) -> Chain:
    """The chain on one grid, swept from both ends."""
    mass, step = theory.mass, grid[1] - grid[0]
    tension = np.tanh(mass * np.diff(theory.times) / 2)
    confinement = mass / 2 * (np.append(tension, 1.0) + np.append(1.0, tension))
    energy = polynomial.polyval(grid, theory.coefficients) + confinement[:, None] * grid**2
    offset = energy.min(axis=1)
    factors = np.exp(offset[:, None] - energy)
    normalisation = step / np.sqrt(2 * math.pi * increment_variances(mass, theory.times))
    distance = grid - grid[0]
    rows = normalisation[:-1, None] * np.exp(-stiffness(mass, theory.times)[:, None] * distance**2 / 2)
    left, left_scale = _sweep(rows, factors)
    right, right_scale = (array[::-1] for array in _sweep(rows[::-1], factors[::-1]))
    total = normalisation[-1] * np.sum(left * factors * right, axis=1)
    before = np.append(0.0, np.cumsum(np.log(left_scale)))
    after = np.append(np.cumsum(np.log(right_scale)[::-1])[::-1], 0.0)
    with np.errstate(divide="ignore"):
        log_ratios = np.log(total) + before + after - offset.sum()
    return Chain(grid, rows, factors, left, right, left_scale, right_scale, log_ratios)


def _sweep(rows: Array, factors: Array) -> tuple[Array, Array]:
    """Integrate the chain out from its first site: vectors (n, M) rescaled to maximum 1, and their scales (n-1,)."""
    vectors, scales = np.ones_like(factors), np.ones(len(rows))
    for x, row in enumerate(rows):
        vector = transport(row, factors[x] * vectors[x])
        scales[x] = max(vector.max(), np.finfo(np.float64).tiny)
        vectors[x + 1] = vector / scales[x]
    return vectors, scales


def _agree(coarse: Chain, fine: Chain) -> bool:
    """ln Z from every site and the moments 1, 2, 4 of every site agree between two grids, and no site underflowed."""
    log_ratio = coarse.log_partition_ratios[0]
    if not np.all(np.isfinite([coarse.log_partition_ratios, fine.log_partition_ratios])):
        return False
    log_scale = 1 + abs(log_ratio) + np.abs(np.log(fine.left_scale)).sum()
    if not np.all(np.abs(fine.log_partition_ratios - log_ratio) <= _TOLERANCE * log_scale):
        return False
    for power in (1, 2, 4):
        values = fine.marginals @ fine.grid**power
        size = fine.marginals @ np.abs(fine.grid) ** power
        if not np.all(np.abs(coarse.marginals @ coarse.grid**power - values) <= _TOLERANCE * size):
            return False
    return True
