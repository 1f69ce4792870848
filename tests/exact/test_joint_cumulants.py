"""Cumulants of draws with a mean: against the classical k-statistics, and their errors against known spreads."""

import numpy as np
import pytest
from scipy.stats import kstat, kstatvar

from nnft_mcmc import InputError
from nnft_mcmc.statistics.joint_cumulants import joint_cumulants

DRAWS = np.random.default_rng(4).gamma(3.0, size=(2000, 2)) + 50.0


def test_of_one_column_they_are_the_k_statistics():
    found = joint_cumulants(DRAWS, [(0,) * order for order in (1, 2, 3, 4)])
    expected = np.array([kstat(DRAWS[:, 0], order) for order in (1, 2, 3, 4)])
    assert found.value[0] == pytest.approx(expected[0], rel=1e-12)
    # Both take off the bias of order 1/n, one exactly and one from the spread of the blocks.
    assert (np.abs(found.value - expected) < 0.03 * found.error).all()
    spread = np.sqrt([kstatvar(DRAWS[:, 0], order) for order in (1, 2)])
    np.testing.assert_allclose(found.error[:2], spread, rtol=0.3)


def test_of_two_columns_they_are_the_covariance():
    mixed = DRAWS @ np.array([[1.0, 0.4], [0.0, 1.0]])
    found = joint_cumulants(mixed, [(0, 0), (0, 1), (1, 0), (1, 1), (0, 0, 1, 1)])
    assert (np.abs(found.value[:4] - np.cov(mixed.T).ravel()) < 0.01 * found.error[:4]).all()
    assert found.value[1] == found.value[2]


def test_a_function_of_cumulants_loses_its_bias():
    """Of 64 draws the root of the variance is low by 3/4n = 1.2% without the jackknife, 5 errors of 1500 runs."""
    rng = np.random.default_rng(2)
    found = [joint_cumulants(rng.normal(size=(64, 1)), [(0, 0)], np.sqrt) for _ in range(1500)]
    values = np.array([e.value[0] for e in found])
    assert abs(values.mean() - 1) < 3 * values.std() / np.sqrt(len(values))
    assert np.mean([e.error[0] for e in found]) == pytest.approx(values.std(), rel=0.06)


def test_a_shift_changes_the_mean_alone():
    tuples = [(0,), (0, 1), (0, 0, 1), (0, 0, 1, 1)]
    one, other = joint_cumulants(DRAWS, tuples), joint_cumulants(DRAWS + 1e3, tuples)
    np.testing.assert_allclose(other.value - one.value, [1e3, 0, 0, 0], atol=1e-8)
    np.testing.assert_allclose(other.error, one.error, rtol=1e-8)


def test_the_errors_hold_the_truth():
    """Gamma(3) has kappa_r = 3 (r-1)!; of 300 runs, those within 2 errors of the fourth are near 95%."""
    rng = np.random.default_rng(9)
    truth = np.array([3.0, 3.0, 6.0])
    z = []
    for _ in range(300):
        found = joint_cumulants(rng.gamma(3.0, size=(512, 1)), [(0,), (0, 0), (0, 0, 0)])
        z.append((found.value - truth) / found.error)
    inside = (np.abs(z) < 2).mean(axis=0)
    # The third cumulant of 512 draws has a skew error bar.
    assert (inside > [0.92, 0.91, 0.80]).all()
    assert (np.abs(np.mean(z, axis=0)[:2]) < 0.3).all()


def test_what_is_asked_for_must_exist():
    with pytest.raises(InputError, match="columns from 0 to 1"):
        joint_cumulants(DRAWS, [(0, 2)])
    with pytest.raises(InputError, match="8 draws or more"):
        joint_cumulants(DRAWS[:3], [(0,)])
