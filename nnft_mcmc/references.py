"""Exact answers for an ensemble: the numbers that a run is held against.

Two kinds of ensemble have them. A free one, of an architecture with exact correlators, is known at its own width. The
d = 1 scalar-net without cut-off, with any local insertion, is known at N = infinity on the same sites with the same
quadrature weights, from a transfer matrix of Mehler kernels; the leading finite-width shift of every number is known
too, also with two quadratures per neuron and with stratified momenta.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnft_mcmc import _checks
from nnft_mcmc.architectures import Architecture, ExactCorrelators, ScalarNet, StratifiedNet, TwoQuadratureNet
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.estimators import pair_weights
from nnft_mcmc.exact import TransferMatrix, width_shift

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Reference:
    """Exact mid-box expectation values, named as `estimators` names their estimates.

    `shifts` are the leading finite-width corrections to add to `values` at this ensemble's width: empty where `values`
    are exact at that width already, or where the correction is not known.
    """

    description: str
    values: dict[str, FloatArray]
    shifts: dict[str, FloatArray]
    excess_kurtosis: float
    log_partition_ratio: float | None = None


def exact_reference(ensemble: Ensemble) -> Reference:
    """The exact answer for `ensemble`, or an error that says what would have one."""
    architecture = ensemble.architecture
    if ensemble.local_action.is_free and isinstance(architecture, ExactCorrelators):
        return _free(ensemble, architecture)
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
        " for the free ensemble, and for a scalar_net with dim = 1 and cutoff = inf."
    )


def _waves(architecture: Architecture) -> tuple[Architecture, int]:
    """The network of plane waves inside, and its quadratures per neuron."""
    net: Architecture = architecture.base if isinstance(architecture, StratifiedNet) else architecture
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
        shifts={},
        excess_kurtosis=kurtosis,
        log_partition_ratio=0.0,
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
    if abs(waves.alpha) < 0.5 and isinstance(architecture, ExactCorrelators):  # the neurons have a fourth moment
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
