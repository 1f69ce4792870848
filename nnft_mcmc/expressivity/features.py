"""Draws of a network, and trained ones: the networks whose output weights are then fitted by `least_squares`.

A network that is linear in all its parameters has no features of its own: there is one best, whatever the draw.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from nnft_mcmc.architectures import KAN, Architecture
from nnft_mcmc.architectures._base import Theta
from nnft_mcmc.dynamics.data import Data
from nnft_mcmc.dynamics.optimizers import Adam
from nnft_mcmc.dynamics.parameters import trained_blocks
from nnft_mcmc.dynamics.task import Nonlinear
from nnft_mcmc.dynamics.training import Training, train
from nnft_mcmc.expressivity import kan_fitting
from nnft_mcmc.expressivity.problem import Problem

COARSEST_GRID = 3


class Features(NamedTuple):
    """A network with parameters; the grids of a trained Kolmogorov-Arnold network are its own."""

    network: Architecture
    theta: Theta


# (network, problem, key, number of draws) -> features
Method = Callable[[Architecture, Problem, Array, int], list[Features]]


def is_linear(network: Architecture) -> bool:
    """Whether phi is linear in all parameters."""
    return set(trained_blocks(network, "readout")) == set(network.prior())


def num_output_weights(network: Architecture) -> int:
    """The number of parameters in which phi is linear."""
    prior = network.prior()
    shapes = [prior[name].batch_shape + prior[name].event_shape for name in trained_blocks(network, "readout")]
    return sum(int(np.prod(shape)) for shape in shapes)


def drawn(network: Architecture, problem: Problem, key: Array, num_draws: int) -> list[Features]:
    """From the prior."""
    return [Features(network, network.sample_parameters(k)) for k in jax.random.split(key, num_draws)]


def trained(steps: int, learning_rate: float) -> Method:
    """After `steps` steps from a draw: of L-BFGS in all, for `KAN`, of Adam for others; full batch.

    The best output weights of a linear network are its best parameters, so that it needs no steps.
    """

    def method(network: Architecture, problem: Problem, key: Array, num_draws: int) -> list[Features]:
        if is_linear(network):
            return drawn(network, problem, key, num_draws)
        if isinstance(network, KAN):
            return [_fitted(network, problem, k, steps) for k in jax.random.split(key, num_draws)]
        return _by_adam(network, problem, key, num_draws, steps, learning_rate)

    return method


def ladder(grid: int) -> tuple[int, ...]:
    """The grids of a fit: doubled until `grid`; the coarsest twice, as knots follow the nodes from the second on."""
    grids = [grid]
    while grids[0] // 2 >= COARSEST_GRID:
        grids.insert(0, grids[0] // 2)
    return (grids[0], *grids)


def _fitted(network: KAN, problem: Problem, key: Array, steps: int) -> Features:
    grids = ladder(network.grid)
    found = kan_fitting.fit(
        network,
        problem.fit.points,
        problem.fit_values,
        key,
        grids=grids,
        steps=max(1, steps // len(grids)),
        starts=1,
    )
    return Features(found.network, found.theta)


def _by_adam(
    network: Architecture, problem: Problem, key: Array, num_draws: int, steps: int, learning_rate: float
) -> list[Features]:
    data = Data(problem.fit.points, problem.fit_values)
    plan = Training(
        Nonlinear(network),
        data,
        Adam(learning_rate),
        np.array([steps]),
        problem.fit.points[:1],
        num_draws,
        keep_parameters=True,
    )
    found = train(plan, key).parameters
    return [
        Features(network, {name: jnp.asarray(values[i, -1]) for name, values in found.items()})
        for i in range(num_draws)
    ]
