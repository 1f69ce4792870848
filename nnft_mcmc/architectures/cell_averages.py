"""Averages of plane waves over the cells of `cells`, and over their common rotation.

Over one cell, c(x) = <F^2 cos w.x> is a sum over even multipoles l, because a shell's radius and direction are
independent. With w = k e, the radial averages and the directional power of the cells of a shell

    b_l(r) = <F^2 j_l(k r)> over |w| in the shell,     p_l = <P_l(e.e')> over e, e' in one cell, averaged over cells,

(j_l spherical Bessel and P_l Legendre functions in d = 3; J_l and cos l(angle) in d = 2), the average over rotations of
a product of two is

    E_R c(R^T x) c(R^T y) = sum_{l even} D_l p_l b_l(|x|) b_l(|y|) P_l(cos of the angle between x and y),

D_l = 2l + 1 in d = 3; 2, or 1 for l = 0, in d = 2. A shell of one cell has p_l = 0 for l > 0, and no more is needed in
d = 1 and 4, where b_0 is the average of the wave over all directions.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.polynomial.legendre import leggauss
from numpy.typing import NDArray
from scipy.special import eval_legendre, j0, j1, jv, spherical_jn

from nnft_mcmc import _checks
from nnft_mcmc.architectures.cells import Cells, collar_edges
from nnft_mcmc.architectures.euclidean import on_host
from nnft_mcmc.architectures.radial import RHO_MAX, RadialLaw

Array = NDArray[np.float64]

_NODES, _WEIGHTS = leggauss(16)
# A panel of nodes spans at most this phase k r and this much of asinh(k/scale): 16 nodes then resolve it to rounding.
_PHASE_PER_PANEL, _LENGTH_OF_PANEL = 8.0, 0.25
_MOST_PANELS = 20_000
# What is left out, in units of the whole: multipoles, and waves of momenta beyond the last panel.
_NEGLIGIBLE = 1e-13
_MOST_MULTIPOLES = 4000


class CellAverages:
    """The averages for one law of momenta, one partition and one form factor squared, a function of |w|."""

    def __init__(self, law: RadialLaw, cells: Cells, squared_form_factor: Callable[[Array], Array]) -> None:
        self.law, self.cells, self._weight = law, cells, squared_form_factor
        self.shares = cells.counts / cells.width

    def monopoles(self, distances: Array, whole: Array) -> Array:
        """b_0 at each of `distances` (m,), (shells, m), from `whole` (m,), the average over the whole law.

        It gives the last shell by difference, whose momenta may be unbounded.
        """
        result = np.zeros((self.shares.size, distances.size))
        ends = self._inner_ends()
        if ends.size > 1:
            shell, k, weights = self._nodes(ends, float(distances.max(initial=0.0)))
            values = (weights * self._weight(k))[:, None] * spherical_wave(self.law.dim, np.outer(k, distances))
            result[:-1] = _sums(shell, values)
        result[-1] = (whole - self.shares[:-1] @ result[:-1]) / self.shares[-1]
        return result

    def product(self, x: Array, y: Array, whole: Callable[[Array], Array]) -> Array:
        """(1/N) sum over cells of E_R c(R^T x) c(R^T y), x and y (pairs, dim); `whole(distances)` as in `monopoles`."""
        r, s = np.linalg.norm(x, axis=-1), np.linalg.norm(y, axis=-1)
        distances, where = np.unique([r, s], return_inverse=True)
        first, second = where.reshape(2, -1)
        b = self.monopoles(distances, whole(distances))
        result = self.shares @ (b[:, first] * b[:, second])
        if self.cells.counts.max() == 1 or distances[-1] == 0.0:
            return result
        cosine = np.sum(x * y, axis=-1) / np.where(r * s > 0, r * s, 1.0)
        scale = np.abs(b).max() ** 2
        found = self._multipoles(distances, scale)
        powers = self.shares[:, None] * directional_powers(self.law.dim, self.cells.counts, found[-1][0])
        for l, b in found:  # noqa: E741 - its name in every formula
            result += _weight_of(self.law.dim, l, cosine) * (powers[:, l] @ (b[:, first] * b[:, second]))
        return result

    def _multipoles(self, distances: Array, scale: float) -> list[tuple[int, Array]]:
        """b_l for l = 2, 4, .. until they are negligible."""
        positive = distances[distances > 0]
        start = self._inner_ends()
        last = self.law.cutoff if math.isfinite(self.law.cutoff) else self._last_momentum(positive[0], start[-1])
        shell, k, weights = self._nodes(np.append(start, last), float(positive[-1]))
        weights = weights * self._weight(k)
        arguments, found = np.outer(k, distances), []
        for l in range(2, _MOST_MULTIPOLES, 2):  # noqa: E741
            bessel = spherical_jn(l, arguments) if self.law.dim == 3 else jv(l, arguments)
            b = _sums(shell, weights[:, None] * bessel)
            found.append((l, b))
            sizes = [(2 * n + 1) * np.abs(values).max() ** 2 for n, values in found[-2:]]
            if len(found) > 1 and max(sizes) < _NEGLIGIBLE * scale:
                return found
        raise _too_far(float(positive[-1]), f"{_MOST_MULTIPOLES // 2} multipoles")

    def _inner_ends(self) -> Array:
        """The momenta between shells, 0 first."""
        return self.law.quantile(self.cells.rho_edges[:-1])

    def _last_momentum(self, smallest: float, start: float) -> float:
        """Where what lies beyond, S(k) times the decay (k r)^-(d+1)/2 of its oscillating integral, is negligible."""
        rho = np.linspace(0.0, RHO_MAX, 2001)[1:]
        k = self.law.quantile(rho)
        left = np.exp(-rho) * (1 + k * smallest) ** (-(self.law.dim + 1) / 2)
        beyond = k[(left < _NEGLIGIBLE) & (k > start)]
        return float(beyond[0]) if beyond.size else math.inf

    def _nodes(self, ends: Array, reach: float) -> tuple[NDArray[np.intp], Array, Array]:
        """Shell, momentum and weight (sum 1 in a shell) of the nodes between `ends`, fine enough for |x| <= reach."""
        if not np.isfinite(ends[-1]) or ends[-1] * reach > _PHASE_PER_PANEL * _MOST_PANELS:
            raise _too_far(reach, f"more than {_MOST_PANELS} panels of quadrature")
        bounds = [_panels(a, b, self.law.scale, reach) for a, b in itertools.pairwise(ends)]
        left, right = np.concatenate([b[:-1] for b in bounds]), np.concatenate([b[1:] for b in bounds])
        half = (right - left)[:, None] / 2
        k = (left[:, None] + half * (1 + _NODES)).ravel()
        shell = np.repeat(np.arange(len(bounds)), [(b.size - 1) * _NODES.size for b in bounds])
        sphere = 2.0 * math.pi ** (self.law.dim / 2) / math.gamma(self.law.dim / 2)
        density = np.exp(on_host(self.law.log_density)(k)) * k ** (self.law.dim - 1)
        return shell, k, sphere * density * (half * _WEIGHTS).ravel() / self.shares[shell]


def _panels(start: float, stop: float, scale: float, reach: float) -> Array:
    """Break points between two momenta."""
    ends = np.arcsinh(np.array([start, stop]) / scale)
    coarse = scale * np.sinh(np.linspace(ends[0], ends[1], math.ceil((ends[1] - ends[0]) / _LENGTH_OF_PANEL) + 1))
    coarse[0], coarse[-1] = start, stop
    pieces = np.ceil(np.diff(coarse) * reach / _PHASE_PER_PANEL).astype(int).clip(1)
    inner = [np.linspace(a, b, n + 1)[1:] for a, b, n in zip(coarse[:-1], coarse[1:], pieces, strict=True)]
    return np.concatenate([[start], *inner])


def _sums(shell: NDArray[np.intp], values: Array) -> Array:
    """Sums of `values` (nodes, m) over the nodes of each shell, which follow one another."""
    return np.add.reduceat(values, np.flatnonzero(np.diff(shell, prepend=-1)), axis=0)


def _too_far(reach: float, what: str) -> _checks.InputError:
    return _checks.InputError(
        f"the momenta reach so far that averages over cells at |x| = {reach:g} would take {what}; give the base of"
        " stratified_net a finite cutoff, or a smaller one."
    )


def spherical_wave(dim: int, z: Array) -> Array:
    """Average of cos(w.x) over the directions of w at |w||x| = z: cos z, J0(z), sin z/z, 2 J1(z)/z in d = 1 to 4."""
    if dim == 1:
        return np.cos(z)
    if dim == 2:
        return j0(z)
    if dim == 3:
        return np.sinc(z / math.pi)
    return np.where(z == 0, 1.0, 2 * j1(z) / np.where(z == 0, 1.0, z))


def _weight_of(dim: int, l: int, cosine: Array) -> Array:  # noqa: E741
    """D_l P_l."""
    if dim == 2:
        return 2 * np.cos(l * np.arccos(np.clip(cosine, -1.0, 1.0)))
    return (2 * l + 1) * eval_legendre(l, np.clip(cosine, -1.0, 1.0))


def directional_powers(dim: int, counts: NDArray[np.intp], highest: int) -> Array:
    """p_l of each shell of `counts` cells for l = 0, 1, .., highest; even l mean something: (shells, highest + 1)."""
    if dim == 2:  # arcs of pi/n and the opposite ones: the mean of e^{il angle} over an arc has the modulus sinc(l/2n)
        return np.sinc(np.arange(highest + 1) / (2 * counts[:, None])) ** 2
    return np.stack([_powers_on_half_sphere(int(n), highest) for n in counts])


@functools.lru_cache(maxsize=256)
def _powers_on_half_sphere(number: int, highest: int) -> Array:
    """p_l = 2/(2l + 1) sum_m <P_lm(cos polar)>^2 sinc^2(m/cells of the collar), averaged over the cells."""
    counts, heights = collar_edges(number)
    polar, m = np.arccos(heights), np.arange(highest + 1)
    nodes, weights = leggauss(16 + highest)
    both_signs = np.where(m == 0, 1.0, 2.0)
    total = np.zeros(highest + 1)
    for n, top, bottom, area in zip(counts, polar[:-1], polar[1:], -np.diff(heights), strict=True):
        angle = (top + bottom) / 2 + (bottom - top) / 2 * nodes
        measure = weights * np.sin(angle) * (bottom - top) / 2 / area
        seen = both_signs * np.sinc(m / n) ** 2
        total += n * np.array([seen @ (row @ measure) ** 2 for row in _legendre_rows(highest, np.cos(angle))])
    return 2 / (2 * np.arange(highest + 1) + 1) * total / number


def _legendre_rows(highest: int, x: Array) -> Iterator[Array]:
    """Legendre functions P_lm(x) with int P_lm^2 dx = 1 on (-1, 1), l by l: (highest + 1, nodes), 0 at m > l."""
    m = np.arange(highest + 1)[:, None]
    before, now = np.zeros((highest + 1, x.size)), np.zeros((highest + 1, x.size))
    now[0] = math.sqrt(0.5)
    yield now
    for l in range(1, highest + 1):  # noqa: E741
        below = m < l
        rise = np.sqrt((4 * l**2 - 1) / np.where(below, l**2 - m**2, 1))
        fall = np.sqrt(np.where(below, (l - 1) ** 2 - m**2, 0).clip(0) / max(4 * (l - 1) ** 2 - 1, 1))
        following = np.where(below, rise * (x * now - fall * before), 0.0)
        following[l] = math.sqrt((2 * l + 1) / (2 * l)) * np.sqrt(1 - x**2) * now[l - 1]
        before, now = now, following
        yield now
