"""The blocked jackknife against loops, closed forms and the errors of pyerrors and of the Gamma-method."""

import itertools
import warnings

import numpy as np
import pytest

from nnft_mcmc import InputError
from nnft_mcmc.statistics import gamma_method
from nnft_mcmc.statistics.resampling import block_means, block_starts, blocks_for, from_blocks, jackknife
from tests.statistical.autoregressive import ar1

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import pyerrors


def samples(seed=1, shape=(3, 101, 4)):
    return np.random.default_rng(seed).normal(1.0, 0.3, shape)


def ratio(means):
    return np.stack([means[..., 0] / means[..., 1], np.log(means[..., 2] ** 2 + means[..., 3])], axis=-1)


def test_against_a_loop_over_blocks():
    draws = samples()
    found = jackknife(draws, 12).derived(ratio)
    starts = [*block_starts(3, 101, 12), 101]
    left_out = []
    for first, last in itertools.pairwise(starts):
        for chain in range(3):
            kept = np.ones((3, 101), dtype=bool)
            kept[chain, first:last] = False
            left_out.append(ratio(draws[kept].mean(axis=0)))
    left_out = np.array(left_out)
    delta = left_out - left_out.mean(axis=0)
    np.testing.assert_allclose(found.value, ratio(draws.reshape(-1, 4).mean(axis=0)), rtol=1e-12)
    np.testing.assert_allclose(found.error, np.sqrt(11 / 12 * (delta**2).sum(axis=0)), rtol=1e-10)
    np.testing.assert_allclose(found.covariance, 11 / 12 * delta.T @ delta, rtol=1e-9)
    assert found.error_dof == 11


def test_the_mean_of_independent_draws_has_the_error_of_the_textbook():
    """One draw in each block."""
    draws = samples(2, (1, 50, 3))
    found = jackknife(draws, 50)
    np.testing.assert_allclose(found.error, draws[0].std(axis=0, ddof=1) / np.sqrt(50), rtol=1e-12)


def test_blocks_stay_within_a_chain_and_cover_it():
    draws = np.arange(2 * 10.0).reshape(2, 10)
    means, counts = block_means(draws, 6)
    assert counts.tolist() == [4, 3, 3] * 2
    np.testing.assert_allclose(means, [1.5, 5.0, 8.0, 11.5, 15.0, 18.0])
    np.testing.assert_allclose(from_blocks(means, counts).value, draws.mean())


def test_a_draw_that_is_not_finite_is_seen():
    draws = samples(3)
    draws[0, 5, 1] = np.nan
    found = jackknife(draws, 12)
    assert np.isnan(found.value).tolist() == [False, True, False, False]
    assert np.isnan(found.error).tolist() == [False, True, False, False]


def test_number_of_blocks():
    assert blocks_for(4, 1000, 0.5) == 400
    assert blocks_for(4, 1000, 5.0) == 40
    assert blocks_for(4, 1000, 60.0) == 0
    assert blocks_for(4, 1000, np.nan) == 0


@pytest.mark.parametrize(("shape", "num_blocks"), [((2, 10), 3), ((2, 3), 40), ((10,), 5)])
def test_too_few_blocks_or_draws_are_refused(shape, num_blocks):
    with pytest.raises(InputError):
        jackknife(np.zeros(shape), num_blocks)


def chains():
    """Two observables of tau_int = 2 and 0.9: 4 chains of 4000 draws, mean 1 and 2."""
    rng = np.random.default_rng(4)
    x, y = ar1(rng, 0.6, (4, 4000)), ar1(rng, 0.3, (4, 4000))
    return np.stack([1 + 0.3 * x, 2 + 0.3 * (x + y)], axis=-1)


def test_agreement_with_pyerrors():
    """The Gamma-method on the same chains: the mean to rounding, tau_int and the error of a ratio to 1%.

    pyerrors takes fluctuations about the mean of each chain and this package about that of all.
    """
    draws = chains()
    names = [f"run|chain{k}" for k in range(4)]
    a, b = (pyerrors.Obs(list(draws[..., k]), names) for k in range(2))
    a.gamma_method(S=2.0)
    ours = gamma_method(draws[..., 0])
    assert a.value == pytest.approx(float(ours.value), rel=1e-12)
    assert a.dvalue == pytest.approx(float(ours.error), rel=0.01)
    assert a.e_tauint["run"] == pytest.approx(float(ours.tau_int), rel=0.02)
    quotient = a / b
    quotient.gamma_method(S=2.0)
    m1, m2 = draws.mean(axis=(0, 1))
    linear = gamma_method(m1 / m2 + (draws - [m1, m2]) @ np.array([1 / m2, -m1 / m2**2]))
    assert quotient.value == pytest.approx(float(linear.value), rel=1e-12)
    assert quotient.dvalue == pytest.approx(float(linear.error), rel=0.01)


def test_agreement_with_the_gamma_method():
    """160 blocks know an error to 6%: 20% is more than three standard deviations, and the draws are fixed.

    Control: blocks of one draw ignore the autocorrelation, and fall short by half.
    """
    draws = chains()
    gamma = gamma_method(draws).error
    np.testing.assert_allclose(jackknife(draws, 160).error, gamma, rtol=0.2)
    assert (jackknife(draws, 16000).error[0] < 0.6 * gamma[0]).all()
