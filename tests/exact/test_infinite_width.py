"""Kernels of infinite width: published numbers, quadrature, neural-tangents, and averages over single neurons."""

import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.polynomial.legendre import leggauss

from nnft_mcmc._checks import InputError
from nnft_mcmc.architectures import (
    MLP,
    REGISTRY,
    AdditiveNet,
    ConvNet,
    CosNet,
    DeepEuclideanNet,
    DenseNet,
    EuclideanNet,
    GaussNet,
    InfiniteWidth,
    LatticeModes,
    LinearAttention,
    ScalarNet,
    SoftmaxAttention,
    StratifiedNet,
    TwoQuadratureNet,
)
from nnft_mcmc.dynamics import infinite_width
from nnft_mcmc.dynamics._limit_blocks import limit_blocks
from nnft_mcmc.dynamics.empirical_kernel import tangent_kernel
from nnft_mcmc.dynamics.infinite_width import kernels
from nnft_mcmc.lattice import Lattice
from tests.exact.neuron_quadrature import normal_rule, phase_rule, product

DATA = json.loads((Path(__file__).resolve().parents[1] / "data" / "neural_tangents.json").read_text(encoding="utf-8"))
X = np.array([[1.0, 0.0], [0.6, 0.8]])
TORUS = Lattice((4,), 0.5, "torus")


def test_the_published_numbers():
    found = kernels(MLP(2, 64, weight_std=1.5, bias_std=0.1), X, coordinates="standardised")
    assert found.nngp[0] == pytest.approx([1.10906685, 0.62922402], abs=5e-9)
    assert found.ntk[0] == pytest.approx([2.49051191, 1.29014177], abs=5e-9)


# Dense layers by another recursion and another quadrature.


def by_gauss_hermite(f, k):
    """<f(u) f(v)> for the covariance matrix k."""
    z, w = normal_rule(1.0, 180)
    (a, c), (_, b) = k
    u = math.sqrt(a) * z[:, None]
    v = (c * z[:, None] + math.sqrt(max(a * b - c * c, 0.0)) * z) / math.sqrt(a)
    return float(w @ (f(np.broadcast_to(u, v.shape)) * f(v)) @ w)


def relu_moments(k):
    """<relu relu> and <step step>, by Gauss-Legendre rules for the angle inside of the quadrant u, v > 0."""
    (a, c), (_, b) = k
    inverse = np.linalg.inv([[a, c], [c, b]])
    t, w = leggauss(60)
    angle, weight = math.pi / 4 * (t + 1), math.pi / 4 * w
    direction = np.stack([np.cos(angle), np.sin(angle)])
    form = np.einsum("ik,ij,jk->k", direction, inverse, direction)
    density = math.sqrt(np.linalg.det(inverse)) / (2 * math.pi)
    # int r^3 exp(-form r^2/2) dr = 2/form^2, int r exp(-form r^2/2) dr = 1/form
    return density * weight @ (direction.prod(axis=0) * 2 / form**2), density * weight @ (1 / form)


SLOPES = {"tanh": (np.tanh, lambda z: 1 / np.cosh(z) ** 2), "sin": (np.sin, np.cos)}


def recursion(name, depth, sw, sb, x):
    """K and Theta of the pair x[0], x[1] in standardised coordinates: Theta_{l+1} = K_{l+1} + sw^2 <s's'> Theta_l."""
    k = sb**2 + sw**2 * x @ x.T / x.shape[1]
    theta = k.copy()
    for _ in range(depth - 1):
        new, slopes = np.zeros((2, 2)), np.zeros((2, 2))
        for i, j in [(0, 0), (0, 1), (1, 1)]:
            pair = np.array([[k[i, i], k[i, j]], [k[i, j], k[j, j]]])
            new[i, j], slopes[i, j] = (by_gauss_hermite(f, pair) for f in SLOPES[name])
            new[j, i], slopes[j, i] = new[i, j], slopes[i, j]
        k = sb**2 + sw**2 * new
        theta = k + sw**2 * slopes * theta
    return k, theta


@pytest.mark.parametrize("name", SLOPES)
def test_recursions_of_dense_layers_by_gauss_hermite(name):
    net = MLP(2, 64, depth=4, activation=name, weight_std=1.2, bias_std=0.3)
    k, theta = recursion(name, 4, 1.2, 0.3, X)
    found = kernels(net, X, coordinates="standardised")
    np.testing.assert_allclose(found.nngp, k, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.ntk, theta, rtol=0, atol=1e-10)


def test_recursions_of_relu_off_the_diagonal():
    """One step beyond a known first layer, where only the off-diagonal pair needs a quadrature."""
    net = MLP(2, 64, depth=3, activation="relu", weight_std=1.3, bias_std=0.2)
    k = 0.04 + 1.69 * X @ X.T / 2
    theta = k.copy()
    for _ in range(2):
        off, slope = relu_moments(k)
        diagonal, half = np.diag(k) / 2, 0.5  # <relu^2> = K/2, <step^2> = 1/2
        k_next = 0.04 + 1.69 * np.array([[diagonal[0], off], [off, diagonal[1]]])
        theta = k_next + 1.69 * np.array([[half, slope], [slope, half]]) * theta
        k = k_next
    found = kernels(net, X, coordinates="standardised")
    np.testing.assert_allclose(found.nngp, k, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.ntk, theta, rtol=0, atol=1e-10)


@pytest.mark.parametrize("case", DATA["cases"], ids=lambda case: f"{case['architecture']}-{case['arguments']['depth']}")
def test_against_neural_tangents(case):
    net = REGISTRY[case["architecture"]](**case["arguments"])
    found = kernels(net, case["x"], case["y"], coordinates="standardised")
    np.testing.assert_allclose(found.nngp, case["nngp"], rtol=1e-10)
    np.testing.assert_allclose(found.ntk, case["ntk"], rtol=1e-10, atol=1e-14)


def test_one_network_against_neural_tangents():
    case = DATA["empirical"]
    net = REGISTRY["mlp"](**case["arguments"])
    omega = [np.array(value) for value in case["omega"]]
    theta = {"amplitudes": 1.5 * omega[4][:, 0], "biases_3": 0.1 * omega[5].reshape(())}
    for layer, (w, b) in enumerate(((omega[0], omega[1]), (omega[2], omega[3]))):
        theta |= {f"weights_{layer + 1}": 1.5 * w.T, f"biases_{layer + 1}": 0.1 * b.ravel()}
    found = tangent_kernel(net, theta, case["x"], case["y"], coordinates="standardised")
    np.testing.assert_allclose(found, case["ntk"], rtol=0, atol=1e-12)


# Sums of neurons: every block is an average over one neuron.


def neuron_average(net, rules):
    """N <a^2> <df/dtheta . df'/dtheta> of each parameter and N <f f'>, from nodes (arguments of the feature)."""
    nodes, weights = product(*rules)
    theta = {name: jnp.asarray(value) for name, value in zip(net.neuron_order, nodes, strict=True)}
    theta = {name: value[:, None] if name in ("weights", "momenta") else value for name, value in theta.items()}
    x = jnp.asarray(net.at)

    def of_node(theta_i):
        f = jax.vmap(lambda point: net.net.feature(theta_i, point))(x)
        slopes = jax.vmap(jax.grad(net.net.feature), in_axes=(None, 0))(theta_i, x)
        outer = {name: jnp.outer(g.ravel(), g.ravel()) for name, g in slopes.items()}
        return jnp.outer(f, f), outer

    squares, slopes = jax.jit(jax.vmap(of_node))(theta)
    return tuple(jax.tree.map(lambda values: np.einsum("k,kij->ij", weights, np.asarray(values)), (squares, slopes)))


class Case:
    """A net in one dimension, points, and the rules of its neuron's parameters in the order of `neuron_order`."""

    def __init__(self, net, mu2, **rules):
        self.net, self.mu2, self.rules = net, mu2, rules.values()
        self.neuron_order, self.at = tuple(rules), np.array([[0.3], [-0.8], [1.1]])


CASES = {
    "dense_net": Case(
        DenseNet(1, 7, "tanh", 1.2, 0.4, 0.8), 0.64, weights=normal_rule(1.2, 180), biases=normal_rule(0.4, 60)
    ),
    "gauss_net": Case(GaussNet(1, 7, 0.6, 0.3, 0.8), 0.32, weights=normal_rule(0.6, 60), biases=normal_rule(0.3, 60)),
    "cos_net": Case(CosNet(1, 7, 1.1, 0.8), 0.64, momenta=normal_rule(1.1, 60), phases=phase_rule()),
}


@pytest.mark.parametrize("name", CASES)
def test_blocks_of_neurons_by_quadrature(name):
    case = CASES[name]
    squares, slopes = neuron_average(case, case.rules)
    nngp, blocks = limit_blocks(case.net, case.at, case.at)
    expected = {"amplitudes": 7 * squares, **{name: case.mu2 * value for name, value in slopes.items()}}
    np.testing.assert_allclose(nngp, case.mu2 * squares, rtol=0, atol=1e-10)
    assert blocks.keys() == expected.keys()
    for block, value in expected.items():
        np.testing.assert_allclose(np.broadcast_to(blocks[block], (3, 3)), value, rtol=0, atol=1e-10 * 7)


def test_relatives_of_the_cos_net():
    """F = 1 and normal momenta in all: the same law, so blocks follow from those of the cos-net."""
    x = np.array([[0.3], [-0.8]])
    base = ScalarNet(1, 9, 1.0, math.inf)
    one, two = kernels(base, x), kernels(TwoQuadratureNet(base), x)
    k = one.nngp
    np.testing.assert_allclose(one.ntk, (9 + 1 + x @ x.T) * k, rtol=1e-12)  # amplitudes, phases, momenta; mu2 = 1
    np.testing.assert_allclose(two.ntk, (18 + x @ x.T) * k, rtol=1e-12)
    np.testing.assert_allclose(kernels(StratifiedNet(base), x).ntk, one.ntk, rtol=1e-12)
    deep = DeepEuclideanNet(CosNet(1, 9, 1.1), depth=2)
    flat = kernels(CosNet(1, 9, 1.1, 1.0), x, coordinates="standardised")
    np.testing.assert_allclose(kernels(deep, x, coordinates="standardised").ntk, flat.ntk, rtol=1e-12)


def test_linear_attention_is_four_times_its_kernel():
    net, x = (
        LinearAttention(2, 2, 5, 3, weight_std=0.7, amplitude_std=1.2),
        np.random.default_rng(0).normal(size=(3, 4)),
    )
    found = kernels(net, x, coordinates="standardised")
    np.testing.assert_allclose(found.ntk, 4 * found.nngp, rtol=1e-12)


NETS = [
    MLP(2, 30, depth=3, bias_std=0.3),
    MLP(2, 30, depth=3, parametrization="maximal_update", gamma0=2.0),
    ConvNet(2, 30, filter_size=2),
    ConvNet(2, 30, filter_size=2, readout="flatten"),
    DenseNet(2, 30),
    AdditiveNet(2, 30, "tanh", bias_std=0.3, amplitude_std=0.8),
    CosNet(2, 30),
    GaussNet(2, 30),
    TwoQuadratureNet(ScalarNet(2, 30, 1.0, 3.0)),
    StratifiedNet(ScalarNet(2, 30, 1.0, 3.0)),
    EuclideanNet.from_propagator(2, 30, lambda k: 1 / (1 + k**2), 3.0),
    LinearAttention(2, 1, 30),
    DeepEuclideanNet(CosNet(2, 30)),
]


@pytest.mark.parametrize("net", NETS, ids=lambda net: type(net).__name__)
def test_the_readout_alone_has_the_nngp_kernel_in_standardised_coordinates(net):
    found = kernels(net, X, trained="readout", coordinates="standardised")
    np.testing.assert_allclose(found.ntk, found.nngp, rtol=1e-12)
    np.testing.assert_allclose(found.nngp, net.infinite_width_kernel(X[:, None], X[None]), rtol=1e-12)


@pytest.mark.parametrize("net", [LatticeModes(TORUS, 0.8), InfiniteWidth(CosNet(1, 1), Lattice((4,), 0.5))])
def test_gaussian_fields_on_a_lattice_have_their_covariance(net):
    sites = net.lattice.sites.reshape(-1, 1)
    found = kernels(net, sites)
    np.testing.assert_allclose(found.ntk, net.two_point(sites[:, None], sites[None]), rtol=0, atol=1e-10)


def test_powers_of_the_width_are_those_of_the_parametrization():
    found = {p: kernels(MLP(2, 100, depth=3, parametrization=p), X).ntk for p in ("ntk", "maximal_update", "standard")}
    # N^{2d - c} Theta, the rate of eq. (106) times Theta, is the same for all that obey eqs. (121)-(124)
    np.testing.assert_allclose(found["maximal_update"], found["ntk"], rtol=1e-12)
    assert not np.allclose(found["standard"] / 100, found["ntk"], rtol=1e-3)


def test_results_do_not_depend_on_the_cutting_of_rows(monkeypatch):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 3)), rng.normal(size=(4, 3))
    nets = MLP(3, 20, depth=3, bias_std=0.2), ConvNet(3, 20, depth=2)
    whole = [kernels(net, x, y) for net in nets]
    monkeypatch.setattr(infinite_width, "_PAIRS_AT_ONCE", 8)
    for net, expected in zip(nets, whole, strict=True):
        found = kernels(net, x, y)
        np.testing.assert_allclose(found.ntk, expected.ntk, rtol=1e-13)
        np.testing.assert_allclose(found.nngp, expected.nngp, rtol=1e-13)


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (SoftmaxAttention(2, 1, 5), "SoftmaxAttention is not known; estimate it with estimate_kernels"),
        (AdditiveNet(2, 5), "AdditiveNet that weights adds is not known"),
        (ScalarNet(2, 5, 1.0, 3.0, alpha=-1.0), "ScalarNet that momenta, phases adds is not known"),
        (StratifiedNet(ScalarNet(2, 5, 1.0, 3.0)), "StratifiedNet that rotation adds"),
        (DeepEuclideanNet(ScalarNet(2, 5, 1.0, 3.0, alpha=-1.0)), "form factor that depends on the momentum"),
    ],
)
def test_what_is_not_known_is_refused(net, message):
    with pytest.raises(InputError, match=message):
        kernels(net, X)


@pytest.mark.parametrize("x", [np.zeros(2), np.zeros((3, 3)), np.zeros((0, 2))])
def test_points_of_a_wrong_shape_are_refused(x):
    with pytest.raises(InputError, match="x has shape"):
        kernels(CosNet(2, 3), x)


def test_a_wrong_recursion_would_be_seen():
    """Control: without the factor sw^2 of the slopes the numbers differ in the second digit."""
    net = MLP(2, 64, weight_std=1.5, bias_std=0.1)
    blocks = limit_blocks(net, X, X).ntk
    wrong = kernels(net, X, coordinates="standardised").ntk + (1 / 1.5**2 - 1) * 1.5**2 * blocks["weights_1"]
    assert not np.allclose(wrong[0], [2.49051191, 1.29014177], rtol=1e-2)
