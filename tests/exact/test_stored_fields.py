"""Correlation functions of stored fields against loops over their sites."""

import itertools

import numpy as np
import pytest

from nnft_mcmc import InputError, Lattice
from nnft_mcmc.estimators.stored_fields import connected_n_point, pair_matrix, torus_propagator, torus_two_point
from nnft_mcmc.runs.field_correlators import field_correlators
from nnft_mcmc.runs.results import label
from nnft_mcmc.statistics import gamma_method

SPACING = 0.5
TORUS, BOX = Lattice((4, 3), SPACING, "torus"), Lattice((4, 3), SPACING)


def fields(seed=1, draws=60):
    return np.random.default_rng(seed).normal(size=(2, draws, 4, 3))


def test_two_point_functions_of_a_torus():
    phi = fields()
    two_point, propagator = torus_two_point(phi, TORUS), torus_propagator(phi, TORUS)
    for r in itertools.product(range(4), range(3)):
        products = (phi * np.roll(phi, (-r[0], -r[1]), axis=(2, 3))).mean(axis=(2, 3))
        expected = gamma_method(products)
        assert two_point.value[r] == pytest.approx(expected.value, rel=1e-10, abs=1e-14)
        assert two_point.error[r] == pytest.approx(expected.error, rel=1e-8)
    for k in itertools.product(range(4), range(3)):
        phase = np.exp(-2j * np.pi * (k[0] * np.arange(4)[:, None] / 4 + k[1] * np.arange(3) / 3))
        power = np.abs((phi * phase).sum(axis=(2, 3))) ** 2 * SPACING**2 / 12
        assert propagator.value[k] == pytest.approx(power.mean(), rel=1e-10)


def test_pairs_of_a_box():
    phi = fields(2)
    sites = [(0, 0), (3, 2), (1, 1)]
    found = pair_matrix(phi, BOX, sites)
    for (i, x), (j, y) in itertools.product(enumerate(sites), repeat=2):
        expected = gamma_method(phi[:, :, *x] * phi[:, :, *y])
        assert found.value[i, j] == pytest.approx(expected.value, rel=1e-12)
        assert found.error[i, j] == pytest.approx(expected.error, rel=1e-10)
    assert pair_matrix(phi, BOX).value.shape == (12, 12)


def skewed(seed=3):
    """Fields with a connected four-point function: each draw has its own scale."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(2, 4096, 4, 3)) * (1 + rng.random((2, 4096, 1, 1)))


def test_connected_functions_of_a_box():
    """Unbiased estimates are the plain cumulants up to a fraction of their errors."""
    phi = skewed()
    a, b = (0, 0), (2, 1)
    found = connected_n_point(phi, BOX, [(a, b), (a, a), (a, a, b, b), (a, a, a, a)])
    x, y = phi[:, :, *a].ravel(), phi[:, :, *b].ravel()
    four = np.mean(x**2 * y**2) - np.mean(x**2) * np.mean(y**2) - 2 * np.mean(x * y) ** 2
    expected = [np.mean(x * y), np.mean(x**2), four, np.mean(x**4) - 3 * np.mean(x**2) ** 2]
    assert (np.abs(found.value - expected) < 0.3 * found.error).all()
    assert (found.error < [0.05, 0.1, 0.25, 0.5]).all()


def test_connected_functions_of_a_torus_are_averaged_over_translations():
    phi = skewed(4)
    found = connected_n_point(phi, TORUS, [((0, 0), (1, 2))])
    expected = (phi * np.roll(phi, (-1, -2), axis=(2, 3))).mean()
    assert found.value[0] == pytest.approx(expected, abs=1e-12)
    box = Lattice((4, 3), SPACING)
    assert found.error[0] < 0.5 * connected_n_point(phi, box, [((0, 0), (1, 2))]).error[0]


def test_labelled_correlators():
    phi = fields(5)
    results = label({"posterior": {"field": phi}}, TORUS)
    found = field_correlators(results, TORUS)
    assert found["two_point"].dims == ("t", "x")
    assert found["propagator"].dims == ("p_t", "p_x")
    zero = found["propagator"].sel(p_t=0.0, p_x=0.0)
    assert float(zero) == pytest.approx(np.mean(phi.sum(axis=(2, 3)) ** 2) * SPACING**2 / 12, rel=1e-10)
    box = field_correlators(results, BOX)
    assert box["two_point"].dims == ("t", "x", "t_2", "x_2")
    pair = box["two_point"].sel(t=-0.75, x=0.5, t_2=0.25, x_2=0.0)
    assert float(pair) == pytest.approx(np.mean(phi[:, :, 0, 2] * phi[:, :, 2, 1]), rel=1e-10)
    with pytest.raises(InputError, match="no field"):
        field_correlators(label({"observables": {"phi2": phi[..., 0, 0]}}, TORUS), TORUS)


def test_what_is_refused():
    phi = fields()
    with pytest.raises(InputError, match="is a box"):
        torus_two_point(phi, BOX)
    with pytest.raises(InputError, match="outside the lattice"):
        pair_matrix(phi, BOX, [(0, 3)])
    with pytest.raises(InputError, match="indices of 2 whole numbers"):
        pair_matrix(phi, BOX, [(0,)])
    with pytest.raises(InputError, match="fields have shape"):
        pair_matrix(phi[..., 0], BOX)
