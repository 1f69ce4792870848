"""Ways to train, as settings; `training` carries them out. Time is t for a flow and the number of steps for a descent.

The learning rate of gradient flow and gradient descent, with or without momentum and batches, is eta_0 in

    eta = eta_0 gamma0^2 N^{2d - c}                                             # eq. (106)

for networks with width exponents (`architectures.layers`), and eta itself for any other. Adam's is the size of a step
of each parameter and the energy-conserving descent's a time step: both are taken as they are.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from nnft_mcmc import _checks

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class GradientFlow:
    """dtheta/dt = -eta grad L, eq. (77), integrated by an adaptive Runge-Kutta method of order 5 (Tsitouras).

    rtol, atol: tolerances of one step, relative and absolute, for every parameter; the root mean square counts.
    """

    name: ClassVar[str] = "gradient_flow"
    discrete: ClassVar[bool] = False
    learning_rate: float
    rtol: float = 1e-6
    atol: float = 1e-8

    def __post_init__(self) -> None:
        _checks.positive("training.learning_rate", self.learning_rate)
        _checks.positive("training.rtol", self.rtol)
        _checks.positive("training.atol", self.atol)


@dataclass(frozen=True)
class GradientDescent:
    """v <- momentum v + grad L, theta <- theta - eta v: one step is a unit of time."""

    name: ClassVar[str] = "gradient_descent"
    discrete: ClassVar[bool] = True
    learning_rate: float
    momentum: float = 0.0

    def __post_init__(self) -> None:
        _checks.positive("training.learning_rate", self.learning_rate)
        _check_momentum(self.momentum)


@dataclass(frozen=True)
class StochasticGradientDescent:
    """Gradient descent on batches, drawn without replacement anew in each pass through the data, for each network.

    Where the batches do not divide the data, the last points of a pass are left out.
    """

    name: ClassVar[str] = "stochastic_gradient_descent"
    discrete: ClassVar[bool] = True
    learning_rate: float
    batch_size: int
    momentum: float = 0.0

    def __post_init__(self) -> None:
        _checks.positive("training.learning_rate", self.learning_rate)
        _checks.integer("training.batch_size", self.batch_size, minimum=1)
        _check_momentum(self.momentum)


@dataclass(frozen=True)
class Adam:
    """D. P. Kingma and J. Ba, arXiv:1412.6980."""

    name: ClassVar[str] = "adam"
    discrete: ClassVar[bool] = True
    learning_rate: float
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        _checks.positive("training.learning_rate", self.learning_rate)
        _checks.fraction("training.beta1", self.beta1)
        _checks.fraction("training.beta2", self.beta2)
        _checks.positive("training.epsilon", self.epsilon)


@dataclass(frozen=True)
class EnergyConservingDescent:
    """Frictionless motion in the loss landscape; see `energy_conserving`.

    learning_rate: the time step; concentration: eta >= 1; loss_offset: F0, below the smallest loss; initial_kinetic:
    |p|^2 at the start; bounces: nu, the size of the random turns of the momentum at each step.
    """

    name: ClassVar[str] = "energy_conserving_descent"
    discrete: ClassVar[bool] = True
    learning_rate: float
    concentration: float = 1.0
    loss_offset: float = 0.0
    initial_kinetic: float = 0.0
    bounces: float = 1e-5

    def __post_init__(self) -> None:
        _checks.positive("training.learning_rate", self.learning_rate)
        if _checks.real("training.concentration", self.concentration) < 1.0:
            raise _checks.InputError(f"training.concentration is {self.concentration!r}; it must be at least 1.")
        _checks.real("training.loss_offset", self.loss_offset)
        _checks.non_negative("training.initial_kinetic", self.initial_kinetic)
        _checks.non_negative("training.bounces", self.bounces)


Optimizer = GradientFlow | GradientDescent | StochasticGradientDescent | Adam | EnergyConservingDescent
REGISTRY: dict[str, type] = {
    cls.name: cls for cls in (GradientFlow, GradientDescent, StochasticGradientDescent, Adam, EnergyConservingDescent)
}


def _check_momentum(momentum: float) -> None:
    if not 0.0 <= _checks.real("training.momentum", momentum) < 1.0:
        raise _checks.InputError(f"training.momentum is {momentum!r}; it must be at least 0 and below 1.")


def checked_times(times: object, discrete: bool) -> FloatArray:
    """Increasing times (T,) of at least 0, finite; whole numbers of steps for a descent."""
    values = np.asarray(times if isinstance(times, (list, tuple, np.ndarray)) else [times], dtype=object)
    numbers = np.array([_checks.non_negative("an entry of training.times", t) for t in values.ravel().tolist()])
    if numbers.size == 0 or (np.diff(numbers) <= 0).any():
        raise _checks.InputError(f"training.times are {times!r}; they must increase, and there must be one at least.")
    if discrete and (numbers % 1 != 0).any():
        raise _checks.InputError(
            f"training.times are {times!r}; this optimiser goes in steps, so give whole numbers of them."
        )
    return numbers
