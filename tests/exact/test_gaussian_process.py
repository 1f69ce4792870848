"""The Gaussian process against textbook matrix formulas, Markov densities, and kernels of exactly known rank."""

import math

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from nnft_mcmc._checks import InputError
from nnft_mcmc.exact.gaussian_process import GaussianProcess

TIMES = np.array([0.0, 0.3, 0.5, 1.1, 1.6, 2.4, 2.5, 3.0])
MASS = 0.8


def free_kernel(times, mass=MASS):
    return np.exp(-mass * np.abs(np.subtract.outer(times, times))) / (2 * mass)


def smooth_kernel(num_points, spacing):
    x = spacing * np.arange(num_points)
    return np.exp(-(np.subtract.outer(x, x) ** 2) / 2) / 2


def fields(num_points, seed=1):
    return np.random.default_rng(seed).standard_normal((2, 4, num_points))


def test_action_and_density_of_an_invertible_kernel():
    """S = (1/2) phi K^-1 phi, with the 1/2, and scipy's multivariate normal."""
    kernel, mean, phi = free_kernel(TIMES), np.sin(TIMES), fields(TIMES.size)
    process = GaussianProcess(kernel, mean)
    assert process.rank == TIMES.size
    expected = 0.5 * np.einsum("...a,ab,...b->...", phi - mean, np.linalg.inv(kernel), phi - mean)
    np.testing.assert_allclose(process.action(phi), expected, rtol=1e-10)
    np.testing.assert_allclose(process.log_density(phi), multivariate_normal(mean, kernel).logpdf(phi), rtol=1e-10)


def test_free_scalar_density_is_the_product_of_its_transitions():
    phi = fields(TIMES.size)[0, 0]
    decay = np.exp(-MASS * np.diff(TIMES))
    steps = norm.logpdf(phi[1:], decay * phi[:-1], np.sqrt((1 - decay**2) / (2 * MASS))).sum()
    expected = norm.logpdf(phi[0], 0, math.sqrt(1 / (2 * MASS))) + steps
    np.testing.assert_allclose(GaussianProcess(free_kernel(TIMES)).log_density(phi), expected, rtol=1e-10)


def test_whitening_is_a_square_root_also_of_a_kernel_singular_to_machine_precision():
    """A Gaussian kernel on 60 points across 3 lengths: numpy's inverse is noise, K = W W^T holds to the threshold."""
    process = GaussianProcess(smooth_kernel(60, 0.05))
    w = process.whitening
    assert w.shape == (60, process.rank)
    assert 8 < process.rank < 20
    assert np.abs(w @ w.T - process.kernel).max() < process.cut
    theta = np.random.default_rng(2).standard_normal((7, process.rank))
    np.testing.assert_allclose(process.whiten(theta @ w.T), theta, atol=1e-8)
    np.testing.assert_allclose(process.action(theta @ w.T), 0.5 * np.sum(theta**2, axis=1), rtol=1e-8)
    volume = -0.5 * np.sum(np.log(2 * math.pi * process.eigenvalues))
    np.testing.assert_allclose(process.log_density(theta @ w.T), volume - 0.5 * np.sum(theta**2, axis=1), rtol=1e-8)


def test_fields_outside_the_range_have_infinite_action():
    process = GaussianProcess(smooth_kernel(60, 0.05))
    rough = process.draw(np.random.default_rng(3), 5)
    assert np.isfinite(process.action(rough)).all()
    rough[[1, 4], 30] += 1e-3
    np.testing.assert_array_equal(np.isfinite(process.action(rough)), [True, False, True, True, False])
    assert process.log_density(rough[1]) == -np.inf


def test_what_the_threshold_drops_does_not_put_draws_outside():
    """Draws of the process with all modes that rounding leaves are inside the range of the truncated one."""
    kernel = smooth_kernel(60, 0.05)
    draws = GaussianProcess(kernel, threshold=1e-14).draw(np.random.default_rng(4), 200)
    for threshold in (1e-6, 1e-9, 1e-12):
        assert np.isfinite(GaussianProcess(kernel, threshold=threshold).action(draws)).all()


def test_draws_are_the_whitening_of_normal_numbers():
    process = GaussianProcess(free_kernel(TIMES), 0.5)
    theta = np.random.default_rng(5).standard_normal((3, TIMES.size))
    np.testing.assert_array_equal(process.draw(np.random.default_rng(5), 3), 0.5 + theta @ process.whitening.T)


def textbook(process, sites, values, noise):
    """Mean and covariance by Schur complement."""
    data = process.kernel[np.ix_(sites, sites)] + np.diag(np.broadcast_to(noise, len(sites)) ** 2)
    gain = np.linalg.solve(data, process.kernel[sites]).T
    return process.mean + gain @ (values - process.mean[sites]), process.kernel - gain @ process.kernel[sites]


SITES, VALUES = np.array([1, 4, 6]), np.array([0.7, -0.2, 1.1])


@pytest.mark.parametrize("noise", [0.0, 0.3, [0.1, 2.0, 0.5], [0.0, 0.4, 0.0]])
def test_conditioning_is_the_schur_complement(noise):
    process = GaussianProcess(free_kernel(TIMES), np.cos(TIMES))
    posterior = process.condition(SITES, VALUES, noise)
    mean, covariance = textbook(process, SITES, VALUES, noise)
    np.testing.assert_allclose(posterior.mean, mean, rtol=1e-10)
    np.testing.assert_allclose(posterior.kernel, covariance, atol=1e-12)


def test_conditioning_step_by_step_is_conditioning_at_once():
    process = GaussianProcess(free_kernel(TIMES))
    noise = np.array([0.2, 0.0, 0.6])
    step = process
    for site, value, deviation in zip(SITES, VALUES, noise, strict=True):
        step = step.condition([site], [value], deviation)
    at_once = process.condition(SITES, VALUES, noise)
    np.testing.assert_allclose(step.mean, at_once.mean, rtol=1e-10)
    np.testing.assert_allclose(step.kernel, at_once.kernel, atol=1e-12)


def test_conditioned_draws_pass_through_the_values_and_may_be_conditioned_again():
    posterior = GaussianProcess(free_kernel(TIMES)).condition(SITES, VALUES)
    assert posterior.rank == TIMES.size - SITES.size
    draws = posterior.draw(np.random.default_rng(6), 10)
    np.testing.assert_allclose(draws[:, SITES], np.broadcast_to(VALUES, (10, 3)), atol=1e-12)
    assert np.isfinite(posterior.action(draws)).all()
    again = posterior.condition(SITES[:1], VALUES[:1])
    np.testing.assert_allclose(again.mean, posterior.mean, atol=1e-12)
    np.testing.assert_allclose(again.kernel, posterior.kernel, atol=1e-12)
    everything = posterior.condition(np.arange(TIMES.size), draws[0])
    assert everything.rank == 0
    np.testing.assert_allclose(everything.mean, draws[0], atol=1e-12)


def test_a_field_of_three_parameters_is_known_from_three_values():
    """phi = c . f(x) with three functions f, on 40 points: rank 3, and any three values fix all the others."""
    x = np.linspace(0.0, 2.0, 40)
    features = np.stack([np.cos(x), np.sin(2 * x), x**2], axis=1)
    process = GaussianProcess(features @ features.T)
    assert process.rank == 3
    phi, sites = features @ [0.4, -1.0, 0.7], [3, 20, 36]
    posterior = process.condition(sites, phi[sites])
    assert posterior.rank == 0
    np.testing.assert_allclose(posterior.mean, phi, atol=1e-10)
    consistent = process.condition([*sites, 30], phi[[*sites, 30]])
    np.testing.assert_allclose(consistent.mean, phi, atol=1e-10)
    with pytest.raises(InputError, match="contradict"):
        process.condition([*sites, 30], [*phi[sites], phi[30] + 1e-3])
    noisy = process.condition([*sites, 30], [*phi[sites], phi[30] + 1e-3], 0.1)
    mean, _ = textbook(process, np.array([*sites, 30]), np.array([*phi[sites], phi[30] + 1e-3]), 0.1)
    np.testing.assert_allclose(noisy.mean, mean, atol=1e-10)


def test_many_values_of_a_smooth_process_predict_the_others():
    """30 of 60 points of a singular kernel leave the other 30 no freedom beyond the dropped sqrt(threshold)."""
    process = GaussianProcess(smooth_kernel(60, 0.05))
    phi = process.draw(np.random.default_rng(8), 1)[0]
    posterior = process.condition(np.arange(0, 60, 2), phi[::2])
    assert np.abs(posterior.mean - phi).max() < 10 * math.sqrt(process.cut)
    assert np.sqrt(np.diag(posterior.kernel)).max() < 2 * math.sqrt(process.cut)


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (np.ones((2, 3)), r"must be \(n, n\)"),
        ([[1.0, np.nan], [np.nan, 1.0]], "finite"),
        ([[1.0, 0.3], [0.2, 1.0]], "not symmetric"),
        ([[1.0, 2.0], [2.0, 1.0]], "none below zero"),
    ],
)
def test_kernels_that_are_no_covariances_are_refused(kernel, message):
    with pytest.raises(InputError, match=message):
        GaussianProcess(kernel)


def test_bad_data_are_refused():
    process = GaussianProcess(np.eye(3))
    for data, message in [
        (([3], [0.0]), "from 0 to 2"),
        (([0.5], [0.0]), "whole numbers"),
        (([0, 1], [0.0]), "one finite number for each site"),
        (([0], [0.0], -1.0), "standard deviation"),
    ]:
        with pytest.raises(InputError, match=message):
            process.condition(*data)
    with pytest.raises(InputError, match="mean has shape"):
        GaussianProcess(np.eye(3), np.zeros(2))
    with pytest.raises(InputError, match="last axis"):
        process.action(np.zeros(2))


def test_the_empty_process_is_its_mean():
    process = GaussianProcess(np.zeros((3, 3)), 2.0)
    assert process.rank == 0
    np.testing.assert_array_equal(process.draw(np.random.default_rng(9), 2), np.full((2, 3), 2.0))
    np.testing.assert_array_equal(process.action([[2.0, 2.0, 2.0], [2.0, 2.1, 2.0]]), [0.0, np.inf])
