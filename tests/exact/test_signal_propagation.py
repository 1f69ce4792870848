"""Signal propagation: maps against quadrature, fixed points, published numbers, and finite networks."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from nnft_mcmc._checks import InputError
from nnft_mcmc.architectures import MLP
from nnft_mcmc.dynamics.features import trace
from nnft_mcmc.dynamics.signal_propagation import SignalPropagation, critical_line, critical_weight_std
from nnft_mcmc.statistics import gamma_method
from tests.statistical.consistency import assert_consistent, assert_inconsistent

# sigma, sigma', sigma''
FUNCTIONS = {
    "tanh": (np.tanh, lambda z: np.cosh(z) ** -2, lambda z: -2 * np.tanh(z) * np.cosh(z) ** -2),
    "erf": (
        special.erf,
        lambda z: 2 / math.sqrt(math.pi) * np.exp(-(z**2)),
        lambda z: -4 * z / math.sqrt(math.pi) * np.exp(-(z**2)),
    ),
    "sin": (np.sin, np.cos, lambda z: -np.sin(z)),
    "gelu": (
        lambda z: z * special.ndtr(z),
        lambda z: special.ndtr(z) + z * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi),
        lambda z: (2 - z**2) * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi),
    ),
}
POINTS = [("tanh", 2.0, 0.05**0.5), ("tanh", 1.2, 0.3), ("erf", 1.5, 0.1), ("sin", 1.9, 0.2), ("gelu", 1.3, 0.4)]
Z = np.linspace(-12, 12, 481)  # the trapezoidal rule for the smooth integrands here: an error far below 1e-10
W = np.exp(-(Z**2) / 2) * (Z[1] - Z[0]) / math.sqrt(2 * math.pi)


def average(f, q, g=None, c=1.0):
    """<f(u) g(v)> of variance q and correlation c, on a grid in the plane."""
    g = np.ones_like if g is None else g
    u, v = Z[:, None], c * Z[:, None] + math.sqrt(1 - c**2) * Z[None, :]
    return float(W @ (f(math.sqrt(q) * u) * g(math.sqrt(q) * v)) @ W)


@pytest.mark.parametrize(("name", "sw", "sb"), POINTS)
def test_maps_and_slopes_are_those_of_quadrature(name, sw, sb):
    f, df, ddf = FUNCTIONS[name]
    theory, q, c = SignalPropagation(name, sw, sb), 0.9, 0.35
    assert theory.variance(q) == pytest.approx(sb**2 + sw**2 * average(lambda u: f(u) ** 2, q), abs=1e-10)
    assert theory.correlation(c, q) == pytest.approx((sb**2 + sw**2 * average(f, q, f, c)) / q, abs=1e-10)
    assert theory.slope_of_correlation(q, c) == pytest.approx(sw**2 * average(df, q, df, c), abs=1e-10)
    # eq. 9 of arXiv:1611.01232
    chi_q = sw**2 * average(lambda u: df(u) ** 2 + f(u) * ddf(u), q)
    assert theory.slope_of_variance(q) == pytest.approx(chi_q, abs=1e-10)


@pytest.mark.parametrize(("name", "sw", "sb"), POINTS)
def test_fixed_points_are_fixed_and_reached(name, sw, sb):
    theory = SignalPropagation(name, sw, sb)
    point = theory.fixed_point()
    assert theory.variance(point.q) == pytest.approx(point.q, rel=1e-12)
    assert theory.correlation(point.c, point.q) == pytest.approx(point.c, rel=1e-12)
    assert point.phase == ("chaotic" if point.chi_1 > 1 else "ordered")
    xx, yy, c = theory.trajectory(0.3, 2.0, 0.6, 200)
    np.testing.assert_allclose([xx[-1], yy[-1], c[-1]], [point.q, point.q, point.c], rtol=1e-8)
    # The distance from a fixed point shrinks by e in xi layers.
    q, c = np.array(theory.trajectory(point.q * (1 + 1e-4), point.q, point.c * (1 - 1e-4), 5)[0::2])
    rate = np.log(np.abs((q[-1] - point.q) / (q[-2] - point.q)))
    assert rate == pytest.approx(-1 / point.xi_q, rel=1e-3)
    same = theory.trajectory(point.q, point.q, point.c - 1e-4, 5)[2] - point.c
    assert np.log(np.abs(same[-1] / same[-2])) == pytest.approx(-1 / point.xi_c, rel=1e-3)


def test_published_numbers():
    """tanh: sw = 1 at sb = 0, and (1.76, 0.05) of the literature; ReLU: He's sw^2 = 2; erf: 1/sigma'(0)^2 = pi/4."""
    assert critical_weight_std("tanh", 0.0) == pytest.approx(1.0, abs=1e-10)
    assert critical_weight_std("erf", 0.0) ** 2 == pytest.approx(math.pi / 4, abs=1e-10)
    assert critical_weight_std("relu", 0.0) ** 2 == pytest.approx(2.0, abs=1e-12)
    assert round(critical_weight_std("tanh", math.sqrt(0.05)) ** 2, 2) == 1.76
    # At critical ReLU every variance is kept, and c approaches 1 as 9 pi^2/(2 l^2), not exponentially.
    he = SignalPropagation("relu", math.sqrt(2.0))
    assert he.fixed_point(3.7).q == 3.7
    assert he.fixed_point().phase == "critical"
    assert math.isinf(he.fixed_point().xi_c)
    far = 1 - he.trajectory(1.0, 1.0, 0.0, 4001)[2]
    assert far[-1] * 4000**2 / (9 * math.pi**2 / 2) == pytest.approx(1.0, abs=0.02)


def test_the_critical_line():
    """Points of the line have chi_1 = 1 at their q*, where the correlation length diverges."""
    q = np.array([0.1, 0.5, 2.0])
    for name in ("tanh", "erf", "sin"):
        for sw, sb, at in zip(*critical_line(name, q), q, strict=True):
            point = SignalPropagation(name, sw, sb).fixed_point(at)
            assert (point.phase, point.q) == ("critical", pytest.approx(at, rel=1e-9))
    sw = critical_weight_std("tanh", 0.2)
    below, above = (SignalPropagation("tanh", sw * k, 0.2).fixed_point() for k in (1 - 1e-4, 1 + 1e-4))
    assert (below.phase, above.phase) == ("ordered", "chaotic")
    assert min(below.xi_c, above.xi_c) > 1e3
    assert below.xi_gradient > 1e3
    assert above.xi_gradient < -1e3


def test_a_signal_that_dies_keeps_its_slopes():
    """At q* = 0 the slopes are the limits from above; at the kink of ReLU that is sw^2/2, not sw^2 sigma'(0)^2."""
    assert SignalPropagation("tanh", 0.9).fixed_point().chi_1 == pytest.approx(0.81, abs=1e-10)
    dead = SignalPropagation("relu", 1.2).fixed_point()
    assert (dead.q, dead.chi_1, dead.chi_q) == (0.0, pytest.approx(0.72), pytest.approx(0.72))


def test_what_has_no_fixed_point_is_refused():
    with pytest.raises(InputError, match="grows without bound at weight_std = 1\\.5"):
        SignalPropagation("relu", 1.5).fixed_point()
    with pytest.raises(InputError, match="no critical point at bias_std = 0\\.3"):
        critical_weight_std("relu", 0.3)
    with pytest.raises(InputError, match="unstable at its fixed point"):  # q -> 3 sw^2 q^2
        SignalPropagation("square", math.sqrt(1 / 3)).fixed_point(1.0)
    with pytest.raises(InputError, match="between -1 and 1"):
        SignalPropagation("tanh", 1.0).trajectory(1.0, 1.0, 1.5, 3)


def covariances_of_networks(width, count):
    """(networks, layers, 3): variances and covariance of two inputs, averaged over neurons, in layers 1 to 4."""
    network = MLP(2, width, depth=5, activation="tanh", weight_std=1.7, bias_std=0.3)
    x = jnp.asarray([[1.0, 0.5], [-0.3, 1.4]])

    def of_one(key):
        z = jnp.stack(trace(network, network.sample_parameters(key), x).preactivations)
        return jnp.stack([jnp.mean(z[:, a] * z[:, b], axis=1) for a, b in ((0, 0), (1, 1), (0, 1))], axis=1)

    keys = jax.random.split(jax.random.key(7), count)
    return np.asarray(jax.jit(lambda keys: jax.lax.map(of_one, keys, batch_size=50))(keys))


def test_finite_networks_follow_the_recursion():
    """800 networks of width 40: layers 1 and 2 exactly, as z^(1) is Gaussian; layer 4 up to 1/N, as 2<N=80> - <N=40>.

    False alarm 1e-4 for each call; a deviation of 2 to 4% of q is seen. Control: the recursion at sw = 1.8.
    """
    narrow, wide = covariances_of_networks(40, 800), covariances_of_networks(80, 800)
    first = [0.3**2 + 1.7**2 * value for value in (0.625, 1.025, 0.2)]
    theory, wrong = (SignalPropagation("tanh", sw, 0.3) for sw in (1.7, 1.8))

    def expected(theory, layer):
        xx, yy, c = theory.trajectory(first[0], first[1], first[2] / math.sqrt(first[0] * first[1]), layer)
        return np.array([xx[-1], yy[-1], c[-1] * math.sqrt(xx[-1] * yy[-1])])

    for layer in (1, 2):
        assert_consistent(
            gamma_method(narrow[None, :, layer - 1]), expected(theory, layer), resolution=[0.02, 0.02, 0.05]
        )
    richardson = gamma_method(2 * wide[None, :, 3] - narrow[None, :, 3])
    assert_consistent(richardson, expected(theory, 4), resolution=[0.02, 0.02, 0.06])
    assert_inconsistent(gamma_method(narrow[None, :, 1]), expected(wrong, 2), resolution=[0.02, 0.02, 0.05])
