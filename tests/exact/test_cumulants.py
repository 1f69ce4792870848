"""Cumulants of a sum of neurons at any width: by enumeration of all networks, by quadrature, by published laws."""

import math
from itertools import product

import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermegauss

from nnft_mcmc._checks import InputError
from nnft_mcmc.exact.cumulants import (
    independent_neurons_cumulant,
    independent_neurons_moment,
    normal_moment,
    one_point_cumulants,
    quadrature_moments,
    sum_of_neurons_cumulant,
    sum_of_neurons_moment,
    weighted_moments,
)
from nnft_mcmc.exact.wick import cumulants_from_moments, gaussian_n_point

# Laws of one neuron at 3 points: atoms (atom, point) and their probabilities, with zero mean.
SYMMETRIC = np.array([[1.0, 0.5, -0.3], [-1.0, -0.5, 0.3], [0.2, -1.4, 0.8], [-0.2, 1.4, -0.8]])
SYMMETRIC_WEIGHTS = np.array([0.2, 0.2, 0.3, 0.3])
SKEWED = np.array([[2.0, -1.0, 0.5], [-1.0, 0.5, 0.25], [-0.5, 0.25, -1.0]])
SKEWED_WEIGHTS = np.array([0.25, 0.4, 0.2])
SKEWED_WEIGHTS = np.append(SKEWED_WEIGHTS, 1 - SKEWED_WEIGHTS.sum())
SKEWED = np.vstack([SKEWED, -(SKEWED_WEIGHTS[:3] @ SKEWED) / SKEWED_WEIGHTS[3]])
LAWS = {True: (SYMMETRIC, SYMMETRIC_WEIGHTS), False: (SKEWED, SKEWED_WEIGHTS)}


def enumerated(laws):
    """phi (network, point) and probability of every network whose neuron i is drawn from laws[i]."""
    choices = list(product(*[range(len(weights)) for _, weights in laws]))
    phi = np.array([sum(law[0][k] for law, k in zip(laws, chosen, strict=True)) for chosen in choices])
    weights = np.array([math.prod(law[1][k] for law, k in zip(laws, chosen, strict=True)) for chosen in choices])
    return phi / math.sqrt(len(laws)), weights


def moments_of(atoms, weights, indices):
    return lambda block: weights @ atoms[:, [indices[i] for i in block]].prod(axis=1)


CASES = [(indices, False) for indices in [(0, 1), (0, 1, 2), (0, 0, 1, 2), (0, 1, 1, 2, 2)]]
CASES += [(indices, True) for indices in [(0, 1), (0, 0, 1, 2), (0, 0, 1, 1, 2, 2), (0, 0, 0, 1, 1, 2, 2, 2)]]


@pytest.mark.parametrize("width", [1, 2, 3, 5])
@pytest.mark.parametrize(("indices", "even"), CASES)
def test_iid_neurons_are_the_sum_over_all_networks(indices, even, width):
    atoms, weights = LAWS[even]
    single = moments_of(atoms, weights, indices)
    network = moments_of(*enumerated([(atoms, weights)] * width), indices)
    order = len(indices)
    expected = network(tuple(range(order)))
    np.testing.assert_allclose(sum_of_neurons_moment(single, order, width, even), expected, rtol=1e-10, atol=1e-14)
    connected = cumulants_from_moments(network, order)
    value = sum_of_neurons_cumulant(single, order, width, even)
    np.testing.assert_allclose(value, connected, rtol=1e-10, atol=1e-12 * abs(expected))


@pytest.mark.parametrize("indices", [(0, 1), (0, 1, 1, 2), (0, 0, 1, 1, 2, 2)])
def test_independent_neurons_of_different_laws_are_the_sum_over_all_networks(indices):
    laws = [(scale * SYMMETRIC[:, order], SYMMETRIC_WEIGHTS) for scale, order in [(1, [0, 1, 2]), (2, [2, 0, 1])]]
    laws.append((SYMMETRIC[:, ::-1] * [0.5, 1.5, 1.0], SYMMETRIC_WEIGHTS))
    network = moments_of(*enumerated(laws), indices)

    def neurons(block):
        return np.array([moments_of(*law, indices)(block) for law in laws])

    order = len(indices)
    expected = network(tuple(range(order)))
    np.testing.assert_allclose(independent_neurons_moment(neurons, order, even=True), expected, rtol=1e-10)
    connected = cumulants_from_moments(network, order)
    value = independent_neurons_cumulant(neurons, order, even=True)
    np.testing.assert_allclose(value, connected, rtol=1e-10, atol=1e-12 * abs(expected))


def test_one_point_laws_are_the_even_partitions():
    mu = {2: 0.7, 4: 2.1, 6: 11.0}
    closed = one_point_cumulants(mu[2], mu[4], mu[6], width=3)
    values = [sum_of_neurons_cumulant(lambda block: mu[len(block)], order, 3, even=True) for order in mu]
    np.testing.assert_allclose(closed, values, rtol=1e-13)


@pytest.mark.parametrize("width", [2, 5, 20, 100])
def test_relu_networks_obey_the_published_finite_width_laws(width):
    """No bias, d = 1, x > 0: the 4-point deviates by 5/N and the 6-point by 15/N + 44/N^2 (arXiv:2008.08601)."""
    nodes, weights = hermegauss(24)
    points = np.array([0.4, 0.4, 1.1, 1.7, 0.9, 2.3])
    preactivation = points[:, None] * nodes[nodes > 0]
    # E over w > 0; even powers of a half-line are half of the full Gauss-Hermite sum, which is exact.
    features = np.concatenate([preactivation, np.zeros((6, 1))], axis=1)
    half = weights[nodes > 0] / weights.sum()
    rule = np.append(half, 1 - half.sum())
    neuron = weighted_moments(normal_moment(), quadrature_moments(features, rule))
    two_point = np.outer(points, points) / 2
    for order, deviation in [(4, 5 / width), (6, 15 / width + 44 / width**2)]:
        full = sum_of_neurons_moment(neuron, order, width, even=True)
        gaussian = gaussian_n_point(two_point[:order, :order])
        np.testing.assert_allclose(full / gaussian - 1, deviation, rtol=1e-10)


def cos_features(points):
    """cos(w x + b), w ~ N(0, 1), b uniform: 40 Hermite nodes and a 16-point trapezoid, which averages 8 factors."""
    w, weights = hermegauss(40)
    phases = 2 * math.pi * np.arange(16) / 16
    angle = np.asarray(points)[:, None, None] * w[:, None] + phases
    return np.cos(angle).reshape(len(points), -1), np.repeat(weights / weights.sum(), 16) / 16


def test_cos_net_figures():
    """Cos-net: G and Gc4 of N = 1; excess kurtosis 3/2N everywhere. The sixth cumulant at one point is zero."""
    neuron = weighted_moments(normal_moment(), quadrature_moments(*cos_features([0.0, 0.7, 1.5, -0.4])))
    np.testing.assert_allclose(sum_of_neurons_cumulant(neuron, 2, 1, even=True), 0.3913522691, atol=5e-11)
    np.testing.assert_allclose(sum_of_neurons_cumulant(neuron, 4, 1, even=True), 0.2973836815, atol=5e-11)
    np.testing.assert_allclose(sum_of_neurons_cumulant(neuron, 4, 50, even=True), 0.2973836815 / 50, atol=1e-12)
    at_one_point = weighted_moments(normal_moment(), quadrature_moments(*cos_features([0.3] * 6)))
    kappa = [sum_of_neurons_cumulant(at_one_point, order, 4, even=True) for order in (2, 4, 6)]
    np.testing.assert_allclose(kappa, [0.5, 3 / 8 * 0.25, 0.0], atol=1e-12)


def test_gauss_net_figures():
    """Gauss-net, d = 1, N = 1, s0 = s1 = 1, sb = .5 at (.5, .2, -.3, .7)."""
    points, bias_std = np.array([0.5, 0.2, -0.3, 0.7]), 0.5
    z, weights = hermegauss(50)
    exponent = points[:, None, None] * z[:, None] + bias_std * z
    features = np.exp(exponent - bias_std**2 - points[:, None, None] ** 2).reshape(4, -1)
    rule = np.outer(weights, weights).ravel() / weights.sum() ** 2
    neuron = weighted_moments(normal_moment(math.sqrt(0.5)), quadrature_moments(features, rule))
    np.testing.assert_allclose(sum_of_neurons_cumulant(neuron, 2, 1, even=True), 0.4779987409, atol=5e-11)
    np.testing.assert_allclose(sum_of_neurons_cumulant(neuron, 4, 1, even=True), 1.0426894063, atol=5e-11)


def test_two_quadrature_neurons_are_gaussian_at_one_point_and_not_at_two():
    """u cos + v sin, u and v normal: given the momentum a Gaussian field of covariance cos w(x - y)."""
    nodes, weights = hermegauss(30)

    def neuron(points):
        def moments(block):
            x = np.asarray(points)[list(block)]
            return weights @ gaussian_n_point(np.cos(np.subtract.outer(x, x) * nodes[:, None, None])) / weights.sum()

        return moments

    np.testing.assert_allclose(sum_of_neurons_cumulant(neuron([0.3] * 4), 4, 7, even=True), 0.0, atol=1e-13)
    # x, x, y, y: E[1 + 2 cos^2] - 1 - 2 (E cos)^2 = 1 + e^{-2 r^2} - 2 e^{-r^2}.
    r = 1.3
    expected = (1 + math.exp(-2 * r**2) - 2 * math.exp(-(r**2))) / 7
    np.testing.assert_allclose(sum_of_neurons_cumulant(neuron([0, 0, r, r]), 4, 7, even=True), expected, rtol=1e-10)


def test_normal_moments():
    np.testing.assert_allclose([normal_moment(2.0)(r) for r in range(7)], [1, 0, 4, 0, 48, 0, 960], rtol=1e-14)


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="weights of sum"):
        quadrature_moments(np.ones((2, 3)), np.ones(3))
    with pytest.raises(InputError, match="one row for each neuron"):
        independent_neurons_cumulant(lambda block: 1.0, 4)
    with pytest.raises(InputError, match="width"):
        sum_of_neurons_cumulant(lambda block: 1.0, 4, 0)
