"""Training by steps: gradient descent, in batches or not, Adam (the updates are those of optax), energy conservation.

A compiled loop goes from one of the given numbers of steps to the next and records.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from nnft_mcmc.architectures._base import Theta
from nnft_mcmc.dynamics import energy_conserving
from nnft_mcmc.dynamics.optimizers import (
    Adam,
    EnergyConservingDescent,
    GradientDescent,
    Optimizer,
    StochasticGradientDescent,
)
from nnft_mcmc.dynamics.task import Omega, Task

# (key, start, state, number of the step) -> state;   (start, state) -> omega
Step = Callable[[Array, Theta, Any, Array], Any]


def descend(
    task: Task,
    optimizer: Optimizer,
    eta: Float[Array, ""],
    key: Array,
    start: Theta,
    times: Int[Array, " times"],
    record: Callable[[Theta, Omega], dict[str, Array]],
) -> dict[str, Array]:
    """What `record` says at each of `times`, (times, ...), for a network that starts at `start`."""
    begin, step, omega, more = _algorithm(task, optimizer, eta)

    def to_next(state: Any, ends: tuple[Array, Array]) -> tuple[Any, dict[str, Array]]:
        state = jax.lax.fori_loop(ends[0], ends[1], lambda number, s: step(key, start, s, number), state)
        return state, {**record(start, omega(state)), **more(start, state)}

    before = jnp.concatenate([jnp.zeros(1, times.dtype), times[:-1]])
    return jax.lax.scan(to_next, begin(start), (before, times))[1]


def _algorithm(task: Task, optimizer: Optimizer, eta: Array) -> tuple[Callable, Step, Callable, Callable]:
    """begin(start) -> state, step, omega(state), and what is recorded besides, of (start, state)."""
    if isinstance(optimizer, EnergyConservingDescent):
        return _energy_conserving(task, optimizer)
    return _of_optax(task, optimizer, eta)


def _of_optax(task: Task, optimizer: Optimizer, eta: Array) -> tuple[Callable, Step, Callable, Callable]:
    if isinstance(optimizer, Adam):
        updates = optax.adam(eta, b1=optimizer.beta1, b2=optimizer.beta2, eps=optimizer.epsilon)
    elif isinstance(optimizer, GradientDescent | StochasticGradientDescent):
        updates = optax.sgd(eta, momentum=optimizer.momentum or None)
    loss = _in_batches(task, optimizer.batch_size) if isinstance(optimizer, StochasticGradientDescent) else _whole(task)

    def begin(start: Theta) -> Any:
        omega = task.omega(start)
        return omega, updates.init(omega)

    def step(key: Array, start: Theta, state: Any, number: Array) -> Any:
        omega, memory = state
        gradient = jax.grad(lambda o: loss(key, start, o, number))(omega)
        change, memory = updates.update(gradient, memory, omega)
        return optax.apply_updates(omega, change), memory

    return begin, step, lambda state: state[0], lambda start, state: {}


def _whole(task: Task) -> Callable[[Array, Theta, Omega, Array], Array]:
    return lambda key, start, omega, number: task.loss(start, omega)


def _in_batches(task: Task, size: int) -> Callable[[Array, Theta, Omega, Array], Array]:
    """The loss on batch number n mod (batches in a pass) of the pass in hand."""
    num_data = len(task.targets)
    per_pass = num_data // size

    def loss(key: Array, start: Theta, omega: Omega, number: Array) -> Array:
        order = jax.random.permutation(jax.random.fold_in(key, number // per_pass), num_data)
        chosen = jax.lax.dynamic_slice_in_dim(order, (number % per_pass) * size, size)
        return task.loss_on(start, omega, task.inputs[chosen], task.targets[chosen])

    return loss


def _energy_conserving(task: Task, settings: EnergyConservingDescent) -> tuple[Callable, Step, Callable, Callable]:
    shape = jax.eval_shape(lambda key: task.omega(task.start(key)), jax.random.key(0))
    unravel = ravel_pytree(jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shape))[1]

    def of(start: Theta) -> energy_conserving.ValueAndGrad:
        return jax.value_and_grad(lambda q: task.loss(start, unravel(q)))

    def begin(start: Theta) -> energy_conserving.State:
        return energy_conserving.begin(settings, of(start), ravel_pytree(task.omega(start))[0])

    def step(key: Array, start: Theta, state: energy_conserving.State, number: Array) -> energy_conserving.State:
        return energy_conserving.step(settings, of(start), jax.random.fold_in(key, number), state)

    def more(start: Theta, state: energy_conserving.State) -> dict[str, Array]:
        loss = task.loss(start, unravel(state.position))
        momentum = energy_conserving.rescaled(settings, state, loss)
        return {"energy": energy_conserving.energy(settings, loss, momentum)}

    return begin, step, lambda state: unravel(state.position), more
