"""Correlators of operators at zero momentum: powers of the field, averaged over space.

    O_k(t)  = mean over space of phi(t, x)^k,     k = 1, 2, 3, 4
    C_ab(t) = < O_a(s) O_b(s + t) > - < O_a(s) > < O_b(s + t) >,     averaged over s, and symmetric in a and b

On a torus s runs over all times. In a box, whose ends are not the vacuum, s and s + t lie in its bulk, `edge` or more
from both ends, and the means are those of each time. Where the theory is symmetric under phi -> -phi, odd powers have
no mean and do not mix with even ones. Reflection symmetry, C_ab(t) = C_ba(t) = C_ab(-t), is put in.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray

from nnft_mcmc import _checks
from nnft_mcmc.lattice import Lattice
from nnft_mcmc.statistics.resampling import Jackknife, block_starts, from_blocks

FloatArray = NDArray[np.float64]

POWERS = (1, 2, 3, 4)
_NUMBERS_AT_ONCE = 1 << 22


def time_slices(field: Float[Array, "*sites"]) -> Float[Array, "operator times"]:
    """O_k(t) of one draw for k in POWERS."""
    space = tuple(range(1, field.ndim))
    return jnp.stack([jnp.mean(field**k, axis=space) for k in POWERS])


def slices_of_fields(fields: FloatArray) -> FloatArray:
    """O_k(t) of stored fields (chain, draw, *sites): (chain, draw, operator, times)."""
    batch = max(1, _NUMBERS_AT_ONCE // max(1, int(np.prod(fields.shape[2:]))))
    flat = jnp.asarray(fields.reshape(-1, *fields.shape[2:]))
    slices = jax.lax.map(time_slices, flat, batch_size=min(batch, len(flat)))
    return np.asarray(slices, dtype=np.float64).reshape(*fields.shape[:2], len(POWERS), -1)


@partial(jax.jit, static_argnums=(1, 2))
def lagged_products(slices: Array, num_lags: int, periodic: bool) -> Array:
    """Mean over s of O_a(s) O_b(s + t), symmetric in a and b: (..., A, times) -> (..., A, A, num_lags), by FFT.

    Without `periodic`, over the s for which both exist.
    """
    times = slices.shape[-1]
    padded = times if periodic else 2 * times
    transform = jnp.fft.rfft(slices, padded, axis=-1)
    power = jnp.conj(transform[..., :, None, :]) * transform[..., None, :, :]
    products = jnp.fft.irfft(power.real, padded, axis=-1)[..., :num_lags]
    pairs = jnp.full(num_lags, times) if periodic else times - jnp.arange(num_lags)
    return products / jnp.broadcast_to(pairs, products.shape)


def bulk(lattice: Lattice, edge: float) -> slice:
    """The times at `edge` or more from the ends of a box, all times of a torus."""
    n = lattice.shape[0]
    if lattice.geometry == "torus":
        return slice(0, n)
    cut = int(np.ceil(_checks.non_negative("edge", edge) / lattice.spacing - 1e-9))
    if n - 2 * cut < 2:
        raise _checks.InputError(
            f"edge is {edge:g} and the box is {(n - 1) * lattice.spacing:g} long in time, which leaves no pair of times"
            " in its bulk; take a smaller edge or a longer box."
        )
    return slice(cut, n - cut)


def num_lags(lattice: Lattice, times: slice) -> int:
    """Separations 0, a, .. up to half the torus, or half the bulk of the box."""
    return (times.stop - times.start) // 2 + 1


def correlation_matrix(
    slices: FloatArray, lattice: Lattice, times: slice, num_blocks: int, connected: bool
) -> Jackknife:
    """C_ab(t) of slices (chain, draw, A, times): value (A, A, lags), errors from `num_blocks` blocks.

    connected: subtract the product of the means.
    """
    periodic, lags = lattice.geometry == "torus", num_lags(lattice, times)
    used = slices[..., times]
    starts = block_starts(used.shape[0], used.shape[1], num_blocks)
    products, means, counts = [], [], []
    for start, stop in zip(starts, [*starts[1:], used.shape[1]], strict=True):
        block = used[:, start:stop]
        products.append(np.asarray(_mean_products(block, lags, periodic)))
        means.append(block.mean(axis=1))
        counts.append(np.full(len(used), stop - start))
    number = np.concatenate(counts)
    product = from_blocks(np.concatenate(products), number)
    if not connected:
        return product
    mean = from_blocks(np.concatenate(means), number).derived(partial(_vacuum, lags=lags, periodic=periodic))
    return Jackknife(product.value - mean.value, product.replicas - mean.replicas)


@partial(jax.jit, static_argnums=(1, 2))
def _mean_products(block: Float[Array, "chain draw operator times"], lags: int, periodic: bool) -> Array:
    return lagged_products(block, lags, periodic).mean(axis=1)


def _vacuum(means: FloatArray, lags: int, periodic: bool) -> FloatArray:
    """Mean over s of <O_a(s)><O_b(s + t)>, (B, A, times) -> (B, A, A, lags); on a torus all times have one mean."""
    if periodic:
        means = np.broadcast_to(means.mean(axis=-1, keepdims=True), means.shape)
    return np.asarray(lagged_products(jnp.asarray(means), lags, periodic))
