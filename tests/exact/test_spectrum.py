"""Correlators of operators against loops, eigenvalues and fits against correlators that are known."""

import numpy as np
import pytest

from nnft_mcmc import InputError, Lattice
from nnft_mcmc.estimators.correlator_fits import fit_energy
from nnft_mcmc.estimators.generalised_eigenvalues import generalised_eigenvalues, principal_correlators
from nnft_mcmc.estimators.operators import bulk, correlation_matrix, lagged_products, num_lags, slices_of_fields
from nnft_mcmc.estimators.spectrum import effective_energies, spectrum
from nnft_mcmc.statistics.resampling import Jackknife, from_blocks

SPACING = 0.25
ENERGIES = np.array([1.6, 3.5, 6.0])
OVERLAPS = np.array([[0.7, 0.2, 0.1], [0.6, -0.9, 0.5], [0.3, 0.4, 1.1]])  # (operator, state)


def loop_of_products(slices, lags, periodic):
    n = slices.shape[-1]
    result = np.zeros((len(slices), len(slices), lags))
    for t in range(lags):
        pairs = [(s, (s + t) % n) for s in range(n) if periodic or s + t < n]
        for a, first in enumerate(slices):
            for b, second in enumerate(slices):
                one = [(first[s] * second[u] + second[s] * first[u]) / 2 for s, u in pairs]
                result[a, b, t] = np.mean(one)
    return result


@pytest.mark.parametrize("periodic", [True, False])
def test_lagged_products(periodic):
    slices = np.random.default_rng(1).normal(size=(2, 7))
    np.testing.assert_allclose(lagged_products(slices, 4, periodic), loop_of_products(slices, 4, periodic), atol=1e-14)


@pytest.mark.parametrize(
    ("lattice", "edge"), [(Lattice((6, 2), 0.5, "torus"), 0.0), (Lattice((8, 2), 0.5, "box"), 0.5)]
)
def test_correlation_matrix(lattice, edge):
    """From fields; the vacuum is subtracted time by time in a box and from all times of a torus."""
    fields = np.random.default_rng(2).normal(0.3, 1.0, (2, 40, *lattice.shape))
    slices = slices_of_fields(fields)
    expected = np.stack([(fields**k).mean(axis=-1) for k in (1, 2, 3, 4)], axis=2)
    np.testing.assert_allclose(slices, expected, rtol=1e-12)
    times, periodic = bulk(lattice, edge), lattice.geometry == "torus"
    used, lags = slices[..., times], num_lags(lattice, times)
    products = np.mean([[loop_of_products(draw, lags, periodic) for draw in chain] for chain in used], axis=(0, 1))
    means = used.mean(axis=(0, 1))
    if periodic:
        means = np.repeat(means.mean(axis=1, keepdims=True), means.shape[1], axis=1)
    plain = correlation_matrix(slices, lattice, times, 8, connected=False)
    np.testing.assert_allclose(plain.value, products, rtol=1e-10, atol=1e-12)
    assert plain.replicas.shape == (8, *products.shape)
    connected = correlation_matrix(slices, lattice, times, 8, connected=True)
    np.testing.assert_allclose(
        connected.value, products - loop_of_products(means, lags, periodic), rtol=1e-9, atol=1e-12
    )


def test_bulk_of_a_box():
    box = Lattice((9,), 0.5)
    assert bulk(box, 1.0) == slice(2, 7)
    assert bulk(box, 0.0) == slice(0, 9)
    assert bulk(Lattice((9,), 0.5, "torus"), 3.0) == slice(0, 9)
    with pytest.raises(InputError, match="no pair of times"):
        bulk(box, 2.0)


def correlators(t, period=np.inf):
    """C_ab(t) of three operators and three states."""
    decay = np.exp(-np.outer(ENERGIES, t))
    if np.isfinite(period):
        decay = decay + np.exp(-np.outer(ENERGIES, period - t))
    return np.einsum("an,bn,nt->abt", OVERLAPS, OVERLAPS, decay)


def exactly(value, num_blocks=80, noise=1e-9):
    """Blocks around known values, with a relative noise that is independent in every entry."""
    rng = np.random.default_rng(3)
    blocks = value * (1 + noise * rng.normal(size=(num_blocks, *value.shape)))
    found = from_blocks(blocks, np.ones(num_blocks, dtype=int))
    return Jackknife(value, found.replicas)


@pytest.mark.parametrize("period", [np.inf, 5.0])
def test_as_many_operators_as_states_give_every_energy(period):
    t = SPACING * np.arange(9)
    matrix = correlators(t, period)
    values, _ = generalised_eigenvalues(matrix[..., 3], matrix[..., 1])
    if np.isinf(period):
        np.testing.assert_allclose(-np.log(values) / (2 * SPACING), ENERGIES, rtol=1e-10)
    principal = principal_correlators(exactly(matrix), 1, 2)
    found = effective_energies(principal.value, SPACING, np.isfinite(period))
    np.testing.assert_allclose(found, np.repeat(ENERGIES[:, None], found.shape[1], axis=1), rtol=1e-6)
    np.testing.assert_allclose(principal.value[:, 1], 1.0, rtol=1e-10)


def test_two_operators_that_are_one_are_refused():
    matrix = correlators(SPACING * np.arange(4))
    matrix[1], matrix[:, 1] = matrix[0], matrix[:, 0]
    matrix[1, 1] = matrix[0, 0]
    with pytest.raises(InputError, match="positive definite"):
        generalised_eigenvalues(matrix[..., 2], matrix[..., 1])


@pytest.mark.parametrize("period", [np.inf, 6.0])
@pytest.mark.parametrize("states", [1, 2])
def test_fit_of_what_is_exactly_one_or_two_states(period, states):
    t = SPACING * np.arange(13)
    decay = np.exp(-np.outer(ENERGIES[:states], t))
    if np.isfinite(period):
        decay = decay + np.exp(-np.outer(ENERGIES[:states], period - t))
    found = fit_energy(exactly(np.array([0.3, 0.1])[:states] @ decay, noise=1e-7), t, period)
    assert found.value == pytest.approx(ENERGIES[0], rel=1e-5)
    assert found.error < 1e-5
    assert found.best.num_states == states
    assert found.reason == ""


def test_fits_that_the_data_cannot_support_say_why():
    t = SPACING * np.arange(13)
    decay = 0.3 * np.exp(-1.6 * t)
    few = fit_energy(exactly(decay, num_blocks=8), t)
    assert "too few for a covariance" in few.reason
    noise = np.random.default_rng(4).normal(size=(80, 13))
    lost = fit_energy(from_blocks(noise, np.ones(80, dtype=int)), t)
    assert "above 4 of its errors at 0 separations" in lost.reason
    oscillating = fit_energy(exactly(decay * (1 + 0.2 * (-1) ** np.arange(13)), noise=1e-3), t)
    assert "no window is fitted" in oscillating.reason or "no fit to C(t)" in oscillating.reason
    for found in (few, lost, oscillating):
        assert np.isnan([found.value, found.error, found.statistical_error, found.spread]).all()


def test_spectrum_refuses_what_it_cannot_do():
    slices = np.random.default_rng(5).normal(size=(2, 400, 4, 12))
    torus = Lattice((12,), SPACING, "torus")
    with pytest.raises(InputError, match="edge is given on a torus"):
        spectrum(slices, torus, 0.5, edge=1.0)
    with pytest.raises(InputError, match="a spectrum needs 24"):
        spectrum(slices, torus, 30.0)
    with pytest.raises(InputError, match="a spectrum needs 24"):
        spectrum(slices, torus, np.nan)
    with pytest.raises(InputError, match="longer lattice"):
        spectrum(slices[..., :4], Lattice((4,), SPACING, "torus"), 0.5)
