"""Free propagators against closed forms and scipy's adaptive quadrature."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import j1, jv, kn

from nnft_mcmc import _checks
from nnft_mcmc.exact import propagators
from nnft_mcmc.exact.propagators import ball_transform, ball_volume, matern

DIMS = (1, 2, 3, 4)


def free(mass):
    return lambda p: 1 / (p**2 + mass**2)


def free_at_zero(dim, mass, cutoff):
    """G_L(0) in closed form."""
    ratio = cutoff / mass
    return {
        1: math.atan(ratio) / (math.pi * mass),
        2: math.log1p(ratio**2) / (4 * math.pi),
        3: (cutoff - mass * math.atan(ratio)) / (2 * math.pi**2),
        4: (cutoff**2 - mass**2 * math.log1p(ratio**2)) / (16 * math.pi**2),
    }[dim]


PRINTED = {1: (0.4371670418, 0.1728844348), 2: (0.2592710845, 0.0597273261), 3: (0.1837256634, 0.0281592085)}


@pytest.mark.parametrize("dim", PRINTED)
def test_ball_transform_gives_the_published_figures(dim):
    values = ball_transform([0.0, 1.0], dim, 5.0, free(1.0))
    np.testing.assert_allclose(values, PRINTED[dim], rtol=0, atol=5e-11)


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize(("mass", "cutoff"), [(1.0, 5.0), (1.0, 1e4), (1e-4, 10.0), (50.0, 2.0)])
def test_ball_transform_at_zero_is_closed_form_for_every_ratio_of_scales(dim, mass, cutoff):
    # For cutoff << mass the closed form of d >= 2 cancels: rounding of its two terms sets the tolerance there.
    tolerance = 1e-12 if cutoff > mass else 1e-9
    value = ball_transform(0.0, dim, cutoff, free(mass))
    np.testing.assert_allclose(value, free_at_zero(dim, mass, cutoff), rtol=tolerance)


@pytest.mark.parametrize("dim", DIMS)
def test_constant_spectrum_gives_the_indicator_of_the_ball_up_to_many_oscillations(dim):
    r = np.concatenate([np.linspace(0.1, 50.0, 40), np.linspace(100.0, 1e4, 60)])
    closed = {
        1: np.sin(r) / (math.pi * r),
        2: j1(r) / (2 * math.pi * r),
        3: (np.sin(r) - r * np.cos(r)) / (2 * math.pi**2 * r**3),
        4: jv(2, r) / (4 * math.pi**2 * r**2),
    }[dim]
    at_zero = ball_volume(dim, 1.0) / (2 * math.pi) ** dim
    assert np.abs(ball_transform(r, dim, 1.0, np.ones_like) - closed).max() < 1e-12 * at_zero


@pytest.mark.parametrize("dim", DIMS)
def test_gaussian_spectrum_far_below_the_cutoff(dim):
    r, width = np.linspace(0.0, 8.0, 30), 0.7
    values = ball_transform(r, dim, 40.0, lambda p: np.exp(-(p**2) / (2 * width**2)))
    exact = (width**2 / (2 * math.pi)) ** (dim / 2) * np.exp(-(width**2) * r**2 / 2)
    np.testing.assert_allclose(values, exact, rtol=0, atol=1e-13 * exact[0])


def test_one_and_three_dimensions_against_adaptive_quadrature():
    mass, cutoff, r = 0.3, 20.0, 2.7
    line = quad(free(mass), 0, cutoff, weight="cos", wvar=r, epsabs=1e-14, epsrel=1e-13)[0] / math.pi
    space = quad(lambda p: p / (p**2 + mass**2), 0, cutoff, weight="sin", wvar=r, epsabs=1e-14)[0] / (
        2 * math.pi**2 * r
    )
    np.testing.assert_allclose(ball_transform(r, 1, cutoff, free(mass)), line, rtol=1e-11)
    np.testing.assert_allclose(ball_transform(r, 3, cutoff, free(mass)), space, rtol=1e-10)


@pytest.mark.parametrize("dim", DIMS)
def test_matern_is_the_ball_transform_without_cutoff(dim):
    mass, power = 0.8, 7.0  # the tail beyond p = 1e3 is below 1e-30
    r = np.array([0.0, 1e-6, 0.3, 1.0, 4.0])
    ball = ball_transform(r, dim, 1e3, lambda p: (p**2 + mass**2) ** -power)
    np.testing.assert_allclose(matern(r, mass, dim, power), ball, rtol=1e-11)


def test_matern_closed_forms_of_the_free_scalar():
    r, mass = np.array([1e-3, 0.5, 2.0, 30.0]), 1.3
    np.testing.assert_allclose(matern(-r, mass, 1, 1), np.exp(-mass * r) / (2 * mass), rtol=1e-13)
    np.testing.assert_allclose(matern(r, mass, 2, 1), kn(0, mass * r) / (2 * math.pi), rtol=1e-13)
    np.testing.assert_allclose(matern(r, mass, 3, 1), np.exp(-mass * r) / (4 * math.pi * r), rtol=1e-13)
    np.testing.assert_allclose(matern(r, mass, 1, 2), (1 + mass * r) * np.exp(-mass * r) / (4 * mass**3), rtol=1e-13)


def test_matern_at_zero_and_at_the_ends_of_the_number_line():
    assert matern(0.0, 2.0, 1, 1) == pytest.approx(0.25, rel=1e-15)
    assert matern(0.0, 2.0, 3, 2.5) == pytest.approx(
        math.gamma(1) / (4 * math.pi) ** 1.5 / math.gamma(2.5) / 4, rel=1e-14
    )
    assert np.all(np.isinf([matern(0.0, 1.0, 2, 1), matern(0.0, 1.0, 3, 1)]))
    np.testing.assert_array_equal(matern([1e4, 1e12, 1e300], 1.0, 2, 1.7), 0.0)
    assert matern(1e-300, 1.0, 1, 3.0) == matern(0.0, 1.0, 1, 3.0)


def test_shapes_signs_and_chunks(monkeypatch):
    r = np.random.default_rng(0).uniform(-3, 3, (4, 5))
    whole = ball_transform(r, 2, 6.0, free(1.0))
    monkeypatch.setattr(propagators, "_CHUNK", 3)
    np.testing.assert_allclose(ball_transform(np.abs(r), 2, 6.0, free(1.0)), whole, rtol=1e-13, atol=1e-15)
    assert whole.shape == matern(r, 1.0, 2, 1).shape == (4, 5)
    assert ball_transform(0.3, 2, 6.0, free(1.0)).shape == ()


def test_ball_volume():
    np.testing.assert_allclose([ball_volume(d, 2.0) for d in DIMS], [4, 4 * math.pi, 32 * math.pi / 3, 8 * math.pi**2])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: matern(1.0, 0.0, 1, 1), "mass is 0.0; it must be positive"),
        (lambda: matern(1.0, 1.0, 1, -1), "power is -1; it must be positive"),
        (lambda: matern([1.0, np.nan], 1.0, 1, 1), "not finite"),
        (lambda: ball_transform(1.0, 5, 1.0, free(1.0)), "dim is 5; .* at most 4"),
        (lambda: ball_transform(1.0, 1, math.inf, free(1.0)), "cutoff is inf"),
        (lambda: ball_transform(1.0, 1, 1.0, lambda p: 1.0), "spectrum returned shape"),
        (lambda: ball_transform(1.0, 1, 1.0, lambda p: p * np.nan), "non-finite values"),
        (lambda: ball_volume(0, 1.0), "dim is 0"),
    ],
)
def test_bad_input_is_refused_in_words(call, words):
    with pytest.raises(_checks.InputError, match=words):
        call()
