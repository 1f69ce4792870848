"""The correlator without the noise of the free field: its mean is the correlator's, and its error is smaller.

False alarm of each comparison 1e-4; the keys are fixed. Controls: sources of twice the coupling, and a missing
contact term, at the same precision.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from nnft_mcmc._checks import InputError
from nnft_mcmc.architectures import LatticeModes, ScalarNet, SiteField
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.estimators.improved_correlator import (
    _sums_over_momenta,
    free_correlator,
    has_improved_correlator,
    improved_correlator,
)
from nnft_mcmc.insertions import PhiPower, WickPower
from nnft_mcmc.lattice import Lattice
from nnft_mcmc.sampling import Chains, GaussianFlow
from nnft_mcmc.statistics import gamma_method

TORUS = Lattice((8, 6), 0.5, "torus")
MODES = LatticeModes(TORUS, 1.0)


def drawn(ensemble, measured, num_draws=1500):
    """Series (chain, draw, lags) of what `measured` takes from a field, by name."""

    def collect(position):
        return {"observables": {name: function(position.field) for name, function in measured.items()}}

    sampler = GaussianFlow(num_chains=16, num_warmup=200, num_samples=num_draws)
    chains = Chains(ensemble, sampler, jax.random.key(0), collect, num_draws)
    chains.warm_up(200)
    return chains.draw(num_draws)["observables"]


def plain(field):
    """C(t) of one draw."""
    s = field.mean(axis=1)
    return jnp.stack([jnp.mean(s * jnp.roll(s, -k)) for k in range(len(s) // 2 + 1)])


def z(difference):
    estimate = gamma_method(difference)
    return np.abs(estimate.value / estimate.error)


BOUND = norm.isf(0.5e-4 / 5)


@pytest.mark.parametrize(
    "architecture",
    [
        MODES,
        pytest.param(SiteField(TORUS, 1.0), marks=pytest.mark.slow),
        pytest.param(LatticeModes(TORUS, 1.0, "continuum", 5.0), marks=pytest.mark.slow),
    ],
    ids=["modes", "sites", "cutoff"],
)
def test_it_is_the_correlator(architecture):
    """Below 1% of C(0) in all, t by t."""
    ensemble = Ensemble(architecture, TORUS, PhiPower(4, 0.2))
    wrong = Ensemble(architecture, TORUS, PhiPower(4, 0.4))

    def without_contact_term(field):
        full, action = improved_correlator(ensemble, field), ensemble.local_action
        lost = jnp.sum(action.curvature(field)) / TORUS.num_sites
        variance = architecture.spectrum()[:, 0]
        return full + lost * jnp.fft.ifft(jnp.asarray(variance) ** 2).real[:5] / 6

    found = drawn(
        ensemble,
        {
            "plain": plain,
            "improved": lambda field: improved_correlator(ensemble, field),
            "wrong": lambda field: improved_correlator(wrong, field),
            "incomplete": without_contact_term,
        },
    )
    estimate = gamma_method(found["plain"])
    assert estimate.error[0] < 0.01 * estimate.value[0]
    assert z(found["improved"] - found["plain"]).max() < BOUND
    assert z(found["incomplete"] - found["plain"]).max() > 2 * BOUND
    assert z(found["wrong"] - found["plain"]).max() > 2 * BOUND


@pytest.mark.slow
def test_its_error_is_smaller():
    """Normal-ordered phi^4: at T/2 at least 4 times, where the couplings are weak."""
    ensemble = Ensemble(MODES, TORUS, WickPower(4, 0.1))
    both = drawn(ensemble, {"plain": plain, "improved": lambda field: improved_correlator(ensemble, field)})
    errors = {name: gamma_method(series).error[-1] for name, series in both.items()}
    assert errors["plain"] > 4 * errors["improved"]
    assert z(both["improved"] - both["plain"]).max() < BOUND


def test_a_quadratic_insertion_of_the_continuum_is_a_mass():
    """cosh(M (T/2 - t)) at M^2 = m^2 + 2 lambda, with no trace of the cut-off of the modes at pi/a.

    Within 0.5% of C(0); what modes beyond pi/a have of third and higher order is below 0.1% of it here. Control: the
    correlator of the modes alone, which alternates, is more than 10 errors off.
    """
    ensemble = Ensemble(LatticeModes(TORUS, 1.0, "continuum"), TORUS, PhiPower(2, 0.1))
    exact = free_correlator(LatticeModes(TORUS, math.sqrt(1.2), "continuum"))[:5]
    modes = LatticeModes(TORUS, math.sqrt(1.2), "continuum").time_correlator()[:5]
    estimate = gamma_method(drawn(ensemble, {"c": lambda field: improved_correlator(ensemble, field)})["c"])
    assert (estimate.error < 0.001 * exact[0]).all()
    assert (np.abs(estimate.value - exact) < BOUND * estimate.error + 1e-3 * exact[0]).all()
    assert (np.abs(estimate.value - modes) > 10 * estimate.error + 1e-3 * exact[0]).any()


@pytest.mark.slow
def test_a_quadratic_insertion_is_a_mass():
    """Its correlator is known, and is met to 0.2% of C(0) within the bound."""
    ensemble = Ensemble(MODES, TORUS, PhiPower(2, 0.3))
    exact = LatticeModes(TORUS, math.sqrt(1.6)).time_correlator()[:5]
    estimate = gamma_method(drawn(ensemble, {"c": lambda field: improved_correlator(ensemble, field)})["c"])
    assert (estimate.error < 0.002 * exact[0]).all()
    assert (np.abs(estimate.value - exact) < BOUND * estimate.error).all()
    heavier = LatticeModes(TORUS, math.sqrt(1.65)).time_correlator()[:5]
    assert (np.abs(estimate.value - heavier) > 2 * BOUND * estimate.error).any()


def test_sums_over_all_momenta():
    """Of G and of G^2, against 800,001 terms; the larger error is that of the first sum, cut off there."""
    torus = Lattice((16, 6), 0.5, "torus")
    momenta = 2 * math.pi / 8 * np.arange(-400_000, 400_001)
    sums = _sums_over_momenta(LatticeModes(torus, 1.3, "continuum"))
    for k in (0, 3, 8, 15):
        waves = np.cos(momenta * 0.5 * k)
        for power, rtol in ((1, 1e-5), (2, 1e-12)):
            exact = np.sum(waves / (momenta**2 + 1.69) ** power) / 8
            np.testing.assert_allclose(sums[power - 1][k], exact, rtol=rtol)


def test_the_free_part_of_the_continuum_is_one_exponential():
    """cosh(m (T/2 - t)), whose cosh effective mass is m at every t; the modes up to pi/a alternate about it."""
    torus = Lattice((16, 6), 0.5, "torus")
    net = LatticeModes(torus, 1.0, "continuum")
    c = free_correlator(net)
    mass = np.arccosh((np.roll(c, 1) + np.roll(c, -1))[1:-1] / (2 * c[1:-1])) / 0.5
    np.testing.assert_allclose(mass, 1.0, rtol=1e-10)
    many = 2 * math.pi / 8.0 * np.arange(-200_000, 200_001)
    exact = [np.sum(np.cos(many * t) / (many**2 + 1)) / 8.0 / 3.0 for t in (0.0, 1.0)]
    np.testing.assert_allclose(c[[0, 2]], exact, rtol=1e-5)
    tail = (net.time_correlator() - c)[1:8]
    assert (np.sign(tail[1:]) == -np.sign(tail[:-1])).all()


def test_who_has_one():
    box = Lattice((5,), 0.5)
    assert has_improved_correlator(Ensemble(MODES, TORUS, WickPower(4, 0.1)))
    assert not has_improved_correlator(Ensemble(MODES, TORUS))
    network = Ensemble(ScalarNet(1, 5, 1.0, math.inf), box, PhiPower(4, 0.1))
    assert not has_improved_correlator(network)
    with pytest.raises(InputError, match="needs a Gaussian field"):
        improved_correlator(network, jnp.zeros(5))
