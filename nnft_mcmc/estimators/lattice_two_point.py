"""Two-point functions of a free ensemble on a lattice from independent draws, streamed.

On a torus, with f_p = sum_x phi(x) e^{-ip.x} by FFT, V sites and spacing a,

    G(p)         = (a^d/V) <|f_p|^2>                                propagator, in the order of numpy's FFT
    two_point(r) = (1/V) sum_x <phi(x) phi(x + r)> = (1/a^d V) sum_p G(p) e^{ip.r}
    correlator(t) = a^-d L^-(d-1) (1/T) sum_{p_0} G(p_0, 0) e^{ip_0 t}      zero-momentum C(t), as in `per_draw`

with T sites in time and L^(d-1) in space: C(t) is the correlator of means over space. In a box, which is not invariant
under translations, two_point(t) and correlator(t) start from the central time, as `per_draw` has them.
"""

from dataclasses import dataclass

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray

from nnft_mcmc import _checks
from nnft_mcmc.architectures import Architecture, OnLattice
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.estimators.n_point import require_free
from nnft_mcmc.estimators.per_draw import per_draw, separations
from nnft_mcmc.estimators.streaming import Progress, Statistic, stream
from nnft_mcmc.lattice import Lattice
from nnft_mcmc.statistics import CumulantEstimate

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TimeCorrelators:
    """two_point(t) and correlator(t) at the separations `t`, (S,) each."""

    t: FloatArray
    two_point: CumulantEstimate
    correlator: CumulantEstimate


@dataclass(frozen=True, eq=False)
class TorusTwoPoint:
    """propagator: G(p) at all momenta of the dual lattice, (V,) in C order of `lattice.shape`."""

    lattice: Lattice
    propagator: CumulantEstimate

    @property
    def two_point(self) -> CumulantEstimate:
        """Averaged over translations, at all displacements (V,), the one of index 0 first."""
        shape, cell = self.lattice.shape, self.lattice.cell_volume

        def transform(propagator: FloatArray) -> FloatArray:
            grid = propagator.reshape(*propagator.shape[:-1], *shape)
            axes = tuple(range(-len(shape), 0))
            return np.fft.ifftn(grid, axes=axes).real.reshape(propagator.shape) / cell

        return self.propagator.derived(transform)

    @property
    def correlator(self) -> CumulantEstimate:
        """Zero-momentum C(t) at the times 0, a, .. of the lattice, (T,)."""
        shape, cell = self.lattice.shape, self.lattice.cell_volume
        space = int(np.prod(shape[1:]))

        def transform(propagator: FloatArray) -> FloatArray:
            zero_momentum = propagator.reshape(*propagator.shape[:-1], shape[0], space)[..., 0]
            return np.fft.ifft(zero_momentum, axis=-1).real / (cell * space)

        return self.propagator.derived(transform)


class _Means(Statistic):
    """The values themselves."""

    def numbers(self, values: Float[Array, "values draws"]) -> Float[Array, "values draws"]:
        return values


class _Spectrum(_Means):
    """a^d |f_p|^2/V."""

    architecture: OnLattice

    def draw(self, key: Array) -> Float[Array, " momenta"]:
        architecture, lattice = self.architecture, self.architecture.lattice
        modes = jnp.fft.fftn(architecture.on_sites(architecture.sample_parameters(key)))
        return (lattice.cell_volume / lattice.num_sites) * (modes.real**2 + modes.imag**2).reshape(-1)


class _Pairs(_Means):
    """two_point and correlator of one draw."""

    architecture: Architecture
    lattice: Lattice = eqx.field(static=True)

    def draw(self, key: Array) -> Float[Array, " values"]:
        ensemble, theta = Ensemble(self.architecture, self.lattice), self.architecture.sample_parameters(key)
        observed = per_draw(ensemble)(theta, ensemble.field(theta))
        return jnp.concatenate([observed["two_point"], observed["correlator"]])


def estimate_time_correlators(
    ensemble: Ensemble,
    key: Array,
    num_draws: int,
    *,
    num_blocks: int = 128,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> TimeCorrelators:
    """two_point(t) and correlator(t), defined in `per_draw`, on a box or a torus, from `num_draws` networks."""
    require_free(ensemble)
    statistic = _Pairs(ensemble.architecture, ensemble.lattice)
    streamed, t = stream(statistic, key, num_draws, num_blocks, batch_size, progress), separations(ensemble.lattice)
    two_point, correlator = (streamed.of(part).means() for part in (slice(0, len(t)), slice(len(t), None)))
    return TimeCorrelators(t, two_point, correlator)


def estimate_torus_two_point(
    ensemble: Ensemble,
    key: Array,
    num_draws: int,
    *,
    num_blocks: int = 32,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> TorusTwoPoint:
    """G(p) and its transforms on a torus; num_blocks x sites numbers are kept."""
    require_free(ensemble)
    architecture, lattice = ensemble.architecture, ensemble.lattice
    if not isinstance(architecture, OnLattice) or lattice.geometry != "torus":
        raise _checks.InputError(
            f"the ensemble is a {type(architecture).__name__} on a {lattice.geometry}, where momentum is not conserved;"
            " G(p) needs a torus. For a box use estimate_time_correlators."
        )
    streamed = stream(_Spectrum(architecture), key, num_draws, num_blocks, batch_size, progress)
    return TorusTwoPoint(lattice, streamed.means())
