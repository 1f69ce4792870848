"""The action from correlators: first-order perturbation theory by exact quadrature, and the 1/N^2 left by exp(-S)."""

import math
from itertools import product

import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermegauss

from nnft_mcmc._checks import InputError
from nnft_mcmc.exact.edgeworth import LARGEST_CONDITION, EdgeworthAction, four_point_tensor, in_basis
from nnft_mcmc.exact.gaussian_process import GaussianProcess
from nnft_mcmc.exact.wick import covariance_matrix

POINTS = {1: [[0.3]], 2: [[0.0], [1.1]], 3: [[0.0], [1.0], [2.3]]}
WIDTHS = np.array([800, 1600, 3200, 6400])


def cos_two_point(x, y):
    """Gc4 of the cos-net with s0 = s1 = 1."""
    return np.exp(-np.sum((x - y) ** 2, axis=-1) / 2) / 2


def cos_four_point(width, x1, x2, x3, x4):
    waves = pairs = 0.0
    for a, b, c, d in [(x1, x2, x3, x4), (x1, x3, x2, x4), (x1, x4, x2, x3)]:
        waves = waves + np.exp(-np.sum((a + b - c - d) ** 2, axis=-1) / 2)
        pairs = pairs + np.exp(-(np.sum((a - b) ** 2, axis=-1) + np.sum((c - d) ** 2, axis=-1)) / 2)
    return (3 * waves - 2 * pairs) / (8 * width)


def cos_action(points, width):
    return EdgeworthAction.from_functions(cos_two_point, lambda *x: cos_four_point(width, *x), np.array(points))


def symmetric_tensor(rng, n, rank):
    vectors = rng.standard_normal((2 * n, n))
    signs = np.where(np.arange(2 * n) % 2, 1.0, -1.0)
    return np.einsum(*[operand for k in range(rank) for operand in (vectors, [0, k + 1])], signs, [0])


def random_action(n):
    rng = np.random.default_rng(n)
    factor = np.eye(n) + 0.4 * rng.standard_normal((n, n))
    return EdgeworthAction(factor @ factor.T, 0.3 * symmetric_tensor(rng, n, 2), 0.1 * symmetric_tensor(rng, n, 4))


def gaussian_rule(covariance, num_nodes):
    """Fields (k, n) and weights of the tensor Gauss-Hermite rule of N(0, covariance), exact to 2 num_nodes - 1."""
    nodes, weights = hermegauss(num_nodes)
    n = len(covariance)
    z = np.array(list(product(nodes, repeat=n)))
    return z @ np.linalg.cholesky(covariance).T, np.prod(list(product(weights / weights.sum(), repeat=n)), axis=1)


def moments(fields, weights):
    second = np.einsum("k,ka,kb->ab", weights, fields, fields, optimize=True)
    pairs = (fields[:, :, None] * fields[:, None, :]).reshape(len(fields), -1)
    n = fields.shape[1]
    return second, ((pairs * weights[:, None]).T @ pairs).reshape(n, n, n, n)


def pair_products(first, second):
    """first_ab second_cd and the two other pairings."""
    outer = np.multiply.outer(first, second)
    return outer + outer.swapaxes(1, 2) + outer.swapaxes(1, 3)


def test_cos_net_at_one_point():
    """lambda4 = -6/(N s1^4) and Q = 3/(N s1^2), for s1 = 1 and by hand for s1 = 1.7: positive kurtosis, lambda4 < 0."""
    action = cos_action(POINTS[1], 20)
    np.testing.assert_allclose([action.lambda4.item(), action.quadratic.item()], [-6 / 20, 3 / 20], rtol=1e-13)
    s1 = 1.7
    action = EdgeworthAction.from_correlators([[s1**2 / 2]], np.full((1,) * 4, 3 * s1**4 / (8 * 20)))
    expected = [-6 / (20 * s1**4), 3 / (20 * s1**2)]
    np.testing.assert_allclose([action.lambda4.item(), action.quadratic.item()], expected, rtol=1e-13)
    phi = np.array([[0.4], [-1.3]])
    value = 0.5 * phi[:, 0] ** 2 * (2 / s1**2 + expected[1] / 2) + expected[0] / 24 * phi[:, 0] ** 4
    np.testing.assert_allclose(action.action(phi), value, rtol=1e-13)


def test_negative_kurtosis_has_a_positive_coupling():
    assert EdgeworthAction.from_correlators([[2.0]], np.full((1,) * 4, -0.3)).lambda4.item() > 0


@pytest.mark.parametrize("n", [1, 2, 3])
def test_couplings_are_the_printed_contractions(n):
    """lambda4 and Q written out in indices."""
    rng = np.random.default_rng(n)
    reference = random_action(n)
    g, gc4 = reference.covariance, 0.05 * symmetric_tensor(rng, n, 4)
    p = np.linalg.inv(g)
    action = EdgeworthAction.from_correlators(g, gc4)
    np.testing.assert_allclose(action.lambda4, -np.einsum("efgh,ae,bf,cg,dh->abcd", gc4, p, p, p, p), atol=1e-12)
    np.testing.assert_allclose(action.quadratic, np.einsum("abef,ab,ec,fd->cd", gc4, p, p, p), atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_interaction_is_the_polynomial(n):
    action, fields = random_action(n), np.random.default_rng(7).standard_normal((2, 5, n))
    values = action.action(fields)
    assert values.shape == (2, 5)
    phi = fields[1, 3]
    quartic = sum(action.lambda4[i] * math.prod(phi[list(i)]) for i in product(range(n), repeat=4)) / 24
    quadratic = 0.5 * phi @ (np.linalg.inv(action.covariance) + action.quadratic / 2) @ phi
    np.testing.assert_allclose(values[1, 3], quadratic + quartic, rtol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_first_order_correlators_are_the_derivatives_of_the_integrals(n):
    """d/de of the correlators of exp(-S_0 - e S_int) at e = 0 is minus a covariance of polynomials."""
    action = random_action(n)
    fields, weights = gaussian_rule(action.covariance, 5)
    interaction = action.interaction(fields)
    mean = weights @ interaction
    second, fourth = moments(fields, -weights * (interaction - mean))
    g = action.covariance
    first_order = action.correlators_to_first_order()
    np.testing.assert_allclose(first_order.two_point, g + second, atol=1e-10)
    connected = fourth - pair_products(g, second) - pair_products(second, g)
    np.testing.assert_allclose(first_order.four_point_connected, connected, atol=1e-10)
    np.testing.assert_allclose(first_order.log_partition_ratio, -mean, atol=1e-10)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_action_of_correlators_has_these_correlators_to_first_order(n):
    action = cos_action(POINTS[n], 10)
    g, gc4 = (
        covariance_matrix(cos_two_point, POINTS[n]),
        four_point_tensor(lambda *x: cos_four_point(10, *x), POINTS[n]),
    )
    first_order = action.correlators_to_first_order()
    np.testing.assert_allclose(first_order.two_point, g, rtol=1e-10)
    np.testing.assert_allclose(first_order.four_point_connected, gc4, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_edgeworth_density_has_these_correlators_exactly(n):
    action = cos_action(POINTS[n], 10)
    fields, weights = gaussian_rule(action.covariance, 5)
    weights = weights * action.density_ratio(fields)
    second, fourth = moments(fields, weights)
    np.testing.assert_allclose(weights.sum(), 1.0, rtol=1e-12)
    np.testing.assert_allclose(second, action.covariance, rtol=1e-10)
    gc4 = four_point_tensor(lambda *x: cos_four_point(10, *x), POINTS[n])
    np.testing.assert_allclose(fourth - pair_products(second, second), gc4, atol=1e-12)


def deviations(action, gc4):
    """Largest |two_point - G| and |connected four-point - Gc4| under exp(-S), inside |z| < 9 of whitened fields.

    exp(-S) has no finite integral, but its barrier lies beyond z = 2 sqrt(N): what is cut off is below e^-30. The
    trapezoid sum of step 0.6 is exact to e^-50.
    """
    n = len(action.covariance)
    line = 0.6 * np.arange(-15, 16)
    z = np.array(list(product(line, repeat=n)))
    fields = z[np.sum(z**2, axis=1) < 81.0] @ np.linalg.cholesky(action.covariance).T
    weights = np.exp(-action.action(fields))
    second, fourth = moments(fields, weights / weights.sum())
    connected = fourth - pair_products(second, second)
    return np.abs(second - action.covariance).max(), np.abs(connected - gc4).max()


def exponents(n, change=lambda action: action):
    """Slopes of ln(deviation) against ln N for G and Gc4."""
    rows = []
    for width in WIDTHS:
        gc4 = four_point_tensor(lambda *x, width=width: cos_four_point(width, *x), POINTS[n])
        rows.append(deviations(change(cos_action(POINTS[n], int(width))), gc4))
    return np.polyfit(np.log(WIDTHS), np.log(rows), 1)[0]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_density_reproduces_the_correlators_up_to_the_second_order(n):
    """Both deviations fall like 1/N^2; corrections of relative size up to 50/N move the exponent by 0.03."""
    np.testing.assert_allclose(exponents(n), [-2.0, -2.0], atol=0.03)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_scaling_sees_a_wrong_sign_and_a_missing_quadratic_shift(n):
    """Controls: without Q the two-point function is wrong at order 1/N, with -lambda4 the connected one is."""
    without_shift = exponents(n, lambda s: EdgeworthAction(s.covariance, 0 * s.quadratic, s.lambda4))
    np.testing.assert_allclose(without_shift[0], -1.0, atol=0.03)
    wrong_sign = exponents(n, lambda s: EdgeworthAction(s.covariance, s.quadratic, -s.lambda4))
    np.testing.assert_allclose(wrong_sign, [-1.0, -1.0], atol=0.03)


DENSE = np.linspace(0.0, 2.0, 9)[:, None]


def test_points_that_are_too_close_are_refused_with_the_remedy():
    with pytest.raises(InputError, match=r"condition number .* leading modes of the covariance as a basis"):
        cos_action(DENSE, 10)
    with pytest.raises(InputError, match="condition number inf"):
        EdgeworthAction.from_correlators(np.ones((2, 2)), np.zeros((2,) * 4))


def test_leading_modes_are_a_basis_on_points_that_are_too_close():
    """In the basis of the leading modes the action exists; with all modes of distant points it is the same action."""
    g, gc4 = covariance_matrix(cos_two_point, DENSE), four_point_tensor(lambda *x: cos_four_point(10, *x), DENSE)
    process = GaussianProcess(g, threshold=2 / LARGEST_CONDITION)
    assert 3 <= process.rank < len(DENSE)
    reduced_g, reduced_gc4 = in_basis(process.modes, g, gc4)
    first_order = EdgeworthAction.from_correlators(reduced_g, reduced_gc4).correlators_to_first_order()
    np.testing.assert_allclose(first_order.four_point_connected, reduced_gc4, atol=1e-10)

    g, gc4 = (
        covariance_matrix(cos_two_point, POINTS[3]),
        four_point_tensor(lambda *x: cos_four_point(10, *x), POINTS[3]),
    )
    modes, phi = GaussianProcess(g).modes, np.random.default_rng(3).standard_normal((4, 3))
    rotated = EdgeworthAction.from_correlators(*in_basis(modes, g, gc4))
    expected = EdgeworthAction.from_correlators(g, gc4).action(phi)
    np.testing.assert_allclose(rotated.action(phi @ modes), expected, rtol=1e-10)


def test_tensors_that_are_no_correlators_are_refused():
    with pytest.raises(InputError, match="exchanged"):
        EdgeworthAction.from_correlators([[1.0, 0.2], [0.1, 1.0]], np.zeros((2,) * 4))
    with pytest.raises(InputError, match=r"must be \(2, 2, 2, 2\)"):
        EdgeworthAction.from_correlators(np.eye(2), np.zeros((3,) * 4))
    with pytest.raises(InputError, match="last axis"):
        random_action(2).action([1.0, 2.0, 3.0])
