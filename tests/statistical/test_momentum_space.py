"""Correlators in momentum space: exact relations, and streamed estimates against exact numbers.

Statistical tests have a false-alarm rate of 1e-4 each and a negative control.
"""

import itertools
import math

import jax
import numpy as np
import pytest

from nnft_mcmc import CosNet, Ensemble, InputError, Lattice, LatticeModes, PhiPower, ScalarNet
from nnft_mcmc.architectures.on_lattice import dual_momenta
from nnft_mcmc.estimators.momentum_space import estimate_momentum_n_point, momentum_two_point
from tests.statistical.consistency import assert_consistent, assert_inconsistent

KEY = jax.random.key(5)
TORUS, BOX = Lattice((6, 4), 0.5, "torus"), Lattice((5, 3), 0.4)
LINE = Lattice((4,), 0.6)


def test_two_point_function_on_a_torus_is_the_propagator():
    net = LatticeModes(TORUS, 1.1)
    np.testing.assert_allclose(momentum_two_point(net, TORUS), net.propagator(dual_momenta(TORUS)), rtol=1e-11)


def test_two_point_function_in_a_box_is_the_smeared_sum():
    """a^d sum_r prod (1 - |r|/L) cos(p.r) G(r), displacement by displacement."""
    net = CosNet(2, 3, 1.2, 0.8)
    (n, m), a = BOX.shape, BOX.spacing
    found, p = momentum_two_point(net, BOX), dual_momenta(BOX)
    expected = np.zeros(BOX.shape)
    for i, j in itertools.product(range(1 - n, n), range(1 - m, m)):
        r = a * np.array([i, j])
        expected += a**2 * (1 - abs(i) / n) * (1 - abs(j) / m) * np.cos(p @ r) * net.two_point(r, np.zeros(2))
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-13)


def test_a_long_box_approaches_the_folded_propagator():
    """Cauchy-cos-net: sum_j G(p + 2 pi j/a) = (a/2m) sinh(ma)/(cosh(ma) - cos(pa)), up to a deviation of order 1/L."""
    net, deviations = ScalarNet(1, 3, 1.0, math.inf), []
    for n in (100, 400):
        lattice = Lattice((n,), 0.1)
        k = np.array([n // 50, n // 10])  # p = 4 pi/10 and 2 pi
        folded = 0.05 * math.sinh(0.1) / (math.cosh(0.1) - np.cos(2 * math.pi * k / n))
        deviations.append(momentum_two_point(net, lattice)[k] / folded - 1)
    np.testing.assert_allclose(deviations[0], 4 * deviations[1], rtol=1e-3)
    assert (np.abs(deviations[0]) > 0.01).all()


def exact_n_point(net, lattice, modes):
    """sum over all sites of the waves times the connected function, by brute force; real waves e^{-ip.x} e^{ip.y}."""
    sites = lattice.sites.reshape(-1, lattice.dim)
    lengths = lattice.spacing * np.array(lattice.shape)
    waves = [lattice.cell_volume * np.exp(-1j * sites @ (2 * math.pi * np.array(mode) / lengths)) for mode in modes]
    factors = [f for wave in waves for f in (wave, wave.conj())]
    grids = np.meshgrid(*[np.arange(len(sites))] * len(factors), indexing="ij")
    weight = np.prod([f[g] for f, g in zip(factors, grids, strict=True)], axis=0)
    values = net.n_point_connected(*(sites[g] for g in grids))
    return float((weight * values).sum().real) / (lattice.cell_volume * lattice.num_sites)


MODES = [((0,),), ((1,),), ((0,), (1,)), ((1,), (1,)), ((1,), (2,)), ((1,), (1,), (1,))]


def test_streamed_functions_of_a_box_against_the_sum_over_all_sites():
    """2-, 4- and 6-point functions of a cos-net of width 1, errors below 6% of each."""
    net = CosNet(1, 1, 1.5)
    found = estimate_momentum_n_point(Ensemble(net, LINE), KEY, 400_000, MODES)
    exact = np.array([exact_n_point(net, LINE, modes) for modes in MODES])
    assert_consistent(found.cumulants, exact, resolution=0.06)
    for wrong in (1.05, 1.5):  # the first entries fix 5%, the last ones 50%
        entries = slice(0, 2) if wrong < 1.1 else slice(2, None)
        factor = np.ones(len(exact))
        factor[entries] = wrong
        assert_inconsistent(found.cumulants, factor * exact, resolution=0.06)


def test_all_momenta_of_a_torus_and_the_four_point_function_of_a_gaussian_field():
    ensemble = Ensemble(LatticeModes(TORUS, 1.1), TORUS)
    found = estimate_momentum_n_point(ensemble, KEY, 60_000)
    exact = momentum_two_point(ensemble.architecture, TORUS).ravel()
    assert_consistent(found.cumulants, exact, resolution=0.01)
    assert_inconsistent(found.cumulants, 1.05 * exact, resolution=0.01)
    np.testing.assert_allclose(found.momenta[7][0], [2 * math.pi / 3, 3 * math.pi], rtol=1e-12)
    four = estimate_momentum_n_point(ensemble, KEY, 60_000, [((1, 0), (0, 1)), ((1, 1), (1, 1))])
    scale = TORUS.num_sites * 0.25 * np.array([exact[4] * exact[1], exact[5] ** 2])
    assert_consistent(four.cumulants, np.zeros(2), resolution=0.02, scale=scale)
    assert_inconsistent(four.cumulants, 0.15 * scale, resolution=0.02, scale=scale)


def test_mode_numbers_are_periodic_in_the_number_of_sites():
    ensemble = Ensemble(CosNet(1, 2), LINE)
    a, b = (estimate_momentum_n_point(ensemble, KEY, 1000, [((k,),)]).cumulants.value for k in (1, -3))
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("modes", [[((0.5,),)], [((1, 0),)], [(1,)], [((0,),) * 4], [((0,), (0,), (0,), (0,))]])
def test_modes_that_cannot_be(modes):
    with pytest.raises(InputError, match="modes holds"):
        estimate_momentum_n_point(Ensemble(CosNet(1, 2), LINE), KEY, 1000, modes)


def test_an_interacting_ensemble_is_refused():
    with pytest.raises(InputError, match="insertion"):
        estimate_momentum_n_point(Ensemble(CosNet(1, 2), LINE, PhiPower(4, 0.5)), KEY, 1000)
