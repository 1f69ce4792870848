"""Fits of Kolmogorov-Arnold networks: grids that keep the function, pruning, and formulas read off the edges."""

import functools
import math

import jax
import numpy as np
import pytest

from nnft_mcmc._checks import InputError
from nnft_mcmc.architectures import KAN
from nnft_mcmc.architectures.splines import extended
from nnft_mcmc.expressivity.formulas import formula, imposed
from nnft_mcmc.expressivity.kan_fitting import KanFit, fit, layer_edges, node_scores, prune, refit, regrid, with_knots
from nnft_mcmc.expressivity.symbolic import LIBRARY, best, read


def points(number, lower=-1.0, seed=0):
    return np.random.default_rng(seed).uniform(lower, 1.0, (number, 2))


def exp_sin(x):
    return np.exp(np.sin(math.pi * x[:, 0]) + x[:, 1] ** 2)


def product(x):
    return x[:, 0] * x[:, 1]


def rmse(model, f, x):
    return float(np.sqrt(np.mean((model(x) - f(x)) ** 2)))


@functools.cache
def drawn():
    """A [2, 3, 1] network as the prior has it, as if fitted; hidden grids wide enough."""
    net, x = KAN(2, (3,), grid=4, hidden_reach=4.0), points(200)
    theta = net.sample_parameters(jax.random.key(1))
    return KanFit(net, theta, x, product(x), 1.0)


@functools.cache
def fitted_exp_sin():
    x = points(500)
    return fit(KAN(2, (1,)), x, exp_sin(x), jax.random.key(0), grids=(3, 5, 10, 20), steps=150)


@functools.cache
def fitted_product():
    x = points(300, lower=0.2)
    return fit(KAN(2, (1,)), x, product(x), jax.random.key(0), grids=(3, 5), steps=80, starts=2)


def test_a_finer_grid_that_contains_the_old_one_keeps_the_function():
    old = drawn()
    middle = [np.stack([np.linspace(k[3], k[-4], 9) for k in layer]) for layer in old.network.knot_arrays]
    finer = with_knots(old, [np.stack([extended(p, 3) for p in layer]) for layer in middle])
    assert finer.network.grid == 8
    np.testing.assert_allclose(finer(old.x), old(old.x), atol=1e-12)
    shifted = with_knots(old, [np.stack([extended(p + 0.1, 3) for p in layer]) for layer in middle])
    assert np.abs(shifted(old.x) - old(old.x)).max() > 1e-4  # control: knots that do not contain the old ones


def test_an_adapted_grid_holds_all_values_and_keeps_the_function_nearly():
    old = drawn()
    new = regrid(old, 30)
    for layer, knots in zip(layer_edges(new), new.network.knot_arrays, strict=True):
        assert (knots[:, 3] < layer.z.min(axis=0)).all()
        assert (knots[:, -4] > layer.z.max(axis=0)).all()
    assert rmse(new, old, old.x) < 2e-3 * np.std(old(old.x))


def test_pruning_removes_the_node_that_does_nothing_and_no_other():
    old = drawn()
    silent = {name: a.at[:, 1].set(0.0) if name.endswith("2") else a for name, a in old.theta.items()}
    start = KanFit(old.network, silent, old.x, old.y, 1.0)
    assert [(s > 0).tolist() for s in node_scores(start)] == [[True, False, True]]
    pruned = prune(start)
    assert pruned.network.widths == (2,)
    np.testing.assert_allclose(pruned(old.x), start(old.x), atol=1e-13)
    assert prune(old).network.widths == (3,)


MADE_UP = {
    "x": lambda z: 2 * z - 1,
    "x^2": lambda z: 0.3 * (z - 0.4) ** 2,
    "x^3": lambda z: (z + 0.2) ** 3,
    "exp": lambda z: 0.1 * np.exp(-1.7 * z),
    "log": lambda z: np.log(1.4 - z),
    "sqrt": lambda z: -np.sqrt(z + 1.02),
    "1/x": lambda z: 1 / (z + 1.5),
    "abs": lambda z: np.abs(z - 0.31),
    "sin": lambda z: np.sin(5.3 * z + 0.7) + 3,
    "tanh": lambda z: np.tanh(3 * z - 1),
    "gaussian": lambda z: np.exp(-((2 * z + 0.5) ** 2)),
}


@pytest.mark.parametrize("name", MADE_UP)
def test_functions_are_read(name):
    z = np.linspace(-1, 1, 80)
    y = MADE_UP[name](z)
    found = read(z, y)[0]
    assert found.form.name == name
    np.testing.assert_allclose(found(z), y, atol=1e-6)
    without = read(z, y, [form for form in LIBRARY.values() if form.name != name])[0]
    assert without.r2 < found.r2  # control: another form is worse


def test_a_function_outside_of_the_library_is_refused():
    z = np.linspace(-1, 1, 80)
    with pytest.raises(InputError, match="no form of the library"):
        best(read(z, np.sin(4 * z) + np.abs(z)))
    with pytest.raises(InputError, match="neither all equal"):
        read(z, np.zeros(80))


def test_a_product_is_read_as_the_exponential_of_logarithms():
    found = fitted_product()
    assert found.rms < 1e-3
    read_off = formula(found)
    assert read_off.forms == [[["log", "log"]], [["exp"]]]
    assert read_off.text() == "exp(log(x_1) + log(x_2))"
    assert rmse(read_off, product, points(200, 0.1, seed=1)) < 1e-12


def test_forms_that_are_not_the_product_leave_a_remainder():
    assert imposed(fitted_product(), [[["log", "log"]], [["exp"]]]).rms < 1e-12
    assert imposed(fitted_product(), [[["sqrt", "sqrt"]], [["x^3"]]]).rms > 1e-4
    few = {name: LIBRARY[name] for name in ("x", "x^2", "abs", "log")}
    assert formula(fitted_product(), few, enough=0.5).rms > 1e-4


def test_points_and_values_that_do_not_belong_together_are_refused():
    with pytest.raises(InputError, match="give points"):
        fit(KAN(2, (1,)), np.zeros((5, 3)), np.zeros(5), jax.random.key(0))
    with pytest.raises(InputError, match="finite"):
        fit(KAN(2, (1,)), np.zeros((5, 2)), np.full(5, np.nan), jax.random.key(0))
    with pytest.raises(InputError, match="shapes"):
        imposed(fitted_product(), [[["log"]], [["exp"]]])


@pytest.mark.slow
def test_a_network_2_1_1_is_the_exponential_of_sine_and_square():
    found = fitted_exp_sin()
    assert rmse(found, exp_sin, points(1000, seed=1)) < 1e-3
    assert found.rms < 1e-3
    first, second = layer_edges(found)
    pairs = ((first, 0, "sin"), (first, 1, "x^2"), (second, 0, "exp"))
    for layer, j, name in pairs:
        readings = read(layer.z[:, j], layer.values[:, 0, j])
        assert readings[0].form.name == name
        assert readings[0].r2 > 0.99999
    read_off = formula(found)
    assert read_off.text() == "exp(sin(3.142 x_1) + (x_2)^2)"
    assert rmse(read_off, exp_sin, points(1000, seed=1)) < 1e-12
    without = {name: form for name, form in LIBRARY.items() if name != "sin"}
    with pytest.raises(InputError, match="no form of the library"):
        formula(found, without)


@pytest.mark.slow
def test_a_product_of_either_sign_is_a_difference_of_squares():
    """[2, 2, 1], sparse: linear edges and two squares, which leave rounding; with other forms a remainder stays."""
    x, key, net = points(300), jax.random.key(0), KAN(2, (2,))
    sparse = fit(net, x, product(x), key, grids=(3, 3, 3), steps=150, starts=1, strength=1e-2, entropy=0.1)
    found = refit(regrid(sparse, 5), 150)
    assert found.rms < 1e-3
    squares = formula(found, enough=0.99)
    assert squares.forms == [[["x", "x"], ["x", "x"]], [["x^2", "x^2"]]]
    assert rmse(squares, product, points(200, seed=1)) < 1e-12
    assert imposed(found, [[["x", "x"], ["x", "x"]], [["abs", "x^2"]]]).rms > 1e-3
