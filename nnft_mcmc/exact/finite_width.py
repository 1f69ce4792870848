r"""The leading 1/N correction of an interacting d = 1 theory, exact in the coupling.

phi = N^{-1/2} sum_i psi_i with N independent, identically distributed neurons of covariance G. To first order in 1/N
(Edgeworth; Demirtas et al., arXiv:2307.03223) every functional F of the field obeys

    <F>_N = <F>_G + (1/24N) sum c4(x1, .., x4) <d1 d2 d3 d4 F>_G,    c4 = E[psi psi psi psi] - (G G + 2 pairings)
          = <F>_G + (1/N) { [e^4] E_psi <F(phi + e psi)>_G  -  [s^2] <F(sqrt(1 + s) phi)>_G },

[e^4] and [s^2] the Taylor coefficients: the pairings rescale the covariance, (1/8) <(G d d)^2 F>_G. With exp(-S_int)
and O exp(-S_int) for F, the deformed <O>_N = <O>_infinity + B/N + O(1/N^2). Each average over phi is a transfer matrix
whose site factors are power series in e or s, so nothing is truncated in the coupling or the spacing.

Two quadratures per neuron, psi = F(w) (u cos w x + v sin w x), have 2/3 of E psi psi psi psi. Given the momenta they
are Gaussian of kernel K = mean_i k_i, and B/N is the second-order response to its fluctuation, linear in Cov(K).

Stratified momenta: neuron i has a law of its own, of covariance k_i, mean_i k_i = G. The sum of c4 over neurons then
has mean_i k_i k_i in place of G G, for one quadrature and for two,

    B_stratified = B - [mean_i W(k_i) - W(G)],      W(k) = (1/8) <(k d d)^2 F>_G,

and W is a quadratic form on the n values of k at the lattice distances; B_stratified depends on the number of cells.

The neurons are those of the d = 1 scalar-net without cut-off, psi = A F(w) cos(w x + b) with A normal, b uniform,
F^2 = (w^2 + m^2)^alpha, density of w proportional to (w^2 + m^2)^{-1-alpha}; G = e^{-m|t|}/2m for every alpha, and
alpha = 0 is the Cauchy-cos-net. All that enters is

    E[psi psi psi psi] = (3/2) M_{1+alpha}(0) [M_{1-alpha}(x1 + x2 - x3 - x4) + 2 perms],
    M_s(x) = int dp/2pi e^{ipx} (p^2 + m^2)^{-s},    finite for |alpha| < 1/2.

At times t_0 + j a a unit neuron is cos(theta j + b), theta = w a: at order e^4 and averaged over b it is a
trigonometric polynomial in theta of degree 2(n-1), so finitely many angles and three phases are exact.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnft_mcmc._checks import InputError, integer, real
from nnft_mcmc.exact.propagators import matern
from nnft_mcmc.exact.transfer_matrix import Chain, TransferMatrix, transport

Array = NDArray[np.float64]

# Order e^4 averaged over the sign of psi holds e^{2ikb} with |k| <= 2 only: three phases in [0, pi) average it exactly.
_PHASES = np.pi / 3 * np.arange(3)
_NEURONS_PER_CHUNK = 48


@dataclass(frozen=True, eq=False)
class WidthShift:
    """The coefficients B of <O>_N = <O>_infinity + B/N + ..; fields are O.

    log_partition_ratio: ln Z/Z0; phi2, phi4: <phi(x)^2>, <phi(x)^4> at every site, (n,); two_point: <phi(site) phi(y)>
    at every y, (n,). Units of the observables themselves.
    """

    site: int
    log_partition_ratio: float
    phi2: Array
    phi4: Array
    two_point: Array


def width_shift(
    theory: TransferMatrix,
    site: int,
    alpha: float = 0.0,
    quadratures: int = 1,
    cell_two_point: ArrayLike | None = None,
) -> WidthShift:
    """Leading finite-width shift of box observables for the scalar-net without cut-off, alpha in (-1/2, 1/2).

    theory: the N = infinity theory, at uniform times; site: the fixed end of the two-point function; quadratures: waves
    per neuron, 1 or 2. For stratified momenta cell_two_point is the two-point function of one neuron of each cell times
    N, at the n distances between times, (cells, n), `StratifiedNet.cell_two_point`. The series in 1/N is asymptotic and
    its next coefficient is usually larger than B: judge B/N by a second width before trusting it.
    """
    site = integer("site", site, 0, theory.times.size - 1)
    if not abs(real("alpha", alpha)) < 0.5:
        raise InputError(
            f"alpha is {alpha!r}; without a cut-off it must lie strictly between -0.5 and 0.5 for the neurons to have "
            f"a finite fourth moment."
        )
    fourth_moment = 1.0 if integer("quadratures", quadratures, 1, 2) == 1 else 2 / 3
    spacing = _uniform_spacing(theory.times)
    cells = None if cell_two_point is None else _checked_cells(theory, spacing, cell_two_point)
    fields, weights = _neurons(theory.times.size, spacing, theory.mass, alpha)
    shift = fourth_moment * _of_vectors(theory, fields, site) @ weights
    shift -= _leading_coefficients(theory, _rescaled(theory), site)[:, 0]
    if cells is not None:
        shift -= _excess_of_cells(theory, cells, site)
    return _normalised(theory, shift, site)


def _of_vectors(theory: TransferMatrix, psi: Array, site: int) -> Array:
    """[e^4] <F(phi + e psi)>_G for each column of psi (n, columns), (1 + 3 n, columns)."""
    chunks = _chunks(psi.shape[1])
    return np.concatenate(
        [_leading_coefficients(theory, _displaced(theory, psi[:, chunk]), site) for chunk in chunks], axis=1
    )


def _checked_cells(theory: TransferMatrix, spacing: float, cell_two_point: ArrayLike) -> Array:
    cells = np.asarray(cell_two_point, dtype=np.float64)
    whole = matern(spacing * np.arange(theory.times.size), theory.mass, 1, 1.0)
    if cells.ndim != 2 or cells.shape[1:] != whole.shape or not np.allclose(cells.mean(axis=0), whole, atol=1e-6):
        raise InputError(
            f"cell_two_point has shape {cells.shape}; it must be (cells, {whole.size}), one column for each distance 0,"
            f" {spacing:g}, .. between times, with a mean over cells that is the two-point function of the theory."
        )
    return cells


def _excess_of_cells(theory: TransferMatrix, cells: Array, site: int) -> Array:
    """mean_i W(k_i) - W(G) for <F> = <e^-S> times 1, phi^2, phi^4, phi(site) phi(y): (1 + 3 n,)."""
    last = max(1, theory.times.size - 1)
    cosines = np.cos(np.pi / last * np.outer(np.arange(theory.times.size), np.arange(theory.times.size)))
    fluctuation = np.linalg.solve(cosines, (cells - cells.mean(axis=0)).T)  # k(j) = sum_k weight_k cos(theta_k j)
    return np.einsum("ki,li,klf->f", fluctuation, fluctuation, _second_response(theory, site)) / len(cells)


@functools.lru_cache(maxsize=8)
def _second_response(theory: TransferMatrix, site: int) -> Array:
    """W as a quadratic form in the weights of k(j) = sum_k weight_k cos(theta_k j), theta_k = pi k/(n - 1): (n, n, ..).

    cos(theta (x - y)) is a sum over the vectors v = cos(theta x), sin(theta x) of v v, and with T(v) = [e^4] <F(phi +
    e v)> = <(v d)^4 F>/24 it is (1/8) <(v d)^2 (u d)^2 F> = (1/4) [T(v + u) + T(v - u) - 2 T(v) - 2 T(u)].
    """
    n = theory.times.size
    phase = np.pi / max(1, n - 1) * np.outer(np.arange(n), np.arange(n))
    vectors = np.concatenate([np.cos(phase), np.sin(phase[:, 1:-1])], axis=1)
    angle = np.concatenate([np.arange(n), np.arange(1, n - 1)])
    first, second = np.triu_indices(vectors.shape[1], 1)
    alone = _of_vectors(theory, vectors, site)
    pairs = _of_vectors(theory, vectors[:, first] + vectors[:, second], site)
    pairs += _of_vectors(theory, vectors[:, first] - vectors[:, second], site)
    pairs = (pairs - 2 * alone[:, first] - 2 * alone[:, second]) / 4
    result = np.zeros((n, n, alone.shape[0]))
    np.add.at(result, (angle, angle), 3 * alone.T)
    np.add.at(result, (angle[first], angle[second]), pairs.T)
    np.add.at(result, (angle[second], angle[first]), pairs.T)
    return result


def _normalised(theory: TransferMatrix, shift: Array, site: int) -> WidthShift:
    """B of the ratio <O e^-S>/<e^-S> from the shifts of both, in units of <e^-S>."""
    denominator, numerators = shift[0], np.split(shift[1:], 3)
    values = theory.moment(2), theory.moment(4), theory.two_point()[site]
    shifts = (numerator - value * denominator for numerator, value in zip(numerators, values, strict=True))
    return WidthShift(site, float(denominator), *shifts)


def _uniform_spacing(times: Array) -> float:
    """The common distance of neighbouring times, 1 for a single one."""
    gaps = np.diff(times)
    if gaps.size == 0:
        return 1.0
    spacing = (times[-1] - times[0]) / gaps.size
    if np.any(np.abs(gaps - spacing) > 1e-9 * spacing):
        raise InputError(
            f"times has spacings from {gaps.min():g} to {gaps.max():g}; the width correction needs uniform times: use "
            f"an evenly spaced lattice."
        )
    return float(spacing)


def _neurons(num_sites: int, spacing: float, mass: float, alpha: float) -> tuple[Array, Array]:
    """Unit neurons cos(theta j + b), (n, neurons), and weights such that at order e^4 sum_neurons weight = E_psi.

    The b-average of four unit neurons is (1/8) [cos(theta (j1 + j2 - j3 - j4)) + 2 perms], so the weights of the angles
    are those that turn cos(k theta) into 8 (3/2) M_{1+alpha}(0) M_{1-alpha}(k a) for every k <= 2(n-1).
    """
    degree = max(1, 2 * (num_sites - 1))
    index = np.arange(degree + 1)
    ends_halved = np.where((index == 0) | (index == degree), 0.5, 1.0)
    angles = np.pi / degree * index
    target = 12 * matern(0.0, mass, 1, 1 + alpha) * matern(spacing * index, mass, 1, 1 - alpha)
    weights = 2 / degree * ends_halved * (np.cos(np.outer(angles, index)) @ (ends_halved * target))
    phase = np.add.outer(np.multiply.outer(np.arange(num_sites), angles), _PHASES)
    return np.cos(phase).reshape(num_sites, -1), np.repeat(weights, _PHASES.size) / _PHASES.size


def _chunks(size: int) -> Iterator[slice]:
    return (slice(start, start + _NEURONS_PER_CHUNK) for start in range(0, size, _NEURONS_PER_CHUNK))


def _displaced(theory: TransferMatrix, psi: Array) -> Array:
    """phi + e psi as a power series in e to order 4: (n, order + 1, M, neurons)."""
    grid = theory.chain.grid
    series = np.zeros((psi.shape[0], 5, grid.size, psi.shape[1]))
    series[:, 0], series[:, 1] = grid[:, None], psi[:, None, :]
    return series


def _rescaled(theory: TransferMatrix) -> Array:
    """sqrt(1 + s) phi as a power series in s to order 2: (n, order + 1, M, 1)."""
    series = np.multiply.outer(np.array([1.0, 1 / 2, -1 / 8]), theory.chain.grid)[..., None]
    return np.broadcast_to(series, (theory.times.size, *series.shape))


def _leading_coefficients(theory: TransferMatrix, fields: Array, site: int) -> Array:
    """Highest coefficient of <F>_G/<e^-S>_G for F = e^-S times 1, phi^2 (n), phi^4 (n), phi(site) phi(y) (n).

    fields: the displaced field phi_x as a power series, (n, order + 1, M, columns). Returns (1 + 3 n, columns).
    """
    chain, num_sites = theory.chain, theory.times.size
    factors = np.stack([_site_factor(theory, x, fields[x]) for x in range(num_sites)])
    left = _swept(chain.rows, factors, chain.left_scale)
    right = _swept(chain.rows[::-1], factors[::-1], chain.right_scale[::-1])[::-1]
    square = np.stack([_product(field, field) for field in fields])
    partition = _top(left[0], _product(factors[0], right[0])).sum(axis=0)
    phi2, phi4, two_point = [], [], []
    tagged = _tagged(chain, factors, fields, (left, right), site)
    for x in range(num_sites):
        around = _product(_product(left[x], right[x]), factors[x])
        once = _product(around, square[x])
        phi2.append(_top(around, square[x]).sum(axis=0))
        phi4.append(_top(once, square[x]).sum(axis=0))
        two_point.append(_top(tagged[x], _product(factors[x], fields[x])).sum(axis=0))
    unit = np.sum(chain.left * chain.factors * chain.right, axis=1)[:, None]
    return np.concatenate([partition[None] / unit[:1], phi2 / unit, phi4 / unit, two_point / unit])


def _tagged(chain: Chain, factors: Array, fields: Array, sweeps: tuple[Array, Array], site: int) -> Array:
    """All that lies around each site y, integrated out with phi(site) in it: (n, order + 1, M, columns)."""
    left, right = sweeps
    inserted = factors.copy()
    inserted[site] = _product(factors[site], fields[site])
    forward = _swept(chain.rows[site:], inserted[site:], chain.left_scale[site:], left[site])
    backward = _swept(chain.rows[:site][::-1], inserted[: site + 1][::-1], chain.right_scale[:site][::-1], right[site])
    before = [_product(vector, right_of) for vector, right_of in zip(backward[:0:-1], left[:site], strict=True)]
    after = [_product(vector, left_of) for vector, left_of in zip(forward[1:], right[site + 1 :], strict=True)]
    at_site = _product(_product(left[site], right[site]), fields[site])
    return np.stack([*before, at_site, *after])


def _swept(rows: Array, factors: Array, scales: Array, start: Array | None = None) -> Array:
    """The chain's sweep with power series for site factors, divided by the scales of the undisplaced chain."""
    one = np.zeros_like(factors[0])
    one[0] = 1.0
    vectors = [one if start is None else start]
    for row, factor, scale in zip(rows, factors, scales, strict=False):
        series = _product(factor, vectors[-1])
        vectors.append(np.moveaxis(transport(row, np.moveaxis(series, 0, -1)), -1, 0) / scale)
    return np.stack(vectors)


def _site_factor(theory: TransferMatrix, x: int, field: Array) -> Array:
    """The chain's site factor times exp(V_x(phi) - V_x(displaced phi)) as a power series, the shape of `field`."""
    potential = np.zeros_like(field)
    for coefficient in theory.coefficients[::-1, x]:  # Horner's rule on power series
        potential = _product(potential, field)
        potential[0] += coefficient
    return theory.chain.factors[x][:, None] * _exponential(-potential)


def _product(first: Array, second: Array) -> Array:
    """Product of two power series (orders on axis 0), truncated at their common order."""
    return np.stack([_top(first[: k + 1], second[: k + 1]) for k in range(len(first))])


def _top(first: Array, second: Array) -> Array:
    """Highest coefficient of the product of two power series of equal length."""
    return np.sum(first * second[::-1], axis=0)


def _exponential(series: Array) -> Array:
    """exp(a - a_0) of a power series a, from E' = a' E: k E_k = sum_i i a_i E_{k-i}."""
    result = np.zeros_like(series)
    result[0] = 1.0
    for k in range(1, len(series)):
        result[k] = sum(i * series[i] * result[k - i] for i in range(1, k + 1)) / k
    return result
