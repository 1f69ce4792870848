"""Observables of fields on lattices against loops over their sites, and of exact means against closed forms."""

import itertools
import math

import jax
import numpy as np
import pytest

from nnft_mcmc.architectures import LatticeModes
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.estimators import observables, per_draw
from nnft_mcmc.estimators.effective_mass import effective_mass, plateau, torus_effective_mass
from nnft_mcmc.estimators.observables import correlation_length, excess_kurtosis
from nnft_mcmc.estimators.per_draw import axis_momenta, longest_axes, nearest_neighbour
from nnft_mcmc.lattice import Lattice
from nnft_mcmc.statistics import gamma_method

MASS, SPACING = 0.7, 0.5


def torus(*shape):
    lattice = Lattice(shape, SPACING, "torus")
    return Ensemble(LatticeModes(lattice=lattice, mass=MASS), lattice)


def one_draw(ensemble, seed=1):
    observe = per_draw(ensemble)

    @jax.jit
    def drawn(key):
        theta = ensemble.architecture.sample_parameters(key)
        field = ensemble.field(theta)
        return field, observe(theta, field)

    field, kept = drawn(jax.random.key(seed))
    return np.asarray(field), {name: np.asarray(x) for name, x in kept.items()}


@pytest.mark.parametrize("shape", [(1,), (2,), (5,), (6, 4), (2, 3), (4, 3, 2)])
def test_links_of_a_torus(shape):
    field, kept = one_draw(torus(*shape))
    total = 0.0
    for x in itertools.product(*map(range, shape)):
        for mu, n in enumerate(shape):
            neighbour = (*x[:mu], (x[mu] + 1) % n, *x[mu + 1 :])
            total += field[x] * field[neighbour]
    assert kept["nearest_neighbour"] == pytest.approx(total / (len(shape) * field.size), rel=1e-12)


@pytest.mark.parametrize("shape", [(5,), (1, 4), (3, 4, 2)])
def test_links_of_a_box(shape):
    field = np.random.default_rng(2).normal(size=shape)
    products = []
    for x in itertools.product(*map(range, shape)):
        for mu, n in enumerate(shape):
            if x[mu] + 1 < n:
                products.append(field[x] * field[(*x[:mu], x[mu] + 1, *x[mu + 1 :])])
    found = nearest_neighbour(Lattice(shape, SPACING, "box"), field)
    assert float(found) == pytest.approx(np.mean(products), rel=1e-12)


@pytest.mark.parametrize("shape", [(1,), (2,), (9,), (6, 4), (4, 6, 6)])
def test_propagator_along_the_axes(shape):
    field, kept = one_draw(torus(*shape))
    transform = np.abs(np.fft.fftn(field)) ** 2 * SPACING ** len(shape) / field.size
    for mu, n in enumerate(shape):
        along = transform[tuple(slice(None) if nu == mu else 0 for nu in range(len(shape)))]
        expected = [along[k % n] for k in range(min(4, max(shape) // 2 + 1))]
        np.testing.assert_allclose(kept["propagator"][mu], expected, rtol=1e-10, atol=1e-14)


def test_the_propagator_at_zero_is_the_susceptibility():
    lattice = torus(6, 4).lattice
    field, kept = one_draw(torus(6, 4))
    assert kept["propagator"][0, 0] == pytest.approx(field.size * lattice.cell_volume * field.mean() ** 2, rel=1e-12)
    assert longest_axes(lattice) == (0,)
    assert longest_axes(Lattice((4, 6, 6), 1.0, "torus")) == (1, 2)
    np.testing.assert_allclose(axis_momenta(lattice), 2 * np.pi * np.arange(4) / (6 * SPACING), rtol=1e-14)


def constant(*values):
    """Series of one chain whose means are `values`, with noise of relative size 1e-9 that averages to nothing."""
    noise = np.array([1.0, -1.0] * 32)[None, :, None] * np.random.default_rng(3).normal(size=len(values))
    return np.array(values) * (1 + 1e-9 * noise)


@pytest.mark.parametrize("sites", [2, 3, 16])
def test_correlation_length_of_the_free_field_is_one_over_its_mass(sites):
    lattice = Lattice((sites, sites), SPACING, "torus")
    p_hat = 2 / SPACING * math.sin(math.pi / sites)
    found = correlation_length(constant(1 / MASS**2, 1 / (p_hat**2 + MASS**2)), lattice)
    assert found.reasons == ()
    assert found.series.mean() == pytest.approx(1 / MASS, rel=1e-10)


def test_correlation_length_without_signal_has_a_reason():
    found = correlation_length(constant(1.0, 1.0), Lattice((8, 8), 1.0, "torus"))
    assert np.isnan(found.series).all()
    assert "times its error" in found.reasons[0]


def test_effective_masses_of_one_state():
    """Both are exact, at every t and spacing: log of an exponential, cosh of a cosh."""
    t = SPACING * np.arange(9)
    log = effective_mass(constant(*(0.3 * np.exp(-MASS * t))), t)
    np.testing.assert_allclose(log.series.mean(axis=(0, 1)), MASS, rtol=1e-8)
    np.testing.assert_allclose(log.coords, t[:-1] + SPACING / 2)
    cosh = torus_effective_mass(constant(*(0.3 * np.cosh(MASS * (t[-1] - t)))), t)
    np.testing.assert_allclose(cosh.series.mean(axis=(0, 1)), MASS, rtol=1e-7)
    np.testing.assert_allclose(cosh.coords, t[1:-1])
    assert plateau(cosh).note == "effective mass averaged over 1.5 <= t <= 2"
    assert not any(log.reasons + cosh.reasons)


def test_effective_mass_without_a_mass_has_a_reason():
    """C(t) that bends down has no cosh mass there, and one that is noise has none at all."""
    t = np.arange(5.0)
    bent = torus_effective_mass(constant(1.0, 0.9, 0.6, 0.5, 0.45), t)
    assert "is not above 1" in bent.reasons[0]
    assert np.isnan(bent.series[..., 0]).all()
    noisy = constant(1.0, 0.5, 0.25, 0.125, 0.06)
    noisy[..., 3] = np.random.default_rng(4).normal(size=64)
    found = torus_effective_mass(noisy, t)
    assert [bool(reason) for reason in found.reasons] == [False, True, True]
    assert "lost in noise" in found.reasons[1]


@pytest.mark.parametrize("shape", [(1,), (2,), (8,), (4, 6)])
def test_derived_observables_are_functions_of_the_means(shape):
    """Binder cumulant, correlation length and the others from the means of stored fields, by hand."""
    ensemble = torus(*shape)
    keys = jax.random.split(jax.random.key(5), 400)
    observe = per_draw(ensemble)

    @jax.jit
    @jax.vmap
    def drawn(key):
        theta = ensemble.architecture.sample_parameters(key)
        field = ensemble.field(theta)
        return field, observe(theta, field)

    fields, kept = drawn(keys)
    found = observables({name: np.asarray(x)[None] for name, x in kept.items()}, ensemble.lattice)
    phi = np.asarray(fields)
    m = phi.reshape(400, -1).mean(axis=1)
    volume = phi[0].size * ensemble.lattice.cell_volume
    expected = {
        "magnetization": m.mean(),
        "connected_susceptibility": volume * (np.mean(m**2) - np.mean(np.abs(m)) ** 2),
        "binder": 1 - np.mean(m**4) / (3 * np.mean(m**2) ** 2),
        "excess_kurtosis": np.mean(phi**4) / np.mean(phi**2) ** 2 - 3,
    }
    axes = tuple(range(1, phi.ndim))
    power = (np.abs(np.fft.fftn(phi, axes=axes)) ** 2).mean(axis=0) * ensemble.lattice.cell_volume / phi[0].size
    if max(shape) > 1:
        first = power[(0,) * (len(shape) - 1) + (1,)]  # the last axis is a longest one
        ratio = power.ravel()[0] / first - 1
        expected["correlation_length"] = SPACING * math.sqrt(ratio) / (2 * math.sin(math.pi / max(shape)))
    for name, number in expected.items():
        assert found[name].series.mean() == pytest.approx(number, rel=1e-10), name
    assert ("correlation_length" in found) == (max(shape) > 1)


def test_excess_kurtosis_is_propagated_linearly():
    """Its series against a numerical derivative of the function of the means."""
    x = np.random.default_rng(6).normal(size=(2, 500))
    series = excess_kurtosis(x**2, x**4)
    m2, m4, h = np.mean(x**2), np.mean(x**4), 1e-6
    slope2 = (m4 / (m2 + h) ** 2 - m4 / (m2 - h) ** 2) / (2 * h)
    expected = m4 / m2**2 - 3 + slope2 * (x**2 - m2) + (x**4 - m4) / m2**2
    np.testing.assert_allclose(series, expected, rtol=1e-7, atol=1e-8)
    assert gamma_method(series).value == pytest.approx(m4 / m2**2 - 3)
