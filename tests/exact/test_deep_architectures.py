"""Dense and deep networks against their equations, written out again."""

import math

import numpy as np
import numpyro.distributions as dist
import pytest
from scipy.special import erf, roots_hermitenorm

from nnft_mcmc._checks import InputError
from nnft_mcmc.architectures import CosNet, GaussNet, ScalarNet
from nnft_mcmc.architectures.attention import LinearAttention, SoftmaxAttention
from nnft_mcmc.architectures.callable import CallableNet
from nnft_mcmc.architectures.convolution import ConvNet
from nnft_mcmc.architectures.deep import MLP, DeepEuclideanNet
from nnft_mcmc.architectures.dense import DenseNet
from nnft_mcmc.architectures.layers import PARAMETRIZATIONS
from nnft_mcmc.architectures.vector import EquivariantNet, VectorNet
from tests.exact import neuron_quadrature
from tests.exact.compiled import draw, field, log_prior, on_host

HOST = {"erf": erf, "relu": lambda z: np.maximum(z, 0), "tanh": np.tanh, "cos": np.cos}
RNG = np.random.default_rng


# Dense: one hidden layer.


@pytest.mark.parametrize("name", ["erf", "tanh", "cos"])
@pytest.mark.parametrize(("dim", "bias_std"), [(1, 0.0), (1, 0.5), (2, 0.0), (2, 0.4)])
def test_dense_correlators_by_quadrature_over_the_parameters(name, dim, bias_std):
    width, weight_std, amplitude_std = 5, 0.8, 1.3
    rules = [neuron_quadrature.normal_rule(weight_std / math.sqrt(dim), 90)] * dim
    nodes, weights = neuron_quadrature.product(*rules, *[neuron_quadrature.normal_rule(bias_std, 90)] * (bias_std > 0))
    w, b = np.stack(nodes[:dim], axis=-1), nodes[dim] if bias_std else 0.0
    neuron = neuron_quadrature.Neuron(width, amplitude_std**2 / width, weights, lambda x: HOST[name](x @ w.T + b))
    net = DenseNet(dim, width, name, weight_std, bias_std, amplitude_std)
    x = RNG(dim).uniform(-1, 1, (4, dim))
    assert net.two_point(x[0], x[1]) == pytest.approx(neuron.two_point(x[0], x[1]), abs=1e-10)
    assert net.infinite_width_kernel(x[0], x[1]) == net.two_point(x[0], x[1])
    assert net.four_point_connected(*x) == pytest.approx(neuron.four_point_connected(x), abs=1e-10)


@pytest.mark.parametrize("width", [2, 5, 20, 100])
def test_relu_on_the_half_line_deviates_by_the_published_laws(width):
    """arXiv:2008.08601: <phi^4> is 5/N, <phi^6> 15/N + 44/N^2 above the Gaussian value; at any points x > 0."""
    net, x = DenseNet(1, width, "relu"), np.array([[0.3], [1.0], [0.7], [2.0], [0.1], [1.4]])
    pairings = sum(net.two_point(x[i], x[j]) * net.two_point(x[k], x[m]) for i, j, k, m in neuron_quadrature.PAIRINGS)
    assert net.four_point_connected(*x[:4]) / pairings == pytest.approx(5 / width, rel=1e-11)
    one = x[0]
    g, g4, g6 = net.two_point(one, one), net.four_point_connected(*[one] * 4), net.six_point_connected(*[one] * 6)
    deviation = (g6 + 15 * g4 * g) / (15 * g**3)
    assert deviation == pytest.approx(15 / width + 44 / width**2, rel=1e-11)


@pytest.mark.parametrize("bias_std", [0.0, 0.6])
def test_dense_forward_and_density(bias_std):
    net = DenseNet(2, 7, "tanh", 1.2, bias_std, 0.9)
    theta, x = draw(net), RNG(1).normal(size=(3, 5, 2))
    host = on_host(theta)
    assert ("biases" in host) == (bias_std > 0)
    expected = np.tanh(x @ host["weights"].T + host.get("biases", 0.0)) @ host["amplitudes"]
    np.testing.assert_allclose(field(net, theta, x), expected, rtol=1e-12)
    assert math.isfinite(log_prior(net, theta))
    assert net.has_gaussian_tails()
    assert not DenseNet(2, 7, "relu").has_gaussian_tails()


# Deep.


def lectures_mlp(net, theta, x):
    """Eqs. (101)-(105) at one point, with biases."""
    n, d, exponents = net.width, net.dim, net.exponents
    sigma, theta = HOST[net.activation], on_host(theta)
    z = theta["weights_1"] @ x / (n ** exponents.a[0] * math.sqrt(d)) + theta.get("biases_1", 0.0)
    for layer in range(2, net.depth):
        z = theta[f"weights_{layer}"] @ sigma(z) / n ** exponents.a[layer - 1] + theta.get(f"biases_{layer}", 0.0)
    output = theta["amplitudes"] @ sigma(z) / n ** exponents.a[-1] + theta.get(f"biases_{net.depth}", 0.0)
    return output / (net.gamma0 * n**exponents.d)


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
@pytest.mark.parametrize(("depth", "bias_std"), [(2, 0.3), (4, 0.0)])
def test_mlp_is_the_lectures_network(parametrization, depth, bias_std):
    net = MLP(3, 6, depth, "tanh", parametrization, 1.4, bias_std, gamma0=0.7)
    theta, x = draw(net), RNG(2).normal(size=(4, 3))
    np.testing.assert_allclose(field(net, theta, x), [lectures_mlp(net, theta, point) for point in x], rtol=1e-12)


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
def test_parametrizations_satisfy_their_constraints(parametrization):
    net = MLP(1, 10, 4, parametrization=parametrization)
    a, b, c, d = net.exponents.a, net.exponents.b, net.exponents.c, net.exponents.d
    assert 2 * a[0] + b[0] == 0  # (121)
    assert all(2 * a[n] + b[n] == 1 for n in (1, 2, 3))  # (122)
    assert all(2 * a[n] + c == 1 for n in (1, 2, 3))  # (124)
    assert (2 * a[0] + c == 0) == (parametrization != "standard")  # (123)
    assert d == {"ntk": 0, "standard": 0, "mean_field": 0.5, "maximal_update": 0.5}[parametrization]


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS[1:])
def test_parametrizations_share_the_law_of_the_field_but_for_its_scale(parametrization):
    """The same standard normal numbers give the same N^d phi, hence the same kernel."""
    nets = MLP(2, 9, 3, "erf", "ntk"), MLP(2, 9, 3, "erf", parametrization)
    unit = {name: value / nets[0].prior()[name].variance ** 0.5 for name, value in draw(nets[0]).items()}
    x, scale = RNG(0).normal(size=(4, 2)), 9 ** nets[1].exponents.d
    fields = [field(net, {k: v * net.prior()[k].variance ** 0.5 for k, v in unit.items()}, x) for net in nets]
    np.testing.assert_allclose(scale * fields[1], fields[0], rtol=1e-12)
    kernels = [net.infinite_width_kernel(x[:, None], x) for net in nets]
    np.testing.assert_allclose(scale**2 * kernels[1], kernels[0], rtol=1e-12)


def test_exponents_given_one_by_one_and_as_a_list():
    net = MLP(2, 16, 3, a=[0.0, 0.5, 0.5], b=[0, 0.5, 0], c=0.25, d=0.125)
    assert net.a == (0.0, 0.5, 0.5)
    assert (net.exponents.c, net.exponents.d) == (0.25, 0.125)
    hash(net)
    x = np.array([0.3, 0.4])
    smaller = MLP(2, 16, 3).infinite_width_kernel(x, x)
    assert net.infinite_width_kernel(x, x) < smaller  # b_2 + 1/2 leaves a power of N


def test_the_published_kernel_of_one_hidden_layer():
    net, x = MLP(2, 5, 2, "erf", weight_std=1.5, bias_std=0.1), np.array([[1.0, 0.0], [0.6, 0.8]])
    assert net.infinite_width_kernel(x[0], x[0]) == pytest.approx(1.10906685, abs=5e-9)
    assert net.infinite_width_kernel(x[0], x[1]) == pytest.approx(0.62922402, abs=5e-9)


def hermite_dual(sigma, gram, num_nodes=120):
    z, w = roots_hermitenorm(num_nodes)
    w = w / w.sum()
    u = np.linalg.cholesky(gram) @ np.stack(np.meshgrid(z, z, indexing="ij")).reshape(2, -1)
    features = sigma(u)
    return (features * np.outer(w, w).ravel()) @ features.T


@pytest.mark.parametrize("name", ["erf", "tanh", "cos"])
def test_the_deep_kernel_by_quadrature_layer_by_layer(name):
    net = MLP(3, 5, 4, name, weight_std=1.2, bias_std=0.3)
    x = RNG(5).normal(size=(2, 3))
    gram = 0.3**2 + 1.2**2 * x @ x.T / 3
    for _ in range(3):
        gram = 0.3**2 + 1.2**2 * hermite_dual(HOST[name], gram)
    np.testing.assert_allclose(net.infinite_width_kernel(x[:, None], x), gram, atol=1e-10)


def test_two_layers_are_the_dense_net():
    x = RNG(6).normal(size=(4, 2))
    mlp, dense = MLP(2, 8, 2, "relu", weight_std=1.3), DenseNet(2, 8, "relu", weight_std=1.3, amplitude_std=1.3)
    np.testing.assert_allclose(mlp.infinite_width_kernel(x[:, None], x), dense.two_point(x[:, None], x), rtol=1e-14)


# Deep Euclidean nets.

PLANE_WAVES = [CosNet(2, 6, 0.8), ScalarNet(2, 6, 1.0, 4.0), ScalarNet(2, 6, 1.0, 4.0, -1.0)]


@pytest.mark.parametrize("input_net", PLANE_WAVES)
def test_euclidean_transformations_are_absorbed_into_the_input_layer(input_net):
    """phi_theta(R x + e) = phi_theta'(x), theta' = (R^T w, b + w.e), of equal density."""
    net = DeepEuclideanNet(input_net, 4, "tanh", bias_std=0.2)
    theta, x, shift = draw(net), RNG(0).normal(size=(5, 2)), np.array([0.7, -2.1])
    rotation = np.array([[0.6, -0.8], [0.8, 0.6]])
    moved = {**theta, "momenta": theta["momenta"] @ rotation, "phases": theta["phases"] + theta["momenta"] @ shift}
    np.testing.assert_allclose(field(net, theta, x @ rotation.T + shift), field(net, moved, x), rtol=1e-10, atol=1e-12)
    assert log_prior(net, moved) == pytest.approx(float(log_prior(net, theta)), rel=1e-12)


def test_deep_euclidean_net_forward_and_kernel():
    cos = CosNet(2, 6, 0.8)
    net, x = DeepEuclideanNet(cos, 3, "tanh", weight_std=1.1, bias_std=0.2), RNG(1).normal(size=(2, 2))
    theta = on_host(draw(net))
    h = np.cos(theta["momenta"] @ x[0] + theta["phases"])
    z = theta["weights_2"] @ h / math.sqrt(6) + theta["biases_2"]
    expected = theta["amplitudes"] @ np.tanh(z) / math.sqrt(6) + theta["biases_3"]
    assert field(net, theta, x)[0] == pytest.approx(float(expected), rel=1e-12)
    r = np.linalg.norm(x[0] - x[1])
    wave = np.exp(-(0.8**2) * r**2 / 4) / 2
    gram = 0.2**2 + 1.1**2 * hermite_dual(np.tanh, 0.2**2 + 1.1**2 * np.array([[0.5, wave], [wave, 0.5]]))
    np.testing.assert_allclose(net.infinite_width_kernel(x[:, None], x), gram, atol=1e-10)


@pytest.mark.parametrize("input_net", PLANE_WAVES)
def test_a_readout_on_the_input_layer_is_the_plane_wave_net(input_net):
    net, x = DeepEuclideanNet(input_net, 2), RNG(2).normal(size=(3, 2))
    ratio = input_net.two_point(x, x[::-1]) / net.infinite_width_kernel(x, x[::-1])
    np.testing.assert_allclose(ratio, input_net.amplitude_variance, rtol=1e-10)


@pytest.mark.parametrize(
    ("build", "start"),
    [
        (lambda: DenseNet(1, 4, "erff"), "dense_net.activation is 'erff'"),
        (lambda: DenseNet(0, 4), "dense_net.dim is 0"),
        (lambda: DenseNet(1, 4, bias_std=-1.0), "dense_net.bias_std is -1.0"),
        (lambda: MLP(1, 4, 1), "mlp.depth is 1"),
        (lambda: MLP(1, 4, 3, parametrization="nkt"), "mlp.parametrization is 'nkt'"),
        (lambda: MLP(1, 4, 3, a=[0.0, 0.5]), "mlp.a is (0.0, 0.5)"),
        (lambda: MLP(1, 4, 3, d="x"), "mlp.d is 'x'"),
        (lambda: MLP(1, 4, 3, gamma0=0.0), "mlp.gamma0 is 0.0"),
        (lambda: DeepEuclideanNet(GaussNet(1, 4)), "deep_euclidean_net.base is GaussNet"),
        (lambda: ConvNet(6, 4, image=[2, 2]), "conv_net.image is (2, 2)"),
        (lambda: ConvNet(6, 4, filter_size=7), "conv_net.filter_size is 7"),
        (lambda: ConvNet(6, 4, readout="sum"), "conv_net.readout is 'sum'"),
        (lambda: LinearAttention(0, 2, 4), "linear_attention.tokens is 0"),
        (lambda: SoftmaxAttention(2, 2, 4, weight_std=0.0), "softmax_attention.weight_std is 0.0"),
        (lambda: VectorNet(CosNet(1, 4), 0), "vector_net.components is 0"),
        (lambda: VectorNet(SoftmaxAttention(2, 2, 4, head_dim=2), 2), "vector_net.base is a SoftmaxAttention"),
        (lambda: VectorNet(MLP(1, 4), 2), "vector_net.base is a MLP"),
        (lambda: EquivariantNet(2, CosNet(2, 4)), "equivariant_net.profile has dim = 2"),
        (lambda: EquivariantNet(2, MLP(1, 4)).two_point(np.zeros(2), np.zeros(2)), "MLP does not know"),
        (lambda: CallableNet(3, {"w": dist.Normal()}, 1), "function is 3"),
        (lambda: CallableNet(lambda t, x: 0.0, {"w": 1.0}, 1), "distributions has no NumPyro distribution for 'w'"),
    ],
)
def test_bad_input_is_refused(build, start):
    with pytest.raises(InputError) as refusal:
        build()
    assert str(refusal.value).startswith(start)
    assert "\n" not in str(refusal.value)
