"""What is approximated, and where: nodes for the fit, and others on which the error is measured.

A function on a box is fitted at equidistant points with the ends, in the weights of the trapezoidal rule: without the
ends a kink near one of them is seen by a single point and makes an error of any size beyond it. The L2 error is then
measured by Gauss-Legendre quadrature, the sup-norm on a grid about four times as fine in one dimension, twice in more.
Samples are fitted at one half of them, drawn at random, and the error is that at the other half.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnft_mcmc import _checks
from nnft_mcmc.expressivity.approximation import samples
from nnft_mcmc.expressivity.nodes import Nodes, gauss_legendre, grid, trapezoid
from nnft_mcmc.expressivity.targets import Target

FloatArray = NDArray[np.float64]

NUM_POINTS = {1: 512, 2: 48, 3: 16}
LARGEST_ORDER = 200
SMALLEST_SAMPLE = 8


@dataclass(frozen=True)
class Errors:
    """Of one network: root mean square over the box, and the largest on the grid."""

    rms: float
    sup: float


@dataclass(frozen=True, eq=False)
class Problem:
    """`fit` with values, `check` for the L2 error, `dense` (n, dim) for the sup-norm; target None for samples."""

    name: str
    target: Target | None
    fit: Nodes
    fit_values: FloatArray
    check: Nodes
    check_values: FloatArray
    dense: FloatArray
    dense_values: FloatArray

    @property
    def dim(self) -> int:
        """Of the points."""
        return self.fit.points.shape[1]

    @property
    def looked_at(self) -> FloatArray:
        """All points at which `errors` wants values, (n, dim)."""
        return np.concatenate([self.check.points, self.dense])

    def errors(self, values: FloatArray) -> Errors:
        """The errors of a network with these values (n,) at `looked_at`."""
        number = len(self.check.points)
        difference = values - np.concatenate([self.check_values, self.dense_values])
        return Errors(self.check.rms(difference[:number]), float(np.abs(difference[number:]).max()))


def of_target(target: Target, num_points: int | None = None) -> Problem:
    """A function, fitted at num_points for each coordinate."""
    if target.dim not in NUM_POINTS:
        raise _checks.InputError(f"the box of [target] has {target.dim} dimensions; there can be {max(NUM_POINTS)}.")
    number = NUM_POINTS[target.dim] if num_points is None else num_points
    _checks.integer("expressivity.num_points", number, minimum=2)
    fit = trapezoid(target.lower, target.upper, number)
    check = gauss_legendre(target.lower, target.upper, min(LARGEST_ORDER, 2 * number) + 1)
    dense = grid(target.lower, target.upper, (4 if target.dim == 1 else 2) * (number - 1) + 1)
    values = (samples(target.f, points) for points in (fit.points, check.points, dense))
    fit_values, check_values, dense_values = values
    return Problem(target.name, target, fit, fit_values, check, check_values, dense, dense_values)


def of_samples(name: str, points: FloatArray, values: FloatArray, seed: int) -> Problem:
    """Samples, points (n, dim) and values (n,), in two halves drawn with the seed."""
    if len(points) < SMALLEST_SAMPLE:
        raise _checks.InputError(
            f"there are {len(points)} samples; {SMALLEST_SAMPLE} or more are needed, one half to fit and one to check."
        )
    order = np.random.default_rng(seed).permutation(len(points))
    one, other = order[: len(order) // 2], order[len(order) // 2 :]
    fit, check = (Nodes(points[half], np.full(len(half), 1 / len(half))) for half in (one, other))
    return Problem(name, None, fit, values[one], check, values[other], check.points, values[other])
