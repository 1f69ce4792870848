"""Constructions with a bound: bumps in one dimension, ridges of sigmoids in two, their lemmas and what they refuse."""

import math

import numpy as np
import pytest

from nnft_mcmc import InputError
from nnft_mcmc.expressivity.approximation import Hoelder
from nnft_mcmc.expressivity.bumps import bound_of, bumps, width_within
from nnft_mcmc.expressivity.nodes import grid
from nnft_mcmc.expressivity.ridges import (
    ETA,
    degree_of_width,
    fejer_korovkin,
    jackson_coefficients,
    reach_of,
    ridges,
    ridges_within,
    width_of,
)
from nnft_mcmc.expressivity.targets import target

WIDTHS = (1, 2, 3, 5, 8, 13, 20, 32, 50, 80)
PER_CELL = 1500


def certified_sup(built, of):
    """An upper bound of the sup-norm: the largest error on a grid, and what f and phi can do between its points."""
    width, length = built.width, of.upper[0] - of.lower[0]
    x = grid(of.lower, of.upper, PER_CELL * width + 1)
    half_step = length / (2 * PER_CELL * width)
    # phi' = s sum_k a_k sigma'(s (x - t_k)), and the slopes of all sigmoids but the nearest are below 0.02 together.
    steepest = float(np.abs(built.theta["amplitudes"][1:]).max(initial=0.0))
    slope = 0.27 * float(built.theta["weights"].max()) * steepest
    return np.abs(built(x) - of.f(x)).max(), of.modulus(half_step) + slope * half_step


@pytest.mark.parametrize("name", ["sin", "runge", "sqrt_abs"])
def test_bumps_keep_their_bound_at_ten_widths(name):
    of = target(name)
    for width in WIDTHS:
        built = bumps(of.f, (of.lower[0], of.upper[0]), of.modulus, width)
        on_grid, between = certified_sup(built, of)
        assert on_grid + between <= built.bound + built.rounding, width
        assert built.network.width == built.width == width


def line(x):
    return x[:, 0]


def test_what_finite_steepness_costs():
    """At the end of the interval f(x) = x is missed by more than the w(h/2) of steps: s has its place in the bound."""
    for sharpness in (1.0, 4.0):
        built = bumps(line, (0.0, 1.0), Hoelder(1.0), 50, sharpness)
        error = float(built(np.zeros((1, 1)))[0])
        tails = 1 / (1 + np.exp(sharpness * np.arange(1, 50)))  # edges at h, 2 h, ..
        np.testing.assert_allclose(error, 0.01 + 0.02 * tails.sum(), rtol=1e-12)
        assert 0.01 < error <= built.bound


def test_the_smallest_width_for_an_epsilon():
    of = target("sqrt_abs")
    interval = (of.lower[0], of.upper[0])
    width = width_within(interval, of.modulus, 0.1)
    length = interval[1] - interval[0]
    assert bound_of(of.modulus, length / width) <= 0.1 < bound_of(of.modulus, length / (width - 1))
    assert bumps(of.f, interval, of.modulus, width).bound <= 0.1
    assert width_within((0.0, 1.0), Hoelder(1.0), 2.0) == 1


def test_any_concave_modulus():
    """x ln x has the modulus r (1 - ln r) on [0, 1]; no Lipschitz constant."""

    def entropy(x):
        return -x[:, 0] * np.log(np.maximum(x[:, 0], 1e-300))

    built = bumps(entropy, (0.0, 1.0), lambda r: r * (1 - math.log(r)), 40)
    x = np.linspace(0, 1, 20_001)[:, None]
    assert np.abs(built(x) - entropy(x)).max() <= built.bound < 0.08


def test_towers_leave_holes():
    """Two hidden layers of sigmoids, a tower over each cell of the square and f = 1: nothing at a corner of cells."""
    edges = np.linspace(-1, 1, 9)

    def sigma(z):
        return 1 / (1 + np.exp(-np.clip(z, -500, 500)))

    def sum_of_towers(x, y, steepness):
        steps_x, steps_y = (np.append(np.append(1.0, sigma(steepness * (u - edges[1:-1]))), 0.0) for u in (x, y))
        bumps_x, bumps_y = -np.diff(steps_x), -np.diff(steps_y)
        return sigma(40 * (bumps_x[:, None] + bumps_y - 1.5)).sum()

    for steepness in (1e2, 1e4):
        np.testing.assert_allclose(sum_of_towers(0.1, 0.1, steepness), 1.0, atol=1e-6)
        assert sum_of_towers(0.25, 0.25, steepness) < 1e-6


def test_the_kernel_of_fejer_and_korovkin():
    for degree in (1, 2, 7):
        rho = fejer_korovkin(degree)
        np.testing.assert_allclose(rho[:2], [1.0, math.cos(math.pi / (degree + 2))], rtol=1e-14)
        u = np.linspace(-math.pi, math.pi, 4001)
        kernel = rho[0] + 2 * np.cos(np.outer(u, np.arange(1, degree + 1))) @ rho[1:]
        assert kernel.min() > -1e-12


def trigonometric(coefficients, of, x):
    u = math.pi * (x - np.array(of.lower)) / (np.array(of.upper) - np.array(of.lower))
    k = np.arange(len(coefficients))
    return np.einsum("kl,pk,pl->p", coefficients, np.cos(u[:, :1] * k), np.cos(u[:, 1:] * k))


def ridge_target(name):
    return target(name, [-1.0, -0.5], [1.0, 1.0]) if name == "norm" else target(name)


@pytest.mark.parametrize("name", ["norm", "product", "exp_sin"])
def test_ridges_keep_their_bound(name):
    of = ridge_target(name)
    sides = np.array(of.upper) - np.array(of.lower)
    x = grid(of.lower, of.upper, 61)
    for degree in (1, 2, 3, 6):
        built = ridges(of.f, of.lower, of.upper, of.modulus, degree)
        coefficients = jackson_coefficients(of.f, np.array(of.lower), sides, degree)
        small = ETA * np.abs(coefficients).sum()
        np.testing.assert_allclose(built(x), trigonometric(coefficients, of, x), rtol=0, atol=small + built.rounding)
        k = math.pi * np.arange(degree + 1)
        slope = np.sum(np.abs(coefficients) * np.hypot(k[:, None] / sides[0], k / sides[1]))
        half_step = float(np.linalg.norm(sides)) / 120
        sup = np.abs(built(x) - of.f(x)).max() + of.modulus(half_step) + slope * half_step + 2 * small
        assert sup <= built.bound, degree
        assert built.width == width_of(degree, 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["norm", "product", "exp_sin"])
def test_ridges_keep_their_bound_at_ten_degrees(name):
    of = ridge_target(name)
    x = grid(of.lower, of.upper, 41)
    for degree in range(1, 11):
        built = ridges(of.f, of.lower, of.upper, of.modulus, degree)
        assert np.abs(built(x) - of.f(x)).max() <= built.bound


def test_samples_of_a_trigonometric_polynomial_are_enough():
    """The mean distance of the Jackson mean, exact: f = cos u becomes rho_1 cos u, at every degree."""
    coefficients = jackson_coefficients(lambda x: np.cos(x[:, 0]), np.zeros(1), np.array([math.pi]), 6)
    expected = np.zeros(7)
    expected[1] = math.cos(math.pi / 8)
    np.testing.assert_allclose(coefficients, expected, atol=1e-14)


def test_degrees_for_a_width_and_for_an_epsilon():
    assert width_of(degree_of_width(2000, 2), 2) <= 2000 < width_of(degree_of_width(2000, 2) + 1, 2)
    of = target("product")
    built = ridges_within(of.f, of.lower, of.upper, of.modulus, 1.2)
    sides = np.array(of.upper) - np.array(of.lower)
    assert of.modulus(reach_of(sides, 3)) > 1.2 >= built.bound
    assert built.width == width_of(4, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bumps(line, (0.0, 1.0), Hoelder(0.5), 9), "give a larger constant"),
        (lambda: bumps(line, (0.0, 1.0), lambda r: r**2, 9), "must be concave"),
        (lambda: bumps(line, (0.0, 1.0), lambda r: -r, 9), "not decreasing"),
        (lambda: bumps(line, (1.0, 0.0), Hoelder(1.0), 9), "a must be below b"),
        (lambda: bumps(line, (0.0, 1.0), Hoelder(1.0), 0), "width is 0"),
        (lambda: bumps(lambda x: x, (0.0, 1.0), Hoelder(1.0), 9), "one finite number for each point"),
        (lambda: width_within((0.0, 1.0), Hoelder(1.0), 1e-9), "ask for a larger epsilon"),
        (lambda: Hoelder(1.0, 1.5), "must be at most 1"),
        (lambda: ridges(line, [0.0], [1.0, 1.0], Hoelder(1.0), 2), "corners of one box"),
        (lambda: ridges_within(line, [0.0], [1.0], Hoelder(1.0), 1e-3), "ask for a larger epsilon"),
        (lambda: degree_of_width(50, 2), "takes 155 neurons"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(InputError, match=message):
        call()
