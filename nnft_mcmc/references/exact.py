"""Exact answers for an ensemble: the numbers that a run is held against.

Three kinds of ensemble have them. A free one, of an architecture with exact correlators, is known at its own width. A
lattice theory, of modes with the lattice dispersion or of site values, is known on rings and on small tori in d = 2
with any insertion that is the same at all sites (`exact.torus`). The d = 1 scalar-net without cut-off, with any local
insertion, is known at N = infinity on the same sites with the same quadrature weights, from a transfer matrix of Mehler
kernels; the leading finite-width shift of every number is known too, also with two quadratures per neuron and with
stratified momenta. Its `infinite_width` process has the same numbers without a shift, and on a single site every such
process is one integral (d = 0).
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnft_mcmc import _checks
from nnft_mcmc.architectures import (
    Architecture,
    ExactCorrelators,
    InfiniteWidth,
    LatticeModes,
    ScalarNet,
    SiteField,
    StratifiedNet,
    TwoQuadratureNet,
)
from nnft_mcmc.architectures.on_lattice import OnTorus
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.estimators import pair_weights
from nnft_mcmc.exact import TorusTheory, TransferMatrix, width_shift
from nnft_mcmc.insertions import free_lattice_action
from nnft_mcmc.lattice import Lattice
from nnft_mcmc.references.total_action import uniform_potential

FloatArray = NDArray[np.float64]

# Relative weight of the states that the contraction of a torus may drop; results err by a twentieth of it or less, as
# found on the torus of three sites. The finest that is affordable is taken, a minute at the most.
PRECISIONS = (1e-9, 1e-7, 1e-6, 1e-5)
LARGEST_COST = 5e8


@dataclass(frozen=True)
class Reference:
    """Expectation values to hold a run against, named as `estimators` names their estimates.

    `shifts` are the leading finite-width corrections to add to `values` at this ensemble's width: empty where `values`
    are exact at that width already, or where the correction is not known. `remains` says in a sentence what difference
    between the run and the reference is to be expected beyond the statistical one.
    """

    description: str
    values: dict[str, FloatArray]
    shifts: dict[str, FloatArray] = field(default_factory=dict)
    excess_kurtosis: float = math.nan
    log_partition_ratio: float | None = None
    remains: str = ""


def exact_reference(ensemble: Ensemble) -> Reference:
    """The exact answer for `ensemble`, or an error that says what would have one."""
    architecture = ensemble.architecture
    if ensemble.local_action.is_free and isinstance(architecture, OnTorus):
        return _free_torus(ensemble.lattice, architecture)
    if ensemble.local_action.is_free and isinstance(architecture, ExactCorrelators):
        return _free(ensemble, architecture)
    if isinstance(architecture, (LatticeModes, SiteField)):
        return _torus(ensemble)
    if isinstance(architecture, InfiniteWidth) and ensemble.lattice.num_sites == 1:
        return _one_site(ensemble, architecture)
    waves, quadratures = _waves(architecture)
    if isinstance(waves, ScalarNet) and waves.dim == 1 and waves.cutoff == np.inf:
        return _transfer_matrix(ensemble, waves, quadratures)
    name = type(architecture).__name__
    if ensemble.local_action.is_free:
        raise _checks.InputError(
            f"no exact answer is known for the free {name}: it lacks ExactCorrelators; estimate its connected functions"
            " with `nnft correlators`, or compare with its Gaussian limit, the architecture infinite_width of it."
        )
    raise _checks.InputError(
        f"no exact answer is known for an interacting {name} of dim = {architecture.dim} with these parameters; it is"
        " for the free ensemble, for a scalar_net with dim = 1 and cutoff = inf, and for lattice theories on a ring or"
        " a torus with few sites in a row. Compare with infinite-width, lattice or perturbation."
    )


def _waves(architecture: Architecture) -> tuple[object, int]:
    """The network of plane waves inside, and its quadratures per neuron."""
    net: object = architecture.base if isinstance(architecture, (StratifiedNet, InfiniteWidth)) else architecture
    return (net.base, 2) if isinstance(net, TwoQuadratureNet) else (net, 1)


def _free(ensemble: Ensemble, architecture: ExactCorrelators) -> Reference:
    lattice = ensemble.lattice
    centre = lattice.sites[lattice.centre]
    line = np.moveaxis(lattice.sites, 0, -2)[lattice.centre[1:]]
    g0 = float(architecture.two_point(centre, centre))
    values = {
        "phi2_mid": np.array(g0),
        "two_point": pair_weights(lattice) @ architecture.two_point(centre, line),
    }
    kurtosis = np.nan
    try:
        gc4 = float(architecture.four_point_connected(*[centre] * 4))
    except _checks.InputError:  # <phi^4> diverges, and there is nothing to compare it with
        pass
    else:
        values["phi4_mid"], kurtosis = np.array(3 * g0**2 + gc4), gc4 / g0**2
    return Reference(
        description="the free ensemble, exact at its own width",
        values=values,
        excess_kurtosis=kurtosis,
        log_partition_ratio=0.0,
    )


def _free_torus(lattice: Lattice, architecture: OnTorus) -> Reference:
    two_point = np.fft.ifftn(architecture.spectrum()).real
    neighbours = [
        two_point[tuple(int(nu == mu) % n for nu, n in enumerate(lattice.shape))] for mu in range(lattice.dim)
    ]
    separations = len(pair_weights(lattice))
    return Reference(
        description="the free field on this torus, exact",
        values=_on_torus(
            lattice,
            phi2=two_point.flat[0],
            phi4=3 * two_point.flat[0] ** 2,
            nearest_neighbour=np.mean(neighbours),
            two_point=two_point.reshape(lattice.shape[0], -1)[:separations, 0],
            correlator=two_point.reshape(lattice.shape[0], -1).mean(axis=1)[:separations],
            susceptibility=lattice.cell_volume * two_point.sum(),
        ),
        excess_kurtosis=0.0,
        log_partition_ratio=0.0,
    )


def _torus(ensemble: Ensemble) -> Reference:
    """The contracted torus, in the field of the ensemble."""
    lattice, architecture = ensemble.lattice, ensemble.architecture
    free, potential = free_lattice_action(architecture), uniform_potential(ensemble)
    total = np.zeros(max(3, potential.size))
    total[: potential.size] = potential
    total[2] += free.quadratic
    theory = _affordable(lattice, free.hopping, total)
    return Reference(
        description="the same lattice theory, contracted exactly",
        values=_on_torus(
            lattice,
            phi2=theory.moment(2),
            phi4=theory.moment(4),
            nearest_neighbour=theory.nearest_neighbour,
            two_point=theory.two_point,
            correlator=theory.correlator,
            susceptibility=lattice.cell_volume * theory.susceptibility,
        ),
        log_partition_ratio=theory.log_z - log_z_free(architecture),
    )


def _affordable(lattice: Lattice, hopping: float, potential: FloatArray) -> TorusTheory:
    """The contraction at the finest precision that can be waited for."""
    if lattice.dim <= 2:
        for precision in PRECISIONS:
            theory = TorusTheory(lattice.shape, hopping, potential, precision)
            if theory.cost <= LARGEST_COST:
                return theory
    raise _checks.InputError(
        f"no exact answer is known on a torus of shape {list(lattice.shape)}; it is in d = 1, and in d = 2 with few"
        " sites along the second axis, three to six. Compare with lattice, the same theory in other variables."
    )


def log_z_free(architecture: Architecture) -> float:
    """ln int prod_x dphi(x) exp(-S_free) of a field on a torus."""
    if not isinstance(architecture, OnTorus):
        raise _checks.InputError(f"{type(architecture).__name__} is no field on a torus, so its Z0 is not known.")
    return 0.5 * float(np.sum(np.log(2 * math.pi * architecture.spectrum())))


def _on_torus(lattice: Lattice, **values: ArrayLike) -> dict[str, FloatArray]:
    """`values` as arrays, without what one dimension has twice: every correlator is a two-point function there."""
    twice = ("nearest_neighbour", "correlator") if lattice.dim == 1 else ()
    return {name: np.asarray(value, dtype=np.float64) for name, value in values.items() if name not in twice}


def _one_site(ensemble: Ensemble, architecture: InfiniteWidth) -> Reference:
    """A Gaussian variable with a potential. A site that is its own neighbour has no hopping term left."""
    variance, potential = float(architecture.process.kernel[0, 0]), uniform_potential(ensemble)
    hopping = 1 / variance
    total = np.zeros(max(3, potential.size))
    total[: potential.size] = potential
    total[2] += hopping + 0.5 / variance
    theory = TorusTheory((1,), hopping, total)
    phi2 = np.array(theory.moment(2))
    return Reference(
        description="the same theory of one variable, one integral",
        values={"phi2_mid": phi2, "phi4_mid": np.array(theory.moment(4)), "two_point": phi2[None]},
        log_partition_ratio=theory.log_z - 0.5 * math.log(2 * math.pi * variance),
    )


def _transfer_matrix(ensemble: Ensemble, waves: ScalarNet, quadratures: int) -> Reference:
    lattice, (site,) = ensemble.lattice, ensemble.lattice.centre
    theory = TransferMatrix(waves.mass, lattice.axis(0), ensemble.local_action.coefficients)
    pairs = pair_weights(lattice)
    values = {
        "phi2_mid": theory.moment(2)[site],
        "phi4_mid": theory.moment(4)[site],
        "two_point": pairs @ theory.two_point()[site],
    }
    shifts: dict[str, FloatArray] = {}
    kurtosis = np.nan
    architecture = ensemble.architecture
    # the neurons have a fourth moment, and there are finitely many of them
    has_shift = abs(waves.alpha) < 0.5 and not isinstance(architecture, InfiniteWidth)
    if has_shift and isinstance(architecture, ExactCorrelators):
        cells = None
        if isinstance(architecture, StratifiedNet):
            cells = architecture.cell_two_point(lattice.axis(0) - lattice.axis(0)[0])
        shift, origin = width_shift(theory, site, waves.alpha, quadratures, cells), np.zeros(1)
        at_width = {"phi2_mid": shift.phi2[site], "phi4_mid": shift.phi4[site], "two_point": pairs @ shift.two_point}
        shifts = {name: b / waves.width for name, b in at_width.items()}
        g0 = architecture.two_point(origin, origin)
        kurtosis = float(architecture.four_point_connected(*[origin] * 4) / g0**2)
    return Reference(
        description="the N = infinity theory on the same sites with the same weights (transfer matrix of Mehler"
        " kernels)",
        values={name: np.asarray(value) for name, value in values.items()},
        shifts={name: np.asarray(value) for name, value in shifts.items()},
        excess_kurtosis=kurtosis,
        log_partition_ratio=theory.log_partition_ratio,
    )
