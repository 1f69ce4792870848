"""Connected correlators in momentum space, of the free fields of a lattice, by FFT, from independent draws.

With f_p = a^d sum_x e^{-ip.x} phi(x), V sites and the momenta p = 2 pi k/(n a) of whole mode numbers k,

    G_c(p_1, .., p_m) = <f_p1 f_-p1 .. f_pm f_-pm>_c / (a^d V),         m = 1, 2, 3: 2-, 4- and 6-point functions.

On a torus these are the correlators at momenta p_1, -p_1, .. without their (2 pi)^d delta function: for m = 1 the
propagator G(p). A box has no conserved momentum, and the same numbers are what the box says about them: for m = 1

    G(p) = a^d sum_r prod_mu (1 - |r_mu|/n_mu a) cos(p.r) G(r)                (`momentum_two_point`, exact)

the propagator of the infinite volume smeared over momenta of 2 pi/(n a) and folded into |p_mu| < pi/a.

With f = c - i s a connected function of pairs (p, -p) is real and a sum over c c and s s in each pair, so that the
unbiased cumulants of real fields and their jackknife errors (`statistics.k_statistics`) are all that is needed.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray

from nnft_mcmc import _checks
from nnft_mcmc.architectures import ExactCorrelators
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.estimators.n_point import Products, require_free
from nnft_mcmc.estimators.streaming import Progress, Statistic, stream
from nnft_mcmc.lattice import Lattice
from nnft_mcmc.statistics import CumulantAccumulator, CumulantEstimate

FloatArray = NDArray[np.float64]
Mode = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class MomentumNPoint:
    """`cumulants`: G_c of each tuple of mode numbers, in units of [phi]^n length^(d (n - 1))."""

    lattice: Lattice
    modes: tuple[tuple[Mode, ...], ...]
    cumulants: CumulantEstimate

    @property
    def momenta(self) -> list[FloatArray]:
        """The momenta p_1 .. p_m of each tuple, (m, dim)."""
        lengths = self.lattice.spacing * np.array(self.lattice.shape)
        return [2 * math.pi * np.array(modes) / lengths for modes in self.modes]


class _ModeProducts(Statistic):
    """Real and imaginary parts of f_p/(a^d V)^(1/2) of the modes in use, then their products."""

    ensemble: Ensemble
    modes: Array
    products: Products

    def draw(self, key: Array) -> Float[Array, " values"]:
        ensemble, lattice = self.ensemble, self.ensemble.lattice
        field = ensemble.field(ensemble.architecture.sample_parameters(key))
        f = math.sqrt(lattice.cell_volume / lattice.num_sites) * jnp.fft.fftn(field)[tuple(self.modes.T)]
        return jnp.stack([f.real, f.imag], axis=-1).reshape(-1)

    def numbers(self, values: Float[Array, "values draws"]) -> Float[Array, "numbers draws"]:
        return self.products(values)


def estimate_momentum_n_point(
    ensemble: Ensemble,
    key: Array,
    num_draws: int,
    modes: Iterable[Sequence[Sequence[int]]] | None = None,
    *,
    num_blocks: int = 128,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> MomentumNPoint:
    """G_c(p_1 .. p_m) for tuples of one to three mode numbers k, each a tuple of `dim` whole numbers.

    `modes` [((1, 0),), ((1, 0), (0, 2))] are G at k = (1, 0) and the 4-point function at (1, 0) and (0, 2); without
    them, G at all momenta in the order of numpy's FFT.
    """
    require_free(ensemble)
    lattice = ensemble.lattice
    if modes is None:
        modes = [(mode,) for mode in np.ndindex(*lattice.shape)]
    tuples = tuple(_checked(lattice, each) for each in modes)
    used = sorted({_folded(lattice, mode) for each in tuples for mode in each})
    number = {mode: k for k, mode in enumerate(used)}
    parts = [_parts([number[_folded(lattice, mode)] for mode in each]) for each in tuples]
    accumulator = CumulantAccumulator([indices for part in parts for indices in part], num_blocks)
    products = Products(accumulator.monomials)
    statistic = _ModeProducts(ensemble, jnp.asarray(used), products)
    streamed = stream(statistic, key, num_draws, num_blocks, batch_size, progress)
    accumulator.add(products.in_order(streamed.sums), streamed.counts)
    starts = np.cumsum([0, *(len(part) for part in parts[:-1])])
    power = np.array([lattice.cell_volume * lattice.num_sites for _ in tuples]) ** [len(each) - 1 for each in tuples]

    def summed(parts: FloatArray) -> FloatArray:
        return np.add.reduceat(parts, starts, axis=-1) * power

    return MomentumNPoint(lattice, tuples, accumulator.estimate().derived(summed))


def momentum_two_point(architecture: ExactCorrelators, lattice: Lattice) -> FloatArray:
    """The exact G(p) = <|f_p|^2>/(a^d V) at all momenta in the order of numpy's FFT, (*lattice.shape).

    On a torus it is the propagator. In time and memory proportional to V^2.
    """
    sites = lattice.sites.reshape(-1, lattice.dim)
    pairs = np.asarray(architecture.two_point(sites[:, None], sites[None])).reshape(*lattice.shape, *lattice.shape)
    axes = range(lattice.dim)
    once = np.fft.fftn(pairs, axes=tuple(axes))
    twice = np.fft.ifftn(once, axes=tuple(a + lattice.dim for a in axes)).reshape(lattice.num_sites, -1)
    return lattice.cell_volume * np.diagonal(twice).real.reshape(lattice.shape)


def _parts(numbers: Sequence[int]) -> list[tuple[int, ...]]:
    """Index tuples (A, A, B, B, ..) over real and imaginary parts; those of mode k are numbered 2k and 2k + 1."""
    choices = itertools.product((0, 1), repeat=len(numbers))
    return [tuple(2 * n + c for n, c in zip(numbers, choice, strict=True) for _ in (0, 1)) for choice in choices]


def _folded(lattice: Lattice, mode: Mode) -> Mode:
    return tuple(k % n for k, n in zip(mode, lattice.shape, strict=True))


def _checked(lattice: Lattice, modes: Sequence[Sequence[int]]) -> tuple[Mode, ...]:
    array = np.asarray(modes)
    if array.dtype.kind not in "iu" or array.ndim != 2 or array.shape[1] != lattice.dim:
        raise _checks.InputError(
            f"modes holds {modes!r}; each entry must be a tuple of one to three mode numbers, {lattice.dim} whole"
            " numbers each, such as ((1, 0), (0, 2)) in two dimensions."
        )
    if not 1 <= len(array) <= 3:
        raise _checks.InputError(f"modes holds a tuple of {len(array)} mode numbers; give one, two or three.")
    return tuple(tuple(int(k) for k in mode) for mode in array)
