"""Fields at given points, whatever the architecture: `FieldAt`.

Plane waves at points that fill a grid are evaluated as on a box (`field_evaluation`): with x = x_c + h k, k the sites
of a box of unit spacing, the momenta become h w and the coefficients a - i b are turned by e^{i w.x_c}. Any other sum
of neurons is added up some neurons at a time, and any other network evaluated some points at a time, so that nothing
of the size neurons x points is ever held.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpy.typing import NDArray

from nnft_mcmc import _checks
from nnft_mcmc.architectures import OnLattice, SumOfNeurons
from nnft_mcmc.architectures._base import Network, PlaneWaves, Theta
from nnft_mcmc.field_evaluation import bytes_at_once, bytes_of, field, map_over, sum_over
from nnft_mcmc.lattice import Lattice

FloatArray = NDArray[np.float64]

# A grid is used if it has at most this many times as many sites as there are points, which lie on it to this accuracy.
_SITES_PER_POINT = 4
_OFF_THE_GRID = 1e-11


class Grid(eqx.Module):
    """Points x_c + h k on a grid: `lattice` has unit spacing, `numbers` are those of the sites k, in C order."""

    lattice: Lattice = eqx.field(static=True)
    centre: Float[Array, " dim"]
    spacings: Float[Array, " dim"]
    numbers: Int[Array, " points"]

    def __call__(self, waves: tuple[Array, Array, Array]) -> Float[Array, " points"]:
        """sum_i a_i cos(w_i.x) + b_i sin(w_i.x) at the points."""
        momenta, cosines, sines = waves
        angle = (momenta * self.centre[None]).sum(axis=1)
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        turned = momenta * self.spacings[None], cosines * cos + sines * sin, sines * cos - cosines * sin
        return field(turned, self.lattice).reshape(-1)[self.numbers]


class FieldAt(eqx.Module):
    """theta -> phi_theta at points (P, dim); shape (P,), or (P, components) of a vector network."""

    architecture: Network
    points: Int[Array, " points"] | Float[Array, "points dim"]
    grid: Grid | None

    def __init__(self, architecture: Network, points: FloatArray) -> None:
        self.architecture = architecture
        self.points = jnp.asarray(
            _site_numbers(architecture, points) if isinstance(architecture, OnLattice) else points
        )
        self.grid = grid_of(points) if isinstance(architecture, PlaneWaves) else None

    def __call__(self, theta: Theta) -> Float[Array, "points ..."]:
        if isinstance(self.architecture, OnLattice):
            return self.architecture.on_sites(theta).reshape(-1)[self.points]
        if isinstance(self.architecture, PlaneWaves) and self.grid is not None:
            return self.grid(self.architecture.waves(theta))
        return at_points(self.architecture, theta, self.points)


def at_points(
    architecture: Network, theta: Theta, points: Float[Array, "points dim"], at_once: int | None = None
) -> Float[Array, "points ..."]:
    """phi_theta at the points, some neurons or some points at a time; at_once: bytes of what is held of them."""
    memory = bytes_at_once() if at_once is None else at_once
    if not isinstance(architecture, SumOfNeurons):
        one_point = bytes_of(lambda x: architecture.forward(theta, x), points[0])
        return map_over(jax.vmap(lambda x: architecture.forward(theta, x)), points, max(1, memory // one_point))
    common = {name: theta[name] for name in architecture.common}
    own = {name: values for name, values in theta.items() if name not in common}

    def of_some(some: Theta) -> Array:
        return architecture.neurons({**some, **common}, points).sum(axis=0)

    one_neuron = bytes_of(of_some, {name: values[:1] for name, values in own.items()})
    return sum_over(of_some, own, max(1, memory // one_neuron))


def grid_of(points: FloatArray) -> Grid | None:
    """The grid on which points (P, dim) lie, if it is not much larger than they are many."""
    if len(points) == 0 or not 1 <= points.shape[1] <= 4:
        return None
    low, high = points.min(axis=0), points.max(axis=0)
    spacings = np.array([_smallest_step(x) for x in points.T])
    steps = (points - low) / spacings
    index = np.rint(steps).astype(int)
    shape = tuple(int(n) for n in index.max(axis=0) + 1)
    if np.abs(steps - index).max() > _OFF_THE_GRID or np.prod(shape, dtype=float) > _SITES_PER_POINT * len(points):
        return None
    numbers = np.ravel_multi_index(tuple(index.T), shape)
    centre = (low + high) / 2
    return Grid(Lattice(shape, 1.0), jnp.asarray(centre), jnp.asarray(spacings), jnp.asarray(numbers))


def _smallest_step(coordinates: FloatArray) -> float:
    """Distance of the nearest two different coordinates, averaged over the whole range; 1 if there is only one."""
    steps = np.diff(np.unique(coordinates))
    steps = steps[steps > _OFF_THE_GRID * np.ptp(coordinates)]
    if steps.size == 0:
        return 1.0
    length = float(np.ptp(coordinates))
    return length / max(1, round(length / float(steps.min())))


def _site_numbers(architecture: OnLattice, points: FloatArray) -> NDArray[np.intp]:
    """Numbers in C order of the sites at which the points lie."""
    lattice = architecture.lattice
    steps = (points - lattice.sites.reshape(-1, lattice.dim)[0]) / lattice.spacing
    index = np.rint(steps).astype(int)
    inside = (index >= 0) & (index < np.array(lattice.shape))
    if (lattice.geometry == "box" and not inside.all()) or np.abs(steps - index).max(initial=0.0) > 1e-6:
        raise _checks.InputError(
            f"a point is not a site of the lattice on which {type(architecture).__name__} lives; give sites, such as"
            " lattice.sites[0]."
        )
    return np.ravel_multi_index(tuple((index % np.array(lattice.shape)).T), lattice.shape)
