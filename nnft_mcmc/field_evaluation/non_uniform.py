"""Plane waves on a box by non-uniform fast Fourier transforms (FINUFFT), in one to three dimensions: O(N + V log V).

The field sum_i Re[c_i e^{i w_i.x}], c = a - i b, is a type-1 transform with the points p = spacing w folded into
[-pi, pi], its modes k = x/spacing. Sites of an axis with an even number of them lie at half-integers: the half goes
into the phase of c. The sums over sites of the backward pass, sum_x g(x) (1, x) e^{i w.x}, are 1 + d transforms of
type 2 at the same points.

Barnett, Magland, af Klinteberg, SIAM J. Sci. Comput. 41, C479 (2019), https://arxiv.org/abs/1808.06736.

One thread: with several, FINUFFT adds the parts of the spread points in the order in which the threads come, and
equal calls differ in their last bits. Batches of fields go through one call, which transforms one after the other.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jax_finufft import nufft1, nufft2
from jax_finufft.options import Opts
from jaxtyping import Array, Complex, Float

from nnft_mcmc import _checks
from nnft_mcmc.field_evaluation._types import Pair, Waves
from nnft_mcmc.lattice import Lattice

MAX_DIM = 3
_OPTIONS = Opts(nthreads=1)
# Relative accuracy that is asked of the transforms; float32 allows no more.
_TOLERANCE = {np.dtype(np.float64): 1e-10, np.dtype(np.float32): 1e-6}


def synthesis(waves: Waves, lattice: Lattice) -> Float[Array, "*sites"]:
    """sum_i a_i cos(w_i.x) + b_i sin(w_i.x) on a box."""
    momenta, cosines, sines = waves
    points, phases, finite = _points(momenta, lattice)
    field = _type_1(lattice.shape)(points, jax.lax.complex(cosines, -sines) * phases)
    # FINUFFT reads no points that are not finite; the field of such momenta is undefined.
    return jnp.where(finite.all(), field, jnp.nan)


def analysis(momenta: Float[Array, "neurons dim"], weights: Float[Array, "*sites"], lattice: Lattice) -> Pair:
    """Real and imaginary parts of sum_x g(x) (1, x) e^{i w.x} for weights g."""
    points, phases, finite = _points(momenta, lattice)
    sites = jnp.asarray(np.moveaxis(lattice.sites, -1, 0), weights.dtype)
    sums = phases[None] * _type_2(points, jnp.concatenate([weights[None], weights[None] * sites]))
    sums = jnp.where(finite[None], sums, jnp.nan)
    return sums.real.T, sums.imag.T


def _points(
    momenta: Float[Array, "neurons dim"], lattice: Lattice
) -> tuple[Float[Array, "neurons dim"], Complex[Array, " neurons"], Array]:
    """spacing w, folded; e^{i w.h}, h half a spacing along the axes of an even number of sites; where w is finite."""
    finite = jnp.isfinite(momenta).all(axis=1)
    momenta = jnp.where(finite[:, None], momenta, 0)
    points = momenta * lattice.spacing
    folded = jnp.clip(points - 2 * math.pi * jnp.round(points / (2 * math.pi)), -math.pi, math.pi)
    half = jnp.asarray([lattice.spacing / 2 * (n % 2 == 0) for n in lattice.shape], momenta.dtype)
    angle = (momenta * half[None]).sum(axis=1)
    return folded, jax.lax.complex(jnp.cos(angle), jnp.sin(angle)), finite


# The transforms take any number of leading batch axes, and `vmap` adds one: jax-finufft's own rule for it is broken.


@functools.cache
def _type_1(shape: tuple[int, ...]) -> Any:
    """Re sum_i c_i e^{i p_i.k} on `shape`, from points (*batch, neurons, dim) and coefficients (*batch, neurons)."""

    @custom_vmap
    def transform(points: Array, coefficients: Array) -> Array:
        axes = jnp.moveaxis(points, -1, 0)
        tolerance = _TOLERANCE[np.dtype(points.dtype)]
        return nufft1(shape, coefficients, *axes, iflag=1, eps=tolerance, opts=_OPTIONS).real

    @transform.def_vmap
    def batched(size: int, is_batched: list[bool], points: Array, coefficients: Array) -> tuple[Array, bool]:
        return transform(*_all_batched(size, is_batched, points, coefficients)), True

    return transform


@custom_vmap
def _type_2_of_batches(points: Array, weights: Array) -> Array:
    axes = jnp.moveaxis(points, -1, 0)[..., None, :]
    tolerance = _TOLERANCE[np.dtype(points.dtype)]
    return nufft2(jax.lax.complex(weights, jnp.zeros_like(weights)), *axes, iflag=1, eps=tolerance, opts=_OPTIONS)


@_type_2_of_batches.def_vmap
def _type_2_batched(size: int, is_batched: list[bool], points: Array, weights: Array) -> tuple[Array, bool]:
    return _type_2_of_batches(*_all_batched(size, is_batched, points, weights)), True


@jax.custom_jvp
def _type_2(points: Array, weights: Array) -> Array:
    """sum_k g(k) e^{i p_i.k} from points (*batch, neurons, dim) and several g, (*batch, several, *shape)."""
    return _type_2_of_batches(points, weights)


@_type_2.defjvp
def _no_second_derivative(primals: Any, tangents: Any) -> Any:
    raise _checks.InputError(
        "a second derivative of the field on the lattice was asked for, and fields by non-uniform FFT have first"
        " derivatives only; differentiate architecture(theta, lattice.sites) instead."
    )


def _all_batched(size: int, is_batched: list[bool], *arrays: Array) -> list[Array]:
    """Arrays with a leading axis of length `size`, repeated where they had none."""
    return [
        a if batched else jnp.broadcast_to(a, (size, *a.shape)) for a, batched in zip(arrays, is_batched, strict=True)
    ]
