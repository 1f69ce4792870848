"""Streamed joint cumulants: unbiased by enumeration of all samples, honest errors, and the bias of the plug-in formula.

Coverage counts are held against a binomial interval with a false-alarm rate of 1e-4 per assertion, and each has a
control in which the same assertion fails.
"""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from nnft_mcmc._checks import InputError
from nnft_mcmc.statistics.k_statistics import CumulantAccumulator
from nnft_mcmc.statistics.partitions import moebius, set_partitions
from tests.statistical.consistency import assert_consistent, assert_inconsistent

FALSE_ALARM = 1e-4
TUPLES = [(0, 0), (0, 1), (0, 0, 0, 0), (0, 0, 1, 1), (0, 1, 1, 1), (0,) * 6, (0, 0, 0, 1, 1, 1), (1, 0, 1, 1, 0, 1)]
MIXING = np.array([[1.0, 0.4], [-0.5, 0.8]])
# Even cumulants of the independent sources of phi = MIXING e.
UNIFORM = {2: 1 / 3, 4: -2 / 15, 6: 16 / 63}
LAPLACE = {2: 2.0, 4: 12.0, 6: 240.0}


def mixed_cumulants(law):
    return np.array([law[len(indices)] * MIXING[list(indices)].prod(axis=0).sum() for indices in TUPLES])


def accumulated(draws, num_blocks, index_tuples=TUPLES):
    accumulator = CumulantAccumulator(index_tuples, num_blocks)
    accumulator.update(draws)
    return accumulator


def from_moments(moment, indices):
    """The cumulant of fields `indices`, moment(block) the mean of a product."""
    partitions = set_partitions(len(indices), even=True)
    return sum(moebius(pi) * math.prod(moment([indices[i] for i in block]) for block in pi) for pi in partitions)


def plug_in(draws):
    """Cumulants of sample means, draws (..., draw, point): shape (..., tuple)."""
    values = [from_moments(lambda block: draws[..., block].prod(axis=-1).mean(axis=-1), indices) for indices in TUPLES]
    return np.stack(values, axis=-1)


ATOMS = np.array([[1.0, 0.5], [-1.0, -0.5], [0.3, -1.2], [-0.3, 1.2]])
ATOM_WEIGHTS = np.array([0.2, 0.2, 0.3, 0.3])


@pytest.mark.parametrize("num_draws", [4, 5, 6])
def test_unbiased_for_every_number_of_draws(num_draws):
    """The mean over all 4^n samples of a law of four atoms, 4 blocks, equal and unequal; the plug-in formula is off."""
    truth = [from_moments(lambda block: ATOM_WEIGHTS @ ATOMS[:, block].prod(axis=1), indices) for indices in TUPLES]
    mean, biased = np.zeros(len(TUPLES)), np.zeros(len(TUPLES))
    # phi -> -phi changes no product: one of the two signs is enough.
    for chosen in itertools.product([0, 2], repeat=num_draws):
        draws = ATOMS[list(chosen)]
        probability = np.prod(2 * ATOM_WEIGHTS[list(chosen)])
        mean += probability * accumulated(draws, 4).estimate().value
        biased += probability * plug_in(draws)
    np.testing.assert_allclose(mean, truth, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(biased[:2], truth[:2], rtol=1e-10)  # there is nothing to subtract at order 2
    assert (np.abs(biased[2:] / truth[2:] - 1) > 0.05).all()


def test_products_are_averages_over_draws_of_distinct_blocks():
    """The definition, draw by draw, for 11 draws in 4 blocks."""
    draws = np.random.default_rng(1).standard_normal((11, 2))
    block_of = np.arange(11) % 4

    def distinct(factors):
        choices = [c for c in itertools.product(range(11), repeat=len(factors)) if len({*block_of[list(c)]}) == len(c)]
        return np.mean([math.prod(draws[i, f].prod() for i, f in zip(c, factors, strict=True)) for c in choices])

    expected = [
        sum(moebius(pi) * distinct([[t[i] for i in block] for block in pi]) for pi in set_partitions(len(t), even=True))
        for t in TUPLES
    ]
    np.testing.assert_allclose(accumulated(draws, 4).estimate().value, expected, rtol=1e-10)


def test_batches_and_merging_do_not_matter():
    draws = np.random.default_rng(2).standard_normal((1000, 2))
    whole = accumulated(draws, 16)
    pieces, part = CumulantAccumulator(TUPLES, 16), CumulantAccumulator(TUPLES, 16)
    for start, stop in [(0, 1), (1, 20), (20, 20), (20, 517)]:
        pieces.update(draws[start:stop])
    np.testing.assert_array_equal(pieces.counts, accumulated(draws[:517], 16).counts)
    pieces.update(draws[517:])
    np.testing.assert_allclose(pieces.sums, whole.sums, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(pieces.counts, whole.counts)

    part.update(draws[:480])  # whole turns, so that the second half starts at block 0 as well
    part.merge(accumulated(draws[480:], 16))
    np.testing.assert_allclose(part.sums, whole.sums, rtol=1e-12, atol=1e-12)
    assert part.num_draws == 1000


def test_sums_may_be_made_elsewhere():
    draws = np.random.default_rng(3).standard_normal((64, 2))
    whole, elsewhere = accumulated(draws, 8), CumulantAccumulator(TUPLES, 8)
    products = np.stack([draws[:, list(monomial)].prod(axis=1) for monomial in elsewhere.monomials], axis=1)
    elsewhere.add(products.reshape(8, 8, -1).sum(axis=0), np.full(8, 8))
    np.testing.assert_allclose(elsewhere.estimate().value, whole.estimate().value, rtol=1e-12)


def test_what_is_stored_does_not_grow():
    accumulator = CumulantAccumulator([(0, 1, 2, 3, 4, 5), (0, 1, 2, 3)], 64)
    assert len(accumulator.monomials) == 1 + 15 + 15
    accumulator.update(np.ones((3000, 6)))
    assert accumulator.sums.shape == (64, 31)
    np.testing.assert_allclose(accumulator.estimate().value, [16.0, -2.0], rtol=1e-12)  # of a fair sign phi = +-1


def replicas(source, num_replicas, num_draws, seed):
    rng = np.random.default_rng(seed)
    for _ in range(num_replicas):
        yield source(rng, (num_draws, 2)) @ MIXING.T


def uniform_source(rng, shape):
    return rng.uniform(-1.0, 1.0, shape)


def laplace_source(rng, shape):
    return rng.laplace(size=shape)


def covers(value, error, truth, dof):
    """Whether the intervals of 1 and 2 standard errors hold the truth as often as Student's t says."""
    t = np.abs((value - truth) / error)
    for bound in (1.0, 2.0):
        probability = 1 - 2 * stats.t(dof).sf(bound)
        low, high = stats.binom(t.size, probability).interval(1 - FALSE_ALARM)
        if not low <= (t < bound).sum() <= high:
            return False
    return True


def test_coverage_of_the_jackknife_error():
    """1000 runs of 2000 draws in 32 blocks: all cumulants are covered; errors 20% too small are not."""
    truth = mixed_cumulants(UNIFORM)
    estimates = [accumulated(draws, 32).estimate() for draws in replicas(uniform_source, 1000, 2000, 4)]
    value, error = np.array([e.value for e in estimates]), np.array([e.error for e in estimates])
    for k in range(len(TUPLES)):
        assert covers(value[:, k], error[:, k], truth[k], estimates[0].error_dof)
        assert not covers(value[:, k], 0.8 * error[:, k], truth[k], estimates[0].error_dof)


def test_coverage_of_a_derived_quantity():
    """Excess kurtosis kappa_4/kappa_2^2 at one point, from 500 draws."""
    truth = mixed_cumulants(UNIFORM)
    estimates = [
        accumulated(draws, 32).estimate().derived(lambda kappa: kappa[..., 2:3] / kappa[..., :1] ** 2)
        for draws in replicas(uniform_source, 1000, 500, 5)
    ]
    value, error = (np.array([getattr(e, name)[0] for e in estimates]) for name in ("value", "error"))
    assert covers(value, error, truth[2] / truth[0] ** 2, estimates[0].error_dof)
    assert not covers(value, 0.8 * error, truth[2] / truth[0] ** 2, estimates[0].error_dof)


def test_small_samples_of_a_heavy_tailed_law_are_unbiased_and_plug_in_is_not():
    """2000 samples of 10 Laplace draws; two-sided 1e-4 for the mean over samples of the cumulants of order 4."""
    order_4 = slice(2, 5)
    truth = mixed_cumulants(LAPLACE)[order_4]
    samples = np.array(list(replicas(laplace_source, 2000, 10, 6)))
    bound = stats.norm.isf(FALSE_ALARM / 2 / 3)

    def z(values):
        deviation = values[:, order_4].mean(axis=0) - truth
        return np.abs(deviation) / (values[:, order_4].std(axis=0, ddof=1) / math.sqrt(len(values)))

    assert z(np.array([accumulated(draws, 8).estimate().value for draws in samples])).max() < bound
    assert z(plug_in(samples)).max() > bound


def test_large_run_of_a_heavy_tailed_law():
    """3e6 draws in batches, all orders at once at a false-alarm rate of 1e-4, errors at most 8% (sixth order).

    Control: the cumulants of a law 1% narrower.
    """
    rng = np.random.default_rng(7)
    accumulator = CumulantAccumulator(TUPLES, 256)
    for _ in range(30):
        accumulator.update(laplace_source(rng, (100_000, 2)) @ MIXING.T)
    truth, estimate = mixed_cumulants(LAPLACE), accumulator.estimate()
    orders = np.array([len(indices) for indices in TUPLES])
    assert_consistent(estimate, truth, resolution=0.08, false_alarm=FALSE_ALARM)
    assert_inconsistent(estimate, 0.99**orders * truth, resolution=0.08, false_alarm=FALSE_ALARM)


def test_covariance_is_that_of_the_estimates():
    """Correlations over 1000 runs agree with the mean jackknife ones within 0.15 (their own errors are below 0.04)."""
    estimates = [accumulated(draws, 32).estimate() for draws in replicas(uniform_source, 1000, 1000, 8)]
    across = np.corrcoef(np.array([e.value for e in estimates]), rowvar=False)
    covariance = np.mean([e.covariance for e in estimates], axis=0)
    scale = np.sqrt(np.diag(covariance))
    assert np.abs(covariance / np.outer(scale, scale) - across).max() < 0.15
    assert np.abs(across - np.eye(len(TUPLES))).max() > 0.5


def test_non_finite_draws_are_visible_where_they_enter():
    draws = np.random.default_rng(9).standard_normal((40, 3))
    draws[7, 1] = np.inf
    estimate = accumulated(draws, 8, [(0, 0, 2, 2), (0, 1)]).estimate()
    np.testing.assert_array_equal(np.isfinite(estimate.value), [True, False])
    np.testing.assert_array_equal(np.isfinite(estimate.error), [True, False])


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="order 2, 4 and 6"):
        CumulantAccumulator([(0, 1, 2)])
    with pytest.raises(InputError, match="empty"):
        CumulantAccumulator([])
    accumulator = CumulantAccumulator([(0, 3)], 8)
    for batch in (np.ones((5, 3)), np.ones(4), np.ones((5, 4), dtype=complex)):
        with pytest.raises(InputError, match="batch has shape"):
            accumulator.update(batch)
    accumulator.update(np.ones((7, 4)))
    with pytest.raises(InputError, match="do not fill 8 blocks"):
        accumulator.estimate()
    with pytest.raises(InputError, match="same"):
        accumulator.merge(CumulantAccumulator([(0, 3)], 9))
    with pytest.raises(InputError, match="one row for each block"):
        accumulator.add(np.ones((7, 1)), np.ones(7))
