r"""The lazy regime, lectures eqs. (83)-(85): how far a trained network is from its linearisation, against the width.

Of each network, trained until t,

    parameters    |theta_t - theta_0| / |theta_0|                     2-norms over all parameters
    kernel        |Theta_t - Theta_0| / |Theta_0|                     Frobenius norms, on the training inputs
    distance      rms over points of phi_t(x) - phi_lin,t(x)          phi_lin trained by its own kernel Theta_0, exactly

|theta_t - theta_0| itself stays of order one in the NTK parametrisation, so that the relative change falls as
|theta_0|^-1: N^{-1/2} for one hidden layer, N^{-1} where there are N^2 weights. The distance to the linearised model
falls as N^{-1/2} or faster (J. Lee et al., arXiv:1902.06720).
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike
from numpy.typing import NDArray

from nnft_mcmc.architectures import Architecture
from nnft_mcmc.architectures._base import Theta
from nnft_mcmc.dynamics.data import Data, as_points
from nnft_mcmc.dynamics.empirical_kernel import tangent_kernel
from nnft_mcmc.dynamics.learning_rate import learning_rate
from nnft_mcmc.dynamics.response import Solvable
from nnft_mcmc.dynamics.solved_model import SolvedModel
from nnft_mcmc.dynamics.task import Nonlinear
from nnft_mcmc.dynamics.training import Training
from nnft_mcmc.statistics.exponents import Exponent, fit_exponent

FloatArray = NDArray[np.float64]

MEASURES = ("parameters", "kernel", "distance")


def laziness(
    architecture: Architecture,
    data: Data,
    optimizer: Solvable,
    time: float,
    points: ArrayLike,
    num_networks: int,
    key: Array,
) -> dict[str, FloatArray]:
    """The three measures, each (networks,), of independent networks trained until `time`."""
    at = as_points("points", points)
    times = np.array([0.0, time] if time > 0 else [0.0])
    training = Training(Nonlinear(architecture), data, optimizer, times, at, num_networks, keep_parameters=True)
    rows: list[tuple[float, float, float]] = []
    for first, count in training.pieces():
        found = training.train(key, first, count)
        for network in range(count):
            start, end = ({n: v[network, k] for n, v in found.parameters.items()} for k in (0, -1))
            rows.append(_of_network(architecture, data, optimizer, time, at, start, end, found.fields[network]))
    return dict(zip(MEASURES, np.array(rows).T, strict=True))


def lazy_exponents(
    at_width: Callable[[int], Architecture],
    widths: Sequence[int],
    data: Data,
    optimizer: Solvable,
    time: float,
    points: ArrayLike,
    num_networks: int,
    key: Array,
) -> dict[str, Exponent]:
    """Exponents s of the measures, ~ N^s, with errors: fitted to the means of their logarithms over networks."""
    found = [
        laziness(at_width(width), data, optimizer, time, points, num_networks, jax.random.fold_in(key, width))
        for width in widths
    ]
    return {name: fit_exponent(widths, *_log_means([sizes[name] for sizes in found])) for name in MEASURES}


def _log_means(values: Sequence[FloatArray]) -> tuple[FloatArray, FloatArray]:
    logs = np.log2(np.array(values))
    return logs.mean(axis=1), logs.std(axis=1, ddof=1) / np.sqrt(logs.shape[1])


def _of_network(
    architecture: Architecture,
    data: Data,
    optimizer: Solvable,
    time: float,
    points: FloatArray,
    start: Theta,
    end: Theta,
    fields: FloatArray,
) -> tuple[float, float, float]:
    before = np.asarray(tangent_kernel(architecture, start, np.concatenate([data.inputs, points]), data.inputs))
    after = np.asarray(tangent_kernel(architecture, end, data.inputs))
    on_data, cross = before[: len(data)], before[len(data) :]
    solved = SolvedModel(data.targets, on_data, optimizer, learning_rate(architecture, optimizer))
    at_data = np.asarray(architecture(start, jnp.asarray(data.inputs)))
    linear = solved.trajectories(cross, at_data, fields[0], [time])[0]
    change, size = (
        np.sqrt(sum(float(np.sum(np.square(array))) for array in arrays))
        for arrays in ([end[name] - start[name] for name in start], list(start.values()))
    )
    kernel_change = np.linalg.norm(after - on_data) / np.linalg.norm(on_data)
    return float(change / size), float(kernel_change), float(np.sqrt(np.mean((fields[-1] - linear) ** 2)))
