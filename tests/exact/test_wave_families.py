"""The plane-wave families beyond cos-net and scalar-net: moments by independent quadrature over one neuron."""

import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.polynomial.legendre import leggauss

from nnft_mcmc import InputError
from nnft_mcmc.architectures import (
    CosNet,
    CubeNet,
    EuclideanNet,
    GaussNet,
    MaternNet,
    ScalarNet,
    StratifiedNet,
    TwoQuadratureNet,
)

PAIRINGS = [((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2))]
PHASES = 2 * math.pi * np.arange(16) / 16  # exact for products of up to fifteen cosines


def single_neuron(density, form_factor, cutoff, nodes=400):
    """Nodes of a d = 1 neuron: momenta, phases and weights of the average over both."""
    z, weights = leggauss(nodes)
    w, p = cutoff * z, density(np.abs(cutoff * z)) * weights
    p = p / p.sum()
    w, b = np.meshgrid(w, PHASES, indexing="ij")
    return form_factor(np.abs(w)), w, b, np.repeat(p[:, None], len(PHASES), axis=1) / len(PHASES)


def moment(neuron, xs):
    f, w, b, p = neuron
    return np.sum(p * math.prod(f * np.cos(w * x + b) for x in xs))


def connected_four_point(moments, mu2, mu4, width, xs):
    pairs = sum(moments(xs[i], xs[j]) * moments(xs[k], xs[m]) for (i, j), (k, m) in PAIRINGS)
    return (mu4 * moments(*xs) - mu2**2 * pairs) / width


@pytest.mark.parametrize(("law", "fourth"), [("normal", 3.0), ("sign", 1.0), ("rayleigh", 2.0)])
def test_euclidean_net_of_any_spectrum_and_amplitude_law(law, fourth):
    net = EuclideanNet(1, 4, lambda k: 1 / (1 + k**4), lambda k: 1 + k**2 / 3, 3.0, 1.0, 1.7, law)
    neuron = single_neuron(lambda k: 1 / (1 + k**4), lambda k: 1 + k**2 / 3, 3.0)
    xs = np.array([0.3, -0.8, 1.1, 0.4])
    assert net.two_point(xs[:1], xs[1:2]) == pytest.approx(1.7 * moment(neuron, xs[:2]), rel=1e-10)
    expected = connected_four_point(lambda *x: moment(neuron, x), 1.7, fourth * 1.7**2, 4, xs)
    assert net.four_point_connected(*xs[:, None]) == pytest.approx(expected, rel=1e-9)


def test_six_point_function_of_a_cos_net_from_the_moments_of_one_neuron():
    net = CosNet(1, 3, 0.8, 1.2)
    neuron = single_neuron(lambda k: np.exp(-(k**2) / (2 * 0.8**2)), lambda k: 1 + 0 * k, 8.0)
    xs = np.array([0.3, -0.8, 1.1, 0.4, -0.2, 0.9])

    def raw(*points):
        order = len(points)
        return math.prod(range(1, order, 2)) * 1.2**order * moment(neuron, points)

    def cumulant(points):
        """kappa = moment - sum over partitions with the block of the first point smaller than everything."""
        if len(points) == 2:
            return raw(*points)
        rest = range(1, len(points))
        smaller = sum(
            cumulant([points[0], *(points[k] for k in others)]) * raw(*(points[k] for k in rest if k not in others))
            for size in (1, 3)
            if size + 1 < len(points)
            for others in itertools.combinations(rest, size)
        )
        return raw(*points) - smaller

    assert net.six_point_connected(*xs[:, None]) == pytest.approx(cumulant(list(xs)) / 3**2, rel=1e-9)
    with pytest.raises(InputError, match="give six"):
        net.six_point_connected(xs[:1], xs[:1])


def test_net_from_a_propagator_has_that_propagator():
    """d = 3: G(r) = int_0^L p^2 dp/(2 pi^2) sin(pr)/(pr) G(p)."""
    net = EuclideanNet.from_propagator(3, 5, lambda p: jnp.exp(-p) / (1 + p**2), 6.0)
    z, weights = leggauss(200)
    p, weights, r = 3 * (1 + z), 3 * weights, 1.3
    expected = np.sum(weights * p**2 / (2 * math.pi**2) * np.sinc(p * r / math.pi) * np.exp(-p) / (1 + p**2))
    assert net.two_point(np.zeros(3), np.array([0.0, r, 0.0])) == pytest.approx(expected, rel=1e-11)
    assert net.excess_kurtosis(np.zeros(3)) == pytest.approx(3 / (2 * 5), rel=1e-10)  # constant form factor


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_matern_net_has_the_matern_covariance(dim):
    """power = (dim + 1)/2 is the exponential covariance: G(r) = G(0) e^{-mr}."""
    mass, net = 1.3, MaternNet(dim, 2, 1.3, (dim + 1) / 2)
    r = np.linspace(0, 2, 5)
    along = np.zeros((5, dim))
    along[:, 0] = r
    g = net.two_point(along, np.zeros(dim))
    np.testing.assert_allclose(g, g[0] * np.exp(-mass * r), rtol=1e-11)
    np.testing.assert_allclose(
        ScalarNet(dim, 3, mass, 4.0).two_point(along, np.zeros(dim)),
        MaternNet(dim, 3, mass, 1.0, 4.0).two_point(along, np.zeros(dim)),
        rtol=1e-13,
    )


def test_cube_net_by_quadrature_and_its_broken_rotations():
    net, x = CubeNet(2, 3, 2.0), np.array([[0.0, 0.0], [0.5, -0.2], [0.9, 0.3], [-0.4, 0.8]])
    z, weights = leggauss(60)
    w = 2.0 * np.stack(np.meshgrid(z, z, indexing="ij"), axis=-1)
    p = np.multiply.outer(weights, weights) / 4
    expected = 0.5 * np.sum(p * np.cos(w @ (x[0] - x[1])))
    assert net.two_point(x[0], x[1]) == pytest.approx(expected, rel=1e-12)
    diagonal = np.array([1.0, 1.0]) / math.sqrt(2)
    broken = net.two_point(np.zeros(2), np.array([1.0, 0.0])) - net.two_point(np.zeros(2), diagonal)
    assert abs(broken) > 1e-2


def test_two_quadratures_are_the_rayleigh_law_and_gaussian_at_a_point():
    waves = MaternNet(1, 6, 1.0, 1.0, 5.0, -0.5, "rayleigh")
    net = TwoQuadratureNet(MaternNet(1, 6, 1.0, 1.0, 5.0, -0.5))
    xs = np.array([[0.3], [-0.8], [1.1], [0.4]])
    assert net.four_point_connected(*xs) == pytest.approx(waves.four_point_connected(*xs), rel=1e-13)
    assert TwoQuadratureNet(ScalarNet(1, 6, 1.0, math.inf)).excess_kurtosis(np.zeros(1)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: StratifiedNet(CosNet(1, 3)), "stratified_net.base is CosNet"),
        (lambda: MaternNet(1, 3, 1.0, -1.0), "matern_net.power is -1.0"),
        (lambda: MaternNet(1, 3, 1.0, 1.0, math.inf, 0.0, "cauchy"), "matern_net.amplitude_law is 'cauchy'"),
        (lambda: EuclideanNet(1, 3, lambda k: 1 - k, lambda k: 1 + 0 * k, 2.0), "euclidean_net.density is negative"),
        (lambda: CubeNet(1, 0, 2.0), "cube_net.width is 0"),
    ],
)
def test_bad_input_is_one_sentence(build, says):
    with pytest.raises(InputError) as caught:
        build()
    assert str(caught.value).startswith(says)


def test_odd_correlators_vanish_and_gauss_net_keeps_its_formula():
    net, xs = GaussNet(2, 3, 0.7, 0.4, 1.1), np.random.default_rng(0).uniform(-0.5, 0.5, (4, 2))
    assert net.n_point_connected(*xs[:3]) == 0
    k = 0.7**2 / 4
    form = np.sum(xs**2) - 2 * sum(xs[i] @ xs[j] for i, j in itertools.combinations(range(4), 2))
    square = lambda i, j: np.sum((xs[i] - xs[j]) ** 2)  # noqa: E731
    pairs = sum(math.exp(-k * (square(*a) + square(*b))) for a, b in PAIRINGS)
    expected = 1.1**4 / 12 * (3 * math.exp(4 * 0.4**2 - k * form) - pairs)  # eq. (64), corrected
    assert net.four_point_connected(*xs) == pytest.approx(expected, rel=1e-12)
