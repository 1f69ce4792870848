"""Correlation functions of stored fields (chain, draw, *sites), with errors of Markov chains.

On a torus, averaged over translations, with f_p = sum_x phi(x) e^{-ip.x},

    G(p) = (a^d/V) <|f_p|^2>,      G(r) = (1/V) sum_x <phi(x) phi(x + r)> = (1/a^d V) sum_p G(p) e^{ip.r},

at every momentum and displacement. A box is not invariant under translations: G(x, y) = <phi(x) phi(y)> for every pair
of chosen points, no two of them taken for the same. Connected functions of 2, 4 and 6 points at chosen sites are
unbiased k-statistics of blocks of draws; on a torus their translates are averaged; they assume phi -> -phi.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike, NDArray

from nnft_mcmc import _checks
from nnft_mcmc.estimators.clusters import chain_cumulants, copy_means, monomials
from nnft_mcmc.lattice import Lattice
from nnft_mcmc.statistics import CumulantEstimate, Estimate, gamma_method

FloatArray = NDArray[np.float64]
Site = tuple[int, ...]

_NUMBERS_AT_ONCE = 1 << 22
_LEAST_BLOCKS = 16


def torus_propagator(fields: FloatArray, lattice: Lattice) -> Estimate:
    """G(p) at the momenta of the dual lattice, of shape lattice.shape in the order of numpy's FFT."""
    _check_torus(fields, lattice)
    return gamma_method(_powers(fields, lattice))


def torus_two_point(fields: FloatArray, lattice: Lattice) -> Estimate:
    """G(r) at every displacement, of shape lattice.shape, r = 0 first; r and -r are equal."""
    _check_torus(fields, lattice)
    axes = tuple(range(2, 2 + lattice.dim))
    powers = _powers(fields, lattice)
    return gamma_method(np.fft.ifftn(powers, axes=axes).real / lattice.cell_volume)


def _powers(fields: FloatArray, lattice: Lattice) -> FloatArray:
    """(a^d/V) |f_p|^2 of every draw, (chain, draw, *sites)."""

    @jax.jit
    def power(field: Float[Array, "*sites"]) -> Float[Array, "*sites"]:
        return jnp.abs(jnp.fft.fftn(field)) ** 2 * (lattice.cell_volume / lattice.num_sites)

    flat = jnp.asarray(fields.reshape(-1, *lattice.shape))
    batch = min(len(flat), max(1, _NUMBERS_AT_ONCE // lattice.num_sites))
    return np.asarray(jax.lax.map(power, flat, batch_size=batch), dtype=np.float64).reshape(fields.shape)


def pair_matrix(fields: FloatArray, lattice: Lattice, sites: Sequence[Site] | None = None) -> Estimate:
    """G(x, y) of all pairs of `sites`, indices like (3, 0), or of all sites in C order; (n, n) and symmetric."""
    at = _fields_at(fields, lattice, _all_sites(lattice) if sites is None else sites)
    rows = [gamma_method(at[..., k : k + 1] * at[..., k:]) for k in range(at.shape[-1])]
    names = ("value", "error", "tau_int", "tau_int_error", "ess")
    parts = {name: _symmetric([getattr(row, name) for row in rows]) for name in names}
    return Estimate(**parts, num_draws=rows[0].num_draws)


def _symmetric(rows: Sequence[FloatArray]) -> FloatArray:
    """The matrix of which row k is known from the diagonal on."""
    n = len(rows)
    matrix = np.empty((n, n))
    for k, row in enumerate(rows):
        matrix[k, k:] = matrix[k:, k] = row
    return matrix


def connected_n_point(fields: FloatArray, lattice: Lattice, tuples: Sequence[Sequence[Site]]) -> CumulantEstimate:
    """<phi(x_1) .. phi(x_n)>_c, n = 2, 4 or 6, at tuples of sites (indices, repetitions allowed), one value for each.

    Raises `TooFewDraws` where the draws do not hold 16 blocks of 10 tau_int.
    """
    points = sorted({tuple(site) for sites in tuples for site in sites})
    number = {site: k for k, site in enumerate(points)}
    index_tuples = [tuple(sorted(number[tuple(site)] for site in sites)) for sites in tuples]
    products = monomials(index_tuples)
    copies = _copies(lattice, _checked_sites(lattice, points))
    flat = _checked(fields, lattice).reshape(*fields.shape[:2], -1)
    step = max(1, _NUMBERS_AT_ONCE // copies.size)
    means = [
        np.concatenate(
            [copy_means(chain[start : start + step][:, copies], products) for start in range(0, len(chain), step)]
        )
        for chain in flat
    ]
    return chain_cumulants(np.stack(means), index_tuples, _LEAST_BLOCKS)


def _copies(lattice: Lattice, sites: NDArray[np.intp]) -> NDArray[np.intp]:
    """Flat indices (copies, points): the translates of a torus, or the points themselves."""
    shifts = np.array(_all_sites(lattice)) if lattice.geometry == "torus" else np.zeros((1, lattice.dim), dtype=int)
    moved = (shifts[:, None] + sites) % np.asarray(lattice.shape)
    return np.ravel_multi_index(tuple(np.moveaxis(moved, -1, 0)), lattice.shape)


def _fields_at(fields: FloatArray, lattice: Lattice, sites: Sequence[Site]) -> FloatArray:
    """(chain, draw, n)."""
    index = _checked_sites(lattice, sites)
    return _checked(fields, lattice)[(slice(None), slice(None), *index.T)]


def _all_sites(lattice: Lattice) -> list[Site]:
    return [tuple(int(i) for i in site) for site in np.ndindex(*lattice.shape)]


def _checked_sites(lattice: Lattice, sites: ArrayLike) -> NDArray[np.intp]:
    index = np.asarray(sites)
    if index.ndim != 2 or index.shape[1:] != (lattice.dim,) or index.dtype.kind not in "iu" or not len(index):
        raise _checks.InputError(
            f"sites are {sites!r}; they must be indices of {lattice.dim} whole numbers each, such as"
            f" {tuple(lattice.centre)}."
        )
    if (index < 0).any() or (index >= lattice.shape).any():
        raise _checks.InputError(f"a site lies outside the lattice of shape {list(lattice.shape)}; indices start at 0.")
    return index


def _checked(fields: FloatArray, lattice: Lattice) -> FloatArray:
    if fields.ndim != 2 + lattice.dim or fields.shape[2:] != lattice.shape:
        raise _checks.InputError(
            f"fields have shape {fields.shape}; they must be (chain, draw, {', '.join(map(str, lattice.shape))})."
        )
    return fields


def _check_torus(fields: FloatArray, lattice: Lattice) -> None:
    _checked(fields, lattice)
    if lattice.geometry != "torus":
        raise _checks.InputError(
            "the lattice is a box, which is not invariant under translations; use pair_matrix for G(x, y)."
        )
