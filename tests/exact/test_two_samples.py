"""Hotelling's test for two samples: the textbook formula, its false-alarm rate, its power, and what it refuses."""

import numpy as np
import pytest
from scipy.special import bdtrc
from scipy.stats import ttest_ind

from nnft_mcmc._checks import InputError
from nnft_mcmc.statistics import TooFewDraws, hotelling_two_samples

MIXING = np.array([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [-0.5, 0.3, 0.4]])


def chains(rng, num_draws, phi, scale=1.0):
    """Two chains of three correlated AR(1) series, tau_int = (1 + phi)/(2 (1 - phi))."""
    noise = rng.normal(size=(2, num_draws, 3)) * np.sqrt(1 - phi**2)
    series = np.empty_like(noise)
    series[:, 0] = rng.normal(size=(2, 3))
    for k in range(1, num_draws):
        series[:, k] = phi * series[:, k - 1] + noise[:, k]
    return scale * series @ MIXING.T


def test_one_observable_is_welchs_test():
    """For K = 1 and blocks of independent draws, T^2 = t^2 and nu is Welch's."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 2000, 1)), 1.5 * rng.normal(size=(2, 500, 1)) + 0.05
    found = hotelling_two_samples(a, b)
    welch = ttest_ind(a.ravel(), b.ravel(), equal_var=False)
    assert found.dof == 1
    # the same up to the grouping into blocks
    assert found.p_value == pytest.approx(welch.pvalue, rel=0.5, abs=0.02)


@pytest.mark.parametrize(
    ("num_draws", "phi"), [((400, 400), 0.0), pytest.param((1500, 600), 0.5, marks=pytest.mark.slow)]
)
def test_false_alarms_have_their_rate(num_draws, phi):
    """200 pairs at 5%: as many rejections as found have a probability above 1e-4 if the rate is 0.06 or less."""
    rng = np.random.default_rng(1)
    p = [
        hotelling_two_samples(chains(rng, num_draws[0], phi), chains(rng, num_draws[1], phi, scale=1.7)).p_value
        for _ in range(200)
    ]
    rejected = int(np.sum(np.array(p) < 0.05))
    assert bdtrc(rejected, 200, 0.06) > 1e-4, rejected
    assert rejected > 0


def test_a_shift_is_detected_and_a_common_one_is_not():
    rng = np.random.default_rng(2)
    a, b = chains(rng, 2000, 0.5), chains(rng, 2000, 0.5)
    assert hotelling_two_samples(a, b).p_value > 1e-3
    assert hotelling_two_samples(a + 5.0, b + 5.0).p_value > 1e-3
    # Along the direction of least variance, which no single observable shows.
    weakest = np.linalg.eigh(MIXING @ MIXING.T)[1][:, 0]
    assert hotelling_two_samples(a + 0.1 * weakest, b).p_value < 1e-6


def test_linear_relations_are_dropped():
    rng = np.random.default_rng(3)
    a, b = (chains(rng, 1000, 0.0) for _ in range(2))
    with_sum = [np.concatenate([s, s.sum(axis=-1, keepdims=True)], axis=-1) for s in (a, b)]
    found, plain = hotelling_two_samples(*with_sum), hotelling_two_samples(a, b)
    assert (found.dof, found.num_dropped) == (3, 1)
    assert found.chi2 == pytest.approx(plain.chi2, rel=0.01)  # blocks follow tau_int, of one more observable here


def test_what_is_refused():
    rng = np.random.default_rng(4)
    a = chains(rng, 1000, 0.0)
    with pytest.raises(InputError, match="with the same K"):
        hotelling_two_samples(a, a[..., :2])
    broken = a.copy()
    broken[0, 3, 1] = np.nan
    with pytest.raises(InputError, match=r"Observables \[1\]"):
        hotelling_two_samples(a, broken)
    with pytest.raises(TooFewDraws, match="40 draws were given"):
        hotelling_two_samples(a, a[:, :20])
