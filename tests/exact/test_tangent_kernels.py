"""Tangent kernels of single networks: three ways against Jacobians and finite differences, whatever the tiles."""

import functools
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from nnft_mcmc._checks import InputError
from nnft_mcmc.architectures import MLP, CallableNet, ConvNet, CosNet, DenseNet, OnLattice, SoftmaxAttention
from nnft_mcmc.architectures.vector import VectorArchitecture
from nnft_mcmc.dynamics import empirical_kernel
from nnft_mcmc.dynamics.empirical_kernel import METHODS, tangent_kernel, tangent_kernel_blocks
from nnft_mcmc.dynamics.factors import factorise
from nnft_mcmc.dynamics.features import kernels as layer_kernels
from nnft_mcmc.dynamics.kernel_products import relative_change, tangent_kernel_product, tangent_kernels
from nnft_mcmc.dynamics.parameters import trained_blocks, weights_of_blocks
from tests.exact.compiled import draw
from tests.properties.architecture_examples import NAMES, example, some_points

MIXED = MLP(3, 7, depth=3, activation="tanh", weight_std=1.3, bias_std=0.4)
CONV = ConvNet(4, 5, depth=2, filter_size=2, image=(2, 2), activation="erf", bias_std=0.3)
KINDS = ("mlp", "conv_net", "scalar_net of the lectures", "lattice_modes")


@functools.cache
def points(net, number=4, seed=0):
    if isinstance(net, OnLattice):
        return some_points(net)
    return np.random.default_rng(seed).normal(size=(number, net.dim))


def jacobian(net, theta, x):
    """{name: (points, size)} by reverse mode, one point after the other."""
    gradient = jax.jit(jax.grad(net.forward))
    rows = [gradient(theta, jnp.asarray(point)) for point in x]
    return {name: np.stack([np.ravel(row[name]) for row in rows]) for name in theta}


def blocks_of(net, theta, x, y):
    left, right = jacobian(net, theta, x), jacobian(net, theta, y)
    return {name: left[name] @ right[name].T for name in theta}


def assert_close(found, expected):
    np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=1e-10 * max(1.0, np.abs(expected).max()))


def assert_every_block(net):
    theta, x, y = draw(net), points(net), points(net, seed=1)
    expected = blocks_of(net, theta, x, y)
    found = tangent_kernel_blocks(net, theta, x, y, method="products")
    assert found.keys() == expected.keys()
    for name, block in expected.items():
        assert_close(found[name], block)


@pytest.mark.parametrize("name", KINDS)
def test_every_block_is_the_contraction_of_jacobians(name):
    assert_every_block(example(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(NAMES) - set(KINDS)))
def test_every_block_of_the_other_architectures(name):
    if not isinstance(example(name), VectorArchitecture):
        assert_every_block(example(name))


@pytest.mark.parametrize(
    ("net", "method"), [*((MIXED, method) for method in METHODS[1:]), (CONV, "products"), (CONV, "vector_products")]
)
def test_the_methods_agree_in_many_tiles(net, method):
    theta, x, y = draw(net), points(net, 7), points(net, 5, 1)
    numbers = 2 * (sum(v.size for v in theta.values()) + 1000)  # two or three points in a tile
    found = tangent_kernel(net, theta, x, y, method=method, max_bytes=8 * numbers)
    assert_close(found, sum(blocks_of(net, theta, x, y).values()))


def test_by_finite_differences():
    """Central differences of every parameter, h = 1e-4 and h/2 extrapolated: errors of 1e-11."""
    theta, x = draw(MIXED), points(MIXED)
    field = jax.jit(lambda theta: MIXED(theta, x))

    def derivative(name, index, h):
        up, down = (field({**theta, name: theta[name].at[index].add(s * h)}) for s in (1, -1))
        return np.asarray(up - down) / (2 * h)

    columns = [
        (4 * derivative(name, index, 5e-4) - derivative(name, index, 1e-3)) / 3
        for name in theta
        for index in np.ndindex(theta[name].shape)
    ]
    expected = np.stack(columns, axis=1) @ np.stack(columns)
    np.testing.assert_allclose(tangent_kernel(MIXED, theta, x), expected, rtol=0, atol=1e-8 * np.abs(expected).max())


def test_coordinates_and_trained_parameters():
    theta, x = draw(MIXED), points(MIXED)
    blocks = blocks_of(MIXED, theta, x, x)
    variance = {name: (0.4 if "biases" in name else 1.3) ** 2 for name in blocks}
    weighted = sum(variance[name] * block for name, block in blocks.items())
    for method in ("auto", "vector_products"):
        assert_close(tangent_kernel(MIXED, theta, x, method=method, coordinates="standardised"), weighted)
    readout = blocks["amplitudes"] + blocks["biases_3"]
    assert_close(tangent_kernel(MIXED, theta, x, trained="readout"), readout)
    assert trained_blocks(CosNet(1, 2), "readout") == ("amplitudes",)
    assert weights_of_blocks(CosNet(2, 4, 3.0), ("momenta", "phases"), "standardised") == {
        "momenta": pytest.approx(4.5),
        "phases": 1.0,
    }


def structure(net):
    theta = jax.eval_shape(net.sample_parameters, jax.random.key(0))
    return factorise(net, theta)


def test_products_are_found_where_they_are():
    found = structure(MIXED).products
    assert set(found) == {"weights_1", "weights_2", "amplitudes"}
    assert (found["weights_2"].rows, found["weights_2"].columns, found["weights_2"].contracted) == (7, 1, 7)
    found = structure(CONV).products["filters_2"]
    assert (found.rows, found.columns, found.contracted) == (5, 4, 20)
    assert set(structure(SoftmaxAttention(2, 3, 4)).products) == {"queries", "keys", "values"}


def tied(theta, x):
    """One matrix in two layers, one inside of jit, and one that enters its product as a square."""
    h = jnp.tanh(jnp.dot(theta["tied"], jnp.tanh(jnp.dot(theta["tied"], x))))
    h = jax.jit(lambda w, h: jnp.sin(jnp.dot(w.T, h)))(theta["inside"], h)
    return jnp.sum(jnp.dot(theta["square"] ** 2, h)) + jnp.sum(theta["last"] * x)


def test_a_matrix_that_enters_twice_or_not_linearly_is_no_product():
    normal = dist.Normal(0, 1)
    net = CallableNet(
        tied, {"last": normal.expand((3,)), **{n: normal.expand((3, 3)) for n in ("tied", "inside", "square")}}, 3
    )
    assert set(structure(net).products) == {"inside"}
    theta, x = draw(net), points(net)
    assert_close(tangent_kernel(net, theta, x, method="products"), sum(blocks_of(net, theta, x, x).values()))


def test_auto_takes_the_cheaper_form_block_by_block():
    def factored(net, method="auto"):
        scope = empirical_kernel.Scope(method, "all", "parameters", 2**30, 1)
        return set(empirical_kernel.plan(net, draw(net), 8, None, scope, summed=True).factored)

    assert factored(MLP(4, 64, depth=3)) == {"weights_1", "weights_2"}  # 64 + 4 + 1 against 4 * 64
    assert factored(MLP(1, 64, depth=3)) == {"weights_2"}
    assert factored(ConvNet(8, 64, depth=2)) == set()  # 8^2 (64 + 192) against 64 * 192
    assert factored(ConvNet(4, 256, depth=2)) == {"filters_2"}
    assert factored(MLP(4, 64, depth=3), "jacobian") == set()


def test_working_memory_stays_within_its_bound():
    net, rng = MLP(3, 64, depth=3), np.random.default_rng(0)
    theta, x = draw(net), jnp.asarray(rng.normal(size=(64, 3)))
    for method, bound in (("jacobian", 2**20), ("products", 2**17)):
        scope = empirical_kernel.Scope(method, "all", "parameters", bound, 1)
        how = empirical_kernel.plan(net, theta, 64, None, scope, summed=True)
        weights = empirical_kernel._weights(net, how.names, "parameters", x.dtype)
        rows, columns = (empirical_kernel.padded(x, tile) for tile in (how.rows, how.columns))
        compiled = empirical_kernel._compiled.lower(net, how, theta, weights, rows, columns).compile()
        assert compiled.memory_analysis().temp_size_in_bytes <= bound
    assert how.rows < 64  # the last bound was one


def test_the_product_with_vectors_and_the_change_along_a_trajectory():
    theta, x, y = draw(MIXED), points(MIXED, 7), points(MIXED, 5, 1)
    kernel = np.asarray(tangent_kernel(MIXED, theta, x, y, coordinates="standardised"))
    v = np.random.default_rng(2).normal(size=(5, 2))
    apply = functools.partial(tangent_kernel_product, MIXED, theta, x=x, y=y, coordinates="standardised")
    assert_close(apply(v=v), kernel @ v)
    assert_close(apply(v=v[:, 0], max_bytes=8 * 2 * 2 * structure(MIXED).activations), kernel @ v[:, 0])
    path = {name: jnp.stack([value, 2 * value]) for name, value in theta.items()}
    along = tangent_kernels(MIXED, path, x, y)
    second = np.asarray(tangent_kernel(MIXED, {name: 2 * value for name, value in theta.items()}, x, y))
    assert_close(along[1], second)
    first = np.asarray(along[0])
    assert_close(relative_change(along), [0.0, np.linalg.norm(second - first) / np.linalg.norm(first)])


def test_the_sum_over_layers_of_feature_and_gradient_kernels():
    """Lectures eq. (116), with the biases that it leaves out, layer by layer."""
    net = MLP(3, 6, depth=4, activation="tanh", parametrization="maximal_update", bias_std=0.3, gamma0=1.7)
    theta, x = draw(net), points(net)
    layers = np.asarray(jax.jit(lambda theta: layer_kernels(net, theta, jnp.asarray(x)).tangent)(theta))
    blocks = tangent_kernel_blocks(net, theta, x)
    names = ["weights_1", "weights_2", "weights_3", "amplitudes"]
    for number, name in enumerate(names, start=1):
        assert_close(blocks[name] + blocks[f"biases_{number}"], layers[number - 1])


SEVERAL = """
import json, sys
import jax, numpy as np
jax.config.update("jax_enable_x64", True)
from nnft_mcmc.architectures import MLP
from nnft_mcmc.dynamics.empirical_kernel import tangent_kernel
net = MLP(3, 8, depth=3)
theta, x = net.sample_parameters(jax.random.key(0)), np.random.default_rng(0).normal(size=(8, 3))
one, four = (tangent_kernel(net, theta, x, num_devices=n) for n in (1, 4))
print(json.dumps([float(abs(one - four).max()), len(four.sharding.device_set)]))
"""


@pytest.mark.slow
def test_rows_are_shared_by_devices():
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", SEVERAL], env=environment, check=True, capture_output=True, text=True)
    difference, devices = json.loads(done.stdout)
    assert difference < 1e-12
    assert devices == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "jacobean"}, "method is 'jacobean'"),
        ({"trained": "none"}, "trained is 'none'"),
        ({"coordinates": "polar"}, "coordinates is 'polar'"),
        ({"max_bytes": 1000}, "leaves room for 125 numbers"),
        ({"num_devices": 64}, "num_devices is 64 and there are"),
        ({"x": np.zeros(3)}, r"x has shape \(3,\)"),
        ({"x": np.zeros((0, 3))}, "at least one"),
    ],
)
def test_what_cannot_be_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        tangent_kernel(MIXED, draw(MIXED), **{"x": points(MIXED), **change})


def test_refusals_of_products_and_trajectories():
    theta, x = draw(MIXED), points(MIXED)
    with pytest.raises(InputError, match=r"v has shape \(3,\)"):
        tangent_kernel_product(MIXED, theta, np.zeros(3), x)
    with pytest.raises(InputError, match="count the times"):
        tangent_kernels(MIXED, theta, x)
    net = CallableNet(lambda theta, x: theta["a"] * x[0], {"a": dist.Normal(0, 1)}, 1)
    with pytest.raises(InputError, match="no parameter `amplitudes`"):
        tangent_kernel(net, draw(net), np.ones((1, 1)), trained="readout")


def test_a_wrong_weight_would_be_seen():
    """Control: leaving sw^2 off one block moves the kernel by far more than the tolerance of these tests."""
    net = DenseNet(2, 5, weight_std=1.1)
    theta, x = draw(net), points(net)
    blocks = tangent_kernel_blocks(net, theta, x, coordinates="standardised")
    wrong = sum(blocks.values()) - 0.01 * blocks["weights"]
    with pytest.raises(AssertionError):
        assert_close(tangent_kernel(net, theta, x, coordinates="standardised"), np.asarray(wrong))
