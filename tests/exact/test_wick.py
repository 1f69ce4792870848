"""Wick sums, partitions, and moments against cumulants: by tensor quadrature and by brute-force enumeration."""

import math
from collections import Counter
from itertools import product

import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermegauss

from nnft_mcmc._checks import InputError
from nnft_mcmc.exact.wick import covariance_matrix, cumulants_from_moments, gaussian_n_point, moments_from_cumulants
from nnft_mcmc.statistics.partitions import moebius, pairings, set_partitions

BELL = [1, 1, 2, 5, 15, 52, 203, 877]
EVEN = {2: 1, 4: 4, 6: 31, 8: 379}
MIXING = np.array([[1.0, -0.4], [0.7, 1.1], [-0.3, 0.8]])  # three fields from two independent sources


@pytest.mark.parametrize("n", range(8))
def test_partitions_are_all_of_them_once(n):
    partitions = list(set_partitions(n))
    assert len(set(partitions)) == len(partitions) == BELL[n]
    assert all(sorted(i for block in pi for i in block) == list(range(n)) for pi in partitions)
    even = [pi for pi in partitions if all(len(block) % 2 == 0 for block in pi)]
    assert sorted(set_partitions(n, even=True)) == sorted(even)


def test_numbers_of_even_partitions_and_pairings():
    assert {n: len(list(set_partitions(n, even=True))) for n in EVEN} == EVEN
    assert [len(pairings(n)) for n in range(1, 11)] == [0, 1, 0, 3, 0, 15, 0, 105, 0, 945]


def test_moebius_weights_of_a_constant_add_up_to_zero():
    """A constant 1 has kappa_1 = 1 and no other cumulant: the weights of all partitions of n > 1 cancel."""
    assert [sum(map(moebius, set_partitions(n))) for n in range(1, 7)] == [1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("n", [2, 4, 6, 8, 10])
def test_gaussian_n_point_is_the_integral(n):
    """Three correlated fields by an 8-point Gauss-Hermite rule in each direction, exact to degree 15."""
    factor = np.array([[1.0, 0, 0], [0.6, 0.8, 0], [-0.3, 0.5, 1.2]])
    nodes, weights = hermegauss(8)
    z = np.array(list(product(nodes, repeat=3)))
    w = np.prod(list(product(weights / weights.sum(), repeat=3)), axis=1)
    fields = z @ factor.T
    index = np.array([0, 1, 2, 2, 0, 1, 1, 1, 0, 2])[:n]
    covariance = factor @ factor.T
    expected = w @ fields[:, index].prod(axis=1)
    np.testing.assert_allclose(gaussian_n_point(covariance[np.ix_(index, index)]), expected, rtol=1e-10)


def test_gaussian_n_point_of_one_field_and_its_leading_axes():
    variance = np.array([[0.5, 1.0, 2.0], [1.5, 3.0, 0.1]])
    for n in range(1, 8):
        expected = 0 if n % 2 else math.prod(range(1, n, 2)) * variance ** (n / 2)
        value = gaussian_n_point(np.broadcast_to(variance[..., None, None], (2, 3, n, n)))
        np.testing.assert_allclose(value, np.broadcast_to(expected, (2, 3)), rtol=1e-14)


def test_covariance_matrix_feeds_the_wick_sum():
    points = np.array([[0.0], [0.7], [1.5], [-0.4]])

    def two_point(x, y):
        return np.exp(-np.linalg.norm(x - y, axis=-1)) / 2

    g = covariance_matrix(two_point, np.stack([points, 2 * points]))
    assert g.shape == (2, 4, 4)
    a, b, c, d = 2 * points
    pairs = two_point(a, b) * two_point(c, d) + two_point(a, c) * two_point(b, d) + two_point(a, d) * two_point(b, c)
    np.testing.assert_allclose(gaussian_n_point(g)[1], pairs, rtol=1e-14)


def mixed_moment(source_moment, indices):
    """<prod_i (MIXING e)_i> by the sum over which source each factor takes, sources i.i.d. with the given moments."""
    choices = product(range(MIXING.shape[1]), repeat=len(indices))
    return sum(
        math.prod(MIXING[i, k] for i, k in zip(indices, chosen, strict=True))
        * math.prod(source_moment(count) for count in Counter(chosen).values())
        for chosen in choices
    )


def mixed_cumulant(source_cumulant, indices):
    return source_cumulant(len(indices)) * float(MIXING[list(indices)].prod(axis=0).sum())


EXPONENTIAL = (math.factorial, lambda r: math.factorial(r - 1))
LAPLACE = (
    lambda r: 0 if r % 2 else math.factorial(r),
    lambda r: 0 if r % 2 else 2 * math.factorial(r - 1),
)
FIELDS = (0, 1, 2, 0, 1, 1, 2, 2)


@pytest.mark.parametrize(
    ("law", "order", "even"),
    [(EXPONENTIAL, n, False) for n in range(1, 8)] + [(LAPLACE, n, e) for n in (2, 4, 6, 8) for e in (False, True)],
)
def test_moments_and_cumulants_of_mixed_sources(law, order, even):
    """phi = MIXING e, e exponential (all cumulants) or Laplace (even ones): both sides are known in closed form."""
    moment, cumulant = law
    indices = FIELDS[:order]
    expected_moment, expected_cumulant = mixed_moment(moment, indices), mixed_cumulant(cumulant, indices)

    def moments(block):
        return mixed_moment(moment, tuple(indices[i] for i in block))

    def cumulants(block):
        return mixed_cumulant(cumulant, tuple(indices[i] for i in block))

    np.testing.assert_allclose(moments_from_cumulants(cumulants, order, even), expected_moment, rtol=1e-10)
    np.testing.assert_allclose(cumulants_from_moments(moments, order, even), expected_cumulant, rtol=1e-9)


def test_arrays_are_carried_through_and_odd_blocks_are_never_asked_for():
    """A Gaussian has moments = Wick sums and no cumulant beyond the second, at every entry of the leading axes."""
    covariance = np.random.default_rng(1).standard_normal((5, 6, 9))
    covariance = covariance @ np.swapaxes(covariance, -1, -2)
    asked = []

    def moments(block):
        asked.append(block)
        return gaussian_n_point(covariance[:, block, :][:, :, block])

    scale = np.abs(moments(tuple(range(6)))).max()
    sixth = cumulants_from_moments(moments, 6, even=True)
    assert sixth.shape == (5,)
    assert np.abs(sixth).max() < 1e-12 * scale
    assert all(len(block) % 2 == 0 for block in asked)
    assert len(set(asked[1:])) == len(asked[1:])
    second = moments_from_cumulants(lambda block: covariance[:, block[0], block[1]] * (len(block) == 2), 4, even=True)
    np.testing.assert_allclose(second, gaussian_n_point(covariance[:, :4, :4]), rtol=1e-12)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (0, 0), (11, 11)])
def test_a_covariance_that_is_none_is_refused(shape):
    with pytest.raises(InputError, match="covariance has shape"):
        gaussian_n_point(np.zeros(shape))
    with pytest.raises(InputError, match="order"):
        moments_from_cumulants(len, 11)
