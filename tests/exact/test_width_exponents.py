"""Exponents (a, b, c, d): constraints and their solution, powers of N, and the identities behind them."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nnft_mcmc._checks import InputError
from nnft_mcmc.architectures import MLP
from nnft_mcmc.architectures.layers import Exponents, preset
from nnft_mcmc.dynamics.constraints import (
    DESIDERATA,
    FEATURES,
    FINITE,
    LEARNING,
    RATE,
    breaches,
    desiderata,
    fractions,
    solve,
    unknowns,
)
from nnft_mcmc.dynamics.features import kernels, rates, trace
from nnft_mcmc.dynamics.power_counting import predicted_powers
from nnft_mcmc.dynamics.scaling import descend

HALF = Fraction(1, 2)
THREE = (FINITE, LEARNING, FEATURES)
DEEP = MLP(3, 17, depth=4, activation="tanh", weight_std=1.3, bias_std=0.4, gamma0=0.7)
X = np.random.default_rng(5).normal(size=(5, 3))
Y = np.array([1.0, -1.0, 0.5, 2.0, 0.0])


def with_settings(**settings):
    return MLP(3, 17, **{"depth": 4, "activation": "tanh", "weight_std": 1.3, "gamma0": 0.7, **settings})


def broken(exponents, names=THREE):
    return {(b.desideratum.name, b.desideratum.layer): b.power for b in breaches(exponents, names)}


@pytest.mark.parametrize("depth", [2, 3, 6])
def test_the_family_of_the_lectures(depth):
    """Eqs. (126)-(127): one exponent is free, and in terms of it all others are as printed."""
    found = solve(depth)
    assert found.free == ("a_2",)
    for a in (Fraction(0), HALF, Fraction(-3, 7)):
        values = fractions(found.exponents(a_2=a))
        # Through float, 3/7 is a decimal of 16 digits.
        close = {name: pytest.approx(float(value), abs=1e-14) for name, value in values.items()}
        expected = {f"a_{n}": a if n > 1 else a - HALF for n in range(1, depth + 1)}
        expected |= {f"b_{n}": 1 - 2 * a for n in range(1, depth + 1)} | {"c": 1 - 2 * a, "d": HALF}
        assert {name: float(value) for name, value in expected.items()} == close
    assert found.determined == {"d": HALF}
    assert found.slopes["b_1"] == {"a_2": Fraction(-2)}
    assert found.offsets["a_1"] == -HALF


def test_maximal_update_is_the_only_one_with_a_fixed_learning_rate():
    found = solve(4, DESIDERATA)
    assert found.free == ()
    assert found.exponents() == preset("maximal_update", 4)


def test_solutions_are_those_of_linear_algebra():
    """Control by numerical ranks: the number of free exponents, and that every member satisfies the constraints."""
    rng = np.random.default_rng(0)
    for names in (THREE, DESIDERATA, (FINITE,), (LEARNING, RATE), (FEATURES,)):
        columns, wanted = unknowns(3), desiderata(3, names)
        matrix = np.array([[float(dict(w.coefficients).get(name, 0)) for name in columns] for w in wanted])
        found = solve(3, names)
        assert len(found.free) == len(columns) - np.linalg.matrix_rank(matrix)
        free = {name: Fraction(int(rng.integers(-9, 9)), 8) for name in found.free}
        assert broken(found.exponents(**free), names) == {}


def test_fixed_exponents_are_kept_and_contradictions_named():
    assert solve(3, THREE, {"c": 1}).exponents() == preset("maximal_update", 3)
    assert solve(3, (FINITE, LEARNING), {"d": Fraction(1, 4)}).exponents(a_2=0).d == 0.25
    with pytest.raises(InputError, match=r"learning in finite time, layer 1 .*features evolve.*layer 1.*d = 0\. Leave"):
        solve(3, THREE, {"d": 0})
    with pytest.raises(InputError, match="the fixed exponent is 'a_9'"):
        solve(3, THREE, {"a_9": 0})
    with pytest.raises(InputError, match="leave a_2 free"):
        solve(3).exponents(a_1=0)


def test_decimals_count_as_printed():
    found = broken(Exponents((0.0, 0.3), (0.0, 0.4), 0.4, 0.5))
    assert found == {(LEARNING, 1): Fraction(-2, 5), (FEATURES, 1): Fraction(-2, 5)}


def test_presets():
    assert broken(preset("maximal_update", 4), DESIDERATA) == {}
    assert broken(preset("mean_field", 4), DESIDERATA) == {(RATE, 0): Fraction(1)}
    assert broken(preset("ntk", 4)) == {(FEATURES, n): -HALF for n in (1, 2, 3)}
    assert broken(preset("standard", 3)) == {
        (LEARNING, 1): Fraction(-1),
        (FEATURES, 1): Fraction(-3, 2),
        (FEATURES, 2): -HALF,
    }


def test_a_breach_says_what_happens():
    (first, *_) = breaches(preset("ntk", 3))
    assert str(first) == "features evolve in finite time, layer 1 (eq. (119)): dies as N^-1/2"
    too_large = Exponents((-0.5, 0.0, 0.0), (1.0, 0.5, 1.0), 1.0, 0.5)
    assert [str(b) for b in breaches(too_large)] == ["finite preactivations, layer 2 (eq. (113)): blows up as N^1/4"]


CHANGES = ["change of Theta", "change of Phi(2)", "change of G(1)"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"parametrization": "ntk"}, {"phi_0": 0, "dz(2)/dt": -0.5, **dict.fromkeys(CHANGES, -1)}),
        ({"parametrization": "maximal_update"}, {"phi_0": -0.5, "dz(1)/dt": 0, **dict.fromkeys(CHANGES, 0)}),
        ({"parametrization": "mean_field"}, {"phi_0": -0.5, "dz(1)/dt": 0, **dict.fromkeys(CHANGES, 0)}),
        # d between the two: the kernel changes as N^{2d - 1}, faster than N^{d - 1}.
        ({"parametrization": "ntk", "d": 0.25}, {"phi_0": -0.25, "dz(1)/dt": -0.25, "change of Theta": -0.5}),
        ({"parametrization": "standard"}, {"eta Theta(1)": -1, "dphi/dt": 0, "dz(1)/dt": -1.5, "dz(2)/dt": -0.5}),
        ({"parametrization": "maximal_update", "c": 1.5}, {"dphi/dt": -0.5, "dz(1)/dt": -0.5, "change of Theta": -1}),
        (
            {"parametrization": "maximal_update", "b": (1.0, 1.5, 1.0, 1.0)},
            {"z(1)": 0, "z(2)": -0.25, "z(3)": -0.25, "G(1)": -0.5, "G(2)": 0, "phi_0": -0.75, "eta Theta(1)": -0.5}
            | {"eta Theta(2)": 0, "eta Theta(3)": -0.5, "dz(1)/dt": -0.25, "dz(2)/dt": 0},
        ),
        # Biases keep the preactivations of a dying layer.
        ({"parametrization": "ntk", "b": (0.0, 1.0, 0.0, 0.0), "bias_std": 0.3}, {"z(2)": 0, "G(1)": -1, "G(2)": 0}),
        # Above a layer that blows up nothing is known of an activation that saturates, but of ReLU.
        (
            {"parametrization": "ntk", "b": (0.0, -1.0, 0.0, 0.0)},
            {"z(1)": 0, "z(2)": 0.5, "G(2)": np.nan, "z(3)": np.nan},
        ),
        ({"parametrization": "ntk", "b": (0.0, -1.0, 0.0, 0.0), "activation": "relu"}, {"z(3)": 0.5, "G(1)": 1}),
    ],
)
def test_powers_of_n(settings, expected):
    found = predicted_powers(with_settings(**settings))
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-12, nan_ok=True)


def drawn(architecture):
    return architecture.sample_parameters(jax.random.key(3))


def test_the_trace_is_the_network():
    theta = drawn(DEEP)
    np.testing.assert_allclose(trace(DEEP, theta, jnp.asarray(X)).output, DEEP(theta, X), rtol=1e-13)


@pytest.mark.parametrize("parametrization", ["ntk", "standard", "maximal_update"])
def test_identity_119(parametrization):
    """dz^(1)/dt of gradient flow, an exact derivative of the network, is the sum over training points of eq. (119)."""
    network = with_settings(parametrization=parametrization)
    theta, x, n, e = drawn(network), jnp.asarray(X), 17, network.exponents
    eta_0, gamma0 = 0.3, network.gamma0
    eta = eta_0 * gamma0**2 * n ** (2 * e.d - e.c)

    def loss(parameters):
        return jnp.mean((network(parameters, x) - Y) ** 2) / 2

    slope = jax.grad(loss)(theta)
    moving = rates(network, theta, x, {name: -eta * slope[name] for name in slope})
    # g^(1) from the weights of the first layer alone: dphi/dW_ij = N^{-a_1} D^{-1/2} N^{-1/2} g_i x_j/(gamma0 N^d)
    by_point = jax.jacobian(lambda w: network({**theta, "weights_1": w}, x))(theta["weights_1"])
    scale = n ** -e.a[0] / np.sqrt(3) / np.sqrt(n) / (gamma0 * n**e.d)
    g = np.einsum("nij,nj->ni", by_point, X) / np.sum(X**2, axis=1)[:, None] / scale
    delta = Y - np.asarray(network(theta, x))
    power = 2 * e.a[0] + e.c - e.d + 0.5
    expected = n**-power * eta_0 * gamma0 / len(X) * np.einsum("n,ni,mn->mi", delta, g, X @ X.T / 3)
    np.testing.assert_allclose(moving.preactivations[0], expected, rtol=1e-10, atol=1e-14)
    wrong = n**-0.5 * expected  # control: another power
    assert np.abs(moving.preactivations[0] / wrong - 1).min() > 1


def test_a_alone_changes_nothing():
    """Members of (126)-(127), gradient descent included, are the same network in other units; another d is not."""
    fields = {}
    for a, d in ((0.0, 0.5), (0.5, 0.5), (0.2, 0.5), (0.2, 0.0)):
        network = with_settings(a=(a - 0.5, a, a, a), b=(1 - 2 * a,) * 4, c=1 - 2 * a, d=d)
        units = {name: 17 ** (a - 0.5) * w for name, w in drawn(with_settings()).items()}
        rate = 0.4 * 0.7**2 * 17 ** (2 * d - network.exponents.c)
        fields[a, d] = trace(network, descend(network, units, jnp.asarray(X), jnp.asarray(Y), rate, 30), X).output
    np.testing.assert_allclose(fields[0.0, 0.5], fields[0.5, 0.5], rtol=0, atol=1e-9)
    np.testing.assert_allclose(fields[0.0, 0.5], fields[0.2, 0.5], rtol=0, atol=1e-9)
    assert np.abs(fields[0.2, 0.5] - fields[0.2, 0.0]).max() > 0.01


def test_kernels_are_the_averages_of_the_lectures():
    """Phi of eq. (112), and Theta of eq. (116) for the layer whose weights alone are varied."""
    theta, x = drawn(DEEP), jnp.asarray(X)
    found = kernels(DEEP, theta, x)
    h = np.tanh(np.asarray(trace(DEEP, theta, x).preactivations[1]))
    np.testing.assert_allclose(found.features[2], h @ h.T / 17, rtol=1e-12)
    weights, biases = (
        jax.jacobian(lambda w, name=name: DEEP({**theta, name: w}, x))(theta[name]).reshape(5, -1)
        for name in ("weights_3", "biases_3")
    )
    np.testing.assert_allclose(found.tangent[2], weights @ weights.T + biases @ biases.T, rtol=1e-10)
