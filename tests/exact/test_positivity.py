"""Exact Gram matrices of reflection positivity: known eigenvalues, brute force, and the families of operators."""

import itertools
import math

import numpy as np
import pytest

from nnft_mcmc._checks import InputError
from nnft_mcmc.architectures import CosNet, LatticeModes, ScalarNet
from nnft_mcmc.estimators.field_observables import CharacteristicFunction
from nnft_mcmc.estimators.reflections import COPIES, families, fields_at, reflections
from nnft_mcmc.exact import covariance_matrix
from nnft_mcmc.exact.positivity import exponential_gram_matrix, gaussian, product_gram_matrix
from nnft_mcmc.lattice import Lattice
from nnft_mcmc.runs.axiom_tests import exact_gram

TIMES = np.array([0.25, 0.5, 0.75, 1.0, 1.5, 2.0])
FREE = ScalarNet(1, 10, 1.0, math.inf)


def points(*times):
    return np.array(times, dtype=np.float64)[:, None]


def matrix(net, operators):
    return product_gram_matrix(net.n_point_connected, [-x for x in operators], operators)


@pytest.mark.parametrize(
    ("net", "smallest"),
    [
        (FREE, 0.0),
        (CosNet(1, 7), -7.755347e-2),
        (ScalarNet(1, 3, 1.0, 5.0), -1.202023e-2),
        (ScalarNet(1, 3, 1.0, 10.0, -1.0), -6.593469e-3),
    ],
)
def test_smallest_eigenvalues_of_two_point_functions(net, smallest):
    gram = matrix(net, [points(t) for t in TIMES])
    assert abs(np.linalg.eigvalsh(gram)[0] - smallest) < 1e-8
    np.testing.assert_allclose(gram, net.two_point(-points(*TIMES)[:, None], points(*TIMES)[None]), rtol=1e-12)


def test_two_times_of_a_gaussian_kernel():
    """det = (e^{-2 t^2} - e^{-t^2})/4 < 0 for times 0 and t, by hand."""
    gram = matrix(CosNet(1, 3), [points(0.0), points(0.7)])
    assert abs(np.linalg.det(gram) - (math.exp(-2 * 0.49) - math.exp(-0.49)) / 4) < 1e-12


def test_the_six_point_sector_of_one_neuron():
    """phi(.5)^2 phi(2) and phi(1)^3 in the Cauchy-cos-net of width 1: two-point operators see nothing."""
    gram = matrix(ScalarNet(1, 1, 1.0, math.inf), [points(0.5, 0.5, 2.0), points(1.0, 1.0, 1.0)])
    np.testing.assert_allclose(gram, [[0.78871610, 1.54743804], [1.54743804, 0.57210764]], atol=1e-8)
    assert np.linalg.eigvalsh(matrix(FREE, [points(t) for t in TIMES]))[0] > -1e-12


def test_products_and_exponentials_against_quadrature():
    """Gauss-Hermite quadrature over the fields at two times and their images, for a Gaussian field."""
    net = CosNet(1, 3)
    x = points(-0.3, -0.9, 0.3, 0.9)
    covariance = covariance_matrix(net.two_point, x)
    nodes, weights = np.polynomial.hermite_e.hermegauss(16)
    grid = np.stack(np.meshgrid(*[nodes] * 4, indexing="ij"), axis=-1).reshape(-1, 4)
    weight = np.prod(np.stack(np.meshgrid(*[weights / weights.sum()] * 4, indexing="ij"), axis=-1), axis=-1).ravel()
    phi = grid @ np.linalg.cholesky(covariance).T
    sources = ((1.0, 0.0), (0.4, -1.1))
    for family in families(2, (0, 1), 0.7)[:3]:
        left, right = family(phi[:, :2]), family(phi[:, 2:])
        tuples = [*([()] if family.constant else []), *family.observables[0].tuples]
        exact = product_gram_matrix(
            gaussian(net.two_point), [x[:2][list(t)] for t in tuples], [x[2:][list(t)] for t in tuples]
        )
        np.testing.assert_allclose(exact, (left * weight[:, None]).T @ right, atol=1e-10)
    waves = CharacteristicFunction(sources)
    left, right = (np.concatenate([np.ones((len(phi), 1)), waves(part)], axis=1) for part in (phi[:, :2], phi[:, 2:]))
    np.testing.assert_allclose(
        exponential_gram_matrix(covariance, sources, constant=True), (left * weight[:, None]).T @ right, atol=1e-9
    )


@pytest.mark.parametrize("lattice", [Lattice((8, 5), 0.5, "torus"), Lattice((9,), 0.5, "torus")])
def test_nearest_neighbour_lattices_are_reflection_positive(lattice):
    """Every family at every reflection, spatially separated points included."""
    net = LatticeModes(lattice, 0.8)
    for mirror in reflections(lattice):
        for family in families(len(mirror.forward), mirror.few, 0.8):
            gram = exact_gram(net, mirror, family)
            np.testing.assert_allclose(gram, gram.T, atol=1e-12)
            assert np.linalg.eigvalsh(gram)[0] > -1e-11 * np.trace(gram)


def test_exact_matrices_that_are_not_known():
    """Exponentials of networks; correlators that do not exist."""
    (mirror,) = reflections(Lattice((9,), 0.5))
    *_, triples, exponentials = families(len(mirror.forward), mirror.few, 1.0)
    assert exact_gram(FREE, mirror, triples) is not None
    assert exact_gram(FREE, mirror, exponentials) is None
    assert exact_gram(ScalarNet(1, 3, 1.0, math.inf, 0.4), mirror, triples) is None


def test_reflections_map_positive_times_to_their_images():
    """t_i + t_i' is the same for all points; space stays; box and torus, odd and even."""
    for lattice in (Lattice((7, 3), 0.5), Lattice((8,), 0.5)):
        (mirror,) = reflections(lattice)
        np.testing.assert_allclose(mirror.forward[:, 0], -mirror.reflected[:, 0], atol=1e-12)
        np.testing.assert_array_equal(mirror.forward[:, 1:], mirror.reflected[:, 1:])
        assert (mirror.forward[:, 0] > 0).all()
    names = [mirror.name for mirror in reflections(Lattice((8, 4), 1.0, "torus"))]
    assert names == ["site reflection", "link reflection"]
    for mirror, total in zip(reflections(Lattice((8, 4), 1.0, "torus")), (0, 7), strict=True):
        assert ((mirror.forward[:, 0] + mirror.reflected[:, 0]) % 8 == total).all()
        assert set(mirror.few) < set(range(len(mirror.forward)))
    with pytest.raises(InputError, match="three sites"):
        reflections(Lattice((2,), 1.0))


def test_copies_are_translates_of_a_torus():
    lattice = Lattice((3, 2), 1.0, "torus")
    field, sites = np.arange(6.0).reshape(1, 3, 2), np.array([[0, 0], [2, 1]])
    copies = fields_at(field, lattice, sites)
    expected = [(field[0, i, j], field[0, (i + 2) % 3, (j + 1) % 2]) for i, j in itertools.product(range(3), range(2))]
    np.testing.assert_array_equal(copies[0], expected)
    assert fields_at(np.zeros((1, 20, 20)), Lattice((20, 20), 1.0, "torus"), sites).shape == (1, COPIES, 2)
    assert fields_at(field, Lattice((3, 2), 1.0), sites).shape == (1, 1, 2)


def test_refusals():
    with pytest.raises(InputError, match="products of 12 fields"):
        matrix(FREE, [points(1, 1, 1, 1, 1, 1)])
    with pytest.raises(InputError, match="covariance has shape"):
        exponential_gram_matrix(np.eye(3), [[1.0]])
