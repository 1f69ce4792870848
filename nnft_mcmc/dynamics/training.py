r"""Ensembles of networks as they train: theta(t) ~ P(theta(t)), lectures eqs. (17)-(19), for every architecture.

Each network starts at a draw theta_0 ~ P(theta) and is trained by itself on the same data; what is kept is phi_t at
given points and the loss, at given times. Network number i has the key fold_in(key, i), so that its trajectory does not
depend on how the ensemble is cut into chunks or laid on devices, up to rounding. A chunk holds as many networks as
MEMORY allows; with several devices each trains its share of every chunk by itself, as many networks at once as stay in
a core's cache or keep an accelerator busy (`field_evaluation.bytes_at_once`).
"""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, ArrayLike
from numpy.typing import NDArray

from nnft_mcmc import _checks
from nnft_mcmc.architectures import Architecture
from nnft_mcmc.architectures._base import Theta
from nnft_mcmc.dynamics.data import Data, as_points
from nnft_mcmc.dynamics.learning_rate import learning_rate
from nnft_mcmc.dynamics.optimizers import GradientFlow, Optimizer, StochasticGradientDescent, checked_times
from nnft_mcmc.dynamics.task import Model, Omega, Task, task
from nnft_mcmc.field_evaluation import bytes_at_once, bytes_of

FloatArray = NDArray[np.float64]

# Bytes of the intermediate results of one chunk's gradients, counted as in `field_evaluation.bytes_of`.
MEMORY = 2**28
NETWORKS = "networks"


class Diverged(_checks.InputError):
    """Training left the range of floating-point numbers."""


@dataclass(frozen=True, eq=False)
class Trajectories:
    """times (T,), fields (networks, T, P) at points (P, dim), losses (networks, T).

    parameters: (networks, T, ...) by name, empty unless asked for. more: what else the optimiser says, (networks, ...).
    """

    times: FloatArray
    points: FloatArray
    fields: FloatArray
    losses: FloatArray
    parameters: dict[str, np.ndarray]
    more: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.fields)


class Training:
    """How an ensemble is trained: everything but the key.

    points (P, dim): where phi_t is looked at; times: increasing, (T,). chunk: networks at once, by default what MEMORY
    allows. Raises `InputError` for settings that cannot be.
    """

    def __init__(
        self,
        model: Model,
        data: Data,
        optimizer: Optimizer,
        times: ArrayLike,
        points: ArrayLike,
        num_networks: int,
        *,
        trained: str = "all",
        coordinates: str = "parameters",
        keep_parameters: bool = False,
        chunk: int | None = None,
        num_devices: int = 1,
    ) -> None:
        if not isinstance(model.architecture, Architecture):
            raise _checks.InputError(
                f"{type(model.architecture).__name__} is no network with one output; train one of its components."
            )
        self.task = task(model, data, trained, coordinates)
        self.optimizer, self.keep_parameters = optimizer, keep_parameters
        self.num_networks = _checks.integer("training.num_networks", num_networks, 1)
        self.times, self.points = checked_times(times, optimizer.discrete), as_points("points", points)
        if self.points.shape[1] != model.architecture.dim or data.dim != model.architecture.dim:
            raise _checks.InputError(
                f"the points have {self.points.shape[1]} coordinates, the inputs {data.dim} and the architecture has"
                f" dim = {model.architecture.dim}; all must be equal."
            )
        if isinstance(optimizer, StochasticGradientDescent) and optimizer.batch_size > len(data):
            raise _checks.InputError(
                f"training.batch_size is {optimizer.batch_size} and there are {len(data)} inputs; give at most that."
            )
        self.eta = learning_rate(model.architecture, optimizer)
        self._mesh = _mesh(num_devices)
        self._carry_out = _module("gradient_flow" if isinstance(optimizer, GradientFlow) else "descent")
        each = self.bytes_per_network
        chunk = max(1, MEMORY // each) if chunk is None else _checks.integer("chunk", chunk, 1)
        share = -(-min(chunk, num_networks) // num_devices)
        rounds = -(-share // max(1, bytes_at_once() // each))
        self.together = -(-share // rounds)
        self.chunk = rounds * self.together * num_devices

    @property
    def bytes_per_network(self) -> int:
        """An upper bound of what one network's gradient takes."""
        omega = jax.eval_shape(self.task.start, jax.random.key(0))
        zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), omega)
        return bytes_of(jax.grad(lambda o: self.task.loss(zeros, o)), self.task.omega(zeros))

    def pieces(self) -> Iterator[tuple[int, int]]:
        """First network and number of networks of each chunk."""
        for first in range(0, self.num_networks, self.chunk):
            yield first, min(self.chunk, self.num_networks - first)

    def train(self, key: Array, first: int, count: int) -> Trajectories:
        """Networks number first .. first + count - 1 of the ensemble of `key`; at most a chunk."""
        numbers = jnp.arange(first, first + self.chunk)
        keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, numbers)
        keys = jax.device_put(keys, NamedSharding(self._mesh, PartitionSpec(NETWORKS)))
        keys, starts = _started(self.task, keys, self._mesh)
        times = jnp.asarray(self.times, dtype=int) if self.optimizer.discrete else jnp.asarray(self.times)
        found = _trained(
            self.task,
            self.optimizer,
            jnp.asarray(self.eta, self.task.targets.dtype),
            keys,
            starts,
            times,
            jnp.asarray(self.points),
            self.keep_parameters,
            self.together,
            self._mesh,
            self._carry_out,
        )
        arrays = {name: np.asarray(values)[:count] for name, values in found.items()}
        result = self._result(arrays)
        _check_finite(result, first, self.eta)
        return result

    def _result(self, arrays: dict[str, np.ndarray]) -> Trajectories:
        kept = {name: arrays.pop(f"theta/{name}") for name in [n[6:] for n in arrays if n.startswith("theta/")]}
        fields, losses = arrays.pop("field"), arrays.pop("loss")
        return Trajectories(self.times, self.points, fields, losses, kept, arrays)


def train(training: Training, key: Array, progress: Callable[[int], object] | None = None) -> Trajectories:
    """The whole ensemble; `progress` is told of every chunk how many networks it had."""
    parts = []
    for first, count in training.pieces():
        parts.append(training.train(key, first, count))
        if progress is not None:
            progress(count)
    return joined(parts)


def joined(parts: list[Trajectories]) -> Trajectories:
    """The networks of several chunks together."""

    def together(of: Callable[[Trajectories], Any]) -> Any:
        return jax.tree.map(lambda *arrays: np.concatenate(arrays), *[of(part) for part in parts])

    return Trajectories(
        parts[0].times,
        parts[0].points,
        together(lambda part: part.fields),
        together(lambda part: part.losses),
        together(lambda part: part.parameters),
        together(lambda part: part.more),
    )


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(f"nnft_mcmc.dynamics.{name}")
    except ModuleNotFoundError as error:
        raise _checks.InputError(
            f'training needs the package {error.name}, which is not installed; pip install "nnft_mcmc[dynamics]".'
        ) from None


def _mesh(num_devices: int) -> Mesh:
    here = jax.devices()
    _checks.integer("--devices", num_devices, minimum=1)
    if num_devices > len(here):
        raise _checks.InputError(
            f"--devices is {num_devices} and there are {len(here)} ({here[0].platform}); give at most that."
        )
    return Mesh(np.array(here[:num_devices]), (NETWORKS,))


@eqx.filter_jit
def _started(task: Task, keys: Array, mesh: Mesh) -> tuple[Array, dict[str, Array]]:
    """Keys of the training, and theta_0, of networks with these keys. Compiled once for all ways of training."""

    def of_some(keys: Array) -> tuple[Array, dict[str, Array]]:
        both = jax.vmap(jax.random.split)(keys)
        return both[:, 1], jax.vmap(task.start)(both[:, 0])

    networks = PartitionSpec(NETWORKS)
    return jax.shard_map(of_some, mesh=mesh, in_specs=networks, out_specs=networks, check_vma=False)(keys)


@eqx.filter_jit
def _trained(
    task: Task,
    optimizer: Optimizer,
    eta: Array,
    keys: Array,
    starts: Theta,
    times: Array,
    points: Array,
    keep_parameters: bool,
    together: int,
    mesh: Mesh,
    carry_out: ModuleType,
) -> dict[str, Array]:
    """What was recorded, (networks, times, ...); each device trains its own networks."""

    def record(start: Theta, omega: Omega) -> dict[str, Array]:
        theta = task.theta(start, omega) if keep_parameters else {}
        return {
            "field": task.values(start, omega, points),
            "loss": task.loss(start, omega),
            **{f"theta/{name}": values for name, values in theta.items()},
        }

    def of_some(keys: Array, starts: Theta) -> dict[str, Array]:
        """`together` networks at once, one such group after the other."""
        if together == 1:  # without the batch of one that the compiler would carry along
            return jax.lax.map(of_one, (keys, starts))
        return jax.lax.map(of_one, (keys, starts), batch_size=together)

    def of_one(network: tuple[Array, Theta]) -> dict[str, Array]:
        key, start = network
        if isinstance(optimizer, GradientFlow):
            return carry_out.flow(task, optimizer, eta, start, times, record)
        return carry_out.descend(task, optimizer, eta, key, start, times, record)

    networks = PartitionSpec(NETWORKS)
    return jax.shard_map(of_some, mesh=mesh, in_specs=networks, out_specs=networks, check_vma=False)(keys, starts)


def _check_finite(found: Trajectories, first: int, eta: float) -> None:
    bad = ~(np.isfinite(found.losses) & np.isfinite(found.fields).all(axis=2))
    if not bad.any():
        return
    network = int(np.flatnonzero(bad.any(axis=1))[0])
    time = int(np.flatnonzero(bad[network])[0])
    if found.times[time] == 0:
        raise _checks.InputError(
            f"network number {first + network} is not finite at the start; give inputs and test points at which the"
            " field exists, such as sites of its lattice."
        )
    before = f"; its loss was {found.losses[network, time - 1]:.3g} at {found.times[time - 1]:g}" if time else ""
    raise Diverged(
        f"training diverged: {int(bad.any(axis=1).sum())} of {len(found)} networks are not finite, number"
        f" {first + network} from t = {found.times[time]:g} on{before}; the learning rate was {eta:.4g}, lower"
        " training.learning_rate."
    )
