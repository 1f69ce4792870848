"""Cells of equal probability: momentum space cut in radius and direction, for stratified momenta.

p and -p are the same plane wave, so a cell is a region together with its mirror image. N cells come in shells of |w|;
shell j has n_j of them, sum_j n_j = N, and the probability n_j/N. Within a shell they differ in direction only: arcs of
equal angle on the half circle in d = 2; in d = 3 a cap around the pole of the half sphere and collars below it, cut
along meridians, all of equal area (Leopardi, Electron. Trans. Numer. Anal. 25 (2006) 309). In d = 1 a shell is a cell.

How many shells? A wave of known momentum varies over a cell as the square of the cell's size, so at given volume
v = 1/(2 N p(w)) the best cells have sides of equal length v^(1/d). That puts

    s(k) = int_0^k (2 N p(q))^(1/d) dq

shells below k: their edges are equally spaced in s, and there are s(infinity) of them, rounded. In a tail p ~ k^-(a+d)
s converges, and the last shells are broad in ln k: there cells are as wide as they are far away.

A direction is described by coordinates in the unit cube in which the uniform law is uniform; a cell is a box in them.
"""

import functools
import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nnft_mcmc import _checks
from nnft_mcmc.architectures.radial import RHO_MAX, RadialLaw

_GRID = 4097


class Cells:
    """The N cells, by neuron: `shell` (N,), and boxes of direction coordinates `low`, `high` (N, dim - 1).

    `counts` (shells,) is n_j, and `ends` (shells + 1,) the probabilities Pr(|w'| < |w|) between which shells lie.
    """

    def __init__(self, dim: int, counts: np.ndarray) -> None:
        self.dim, self.counts = dim, counts
        self.width = int(counts.sum())
        self.ends = np.append(0.0, np.cumsum(counts)) / self.width
        self.shell = np.repeat(np.arange(counts.size), counts)
        boxes = np.concatenate([direction_boxes(dim, int(n)) for n in counts])
        self.low, self.high = boxes[..., 0], boxes[..., 1]

    @property
    def rho_edges(self) -> np.ndarray:
        """-ln Pr(|w'| > |w|) at the ends of the shells, the last infinite; shape (shells + 1,)."""
        with np.errstate(divide="ignore"):
            return -np.log1p(-self.ends)


@functools.lru_cache(maxsize=64)
def momentum_cells(law: RadialLaw, width: int, shells: int | None) -> Cells:
    """`width` cells of the law, in `shells` shells, or in as many as make the sides of the cells equal."""
    if law.dim == 1:
        return Cells(1, np.ones(width, dtype=int))
    if law.dim == 4 or shells == width:
        return Cells(law.dim, np.ones(width, dtype=int))
    return Cells(law.dim, _shell_counts(law, width, shells))


def check_shells(law: RadialLaw, width: int, shells: int | None) -> None:
    """Refuse a number of shells that cannot be."""
    if shells is None:
        return
    if law.dim in (1, 4) and shells != width:
        raise _checks.InputError(
            f"stratified_net.shells is {shells!r} with dim = {law.dim}, where every cell is a whole shell; leave it"
            " out, or make it equal to the width."
        )
    _checks.integer("stratified_net.shells", shells, minimum=1, maximum=width)


def _shell_counts(law: RadialLaw, width: int, shells: int | None) -> np.ndarray:
    """n_j, with the edges of the shells moved to the nearest whole number of cells below them."""
    rho = np.linspace(0.0, RHO_MAX ** (1 / law.dim), _GRID) ** law.dim
    k = law.quantile(rho)
    sphere = 2.0 * math.pi ** (law.dim / 2) / math.gamma(law.dim / 2)
    probability, volume = -np.diff(np.exp(-rho)), sphere / law.dim * np.diff(k**law.dim)
    p = np.divide(probability, volume, out=np.zeros(_GRID - 1), where=volume > 0)
    s = np.append(0.0, np.cumsum(p ** (1 / law.dim) * np.diff(k)))
    natural = round((2 * width) ** (1 / law.dim) * s[-1])
    number = min(max(natural, 1), width) if shells is None else shells
    below = -np.expm1(-np.interp(np.linspace(0.0, s[-1], number + 1), s, rho))
    cells_below = np.round(width * below).astype(int)
    cells_below[0], cells_below[-1] = 0, width
    for j in range(1, number):  # at least one cell in each shell, and one left for each that follows
        cells_below[j] = min(max(cells_below[j], cells_below[j - 1] + 1), width - (number - j))
    return np.diff(cells_below)


@functools.lru_cache(maxsize=1024)
def _collars(number: int) -> tuple[int, ...]:
    """Cells of a cap and of the collars below it, all of equal area on the half sphere."""
    if number == 1:
        return (1,)
    cap = math.acos(1 - 1 / number)
    collars = max(1, round((math.pi / 2 - cap) / math.sqrt(2 * math.pi / number)))
    polar = cap + (math.pi / 2 - cap) / collars * np.arange(1, collars + 1)
    below = np.round(number * (1 - np.cos(polar))).astype(int)
    below[-1] = number
    counts = np.diff(np.append(1, below))
    return (1, *(int(n) for n in counts if n > 0))


def collar_edges(number: int) -> tuple[tuple[int, ...], np.ndarray]:
    """Cells of each collar of the half sphere, and the heights cos(polar angle) between them, from 1 down to 0."""
    counts = _collars(number)
    return counts, 1 - np.append(0, np.cumsum(counts)) / number


def direction_boxes(dim: int, number: int) -> np.ndarray:
    """`number` boxes of equal volume in the dim - 1 direction coordinates: (number, dim - 1, 2), low and high."""
    if dim == 2:
        edges = np.arange(number + 1) / number
        return np.stack([edges[:-1], edges[1:]], axis=-1)[:, None]
    if dim == 3:
        counts, heights = collar_edges(number)
        boxes = [[(heights[c + 1], heights[c]), (t / n, (t + 1) / n)] for c, n in enumerate(counts) for t in range(n)]
        return np.array(boxes)
    return np.tile([0.0, 1.0], (number, dim - 1, 1))


def direction(dim: int, coordinates: Float[Array, "*batch coordinates"]) -> Float[Array, "*batch dim"]:
    """The unit vector of a half sphere with these coordinates; uniform coordinates give a uniform direction."""
    c = jnp.moveaxis(coordinates, -1, 0)
    if dim == 1:
        return jnp.ones((*coordinates.shape[:-1], 1), dtype=coordinates.dtype)
    if dim == 2:
        components = _circle(math.pi * c[0])
    elif dim == 3:
        ring = jnp.sqrt(1 - c[0] ** 2)
        components = [*(ring * e for e in _circle(2 * math.pi * c[1])), c[0]]
    else:  # Hopf's coordinates
        first, second = jnp.sqrt(1 - c[0]), jnp.sqrt(c[0])
        components = [
            *(first * e for e in _circle(2 * math.pi * c[1])),
            *(second * e for e in _circle(math.pi * c[2])),
        ]
    return jnp.stack(components, axis=-1)


def direction_coordinates(vectors: Float[Array, "*batch dim"]) -> Float[Array, "*batch coordinates"]:
    """The inverse of `direction`, for vectors of any length and either sign."""
    dim = vectors.shape[-1]
    v = jnp.moveaxis(jnp.where(vectors[..., -1:] < 0, -vectors, vectors), -1, 0)
    if dim == 1:
        return jnp.zeros((*vectors.shape[:-1], 0), dtype=vectors.dtype)
    if dim == 2:
        coordinates = [jnp.arctan2(v[1], v[0]) / math.pi]
    elif dim == 3:
        coordinates = [v[2] / jnp.linalg.norm(v, axis=0), _turns(v[0], v[1])]
    else:
        height = jnp.sum(v[2:] ** 2, axis=0) / jnp.sum(v**2, axis=0)
        coordinates = [height, _turns(v[0], v[1]), jnp.arctan2(v[3], v[2]) / math.pi]
    return jnp.stack(coordinates, axis=-1)


def _circle(angle: Array) -> list[Array]:
    return [jnp.cos(angle), jnp.sin(angle)]


def _turns(x: Array, y: Array) -> Array:
    """The angle of (x, y) in [0, 1) of a full turn."""
    return jnp.remainder(jnp.arctan2(y, x) / (2 * math.pi), 1.0)
