"""z-scores, Bonferroni bounds and Hotelling's test against textbook formulas; the consistency helper of the tests."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import integrate, stats

from nnft_mcmc._checks import InputError
from nnft_mcmc.statistics import (
    ChiSquared,
    Estimate,
    TooFewDraws,
    bonferroni_bound,
    gamma_method,
    hotelling,
    hotelling_of_independent,
    z_score,
)
from tests.statistical.autoregressive import ar1
from tests.statistical.consistency import assert_consistent, assert_inconsistent, detectable_deviation


def test_z_score():
    assert z_score(1.5, 0.3, 0.6, 0.4) == pytest.approx(1.8, rel=1e-14)
    np.testing.assert_allclose(z_score([1.0, 2.0], [0.5, 2.0], 0.0), [2.0, 1.0], rtol=1e-14)
    np.testing.assert_array_equal(np.isnan(z_score(1.0, [0.0, np.nan, 1.0], 1.0)), [True, True, False])
    with pytest.raises(InputError, match="negative"):
        z_score(1.0, -1.0, 0.0)


def test_bonferroni_bound_is_the_tail_probability():
    for num_tests, false_alarm in ((1, 0.3173105078629141), (20, 1e-4), (1000, 1e-6)):
        bound = float(bonferroni_bound(num_tests, false_alarm))
        tail = 2.0 * integrate.quad(lambda z: math.exp(-z * z / 2.0) / math.sqrt(2.0 * math.pi), bound, np.inf)[0]
        assert num_tests * tail == pytest.approx(false_alarm, rel=1e-7)
    assert bonferroni_bound(1, 0.3173105078629141) == pytest.approx(1.0, rel=1e-10)
    np.testing.assert_allclose(bonferroni_bound(5, 0.01, [3.0, 30.0]), stats.t([3, 30]).isf(0.001), rtol=1e-10)
    for num_tests, false_alarm in ((0, 0.1), (1, 0.0), (1, 1.0)):
        with pytest.raises(InputError):
            bonferroni_bound(num_tests, false_alarm)


def correlated(seed: int, num_observables: int, shape: tuple[int, int]) -> np.ndarray:
    rng = np.random.default_rng(seed)
    independent = np.stack([ar1(rng, a, shape) for a in np.linspace(0.0, 0.8, num_observables)], axis=-1)
    return independent @ (np.eye(num_observables) + 0.5 * np.tri(num_observables)).T


def assert_textbook(samples: np.ndarray, mu: np.ndarray, result: ChiSquared) -> None:
    """T^2 of the block means, up to the bracket of the docstring: 1 - tau_int/B .. 1 for tau_int >= 1/2."""
    b, n, k = result.block_length, result.num_blocks, len(mu)
    used = samples[:, samples.shape[1] % b :]
    blocks = used.reshape(n, b, k).mean(axis=1)
    deviation = blocks.mean(axis=0) - mu
    textbook = n * deviation @ np.linalg.inv(np.cov(blocks, rowvar=False)) @ deviation
    tau_max = gamma_method(samples).tau_int.max()
    assert b >= 10.0 * tau_max
    assert 1.0 - 1.2 * tau_max / b < result.chi2 / textbook < 1.01
    assert result.p_value == pytest.approx(stats.f(k, n - k).sf(result.chi2 * (n - k) / (k * (n - 1))), rel=1e-10)


def test_hotelling_is_the_textbook_formula_on_block_means():
    samples, mu = correlated(13, 3, (2, 3000)), np.array([0.01, 0.02, -0.03])
    result = hotelling(samples, mu)
    assert (result.dof, result.num_dropped) == (3, 0)
    assert result.num_blocks == 2 * (3000 // result.block_length) >= 20
    assert_textbook(samples, mu, result)


def test_bracket_is_the_exact_block_variance_of_an_ar1_process():
    """Var(block mean) B / (2 tau_int) = 1 - (tau_int - 1/(4 tau_int))/B + O(a^B), by the double sum."""
    for a, b in ((0.8, 200), (-0.7, 120)):
        lags = np.subtract.outer(np.arange(b), np.arange(b))
        exact = (float(a) ** np.abs(lags)).sum() / b
        tau_int = (1.0 + a) / (2.0 * (1.0 - a))
        assert exact / (2.0 * tau_int) == pytest.approx(1.0 - (tau_int - 1.0 / (4.0 * tau_int)) / b, rel=1e-12)


def test_hotelling_does_not_depend_on_units_and_signs():
    samples, units = correlated(14, 3, (2, 4000)), np.array([1e-8, -3.0, 1e5])
    one, two = hotelling(samples, np.full(3, 0.02)), hotelling(samples * units, units * 0.02)
    assert two.chi2 == pytest.approx(one.chi2, rel=1e-8)
    assert two.p_value == pytest.approx(one.p_value, rel=1e-8)


def test_linear_relations_are_dropped_counted_and_checked():
    samples = correlated(15, 3, (2, 4000))
    reference = np.array([0.02, -0.01, 0.03])
    redundant = np.concatenate([samples, samples[..., :1] - 2.0 * samples[..., 1:2]], axis=-1)
    obeyed = hotelling(redundant, np.append(reference, 0.04))
    assert (obeyed.dof, obeyed.num_dropped) == (3, 1)
    assert_textbook(samples, reference, obeyed)
    broken = hotelling(redundant, np.append(reference, 0.041))
    assert broken.chi2 == math.inf
    assert broken.p_value == 0.0


def test_nearly_redundant_observables_are_kept():
    """A difference of 1e-3 of the standard deviation, eigenvalue 1e-6, is data: a reference wrong by it is rejected."""
    samples = correlated(16, 2, (4, 4000))
    twin = samples[..., :1] + 1e-3 * np.random.default_rng(17).standard_normal((4, 4000, 1))
    both = np.concatenate([samples, twin], axis=-1)
    right, wrong = hotelling(both, np.zeros(3)), hotelling(both, np.array([0.0, 0.0, 3e-4]))
    assert (right.dof, right.num_dropped) == (3, 0)
    assert right.p_value > 1e-4
    assert wrong.p_value < 1e-10


def test_too_few_draws_say_how_many_are_needed():
    slow = correlated(18, 4, (2, 400))
    with pytest.raises(TooFewDraws, match="more") as caught:
        hotelling(slow, np.zeros(4))
    assert caught.value.num_draws == 800
    assert caught.value.draws_needed > 800
    with pytest.raises(TooFewDraws):
        hotelling(np.random.default_rng(19).standard_normal((1, 30, 20)), np.zeros(20))
    stuck = np.random.default_rng(20).standard_normal((2, 4000, 2)) + np.array([[[5.0]], [[-5.0]]])
    with pytest.raises(TooFewDraws):
        hotelling(stuck, np.zeros(2))


def test_hotelling_refuses_unusable_input():
    samples = correlated(21, 3, (2, 1000))
    with pytest.raises(InputError, match=r"\(K,\)"):
        hotelling(samples, np.zeros(2))
    for useless in (0.7, np.nan):
        spoilt = samples.copy()
        spoilt[..., 1] = useless
        with pytest.raises(InputError, match=r"\[1\]"):
            hotelling(spoilt, np.zeros(3))


def estimate_of(value, error, ess=1000.0) -> Estimate:
    value, error = np.asarray(value), np.asarray(error)
    tau = np.full(value.shape, 0.5)[()]
    return Estimate(value[()], error[()], tau, tau * 0.0, np.full(value.shape, ess)[()], 1000)


def test_assert_consistent_asks_for_ess_then_resolution_then_z():
    good = estimate_of([1.0, 2.0], [0.01, 0.01])
    assert_consistent(good, [1.01, 2.01], resolution=0.02)
    with pytest.raises(AssertionError, match="gate: ess below 2000"):
        assert_consistent(good, [9.0, 2.0], resolution=0.001, min_ess=2000.0)
    with pytest.raises(AssertionError, match=r"gate: error above 0\.001"):
        assert_consistent(good, [9.0, 2.0], resolution=0.001)
    with pytest.raises(AssertionError, match=r"entry \(1,\) \(1 of 2 fail\): value 2, error 0.01, oracle 2.1, z -10"):
        assert_consistent(good, [1.0, 2.1], resolution=0.02)
    assert_consistent(good, [1.0, 2.1], oracle_error=[0.0, 0.1], resolution=0.2)
    for name in ("value", "error", "ess"):
        with pytest.raises(AssertionError):
            assert_consistent(dataclasses.replace(good, **{name: np.array([np.nan, 1.0])}), [1.0, 2.0], resolution=1.0)


def test_assert_inconsistent_fails_by_the_bound_and_not_by_the_gates():
    good = estimate_of(1.0, 0.01)
    assert_inconsistent(good, 1.1, resolution=0.02)
    with pytest.raises(AssertionError, match="not detected"):
        assert_inconsistent(good, 1.01, resolution=0.02)
    with pytest.raises(AssertionError, match="gate"):
        assert_inconsistent(good, 1.1, resolution=0.001)
    with pytest.raises(AssertionError, match="gate"):
        assert_inconsistent(good, 1.1, resolution=0.02, min_ess=1e6)


def test_an_uncertain_error_widens_the_bound():
    """z = 4.5 fails for an exact error and passes for one known to 20%, with 12.5 degrees of freedom."""
    exact = estimate_of(1.0, 0.01, ess=1e9)
    uncertain = dataclasses.replace(exact, tau_int_error=0.4 * exact.tau_int)
    assert uncertain.error_dof == pytest.approx(12.5, rel=1e-6)
    assert_inconsistent(exact, 1.045, resolution=0.02)
    assert_consistent(uncertain, 1.045, resolution=0.02)


def test_the_helper_needs_a_scale_and_the_right_shape():
    with pytest.raises(ValueError, match="scale"):
        assert_consistent(estimate_of([0.0, 1.0], [0.1, 0.1]), [0.0, 1.0], resolution=1.0)
    assert_consistent(estimate_of([0.0, 1.0], [0.1, 0.1]), [0.0, 1.0], resolution=0.2, scale=1.0)
    with pytest.raises(ValueError, match="shape"):
        assert_consistent(estimate_of([0.0, 1.0], [0.1, 0.1]), [0.0, 1.0, 2.0], resolution=1.0)


def test_detectable_deviation_is_the_power():
    """With dof = 1000 the deviation that it names is detected in 95% of 4000 normal draws, +- 4 binomial sigma."""
    estimate = estimate_of(2.0, 0.01)
    deviation = 2.0 * float(detectable_deviation(estimate, 2.0))
    values = 2.0 + deviation + 0.01 * np.random.default_rng(22).standard_normal(4000)
    bound = float(bonferroni_bound(1, 1e-4, estimate.error_dof))
    detected = np.mean(np.abs(z_score(values, 0.01, 2.0)) > bound)
    assert abs(detected - 0.95) < 4.0 * math.sqrt(0.95 * 0.05 / 4000)


def test_a_resolution_for_each_entry():
    good = estimate_of([1.0, 2.0], [0.01, 0.05])
    assert_consistent(good, [1.01, 2.01], resolution=[0.02, 0.03])
    with pytest.raises(AssertionError, match=r"gate: error above 0\.02 of the scale, entry \(1,\)"):
        assert_consistent(good, [1.01, 2.01], resolution=[0.03, 0.02])


def test_hotelling_of_independent_draws_is_the_textbook_test():
    """T^2 = n d S^-1 d, T^2 (n - K)/(K (n - 1)) ~ F(K, n - K), all n draws used."""
    rng = np.random.default_rng(8)
    draws, reference = rng.normal(size=(40, 3)) @ rng.normal(size=(3, 3)), np.array([0.1, 0.0, -0.2])
    deviation = draws.mean(axis=0) - reference
    t_squared = 40 * deviation @ np.linalg.solve(np.cov(draws.T), deviation)
    found = hotelling_of_independent(draws, reference)
    assert found.chi2 == pytest.approx(t_squared, rel=1e-10)
    assert found.p_value == pytest.approx(stats.f(3, 37).sf(t_squared * 37 / (3 * 39)), rel=1e-9)
    assert (found.dof, found.num_blocks) == (3, 40)
    related = np.column_stack([draws, draws.sum(axis=1)])
    kept, broken = np.append(reference, reference.sum()), np.append(reference, reference.sum() + 0.1)
    assert hotelling_of_independent(related, kept).chi2 == pytest.approx(t_squared, rel=1e-6)
    assert hotelling_of_independent(related, broken).p_value == 0.0
    with pytest.raises(TooFewDraws, match="needs about 20"):
        hotelling_of_independent(draws[:19], reference)
