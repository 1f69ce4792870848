"""Which elements of the Euclidean group are tested, and at which points.

Networks exist everywhere: translations by a generic vector, rotations in the planes of the time axis by 45 degrees,
where a cube differs most from a sphere, and by 1 radian. Fields on a lattice have the symmetries of the lattice:
reflections of every axis, exchanges of axes of equal length, and translations by whole steps. An interaction inside a
box is not translation invariant, because the box has ends, so that translations are left out there.

The points lie on the time axis, at distances of a quarter of the extent of the lattice.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnft_mcmc.estimators.field_observables import CharacteristicFunction, FieldObservable, default_correlators
from nnft_mcmc.estimators.group_actions import GroupElement, Orthogonal, Translation, reflection, rotation
from nnft_mcmc.lattice import Lattice

Indices = NDArray[np.int64]
FloatArray = NDArray[np.float64]

_GENERIC = (1.0, 0.618, 0.414, 0.303)  # direction of a translation
_ANGLES = {"45 degrees": math.pi / 4, "1 radian": 1.0}


@dataclass(frozen=True, eq=False)
class Element:
    """A named element with the points (P, dim) at which it is tested."""

    name: str
    element: GroupElement
    points: FloatArray

    @property
    def moved(self) -> FloatArray:
        """g x."""
        return self.element.on_points(self.points)


def of_space(lattice: Lattice) -> list[Element]:
    """Elements for networks, which exist everywhere."""
    dim, step = lattice.dim, max(1, (lattice.shape[0] - 1) // 4) * lattice.spacing
    points = np.zeros((3, dim))
    points[:, 0] = step * np.arange(3)
    vector = tuple(1.37 * step * g for g in _GENERIC[:dim])
    found = [Element("translation", Translation(vector), points)]
    for axis, (name, angle) in itertools.product(range(1, dim), _ANGLES.items()):
        found.append(
            Element(f"rotation of t and {lattice.axis_names[axis]}, {name}", rotation(dim, angle, (0, axis)), points)
        )
    return found


def of_lattice(lattice: Lattice, translations: bool) -> list[Element]:
    """Elements that map the lattice to itself."""
    return [e for e in _candidates(lattice, translations) if not np.array_equal(e.points, e.moved)]


def _candidates(lattice: Lattice, translations: bool) -> Iterator[Element]:
    dim, names, n = lattice.dim, lattice.axis_names, lattice.shape[0]
    step = max(1, (n - 1) // 4)
    line = np.zeros((min(3, n), dim), dtype=np.int64)
    line[:, 1:] = lattice.centre[1:]
    line[:, 0] = np.minimum(step * np.arange(len(line)), n - 1)
    points = coordinates(lattice, line)
    for axis in range(dim):
        shifted = coordinates(lattice, line + (np.arange(dim) == axis) * (axis > 0))
        inside = lattice.geometry == "torus" or lattice.shape[axis] > lattice.centre[axis] + 1 or axis == 0
        if lattice.shape[axis] > 1 and inside:
            at = points if axis == 0 else shifted
            yield Element(f"reflection of {names[axis]}", reflection(np.eye(dim)[axis]), at)
    for axis in range(1, dim):
        if lattice.shape[axis] == n:
            matrix = np.eye(dim)
            matrix[[0, axis]] = matrix[[axis, 0]]
            rows = tuple(tuple(row) for row in matrix.tolist())
            yield Element(f"exchange of t and {names[axis]}", Orthogonal(rows), points)
    if translations:
        far = n // 2 if lattice.geometry == "torus" else n - 1 - int(line[:, 0].max())
        vector = (max(far, 0) * lattice.spacing, *[0.0] * (dim - 1))
        yield Element("translation along t", Translation(vector), points)


def coordinates(lattice: Lattice, sites: Indices) -> FloatArray:
    """Coordinates of sites (P, dim); a torus is unrolled."""
    origin = lattice.sites.reshape(-1, lattice.dim)[0]
    return origin + lattice.spacing * np.asarray(sites)


def sites_of(lattice: Lattice, points: FloatArray) -> Indices:
    """Indices of the sites at points (P, dim) of the lattice."""
    origin = lattice.sites.reshape(-1, lattice.dim)[0]
    return np.rint((points - origin) / lattice.spacing).astype(np.int64) % np.array(lattice.shape)


def observables(element: GroupElement, num_points: int, rms: float) -> dict[str, FieldObservable]:
    """Two- and four-point functions; and, for fields of heavy tails, the characteristic function."""
    unit = np.eye(num_points) / rms
    sources = [*unit, *(a + b for a, b in itertools.combinations(unit, 2))]
    rows = tuple(tuple(float(j) for j in source) for source in sources)
    return {
        "2- and 4-point": default_correlators(num_points, element),
        "characteristic function": CharacteristicFunction(rows),
    }
