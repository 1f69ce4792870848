r"""Energy-conserving descent: frictionless motion whose energy is small phase space at large loss.

G. B. De Luca and E. Silverstein, arXiv:2201.11137, and the separable Hamiltonian ("ECDSep") of G. B. De Luca, A. Gatti
and E. Silverstein, arXiv:2306.00352. With the loss F, its offset F0 < F and the concentration eta >= 1,

    E(q, p) = eta log(F(q) - F0) + log(1 + |p|^2),
    dp/dt = -eta grad F/(F - F0),    dq/dt = 2 p/(1 + |p|^2).

Nothing is dissipated: as the loss falls |p| grows and the motion slows down, so that most of the time is spent at low
loss. One step of length dt, a symplectic Euler step between the published corrections:

    |p|^2 <- e^E/(F - F0)^eta - 1        the length of p that the conserved energy asks for (where it is not negative)
    p <- p - dt eta grad F/(F - F0),     q <- q + dt 2 p/(1 + |p|^2)
    p <- |p| (p/|p| + nu z)/|..|         a small random turn, z normal: the motion is chaotic, the energy unchanged.

It starts with p along -grad F and |p|^2 = `initial_kinetic`, and stops where F <= F0.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nnft_mcmc.dynamics.optimizers import EnergyConservingDescent

# q -> F(q), grad F(q)
ValueAndGrad = Callable[[Array], tuple[Array, Array]]


class State(NamedTuple):
    """q (n,), p (n,) and the conserved energy."""

    position: Float[Array, " n"]
    momentum: Float[Array, " n"]
    energy: Float[Array, ""]


def begin(settings: EnergyConservingDescent, of: ValueAndGrad, position: Float[Array, " n"]) -> State:
    """At rest, or moving downhill."""
    loss, gradient = of(position)
    momentum = -gradient * (jnp.sqrt(settings.initial_kinetic) / _length(gradient))
    return State(position, momentum, energy(settings, loss, momentum))


def energy(settings: EnergyConservingDescent, loss: Float[Array, ""], momentum: Float[Array, " n"]) -> Float[Array, ""]:
    """E(q, p)."""
    above = jnp.maximum(loss - settings.loss_offset, jnp.finfo(loss.dtype).tiny)
    return settings.concentration * jnp.log(above) + jnp.log1p(jnp.sum(momentum**2))


def rescaled(settings: EnergyConservingDescent, state: State, loss: Float[Array, ""]) -> Float[Array, " n"]:
    """p of the length that the energy asks for; as it is where that is imaginary, or p zero."""
    above = jnp.maximum(loss - settings.loss_offset, jnp.finfo(loss.dtype).tiny)
    wanted = jnp.expm1(state.energy - settings.concentration * jnp.log(above))
    squared = jnp.sum(state.momentum**2)
    possible = (wanted >= 0) & (squared > 0)
    return state.momentum * jnp.where(possible, jnp.sqrt(wanted / jnp.where(possible, squared, 1.0)), 1.0)


def leap(
    settings: EnergyConservingDescent, position: Array, momentum: Array, loss: Array, gradient: Array
) -> tuple[Array, Array]:
    """One symplectic Euler step: q, p."""
    dt = settings.learning_rate
    momentum = momentum - dt * settings.concentration / (loss - settings.loss_offset) * gradient
    return position + dt * 2 / (1 + jnp.sum(momentum**2)) * momentum, momentum


def step(settings: EnergyConservingDescent, of: ValueAndGrad, key: Array, state: State) -> State:
    """One step; the state stays where F <= F0."""
    loss, gradient = of(state.position)
    position, momentum = leap(settings, state.position, rescaled(settings, state, loss), loss, gradient)
    turned = _turned(settings, key, momentum)
    goes_on = loss > settings.loss_offset
    return State(jnp.where(goes_on, position, state.position), jnp.where(goes_on, turned, state.momentum), state.energy)


def _turned(settings: EnergyConservingDescent, key: Array, momentum: Array) -> Array:
    length = _length(momentum)
    direction = momentum / length + settings.bounces * jax.random.normal(key, momentum.shape, momentum.dtype)
    return direction * (length / _length(direction))


def _length(vector: Array) -> Array:
    """|v|, and 1 for a vector of zeros, which it is used to divide by."""
    squared = jnp.sum(vector**2)
    return jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1.0)), 1.0)
