"""Floors, Fourier sampling, depth and best output weights against quadrature and other independent routes."""

import itertools

import jax
import numpy as np
import pytest

from nnft_mcmc import MLP, AdditiveNet, DenseNet, InputError, ScalarNet
from nnft_mcmc.architectures import AdditiveKAN
from nnft_mcmc.expressivity import fourier_sampling
from nnft_mcmc.expressivity.approximation import evaluate
from nnft_mcmc.expressivity.curves import Curve, count_parameters, fourier_draws, of_features
from nnft_mcmc.expressivity.features import drawn, ladder, num_output_weights
from nnft_mcmc.expressivity.floors import additive_floor, additive_sup_floor, floor_of, polynomial_floor
from nnft_mcmc.expressivity.least_squares import least_squares
from nnft_mcmc.expressivity.nodes import gauss_legendre, grid
from nnft_mcmc.expressivity.problem import of_target
from nnft_mcmc.expressivity.sawtooth import deep, shallow, shallow_floor, tents
from nnft_mcmc.expressivity.targets import target
from nnft_mcmc.statistics import Estimate
from tests.statistical.consistency import assert_consistent, assert_inconsistent

ORDER = 10
KEY = jax.random.key(0)


def fitted(net, of):
    nodes = gauss_legendre(of.lower, of.upper, ORDER)
    return least_squares(net, net.sample_parameters(KEY), nodes, of.f(nodes.points))


# Networks that are not universal.


def test_floors_in_closed_form():
    """x y on [-1, 1] x [0, 2]: the interaction is x (y - 1), of norm 1/3; in the sup-norm it is 1 away."""
    of = target("product", [-1.0, 0.0], [1.0, 2.0])
    np.testing.assert_allclose(additive_floor(of.f, of.lower, of.upper), 1 / 3, rtol=1e-12)
    np.testing.assert_allclose(additive_sup_floor(of.f, of.lower, of.upper), 1.0, rtol=1e-12)
    np.testing.assert_allclose(polynomial_floor(of.f, of.lower, of.upper, 1), 1 / 3, rtol=1e-12)
    assert polynomial_floor(of.f, of.lower, of.upper, 2) < 1e-14


def test_the_interaction_of_three_variables():
    """x y z + x: all but x is interaction, <(x y z)^2> = 1/27."""
    floor = additive_floor(lambda x: x.prod(axis=1) + x[:, 0], [-1.0] * 3, [1.0] * 3, 6)
    np.testing.assert_allclose(floor, 27**-0.5, rtol=1e-12)


def test_additive_networks_stall_at_the_interaction():
    """Wide enough to span all additive functions on the nodes, least squares are at the floor and at no other."""
    of = target("exp_sin")
    floor = additive_floor(of.f, of.lower, of.upper, ORDER)
    errors = [fitted(AdditiveNet(2, width, "tanh", 12.0, 6.0), of).rms for width in (6, 60, 200)]
    assert errors[0] > 1.05 * floor
    np.testing.assert_allclose(errors[1:], floor, rtol=1e-8)
    assert fitted(DenseNet(2, 200, "tanh", 12.0, 6.0), of).rms < 1e-8 * floor  # control: the sum inside


def test_additive_splines_stall_at_the_interaction():
    """As many splines of degree 1 as span all additive functions on the nodes; the rank has one constant, not two."""
    of = target("exp_sin")
    found = fitted(AdditiveKAN(2, 60, 1), of)
    np.testing.assert_allclose(found.rms, additive_floor(of.f, of.lower, of.upper, ORDER), rtol=1e-8)
    assert found.rank == 2 * ORDER - 1
    assert floor_of(AdditiveKAN(2), of.f, of.lower, of.upper) == additive_floor(of.f, of.lower, of.upper)
    assert floor_of(AdditiveKAN(1), lambda x: x[:, 0], [0.0], [1.0]) == 0.0


def test_additive_networks_in_the_sup_norm():
    of = target("product")
    net = AdditiveNet(2, 60, "tanh", 12.0, 6.0)
    error = evaluate(net, fitted(net, of).theta, grid(of.lower, of.upper, 33)) - of.f(grid(of.lower, of.upper, 33))
    assert np.abs(error).max() >= additive_sup_floor(of.f, of.lower, of.upper)


@pytest.mark.parametrize(
    ("net", "degree"),
    [
        (DenseNet(2, 20, "square", bias_std=1.0), 2),
        (DenseNet(2, 20, "identity", bias_std=1.0), 1),
        (MLP(2, 40, 3, "square", bias_std=1.0), 4),
    ],
)
def test_polynomial_activations_stall_at_their_degree(net, degree):
    of = target("exp_sin")
    found = fitted(net, of)
    rank = (degree + 1) * (degree + 2) // 2
    np.testing.assert_allclose(found.rms, polynomial_floor(of.f, of.lower, of.upper, degree, ORDER), rtol=1e-8)
    assert found.rank == rank
    assert floor_of(net, of.f, of.lower, of.upper) == polynomial_floor(of.f, of.lower, of.upper, degree)
    assert abs(found.rms / polynomial_floor(of.f, of.lower, of.upper, degree + 1, ORDER) - 1) > 0.05  # control


def test_universal_networks_have_no_floor():
    of = target("exp_sin")
    assert floor_of(DenseNet(2, 4, "tanh"), of.f, of.lower, of.upper) == 0.0
    assert floor_of(AdditiveNet(2, 4, "tanh"), of.f, of.lower, of.upper) > 0.39


# Neurons from the spectrum.


@pytest.mark.parametrize("width", [1, 2])
def test_the_error_of_fourier_sampling_is_exact(width):
    """Against Gauss-Hermite quadrature over the momenta of all neurons."""
    spectrum, x = target("gaussian").spectrum, np.array([[0.0], [0.4], [1.7]])
    w, p = np.polynomial.hermite_e.hermegauss(60)
    p = p / p.sum()
    f = np.exp(-(x[:, 0] ** 2) / 2)
    exact = np.zeros(3)
    for nodes in itertools.product(range(60), repeat=width):
        phi = np.mean(np.cos(w[list(nodes)] * x), axis=1)
        exact += p[list(nodes)].prod() * (phi - f) ** 2
    np.testing.assert_allclose(fourier_sampling.mean_square_error(spectrum, x, width), exact, atol=1e-12)


def test_the_spectrum_with_a_form_factor():
    """alpha = 0.5: F grows with w and the density falls faster; one neuron against a quadrature in w."""
    spectrum, x = ScalarNet(1, 1, mass=1.0, cutoff=6.0, alpha=0.5), np.array([[0.3], [1.1]])
    w, weights = np.polynomial.legendre.leggauss(400)
    w, weights = 6 * w, 6 * weights
    density = (w**2 + 1) ** -1.5
    density = density * weights / (density @ weights)
    factor = np.array([float(spectrum.form_factor(np.array([k]))) for k in w])
    neuron = factor * np.cos(w * x)
    f = neuron @ density
    np.testing.assert_allclose(fourier_sampling.function_of(spectrum, x), f, rtol=1e-9)
    exact = ((neuron - f[:, None]) ** 2 @ density) / 3
    np.testing.assert_allclose(fourier_sampling.mean_square_error(spectrum, x, 3), exact, rtol=1e-9)


def test_draws_have_that_error_and_the_rate_of_barron():
    """600 draws at five widths. False alarm 1e-4 each; the controls: unit-norm neurons, and a rate of -0.7."""
    of = target("gaussian")
    problem = of_target(of, 8)
    keys = jax.random.split(jax.random.key(5), 5)
    points = [fourier_draws(of, problem, 2**k, key, 600) for k, key in enumerate(keys, start=1)]
    squares = np.stack([point.rms**2 * point.width for point in points], axis=-1)
    mean, error, ess = squares.mean(axis=0), squares.std(axis=0, ddof=1) / np.sqrt(600), np.full(5, 600.0)
    found = Estimate(mean, error, np.full(5, 0.5), np.zeros(5), ess, 599)
    exact = fourier_sampling.rms_error(of.spectrum, of.lower, of.upper, 1) ** 2
    assert_consistent(found, np.full(5, exact), resolution=0.1)
    nodes = gauss_legendre(of.lower, of.upper, 64)
    unit_norm = 1.0 - nodes.rms(of.f(nodes.points)) ** 2
    assert_inconsistent(found, np.full(5, unit_norm), resolution=0.1)
    rate = Curve("gaussian", "fourier_sampling", tuple(points)).rate("rms")
    assert rate.reason == ""
    assert rate.error < 0.04
    assert abs(rate.value + 0.5) < 4 * rate.error < abs(rate.value + 0.7)


# Depth.


def test_deep_and_shallow_sawtooth():
    x = np.linspace(0, 1, 1000)[:, None]
    for number in (1, 3, 6):
        for network, theta in (deep(number), shallow(number)):
            np.testing.assert_allclose(evaluate(network, theta, x), tents(x[:, 0], number), atol=1e-12)
            shapes = {name: d.batch_shape + d.event_shape for name, d in network.prior().items()}
            assert {name: values.shape for name, values in theta.items()} == shapes
        assert count_parameters(deep(number)[0]) == 6 * number + 1
        assert count_parameters(shallow(number)[0]) == 3 * 2**number


def test_shallow_networks_of_as_many_parameters_do_not_see_the_sawtooth():
    """k = 6, 37 parameters: a deep network is exact, and none of 12 ReLU is nearer than 1/2."""
    number, width = 6, 12
    assert shallow_floor(number, width) == 0.5 == shallow_floor(5, 10)
    assert shallow_floor(4, 8) == 0.0
    x = np.linspace(0, 1, 64 * 8 + 1)[:, None]
    nodes = gauss_legendre([0.0], [1.0], 300)
    for seed in range(5):
        net = MLP(1, width, 2, "relu", "standard", weight_std=2.0, bias_std=1.0)
        found = least_squares(
            net, net.sample_parameters(jax.random.key(seed)), nodes, tents(nodes.points[:, 0], number)
        )
        assert np.abs(evaluate(net, found.theta, x) - tents(x[:, 0], number)).max() >= 0.5


# Best output weights.


def test_least_squares_against_the_normal_equations():
    """Features written out; an MLP has its output bias among the weights."""
    of = target("sin")
    nodes = gauss_legendre(of.lower, of.upper, 30)
    values = of.f(nodes.points)
    net = MLP(1, 5, 2, "tanh", bias_std=1.0)
    theta = net.sample_parameters(jax.random.key(3))
    found = least_squares(net, theta, nodes, values)
    h = np.tanh(nodes.points * np.asarray(theta["weights_1"]).T + np.asarray(theta["biases_1"])) / np.sqrt(5)
    h = np.concatenate([h, np.ones((30, 1))], axis=1)
    expected = np.linalg.solve(h.T @ (nodes.weights[:, None] * h), h.T @ (nodes.weights * values))
    np.testing.assert_allclose(found.theta["amplitudes"], expected[:5], rtol=1e-6)
    np.testing.assert_allclose(found.theta["biases_2"], expected[5], rtol=1e-6)
    np.testing.assert_allclose(nodes.rms(evaluate(net, found.theta, nodes.points) - values), found.rms, rtol=1e-9)
    assert found.rank == 6
    np.testing.assert_allclose(found.condition, np.linalg.cond(np.sqrt(nodes.weights)[:, None] * h), rtol=1e-9)


def test_output_weights_and_grids_of_a_fit():
    assert [num_output_weights(net) for net in (AdditiveKAN(2, 4), MLP(1, 5, 2, bias_std=1.0))] == [16, 6]
    assert [ladder(grid) for grid in (2, 3, 5, 6, 20)] == [(2, 2), (3, 3), (5, 5), (3, 3, 6), (5, 5, 10, 20)]


def test_more_neurons_are_better():
    of = target("runge")
    problem = of_target(of, 200)
    rms = [of_features(drawn, DenseNet(1, n, "tanh", 5.0, 5.0), n, problem, KEY, 3).rms.max() for n in (4, 40)]
    assert rms[1] < 0.1 * rms[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: target("sine"), "Did you mean 'sin'"),
        (lambda: target("product", [0.0], [1.0]), "1 dimensions and product takes 2"),
        (lambda: target("sin", [1.0], [0.0]), "lower below"),
        (lambda: target("sin", [1.0]), "give both corners"),
        (lambda: additive_sup_floor(lambda x: x[:, 0], [0.0], [1.0]), "rectangles need two"),
        (lambda: deep(0), "number is 0"),
        (lambda: fourier_draws(target("sin"), of_target(target("sin"), 8), 4, KEY, 2), "the spectrum of sin"),
        (lambda: of_target(target("gaussian", [0.0] * 4, [1.0] * 4)), "there can be 3"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(InputError, match=message):
        call()
