"""Where functions are compared: points of a box with weights that sum to one, so that a sum is a mean over the box."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnft_mcmc import _checks

FloatArray = NDArray[np.float64]

LARGEST_NUMBER = 2**22


@dataclass(frozen=True, eq=False)
class Nodes:
    """points (n, dim), weights (n,)."""

    points: FloatArray
    weights: FloatArray

    def rms(self, values: FloatArray) -> float:
        """The root mean square over the box of values (n,): the L2 norm divided by the root of the volume."""
        return float(np.sqrt(self.weights @ values**2))


def gauss_legendre(lower: Sequence[float], upper: Sequence[float], order: int) -> Nodes:
    """`order` nodes for each coordinate; means of polynomials up to the power 2 order - 1 in each are exact."""
    x, w = np.polynomial.legendre.leggauss(order)
    return _product(lower, upper, (x + 1) / 2, w / 2)


def trapezoid(lower: Sequence[float], upper: Sequence[float], number: int) -> Nodes:
    """`number` equidistant points for each coordinate, ends included and of half the weight of the others."""
    weights = np.full(number, 1 / (number - 1))
    weights[[0, -1]] /= 2
    return _product(lower, upper, np.linspace(0.0, 1.0, number), weights)


def grid(lower: Sequence[float], upper: Sequence[float], number: int) -> FloatArray:
    """`number` points for each coordinate, ends included; (n, dim)."""
    return trapezoid(lower, upper, number).points


def _product(lower: Sequence[float], upper: Sequence[float], x: FloatArray, w: FloatArray) -> Nodes:
    dim = len(lower)
    if len(x) ** dim > LARGEST_NUMBER:
        raise _checks.InputError(
            f"{len(x)} points for each of {dim} coordinates are more than {LARGEST_NUMBER}; ask for fewer."
        )
    low, high = np.asarray(lower, dtype=np.float64), np.asarray(upper, dtype=np.float64)
    points = low + (high - low) * np.stack(np.meshgrid(*[x] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
    weights = np.stack(np.meshgrid(*[w] * dim, indexing="ij"), axis=-1).reshape(-1, dim).prod(axis=1)
    return Nodes(points, weights)
