"""Reweighting against the transfer matrix, tiny theories and a Markov chain; and that it refuses where it must.

Every call of `assert_consistent` has a false alarm of 1e-4; the keys are fixed. Controls: the exact answer at another
coupling, which the same numbers must reject.
"""

import math

import arviz
import equinox as eqx
import jax
import numpy as np
import pytest
from scipy.stats import genpareto

from nnft_mcmc import InfiniteWidth, InputError, Lattice, PhiPower, Polynomial, Refresh, ScalarNet, TransferMatrix
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.estimators.reweighting import MINIMUM_DRAWS, NUM_BLOCKS, Weights, reweight
from nnft_mcmc.sampling import Chains
from nnft_mcmc.statistics import Estimate, gamma_method
from nnft_mcmc.statistics.pareto import largest_pareto_k, pareto_k, tail_length
from tests.statistical.consistency import assert_consistent, assert_inconsistent
from tests.statistical.tiny_theories import THEORIES

LATTICE = Lattice((9,), 0.5)
NET = ScalarNet(1, 20, 1.0, math.inf)
FREE = InfiniteWidth(NET, LATTICE)


def estimate_of(value, error):
    """As the estimate of independent blocks."""
    blocks = NUM_BLOCKS - 1
    error = np.asarray(error)
    shape = np.ones_like(error)
    return Estimate(np.asarray(value), error, 0.5 * shape, 0.5 * shape / math.sqrt(2 * blocks), 1e3 * shape, 1000)


def estimates(found, names):
    """Several observables as one array."""
    parts = [found.estimate(name) for name in names]
    return estimate_of(*(np.concatenate([np.atleast_1d(part[k]) for part in parts]) for k in (0, 1)))


def log_ratio(found):
    return estimate_of(found.log_partition_ratio, found.log_partition_ratio_error)


def transfer_matrix(coupling):
    action = PhiPower(4, coupling, "trapezoid").on(FREE, LATTICE)
    return TransferMatrix(1.0, LATTICE.axis(0), action.coefficients)


def exact_moments(coupling):
    theory = transfer_matrix(coupling)
    g = theory.two_point()[4]
    pairs = [(g[4 + k] + g[4 - k]) / 2 for k in range(5)]
    return np.array([theory.moment(2).mean(), theory.moment(4).mean(), theory.moment(2)[4], *pairs])


NAMES = ("phi2", "phi4", "phi2_mid", "two_point")


@pytest.fixture(scope="module")
def quartic():
    """Coupling 0.5, infinite width, 4e5 draws."""
    return reweight(Ensemble(FREE, LATTICE, PhiPower(4, 0.5, "trapezoid")), jax.random.key(1), 400_000)


def test_moments_at_infinite_width(quartic):
    """Resolution 0.5% of <phi^2> for all numbers. Control: coupling 0.55."""
    found, scale = estimates(quartic, NAMES), exact_moments(0.5)[0]
    assert quartic.weights.trusted
    assert_consistent(found, exact_moments(0.5), scale=np.full(8, scale), resolution=0.005)
    assert_inconsistent(found, exact_moments(0.55), scale=np.full(8, scale), resolution=0.005)


def test_partition_function_at_infinite_width(quartic):
    """Resolution 0.2%. Control: coupling 0.52."""
    found = log_ratio(quartic)
    assert_consistent(found, transfer_matrix(0.5).log_partition_ratio, resolution=2e-3)
    assert_inconsistent(found, transfer_matrix(0.52).log_partition_ratio, resolution=2e-3)


def test_error_and_effective_sample_size_are_those_of_the_weights(quartic):
    """<w^2> is the partition function at twice the coupling, so ESS/num_draws -> (Z(c)/Z0)^2 / (Z(2c)/Z0)."""
    exact = math.exp(2 * transfer_matrix(0.5).log_partition_ratio - transfer_matrix(1.0).log_partition_ratio)
    weights = quartic.weights
    assert weights.ess / weights.num_draws == pytest.approx(exact, rel=0.01)
    assert quartic.log_partition_ratio_error**2 == pytest.approx((1 / exact - 1) / weights.num_draws, rel=0.02)
    assert quartic.log_partition_ratio_bias == pytest.approx(-(quartic.log_partition_ratio_error**2) / 2)
    assert 0 < weights.share < 1e-4


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name == "gauss_net" else [pytest.mark.slow]) for name in THEORIES],
)
def test_tiny_theories(name):
    """Z/Z0 and the moments at one site, at finite width. Control: coupling 1.2."""
    theory = THEORIES[name]
    found = reweight(theory.ensemble, jax.random.key(2), 100_000)
    ratio = math.exp(found.log_partition_ratio)
    z = estimate_of(ratio, ratio * found.log_partition_ratio_error)
    assert_consistent(z, theory.exact(1.0).ratio, resolution=3e-3)
    assert_inconsistent(z, theory.exact(1.2).ratio, resolution=3e-3)
    if theory.ensemble.lattice.num_sites == 1:  # the site of the moments is the middle
        moments = estimates(found, ["phi2_mid", "phi4_mid"])
        assert_consistent(moments, theory.exact(1.0).moments, resolution=0.02)
        assert_inconsistent(moments, theory.exact(1.2).moments, resolution=0.02)


@pytest.mark.slow
def test_finite_width_against_a_chain():
    """N = 20 by neuron refresh; resolution 2%. Control: the chain's values 8% off."""
    ensemble = Ensemble(NET, LATTICE, PhiPower(4, 0.5, "trapezoid"))
    found = reweight(ensemble, jax.random.key(3), 40_000)
    sampler = Refresh(num_chains=32, num_warmup=50, num_samples=1000)

    def squares(position):
        return {"kept": {"it": position.field**2}}

    chains = Chains(ensemble, sampler, jax.random.key(4), squares, sampler.num_samples)
    chains.warm_up(sampler.num_warmup)
    phi2 = chains.draw(sampler.num_samples)["kept"]["it"]
    chain = gamma_method(np.stack([phi2.mean(axis=-1), phi2[..., 4]], axis=-1))
    reweighted = estimates(found, ["phi2", "phi2_mid"])
    assert_consistent(reweighted, chain.value, oracle_error=chain.error, resolution=0.02)
    assert_inconsistent(reweighted, 1.08 * chain.value, oracle_error=chain.error, resolution=0.02)
    (virial, error) = found.estimate("virial")
    assert abs(virial - 1) < 4 * error < 0.01


# Where the free ensemble hardly overlaps with the deformed one.


def double_well():
    lattice = Lattice((33,), 0.25)
    return Ensemble(InfiniteWidth(NET, lattice), lattice, Polynomial([0, 0, -2.5, 0, 0.5], "trapezoid"))


@pytest.mark.parametrize(
    "ensemble",
    [Ensemble(FREE, LATTICE, PhiPower(4, 1000.0, "trapezoid")), double_well()],
    ids=["strong coupling", "double well"],
)
def test_refuses_rather_than_lies(ensemble):
    found = reweight(ensemble, jax.random.key(5), 20_000)
    assert not found.weights.trusted
    assert found.weights.verdict.startswith("These numbers are NOT to be trusted")
    assert np.isfinite(found.estimate("phi2")).all()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"ess": 399.0}, "effective sample size"),
        ({"ess": math.nan}, "effective sample size"),
        ({"share": 0.051}, "one draw"),
        ({"pareto_k": 0.71}, "Pareto"),
        ({"num_not_finite": 1}, "no finite weight"),
    ],
)
def test_each_objection(changed, reason):
    good = {"num_draws": 100_000, "ess": 5000.0, "share": 0.001, "pareto_k": 0.2, "num_not_finite": 0}
    assert Weights(**good).trusted
    (objection,) = Weights(**{**good, **changed}).objections
    assert reason in objection


def test_weights_that_all_vanish_are_bad_input():
    with pytest.raises(InputError, match="nothing to reweight"):
        reweight(Ensemble(FREE, LATTICE, Polynomial([1e308, 0, 0, 0, 0.5])), jax.random.key(6), MINIMUM_DRAWS)


# The sums.


def test_a_constant_in_the_action_only_shifts_the_logarithm():
    """By amounts that overflow exp, either way."""

    def with_constant(c):
        ensemble = Ensemble(FREE, LATTICE, Polynomial([c / 4, 0, 0, 0, 0.5], "trapezoid"))  # the box has length 4
        return reweight(ensemble, jax.random.key(7), 3000)

    plain = with_constant(0.0)
    for c in (-2000.0, 2000.0):
        shifted = with_constant(c)
        assert shifted.log_partition_ratio + c == pytest.approx(plain.log_partition_ratio, abs=1e-9)
        for name in plain.observables.keys() - {"action", "action_density"}:
            np.testing.assert_allclose(shifted.estimate(name), plain.estimate(name), rtol=1e-9)
        assert shifted.weights.ess == pytest.approx(plain.weights.ess, rel=1e-9)
        assert shifted.weights.pareto_k == pytest.approx(plain.weights.pareto_k, rel=1e-6)


def test_batches_have_no_effect(monkeypatch):
    """Neither the networks held at once nor the draws of one batch; the last batch is not full."""
    ensemble = Ensemble(FREE, LATTICE, PhiPower(4, 5.0))
    whole = reweight(ensemble, jax.random.key(8), 2001)
    told = []
    monkeypatch.setattr("nnft_mcmc.estimators.reweighting._ROUNDS", 3)
    pieces = reweight(ensemble, jax.random.key(8), 2001, at_once=7, progress=told.append)
    assert sum(told) == 2001
    assert len(told) == 6
    for name in whole.observables:
        np.testing.assert_allclose(pieces.estimate(name), whole.estimate(name), rtol=1e-10, atol=1e-14)
    assert vars(pieces.weights) == pytest.approx(vars(whole.weights), rel=1e-10)


def test_free_ensemble_has_equal_weights():
    found = reweight(Ensemble(FREE, LATTICE), jax.random.key(9), 2000)
    assert (found.log_partition_ratio, found.log_partition_ratio_error) == (0.0, 0.0)
    assert found.weights == Weights(2000, 2000.0, 1 / 2000, -math.inf, 0)


def test_control_a_forgotten_weight_is_seen(quartic):
    """Averages without weights, by making the action tiny, are rejected at the same resolution."""
    ensemble = Ensemble(FREE, LATTICE, PhiPower(4, 0.5, "trapezoid"))
    tiny = eqx.tree_at(lambda e: e.local_action.coefficients, ensemble, replace_fn=lambda c: 1e-12 * c)
    found = estimates(reweight(tiny, jax.random.key(1), 20_000), NAMES)
    assert_inconsistent(found, exact_moments(0.5), scale=np.full(8, 0.3), resolution=0.05)


# Pareto k.


@pytest.mark.parametrize("k", [-0.5, 0.2, 0.7, 1.5])
def test_pareto_k_of_pareto_draws(k):
    """Error (1 + k)/sqrt(n), n = 4000, by the Cramer-Rao bound of the maximum likelihood estimate; five of them."""
    draws = genpareto.rvs(k, size=4000, random_state=np.random.default_rng(1))
    assert abs(pareto_k(np.append(0.0, draws) + 3.0) - k) < 5 * (1 + k) / math.sqrt(4000)


def test_pareto_k_is_that_of_arviz():
    log_weights = np.random.default_rng(2).normal(scale=2.0, size=10_000)
    largest = np.sort(np.exp(log_weights))[-tail_length(10_000) - 1 :]
    assert pareto_k(largest) == pytest.approx(float(arviz.psislw(log_weights)[1]), rel=1e-8)
    assert (tail_length(100), tail_length(10_000)) == (20, 300)
    assert largest_pareto_k(1000) == pytest.approx(2 / 3)
    assert largest_pareto_k(10**6) == 0.7


def test_pareto_k_at_its_ends():
    assert pareto_k(np.ones(10)) == -math.inf
    with pytest.raises(InputError, match="more than 5"):
        pareto_k(np.arange(5.0))
