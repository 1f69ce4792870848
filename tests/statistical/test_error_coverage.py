"""Do the errors mean what they say: coverage, tails and p-values over many chains with known answers.

Every count is held against a binomial interval with a false-alarm rate of 1e-4 per assertion, and every test has a
control in which the autocorrelation or the correlation is ignored and the same assertion fails.
"""

import numpy as np
import pytest
from scipy import stats

from nnft_mcmc.statistics import ChiSquared, Estimate, bonferroni_bound, derived, gamma_method, hotelling, z_score
from tests.statistical.autoregressive import ar1, ar1_tau_int
from tests.statistical.consistency import assert_consistent, detectable_deviation

FALSE_ALARM = 1e-4
NUM_REPLICAS = 1000
SIGMAS = (1.0, 2.0)


def as_observables(rng: np.random.Generator, coefficient: float, num_chains: int, num_draws: int) -> np.ndarray:
    """Independent replicas of an AR(1) run, as the observables of one array: (chain, draw, replica)."""
    return np.moveaxis(ar1(rng, coefficient, (NUM_REPLICAS, num_chains, num_draws)), 0, -1)


def within_binomial(count: int, trials: int, probability: float) -> bool:
    low, high = stats.binom(trials, probability).interval(1.0 - FALSE_ALARM)
    return bool(low <= count <= high)


def covers(value: np.ndarray, error: np.ndarray, truth: float) -> bool:
    """Whether the 1 and 2 sigma intervals hold the truth in 68.3% and 95.4% of the replicas."""
    z = np.abs(z_score(value, error, truth))
    probabilities = 1.0 - 2.0 * stats.norm.sf(SIGMAS)
    return all(within_binomial(int((z < s).sum()), z.size, p) for s, p in zip(SIGMAS, probabilities, strict=True))


def naive_error(samples: np.ndarray) -> np.ndarray:
    """The error of the mean of independent draws."""
    return samples.std(axis=(0, 1), ddof=1) / np.sqrt(samples.shape[0] * samples.shape[1])


@pytest.mark.parametrize(("num_chains", "num_draws"), [(1, 2000), (4, 500)])
@pytest.mark.parametrize("coefficient", [-0.8, -0.4, 0.0, 0.5, 0.8])
def test_coverage_of_the_error(coefficient, num_chains, num_draws):
    samples = as_observables(np.random.default_rng(101), coefficient, num_chains, num_draws)
    estimate = gamma_method(samples)
    assert covers(estimate.value, estimate.error, 0.0)
    if coefficient != 0.0:
        assert not covers(estimate.value, naive_error(samples), 0.0)


@pytest.mark.parametrize("coefficient", [-0.6, 0.0, 0.5, 0.9])
def test_tau_int_and_its_error(coefficient):
    """The bias is small beside the quoted error, which is the true spread; a tau_int 10% off is noticed."""
    estimate = gamma_method(as_observables(np.random.default_rng(102), coefficient, 4, 2000))
    truth, spread = ar1_tau_int(coefficient), estimate.tau_int.std(ddof=1)
    bias = abs(estimate.tau_int.mean() - truth)
    assert bias < 0.25 * estimate.tau_int_error.mean()
    assert 0.85 < spread / estimate.tau_int_error.mean() < 1.15
    assert abs(estimate.tau_int.mean() - 1.1 * truth) > 4.0 * spread / np.sqrt(NUM_REPLICAS)


@pytest.mark.parametrize("coefficient", [-0.5, 0.5, 0.9])
def test_tails_follow_students_t_with_the_degrees_of_freedom_of_the_error(coefficient):
    """At a two-sided 1%, where the normal bound is too low; the runs are short, ess = 200 for a > 0."""
    draws = {-0.5: 1000, 0.5: 600, 0.9: 4000}[coefficient]
    count = normal_count = 0
    for seed in range(10):
        estimate = gamma_method(as_observables(np.random.default_rng(1030 + seed), coefficient, 1, draws))
        z = np.abs(estimate.value / estimate.error)
        count += int((z > bonferroni_bound(1, 0.01, estimate.error_dof)).sum())
        normal_count += int((z > bonferroni_bound(1, 0.01)).sum())
    assert within_binomial(count, 10 * NUM_REPLICAS, 0.01)
    assert normal_count > count


def log_ratio(samples: np.ndarray) -> tuple[float, np.ndarray]:
    """log(<A>/<B>) and its gradient."""
    a, b = samples.mean(axis=(0, 1))
    return np.log(a / b), np.array([1.0 / a, -1.0 / b])


def test_coverage_of_a_derived_quantity():
    """log(<A>/<B>), A = 3 + x, B = 2 + (x + y)/2, x and y of different tau_int; control: errors added in quadrature."""
    rng = np.random.default_rng(104)
    x, y = (as_observables(rng, coefficient, 2, 1000) for coefficient in (0.8, 0.4))
    replicas = np.stack([3.0 + x, 2.0 + 0.5 * (x + y)], axis=-1)
    estimates = [derived(samples, *log_ratio(samples)) for samples in np.moveaxis(replicas, 2, 0)]
    value = np.array([estimate.value for estimate in estimates])
    assert covers(value, np.array([estimate.error for estimate in estimates]), np.log(1.5))

    single = gamma_method(replicas)
    uncorrelated = np.hypot(*np.moveaxis(single.error / single.value, -1, 0))
    assert not covers(value, uncorrelated, np.log(1.5))


K = 4
COEFFICIENTS = np.array([0.8, 0.5, 0.0, -0.4])  # the slowest mode enters all observables
MIXING = np.eye(K) + np.tri(K)


def correlated_runs(seed: int, count: int) -> list[np.ndarray]:
    """Runs of 4 correlated observables with mean 0 and long-run covariance MIXING diag(2 tau_int) MIXING^T."""
    rng = np.random.default_rng(seed)
    return [np.stack([ar1(rng, a, (2, 2000)) for a in COEFFICIENTS], axis=-1) @ MIXING.T for _ in range(count)]


def uniform(p_values: list[float]) -> bool:
    return bool(stats.kstest(p_values, "uniform").pvalue > FALSE_ALARM)


def uncorrelated_p_value(samples: np.ndarray) -> float:
    estimate = gamma_method(samples)
    return float(stats.chi2(K).sf((z_score(estimate.value, estimate.error, 0.0) ** 2).sum()))


def single_draw_p_value(samples: np.ndarray) -> float:
    """Correlations among the observables included, autocorrelation ignored."""
    flat = samples.reshape(-1, K)
    mean = flat.mean(axis=0)
    return float(stats.chi2(K).sf(len(flat) * mean @ np.linalg.solve(np.cov(flat, rowvar=False), mean)))


def test_p_values_of_hotelling_are_uniform():
    """Kolmogorov-Smirnov at 1e-4; controls: chi^2 without the correlations, and without the autocorrelation."""
    runs = correlated_runs(105, 400)
    assert uniform([hotelling(samples, np.zeros(K)).p_value for samples in runs])
    assert not uniform([uncorrelated_p_value(samples) for samples in runs])
    assert not uniform([single_draw_p_value(samples) for samples in runs])


def power(result: ChiSquared, non_centrality: float, level: float) -> float:
    n = result.num_blocks
    return float(stats.ncf.sf(stats.f(K, n - K).isf(level), K, n - K, non_centrality))


def test_hotelling_rejects_a_wrong_reference_with_the_power_of_theory():
    """N delta^T C^-1 delta = 20, a shift of 4.5 sigma at most: the noncentral F distribution gives the power at 1%."""
    long_run = MIXING @ np.diag(2.0 * ar1_tau_int(COEFFICIENTS)) @ MIXING.T
    direction = np.array([1.0, -1.0, 0.5, 1.0])
    delta = direction * np.sqrt(20.0 / (4000 * direction @ np.linalg.solve(long_run, direction)))
    results = [hotelling(samples, delta) for samples in correlated_runs(106, 300)]
    expected = np.mean([power(result, 20.0, 0.01) for result in results])
    assert 0.7 < expected < 0.95
    assert within_binomial(sum(result.p_value < 0.01 for result in results), len(results), expected)


def passes(estimate: Estimate, oracle: float) -> bool:
    try:
        assert_consistent(estimate, oracle, resolution=0.1, false_alarm=0.05, min_ess=200.0)
    except AssertionError:
        return False
    return True


def test_false_alarms_and_power_of_assert_consistent():
    """10 independent entries at false_alarm = 5%; a shift of one entry by `detectable_deviation` is seen in 95%."""
    samples = 1.0 + as_observables(np.random.default_rng(107), 0.6, 2, 1000)
    estimate = gamma_method(samples)
    assert estimate.ess.min() > 200.0  # no call fails by the gates
    assert estimate.error.max() < 0.1
    calls = [estimate[start : start + 10] for start in range(0, NUM_REPLICAS, 10)]
    assert within_binomial(sum(not passes(call, 1.0) for call in calls), len(calls), 0.05)

    singles = [estimate[k] for k in range(NUM_REPLICAS)]
    shift = np.median([detectable_deviation(single, 1.0, false_alarm=0.05) for single in singles])
    assert within_binomial(sum(not passes(single, 1.0 + shift) for single in singles), NUM_REPLICAS, 0.95)
