"""Training by gradient flow, dtheta/dt = -eta grad L, with the adaptive Runge-Kutta method of diffrax.

Every network has step sizes of its own. The number of steps, `steps`, is recorded with the rest. Where the gradient
jumps, as that of a ReLU network does, steps become small: 100 times as many may be needed.
"""

from collections.abc import Callable
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nnft_mcmc.architectures._base import Theta
from nnft_mcmc.dynamics.optimizers import GradientFlow
from nnft_mcmc.dynamics.task import Omega, Task

MOST_STEPS = 1_000_000


def flow(
    task: Task,
    optimizer: GradientFlow,
    eta: Float[Array, ""],
    start: Theta,
    times: Float[Array, " times"],
    record: Callable[[Theta, Omega], dict[str, Array]],
) -> dict[str, Array]:
    """What `record` says at each of `times`, (times, ...); NaN from where the steps had become too small."""
    controller = diffrax.PIDController(rtol=optimizer.rtol, atol=optimizer.atol)

    def velocity(t: Any, omega: Any, start: Any) -> Any:
        gradient = jax.grad(lambda o: task.loss(start, o))(omega)
        return jax.tree.map(lambda g: -eta * g, gradient)

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(velocity),
        diffrax.Tsit5(),
        t0=0.0,
        t1=times[-1],
        dt0=None,
        y0=task.omega(start),
        args=start,
        saveat=diffrax.SaveAt(ts=times, fn=lambda t, omega, start: record(start, omega)),
        stepsize_controller=controller,
        max_steps=MOST_STEPS,
        adjoint=diffrax.ForwardMode(),
        throw=False,
    )
    done = solution.result == diffrax.RESULTS.successful
    kept = {name: jnp.where(jnp.isfinite(values), values, jnp.nan) for name, values in solution.ys.items()}
    return {**kept, "steps": jnp.where(done, solution.stats["num_steps"], -1)}
