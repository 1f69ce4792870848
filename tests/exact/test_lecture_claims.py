"""What the lectures say about their networks, as exact statements; equation numbers in brackets."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import i0e, j0

from nnft_mcmc.architectures import CosNet, GaussNet, ScalarNet
from nnft_mcmc.architectures.dense import DenseNet
from nnft_mcmc.architectures.vector import VectorNet
from nnft_mcmc.estimators.group_actions import Translation, reflection, rotation
from nnft_mcmc.exact import moments_from_cumulants

INF = math.inf
WIDTHS = (1, 3, 10, 1000)


def four_points(dim, seed=0):
    return np.random.default_rng(seed).uniform(-0.8, 0.8, (4, dim))


# 3.2: connected correlators of N i.i.d. neurons.

NETS = {
    "cos_net": lambda n: CosNet(2, n, 1.2, 0.8),
    "gauss_net": lambda n: GaussNet(2, n, 0.8, 0.5, 1.1),
    "scalar_net": lambda n: ScalarNet(2, n, 0.9, 4.0),
    "lectures' scalar_net": lambda n: ScalarNet(3, n, 0.9, 4.0, -1.0),
    "Cauchy-cos-net": lambda n: ScalarNet(1, n, 0.9, INF),
}


@pytest.mark.parametrize("name", NETS)
def test_width_times_the_connected_four_point_function_is_a_constant(name):
    """(51); the two-point function does not depend on the width at all (39)."""
    nets = [NETS[name](n) for n in WIDTHS]
    x = four_points(nets[0].dim)
    pairs = [float(net.two_point(x[0], x[1])) for net in nets]
    np.testing.assert_allclose(pairs, pairs[0], rtol=1e-13)
    scaled = [net.width * float(net.four_point_connected(*x)) for net in nets]
    np.testing.assert_allclose(scaled, scaled[0], rtol=1e-10)


# 3.3: symmetries.


@pytest.mark.parametrize("name", NETS)
def test_odd_correlators_vanish(name):
    """(59): phi -> -phi."""
    net = NETS[name](3)
    assert net.n_point_connected(*four_points(net.dim)[:3]) == 0.0


def moves(dim):
    """A translation, a reflection, and rotations in every plane."""
    turns = [rotation(dim, 0.7 + i, (i, i + 1)) for i in range(dim - 1)]
    return [Translation(tuple(np.linspace(-1.3, 2.0, dim))), reflection(np.arange(1.0, dim + 1)), *turns]


EUCLIDEAN = {
    **{f"cos_net in {d}": CosNet(d, 2, 1.1, 0.7) for d in (1, 2, 3)},
    **{f"scalar_net in {d}": ScalarNet(d, 2, 0.9, 4.0) for d in (1, 2, 3)},
    **{f"lectures' scalar_net in {d}": ScalarNet(d, 2, 0.9, 4.0, -1.0) for d in (1, 2, 3)},
    "Cauchy-cos-net": ScalarNet(1, 2, 0.9, INF),
}


@pytest.mark.parametrize("name", EUCLIDEAN)
def test_cos_net_and_scalar_net_are_euclidean_invariant_at_finite_width(name):
    net = EUCLIDEAN[name]
    x = four_points(net.dim)
    scale = float(net.two_point(x[0], x[0])) ** 2
    for move in moves(net.dim):
        y = move.on_points(x)
        assert abs(net.two_point(*y[:2]) - net.two_point(*x[:2])) < 1e-11 * math.sqrt(scale)
        for sites in ([0, 1, 2, 3], [0, 0, 1, 1], [2, 2, 2, 2]):
            assert abs(net.four_point_connected(*y[sites]) - net.four_point_connected(*x[sites])) < 1e-10 * scale


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_gauss_net_is_not_and_how_much(dim):
    """(64): G is invariant and Gc4 is not; its first term grows by exp[(s0^2/2d)(4 c.S + 8 c^2)], S = sum x_i."""
    net, x = GaussNet(dim, 2, 0.8, 0.5, 1.1), four_points(dim)
    c, k = np.linspace(0.2, 0.5, dim), 0.8**2 / (2 * dim)
    assert net.two_point(x[0] + c, x[1] + c) == pytest.approx(float(net.two_point(x[0], x[1])), rel=1e-13)
    pairings = sum(net.two_point(x[a], x[b]) * net.two_point(x[m], x[n]) for a, b, m, n in PAIRINGS)
    before, after = (float(2 * net.four_point_connected(*y) + pairings) for y in (x, x + c))
    assert after / before == pytest.approx(math.exp(k * (4 * c @ x.sum(axis=0) + 8 * c @ c)), rel=1e-12)
    assert abs(after / before - 1) > 0.05
    for move in moves(dim)[1:]:
        y = move.on_points(x)
        assert net.four_point_connected(*y) == pytest.approx(float(net.four_point_connected(*x)), rel=1e-12)


PAIRINGS = ((0, 1, 2, 3), (0, 2, 1, 3), (0, 3, 1, 2))


def test_components_share_their_neurons():
    """O(D) outputs of cos_net, s1 = 1: <1111>_c = 3 <1122>_c = 3/(8N) at one point."""
    x = np.array([0.3, -0.4])
    four = VectorNet(CosNet(2, 5), 3).four_point_connected(x, x, x, x)
    assert four[0, 0, 0, 0] == pytest.approx(3 / 40, rel=1e-12)
    assert four[0, 0, 1, 1] == pytest.approx(1 / 40, rel=1e-12)
    assert four[0, 1, 2, 2] == 0.0


# 3.4: large-N duality of gauss-net and cos-net.


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_gauss_net_and_cos_net_are_dual_at_large_width(dim):
    """The same G at every width (62)(70), different Gc4 whose difference falls as 1/N."""
    x = four_points(dim)
    differences = []
    for n in WIDTHS:
        gauss, cos = GaussNet(dim, n, 0.8, 0.5, 1.1), CosNet(dim, n, 0.8, 1.1)
        np.testing.assert_allclose(gauss.two_point(x[:, None], x), cos.two_point(x[:, None], x), rtol=1e-13)
        differences.append(n * float(gauss.four_point_connected(*x) - cos.four_point_connected(*x)))
    np.testing.assert_allclose(differences, differences[0], rtol=1e-10)
    assert abs(differences[0]) > 0.1 * float(cos.two_point(x[0], x[0])) ** 2


# (74): the scalar-net is the free field, G(p) = theta(L - |p|)/(p^2 + m^2).


def wave(dim, z):
    """Integral of e^{ip.x} over directions, |p||x| = z."""
    return {1: 2 * np.cos(z), 2: 2 * math.pi * j0(z), 3: 4 * math.pi * np.sinc(z / math.pi)}[dim]


def smeared_transform(net, p, sigma):
    """int d^dx e^{-ip.x} e^{-x^2/2 sigma^2} G(x), from the two-point function on Gauss-Legendre panels."""
    nodes, weights = np.polynomial.legendre.leggauss(20)
    edges = np.linspace(0.0, 9 * sigma, 1 + math.ceil(9 * sigma * (p + net.cutoff + 2) / 4))
    half = np.diff(edges)[:, None] / 2
    r = (edges[:-1, None] + half * (1 + nodes)).ravel()
    at = np.zeros((r.size, net.dim))
    at[:, 0] = r
    integrand = r ** (net.dim - 1) * wave(net.dim, p * r) * np.exp(-(r**2) / (2 * sigma**2))
    return float((half * weights).ravel() @ (integrand * net.two_point(at, np.zeros(net.dim))))


def smeared_propagator(dim, mass, cutoff, p, sigma):
    """The same from 1/(q^2 + m^2) on |q| < L: its convolution with the normal density of variance 1/sigma^2."""

    def around(q):
        bell = math.exp(-((sigma * (p - q)) ** 2) / 2) * (sigma / math.sqrt(2 * math.pi)) ** dim
        z = sigma**2 * p * q
        shell = {1: 1 + math.exp(-2 * z), 2: 2 * math.pi * q * i0e(z)}
        if dim in shell:
            return bell * shell[dim] / (q**2 + mass**2)
        return bell * 4 * math.pi * q**2 * (-math.expm1(-2 * z) / (2 * z) if z else 1.0) / (q**2 + mass**2)

    low, high = max(0.0, p - 12 / sigma), min(cutoff, p + 12 / sigma)
    return quad(around, low, high, epsabs=1e-13, epsrel=1e-12, limit=400)[0]


@pytest.mark.parametrize("alpha", [-1.0, 0.0])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_scalar_net_is_the_free_propagator(dim, alpha):
    """Smeared over momenta of 1/sigma, inside the ball, across its edge and outside; then unsmeared, up to the error

    |grad^2 G|/(2 sigma^2) + .. < d/(m^4 sigma^2) of the smearing.
    """
    mass, cutoff = 1.0, 4.0
    net = ScalarNet(dim, 3, mass, cutoff, alpha)
    for p in (0.0, 0.9, 2.5, 4.0, 6.0):
        found, exact = smeared_transform(net, p, 3.0), smeared_propagator(dim, mass, cutoff, p, 3.0)
        assert abs(found - exact) < 1e-10
        if p < cutoff:  # control
            assert abs(found - smeared_propagator(dim, 1.01 * mass, cutoff, p, 3.0)) > 1e-4
    for p in (0.0, 0.9, 2.0):
        assert abs(smeared_transform(net, p, 12.0) - 1 / (p**2 + mass**2)) < dim / mass**4 / 12.0**2


@pytest.mark.parametrize("p", [0.0, 0.7, 3.0])
def test_cauchy_cos_net_is_the_free_propagator_at_all_momenta(p):
    net = ScalarNet(1, 3, 0.8, INF)

    def g(r):
        return 2 * float(net.two_point([r], [0.0])) * math.cos(p * r)

    assert quad(g, 0, 60, epsabs=1e-12, limit=500)[0] == pytest.approx(1 / (p**2 + 0.64), rel=1e-10)


# Excess kurtosis of the scalar-nets, N kappa = (9/2) R - 3 with R = V/(2 pi)^d H(0)/G(0)^2 at alpha = -1.


def closed_ratio(dim, mass, cutoff):
    """R from elementary integrals over the ball."""
    x = cutoff / mass
    volume = math.pi ** (dim / 2) / math.gamma(dim / 2 + 1) * cutoff**dim / (2 * math.pi) ** dim
    g = {
        1: math.atan(x) / (math.pi * mass),
        2: math.log1p(x**2) / (4 * math.pi),
        3: mass * (x - math.atan(x)) / (2 * math.pi**2),
        4: mass**2 * (x**2 - math.log1p(x**2)) / (16 * math.pi**2),
    }[dim]
    h = {
        1: (math.atan(x) + x / (1 + x**2)) / (2 * math.pi * mass**3),
        2: x**2 / (1 + x**2) / (4 * math.pi * mass**2),
        3: (math.atan(x) - x / (1 + x**2)) / (4 * math.pi**2 * mass),
        4: (math.log1p(x**2) - x**2 / (1 + x**2)) / (16 * math.pi**2),
    }[dim]
    return volume * h / g**2


def n_kappa(net):
    return net.width * float(net.excess_kurtosis(np.zeros(net.dim)))


@pytest.mark.parametrize(("mass", "cutoff"), [(1.0, 5.0), (0.3, 20.0), (2.0, 3.0)])
@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_excess_kurtosis_of_the_scalar_nets(dim, mass, cutoff):
    expected = 4.5 * closed_ratio(dim, mass, cutoff) - 3
    assert n_kappa(ScalarNet(dim, 5, mass, cutoff, -1.0)) == pytest.approx(expected, rel=1e-10)
    assert n_kappa(ScalarNet(dim, 5, mass, cutoff, 0.0)) == pytest.approx(1.5, rel=1e-10)


PUBLISHED = {1: 6.33832209, 2: 7.19040129, 3: 5.41891779}


@pytest.mark.parametrize("dim", PUBLISHED)
def test_excess_kurtosis_at_m_1_and_cutoff_5(dim):
    assert n_kappa(ScalarNet(dim, 1, 1.0, 5.0, -1.0)) == pytest.approx(PUBLISHED[dim], abs=5e-9)


@pytest.mark.parametrize("ratio", [100.0, 1000.0])
@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_expansion_parameter_at_a_large_cutoff(dim, ratio):
    """R -> L/(pi m), (L/m)^2/(4 ln^2(L/m)), pi L/12m, ln(L/m) - 1/2: the leading corrections are below 4 m/L."""
    leading = {
        1: ratio / math.pi,
        2: ratio**2 / (4 * math.log(ratio) ** 2),
        3: math.pi * ratio / 12,
        4: math.log(ratio) - 0.5,
    }[dim]
    found = (n_kappa(ScalarNet(dim, 2, 1.0, ratio, -1.0)) + 3) / 4.5
    assert found == pytest.approx(leading, rel=4 / ratio)
    assert n_kappa(ScalarNet(dim, 2, 1.0, ratio)) == pytest.approx(1.5, rel=1e-9)


# arXiv:2008.08601.


@pytest.mark.parametrize("width", [2, 5, 20, 100])
def test_relu_networks_deviate_from_wick_by_the_published_laws(width):
    """No bias, d = 1, x > 0: <phi^4> is 5/N above its Gaussian value, <phi^6> 15/N + 44/N^2."""
    net = DenseNet(1, width, "relu")
    for xs in ([0.7] * 6, [0.2, 0.5, 1.0, 0.3, 2.0, 0.8]):
        x = np.array(xs)[:, None]
        pair = [[float(net.two_point(a, b)) for b in x] for a in x]

        def connected(block, x=x):
            return net.n_point_connected(*x[list(block)])

        def wick(block, pair=pair):
            return pair[block[0]][block[1]] if len(block) == 2 else 0.0

        for order, law in ((4, 5 / width), (6, 15 / width + 44 / width**2)):
            ratio = moments_from_cumulants(connected, order, even=True) / moments_from_cumulants(wick, order, even=True)
            assert ratio - 1 == pytest.approx(law, rel=1e-10)
