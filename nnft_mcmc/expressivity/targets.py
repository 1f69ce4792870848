r"""Functions to approximate, each with a box, a modulus of continuity there, and for some a Fourier representation.

    sin            sin x                        [-pi, pi]
    runge          1/(1 + 25 x^2)               [-1, 1]
    sqrt_abs       |x|^(1/2)                    [-1, 1]        Hoelder exponent 1/2
    exponential    e^{-|x|}                     [-2, 2]        Cauchy spectrum
    sawtooth       four tents, one in another   [0, 1]
    norm           |x|, any dimension           [-1, 1]
    gaussian       e^{-|x|^2/2}, any dimension  [-2, 2]        normal spectrum
    product        x y                          [-1, 1]^2
    exp_sin        exp(sin(pi x) + y^2)         [-1, 1]^2

A function of any dimension takes that of its box.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnft_mcmc import _checks
from nnft_mcmc.architectures import CosNet, PlaneWaveNet, ScalarNet
from nnft_mcmc.expressivity.approximation import Function, Hoelder
from nnft_mcmc.expressivity.sawtooth import tents

FloatArray = NDArray[np.float64]

SAWTOOTH_DEPTH = 4


@dataclass(frozen=True, eq=False)
class Target:
    """f on the box lower <= x <= upper. `spectrum`, a plane-wave net of one neuron, has f = <F cos(w.x)>, if known."""

    name: str
    f: Function
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    modulus: Hoelder
    spectrum: PlaneWaveNet | None = None

    @property
    def dim(self) -> int:
        """Of the box."""
        return len(self.lower)


@dataclass(frozen=True)
class _Entry:
    """f, its side of the box, its dimension (None: any), modulus and spectrum."""

    f: Function
    side: tuple[float, float]
    dim: int | None
    modulus: Callable[[FloatArray, FloatArray], Hoelder]
    spectrum: Callable[[int], PlaneWaveNet] | None = None


def _lipschitz(constant: float) -> Callable[[FloatArray, FloatArray], Hoelder]:
    return lambda lower, upper: Hoelder(constant)


def _of_product(lower: FloatArray, upper: FloatArray) -> Hoelder:
    """|(y, x)| is largest in a corner."""
    return Hoelder(float(np.linalg.norm(np.maximum(np.abs(lower), np.abs(upper)))))


def _of_exp_sin(lower: FloatArray, upper: FloatArray) -> Hoelder:
    """|grad f| <= e^{1 + y^2} |(pi, 2 y)|."""
    y = max(abs(float(lower[1])), abs(float(upper[1])))
    return Hoelder(math.exp(1 + y**2) * math.hypot(math.pi, 2 * y))


REGISTRY: dict[str, _Entry] = {
    "sin": _Entry(lambda x: np.sin(x[:, 0]), (-math.pi, math.pi), 1, _lipschitz(1.0)),
    "runge": _Entry(lambda x: 1 / (1 + 25 * x[:, 0] ** 2), (-1.0, 1.0), 1, _lipschitz(15 * math.sqrt(3) / 8)),
    "sqrt_abs": _Entry(lambda x: np.sqrt(np.abs(x[:, 0])), (-1.0, 1.0), 1, lambda lower, upper: Hoelder(1.0, 0.5)),
    "exponential": _Entry(
        lambda x: np.exp(-np.abs(x[:, 0])),
        (-2.0, 2.0),
        1,
        _lipschitz(1.0),
        lambda dim: ScalarNet(1, 1, mass=1.0, cutoff=math.inf),  # type: ignore[call-arg] # a field of its base, for mypy
    ),
    "sawtooth": _Entry(lambda x: tents(x[:, 0], SAWTOOTH_DEPTH), (0.0, 1.0), 1, _lipschitz(2.0**SAWTOOTH_DEPTH)),
    "norm": _Entry(lambda x: np.linalg.norm(x, axis=1), (-1.0, 1.0), None, _lipschitz(1.0)),
    "gaussian": _Entry(
        lambda x: np.exp(-np.sum(x**2, axis=1) / 2),
        (-2.0, 2.0),
        None,
        _lipschitz(math.exp(-0.5)),
        lambda dim: CosNet(dim, 1, weight_std=math.sqrt(dim)),
    ),
    "product": _Entry(lambda x: x[:, 0] * x[:, 1], (-1.0, 1.0), 2, _of_product),
    "exp_sin": _Entry(lambda x: np.exp(np.sin(math.pi * x[:, 0]) + x[:, 1] ** 2), (-1.0, 1.0), 2, _of_exp_sin),
}


def target(name: str, lower: Sequence[float] | None = None, upper: Sequence[float] | None = None) -> Target:
    """The function called `name` on a box; without one on its own."""
    entry = REGISTRY[_checks.one_of("target.name", name, REGISTRY)]
    if (lower is None) != (upper is None):
        raise _checks.InputError("[target] has one of lower and upper; give both corners of the box or none.")
    if lower is None or upper is None:
        lower, upper = ([side] * (entry.dim or 1) for side in entry.side)
    low, high = (_corner(key, corner) for key, corner in (("lower", lower), ("upper", upper)))
    if len(low) != len(high) or not all(a < b for a, b in zip(low, high, strict=True)):
        raise _checks.InputError(
            f"target.lower is {list(low)} and target.upper {list(high)}; they must be two corners of a box, lower below"
            " upper."
        )
    if entry.dim not in (None, len(low)):
        raise _checks.InputError(
            f"the box of [target] has {len(low)} dimensions and {name} takes {entry.dim}; they must be equal."
        )
    modulus = entry.modulus(np.array(low), np.array(high))
    return Target(name, entry.f, low, high, modulus, entry.spectrum(len(low)) if entry.spectrum else None)


def _corner(key: str, corner: object) -> tuple[float, ...]:
    if not isinstance(corner, (list, tuple)) or not corner:
        raise _checks.InputError(f"target.{key} is {corner!r}; it must be a list of numbers, one for each dimension.")
    return tuple(_checks.real(f"an entry of target.{key}", value) for value in corner)
