"""The Gamma-method against direct sums, closed forms and its own symmetries."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnft_mcmc._checks import InputError
from nnft_mcmc.statistics import (
    Estimate,
    autocorrelation,
    autocovariance,
    derived,
    gamma_method,
)
from tests.statistical.autoregressive import ar1

FIELDS = ("value", "error", "tau_int", "tau_int_error", "ess")


def assert_same(left: Estimate, right: Estimate, rtol: float = 1e-10) -> None:
    assert left.num_draws == right.num_draws
    for name in FIELDS:
        np.testing.assert_allclose(getattr(left, name), getattr(right, name), rtol=rtol, atol=1e-13, err_msg=name)


def direct_autocovariance(delta: np.ndarray, max_lag: int) -> list[float]:
    """Gamma(t) as nested sums."""
    chains, draws = delta.shape
    return [
        math.fsum(delta[r, i] * delta[r, i + t] for r in range(chains) for i in range(draws - t))
        / (chains * (draws - t))
        for t in range(max_lag + 1)
    ]


def direct_gamma_method(samples: np.ndarray, s: float) -> tuple[float, float, float, float]:
    """The loop of the paper for tau_int > 1/2: value, error, tau_int and its error."""
    n = samples.size
    value = math.fsum(samples.ravel()) / n
    gamma = direct_autocovariance(samples - value, samples.shape[1] // 2)
    g = 0.0
    for w in range(1, len(gamma)):
        g += gamma[w] / gamma[0]
        tau = s / math.log((g + 1.0) / g)
        if math.exp(-w / tau) - tau / math.sqrt(w * n) < 0.0:
            break
    c = gamma[0] + 2.0 * sum(gamma[1 : w + 1])
    corrected = [x + c / n for x in gamma]
    c = corrected[0] + 2.0 * sum(corrected[1 : w + 1])
    tau_int = c / (2.0 * corrected[0])
    return value, math.sqrt(c / n), tau_int, 2.0 * tau_int * math.sqrt(max(w + 0.5 - tau_int, 0.0) / n)


@pytest.mark.parametrize(("num_chains", "num_draws"), [(1, 101), (3, 64), (4, 50)])
def test_autocovariance_is_the_direct_sum(num_chains, num_draws):
    delta = np.random.default_rng(1).standard_normal((num_chains, num_draws)).cumsum(axis=1)
    expected = direct_autocovariance(delta, num_draws - 1)
    np.testing.assert_allclose(autocovariance(delta, num_draws - 1), expected, rtol=1e-10, atol=1e-10 * expected[0])


@pytest.mark.parametrize("num_chains", [1, 2, 5])
@pytest.mark.parametrize("coefficient", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("s", [1.0, 1.5, 2.0])
def test_gamma_method_is_the_loop_of_the_paper(num_chains, coefficient, s):
    samples = 3.0 + ar1(np.random.default_rng(2), coefficient, (num_chains, 400))
    estimate = gamma_method(samples, window_parameter=s)
    got = [getattr(estimate, name) for name in FIELDS[:4]]
    np.testing.assert_allclose(got, direct_gamma_method(samples, s), rtol=1e-10)
    assert estimate.num_draws == samples.size
    assert estimate.ess == pytest.approx(samples.size / (2.0 * estimate.tau_int), rel=1e-14)


@pytest.mark.parametrize("coefficient", [-0.9, -0.5, 0.0, 0.3, 0.7, 0.95])
def test_exact_autocovariance_gives_exact_tau_int(coefficient):
    """rho(t) = a^t has tau_int = (1 + a)/(2 (1 - a)); with N large the window is the only approximation left.

    The truncated remainder is |a|^(W+1)/(1 - a) and exp(-W/tau) < tau/sqrt(W N) with tau = 1.5 tau_exp bounds it.
    """
    num_draws = 10**14
    gamma = coefficient ** np.arange(2000.0)[None]
    window = autocorrelation._window(gamma, num_draws, 1.5)
    c, _ = autocorrelation._summed(gamma, window, num_draws)
    tau_int = (1.0 + coefficient) / (2.0 * (1.0 - coefficient))
    remainder = abs(coefficient) ** (window[0] + 1) / (1.0 - coefficient)
    assert remainder < 1e-4 * tau_int
    assert abs(c[0] / 2.0 - tau_int) <= remainder * (1.0 + 1e-9) + 1e-12


def test_error_of_tau_int_and_of_the_error():
    """For the window W: tau_int_error = 2 tau_int sqrt((W + 1/2 - tau_int)/N), error_dof = N/(2W + 1)."""
    samples = ar1(np.random.default_rng(3), 0.6, (2, 500))
    estimate = gamma_method(samples)
    delta = samples - samples.mean()
    window = autocorrelation._window(autocovariance(delta, 250)[None], 1000, 2.0)[0]
    expected = 2.0 * estimate.tau_int * math.sqrt((window + 0.5 - estimate.tau_int) / 1000)
    assert estimate.tau_int_error == pytest.approx(expected, rel=1e-10)
    assert estimate.error_dof == pytest.approx(1000 / (2 * window + 1), rel=1e-10)


def test_single_observables_and_batches_agree(monkeypatch):
    rng = np.random.default_rng(4)
    samples = np.stack([ar1(rng, a, (3, 200)) for a in (-0.9, -0.3, 0.0, 0.4, 0.9, 0.99)], axis=-1).reshape(
        3, 200, 2, 3
    )
    batch = gamma_method(samples)
    assert batch.value.shape == (2, 3)
    for index in np.ndindex(2, 3):
        assert_same(batch[index], gamma_method(samples[(..., *index)]))
    assert_same(batch[1], gamma_method(samples[:, :, 1]))
    monkeypatch.setattr(autocorrelation, "_CHUNK_BYTES", 1)
    assert_same(batch, gamma_method(samples))


def test_single_precision_and_integers_are_analysed_in_double_precision():
    samples = (1e4 + ar1(np.random.default_rng(5), 0.5, (2, 300))).astype(np.float32)
    assert_same(gamma_method(samples), gamma_method(samples.astype(np.float64)))
    spins = samples > 1e4
    assert_same(gamma_method(spins), gamma_method(spins.astype(np.float64)))


def test_the_samples_are_not_changed():
    samples = ar1(np.random.default_rng(6), 0.5, (1, 50))
    samples[0, 3] = np.inf
    before = samples.copy()
    gamma_method(samples)
    np.testing.assert_array_equal(samples, before)


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([-0.95, -0.5, 0.0, 0.5, 0.95]),
    st.integers(1, 4),
    st.integers(4, 120),
    st.tuples(st.floats(1e-150, 1e150) | st.floats(-1e150, -1e-150), st.floats(-100.0, 100.0)),
)
@settings(max_examples=60, deadline=None)
def test_units_shifts_and_order_of_chains(seed, coefficient, num_chains, num_draws, unit_and_shift):
    unit, shift = unit_and_shift
    rng = np.random.default_rng(seed)
    samples = ar1(rng, coefficient, (num_chains, num_draws))
    estimate = gamma_method(samples)
    assert estimate.error > 0.0
    assert estimate.tau_int > 0.0
    assert estimate.tau_int_error >= 0.0
    assert_same(gamma_method(samples[rng.permutation(num_chains)]), estimate, rtol=1e-8)

    scaled = gamma_method(unit * samples)
    np.testing.assert_allclose(scaled.value, unit * estimate.value, rtol=1e-10, atol=1e-14 * abs(unit))
    np.testing.assert_allclose(scaled.error, abs(unit) * estimate.error, rtol=1e-8)
    np.testing.assert_allclose(scaled.tau_int, estimate.tau_int, rtol=1e-8)

    shifted = gamma_method(samples + shift)
    np.testing.assert_allclose(shifted.value, estimate.value + shift, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(shifted.error, estimate.error, rtol=1e-8)


def test_constant_and_non_finite_observables_stay_visible():
    rng = np.random.default_rng(7)
    samples = np.stack([ar1(rng, 0.5, (2, 100)), np.full((2, 100), 0.1), ar1(rng, 0.5, (2, 100))], axis=-1)
    clean = gamma_method(samples)
    samples[1, 40, 2] = np.nan
    estimate = gamma_method(samples)
    assert_same(estimate[0], clean[0])
    assert estimate.value[1] == pytest.approx(0.1, rel=1e-15)
    assert np.isnan(estimate.value[2])
    for name in FIELDS[1:]:
        assert np.isfinite(getattr(estimate, name)[0])
        assert np.isnan(getattr(estimate, name)[1:]).all()
    assert np.isnan(estimate.error_dof[1:]).all()
    samples[0, 3, 2] = -np.inf
    assert np.isnan(gamma_method(samples).value[2])


@pytest.mark.parametrize("num_draws", [4, 5, 100, 1001])
def test_alternating_series_has_a_small_positive_error(num_draws):
    estimate = gamma_method(np.where(np.arange(num_draws) % 2 == 0, 1.0, -1.0)[None])
    assert 0.0 < estimate.tau_int < 0.5
    assert 0.0 < estimate.error < 1.0 / math.sqrt(num_draws)


def test_triangular_sum_where_the_variance_would_be_negative():
    """gamma = (1, -.6, .1), W = 2: 1 - 1.2 + .1 < 0 is replaced by 1 - 1.2 (2/3) + .2 (1/3), weights 1 + 4/3 + 2/3."""
    c, weight = autocorrelation._summed(np.array([[1.0, -0.6, 0.1]]), np.array([2]), 1000)
    assert c[0] == pytest.approx(1.0 - 1.2 * 2.0 / 3.0 + 0.2 / 3.0, rel=1e-12)
    assert weight[0] == pytest.approx(3.0, rel=1e-12)


def test_telescoping_series_does_not_get_a_negative_variance():
    noise = np.random.default_rng(8).standard_normal((500, 1, 65))
    estimate = gamma_method(np.moveaxis(np.diff(noise, axis=-1), 0, -1))
    assert (estimate.error > 0.0).all()
    assert (estimate.tau_int >= 0.5 / 64 / (1 + 0.01)).all()
    assert np.median(estimate.tau_int) < 0.1


def test_two_stuck_chains_show_as_a_huge_tau_int():
    """Each chain alone is white noise with tau_int = 1/2; that they disagree is in the common mean only."""
    noise = np.random.default_rng(9).standard_normal((2, 1000))
    stuck = noise + np.array([[5.0], [-5.0]])
    estimate = gamma_method(stuck)
    assert gamma_method(noise).tau_int < 0.7
    assert estimate.tau_int > 100.0
    assert estimate.ess < 10.0
    assert estimate.error > 0.5 * 5.0 / math.sqrt(2.0)  # half the error of a mean of two draws of +-5
    frozen = gamma_method(np.stack([np.ones(100), -np.ones(100)]))
    assert frozen.ess < 10.0
    assert frozen.error > 0.5 * 1.0 / math.sqrt(2.0)


def test_derived_of_linear_functions_is_the_gamma_method_of_the_combination():
    rng = np.random.default_rng(10)
    samples = np.stack([ar1(rng, a, (2, 300)) + k for k, a in enumerate((0.2, 0.6, 0.9))], axis=-1)
    gradient = np.array([[1.0, -2.0, 0.5], [0.0, 0.0, 1.0]])
    combination = gamma_method(samples @ gradient.T)
    estimate = derived(samples, samples.mean(axis=(0, 1)) @ gradient.T, gradient)
    assert_same(estimate, combination)
    assert_same(derived(samples, combination.value[0], gradient[0]), combination[0])


def test_derived_ratio_has_the_textbook_error():
    """var(A/B) = C_AA/B^2 - 2 A C_AB/B^3 + A^2 C_BB/B^4 with independent pairs, C = covariance / N."""
    rng = np.random.default_rng(11)
    samples = rng.multivariate_normal([2.0, 5.0], [[1.0, 0.6], [0.6, 2.0]], size=(1, 4000))
    a, b = samples.mean(axis=(0, 1))
    estimate = derived(samples, a / b, [1.0 / b, -a / b**2])
    c = np.cov(samples[0], rowvar=False)
    textbook = (c[0, 0] / b**2 - 2 * a * c[0, 1] / b**3 + a**2 * c[1, 1] / b**4) / 4000
    assert estimate.value == a / b
    assert estimate.error**2 / (2.0 * estimate.tau_int) == pytest.approx(textbook, rel=3e-3)


def test_derived_shows_non_finite_draws():
    samples = np.ones((1, 50, 2)) * np.arange(50)[None, :, None]
    samples[0, 7, 1] = np.inf
    estimate = derived(samples, [1.0, 2.0], [[1.0, 0.0], [0.0, 1.0]])
    assert np.isnan(estimate.value).all()
    assert np.isnan(estimate.error).all()


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(10), "chain"),
        (np.zeros((2, 3)), "at least 4 draws"),
        (np.zeros((0, 10)), "chain"),
        (np.zeros((2, 10), dtype=complex), "real"),
        (np.array([["a", "b"]]), "real"),
    ],
)
def test_unusable_samples_are_refused(samples, message):
    with pytest.raises(InputError, match=message):
        gamma_method(samples)


def test_bad_arguments_are_refused():
    samples = np.random.default_rng(12).standard_normal((2, 10, 3))
    with pytest.raises(InputError, match="window_parameter"):
        gamma_method(samples, window_parameter=0.0)
    for value, gradient in ((1.0, np.ones(2)), (np.ones(2), np.ones(3)), (np.ones((2, 2)), np.ones((2, 2, 3)))):
        with pytest.raises(InputError, match=r"\(M, K\)"):
            derived(samples, value, gradient)


def test_empty_observables():
    assert gamma_method(np.zeros((2, 10, 0, 3))).value.shape == (0, 3)
