"""Generating functionals from draws against their exact values, and the exponents of the central limit theorem."""

import functools
import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import i0e

from nnft_mcmc._checks import InputError
from nnft_mcmc.architectures import CosNet, GaussNet, LatticeModes, ScalarNet, StratifiedNet
from nnft_mcmc.architectures.dense import DenseNet
from nnft_mcmc.estimators._draws import fields_in_batches
from nnft_mcmc.estimators.generating import (
    connected_by_derivative,
    cumulant_scaling,
    generating_functional,
    log_partition_function,
)
from nnft_mcmc.exact import cumulants_from_moments
from nnft_mcmc.lattice import Lattice
from tests.statistical.consistency import assert_consistent, assert_inconsistent

POINTS = np.array([[0.0], [0.5], [1.2]])
TUPLES = [(0,), (0, 1), (0, 1, 2), (0, 0, 1, 2), (2, 2, 2, 2), (0, 1, 1, 2, 2), (0, 0, 1, 1, 2, 2)]


@functools.cache
def fields():
    return np.concatenate(list(fields_in_batches(CosNet(1, 3), jax.random.key(0), POINTS, 5000)))


def direct(draws, sites):
    """Connected correlator of the draws: sample means in the sum over all partitions, odd blocks included."""
    return float(cumulants_from_moments(lambda b: draws[:, [sites[i] for i in b]].prod(axis=1).mean(), len(sites)))


def test_derivatives_of_w_are_the_connected_correlators_of_the_same_draws():
    expected = [direct(fields(), sites) for sites in TUPLES]
    np.testing.assert_allclose(connected_by_derivative(fields(), TUPLES), expected, rtol=1e-11, atol=1e-14)


def test_derivatives_of_draws_with_a_mean():
    draws = np.random.default_rng(1).gamma(2.0, size=(200, 3))
    expected = [direct(draws, sites) for sites in TUPLES]
    np.testing.assert_allclose(connected_by_derivative(draws, TUPLES), expected, rtol=1e-10)


def test_gradient_and_hessian_of_w():
    """jax.grad and jax.hessian at any J: means and covariances in the ensemble weighted by exp(J.phi)."""
    source = jnp.array([0.4, -0.3, 0.2])
    w = functools.partial(log_partition_function, fields())
    weights = np.exp(fields() @ np.asarray(source))
    weights /= weights.sum()
    mean = weights @ fields()
    np.testing.assert_allclose(jax.grad(w)(source), mean, rtol=1e-11)
    covariance = np.einsum("k,ki,kj->ij", weights, fields() - mean, fields() - mean)
    np.testing.assert_allclose(jax.hessian(w)(source), covariance, rtol=1e-10)
    assert float(w(jnp.zeros(3))) == pytest.approx(0.0, abs=1e-14)


@dataclass(frozen=True)
class Number:
    """Independent draws as the helpers want them; the error has as many degrees of freedom as draws, or nearly."""

    value: np.ndarray
    error: np.ndarray
    ess: np.ndarray
    error_dof: float = math.inf


def cos_net_log_partition(strength, width, amplitude_std=1.0):
    """W[J] at one point: N ln <exp(s^2 c/2)>, s^2 = J^2 s1^2/N, c = cos^2 z, z uniform: exp(s^2/4) I0(s^2/4)."""
    quarter = strength**2 * amplitude_std**2 / width / 4
    return width * (2 * quarter + np.log(i0e(quarter)))


def test_w_of_cos_net_is_its_closed_form():
    """1e5 draws, errors below 2% of W, false-alarm rate 1e-4; the free W = J^2 G/2 is the wrong oracle."""
    strengths = np.array([0.5, 1.0, 1.5])
    found = generating_functional(CosNet(1, 2), jax.random.key(1), [[0.3]], strengths[:, None], 100_000)
    estimate = Number(found.log_partition, found.error, found.ess)
    assert_consistent(estimate, cos_net_log_partition(strengths, 2), resolution=0.02)
    assert_inconsistent(estimate, strengths**2 / 4, resolution=0.02)


def test_w_of_a_gaussian_field_is_quadratic():
    lattice = Lattice((4,), 0.5, "torus")
    net, sites = LatticeModes(lattice, 0.8), lattice.sites
    sources = np.array([[0.5, 0.0, 0.0, 0.0], [0.3, 0.3, -0.2, 0.0]])
    found = generating_functional(net, jax.random.key(2), sites, sources, 100_000)
    exact = np.einsum("mi,ij,mj->m", sources, net.two_point(sites[:, None], sites[None]), sources) / 2
    estimate = Number(found.log_partition, found.error, found.ess)
    assert_consistent(estimate, exact, resolution=0.05)
    assert_inconsistent(estimate, 1.2 * exact, resolution=0.05)


def test_the_number_of_draws_that_carry_z_is_told():
    found = generating_functional(CosNet(1, 3), jax.random.key(3), [[0.0]], [[0.0], [1.0], [8.0]], 20_000)
    assert found.ess[0] == pytest.approx(20_000)
    assert found.log_partition[0] == found.error[0] == 0.0
    # n <e^{J phi}>^2/<e^{2 J phi}>, exactly
    assert found.ess[1] == pytest.approx(
        20_000 * math.exp(2 * cos_net_log_partition(1.0, 3) - cos_net_log_partition(2.0, 3)), rel=0.1
    )
    assert found.ess[2] < 100


# The central limit theorem: kappa_r ~ N^(1 - r/2). Errors of an exponent are normal; |z| < 4 fails once in 16,000.


def lectures_scalar_net(width):
    return ScalarNet(1, width, 1.0, 5.0, -1.0)


@functools.cache
def scalings():
    return cumulant_scaling(lectures_scalar_net, (1, 2, 4, 8), jax.random.key(4), [0.0], 100_000)


def test_exponents_of_the_central_limit_theorem():
    found = scalings()
    np.testing.assert_array_equal(found.expected, [0.0, -1.0, -2.0])
    assert (found.exponent_error < [0.01, 0.05, 0.3]).all()
    assert (np.abs(found.exponent - found.expected) < 4 * found.exponent_error).all()
    assert (found.p_value > 1e-4).all()
    # Control: one power of the width less.
    assert (np.abs(found.exponent - found.expected - 1) > 4 * found.exponent_error)[:2].all()


def test_cumulants_are_the_exact_ones():
    found, nets = scalings(), [lectures_scalar_net(n) for n in (1, 2, 4, 8)]
    for row, order in enumerate((2, 4, 6)):
        exact = [float(net.n_point_connected(*[[0.0]] * order)) for net in nets]
        np.testing.assert_allclose(found.exact[row], exact, rtol=1e-14)
    estimate = Number(found.value[:2], found.error[:2], np.full((2, 4), 1e5), 127.0)
    assert_consistent(estimate, found.exact[:2], resolution=0.1)
    assert_inconsistent(estimate, 1.1 * found.exact[:2], resolution=0.1)
    assert (np.abs(found.value[2] - found.exact[2]) < 5 * found.error[2]).all()


def test_a_cumulant_that_vanishes_has_no_exponent():
    """kappa_6 of cos_net is zero at one point."""
    found = cumulant_scaling(lambda n: CosNet(1, n), (1, 2, 4), jax.random.key(5), [0.0], 50_000, orders=(4, 6))
    np.testing.assert_allclose(found.exact[1], 0.0, atol=1e-12)
    assert math.isnan(found.exponent[1])
    assert abs(found.exponent[0] + 1) < 4 * found.exponent_error[0]


def test_neurons_that_are_not_identical_have_another_exponent():
    """Stratified momenta, alpha = -1: N kappa_4 falls from the i.i.d. value at N = 1 as the cells become narrow."""
    found = cumulant_scaling(
        lambda n: StratifiedNet(ScalarNet(1, n, 1.0, 3.0, -1.0)), (1, 4), jax.random.key(6), [0.0], 50_000, orders=(4,)
    )
    assert found.exponent[0] < -1 - 4 * found.exponent_error[0]
    assert math.isnan(found.p_value[0])
    assert np.isfinite(found.exact).all()


def heavy(width):
    return GaussNet(1, width)


REFUSED = [
    (lambda key: generating_functional(heavy(2), key, [[0.0]], [[1.0]], 100), "GaussNet has no Z[J]"),
    (lambda key: generating_functional(DenseNet(1, 2, "relu"), key, [[1.0]], [[1.0]], 100), "DenseNet has no Z[J]"),
    (lambda key: generating_functional(CosNet(1, 2), key, [[0.0]], [1.0], 100), "sources has shape (1,)"),
    (lambda key: generating_functional(CosNet(1, 2), key, [0.0], [[1.0]], 100), "points has shape (1,)"),
    (lambda key: connected_by_derivative([1.0, 2.0], [(0,)]), "fields has shape (2,)"),
    (lambda key: connected_by_derivative([[1.0], [2.0]], [(1,)]), "a point number is 1"),
    (lambda key: connected_by_derivative([[1.0], [2.0]], [(0,) * 7]), "the tuple (0, 0, 0, 0, 0, 0, 0) has 7"),
    (lambda key: cumulant_scaling(heavy, (2,), key, [0.0], 100), "widths is [2]"),
    (lambda key: cumulant_scaling(heavy, (2, 2), key, [0.0], 100), "widths is [2, 2]"),
    (lambda key: cumulant_scaling(heavy, (0, 2), key, [0.0], 100), "a width is 0"),
    (lambda key: cumulant_scaling(heavy, (1, 2), key, [0.0], 200, orders=(3,)), "the index tuple (0, 0, 0)"),
]


@pytest.mark.parametrize(("call", "start"), REFUSED)
def test_bad_input_is_refused_in_one_line(call, start):
    with pytest.raises(InputError) as refusal:
        call(jax.random.key(0))
    message = str(refusal.value)
    assert message.startswith(start)
    assert "\n" not in message
    assert message.endswith(".")


def test_the_closed_form_of_w_by_summing_over_the_angle():
    z = (np.arange(400) + 0.5) * 2 * math.pi / 400
    average = np.log(np.mean(np.exp(0.7 * np.cos(z) ** 2)))
    assert cos_net_log_partition(math.sqrt(1.4), 1) == pytest.approx(average, rel=1e-13)
