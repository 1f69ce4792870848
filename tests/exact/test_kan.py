"""Kolmogorov-Arnold networks: B-splines against SciPy, kernels against quadrature and draws, what acts on them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import BSpline

from nnft_mcmc.architectures import KAN, AdditiveKAN
from nnft_mcmc.architectures.kan import edges
from nnft_mcmc.architectures.splines import basis, extended, product_expectation, uniform_knots
from nnft_mcmc.dynamics.empirical_kernel import tangent_kernel
from nnft_mcmc.dynamics.parameters import trained_blocks

UNEVEN = np.array([-1.0, -0.6, -0.1, 0.3, 1.0])
X = np.linspace(-1, 1, 101)


def jax_basis(x, knots, degree):
    rows = jnp.tile(jnp.asarray(knots), (len(x), 1))
    return np.asarray(basis(jnp.asarray(x), rows, degree))


@pytest.mark.parametrize("degree", [1, 2, 3, 5])
def test_splines_are_those_of_scipy(degree):
    knots = extended(UNEVEN, degree)
    ours = jax_basis(X, knots, degree)
    np.testing.assert_allclose(ours, BSpline.design_matrix(X, knots, degree).toarray(), atol=1e-12)
    assert np.abs(ours - np.roll(ours, 1, axis=1)).max() > 0.1  # control: one function off


@pytest.mark.parametrize("degree", [1, 3])
def test_splines_add_up_to_one_on_the_grid_and_vanish_beyond_the_knots(degree):
    knots = uniform_knots(-1.0, 1.0, 4, degree)
    np.testing.assert_allclose(jax_basis(X, knots, degree).sum(axis=1), 1.0, atol=1e-12)
    beyond = np.array([knots[0] - 0.1, knots[-1] + 0.1])
    assert (jax_basis(beyond, knots, degree) == 0.0).all()


def test_the_derivative_of_a_spline_is_that_of_scipy():
    knots = extended(UNEVEN, 3)
    coefficients = np.random.default_rng(0).normal(size=len(UNEVEN) + 2)
    spline = lambda x: jnp.dot(basis(x[None], jnp.asarray(knots)[None], 3)[0], jnp.asarray(coefficients))  # noqa: E731
    slopes = jax.vmap(jax.grad(spline))(jnp.asarray(X[1:-1]))
    np.testing.assert_allclose(slopes, BSpline(knots, coefficients, 3).derivative()(X[1:-1]), atol=1e-11)


def on_a_fine_grid(a, b, c, knots, degree):
    """sum_k <B_k(u) B_k(v)> by the trapezoidal rule in two standard normal variables."""
    g = np.linspace(-8, 8, 1601)
    weights = np.exp(-(g**2) / 2) / np.sqrt(2 * np.pi) * (g[1] - g[0])
    root = np.sqrt(a)
    of_u = jax_basis(root * g, knots, degree)
    v = c / root * g[:, None] + np.sqrt(max(b - c**2 / a, 0.0)) * g
    of_v = jax_basis(v.ravel(), knots, degree).reshape(*v.shape, -1)
    return np.einsum("i,ik,j,ijk->", weights, of_u, weights, of_v)


@pytest.mark.parametrize("abc", [(0.7, 0.5, 0.3), (0.7, 0.7, 0.7), (0.5, 0.5, 0.499), (0.3, 0.6, -0.2)])
def test_expectations_of_products_of_splines(abc):
    knots = extended(UNEVEN, 3)
    exact = product_expectation(*(np.array(k) for k in abc), knots, 3)
    np.testing.assert_allclose(exact, on_a_fine_grid(*abc, knots, 3), atol=1e-9)
    a, b, c = abc
    assert abs(product_expectation(np.array(a), np.array(b), np.array(0.5 * c), knots, 3) - exact) > 1e-3  # control


def test_an_additive_field_is_its_features_times_normal_weights():
    """G = sum_p var_p dphi(x)/dtheta_p dphi(y)/dtheta_p, from the network itself."""
    net = AdditiveKAN(2, grid=4, lower=-0.5, base_std=0.7, spline_std=1.3)
    x = np.random.default_rng(1).uniform(-1.5, 2.0, (5, 2))
    theta = net.sample_parameters(jax.random.key(0))
    kernel = tangent_kernel(net, theta, x, coordinates="standardised")
    np.testing.assert_allclose(net.two_point(x[:, None], x[None]), kernel, atol=1e-12)
    assert np.abs(net.two_point(x[:, None], x[None]) - tangent_kernel(net, theta, x)).max() > 0.1  # control
    assert not net.four_point_connected(x, x, x, x).any()


def test_the_last_layer_alone_has_the_kernel_of_the_limit():
    """The standardised tangent kernel of the last layer, averaged over draws: K_2 at every width."""
    net, x = KAN(2, (2,), grid=4), np.array([[0.2, -0.3], [-0.6, 0.5]])
    knots = [jnp.asarray(k) for k in net.knot_arrays]

    def features(key):
        theta = net.sample_parameters(key)
        z = jax.vmap(lambda p: jnp.sum(edges(theta, knots[:1], 3, p)[0], axis=1))(jnp.asarray(x))
        phi = jax.vmap(lambda p: basis(p, knots[1], 3))(z)
        return jnp.mean(
            jnp.einsum("aik,bik->abi", phi, phi) + jnp.einsum("ai,bi->abi", jax.nn.silu(z), jax.nn.silu(z)), -1
        )

    draws = np.asarray(jax.lax.map(features, jax.random.split(jax.random.key(3), 20_000), batch_size=1000))
    error = draws.std(axis=0) / np.sqrt(len(draws))
    kernel = net.infinite_width_kernel(x[:, None], x[None])
    assert (np.abs(draws.mean(axis=0) - kernel) < 5 * error).all()  # false alarm 2e-6
    assert (error < 0.01 * kernel).all()  # 5% would be seen


def test_knots_of_each_node():
    plain = KAN(2, (2,), grid=4)
    same = KAN(2, [2], grid=4, knots=[k.tolist() for k in plain.knot_arrays])
    theta = plain.sample_parameters(jax.random.key(0))
    x = np.array([[0.1, 0.7], [-0.4, 0.2]])
    np.testing.assert_allclose(plain(theta, x), same(theta, x), atol=1e-14)
    assert hash(same) == hash(KAN(2, (2,), grid=4, knots=same.knots))
    np.testing.assert_allclose(
        plain.infinite_width_kernel(x[0], x[1]), same.infinite_width_kernel(x[0], x[1]), atol=1e-14
    )


def test_the_readout_is_what_the_field_is_linear_in():
    net, x = KAN(2, (2,), grid=4), np.array([[0.1, 0.7], [-0.4, 0.2]])
    assert trained_blocks(net, "readout") == ("base_2", "splines_2")
    assert trained_blocks(AdditiveKAN(2), "readout") == ("base", "splines")
    theta = net.sample_parameters(jax.random.key(0))
    twice = {name: 2 * a if name.endswith("_2") else a for name, a in theta.items()}
    np.testing.assert_allclose(net(twice, x), 2 * net(theta, x), rtol=1e-13)
