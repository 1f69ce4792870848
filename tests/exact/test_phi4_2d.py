"""The resummed mass of the two-dimensional theory: its series, published values, and what it does not claim."""

import math

import numpy as np
import pytest

from nnft_mcmc._checks import InputError
from nnft_mcmc.exact.phi4_2d import COEFFICIENTS, mass_ratio


@pytest.mark.parametrize(("g", "mass"), [(0.2, 0.9797), (0.6, 0.8817)])
def test_published_masses(g, mass):
    """Hamiltonian truncation and Borel resummation agree to these digits."""
    value, spread = mass_ratio(g)
    assert abs(value - mass) < 2e-4
    assert spread < 1e-3


def test_weak_coupling_is_the_series():
    """At g = 0.02 what is left out after g^4 is below 1e-6; without the g^3 term the difference is 16 times that."""
    g = 0.02
    value, spread = mass_ratio(g)
    series = np.polyval(COEFFICIENTS[4::-1], g)
    assert abs(value - math.sqrt(series)) < 5e-7
    assert spread < 1e-7
    assert abs(value - math.sqrt(series - COEFFICIENTS[3] * g**3)) > 1e-5


def test_no_interaction_is_no_shift():
    assert mass_ratio(0.0) == pytest.approx((1.0, 0.0), abs=1e-12)


def test_strong_coupling_is_refused():
    with pytest.raises(InputError, match=r"up to g = 1\.2"):
        mass_ratio(2.0)
