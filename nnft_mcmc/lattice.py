"""Lattices: the points at which a field is evaluated, and the weights of sums over them.

Axis 0 is Euclidean time t; the others are x, y, z. A `box` is a set of points in R^d centred on the origin; nothing
is periodic about it. A `torus` identifies opposite sides. All lengths are in the unit of `spacing`, which is the unit
of 1/mass of the architecture.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from nnft_mcmc import _checks

AXIS_NAMES = ("t", "x", "y", "z")
GEOMETRIES = ("box", "torus")
QUADRATURES = ("riemann", "trapezoid")


@dataclass(frozen=True)
class Lattice:
    """A hypercubic lattice of `shape` sites at distance `spacing`.

    Sites are (i - (n - 1)/2) * spacing, i = 0..n-1, along each axis of a box, and i * spacing on a torus.
    """

    shape: tuple[int, ...]
    spacing: float
    geometry: str = "box"

    def __post_init__(self) -> None:
        shape = (self.shape,) if isinstance(self.shape, int) else self.shape
        if not isinstance(shape, (tuple, list)) or not 1 <= len(shape) <= len(AXIS_NAMES):
            raise _checks.InputError(
                f"lattice.shape is {self.shape!r}; it must be a list of 1 to 4 numbers of sites, such as [17]."
            )
        sites = tuple(_checks.integer("lattice.shape", n, minimum=1) for n in shape)
        object.__setattr__(self, "shape", sites)
        object.__setattr__(self, "spacing", _checks.positive("lattice.spacing", self.spacing))
        _checks.one_of("lattice.geometry", self.geometry, GEOMETRIES)

    @property
    def dim(self) -> int:
        """Number of axes, d."""
        return len(self.shape)

    @property
    def num_sites(self) -> int:
        """Number of sites."""
        return int(np.prod(self.shape))

    @property
    def axis_names(self) -> tuple[str, ...]:
        """Names of the axes, time first."""
        return AXIS_NAMES[: self.dim]

    @property
    def centre(self) -> tuple[int, ...]:
        """Index of the site nearest the middle of the box (of two equally near, the later)."""
        return tuple(n // 2 for n in self.shape)

    @property
    def cell_volume(self) -> float:
        """a^d, the volume that one site stands for."""
        return self.spacing**self.dim

    def axis(self, index: int) -> np.ndarray:
        """Coordinates of the sites along one axis, shape (n,)."""
        n = self.shape[index]
        origin = (n - 1) / 2 if self.geometry == "box" else 0
        return (np.arange(n) - origin) * self.spacing

    @property
    def coordinates(self) -> dict[str, np.ndarray]:
        """Coordinates by axis name, as xarray wants them."""
        return {name: self.axis(i) for i, name in enumerate(self.axis_names)}

    @property
    def sites(self) -> np.ndarray:
        """Coordinates of every site, shape (*shape, dim)."""
        axes = [self.axis(i) for i in range(self.dim)]
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)

    def quadrature_weights(self, quadrature: str) -> np.ndarray:
        """Weights w(x) of sum_x w(x) f(x) ~ int d^dx f(x), shape `shape`.

        riemann: spacing^dim at every site. trapezoid (box only): half of that at each end of each axis, so that the
        weights add up to the volume of the box from its first to its last site.
        """
        _checks.one_of("quadrature", quadrature, QUADRATURES)
        weights = np.full(self.shape, self.cell_volume)
        if quadrature == "riemann":
            return weights
        if self.geometry == "torus":
            raise _checks.InputError(
                "quadrature is 'trapezoid' on a torus, which has no ends; use 'riemann', which is the same rule there."
            )
        if min(self.shape) < 2:
            raise _checks.InputError(
                f"quadrature is 'trapezoid' on a lattice of shape {list(self.shape)}; it needs two sites or more along"
                " every axis, so use 'riemann' for a single site."
            )
        for axis, end in itertools.product(range(self.dim), (0, -1)):
            np.moveaxis(weights, axis, 0)[end] *= 0.5
        return weights
