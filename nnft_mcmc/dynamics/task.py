r"""What is minimised: L(theta) = (1/|D|) sum_a (1/2)(phi_theta(x_a) - y_a)^2, eqs. (76), (94), for a network or for its
linearisation,

    phi_lin(x) = phi_{theta_0}(x) + (theta - theta_0)_i dphi(x)/dtheta_i |_{theta_0}.                    # eq. (84)

Gradients are taken in the coordinates omega = theta/s of the trained parameters, s = 1 or their standard deviations in
the prior (`parameters`); the other parameters stay where they were drawn.
"""

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nnft_mcmc.architectures import Architecture
from nnft_mcmc.architectures._base import Theta
from nnft_mcmc.dynamics.data import Data
from nnft_mcmc.dynamics.parameters import prior_variance, trained_blocks, weights_of_blocks

Omega = dict[str, Array]


class Model(eqx.Module):
    """A function of theta that starts as the network at theta_0."""

    architecture: Architecture

    @abstractmethod
    def __call__(self, start: Theta, theta: Theta, x: Float[Array, "points dim"]) -> Float[Array, " points"]:
        """Values at points, of parameters theta of a network that started at `start`."""


class Nonlinear(Model):
    """The network itself."""

    def __call__(self, start: Theta, theta: Theta, x: Float[Array, "points dim"]) -> Float[Array, " points"]:
        return self.architecture(theta, x)


class Linearised(Model):
    """phi_lin, eq. (84), by a directional derivative."""

    def __call__(self, start: Theta, theta: Theta, x: Float[Array, "points dim"]) -> Float[Array, " points"]:
        change = {name: theta[name] - start[name] for name in start}
        value, slope = jax.jvp(lambda at: self.architecture(at, x), (dict(start),), (change,))
        return value + slope


class Task(eqx.Module):
    """A model, its data, and the units s of the trained parameters by name, None for one."""

    model: Model
    inputs: Float[Array, "data dim"]
    targets: Float[Array, " data"]
    units: dict[str, Array | None]

    def start(self, key: Array) -> dict[str, Array]:
        """theta_0 ~ P(theta)."""
        return self.model.architecture.sample_parameters(key)

    def omega(self, theta: Theta) -> Omega:
        """The trained coordinates of theta."""
        return {
            name: theta[name] if unit is None else theta[name] / jnp.broadcast_to(unit, theta[name].shape)
            for name, unit in self.units.items()
        }

    def theta(self, start: Theta, omega: Omega) -> dict[str, Array]:
        """All parameters, those that are not trained from `start`."""
        moved = {
            name: omega[name] if unit is None else omega[name] * jnp.broadcast_to(unit, omega[name].shape)
            for name, unit in self.units.items()
        }
        return {**start, **moved}

    def values(self, start: Theta, omega: Omega, x: Float[Array, "points dim"]) -> Float[Array, " points"]:
        """phi at points."""
        return self.model(start, self.theta(start, omega), x)

    def loss(self, start: Theta, omega: Omega) -> Float[Array, ""]:
        """L on all data."""
        return self.loss_on(start, omega, self.inputs, self.targets)

    def loss_on(self, start: Theta, omega: Omega, inputs: Array, targets: Array) -> Float[Array, ""]:
        """L on some of the data."""
        return 0.5 * jnp.mean((self.values(start, omega, inputs) - targets) ** 2)


def task(model: Model, data: Data, trained: str = "all", coordinates: str = "parameters") -> Task:
    """The task of training `model` on `data`; `trained` and `coordinates` as in `parameters`."""
    architecture = model.architecture
    names = trained_blocks(architecture, trained)
    weights_of_blocks(architecture, (), coordinates)  # refuses an unknown name
    prior = architecture.prior()
    units: dict[str, Array | None] = dict.fromkeys(names)
    if coordinates == "standardised":
        units = {name: jnp.asarray(np.sqrt(prior_variance(prior[name]))) for name in names}
    return Task(model, jnp.asarray(data.inputs), jnp.asarray(data.targets), units)
