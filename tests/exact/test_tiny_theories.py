"""The oracles of the sampler tests against stored figures."""

import numpy as np
import pytest

from tests.statistical import tiny_theories

PRINTED = [
    (lambda: tiny_theories.cos_net(1.0, 0), (0.6421762453, 0.1295603543, 0.0561716463)),
    (lambda: tiny_theories.cos_net(1.0, 2), (0.6421762453, 0.1295603543, 0.0561716463)),
    (lambda: tiny_theories.gauss_net(1.0, 0), (0.7790492038, 0.1264343349, 0.0651605869)),
    (lambda: tiny_theories.gauss_net(1.0, 2), (0.7790492038, 0.1264343349, 0.0651605869)),
    (lambda: tiny_theories.scalar_net_one_neuron(1.0), (0.8895371514, 0.1745892602, 0.1140210845)),
    (lambda: tiny_theories.scalar_net_one_site(1.0, 10), (0.8782371375, 0.2477154048, 0.1630943180)),
]


@pytest.mark.parametrize(("theory", "printed"), PRINTED)
def test_oracles_give_the_published_figures(theory, printed):
    exact = theory()
    np.testing.assert_allclose([exact.ratio, *exact.moments], printed, rtol=0, atol=3e-10)


def test_widest_one_site_theory_is_the_gaussian_limit():
    g0 = np.arctan(3.0) / np.pi
    phi = np.linspace(-8, 8, 4001)
    weight = np.exp(-(phi**2) / (2 * g0) - 0.5 * phi**4)
    gaussian = weight @ phi**2 / weight.sum()
    assert gaussian == pytest.approx(0.2597757152, abs=5e-11)
    shifts = [tiny_theories.scalar_net_one_site(1.0, width).moments[0] - gaussian for width in (1000, 2000)]
    assert shifts[1] == pytest.approx(shifts[0] / 2, rel=0.01)
