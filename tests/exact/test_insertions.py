"""Insertions against explicit sums over the sites, Wick powers against Hermite polynomials."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermegauss, hermeval

from nnft_mcmc._checks import InputError
from nnft_mcmc.architectures import Architecture, CosNet, GaussNet, ScalarNet
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.insertions import REGISTRY, LatticePhi4, PhiPower, Polynomial, Source, WickPower
from nnft_mcmc.lattice import Lattice

LATTICES = [Lattice((7,), 0.4), Lattice((3, 4), 0.5), Lattice((2, 3, 2), 0.7)]
QUADRATURES = ("riemann", "trapezoid")


def net_on(lattice):
    return ScalarNet(lattice.dim, 3, 1.0, 4.0)


def random_field(lattice, seed=0):
    return np.random.default_rng(seed).normal(size=lattice.shape)


def explicit(lattice, quadrature, potential, field):
    """sum_x weight(x) V(phi(x)), one site after the other."""
    weights = lattice.quadrature_weights(quadrature)
    return sum(weights[x] * potential(field[x], x) for x in np.ndindex(lattice.shape))


def assert_is_sum(insertion, lattice, potential, quadrature):
    field = random_field(lattice)
    action = insertion.on(net_on(lattice), lattice)
    expected = explicit(lattice, quadrature, potential, field)
    assert float(action(jnp.asarray(field))) == pytest.approx(expected, rel=1e-13)
    assert float(action.per_site(jnp.asarray(field)).sum()) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("quadrature", QUADRATURES)
def test_every_insertion_is_its_sum(lattice, quadrature):
    for degree in (1, 2, 3, 4, 6):
        power = PhiPower(degree, 0.3, quadrature)
        assert_is_sum(power, lattice, lambda phi, x, degree=degree: 0.3 * phi**degree, quadrature)
    polynomial = Polynomial([0.5, -1.0, 0.0, 0.2, 0.7], quadrature)
    assert_is_sum(polynomial, lattice, lambda phi, x: 0.5 - phi + 0.2 * phi**3 + 0.7 * phi**4, quadrature)
    assert_is_sum(Source(1.3, quadrature), lattice, lambda phi, x: -1.3 * phi, quadrature)
    strength = random_field(lattice, seed=1)
    assert_is_sum(Source(strength.tolist(), quadrature), lattice, lambda phi, x: -strength[x] * phi, quadrature)


@pytest.mark.parametrize("lattice", LATTICES)
def test_sums_of_insertions_add_their_actions(lattice):
    a, b, c = PhiPower(4, 0.3, "trapezoid"), Source(0.7), Polynomial([0.1, 0.0, -0.4])
    field = jnp.asarray(random_field(lattice))
    parts = [float(term.on(net_on(lattice), lattice)(field)) for term in (a, b, c)]
    for total in (a + b + c, a + (b + c), c + b + a):
        assert float(total.on(net_on(lattice), lattice)(field)) == pytest.approx(sum(parts), rel=1e-13)


@pytest.mark.parametrize("lattice", LATTICES)
def test_force_is_the_gradient_of_the_action(lattice):
    field = jnp.asarray(random_field(lattice))
    for insertion in (PhiPower(4, 0.3, "trapezoid") + Source(0.7), WickPower(6, 0.2), Polynomial([1.0]), Source(1.0)):
        action = insertion.on(net_on(lattice), lattice)
        np.testing.assert_allclose(action.force(field), jax.grad(action)(field), rtol=1e-12, atol=1e-14)
        _, second = jax.jvp(jax.grad(action), (field,), (jnp.ones_like(field),))
        np.testing.assert_allclose(action.curvature(field), second, rtol=1e-12, atol=1e-13)


def test_degree_and_leading_coefficients_by_site():
    lattice = Lattice((3,), 1.0)
    action = (PhiPower(2, 0.5) + Source([0.0, 2.0, 0.0])).on(net_on(lattice), lattice)
    assert action.degree == 2
    assert not action.is_free
    source = Source([0.0, 2.0, 0.0]).on(net_on(lattice), lattice)
    np.testing.assert_array_equal(source.leading()[0], [0, 1, 0])
    np.testing.assert_array_equal(source.leading()[1], [0.0, -2.0, 0.0])
    assert PhiPower(4, 0.0).on(net_on(lattice), lattice).is_free
    assert Ensemble(net_on(lattice), lattice).local_action.degree == 0


# Wick powers.

WICK_NETS = [CosNet(1, 3, 1.0, 0.8), GaussNet(1, 3, 1.0, 0.4, 1.3), ScalarNet(1, 3, 0.7, 5.0, -1.0)]


def wick_power(net, degree, phi, coupling=0.6):
    """coupling :phi^degree: on a lattice of one site of weight 1."""
    action = WickPower(degree, coupling).on(net, Lattice((1,), 1.0))
    return np.asarray(jax.vmap(lambda phi: action(phi[None]))(jnp.asarray(phi)))


@pytest.mark.parametrize("net", WICK_NETS)
@pytest.mark.parametrize("degree", range(1, 9))
def test_wick_power_is_a_hermite_polynomial_of_the_ensembles_own_variance(net, degree):
    """:phi^n: = G^(n/2) He_n(phi/sqrt(G)); its mean and its overlap with lower powers vanish in the Gaussian theory."""
    g = float(net.two_point([0.0], [0.0]))
    phi = np.linspace(-3, 3, 41)
    hermite = g ** (degree / 2) * hermeval(phi / math.sqrt(g), np.eye(degree + 1)[degree])
    np.testing.assert_allclose(wick_power(net, degree, phi), 0.6 * hermite, rtol=1e-11, atol=1e-11)
    z, weights = hermegauss(20)
    weights /= weights.sum()
    phi = math.sqrt(g) * z
    for lower in range(degree):
        assert abs(weights @ (wick_power(net, degree, phi) * phi**lower)) < 1e-10


def test_wick_ordered_quartic_is_written_out():
    net, phi = WICK_NETS[2], np.linspace(-2, 2, 9)
    g = math.atan(5.0 / 0.7) / (math.pi * 0.7)
    expected = 0.6 * (phi**4 - 6 * g * phi**2 + 3 * g**2)
    np.testing.assert_allclose(wick_power(net, 4, phi), expected, rtol=1e-12, atol=1e-12)


# Refusals.


class Shapeless(Architecture):
    """An architecture without exact correlators."""

    dim: int = 1

    def prior(self):
        return {}

    def forward(self, theta, x):
        return jnp.sum(x)


def on_a_line(net, insertion, sites=3):
    return Ensemble(net, Lattice((sites,), 0.5), insertion)


COS, GAUSS = CosNet(1, 2), GaussNet(1, 2)
REFUSALS = [
    (lambda: PhiPower(0, 1.0), "phi_power.degree is 0"),
    (lambda: PhiPower(17, 1.0), "phi_power.degree is 17"),
    (lambda: PhiPower(2.5, 1.0), "phi_power.degree is 2.5"),
    (lambda: PhiPower(4, math.nan), "phi_power.coupling is nan"),
    (lambda: PhiPower(4, "0.5"), "phi_power.coupling is '0.5'"),
    (lambda: PhiPower(4, 1.0, "trapezium"), "phi_power.quadrature is 'trapezium'"),
    (lambda: WickPower(0, 1.0), "wick_power.degree is 0"),
    (lambda: Polynomial([]), "polynomial.coefficients is []"),
    (lambda: Polynomial(3.0), "polynomial.coefficients is 3.0"),
    (lambda: Polynomial([1.0, math.inf]), "polynomial.coefficients is inf"),
    (lambda: Polynomial([1.0], "simpson"), "polynomial.quadrature is 'simpson'"),
    (lambda: Source("strong"), "source.strength is 'strong'"),
    (lambda: Source([1.0, math.nan]), "source.strength is [1.0, nan]"),
    (lambda: Source([[1.0], [2.0, 3.0]]), "source.strength is [[1.0], [2.0, 3.0]]"),
    (lambda: on_a_line(COS, Source([1.0, 2.0])), "source.strength has shape [2]"),
    (lambda: on_a_line(COS, PhiPower(4, 1.0, "trapezoid"), sites=1), "quadrature is 'trapezoid'"),
    (lambda: on_a_line(COS, PhiPower(3, 1.0)), "the insertion's highest power is phi^3"),
    (lambda: on_a_line(COS, PhiPower(4, -0.1)), "the insertion's highest power, phi^4, has the negative"),
    (lambda: on_a_line(COS, Polynomial([0.0, 0.0, 1.0, 0.0, 1.0, -0.01])), "the insertion's highest power is phi^5"),
    (lambda: on_a_line(COS, PhiPower(4, 1.0) + PhiPower(4, -2.0)), "the insertion's highest power, phi^4"),
    (lambda: on_a_line(GAUSS, Source(1.0)), "a source alone cannot be inserted into GaussNet"),
    (lambda: on_a_line(GAUSS, Source([0.0, 1.0, 0.0])), "a source alone cannot be inserted into GaussNet"),
    (lambda: on_a_line(Shapeless(), WickPower(4, 1.0)), "wick_power needs the exact two-point function"),
    (
        lambda: Ensemble(ScalarNet(2, 2, 1.0, math.inf, 0.5), Lattice((2, 2), 1.0), WickPower()),
        "wick_power needs a finite",
    ),
]


@pytest.mark.parametrize(("call", "start"), REFUSALS)
def test_bad_input_is_refused_in_one_line(call, start):
    with pytest.raises(InputError) as refusal:
        call()
    message = str(refusal.value)
    assert message.startswith(start)
    assert "\n" not in message
    assert message.rstrip("?").endswith((".", "'"))  # a nearest name may follow: Did you mean 'trapezoid'?


@pytest.mark.parametrize(
    ("net", "insertion"),
    [
        (COS, Source(1.0)),
        (COS, Source(1.0) + PhiPower(4, 0.1)),
        (GAUSS, Source(1.0) + PhiPower(2, 0.1)),
        (COS, Polynomial([0.0, 0.0, -3.0, 0.5, 0.1])),
        (COS, PhiPower(3, 1.0) + PhiPower(3, -1.0)),
        (COS, PhiPower(4, 0.0)),
        (COS, None),
    ],
)
def test_bounded_actions_are_accepted(net, insertion):
    assert isinstance(on_a_line(net, insertion), Ensemble)


def test_registry_names_every_insertion():
    assert set(REGISTRY.values()) == {LatticePhi4, PhiPower, Polynomial, Source, WickPower}
