"""The weak-coupling series of an ensemble as a reference, to second order and exactly at its width.

The second order at N neurons takes the moments of one neuron at three or four points. Where these are not known, or the
lattice has too many pairs of sites, it is that of infinite width, and what is left out is O(coupling^2/N) too.
"""

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnft_mcmc import _checks
from nnft_mcmc.architectures import ExactCorrelators, NeuronMoments, OnLattice
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.estimators import pair_weights
from nnft_mcmc.exact import ConnectedFunctions, GaussianSeries
from nnft_mcmc.exact.perturbation import (
    Joint,
    Powers,
    cumulants_of_moments,
    first_order_of_fourth_moment,
    moments_of_cumulants,
    second_order,
)
from nnft_mcmc.references.exact import Reference

FloatArray = NDArray[np.float64]

MOST_SITES = 4096
MOST_TRIPLES = 2**18  # of a point y and two sites, for the second order at finite width


def perturbative_reference(ensemble: Ensemble) -> Reference:
    """<phi^2>, <phi^4> and G(t) from the central site (any site of a torus)."""
    architecture, lattice = ensemble.architecture, ensemble.lattice
    if not isinstance(architecture, ExactCorrelators):
        raise _checks.InputError(
            f"perturbation theory needs the connected functions of the free {type(architecture).__name__}, which lacks"
            " ExactCorrelators; compare with infinite-width."
        )
    if lattice.num_sites > MOST_SITES:
        raise _checks.InputError(
            f"the lattice has {lattice.num_sites} sites and the series sums over pairs of them; {MOST_SITES} are the"
            " most."
        )
    quadratic, quartic = _couplings(ensemble)
    sites = lattice.sites.reshape(-1, lattice.dim)
    series = GaussianSeries(architecture.two_point(sites[:, None], sites[None]), quadratic, quartic)
    centre = int(np.ravel_multi_index(lattice.centre, lattice.shape))
    orders, fourth = _on_line(ensemble, series.two_point(centre)), series.fourth_moment(centre)
    gaussian = isinstance(architecture, OnLattice)
    if not gaussian:
        orders[1] = _on_line(ensemble, _first_order(ensemble, architecture, quadratic, quartic)[None])[0]
        fourth[:2] = _fourth_moment(ensemble, architecture, quadratic, quartic)
    second = _second_order(ensemble, architecture, quadratic, quartic)
    if second is not None:
        orders[2], fourth[2] = _on_line(ensemble, second[0][None])[0], second[1]
    values = {"phi2_mid": orders[:, 0].sum(), "phi4_mid": fourth.sum(), "two_point": orders.sum(axis=0)}
    share = [float(100 * order / orders[0, 0]) for order in orders[:, 0]]
    exact = gaussian or second is not None
    width = "" if gaussian else f" at width {getattr(architecture, 'width', 0)}"
    if not exact:
        width = f", the first{width} and the second at infinite"
    return Reference(
        description=f"weak-coupling perturbation theory to second order{width}",
        values={name: np.asarray(value) for name, value in values.items()},
        remains=(
            f"The series is cut off: its orders are {share[1]:+.2f}% and {share[2]:+.2f}% of the free <phi^2>, and the"
            f" third is left out{'' if exact else ', as are terms of second order in the coupling over the width'}."
        ),
    )


def _couplings(ensemble: Ensemble) -> tuple[FloatArray, FloatArray]:
    """c2 and c4 at every site."""
    given = ensemble.local_action.coefficients.reshape(len(ensemble.local_action.coefficients), -1)
    full = np.zeros((max(5, len(given)), given.shape[1]))
    full[: len(given)] = given
    if full[1::2].any() or full[5:].any():
        raise _checks.InputError("the series is known for phi^2 and phi^4 insertions, and another power was inserted.")
    return full[2], full[4]


def _on_line(ensemble: Ensemble, from_centre: FloatArray) -> FloatArray:
    """<phi(c) phi(y)> at all sites y (orders, V) as two_point(t), (orders, separations)."""
    lattice = ensemble.lattice
    line: tuple[Any, ...] = (slice(None), slice(None), *lattice.centre[1:])
    by_site = from_centre.reshape(-1, *lattice.shape)[line]
    if lattice.geometry == "torus":
        by_site = np.roll(by_site, -lattice.centre[0], axis=1)
        return by_site[:, : len(pair_weights(lattice))]
    return by_site @ pair_weights(lattice).T


def _first_order(
    ensemble: Ensemble, architecture: ExactCorrelators, quadratic: FloatArray, quartic: FloatArray
) -> FloatArray:
    """The first order of <phi(c) phi(y)> at all sites y, exactly at this width; zero off the time axis through c."""
    lattice = ensemble.lattice
    line: tuple[Any, ...] = (slice(None), *lattice.centre[1:])
    inserted = (quadratic != 0) | (quartic != 0)
    z, x = lattice.sites.reshape(-1, lattice.dim)[inserted], lattice.sites[lattice.centre]
    y = lattice.sites[line][:, None]
    connected = architecture.n_point_connected
    functions = ConnectedFunctions(
        xz=connected(x, z),
        yz=connected(y, z),
        zz=connected(z, z),
        xyzz=connected(x, y, z, z),
        yzzz=connected(y, z, z, z),
        xzzz=connected(x, z, z, z),
        xyzzzz=connected(x, y, z, z, z, z),
    )
    result = np.zeros(lattice.shape)
    result[line] = functions.first_order(quadratic[inserted], quartic[inserted])
    return result.ravel()


def _fourth_moment(
    ensemble: Ensemble, architecture: ExactCorrelators, quadratic: FloatArray, quartic: FloatArray
) -> tuple[float, float]:
    """<phi(c)^4> of the free network and its first order, exactly at this width."""
    inserted = (quadratic != 0) | (quartic != 0)
    lattice = ensemble.lattice
    z, x = lattice.sites.reshape(-1, lattice.dim)[inserted], lattice.sites[lattice.centre]

    @functools.cache
    def cumulant(powers: Powers) -> FloatArray:
        at_x, at_z = powers
        return architecture.n_point_connected(*[x] * at_x, *[z] * at_z)

    free = 3 * cumulant((2, 0)) ** 2 + cumulant((4, 0))
    return float(free), first_order_of_fourth_moment(cumulant, quadratic[inserted], quartic[inserted])


def _second_order(
    ensemble: Ensemble, architecture: ExactCorrelators, quadratic: FloatArray, quartic: FloatArray
) -> tuple[FloatArray, float] | None:
    """The second order of <phi(c) phi(y)>, as `_first_order`, and of <phi(c)^4>, exactly in N; None where unknown."""
    inserted = (quadratic != 0) | (quartic != 0)
    lattice = ensemble.lattice
    if not isinstance(architecture, NeuronMoments) or lattice.shape[0] * inserted.sum() ** 2 > MOST_TRIPLES:
        return None
    couplings = quadratic[inserted], quartic[inserted]
    w, x = lattice.sites.reshape(-1, lattice.dim)[inserted], lattice.sites[lattice.centre]
    line: tuple[Any, ...] = (slice(None), *lattice.centre[1:])
    y, z = lattice.sites[line][:, None, None], w[:, None]
    result = np.zeros(lattice.shape)
    result[line] = second_order(_moments(architecture, (x, y, z, w)), (1, 1), *couplings)
    return result.ravel(), float(second_order(_moments(architecture, (x, z, w)), (4,), *couplings))


def _moments(architecture: NeuronMoments, at: tuple[FloatArray, ...]) -> Joint:
    """Joint moments of the field at points that broadcast, from those of one neuron."""

    @functools.cache
    def of_neuron(powers: Powers) -> FloatArray:
        fields = [point for point, power in zip(at, powers, strict=True) for _ in range(power)]
        return architecture.neuron_moment(*np.broadcast_arrays(*fields))

    of_psi = cumulants_of_moments(of_neuron)
    return moments_of_cumulants(lambda powers: architecture.width ** (1 - sum(powers) / 2) * of_psi(powers))
