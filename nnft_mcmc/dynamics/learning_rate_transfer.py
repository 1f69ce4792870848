r"""Transfer of the learning rate across widths: the eta_0 of eq. (106) with the least loss after k steps, against N.

Of every network the loss after k steps of gradient descent is computed on the grid of eta_0, and the best eta_0 is then
found between the neighbours of the best grid point, by golden sections of log2 eta_0. A rate at which training diverges
has an infinite loss. The mean of log2 eta_0* over independent networks has the error of independent numbers, and its
slope against log2 N tells how far the best rate moves:

    eta_0* ~ N^s,    eta* = eta_0* gamma0^2 N^{2d - c} ~ N^{s + 2d - c}.

Learning in finite time, eq. (118), is what makes s = 0, for the k steps then do the same at every width. More generally
s = -max_l of the powers of eta Theta^(l). The rate eta itself stays the same only where 2d = c too: of the members of
(126)-(127) for maximal update.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray

from nnft_mcmc import _checks
from nnft_mcmc.architectures import MLP
from nnft_mcmc.dynamics.data import Data
from nnft_mcmc.dynamics.learning_rate import learning_rate
from nnft_mcmc.dynamics.optimizers import GradientDescent
from nnft_mcmc.dynamics.power_counting import predicted_powers
from nnft_mcmc.dynamics.scaling import ScalingSettings, at_width, descend, loss, together
from nnft_mcmc.statistics.exponents import Exponent, fit_exponent
from nnft_mcmc.statistics.extrapolation import Unsupported

FloatArray = NDArray[np.float64]

GOLDEN = (math.sqrt(5) - 1) / 2
SECTIONS = 12  # the bracket shrinks by GOLDEN^12 = 0.003


@dataclass(frozen=True, eq=False)
class Transfer:
    """grid: eta_0 (rates,); log2_loss: (networks, rates) and log2_best: (networks,), at each width.

    shift: of log2 eta_0* with log2 N; predicted: the same from power counting; of_rate: 2d - c, which eta* has besides.
    """

    widths: tuple[int, ...]
    steps: int
    grid: FloatArray
    log2_loss: Mapping[int, FloatArray]
    log2_best: Mapping[int, FloatArray]
    shift: Exponent
    predicted: float
    of_rate: float

    def best(self) -> tuple[FloatArray, FloatArray]:
        """Mean of log2 eta_0* over networks, and its standard error, (widths,)."""
        return _mean(self.widths, self.log2_best)


def learning_rate_transfer(architecture: MLP, data: Data, settings: ScalingSettings, seed: int) -> Transfer:
    """Seek the best eta_0 of settings.num_networks at every width of settings.transfer_widths.

    Raises `Unsupported` where it lies at an end of the grid, or moves as no power of N.
    """
    if not settings.learning_rates:
        raise _checks.InputError("scaling.learning_rates is empty; give the grid on which the best rate is sought.")
    key, losses, best = jax.random.key(seed), {}, {}
    for width in settings.transfer_widths:
        network, own = at_width(architecture, width), jax.random.fold_in(key, width)
        losses[width], best[width] = _of_width(network, data, settings, own)
        _check_bracket(width, losses[width], settings.learning_rates)
    mean, error = _mean(settings.transfer_widths, best)
    powers, exponents = predicted_powers(architecture), architecture.exponents
    return Transfer(
        widths=settings.transfer_widths,
        steps=settings.transfer_steps,
        grid=np.array(settings.learning_rates),
        log2_loss=losses,
        log2_best=best,
        shift=fit_exponent(settings.transfer_widths, mean, error),
        predicted=0.0 - float(np.max([powers[f"eta Theta({n})"] for n in range(1, architecture.depth + 1)])),
        of_rate=2 * exponents.d - exponents.c,
    )


def _mean(widths: tuple[int, ...], values: Mapping[int, FloatArray]) -> tuple[FloatArray, FloatArray]:
    samples = [values[width] for width in widths]
    return np.array([v.mean() for v in samples]), np.array([v.std(ddof=1) / math.sqrt(len(v)) for v in samples])


def _of_width(architecture: MLP, data: Data, settings: ScalingSettings, key: Array) -> tuple[FloatArray, FloatArray]:
    x, y = jnp.asarray(data.inputs), jnp.asarray(data.targets)
    unit = learning_rate(architecture, GradientDescent(1.0))
    grid = jnp.log2(jnp.asarray(settings.learning_rates))
    keys = jax.random.split(key, settings.num_networks)

    @jax.jit
    def of_all(keys: Array) -> tuple[Array, Array]:
        def of_one(one: Array) -> tuple[Array, Array]:
            theta = architecture.sample_parameters(one)

            def log2_loss(log2_rate: Array) -> Array:
                trained = descend(architecture, theta, x, y, unit * 2.0**log2_rate, settings.transfer_steps)
                value = jnp.log2(loss(architecture, trained, x, y))
                return jnp.where(jnp.isnan(value), jnp.inf, value)

            values = jax.lax.map(log2_loss, grid)
            at = jnp.clip(jnp.argmin(values), 1, len(grid) - 2)
            return values, _golden(log2_loss, grid[at - 1], grid[at + 1])

        return jax.lax.map(of_one, keys, batch_size=together(architecture, len(keys)))

    values, best = of_all(keys)
    return np.asarray(values, dtype=np.float64), np.asarray(best, dtype=np.float64)


def _golden(function: Callable[[Array], Array], low: Array, high: Array) -> Float[Array, ""]:
    """Where a function of one number is least between two numbers."""

    def section(_: Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        lower = function(left) < function(right)
        return jnp.where(lower, low, left), jnp.where(lower, right, high)

    low, high = jax.lax.fori_loop(0, SECTIONS, section, (low, high))
    return (low + high) / 2


def _check_bracket(width: int, log2_loss: FloatArray, grid: tuple[float, ...]) -> None:
    """Refuse a grid that does not hold the best rate between its ends."""
    at = log2_loss.argmin(axis=1)
    for end, edge, advice in ((0, "lowest", "lower"), (len(grid) - 1, "highest", "higher")):
        count = int((at == end).sum())
        if count:
            raise Unsupported(
                f"at width {width} the {edge} of scaling.learning_rates, {grid[end]:g}, is the best for {count} of"
                f" {len(at)} networks, so that the best rate is not known; add {advice} ones."
            )
