"""What a network is trained on, lectures eq. (75): D = {(x_a, y_a)}, and the points at which it is then looked at.

The loss is (1/|D|) sum_a (1/2)(phi(x_a) - y_a)^2, eqs. (76) and (94).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnft_mcmc import _checks

FloatArray = NDArray[np.float64]

# Targets f(x) of the projection u = k (x_1 + .. + x_d)/sqrt(d), k the wavenumber.
FUNCTIONS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "sin": np.sin,
    "cos": np.cos,
    "gaussian": lambda u: np.exp(-(u**2) / 2),
    "linear": lambda u: u,
    "step": lambda u: np.where(u < 0.0, -1.0, 1.0),
}


@dataclass(frozen=True, eq=False)
class Data:
    """inputs (|D|, dim), targets (|D|,), and test_inputs (P, dim), or None where none are needed."""

    inputs: FloatArray
    targets: FloatArray
    test_inputs: FloatArray | None = None

    def __post_init__(self) -> None:
        inputs, targets = as_points("inputs", self.inputs), np.asarray(self.targets, dtype=np.float64)
        if len(inputs) == 0 or targets.shape != (len(inputs),) or not np.isfinite(targets).all():
            raise _checks.InputError(
                f"targets have shape {targets.shape} for {len(inputs)} inputs; give one finite number for each input,"
                " and one input at least."
            )
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "targets", targets)
        if self.test_inputs is not None:
            test = as_points("test_inputs", self.test_inputs)
            if len(test) == 0 or test.shape[1] != inputs.shape[1]:
                raise _checks.InputError(
                    f"test_inputs have shape {test.shape}; they must be points of {inputs.shape[1]} coordinates, as"
                    " the inputs are."
                )
            object.__setattr__(self, "test_inputs", test)

    @property
    def dim(self) -> int:
        """Coordinates of a point."""
        return self.inputs.shape[1]

    def __len__(self) -> int:
        return len(self.targets)


def as_points(name: str, values: ArrayLike) -> FloatArray:
    """Points (n, dim) from nested lists; a list of numbers is a list of points of one coordinate."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.zeros(0)[None, None]
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or not np.isfinite(array).all():
        raise _checks.InputError(f"{name} must be a list of points, [[x, y], ..] or in one dimension [x, ..], finite.")
    return array


def targets_of(function: str, wavenumber: float, inputs: FloatArray) -> FloatArray:
    """f(u) at the inputs, for a name of FUNCTIONS."""
    f = FUNCTIONS[_checks.one_of("data.function", function, FUNCTIONS)]
    return f(_checks.real("data.wavenumber", wavenumber) * inputs.sum(axis=1) / math.sqrt(inputs.shape[1]))
