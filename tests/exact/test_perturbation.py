"""Weak-coupling series: derivatives of exact answers, and first order at finite width by quadrature over a neuron."""

import functools
import math

import numpy as np
import pytest

from nnft_mcmc import (
    MLP,
    CosNet,
    Ensemble,
    InfiniteWidth,
    InputError,
    Lattice,
    LatticeModes,
    PhiPower,
    ScalarNet,
    SiteField,
    StratifiedNet,
    TorusTheory,
    exact_reference,
)
from nnft_mcmc.references import perturbative_reference
from tests.statistical import tiny_theories


def derivatives(function, step):
    """Value, slope and half curvature at 0 of a function on [0, ..), by a polynomial through eight points."""
    nodes = step * np.arange(8)
    return np.polynomial.polynomial.polyfit(nodes / step, np.array([function(x) for x in nodes]), 7)[:3] / [
        [1],
        [step],
        [step**2],
    ]


def exact_orders(ensemble_at, names, step=1e-3):
    """Orders 0, 1, 2 of exact reference values, stacked."""

    def values(coupling):
        reference = exact_reference(ensemble_at(coupling)).values
        return np.concatenate([np.atleast_1d(reference[name]) for name in names])

    return derivatives(values, step)


def series_at(ensemble_at, names, coupling):
    reference = perturbative_reference(ensemble_at(coupling)).values
    return np.concatenate([np.atleast_1d(reference[name]) for name in names])


@pytest.mark.parametrize("shape", [(1,), (5,), (3, 2)])
@pytest.mark.parametrize("architecture", [LatticeModes, SiteField])
def test_lattice_theories(shape, architecture):
    """A quadratic and a quartic insertion at once, both scaled, against the contracted torus."""
    lattice = Lattice(shape, 0.9, "torus")

    def at(coupling):
        return Ensemble(architecture(lattice, 2.5), lattice, PhiPower(4, coupling) + PhiPower(2, 0.4 * coupling))

    names = {"phi2_mid": "phi2", "phi4_mid": "phi4", "two_point": "two_point"}
    # Contracted tori err by 1e-10, which a second derivative over small steps would enlarge.
    orders = exact_orders(at, names.values(), step=6e-3)
    found = series_at(at, names, 0.01)
    np.testing.assert_allclose(found, orders[0] + 0.01 * orders[1] + 0.01**2 * orders[2], rtol=1e-6)


def test_infinite_width_in_a_box_against_the_transfer_matrix():
    lattice = Lattice((5,), 0.5)
    process = InfiniteWidth(ScalarNet(1, 4, 1.0, math.inf), lattice)

    def at(coupling):
        return Ensemble(process, lattice, PhiPower(4, coupling, "trapezoid"))

    names = ("phi2_mid", "phi4_mid", "two_point")
    orders = exact_orders(at, names)
    found = series_at(at, names, 0.02)
    np.testing.assert_allclose(found, orders[0] + 0.02 * orders[1] + 0.02**2 * orders[2], rtol=1e-6)


def test_no_dimension_by_hand():
    """exp(-phi^2/2 - lambda phi^4) expanded: all coefficients from the moments 1, 3, 15, 105, 945, 10395."""
    lattice, coupling = Lattice((1,), 1.0, "torus"), 1e-3
    found = perturbative_reference(Ensemble(SiteField(lattice, 1.0), lattice, PhiPower(4, coupling))).values
    m = {2: 1, 4: 3, 6: 15, 8: 105, 10: 945, 12: 10395}

    def order(n):
        first = -(m[n + 4] - m[n] * m[4])
        return m[n], first, m[n + 8] / 2 - m[n] * m[8] / 2 - m[4] * m[n + 4] + m[n] * m[4] ** 2

    for name, power in (("phi2_mid", 2), ("phi4_mid", 4)):
        expected = np.polynomial.polynomial.polyval(coupling, order(power))
        assert float(found[name]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("width", [1, 3])
def test_first_order_at_finite_width(width):
    """<O sum phi_z^4> - <O> <sum phi_z^4> of a cos-net, O = phi_x phi_y and phi_x^4, by quadrature over one neuron:
    cumulants of N neurons are N^(1 - n/2) times those of phi_1, the single-neuron field. For phi_x^4 also with phi_z^2.
    The order at infinite width, of second order in the coupling, is taken out of both."""
    lattice, coupling = Lattice((3,), 0.8), 1e-4
    t = lattice.axis(0)
    w, weight = np.polynomial.hermite_e.hermegauss(80)
    weight = np.repeat(weight / weight.sum(), 64) / 64
    w, b = np.repeat(w, 64), np.tile(2 * np.pi * np.arange(64) / 64, 80)
    waves = np.cos(np.outer(w, t) + b[:, None])

    @functools.cache
    def moment(*sites):
        """<w1^n> of a standard normal output weight times <prod cos>."""
        n = len(sites)
        normal = np.prod(np.arange(n - 1, 0, -2))
        return normal * (weight @ np.prod(waves[:, list(sites)], axis=1))

    def field_moment(*sites):
        """Of N independent neurons over sqrt N: a sum over partitions into even blocks, each a cumulant."""
        partitions = list(_even_partitions(list(range(len(sites)))))
        return sum(np.prod([cumulant(*(sites[i] for i in block)) for block in p]) for p in partitions)

    @functools.cache
    def cumulant(*sites):
        n, total = len(sites), 0.0
        for p in _even_partitions(list(range(n))):
            sign = (-1) ** (len(p) - 1) * math.factorial(len(p) - 1)
            total += sign * np.prod([moment(*(sites[i] for i in block)) for block in p])
        return width ** (1 - n / 2) * total

    slope = [
        -0.8 * sum(field_moment(1, y, z, z, z, z) - field_moment(1, y) * field_moment(z, z, z, z) for z in range(3))
        for y in (1, 2)
    ]
    fourth = field_moment(1, 1, 1, 1)
    slope += [
        -0.8 * sum(field_moment(1, 1, 1, 1, z, z, z, z) - fourth * field_moment(z, z, z, z) for z in range(3)),
        -0.8 * sum(field_moment(1, 1, 1, 1, z, z) - fourth * field_moment(z, z) for z in range(3)),
    ]

    def series(quartic, quadratic=0.0):
        insertion = PhiPower(4, quartic) + PhiPower(2, quadratic)
        values = perturbative_reference(Ensemble(CosNet(1, width), lattice, insertion)).values
        return np.append(values["two_point"], values["phi4_mid"])

    zero, found, half = series(1e-12), series(coupling), series(coupling / 2)
    np.testing.assert_allclose(zero[2], fourth, rtol=1e-9)
    np.testing.assert_allclose((4 * half - found - 3 * zero) / coupling, slope[:3], rtol=1e-6)
    found, half = series(1e-12, coupling)[2], series(1e-12, coupling / 2)[2]
    np.testing.assert_allclose((4 * half - found - 3 * zero[2]) / coupling, slope[3], rtol=1e-6)


def _even_partitions(items):
    """Partitions into blocks of even size."""
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for mask in range(2 ** len(rest)):
        chosen = [item for k, item in enumerate(rest) if mask >> k & 1]
        if len(chosen) % 2:
            others = [item for item in rest if item not in chosen]
            for partition in _even_partitions(others):
                yield [[first, *chosen], *partition]


def test_the_sign_and_size_of_each_diagram_matters():
    """Control: without the sunset the second order misses the exact one by far more than the tolerance above."""
    theory = TorusTheory((1,), 1.0, (0, 0, 1.5, 0, 0.01))
    without = 1 - 12 * 0.01 + (144 + 144) * 0.01**2 - 96 * 0.01**2
    assert abs(theory.moment(2) - without) > 0.005 * theory.moment(2)


def test_what_is_refused():
    with pytest.raises(InputError, match=r"free MLP, which lacks ExactCorrelators"):
        perturbative_reference(Ensemble(MLP(1, 3), Lattice((3,), 1.0), PhiPower(4, 0.1)))
    lattice = Lattice((3,), 1.0)
    with pytest.raises(InputError, match="another power was inserted"):
        perturbative_reference(Ensemble(CosNet(1, 3), lattice, PhiPower(6, 0.1)))
    large = Lattice((80, 80), 1.0, "torus")
    with pytest.raises(InputError, match="6400 sites"):
        perturbative_reference(Ensemble(SiteField(large, 1.0), large, PhiPower(4, 0.1)))


def test_remaining_differences_are_said():
    lattice = Lattice((3,), 1.0)
    found = perturbative_reference(Ensemble(CosNet(1, 7), lattice, PhiPower(4, 0.01)))
    assert "to second order at width 7" in found.description
    assert "the third is left out." in found.remains
    assert found.values.keys() == {"phi2_mid", "phi4_mid", "two_point"}


def test_where_the_second_order_is_that_of_infinite_width():
    """Networks whose neurons are not of one law, and lattices with too many pairs of sites."""
    lattice = Lattice((3,), 1.0)
    net = StratifiedNet(ScalarNet(1, 7, 1.0, math.inf))
    found = perturbative_reference(Ensemble(net, lattice, PhiPower(4, 0.01)))
    assert "first at width 7 and the second at infinite" in found.description
    assert "the third is left out, as are terms of second order in the coupling over the width" in found.remains
    large = Lattice((65,), 0.1)
    found = perturbative_reference(Ensemble(CosNet(1, 7), large, PhiPower(4, 0.01)))
    assert "the second at infinite" in found.description


def by_order(ensemble_at, step=1e-4):
    """First and second order of a reference, (2, numbers): a polynomial of second degree through three couplings."""
    rows = []
    for k in (1, 2, 3):
        values = perturbative_reference(ensemble_at(k * step)).values
        rows.append([values["phi2_mid"], values["phi4_mid"], *values["two_point"]])
    return np.polynomial.polynomial.polyfit(step * np.arange(1, 4), np.array(rows), 2)[1:]


def test_second_order_of_many_neurons_is_that_of_the_gaussian_field():
    """Up to 1/N; at N = 10 it is another, by more than a tenth."""
    lattice = Lattice((4,), 0.7)

    def orders(net):
        return by_order(lambda coupling: Ensemble(net, lattice, PhiPower(4, coupling) + PhiPower(2, coupling / 3)))[1]

    limit = orders(InfiniteWidth(CosNet(1, 1), lattice))
    np.testing.assert_allclose(orders(CosNet(1, 10**9)), limit, rtol=1e-5)
    assert (np.abs(orders(CosNet(1, 10)) / limit - 1) > 0.1).all()


@pytest.mark.parametrize("width", [1, 3])
def test_second_order_at_one_site(width):
    """From the moments of a sum of independent a cos b, neuron by neuron."""
    lattice = Lattice((1,), 0.5)
    orders = np.arange(13)
    normal = np.array([0 if n % 2 else np.prod(np.arange(n - 1, 0, -2.0)) for n in orders])
    waves = np.mean(np.cos(2 * np.pi * np.arange(64) / 64)[:, None] ** orders, axis=0)
    neuron = normal * waves / width ** (orders / 2)
    m = np.eye(13)[0]
    for _ in range(width):
        m = np.array([sum(math.comb(n, k) * m[k] * neuron[n - k] for k in range(n + 1)) for n in orders])
    found = by_order(lambda coupling: Ensemble(CosNet(1, width), lattice, PhiPower(4, coupling)))
    s4, s8, weight = m[4], m[8], 0.5
    expected = [weight**2 / 2 * (m[n + 8] - m[n] * s8 - 2 * s4 * m[n + 4] + 2 * m[n] * s4**2) for n in (2, 4)]
    np.testing.assert_allclose(found[1, :2], expected, rtol=1e-5)


def test_one_neuron_with_an_interaction():
    """Slopes and half curvatures of <phi^2> and <phi^4> at coupling 0, integrated over the network's parameters."""
    lattice = Lattice((3,), 1.0)
    found = by_order(lambda coupling: Ensemble(CosNet(1, 1), lattice, PhiPower(4, coupling)))[:, :2]
    slope, half_curvature = derivatives(lambda coupling: tiny_theories.cos_net(coupling, 1).moments, 1e-4)[1:]
    np.testing.assert_allclose(found[0], slope, rtol=2e-5)
    np.testing.assert_allclose(found[1], half_curvature, rtol=1e-3)
