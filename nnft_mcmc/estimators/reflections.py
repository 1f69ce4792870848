"""Where reflection positivity is tested: points of positive time on a lattice, their images, families of operators.

Site reflection t -> -t about a site leaves the sites of that time where they are, link reflection about the middle
between two sites leaves none. A box is reflected about its middle, so the number of its sites along t decides; a torus
of even size has both. The fields are taken at a few times t > 0 that span all scales and, in d >= 2, at several points
of space, because some theories violate the axiom only between points that are apart in space.

Of a torus all translates of a draw are copies of equal right; up to `COPIES` of them are averaged over.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnft_mcmc import _checks
from nnft_mcmc.estimators.field_observables import CharacteristicFunction, Correlators
from nnft_mcmc.estimators.positivity import Family
from nnft_mcmc.lattice import Lattice

Indices = NDArray[np.int64]
FloatArray = NDArray[np.float64]

COPIES = 64
_TIMES = {1: 6, 2: 4, 3: 3, 4: 3}  # by dimension


@dataclass(frozen=True, eq=False)
class Reflection:
    """Points of positive time `forward` (P, dim) and their images `reflected`; `few` are numbers of three of them."""

    name: str
    forward: FloatArray
    reflected: FloatArray
    few: tuple[int, ...]

    @property
    def points(self) -> FloatArray:
        """Both, the reflected ones first, (2 P, dim)."""
        return np.concatenate([self.reflected, self.forward])


def reflections(lattice: Lattice) -> tuple[Reflection, ...]:
    """The reflections of the time axis that the lattice has."""
    n = lattice.shape[0]
    if n < 3:
        raise _checks.InputError(
            f"lattice.shape is {list(lattice.shape)}; reflection positivity needs three sites or more along t."
        )
    if lattice.geometry == "box":  # t_i -> t_{n-1-i}
        kind = "site reflection" if n % 2 else "link reflection"
        return (_reflection(lattice, kind, np.arange((n + 1) // 2, n), n - 1),)
    sites = _reflection(lattice, "site reflection", np.arange(1, (n + 1) // 2), 0)
    return sites, _reflection(lattice, "link reflection", np.arange(0, n // 2), -1)


def _reflection(lattice: Lattice, name: str, positive: Indices, total: int) -> Reflection:
    """The reflection t_i -> t_{total - i}."""
    steps = np.unique(np.rint(np.geomspace(1, len(positive), _TIMES[lattice.dim])).astype(int))
    times, space = positive[steps - 1], _positions(lattice)
    forward = np.array([(t, *x) for t in times for x in space])
    reflected = forward.copy()
    reflected[:, 0] = (total - forward[:, 0]) % lattice.shape[0]
    points = [lattice.sites[tuple(sites.T)] for sites in (forward, reflected)]
    return Reflection(name, points[0], points[1], _few(len(times), len(space)))


def _positions(lattice: Lattice) -> list[tuple[int, ...]]:
    """Points of space: the centre and its neighbours along the first axis, near ones on a torus."""
    centre = lattice.centre[1:]
    if not centre or lattice.shape[1] < 2:
        return [centre]
    n = lattice.shape[1]
    step = 1 if lattice.geometry == "torus" else max(1, (n - 1) // 4)
    first = sorted(
        {(centre[0] + k * step) % n for k in (-1, 0, 1) if lattice.geometry == "torus" or 0 <= centre[0] + k * step < n}
    )
    return [(x, *centre[1:]) for x in sorted(first, key=lambda x: x != centre[0])]


def _few(times: int, positions: int) -> tuple[int, ...]:
    """Numbers of up to three points, points of one time being neighbours: for the products of two and three fields."""
    if positions == 1:
        return tuple(sorted({times // 4, times // 2, times - 1}))
    middle = (times // 2) * positions
    return tuple(sorted({middle, middle + 1, (times - 1) * positions}))


def families(num_points: int, few: Sequence[int], rms: float) -> tuple[Family, ...]:
    """Operators of the fields at the points: {phi}; {1, phi phi} and {phi, phi phi phi} of a few of them; and {1,
    cos(J.phi), sin(J.phi)}, with phi and differences of two phi measured in units of `rms`."""
    twos, threes = (list(itertools.combinations_with_replacement(few, n)) for n in (2, 3))
    unit = np.eye(num_points)[list(few)] / _checks.positive("rms", rms)
    sources = [*unit, *(a - b for a, b in itertools.combinations(unit, 2))]
    rows = tuple(tuple(float(j) for j in source) for source in sources)
    return (
        Family("fields", (Correlators(tuple((i,) for i in range(num_points))),)),
        Family("pairs", (Correlators(tuple(twos)),), constant=True),
        Family("triples", (Correlators((*((i,) for i in few), *threes)),)),
        Family("exponentials", (CharacteristicFunction(rows),), constant=True),
    )


def fields_at(fields: FloatArray, lattice: Lattice, sites: Indices) -> FloatArray:
    """Fields (draws, *shape) at sites (P, dim): (draws, copies, P); the copies are translates of a torus."""
    shifts = np.zeros((1, lattice.dim), dtype=np.int64)
    if lattice.geometry == "torus":
        every = np.linspace(0, lattice.num_sites, min(COPIES, lattice.num_sites), endpoint=False).astype(int)
        shifts = np.stack(np.unravel_index(every, lattice.shape), axis=1)
    index = (sites[None] + shifts[:, None]) % np.array(lattice.shape)
    return fields[(slice(None), *np.moveaxis(index, -1, 0))]
