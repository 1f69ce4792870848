r"""Width sweeps: how the quantities of lectures eqs. (107)-(120) go with N, and which desideratum that breaks.

At every width independent networks are drawn and take `steps` steps of gradient descent on the loss (1/|D|) sum_a
(1/2)(phi(x_a) - y_a)^2 with the learning rate of eq. (106). Of each network, at the training points,

    z(l), phi_0        preactivations and output before training
    dz(l)/dt, dphi/dt  their rates at the first instant of gradient flow, exact derivatives
    change of z(l)     z(l) after the steps less z(l) before
    Phi(l), G(l)       feature and gradient kernels before training; eta Theta(l) the parts of the tangent kernel
    change of ..       of these kernels and of Theta, in units of the kernel itself
    loss               after the steps

preactivations, outputs and their rates as root mean squares over points and neurons, kernels as their mean over equal
points x = y, their changes as the ratio of root mean squares over all pairs of points. Averaged over networks is log2
of these numbers: the mean has the standard error of independent numbers and the exponent of the numbers themselves.
Means at different widths are independent, and `statistics.exponents` fits s log2 N to them.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray

from nnft_mcmc import _checks
from nnft_mcmc.architectures import MLP
from nnft_mcmc.architectures._base import Theta
from nnft_mcmc.dynamics.data import Data
from nnft_mcmc.dynamics.features import Kernels, kernels, rates, trace
from nnft_mcmc.dynamics.learning_rate import learning_rate
from nnft_mcmc.dynamics.optimizers import GradientDescent
from nnft_mcmc.statistics.exponents import MINIMUM_POINTS

FloatArray = NDArray[np.float64]

MINIMUM_NETWORKS = 8
MOST_NETWORKS = 8  # times as many at small widths
UNSTABLE = "eta lambda_max/|D|"  # of the tangent kernel: gradient descent on a frozen kernel is stable below 2
NUMBERS_AT_ONCE = 2**22  # parameters that are held at once, of all networks that are treated together


@dataclass(frozen=True)
class ScalingSettings:
    """[scaling]: widths, independent networks, steps of gradient descent and eta_0 of eq. (106).

    num_networks: at the largest width; narrower networks are cheaper, and there are more of them in proportion, up to
    8 times as many. false_alarm: the probability that any slope is declared at odds with the theory by chance.
    learning_rates: the increasing grid of eta_0 between whose ends the best one is sought, by the loss after
    transfer_steps, with networks of the widths transfer_widths; empty, none is sought.
    """

    widths: tuple[int, ...] = (128, 256, 512, 1024, 2048)
    num_networks: int = 24
    steps: int = 5
    learning_rate: float = 0.5
    false_alarm: float = 1e-3
    learning_rates: tuple[float, ...] = ()
    transfer_steps: int = 5
    transfer_widths: tuple[int, ...] = (64, 128, 256, 512)

    def __post_init__(self) -> None:
        for name in ("widths", "transfer_widths", "learning_rates"):
            value = getattr(self, name)
            if not isinstance(value, (list, tuple)):
                raise _checks.InputError(f"scaling.{name} is {value!r}; it must be an increasing list.")
            for entry in value:
                if name == "learning_rates":
                    _checks.positive(f"an entry of scaling.{name}", entry)
                else:
                    _checks.integer(f"an entry of scaling.{name}", entry, minimum=2)
            if list(value) != sorted(set(value)):
                raise _checks.InputError(f"scaling.{name} is {value!r}; it must be an increasing list.")
            object.__setattr__(self, name, tuple(value))
        for name in ("widths", "transfer_widths"):
            if len(getattr(self, name)) < MINIMUM_POINTS:
                raise _checks.InputError(
                    f"scaling.{name} has {len(getattr(self, name))} widths; give {MINIMUM_POINTS} or more, so that a"
                    " fit is tested."
                )
        _checks.integer("scaling.num_networks", self.num_networks, minimum=MINIMUM_NETWORKS)
        _checks.integer("scaling.steps", self.steps, minimum=1)
        _checks.positive("scaling.learning_rate", self.learning_rate)
        _checks.fraction("scaling.false_alarm", self.false_alarm)
        if 0 < len(self.learning_rates) < 3:
            raise _checks.InputError("scaling.learning_rates needs 3 entries or more, or none.")
        _checks.integer("scaling.transfer_steps", self.transfer_steps, minimum=1)

    def networks(self, width: int) -> int:
        """Independent networks at this width."""
        return self.num_networks * max(1, min(MOST_NETWORKS, self.widths[-1] // width))


@dataclass(frozen=True, eq=False)
class Sizes:
    """log2 of every quantity by name: an array (networks,) at each width."""

    widths: tuple[int, ...]
    log2: Mapping[str, tuple[FloatArray, ...]]

    def mean(self, name: str) -> tuple[FloatArray, FloatArray]:
        """Mean over networks and its standard error, (widths,)."""
        values = self.log2[name]
        means = np.array([v.mean() for v in values])
        return means, np.array([v.std(ddof=1) / np.sqrt(len(v)) for v in values])


def sweep(architecture: MLP, data: Data, settings: ScalingSettings, seed: int) -> Sizes:
    """Measure networks like `architecture` at all widths."""
    key = jax.random.key(seed)
    rows = [measure(at_width(architecture, n), data, settings, jax.random.fold_in(key, n)) for n in settings.widths]
    return Sizes(settings.widths, {name: tuple(row[name] for row in rows) for name in rows[0]})


def at_width(architecture: MLP, width: int) -> MLP:
    """The same network with another width."""
    return dataclasses.replace(architecture, width=width)


def measure(architecture: MLP, data: Data, settings: ScalingSettings, key: Array) -> dict[str, FloatArray]:
    """log2 of the quantities, (networks,) each, of independent networks of one width."""
    x, y = jnp.asarray(data.inputs), jnp.asarray(data.targets)
    eta = learning_rate(architecture, GradientDescent(settings.learning_rate))
    keys = jax.random.split(key, settings.networks(architecture.width))

    @jax.jit
    def of_all(keys: Array) -> dict[str, Array]:
        def of_one(one: Array) -> dict[str, Array]:
            return _of_network(architecture, architecture.sample_parameters(one), x, y, eta, settings.steps)

        return jax.lax.map(of_one, keys, batch_size=together(architecture, len(keys)))

    return {name: np.log2(np.asarray(values, dtype=np.float64)) for name, values in of_all(keys).items()}


def together(architecture: MLP, count: int) -> int:
    """How many of `count` networks are treated at once."""
    parameters = architecture.width * (architecture.dim + (architecture.depth - 2) * architecture.width + 1)
    most = max(1, NUMBERS_AT_ONCE // parameters)
    return max(k for k in range(1, count + 1) if count % k == 0 and k <= most)  # no remainder to compile anew


def loss(architecture: MLP, theta: Theta, x: Float[Array, "points dim"], y: Float[Array, " points"]) -> Array:
    """(1/|D|) sum_a (1/2)(phi(x_a) - y_a)^2."""
    return jnp.mean((trace(architecture, theta, x).output - y) ** 2) / 2


def descend(
    architecture: MLP, theta: Theta, x: Array, y: Array, eta: Float[Array, ""] | float, steps: int
) -> dict[str, Array]:
    """The parameters after some steps of gradient descent."""

    def step(_: Array, theta: Theta) -> dict[str, Array]:
        slope = jax.grad(lambda parameters: loss(architecture, parameters, x, y))(theta)
        return {name: theta[name] - eta * slope[name] for name in theta}

    return jax.lax.fori_loop(0, steps, step, dict(theta))


def _of_network(
    architecture: MLP, theta: Theta, x: Array, y: Array, eta: float, steps: int
) -> dict[str, Float[Array, ""]]:
    slope = jax.grad(lambda parameters: loss(architecture, parameters, x, y))(dict(theta))
    moving = rates(architecture, theta, x, {name: -eta * slope[name] for name in slope})
    before, initial = trace(architecture, theta, x), kernels(architecture, theta, x)
    trained = descend(architecture, theta, x, y, eta, steps)
    after, final = trace(architecture, trained, x), kernels(architecture, trained, x)
    sizes = {
        "phi_0": _rms(before.output),
        "dphi/dt": _rms(moving.output),
        "loss": jnp.mean((after.output - y) ** 2) / 2,
    }
    for n, (z, dz, z_later) in enumerate(
        zip(before.preactivations, moving.preactivations, after.preactivations, strict=True), start=1
    ):
        sizes |= {f"z({n})": _rms(z), f"dz({n})/dt": _rms(dz), f"change of z({n})": _rms(z_later - z)}
    largest = jnp.linalg.eigvalsh(initial.tangent.sum(axis=0))[-1]
    return sizes | _kernel_sizes(initial, final, eta) | {UNSTABLE: eta * largest / len(x)}


def _kernel_sizes(initial: Kernels, final: Kernels, eta: float) -> dict[str, Array]:
    """Of Phi^(l) and G^(l), l = 1 .. L-1, of the parts of eta Theta, and of the changes."""
    depth = len(initial.tangent)
    sizes = {f"eta Theta({n})": eta * _diagonal(initial.tangent[n - 1]) for n in range(1, depth + 1)}
    pairs = {"Theta": (initial.tangent.sum(axis=0), final.tangent.sum(axis=0))}
    for n in range(1, depth):
        pairs[f"Phi({n})"] = initial.features[n], final.features[n]
        pairs[f"G({n})"] = initial.gradients[n - 1], final.gradients[n - 1]
        sizes |= {name: _diagonal(pairs[name][0]) for name in (f"Phi({n})", f"G({n})")}
    return sizes | {f"change of {name}": _rms(new - old) / _rms(old) for name, (old, new) in pairs.items()}


def _rms(values: Array) -> Float[Array, ""]:
    return jnp.sqrt(jnp.mean(values**2))


def _diagonal(kernel: Array) -> Float[Array, ""]:
    return jnp.mean(jnp.diagonal(kernel))


def is_after_training(name: str) -> bool:
    """Whether a quantity belongs to the networks after the steps."""
    return name == "loss" or name.startswith("change of ")


def names(depth: int) -> Sequence[str]:
    """The quantities in the order of a table."""
    inner, every = range(1, depth), range(1, depth + 1)
    return (
        *(f"z({n})" for n in inner),
        "phi_0",
        *(f"eta Theta({n})" for n in every),
        "dphi/dt",
        *(f"dz({n})/dt" for n in inner),
        *(f"change of z({n})" for n in inner),
        *(f"{kernel}({n})" for kernel in ("Phi", "G") for n in inner),
        *(f"change of {kernel}({n})" for kernel in ("Phi", "G") for n in inner),
        "change of Theta",
        "loss",
    )
