r"""Kernels of networks of finite width averaged over initialisations, with errors, and their approach to the limit.

    <Theta_N> = Theta + C/N + O(1/N^2),        Var Theta_N = c/N + O(1/N^2)

(Hanin and Nica, arXiv:1909.05989; Dyer and Gur-Ari, arXiv:1909.11304). For a sum of i.i.d. neurons C = 0 at every
width, and Var Theta_N is exactly c/N. Of each draw the NNGP kernel is taken with the output weights averaged out,

    K_theta(x, y) = sum_i s_i^2 dphi(x)/da_i dphi(y)/da_i,       <K_theta> = <phi(x) phi(y)>,

where these are normal with mean zero and phi is linear in them; otherwise it is phi(x) phi(y).
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike
from numpy.typing import NDArray

from nnft_mcmc import _checks
from nnft_mcmc.architectures import Architecture
from nnft_mcmc.architectures.attention import KernelEstimate
from nnft_mcmc.dynamics.empirical_kernel import MAX_BYTES, tangent_kernel
from nnft_mcmc.dynamics.infinite_width import kernels, points_2d
from nnft_mcmc.dynamics.parameters import normal_core, trained_blocks

FloatArray = NDArray[np.float64]

MINIMUM_DRAWS = 10  # for an error of an error
MOST_NUMBERS = 2**28  # of all draws together, 2 GiB
_AT_ONCE = 2**12  # draws in one call


class KernelEstimates(NamedTuple):
    """Means over draws with their errors, and the variance of Theta from draw to draw; arrays (len(x), len(y))."""

    nngp: KernelEstimate
    ntk: KernelEstimate
    variance: KernelEstimate
    num_draws: int


class Approach(NamedTuple):
    """Coefficients of the equations above from several widths, arrays (len(x), len(y)).

    The corrections are C of K and of Theta, `fluctuation` is c of Theta. `chi2` of Theta has len(widths) - 1 degrees of
    freedom for each pair of points and tests that C/N is all there is.
    """

    widths: tuple[int, ...]
    nngp_correction: KernelEstimate
    ntk_correction: KernelEstimate
    chi2: FloatArray
    fluctuation: KernelEstimate


class KernelDraws(NamedTuple):
    """K_theta and Theta of independent initialisations, arrays (draws, len(x), len(y))."""

    nngp: FloatArray
    ntk: FloatArray

    def estimates(self) -> KernelEstimates:
        """Means, variance and errors."""
        return KernelEstimates(_mean(self.nngp), _mean(self.ntk), _variance(self.ntk), len(self.ntk))


def draw_kernels(
    architecture: Architecture,
    key: Array,
    x: ArrayLike,
    y: ArrayLike | None = None,
    num_draws: int = 100,
    trained: str = "all",
    coordinates: str = "parameters",
    max_bytes: int = MAX_BYTES,
) -> KernelDraws:
    """Kernels of independent initialisations, at any width and for any architecture; in JAX's precision.

    All pairs of points are made from the same draws: their errors are correlated.
    """
    _checks.integer("num_draws", num_draws, MINIMUM_DRAWS)
    x = points_2d("x", architecture, x)
    y = None if y is None else points_2d("y", architecture, y)
    numbers = 2 * num_draws * len(x) * len(x if y is None else y)
    if numbers > MOST_NUMBERS:
        raise _checks.InputError(
            f"{num_draws} draws of two kernels at these points are {numbers} numbers, more than {MOST_NUMBERS}; take"
            " fewer points or draws, or tangent_kernel of single networks."
        )
    draw = functools.partial(_draw, architecture, trained, coordinates, max_bytes)
    parts = [draw(keys, x, y) for keys in np.array_split(jax.random.split(key, num_draws), -(-num_draws // _AT_ONCE))]
    return KernelDraws(*(np.concatenate([np.asarray(part[k], dtype=np.float64) for part in parts]) for k in (0, 1)))


def estimate_kernels(
    architecture: Architecture,
    key: Array,
    x: ArrayLike,
    y: ArrayLike | None = None,
    num_draws: int = 100,
    trained: str = "all",
    coordinates: str = "parameters",
) -> KernelEstimates:
    """The means of `draw_kernels` with their errors."""
    return draw_kernels(architecture, key, x, y, num_draws, trained, coordinates).estimates()


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _draw(
    architecture: Architecture,
    trained: str,
    coordinates: str,
    max_bytes: int,
    keys: Array,
    x: Array,
    y: Array | None,
) -> tuple[Array, Array]:
    """Kernels of one network after the other."""
    averaged = linear_in_normal_weights(architecture)

    def one(key: Array) -> tuple[Array, Array]:
        theta = architecture.sample_parameters(key)
        kernel = functools.partial(tangent_kernel, architecture, theta, x, y, max_bytes=max_bytes)
        ntk = kernel(trained=trained, coordinates=coordinates)
        if averaged:
            return kernel(trained="readout", coordinates="standardised"), ntk
        left = architecture(theta, x)
        return jnp.outer(left, left if y is None else architecture(theta, y)), ntk

    return jax.lax.map(one, keys)


def linear_in_normal_weights(architecture: Architecture) -> bool:
    """Whether phi is a sum of its readout parameters, all normal with mean zero, times features."""
    prior = architecture.prior()
    if "amplitudes" not in prior:
        return False
    cores = [normal_core(prior[name]) for name in trained_blocks(architecture, "readout")]
    with jax.ensure_compile_time_eval():
        return all(core is not None and not np.asarray(core.loc).any() for core in cores)


def _mean(draws: FloatArray) -> KernelEstimate:
    return KernelEstimate(draws.mean(axis=0), draws.std(axis=0, ddof=1) / np.sqrt(len(draws)))


def _variance(draws: FloatArray) -> KernelEstimate:
    """The sample variance, with the error [(m4 - m2^2)/n]^{1/2} from the central moments."""
    squares = (draws - draws.mean(axis=0)) ** 2
    error = np.sqrt(np.maximum(np.mean(squares**2, axis=0) - squares.mean(axis=0) ** 2, 0.0) / len(draws))
    return KernelEstimate(draws.var(axis=0, ddof=1), error)


def with_width(architecture: Any, width: int) -> Any:
    """The same architecture at another width; an architecture built on a `base` has the width of its base."""
    names = {field.name for field in dataclasses.fields(architecture)}
    if "width" in names:
        return dataclasses.replace(architecture, width=_checks.integer("width", width, 1))
    if "base" in names:
        return dataclasses.replace(architecture, base=with_width(architecture.base, width))
    raise _checks.InputError(
        f"{type(architecture).__name__} has no width; take a network of neurons to vary their number."
    )


def approach(
    architecture: Architecture,
    key: Array,
    x: ArrayLike,
    widths: Sequence[int],
    num_draws: int = 100,
    trained: str = "all",
    coordinates: str = "standardised",
) -> Approach:
    """C and c from networks of several widths and the exact kernels of the limit, by weighted least squares in 1/N.

    The limit must not depend on the width: "standardised" coordinates, or a parametrisation whose kernel has a limit.
    """
    nets = [with_width(architecture, n) for n in widths]
    limits = [kernels(net, x, trained=trained, coordinates=coordinates) for net in nets]
    if any(np.abs(limit.ntk - limits[0].ntk).max() > 1e-9 * np.abs(limit.ntk).max() for limit in limits):
        raise _checks.InputError(
            "the infinite-width kernel depends on the width in these coordinates, as a power of it; take coordinates ="
            " 'standardised' or the parametrization 'ntk'."
        )
    found = [
        estimate_kernels(net, k, x, None, num_draws, trained, coordinates)
        for net, k in zip(nets, jax.random.split(key, len(nets)), strict=True)
    ]
    inverse = 1.0 / np.asarray(widths, dtype=np.float64)
    nngp, _ = _slope(
        inverse, [(e.nngp.value - limit.nngp, e.nngp.error) for e, limit in zip(found, limits, strict=True)]
    )
    ntk, chi2 = _slope(
        inverse, [(e.ntk.value - limit.ntk, e.ntk.error) for e, limit in zip(found, limits, strict=True)]
    )
    fluctuation, _ = _slope(inverse, [(e.variance.value, e.variance.error) for e in found])
    return Approach(tuple(widths), nngp, ntk, chi2, fluctuation)


def _slope(x: FloatArray, points: list[tuple[FloatArray, FloatArray]]) -> tuple[KernelEstimate, FloatArray]:
    """Weighted least squares of y = slope x for arrays y with errors, and chi^2."""
    y, error = np.stack([p[0] for p in points]), np.stack([p[1] for p in points])
    scaled = x[:, None, None] / error
    slope = np.sum(scaled * y / error, axis=0) / np.sum(scaled**2, axis=0)
    chi2 = np.sum(((y - slope * x[:, None, None]) / error) ** 2, axis=0)
    return KernelEstimate(slope, np.sum(scaled**2, axis=0) ** -0.5), chi2
