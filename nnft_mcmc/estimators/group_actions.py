r"""Group elements acting on fields, lectures eqs. (52)-(57). An element g turns a field phi into

    phi_g(x) = rho(g) phi(g x),      g x = x + t,  R x;      rho = 1, -1 or an orthogonal matrix of the outputs,

and is a symmetry of the ensemble if phi_g has the law of phi, eq. (56). `parameter_symmetry` absorbs it into the
parameters where that is possible, `symmetry` tests it on draws.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import ArrayLike

from nnft_mcmc import _checks
from nnft_mcmc.architectures._base import Architecture
from nnft_mcmc.architectures.vector import VectorArchitecture

Rows = tuple[tuple[float, ...], ...]

ORTHOGONAL_TO = 1e-10


class GroupElement(ABC):
    """g, with phi_g(x) = rho(g) phi(g x)."""

    @abstractmethod
    def on_points(self, x: ArrayLike) -> np.ndarray:
        """g x for points (..., dim)."""

    @abstractmethod
    def on_outputs(self, field: np.ndarray) -> np.ndarray:
        """rho(g) phi for a scalar field (...), or a vector field (..., components)."""


class OnInputs(GroupElement):
    """Acts on the points alone."""

    def on_outputs(self, field: np.ndarray) -> np.ndarray:
        return field


class OnOutputs(GroupElement):
    """Acts on the outputs alone, an internal symmetry."""

    def on_points(self, x: ArrayLike) -> np.ndarray:
        return np.asarray(x, dtype=np.float64)


@dataclass(frozen=True)
class Translation(OnInputs):
    """g x = x + vector."""

    vector: tuple[float, ...]

    def __post_init__(self) -> None:
        components = np.atleast_1d(np.asarray(self.vector, dtype=object))
        object.__setattr__(self, "vector", tuple(_checks.real("translation.vector", v) for v in components))

    def on_points(self, x: ArrayLike) -> np.ndarray:
        return np.asarray(x, dtype=np.float64) + np.asarray(self.vector)


@dataclass(frozen=True)
class Orthogonal(OnInputs):
    """g x = R x about the origin, R an orthogonal matrix (dim, dim); see `rotation` and `reflection`."""

    matrix: Rows

    def __post_init__(self) -> None:
        object.__setattr__(self, "matrix", _orthogonal_rows("orthogonal.matrix", self.matrix))

    def on_points(self, x: ArrayLike) -> np.ndarray:
        return np.asarray(x, dtype=np.float64) @ np.asarray(self.matrix).T


@dataclass(frozen=True)
class SignFlip(OnOutputs):
    """Z2: phi_g = -phi."""

    def on_outputs(self, field: np.ndarray) -> np.ndarray:
        return -field


@dataclass(frozen=True)
class OutputOrthogonal(OnOutputs):
    """O(D): phi_g = rho phi, rho an orthogonal matrix (components, components)."""

    matrix: Rows

    def __post_init__(self) -> None:
        object.__setattr__(self, "matrix", _orthogonal_rows("output_orthogonal.matrix", self.matrix))

    def on_outputs(self, field: np.ndarray) -> np.ndarray:
        return field @ np.asarray(self.matrix).T


@dataclass(frozen=True)
class Joint(GroupElement):
    """phi_g(x) = R^T phi(R x): phi_g = phi is equivariance, eq. (53)."""

    matrix: Rows

    def __post_init__(self) -> None:
        object.__setattr__(self, "matrix", _orthogonal_rows("joint.matrix", self.matrix))

    def on_points(self, x: ArrayLike) -> np.ndarray:
        return np.asarray(x, dtype=np.float64) @ np.asarray(self.matrix).T

    def on_outputs(self, field: np.ndarray) -> np.ndarray:
        return field @ np.asarray(self.matrix)


def rotation(dim: int, angle: float, plane: tuple[int, int] = (0, 1)) -> Orthogonal:
    """Rotation by `angle` (radians) from axis plane[0] towards axis plane[1]."""
    i, j = (_checks.integer("rotation.plane", axis, 0, _checks.integer("rotation.dim", dim, 2) - 1) for axis in plane)
    if i == j:
        raise _checks.InputError(f"rotation.plane is {plane!r}; it must name two different axes.")
    matrix = np.eye(dim)
    c, s = math.cos(_checks.real("rotation.angle", angle)), math.sin(angle)
    matrix[i, i], matrix[i, j], matrix[j, i], matrix[j, j] = c, -s, s, c
    return Orthogonal(_rows(matrix))


def reflection(normal: ArrayLike) -> Orthogonal:
    """Reflection at the plane through the origin with this normal: x - 2 n (n.x)/n^2."""
    n = np.atleast_1d(np.asarray(normal, dtype=np.float64))
    if n.ndim != 1 or not np.isfinite(n).all() or not n.any():
        raise _checks.InputError(f"reflection.normal is {normal!r}; it must be a finite vector that is not zero.")
    return Orthogonal(_rows(np.eye(n.size) - 2 * np.outer(n, n) / (n @ n)))


def pixel_shift(image: Sequence[int], shift: Sequence[int]) -> Orthogonal:
    """Cyclic shift of an image, (g x)_p = x_{p + shift}, `image` the shape of a `ConvNet`'s input."""
    sides, by = (np.atleast_1d(np.asarray(n)) for n in (image, shift))
    if sides.dtype.kind not in "iu" or by.dtype.kind not in "iu" or sides.shape != by.shape or (sides < 1).any():
        raise _checks.InputError(
            f"pixel_shift.shift is {shift!r} for the image {image!r}; give one whole number for each side."
        )
    moved = np.roll(np.arange(np.prod(sides)).reshape(sides), tuple(-by), axis=tuple(range(sides.size)))
    return Orthogonal(_rows(np.eye(moved.size)[moved.ravel()]))


def token_permutation(order: Sequence[int], features: int) -> Orthogonal:
    """(g x)_t = x_{order[t]} for tokens of this many features, the input of attention."""
    tokens = [_checks.integer("token_permutation.order", t, 0, len(order) - 1) for t in order]
    if sorted(tokens) != list(range(len(order))):
        raise _checks.InputError(f"token_permutation.order is {order!r}; it must be a permutation of 0, 1, ...")
    size = _checks.integer("token_permutation.features", features, 1)
    return Orthogonal(_rows(np.kron(np.eye(len(order))[tokens], np.eye(size))))


def check_element(architecture: Architecture | VectorArchitecture, element: GroupElement) -> None:
    """Refuse an element that cannot act on the fields of this architecture."""
    size = {"dim": architecture.dim, "components": components(architecture)}
    needed: dict[str, int] = {}
    if isinstance(element, Translation):
        needed["dim"] = len(element.vector)
    if isinstance(element, (Orthogonal, Joint)):
        needed["dim"] = len(element.matrix)
    if isinstance(element, (OutputOrthogonal, Joint)):
        needed["components"] = len(element.matrix)
    for name, n in needed.items():
        if size[name] != n:
            raise _checks.InputError(
                f"{type(element).__name__} acts on {name} = {n} and {type(architecture).__name__} has {name} ="
                f" {size[name]}; they must be equal."
            )


def components(architecture: Architecture | VectorArchitecture) -> int:
    """Number of outputs, 0 for a scalar field, whose values have no axis of components."""
    return architecture.components if isinstance(architecture, VectorArchitecture) else 0


def _rows(matrix: np.ndarray) -> Rows:
    return tuple(tuple(float(entry) for entry in row) for row in matrix)


def _orthogonal_rows(name: str, matrix: ArrayLike | Rows) -> Rows:
    entries = np.asarray(matrix, dtype=np.float64)
    square = entries.ndim == 2 and entries.shape[0] == entries.shape[1] > 0
    if not square or not np.abs(entries @ entries.T - np.eye(len(entries))).max() < ORTHOGONAL_TO:
        raise _checks.InputError(f"{name} is not a square matrix with M M^T = 1; give an orthogonal one.")
    return _rows(entries)
