"""Limits by weighted fits: exact on exact data, against numpy's polynomial fits, and with honest errors."""

import numpy as np
import pytest
from scipy.stats import binom

from nnft_mcmc.statistics.extrapolation import Unsupported, extrapolate

X = 1 / np.array([10.0, 20.0, 40.0, 80.0, 160.0])


def test_exact_polynomials_are_recovered():
    """c_0 + c_1 x + c_2 x^2, and other powers, whose first alone does not fit."""
    for powers in ((1.0, 2.0), (3.0, 4.0), (0.5, 1.5)):
        y = 0.3 - 0.4 * X ** powers[0] + 2.0 * X ** powers[1]
        limit = extrapolate(X, y, np.full(len(X), 1e-9), powers)
        assert limit.best.powers == powers
        assert abs(limit.value - 0.3) < 4 * limit.error < 1e-7
        bias, error = limit.bias(X)
        np.testing.assert_allclose(bias, y - 0.3, rtol=0, atol=1e-7)
        assert (error < 1e-7).all()


def test_one_fit_is_numpys():
    """The fit of all points by one power: values, covariance and chi^2 of numpy.polyfit with weights 1/error."""
    rng = np.random.default_rng(0)
    error = np.array([1.0, 2.0, 1.5, 1.0, 3.0]) * 1e-3
    y = 0.3 - 0.4 * X + error * rng.standard_normal(5)
    fit = next(f for f in extrapolate(X, y, error, (1.0,)).fits if f.dof == 3)
    coefficients, covariance = np.polyfit(X, y, 1, w=1 / error, cov="unscaled")
    np.testing.assert_allclose(fit.coefficients, coefficients[::-1], rtol=1e-10)
    np.testing.assert_allclose(fit.covariance, covariance[::-1, ::-1], rtol=1e-10)
    chi2 = np.sum(((y - np.polyval(coefficients, X)) / error) ** 2)
    np.testing.assert_allclose(fit.chi2, chi2, rtol=1e-10)


def test_weights_are_those_of_the_criterion():
    """w_i/w_j = exp[(AIC_j - AIC_i)/2] with one unit of AIC for each half of a parameter and of a point left out."""
    y = 0.3 - 0.4 * X + 1e-3 * np.array([1.0, -1.0, 0.5, 0.0, -0.3])
    fits = extrapolate(X, y, np.full(5, 1e-3)).fits
    assert abs(sum(f.weight for f in fits) - 1) < 1e-12
    criteria = [f.chi2 + 2 * (len(f.powers) + 1) + 2 * (5 - f.dof - len(f.powers) - 1) for f in fits]
    weights = np.exp(-np.array(criteria) / 2)
    np.testing.assert_allclose([f.weight for f in fits], weights / weights.sum(), rtol=1e-10)
    assert [f.weight for f in fits] == sorted((f.weight for f in fits), reverse=True)


def test_errors_cover_the_limit():
    """Of 400 data sets 68% or more have the limit within one error, and 95% within two, up to 1e-4 of chance.

    Control: the finest point by itself, whose bias is three of its errors, has it far less often.
    """
    rng, error, refused = np.random.default_rng(1), np.full(5, 2e-3), 0
    truth = 0.3 + 1.0 * X - 1.0 * X**2
    inside, alone = np.zeros(2, dtype=int), 0
    for _ in range(400):
        y = truth + error * rng.standard_normal(5)
        try:
            limit = extrapolate(X, y, error)
        except Unsupported:
            refused += 1
            continue
        z = abs(limit.value - 0.3) / limit.error
        inside += z < np.array([1.0, 2.0])
        alone += abs(y[-1] - 0.3) < 2 * error[-1]
    assert refused <= binom.isf(1e-4, 400, 0.01)
    assert inside[0] >= binom.ppf(1e-4, 400 - refused, 0.683)
    assert inside[1] >= binom.ppf(1e-4, 400 - refused, 0.954)
    assert alone < 200


@pytest.mark.parametrize(
    ("x", "y", "powers", "complaint"),
    [
        ([0.1, 0.1, 0.05], [1.0, 1.0, 1.0], (1.0,), "2 different x"),
        ([0.1, 0.09, 0.08], [1.0, 1.0, 1.0], (1.0,), "farther from the points"),
        (X, [1.0, 2.0, 1.0, 2.0, 1.0], (1.0, 2.0), "no sum of the powers 1, 2"),
        (X, [1.0, np.nan, 1.0, 1.0, 1.0], (1.0,), "not a number"),
    ],
)
def test_what_cannot_be_extrapolated(x, y, powers, complaint):
    with pytest.raises(Unsupported, match=complaint):
        extrapolate(x, y, np.full(len(x), 1e-3), powers)
