"""The test of reflection positivity: level on theories that obey it, power on those that do not, chains, refusals."""

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks import axioms as study
from nnft_mcmc._checks import InputError
from nnft_mcmc.estimators import positivity
from nnft_mcmc.estimators.field_observables import Correlators
from nnft_mcmc.estimators.positivity import Family, GramMatrices, positivity_test
from nnft_mcmc.exact.positivity import gaussian, product_gram_matrix
from nnft_mcmc.statistics import TooFewDraws
from tests.statistical.autoregressive import ar1

CASES = {case.name: case for case in study.positivity_cases()}
TIMES = np.array([0.25, 0.5, 1.0, 2.0])
FIELDS = Family("fields", (Correlators(((0,), (1,), (2,), (3,))),))


def p_values(name, data_sets, num_draws=None):
    """Smallest p-value of all families, times their number; and the plug-in eigenvalue of the fields."""
    case = CASES[name]
    if num_draws is not None:
        case = study.Case(case.name, case.lattice, case.draw, num_draws, case.violates)
    found = [study.positivity(case, np.random.default_rng(seed), 0.05) for seed in range(data_sets)]
    combined = [len(tests) * min(t.p_value for t in tests) for tests in found]
    return np.array(combined), np.array([tests[0].eigenvalues[0] for tests in found])


@pytest.mark.parametrize("name", ["free field", "anharmonic oscillator"])
def test_theories_that_obey_the_axiom_are_kept(name):
    """60 data sets of 1000 draws at 5%: more alarms than the bound in 1e-4 of the cases at most.

    Control: judged by the sign of the smallest eigenvalue, all of them would be rejected.
    """
    p, eigenvalues = p_values(name, 60, 1000)
    assert np.count_nonzero(p < 0.05) <= binom.isf(1e-4, 60, 0.05)
    assert np.count_nonzero(eigenvalues < 0) >= 0.9 * 60


@pytest.mark.parametrize(
    ("name", "num_draws"),
    [("Gaussian kernel", 1000), ("ball cut-off L = 5", 2000), ("Cauchy-cos-net, width 1", 10_000)],
)
def test_theories_that_violate_it_are_caught(name, num_draws):
    """20 data sets at 5%: a power of 0.9 gives fewer than 13 with a probability of 1e-4."""
    p, _ = p_values(name, 20, num_draws)
    assert np.count_nonzero(p < 0.05) >= binom.ppf(1e-4, 20, 0.9)


@pytest.mark.slow
def test_the_other_theories_of_the_study():
    """The same bounds; the Symanzik-improved lattice at 300,000 draws, the nearest-neighbour one kept."""
    p, _ = p_values("nearest-neighbour lattice", 60, 1000)
    assert np.count_nonzero(p < 0.05) <= binom.isf(1e-4, 60, 0.05)
    for name in ("Cauchy-cos-net, width 2", "Symanzik-improved lattice"):
        case = CASES[name]
        found = [study.positivity(case, np.random.default_rng(seed), 0.05) for seed in range(20)]
        caught = sum(any(t.is_violated for t in tests) for tests in found)
        assert caught >= binom.ppf(1e-4, 20, 0.9)


def fields_of(kernel, rng, num_draws):
    """Gaussian fields at -TIMES and TIMES, each (draws, 1, 4), and the exact M of the fields."""
    x = np.concatenate([-TIMES, TIMES])
    values, vectors = np.linalg.eigh(kernel(x[:, None] - x))
    fields = rng.standard_normal((num_draws, 8)) @ (vectors * np.sqrt(np.maximum(values, 0))).T
    points = [np.array([[t]]) for t in TIMES]
    exact = product_gram_matrix(gaussian(lambda a, b: kernel((a - b)[..., 0])), [-p for p in points], points)
    return fields[:, None, :4], fields[:, None, 4:], exact


def squared_exponential(r):
    return np.exp(-(r**2) / 2) / 2


def test_ratio_and_power_against_the_exact_matrix():
    """With few draws and a false-alarm rate of 1e-6 the power is below one: `power` is the fraction of rejections.

    The ratio is that of the exact M in the chosen directions. Both two-sided at 1e-4.
    """
    powers, rejected, z = [], 0, []
    for seed in range(200):
        reflected, forward, exact = fields_of(squared_exponential, np.random.default_rng(seed), 200)
        grams = GramMatrices(FIELDS, 200)
        grams.update(reflected, forward)
        test = positivity_test(grams, 1e-6, exact)
        powers.append(test.power)
        rejected += test.is_violated
        z.append((test.ratio - np.mean([v @ exact @ v for v in test.directions])) / test.error)
    assert 0.4 < np.mean(powers) < 0.95
    spread = np.sqrt(np.sum(np.array(powers) * (1 - np.array(powers))))
    # `power` takes the error of a half, which is known to a tenth, for its truth: 0.05 is allowed for that.
    assert abs(rejected - np.sum(powers)) < 3.9 * spread + 0.05 * 200
    assert abs(np.mean(z)) < 4.5 / np.sqrt(200)


def test_detectable_is_what_the_theory_has():
    """The violation of the Gaussian kernel is found at the number of draws at which `detectable` is a third of it."""
    reflected, forward, exact = fields_of(squared_exponential, np.random.default_rng(0), 20_000)
    grams = GramMatrices(FIELDS, 20_000)
    grams.update(reflected, forward)
    test = positivity_test(grams, 1e-6, exact)
    assert test.is_violated
    assert test.detectable < -test.ratio / 3
    assert test.power > 0.999
    assert "violated, p = " in str(test)
    np.testing.assert_allclose(test.gram, exact, atol=5 * 0.5 / np.sqrt(20_000))


def correlated_free_fields(seed, num_chains=4, draws=500):
    """The free field, successive draws an AR(1) series of tau_int = 4.5."""
    x = np.concatenate([-TIMES, TIMES])
    root = np.linalg.cholesky(np.exp(-np.abs(x[:, None] - x)) / 2 + 1e-14 * np.eye(8))
    return np.moveaxis(ar1(np.random.default_rng(seed), 0.8, (num_chains, 8, draws)), 1, 2) @ root.T


def of_chains(fields):
    grams = GramMatrices(FIELDS, fields.shape[1], len(fields))
    for chain, values in enumerate(fields):
        grams.update(values[:, None, :4], values[:, None, 4:], chain)
    return grams


def test_chains_keep_the_level():
    """200 runs at 5% of chains with tau_int = 4.5, whose products have 2.3; at most 1e-4 to exceed the bound.

    Half of the 2000 draws make about 220 effective ones: the errors know of the autocorrelation.
    """
    tests = [positivity_test(of_chains(correlated_free_fields(seed)), 0.05) for seed in range(200)]
    assert sum(t.is_violated for t in tests) <= binom.isf(1e-4, 200, 0.05)
    assert 150 < np.median([t.ess for t in tests]) < 700


def test_bins_and_batches_have_no_effect(monkeypatch):
    """The same draws at once and in pieces; bins of 1 and of 5 draws give the same M."""
    reflected, forward, _ = fields_of(squared_exponential, np.random.default_rng(3), 1000)
    whole, pieces = GramMatrices(FIELDS, 1000), GramMatrices(FIELDS, 1000)
    whole.update(reflected, forward)
    for part in np.array_split(np.arange(1000), 7):
        pieces.update(reflected[part], forward[part])
    np.testing.assert_allclose(whole.products, pieces.products, rtol=1e-12)
    monkeypatch.setattr(positivity, "_BINS", 200)
    binned = GramMatrices(FIELDS, 1000)
    binned.update(reflected, forward)
    assert binned.products.shape == (1, 200, 4, 4)
    np.testing.assert_allclose(binned.products.mean(axis=1), whole.products.mean(axis=1), rtol=1e-10)
    assert binned.num_draws == 1000


def test_an_operator_that_vanishes_is_left_out():
    reflected, forward, _ = fields_of(squared_exponential, np.random.default_rng(3), 1000)
    for fields in (reflected, forward):
        fields[..., 2] = 0.0
    grams = GramMatrices(FIELDS, 1000)
    grams.update(reflected, forward)
    test = positivity_test(grams)
    assert (test.directions[:, 2] == 0).all()
    assert np.isfinite(test.p_value)


def test_refusals():
    reflected, forward, _ = fields_of(squared_exponential, np.random.default_rng(3), 40)
    grams = GramMatrices(FIELDS, 40)
    grams.update(reflected, forward)
    with pytest.raises(TooFewDraws):
        positivity_test(grams)
    with pytest.raises(InputError, match="false_alarm is 2"):
        positivity_test(grams, 2.0)
    with pytest.raises(InputError, match="not finite"):
        grams.update(np.full_like(reflected, np.nan), forward)
