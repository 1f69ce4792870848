"""Dual functions of activations against quadrature by other rules, closed limits and identities."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.polynomial.legendre import leggauss
from scipy.special import erf, roots_hermitenorm

from nnft_mcmc._checks import InputError
from nnft_mcmc.architectures import kernels
from nnft_mcmc.architectures.activations import REGISTRY, SmoothActivation
from nnft_mcmc.architectures.gaussian_integrals import planar_ramp_product, ramp_product, smooth_product

SMOOTH = [name for name in REGISTRY if name != "relu"]
COVARIANCES = [(1.0, 1.0, 0.5), (0.3, 1.7, -0.6), (2.0, 0.5, 0.9), (1.2, 0.8, 0.0), (0.04, 3.0, 0.3)]


def hermite(num_nodes):
    nodes, weights = roots_hermitenorm(num_nodes)
    return nodes, weights / weights.sum()


def grid(rank, num_nodes):
    """Nodes (k, rank) and weights (k,) of the Gauss-Hermite product rule for a standard normal vector."""
    z, w = hermite(num_nodes)
    nodes = np.stack(np.meshgrid(*[z] * rank, indexing="ij"), axis=-1).reshape(-1, rank)
    return nodes, np.prod(np.stack(np.meshgrid(*[w] * rank, indexing="ij"), axis=-1).reshape(-1, rank), axis=1)


def by_hermite(f, loadings, num_nodes):
    """E prod_i f(u_i) for u = loadings z, with f a JAX function."""
    nodes, weights = grid(loadings.shape[1], num_nodes)
    return float(weights @ np.prod(np.asarray(f(jnp.asarray(nodes @ loadings.T))), axis=1))


@functools.cache
def function(name):
    return jax.jit(REGISTRY[name].__call__)


@functools.cache
def slope(name):
    return jax.jit(jnp.vectorize(jax.grad(REGISTRY[name])))


@pytest.mark.parametrize(
    ("name", "value", "slope_value"),
    [("erf", 0.216346895939, 0.450158158079), ("relu", 0.304498890522, 0.333333333333)],
)
def test_the_published_values(name, value, slope_value):
    assert kernels.expectation(name, 1, 1, 0.5) == pytest.approx(value, abs=5e-13)
    assert kernels.slope_expectation(name, 1, 1, 0.5) == pytest.approx(slope_value, abs=5e-13)


@pytest.mark.parametrize("covariance", COVARIANCES)
@pytest.mark.parametrize("name", SMOOTH)
def test_dual_functions_by_two_dimensional_gauss_hermite(name, covariance):
    """200 nodes of the Cholesky factor: other nodes, other axes, and the JAX function with its JAX derivative."""
    a, b, c = covariance
    factor = np.linalg.cholesky(np.array([[a, c], [c, b]]))
    assert kernels.expectation(name, a, b, c) == pytest.approx(by_hermite(function(name), factor, 200), abs=1e-10)
    assert kernels.slope_expectation(name, a, b, c) == pytest.approx(by_hermite(slope(name), factor, 200), abs=1e-10)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_relu_by_quadrature_over_the_positive_quadrant(covariance):
    """On u, v > 0 the integrands are smooth: Gauss-Legendre up to 12 standard deviations."""
    a, b, c = covariance
    x, w = leggauss(400)
    u, v = (math.sqrt(k) * 6 * (x + 1) for k in (a, b))
    inverse = np.linalg.inv(np.array([[a, c], [c, b]]))
    form = inverse[0, 0] * u[:, None] ** 2 + 2 * inverse[0, 1] * np.outer(u, v) + inverse[1, 1] * v**2
    density = np.exp(-form / 2) * math.sqrt(np.linalg.det(inverse)) / (2 * math.pi)
    weights = 36 * math.sqrt(a * b) * np.outer(w, w)
    expected, expected_slope = np.sum(weights * density * np.outer(u, v)), np.sum(weights * density)
    assert kernels.expectation("relu", a, b, c) == pytest.approx(expected, abs=1e-10)
    assert kernels.slope_expectation("relu", a, b, c) == pytest.approx(expected_slope, abs=1e-10)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("name", REGISTRY)
def test_a_singular_covariance_is_a_one_dimensional_average(name, sign):
    a, b = 0.7, 1.9
    z, w = leggauss(300)
    z, w = np.concatenate([6 * (z - 1), 6 * (z + 1)]), np.concatenate([6 * w, 6 * w])  # 0 is an end: ReLU's kink
    w = w * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    pair = jnp.asarray(math.sqrt(a) * z), jnp.asarray(sign * math.sqrt(b) * z)
    c = sign * math.sqrt(a * b)
    for computed, f in ((kernels.expectation, function(name)), (kernels.slope_expectation, slope(name))):
        assert computed(name, a, b, c) == pytest.approx(float(w @ np.asarray(f(pair[0]) * f(pair[1]))), abs=1e-10)


@pytest.mark.parametrize("name", REGISTRY)
def test_without_variance_the_activation_is_a_number(name):
    at_zero = float(REGISTRY[name](jnp.zeros(())))
    assert kernels.expectation(name, 0, 0, 0) == pytest.approx(at_zero**2, abs=1e-15)
    mean = kernels.expectation(name, 0.0, 1.3, 0.0)
    one_sided = by_hermite(function(name), np.array([[1.14017542509914]]), 200) if name != "relu" else 0.0
    assert mean == pytest.approx(at_zero * one_sided, abs=1e-10)


def test_arrays_broadcast_and_agree_with_single_numbers():
    k11, k22, rho = np.array([[0.5], [2.0]]), np.array([0.3, 1.0, 4.0]), np.linspace(-1, 1, 3)
    table = kernels.expectation("tanh", k11, k22, rho * np.sqrt(k11 * k22))
    assert table.shape == (2, 3)
    for i, j in np.ndindex(2, 3):
        single = kernels.expectation("tanh", k11[i, 0], k22[j], rho[j] * math.sqrt(k11[i, 0] * k22[j]))
        assert table[i, j] == pytest.approx(single, abs=1e-14)


@pytest.mark.parametrize("std", [3.0, 10.0])
def test_tanh_of_a_wide_preactivation(std):
    """The step adapts to the poles of tanh: a trapezoidal rule with 16 times as many nodes agrees."""
    z = np.linspace(-10, 10, 20001)
    w = np.exp(-(z**2) / 2)
    expected = np.sum(w * np.tanh(std * z) * np.tanh(-0.6 * std * z)) / w.sum()
    assert kernels.expectation("tanh", std**2, 0.36 * std**2, -0.6 * std**2) == pytest.approx(expected, abs=1e-12)


# Products of four and six.


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("name", SMOOTH)
def test_products_of_four_by_gauss_hermite(name, rank):
    """Points of a network span `rank` dimensions: the covariance of four is singular."""
    loadings = np.random.default_rng(rank).normal(size=(4, rank)) * {1: 0.8, 2: 0.6, 3: 0.3}[rank]
    expected = by_hermite(function(name), loadings, {1: 200, 2: 150, 3: 80}[rank])
    assert REGISTRY[name].product(loadings @ loadings.T) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("name", ["erf", "cos", "sin", "gaussian", "identity", "tanh"])
def test_products_of_six_by_gauss_hermite(name):
    loadings = np.random.default_rng(6).normal(size=(6, 2)) * 0.6
    expected = by_hermite(function(name), loadings, 150)
    assert REGISTRY[name].product(loadings @ loadings.T) == pytest.approx(expected, abs=1e-10)


def test_erf_in_general_position_two_ways():
    """sign_product and the trapezoidal rule, four dimensions."""
    loadings = np.random.default_rng(4).normal(size=(4, 4)) * 0.4
    covariance = loadings @ loadings.T
    assert REGISTRY["erf"].product(covariance) == pytest.approx(float(smooth_product(erf, covariance, 2.0)), abs=1e-12)


def test_relu_in_general_position_by_quadrature_over_the_positive_orthant():
    loadings = np.eye(4) + 0.3 * np.random.default_rng(0).normal(size=(4, 4))
    covariance = loadings @ loadings.T
    inverse, std = np.linalg.inv(covariance), np.sqrt(np.diagonal(covariance))
    x, w = leggauss(44)
    u, w = [s * 4.5 * (x + 1) for s in std], 4.5 * w
    last = u[2][:, None], u[3]
    total = 0.0
    for (i, u0), (j, u1) in itertools.product(enumerate(u[0]), enumerate(u[1])):
        at = np.stack(np.broadcast_arrays(u0, u1, *last))
        form = np.einsum("iab,ij,jab->ab", at, inverse, at)
        total += w[i] * w[j] * np.einsum("a,b,ab->", w, w, at.prod(axis=0) * np.exp(-form / 2))
    expected = total * std.prod() * math.sqrt(np.linalg.det(inverse)) / (2 * math.pi) ** 2
    assert ramp_product(covariance) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("seed", range(5))
def test_relu_of_all_signs_adds_up_to_wick(seed):
    """u = max(u, 0) - max(-u, 0), so sum_s prod s E prod max(s u, 0) = E u1 u2 u3 u4; any rank, any correlations."""
    rng = np.random.default_rng(seed)
    loadings = rng.normal(size=(4, 1 + seed % 4))
    c = loadings @ loadings.T
    signs = np.array(list(itertools.product([1.0, -1.0], repeat=4)))
    total = signs.prod(axis=1) @ ramp_product(c * signs[:, :, None] * signs[:, None, :])
    wick = c[0, 1] * c[2, 3] + c[0, 2] * c[1, 3] + c[0, 3] * c[1, 2]
    assert total == pytest.approx(wick, abs=1e-11 * math.sqrt(np.diagonal(c).prod()))


@pytest.mark.parametrize("distance", [0.0, 1e-13, 1e-8, 1e-4, 1.0])
def test_relu_of_nearly_coincident_points_on_a_plane(distance):
    """Two routes: one integral over correlations, and polar coordinates in the plane. Relative to the norms."""
    rng = np.random.default_rng(3)
    loadings = rng.normal(size=(20, 4, 2))
    loadings[:, 1] = loadings[:, 0] + distance * rng.normal(size=(20, 2))
    loadings[::2, 3] = loadings[::2, 2]
    covariance = loadings @ np.swapaxes(loadings, 1, 2)
    norm = np.prod(np.linalg.norm(loadings, axis=2), axis=1)
    np.testing.assert_allclose(ramp_product(covariance) / norm, planar_ramp_product(covariance) / norm, atol=1e-12)


def test_relu_moments_of_one_variable():
    """E max(u, 0)^n = (n - 1)!!/2."""
    for n, moment in ((4, 1.5), (6, 7.5), (8, 52.5)):
        assert REGISTRY["relu"].product(np.ones((n, n))) == pytest.approx(moment, rel=1e-12)
    assert REGISTRY["relu"].product(np.zeros((4, 4))) == 0.0


def test_an_activation_of_ones_own():
    softsign = SmoothActivation(
        lambda z: z / jnp.sqrt(1 + z**2), lambda z: z / np.sqrt(1 + z**2), lambda z: (1 + z**2) ** -1.5, 1.0, True
    )
    factor = np.linalg.cholesky(np.array([[0.5, 0.2], [0.2, 0.8]]))
    assert kernels.expectation(softsign, 0.5, 0.8, 0.2) == pytest.approx(by_hermite(softsign, factor, 300), abs=1e-10)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kernels.expectation("thanh", 1, 1, 0), "Did you mean 'tanh'"),
        (lambda: kernels.expectation("erf", -1, 1, 0), "not negative"),
        (lambda: kernels.expectation("erf", 1, 1, 1.1), "k12"),
        (lambda: kernels.slope_expectation("erf", math.inf, 1, 0), "finite"),
        (lambda: REGISTRY["relu"].product(np.eye(6)), "six|ReLU"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
