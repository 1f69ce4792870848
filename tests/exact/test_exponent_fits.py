"""Fits of exponents: exact on power laws, honest about corrections and noise."""

import numpy as np
import pytest

from nnft_mcmc._checks import InputError
from nnft_mcmc.statistics.exponents import fit_exponent
from nnft_mcmc.statistics.extrapolation import Unsupported

N = np.array([64, 128, 256, 512, 1024])
ERROR = np.full(5, 0.02)


def test_a_power_law_is_found_exactly():
    found = fit_exponent(N, 1.5 - 0.75 * np.log2(N), ERROR)
    assert found.value == pytest.approx(-0.75, abs=1e-12)
    assert all(fit.chi2 == pytest.approx(0.0, abs=1e-18) for fit in found.fits)
    np.testing.assert_allclose(found.best(N), 1.5 - 0.75 * np.log2(N), rtol=1e-12)


def test_the_error_of_one_fit_is_that_of_weighted_least_squares():
    error = np.array([0.01, 0.02, 0.03, 0.02, 0.04])
    found = fit_exponent(N, -np.log2(N), error)
    (whole,) = (fit for fit in found.fits if fit.power == 0 and fit.smallest == 64)
    x, w = np.log2(N), error**-2
    mean = np.sum(w * x) / np.sum(w)
    assert whole.error == pytest.approx(np.sum(w * (x - mean) ** 2) ** -0.5, rel=1e-10)


def test_a_correction_is_told_from_a_slope():
    found = fit_exponent(N, -0.5 * np.log2(N) + 30.0 / N, ERROR)
    assert found.best.power == 1.0
    assert found.best.correction == pytest.approx(30.0, rel=1e-8)
    assert abs(found.value + 0.5) < 0.02
    # Control: the slope of the plain fit to all points is off by many of its errors.
    (plain,) = (fit for fit in found.fits if fit.power == 0 and fit.smallest == 64)
    assert abs(plain.slope + 0.5) > 5 * plain.error


def test_intervals_hold_the_truth():
    """3,000 samples with a correction of about one error at the smallest N: at least the nominal 68% and 95% within
    one and two errors, less three standard errors of these numbers; and within one not 95%, which would be a waste.

    By chance no fit is acceptable for a sample in 10^3 at most, as fits with fewer points or more parameters are tried.
    """
    rng, inside, refused = np.random.default_rng(1), np.zeros(2), 0
    for _ in range(3000):
        try:
            found = fit_exponent(N, -0.5 * np.log2(N) + 1.3 / N + ERROR * rng.normal(size=5), ERROR)
        except Unsupported:
            refused += 1
            continue
        inside += np.abs(found.value + 0.5) < np.array([1, 2]) * found.error
    assert 0.683 - 0.026 < inside[0] / 3000 < 0.95
    assert inside[1] / 3000 > 0.954 - 0.012
    assert refused <= 9  # of a mean of 3 at most: more by chance in 10^-3 of cases


def test_what_is_refused():
    with pytest.raises(Unsupported, match="3 different N"):
        fit_exponent(N[:3], np.zeros(3), ERROR[:3])
    with pytest.raises(Unsupported, match="no power law fits"):
        fit_exponent(N, np.array([0.0, 1.0, 0.0, 1.0, 0.0]), ERROR)
    with pytest.raises(Unsupported, match="not a number"):
        fit_exponent(N, np.full(5, np.nan), ERROR)
    with pytest.raises(InputError, match="positive powers"):
        fit_exponent(N, np.zeros(5), ERROR, corrections=(-1.0,))
