"""Convolutional and attention networks against their equations, written out again."""

import itertools
import math

import numpy as np
import pytest
from scipy.special import erf, roots_hermitenorm

from nnft_mcmc.architectures.attention import LinearAttention, SoftmaxAttention
from nnft_mcmc.architectures.convolution import ConvNet
from nnft_mcmc.architectures.dense import DenseNet
from tests.exact.compiled import draw, field, log_prior, on_host

HOST = {"erf": erf, "relu": lambda z: np.maximum(z, 0), "tanh": np.tanh}
RNG = np.random.default_rng


# Convolution.

CONV_NETS = [
    ConvNet(5, 4, 1, 3, "tanh", "flatten"),
    ConvNet(5, 4, 2, 2, "relu", "pool", bias_std=0.3),
    ConvNet(6, 3, 2, 2, "erf", "pool", image=[2, 3]),
    ConvNet(9, 3, 2, 3, "erf", "flatten", 1.3, 0.2, image=(3, 3)),
]


def offsets(net):
    reach = range(-(net.filter_size // 2), net.filter_size - net.filter_size // 2)
    return list(itertools.product(reach, repeat=len(net.shape)))


def pixel(net, p, o):
    return tuple((i + j) % n for i, j, n in zip(p, o, net.shape, strict=True))


def explicit_conv(net, theta, x):
    theta, pixels = on_host(theta), list(np.ndindex(*net.shape))
    h = {(0, p): x.reshape(net.shape)[p] for p in pixels}
    channels = 1
    for layer in range(1, net.depth + 1):
        filters = theta[f"filters_{layer}"].reshape(net.width, channels, -1)
        biases = theta.get(f"biases_{layer}", np.zeros(net.width))
        scale = 1 / math.sqrt(channels * len(offsets(net)))
        h = {
            (i, p): HOST[net.activation](
                biases[i]
                + scale
                * sum(
                    filters[i, j, n] * h[j, pixel(net, p, o)]
                    for j in range(channels)
                    for n, o in enumerate(offsets(net))
                )
            )
            for i in range(net.width)
            for p in pixels
        }
        channels = net.width
    features = np.array([[h[i, p] for p in pixels] for i in range(net.width)])
    return np.sum(theta["amplitudes"] * (features.mean(axis=1) if net.readout == "pool" else features))


def explicit_conv_kernel(net, x):
    """All pairs of pixels of both points at once."""
    pixels = list(np.ndindex(*net.shape))
    index = {p: n for n, p in enumerate(pixels)}
    v = x.reshape(-1)
    gram, size = np.outer(v, v), net.dim
    for _ in range(net.depth):
        mean = np.zeros_like(gram)
        for o in offsets(net):
            to = np.array([index[pixel(net, p, o)] for p in pixels])
            to = np.concatenate([to, to + size])
            mean += gram[np.ix_(to, to)] / len(offsets(net))
        z = net.bias_std**2 + net.weight_std**2 * mean
        variance = np.diagonal(z)
        gram = net.sigma.expectation(*np.broadcast_arrays(variance[:, None], variance[None], z))
    blocks = gram.reshape(2, size, 2, size)
    averaged = blocks.mean(axis=(1, 3)) if net.readout == "pool" else np.einsum("apbp->ab", blocks) / size
    return net.amplitude_std**2 * averaged


@pytest.mark.parametrize("net", CONV_NETS)
def test_convolution_and_its_kernel_loop_by_loop(net):
    theta, x = draw(net), RNG(3).normal(size=(2, net.dim))
    np.testing.assert_allclose(field(net, theta, x), [explicit_conv(net, theta, p) for p in x], rtol=1e-11)
    np.testing.assert_allclose(net.infinite_width_kernel(x[:, None], x), explicit_conv_kernel(net, x), atol=1e-10)


def test_pooling_is_translation_invariant_and_flattening_is_not():
    pool, flatten = (ConvNet(6, 4, 2, 3, "tanh", readout) for readout in ("pool", "flatten"))
    x = RNG(4).normal(size=6)
    moved = np.roll(x, 2)
    theta = draw(pool)
    assert field(pool, theta, moved) == pytest.approx(float(field(pool, theta, x)), rel=1e-12)
    assert pool.infinite_width_kernel(x, moved) == pytest.approx(float(pool.infinite_width_kernel(x, x)), rel=1e-12)
    assert abs(field(flatten, draw(flatten), moved) - field(flatten, draw(flatten), x)) > 1e-3
    assert flatten.infinite_width_kernel(x, moved) < 0.9 * flatten.infinite_width_kernel(x, x)


def test_one_convolution_over_the_whole_image_is_dense():
    """A filter as large as the image sees all pixels, in another order at every p: flatten of one p is a dense net."""
    conv, dense = ConvNet(4, 3, 1, 4, "relu", "flatten"), DenseNet(4, 3, "relu")
    x = RNG(5).normal(size=(3, 4))
    np.testing.assert_allclose(conv.infinite_width_kernel(x[:, None], x), dense.two_point(x[:, None], x), rtol=1e-12)


# Attention.


def explicit_attention(net, theta, x, attend):
    theta, tokens = on_host(theta), x.reshape(net.tokens, net.features) / math.sqrt(net.features)
    total = 0.0
    for head in range(net.width):
        q, k, v = (tokens @ theta[name][head] for name in ("queries", "keys", "values"))
        output = attend(q @ k.T / math.sqrt(net.head_dim)) @ v
        total += theta["amplitudes"][head] @ output.mean(axis=0)
    return total


def test_attention_head_by_head():
    def softmax(s):
        return np.exp(s) / np.exp(s).sum(axis=1, keepdims=True)

    x = RNG(7).normal(size=(2, 6))
    for kind, attend in ((SoftmaxAttention, softmax), (LinearAttention, lambda s: s / 3)):
        net = kind(tokens=3, features=2, width=4, head_dim=2, weight_std=1.3, amplitude_std=0.8)
        theta = draw(net)
        expected = [explicit_attention(net, theta, point, attend) for point in x]
        np.testing.assert_allclose(field(net, theta, x), expected, rtol=1e-11)
        assert math.isfinite(log_prior(net, theta))


def test_the_kernel_of_linear_attention_by_quadrature_over_a_head():
    """A polynomial in the normal weights of a head: Gauss-Hermite with 3 nodes is exact."""
    net = LinearAttention(tokens=3, features=1, width=5, head_dim=2, weight_std=1.2, amplitude_std=0.7)
    x = RNG(8).normal(size=(2, 3))
    z, w = roots_hermitenorm(3)
    index = np.array(list(itertools.product(range(3), repeat=6)))
    weights = np.prod((w / w.sum())[index], axis=1)
    q, k, v = np.split(1.2 * z[index], 3, axis=1)  # (nodes, head_dim)
    scores = np.einsum("nc,nc->n", q, k) / math.sqrt(2)  # times X_t X_s
    heads = [np.einsum("n,nc->nc", scores * np.mean(p) * np.mean(p**2), v) for p in x]  # mean_t sum_s X_t X_s X_s / 3
    expected = 0.7**2 * np.array([[weights @ np.mean(a * b, axis=1) for b in heads] for a in heads])
    np.testing.assert_allclose(net.infinite_width_kernel(x[:, None], x), expected, rtol=1e-12)
