"""The spectrum of a theory: energies above the vacuum, from correlators of powers of the field at zero momentum.

Sectors. Where the theory is symmetric under phi -> -phi, odd operators (phi, phi^3) create the odd levels and even ones
(phi^2, phi^4), less their means, the even levels; else all four make one sector. In each, the generalised eigenvalue
problem at t0 = a, t1 = 2a gives one correlator for each level, and fits give its energy. In d = 1 the levels are
E_n - E_0 of the oscillator, odd and even n; in d > 1 the lowest odd one is the mass, and even ones start at 2 masses or
at a bound state, up to 1/volume.

What it rests on: a positive transfer matrix, C_aa(t) = sum of decaying exponentials with positive weights. Networks of
finite width, sharp cut-offs and other ensembles that are not reflection positive do not have one; neither has a box in
the region of its ends. On a torus of length T levels enter as cosh(E (T/2 - t)), up to e^{-E T}.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnft_mcmc import _checks
from nnft_mcmc.estimators.correlator_fits import Energy, fit_energy
from nnft_mcmc.estimators.generalised_eigenvalues import principal_correlators
from nnft_mcmc.estimators.operators import POWERS, bulk, correlation_matrix
from nnft_mcmc.lattice import Lattice
from nnft_mcmc.statistics.resampling import LENGTH_IN_TAU_INTS, Jackknife, blocks_for

FloatArray = NDArray[np.float64]

T0, T1 = 1, 2  # separations, in units of the spacing, at which the eigenvectors are taken
LEAST_BLOCKS = 24


@dataclass(frozen=True, eq=False)
class Level:
    """Level `number` (0, 1, ..) of a sector: its energy, and its correlator C_n(t)/C_n(a) at separations t.

    effective: E_n(t), at `effective_t`; of a torus by arccosh, of a box by the logarithm.
    """

    sector: str
    number: int
    energy: Energy
    t: FloatArray
    correlator: Jackknife
    effective_t: FloatArray
    effective: Jackknife


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Levels of every sector, the times that were used, first and last, and the blocks of the errors."""

    levels: tuple[Level, ...]
    times: tuple[float, float]
    num_blocks: int
    tau_int: float

    @property
    def gap(self) -> Level:
        """The lowest level of the sector of phi."""
        return self.levels[0]


def spectrum(
    slices: FloatArray, lattice: Lattice, tau_int: float, edge: float | None = None, is_even: bool = True
) -> Spectrum:
    """Levels from O_k(t), slices (chain, draw, operator, times) of `operators`.

    tau_int: of the slowest observable of the run, in draws, for the length of the blocks; edge: of a box, how far from
    both ends times have to be, a quarter of its length unless given; is_even: the theory is symmetric under
    phi -> -phi.
    """
    times = bulk(lattice, _edge(lattice, edge))
    t = lattice.axis(0)[times]
    lags = (times.stop - times.start) // 2 + 1
    if lags <= T1 + 1:
        raise _checks.InputError(
            f"there are {lags} separations between the times that can be used, and a spectrum needs {T1 + 2}; take a"
            " longer lattice or a smaller edge."
        )
    num_chains, draws_per_chain = slices.shape[:2]
    num_blocks = blocks_for(num_chains, draws_per_chain, tau_int)
    if num_blocks < LEAST_BLOCKS:
        required = math.ceil(LEAST_BLOCKS * LENGTH_IN_TAU_INTS * tau_int) if math.isfinite(tau_int) else "more"
        raise _checks.InputError(
            f"{num_chains * draws_per_chain} draws at tau_int = {tau_int:.3g} make {num_blocks} blocks of"
            f" {LENGTH_IN_TAU_INTS} tau_int and a spectrum needs {LEAST_BLOCKS}; draw {required} in all."
        )
    sectors = (
        {"odd": ((0, 2), False), "even": ((1, 3), True)} if is_even else {"all": (tuple(range(len(POWERS))), True)}
    )
    levels: list[Level] = []
    for name, (members, connected) in sectors.items():
        matrix = correlation_matrix(slices[:, :, members], lattice, times, num_blocks, connected)
        levels += _levels(name, matrix, lattice)
    return Spectrum(tuple(levels), (float(t[0]), float(t[-1])), num_blocks, tau_int)


def _edge(lattice: Lattice, edge: float | None) -> float:
    if lattice.geometry == "torus":
        if edge is not None:
            raise _checks.InputError("edge is given on a torus, which has no ends; leave it out.")
        return 0.0
    return (lattice.shape[0] - 1) * lattice.spacing / 4 if edge is None else edge


def _levels(sector: str, matrix: Jackknife, lattice: Lattice) -> Iterator[Level]:
    t: FloatArray = lattice.spacing * np.arange(matrix.value.shape[-1], dtype=np.float64)
    period = lattice.shape[0] * lattice.spacing if lattice.geometry == "torus" else math.inf
    projected = principal_correlators(matrix, T0, T1)
    effective_t = t[1:-1] if math.isfinite(period) else (t[:-1] + t[1:]) / 2
    for n in range(len(matrix.value)):
        correlator = Jackknife(projected.value[n], projected.replicas[:, n])
        effective = correlator.derived(lambda c: effective_energies(c, lattice.spacing, math.isfinite(period)))
        energy = fit_energy(correlator, t, period)
        yield Level(sector, n, energy, t, correlator, effective_t, effective)


def effective_energies(c: FloatArray, spacing: float, periodic: bool) -> FloatArray:
    """E(t) of C (..., lags): ln[C(t)/C(t + a)]/a, on a torus arccosh[(C(t - a) + C(t + a))/2C(t)]/a; else NaN."""
    with np.errstate(invalid="ignore", divide="ignore"):
        if periodic:
            return np.arccosh((c[..., :-2] + c[..., 2:]) / (2 * c[..., 1:-1])) / spacing
        return np.log(c[..., :-1] / c[..., 1:]) / spacing
