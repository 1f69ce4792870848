"""Wide networks against the kernels of their Gaussian limit, and how fast they get there.

The deep networks here are linear in normal output weights a, so given the other parameters the field is Gaussian with

    k(x, y) = sum_i Var(a_i) dphi(x)/da_i dphi(y)/da_i,    G = <k(x, y)>,    Gc4 at one point = 3 (<k^2> - <k>^2),

and averages of k instead of phi phi spare the noise of the output weights. With O_N = O + o/N + .. the combination
2 O_2N - O_N has no 1/N in it: that it equals the limit O is both the limit and the rate, for O = G and O = N Gc4.

A call of `assert_consistent` raises a false alarm with probability 1e-4; there are 14, so 1.4e-3 for the file.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import roots_hermitenorm

from nnft_mcmc.architectures import CosNet
from nnft_mcmc.architectures.attention import LinearAttention, SoftmaxAttention
from nnft_mcmc.architectures.convolution import ConvNet
from nnft_mcmc.architectures.deep import MLP, DeepEuclideanNet
from nnft_mcmc.architectures.dense import DenseNet
from nnft_mcmc.statistics import Estimate, derived, gamma_method
from tests.statistical.consistency import assert_consistent, assert_inconsistent

CHAINS = 4
POINTS = np.array([[0.9, -0.4, 0.3, 0.7], [0.6, 0.3, -0.6, 0.8]])

DEEP = {
    "mlp_tanh": lambda n: MLP(4, n, 3, "tanh", weight_std=1.6),
    "mlp_relu_with_biases": lambda n: MLP(4, n, 3, "relu", "standard", weight_std=1.2, bias_std=0.4),
    "deep_euclidean": lambda n: DeepEuclideanNet(CosNet(4, n, 1.5), 3, "erf", weight_std=1.5),
    "conv_net": lambda n: ConvNet(4, n, 2, 3, "relu", weight_std=1.4),
}


def draws(function, seed, num_draws):
    """function(key) of independent keys: (CHAINS, num_draws / CHAINS, ...)."""
    keys = jax.random.split(jax.random.key(seed), num_draws)
    values = np.asarray(jax.jit(lambda ks: jax.lax.map(function, ks, batch_size=100))(keys))
    return values.reshape(CHAINS, -1, *values.shape[1:])


def given_the_features(net, seed, num_draws, points=POINTS):
    """k(x, y) at (0, 0), (0, 1), (1, 1), without the variance of an output bias."""
    variance = net.prior()["amplitudes"].variance

    def one(key):
        theta = net.sample_parameters(key)

        def slope(x):
            return jax.grad(lambda a: net.forward({**theta, "amplitudes": a}, x))(theta["amplitudes"])

        at = jax.vmap(slope)(jnp.asarray(points))
        k = jnp.einsum("i...,j...,...->ij", at, at, variance)
        return jnp.stack([k[0, 0], k[0, 1], k[1, 1]])

    return draws(one, seed, num_draws)


def kernel_at_pairs(net, points=POINTS):
    return net.infinite_width_kernel(points[[0, 0, 1]], points[[0, 1, 1]])


@pytest.mark.parametrize("name", DEEP)
def test_wide_networks_approach_their_kernel_faster_than_one_over_n_once_extrapolated(name):
    """N = 10 and 20, resolution 2.5%. Control: a kernel that is 15% off."""
    build = DEEP[name]
    narrow, wide = given_the_features(build(10), 1, 10000), given_the_features(build(20), 2, 10000)
    kernel = kernel_at_pairs(build(8)) - (0.4**2 if "biases" in name else 0.0)
    extrapolated = gamma_method(2 * wide - narrow)
    assert_consistent(extrapolated, kernel, resolution=0.025)
    assert_inconsistent(extrapolated, 1.15 * kernel, resolution=0.025)


def test_the_finite_width_shift_of_the_kernel_is_seen_and_halves():
    """tanh, three layers, N = 8 and 16; resolution 2% of K. Control: the kernel itself, without the shift."""
    build = DEEP["mlp_tanh"]
    narrow = gamma_method(given_the_features(build(8), 3, 20000))
    wide = gamma_method(given_the_features(build(16), 4, 20000))
    kernel = kernel_at_pairs(build(8))
    doubled = kernel + 2 * (wide.value - kernel)
    assert_consistent(narrow, doubled, oracle_error=2 * wide.error, resolution=0.02)
    assert_inconsistent(narrow, kernel, resolution=0.02)


def fourth_cumulant_times_width(widths, ks):
    """Columns <k>, <k^2> of each width, and sum_i c_i N_i Gc4(N_i) for c = (-1, 2), or c = 1 for one width."""
    columns = np.concatenate([np.stack([k, k**2], axis=-1) for k in ks], axis=-1)
    means = columns.mean(axis=(0, 1)).reshape(-1, 2)
    factors = np.array([-1.0, 2.0] if len(ks) == 2 else [1.0]) * 3 * np.array(widths)
    value = factors @ (means[:, 1] - means[:, 0] ** 2)
    gradient = np.stack([-2 * factors * means[:, 0], factors], axis=-1).ravel()
    return derived(columns, value, gradient)


def test_the_four_point_function_of_a_deep_net_falls_as_one_over_n_with_the_known_coefficient():
    """N Gc4 -> 3 V_L at one point, V_{l+1} = sw^4 Var(sigma^2) + (sw^2 d<sigma^2>/dK)^2 V_l over z ~ N(0, K_l).

    Resolution 6%. Control: V of the last layer alone, as if the layers below did not fluctuate.
    """
    build, widths = DEEP["mlp_tanh"], (16, 32)
    ks = [given_the_features(build(n), 5 + n, 10000)[..., 0] for n in widths]
    z, w = roots_hermitenorm(200)
    w = w / w.sum()
    sw2, k = 1.6**2, 1.6**2 * np.mean(POINTS[0] ** 2)
    spread, last = 0.0, 0.0
    for _ in range(2):
        s2 = np.tanh(np.sqrt(k) * z) ** 2
        last = sw2**2 * (w @ s2**2 - (w @ s2) ** 2)
        response = sw2 * (w @ (s2 * (z**2 - 1))) / (2 * k)
        spread, k = last + response**2 * spread, sw2 * (w @ s2)
    estimate = fourth_cumulant_times_width(widths, ks)
    assert_consistent(estimate, 3 * spread, resolution=0.06)
    assert_inconsistent(estimate, 3 * last, resolution=0.06)


@pytest.mark.parametrize("width", [16, 32])
def test_the_kurtosis_of_a_deep_relu_net_at_finite_width(width):
    """Exact: each hidden layer multiplies <k^2>/<k>^2 by 1 + 5/N; resolution 10%. Control: one hidden layer less."""
    net = MLP(4, width, 3, "relu", weight_std=2**0.5)
    estimate = fourth_cumulant_times_width((width,), [given_the_features(net, 50 + width, 20000)[..., 0]])
    g = float(net.infinite_width_kernel(POINTS[0], POINTS[0]))  # exact at every width at one point
    assert_consistent(estimate, 3 * width * g**2 * ((1 + 5 / width) ** 2 - 1), resolution=0.1)
    assert_inconsistent(estimate, 3 * width * g**2 * (5 / width), resolution=0.1)


@pytest.mark.parametrize("activation", ["erf", "relu", "tanh", "cos"])
def test_dense_fields_have_the_exact_moments(activation):
    """<phi_0 phi_1>, <phi_0^2 phi_1^2>, <phi_0^4> of drawn fields at N = 3; resolution 10%. Control: no Gc4."""
    net = DenseNet(2, 3, activation, weight_std=1.4, bias_std=0.5)
    x = np.array([[0.8, -0.3], [0.5, 0.9]])
    field = draws(lambda key: net(net.sample_parameters(key), x), 90, 100_000)
    g00, g01, g11 = (float(net.two_point(x[i], x[j])) for i, j in ((0, 0), (0, 1), (1, 1)))
    f, h = field[..., 0], field[..., 1]
    estimate = gamma_method(np.stack([f * h, f**2 * h**2, f**4], axis=-1))
    gaussian = np.array([g01, g00 * g11 + 2 * g01**2, 3 * g00**2])
    connected = [net.four_point_connected(x[0], x[0], p, p) for p in (x[1], x[0])]
    assert_consistent(estimate, gaussian + np.array([0, *connected]), resolution=0.1)
    assert_inconsistent(estimate, gaussian, resolution=0.1)


def test_linear_attention_has_its_kernel_at_every_number_of_heads():
    """Two heads; resolution 4% of the geometric mean of the variances. Control: the kernel 20% off."""
    net = LinearAttention(tokens=2, features=2, width=2, head_dim=3)
    kernel = kernel_at_pairs(net)
    estimate = gamma_method(given_the_features(net, 7, 60_000))
    scale = np.array([kernel[0], np.sqrt(kernel[0] * kernel[2]), kernel[2]])
    assert_consistent(estimate, kernel, resolution=0.04, scale=scale)
    assert_inconsistent(estimate, 1.2 * kernel, resolution=0.04, scale=scale)


def test_the_kernel_of_softmax_attention_has_an_honest_error():
    """One feature, heads of size 1: two normal numbers q, k, by Gauss-Hermite; resolution 1%. Control: 5% off."""
    net = SoftmaxAttention(tokens=4, features=1, width=3, weight_std=1.2)
    num_draws = 20_000
    value, error = net.estimate_kernel(jax.random.key(8), POINTS[[0, 0, 1]], POINTS[[0, 1, 1]], num_draws)
    spread = np.sqrt(1 / (2 * num_draws))
    estimate = Estimate(value, error, *(np.full(3, v) for v in (0.5, 0.5 * spread, num_draws)), num_draws)
    z, w = roots_hermitenorm(100)
    w = w / w.sum()

    def head(x):
        """sum_s p_s X_s for all q k, (nodes, nodes)."""
        scores = np.exp(1.2**2 * np.multiply.outer(np.outer(z, z), np.outer(x, x)))
        return (scores / scores.sum(axis=-1, keepdims=True)).mean(axis=-2) @ x

    heads = [head(x) for x in POINTS]
    exact = 1.2**2 * np.array([w @ (heads[i] * heads[j]) @ w for i, j in ((0, 0), (0, 1), (1, 1))])
    assert_consistent(estimate, exact, resolution=0.01)
    assert_inconsistent(estimate, 1.05 * exact, resolution=0.01)
