"""Propagators in momentum space against closed forms and against the Fourier transform of the two-point function."""

import math

import numpy as np
import pytest
from scipy.integrate import quad

from nnft_mcmc import CosNet, CubeNet, EuclideanNet, GaussNet, Lattice, LatticeModes, MaternNet, ScalarNet, SiteField
from nnft_mcmc.architectures import KnownPropagator, StratifiedNet, TwoQuadratureNet
from nnft_mcmc.architectures.on_lattice import dual_momenta
from tests.properties.architecture_examples import NAMES, boltzmann, example, falling

INF = math.inf


def momenta(dim, num=7):
    return np.random.default_rng(dim).normal(size=(num, dim)) * 2.0


@pytest.mark.parametrize("alpha", [-1.0, 0.0, 0.7])
@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_scalar_net_is_the_free_propagator_below_its_cutoff(dim, alpha):
    p = momenta(dim, 40)
    p2 = np.sum(p**2, axis=-1)
    expected = np.where(p2 < 9.0, 1 / (p2 + 0.81), 0.0)
    assert 0 < (expected == 0).sum() < len(p)
    np.testing.assert_allclose(ScalarNet(dim, 5, 0.9, 3.0, alpha).propagator(p), expected, rtol=1e-12)


def test_generalised_free_fields_and_quadratures():
    p = momenta(2)
    expected = (np.sum(p**2, axis=-1) + 0.81) ** -2.5
    for net in (MaternNet(2, 4, 0.9, 2.5), MaternNet(2, 4, 0.9, 2.5, amplitude_law="sign")):
        for form in (net, TwoQuadratureNet(net)):
            np.testing.assert_allclose(form.propagator(p), expected, rtol=1e-12)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_gauss_net_and_cos_net_have_the_same_normal_propagator(dim):
    p, k = momenta(dim), 1.3**2 / (2 * dim)
    expected = 0.7**2 / 2 * (math.pi / k) ** (dim / 2) * np.exp(-np.sum(p**2, axis=-1) / (4 * k))
    np.testing.assert_allclose(CosNet(dim, 3, 1.3, 0.7).propagator(p), expected, rtol=1e-12)
    np.testing.assert_allclose(GaussNet(dim, 3, 1.3, 0.5, 0.7).propagator(p), expected, rtol=1e-12)


def test_the_spectrum_of_a_shaped_net_and_of_the_cube():
    p = np.array([[0.3, -1.1], [1.9, 1.9], [2.1, 0.0]])
    net = EuclideanNet.from_propagator(2, 3, lambda k: 1 / (1 + k**4), 10.0)
    np.testing.assert_allclose(net.propagator(p), 1 / (1 + np.sum(p**2, axis=-1) ** 2), rtol=1e-12)
    inside = 0.8**2 / 2 * (2 * math.pi / 4.0) ** 2
    np.testing.assert_allclose(CubeNet(2, 3, 2.0, 0.8).propagator(p), [inside, inside, 0.0], rtol=1e-12)


LINE = {
    "cos_net": CosNet(1, 3, 1.2, 0.8),
    "gauss_net": GaussNet(1, 3, 0.8, 0.2, 0.9),
    "Cauchy-cos-net": ScalarNet(1, 3, 0.9, INF),
    "matern_net": MaternNet(1, 3, 0.9, 1.5, amplitude_law="sign"),
}


@pytest.mark.parametrize("p", [0.0, 0.7, -2.0])
@pytest.mark.parametrize("name", LINE)
def test_it_is_the_transform_of_the_two_point_function(name, p):
    net = LINE[name]
    transform, _ = quad(
        lambda r: 2 * float(net.two_point([r], [0.0])) * math.cos(p * r), 0, 40, epsabs=1e-13, limit=400
    )
    assert transform == pytest.approx(float(net.propagator([p])), rel=1e-9, abs=1e-12)


def test_the_inverse_transform_is_the_two_point_function_of_any_spectrum():
    """G(0) = int d^2p/(2 pi)^2 G(p)."""
    net = EuclideanNet(2, 3, boltzmann, falling, 5.0, variance=1.7)

    def radial(k):
        return k * float(net.propagator([k, 0.0])) / (2 * math.pi)

    assert quad(radial, 0, 5, epsabs=1e-13)[0] == pytest.approx(float(net.two_point([0, 0], [0, 0])), rel=1e-9)


@pytest.mark.parametrize("dispersion", ["lattice", "continuum"])
def test_on_a_torus_it_is_periodic_and_the_sum_over_sites(dispersion):
    lattice = Lattice((6, 4), 0.5, "torus")
    net = LatticeModes(lattice, 1.1, dispersion)
    p = dual_momenta(lattice).reshape(-1, 2)
    np.testing.assert_allclose(net.propagator(p + 2 * math.pi / 0.5 * np.array([1, -2])), net.propagator(p), rtol=1e-12)
    sites = lattice.sites.reshape(-1, 2)
    transform = 0.25 * np.cos(p @ sites.T) @ net.two_point(sites, np.zeros(2))
    np.testing.assert_allclose(transform, net.propagator(p), rtol=1e-11)
    if dispersion == "lattice":
        np.testing.assert_allclose(SiteField(lattice, 1.1).propagator(p), net.propagator(p), rtol=1e-14)


def test_who_knows_a_propagator():
    unknown = [n for n in NAMES if not isinstance(example(n), KnownPropagator)]
    translation_invariant = {"cos_net", "gauss_net", "cube_net", "scalar_net", "matern_net", "euclidean_net"}
    assert not translation_invariant & set(unknown)
    stratified = StratifiedNet(ScalarNet(1, 3, 0.9, INF))
    assert stratified.two_point([0.0], [1.0]) == pytest.approx(float(LINE["Cauchy-cos-net"].two_point([0.0], [1.0])))
