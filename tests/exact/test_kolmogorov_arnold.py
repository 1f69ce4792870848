"""The constructive Kolmogorov-Arnold representation: the inner function, disjoint images, convergence, bounds."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from nnft_mcmc._checks import InputError
from nnft_mcmc.expressivity.approximation import Hoelder
from nnft_mcmc.expressivity.kolmogorov_arnold import InnerFunction, Superposition, beta, bound, cell, superposition

BASE, TERMS = 6, 5
X = np.random.default_rng(0).uniform(0, 1, (60, 2))


def product(x, y):
    return x * y


def wave(x, y):
    return math.sin(math.pi * x) * y


def test_values_of_the_inner_function():
    psi = InnerFunction(BASE, 3)
    assert psi.value(3, 1) == Fraction(3, 6)
    assert psi.value(6 + 2, 2) == Fraction(1, 6) + Fraction(2, 6**3)
    assert psi.value(5, 2) == (Fraction(4, 6**3) + Fraction(1, 6)) / 2
    assert psi.value(5 * 6, 3) == psi.value(5, 2)  # a trailing zero changes nothing
    assert psi.value(5 * 6 + 1, 3) == psi.value(5, 2) + Fraction(1, 6 ** beta(3))
    assert psi.value(6**3, 3) == 1


@pytest.mark.parametrize("base", [6, 7])
def test_the_inner_function_is_continuous_and_strictly_increasing(base):
    """The largest step at k digits is little above half of that at k - 1 digits."""
    steps = []
    for rank in (1, 2, 3, 4):
        psi = InnerFunction(base, rank)
        values = [psi(n) for n in range(base**rank + 1)]
        rises = [b - a for a, b in itertools.pairwise(values)]
        assert min(rises) > 0
        steps.append(Fraction(max(rises), psi.unit))
    assert all(2 * fine <= coarse for coarse, fine in itertools.pairwise(steps))


class Symmetric(Superposition):
    """Mutant: lambda = 1."""

    @property
    def weights(self):
        return (self.base ** beta(self.rank),) * 2


def smallest_gap(one, q, level):
    """Between the images of two squares, in ramps."""
    number = range(one.side * one.base ** (level - 1) + 1)
    images = sorted(one.interval(q, level, i, j) for i, j in itertools.product(number, number))
    return min(b[0] - a[1] for a, b in itertools.pairwise(images)) / one.ramp(level)


@pytest.mark.parametrize(("terms", "base", "level"), [(5, 6, 1), (5, 6, 2), (7, 8, 1), (12, 13, 1)])
def test_images_of_squares_are_disjoint_with_their_ramps(terms, base, level):
    for q in (0, 2, terms - 1):
        assert smallest_gap(Superposition(product, terms, base, (level,), level + 2), q, level) > 2
    assert smallest_gap(Symmetric(product, terms, base, (level,), level + 2), 0, level) < 0


def test_each_point_is_in_the_square_of_all_but_two_families():
    one = Superposition(product, TERMS, BASE, (2,), 4)
    inside = [sum(one._square(q, 2, *n) is not None for q in range(TERMS)) for n in one.digits(X)]
    assert min(inside) == TERMS - 2
    for q, (x, y) in itertools.product(range(TERMS), one.digits(X)):
        place = one._square(q, 2, x, y)
        if place is not None:  # the image of a point is in the interval of its square
            low, high = one.interval(q, 2, *place[:2])
            assert low <= one.xi(q, x, y) <= high
            assert one._interval_at(q, 2, one.xi(q, x, y)) == place


@pytest.mark.parametrize("f", [product, wave])
def test_the_remainder_falls_in_every_iteration(f):
    one = Superposition(f, TERMS, BASE, (2, 3, 4), 6)
    errors = [np.abs(one.remainder(X, r)).max() for r in range(4)]
    assert all(after < 0.8 * before for before, after in itertools.pairwise(errors))
    assert errors[1] <= bound(TERMS, Hoelder(math.pi + 1)(cell(BASE, 2)), 1.0)
    exact = np.array([f(*(np.array(n) / (one.side * BASE**5))) for n in one.digits(X)])
    np.testing.assert_allclose(one(X), exact - one.remainder(X), atol=1e-14)


@pytest.mark.parametrize(("f", "modulus"), [(product, Hoelder(math.sqrt(2))), (wave, Hoelder(math.hypot(math.pi, 1)))])
@pytest.mark.parametrize("accuracy", [0.3, 0.05])
def test_one_iteration_with_many_terms_has_the_accuracy_asked_for(f, modulus, accuracy):
    one, guaranteed = superposition(f, modulus, 1.0, accuracy)
    assert guaranteed <= accuracy
    assert np.abs(one.remainder(X)).max() <= guaranteed
    fewer = Superposition(f, 5, 6, (1,), 2)
    assert np.abs(fewer.remainder(X)).max() > 0.1  # control: few terms do not


@pytest.mark.slow
def test_distant_levels_converge_to_a_few_percent():
    one = Superposition(product, TERMS, BASE, (2, 4, 6), 8)
    errors = [np.abs(one.remainder(X[:30], r)).max() for r in range(4)]
    assert all(after < 0.5 * before for before, after in itertools.pairwise(errors))


def test_refusals():
    with pytest.raises(InputError, match=r"^base"):
        Superposition(product, 6, 6, (1,), 3)
    with pytest.raises(InputError, match=r"^levels"):
        Superposition(product, 5, 6, (3,), 3)
    with pytest.raises(InputError, match="unit square"):
        Superposition(product, 5, 6, (1,), 3).remainder(np.array([[1.2, 0.0]]))
    with pytest.raises(InputError, match=r"^accuracy"):
        superposition(product, Hoelder(1e9), 1.0, 0.1)
