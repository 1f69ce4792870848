"""Fields of plane waves by every route against the cosines and sines themselves."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nnft_mcmc import InputError, Lattice
from nnft_mcmc.architectures import CosNet, DenseNet, GaussNet
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.field_evaluation import (
    FACTORISED,
    NAIVE,
    NON_UNIFORM,
    factorised,
    fastest,
    field,
    field_by,
    map_over,
    microseconds,
    neuron_fields,
    sum_over,
)
from nnft_mcmc.point_evaluation import FieldAt, at_points, grid_of

SHAPES = [(1,), (17,), (100,), (1, 9), (16, 16), (12, 7), (3, 4, 5), (3, 2, 4, 5)]
by_shape = pytest.mark.parametrize("shape", [(1,), (17,), (12, 7), (3, 2, 4, 5)], ids=str)
# Relative to the largest value.
ACCURACY = {NAIVE: 1e-13, FACTORISED: 1e-12, NON_UNIFORM: 1e-9}
EVERY = [(s, r) for s in SHAPES for r in (FACTORISED, NON_UNIFORM) if not (r == NON_UNIFORM and len(s) > 3)]
EVERY += [((12, 7), NAIVE)]
NAMES = {NAIVE: "naive", FACTORISED: "factorised", NON_UNIFORM: "non_uniform"}
by_shape_and_route = pytest.mark.parametrize(
    ("shape", "route"), EVERY, ids=[f"{NAMES[route]}-{shape}" for shape, route in EVERY]
)
by_route = pytest.mark.parametrize("route", [FACTORISED, NON_UNIFORM], ids=["factorised", "non_uniform"])


def some_waves(dim, width, key=0):
    """Momenta with a heavy tail, cosines and sines."""
    keys = jax.random.split(jax.random.key(key), 3)
    momenta = jax.random.t(keys[0], 3.0, (width, dim))
    return momenta, jax.random.normal(keys[1], (width,)), jax.random.normal(keys[2], (width,))


def several_waves(number, dim, width):
    return jax.tree.map(lambda *a: jnp.stack(a), *[some_waves(dim, width, key) for key in range(number)])


def naive_neurons(waves, lattice):
    momenta, cosines, sines = waves
    angles = momenta @ lattice.sites.reshape(-1, lattice.dim).T
    return cosines[:, None] * jnp.cos(angles) + sines[:, None] * jnp.sin(angles)


def naive_field(waves, lattice):
    return naive_neurons(waves, lattice).sum(axis=0).reshape(lattice.shape)


def by(route):
    """The field by one route."""
    return lambda waves, lattice: field_by(route, waves, lattice)


def assert_equal(found, expected, accuracy):
    """Relative to the largest value of each array."""
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=accuracy * np.abs(b).max() + 1e-13)


def weighted(function, lattice):
    """A scalar that depends on every site differently."""
    weights = jax.random.normal(jax.random.key(7), lattice.shape)
    return lambda waves: jnp.sum(weights * function(waves, lattice) ** 2)


@by_shape
def test_single_neurons(shape):
    lattice = Lattice(shape, 0.3)
    waves = some_waves(len(shape), 7)
    fields = jax.jit(neuron_fields, static_argnums=1)(waves, lattice)
    np.testing.assert_allclose(fields, naive_neurons(waves, lattice), rtol=0, atol=1e-12)


def test_single_neurons_by_tables_at_few_sites():
    """Where cosines are taken instead."""
    lattice, waves = Lattice((17,), 0.3), some_waves(1, 7)
    fields = jax.jit(factorised.neuron_fields, static_argnums=1)(waves, lattice)
    np.testing.assert_allclose(fields, naive_neurons(waves, lattice), rtol=0, atol=1e-12)


def test_single_neurons_of_one_and_of_none():
    lattice = Lattice((4, 6), 0.3)
    for width in (0, 1):
        waves = some_waves(2, width)
        found = jax.jit(neuron_fields, static_argnums=1)(waves, lattice)
        np.testing.assert_allclose(found, naive_neurons(waves, lattice), rtol=0, atol=1e-12)


def test_single_neurons_batched_and_differentiated():
    lattice, batch = Lattice((5, 4), 0.3), several_waves(4, 2, 3)
    weight = jax.random.normal(jax.random.key(9), (3, 20))

    def of(fields):
        return jax.jit(jax.vmap(jax.grad(lambda w: jnp.sum(weight * fields(w, lattice) ** 2))))(batch)

    assert_equal(of(neuron_fields), of(naive_neurons), 1e-12)


@by_shape_and_route
def test_field_and_gradients(shape, route):
    lattice, waves = Lattice(shape, 0.3), some_waves(len(shape), 300)
    weights = jax.random.normal(jax.random.key(7), shape)

    def field_and_pulled_back(function):
        found, pull_back = jax.vjp(lambda w: function(w, lattice), waves)
        return found, pull_back(weights)

    found = jax.jit(field_and_pulled_back, static_argnums=0)(by(route))
    assert_equal(found, field_and_pulled_back(naive_field), ACCURACY[route])


@by_route
def test_batches_in_any_nesting(route):
    """vmap of grad, grad of vmap, nested vmap, partly batched arguments, scan: a loop over the fields."""
    lattice, batch = Lattice((6, 5), 0.3), several_waves(6, 2, 20)
    scalar = weighted(by(route), lattice)
    nested = jax.tree.map(lambda a: a.reshape(2, 3, *a.shape[1:]), batch)
    one = jax.jit(jax.value_and_grad(scalar))
    looped = [one(jax.tree.map(lambda a, k=k: a[k], batch)) for k in range(6)]
    values, gradients = jax.tree.map(lambda *a: np.stack(a), *looped)

    @jax.jit
    def in_batches():
        of_each = jax.vmap(jax.grad(scalar))(batch)
        of_sum = jax.grad(lambda b: jax.vmap(scalar)(b).sum())(batch)
        _, scanned = jax.lax.scan(lambda _, w: (None, jax.grad(scalar)(w)), None, batch)
        partly = jax.vmap(lambda c: scalar((batch[0][0], c, batch[2][0])))(batch[1])
        return of_each, of_sum, scanned, jax.vmap(jax.vmap(scalar))(nested).reshape(-1), partly

    *gradients_of, nested_values, partly = in_batches()
    for found in gradients_of:
        assert_equal(found, gradients, 1e-13)
    assert_equal(nested_values, values, 1e-13)
    assert_equal(partly, np.stack([one((batch[0][0], c, batch[2][0]))[0] for c in batch[1]]), 1e-13)


@by_route
def test_momenta_far_outside_of_the_brillouin_zone_and_infinite_ones(route):
    """They are folded, to the accuracy to which w x is rounded; the field of infinite momenta is undefined."""
    lattice, (momenta, cosines, sines) = Lattice((6, 7), 0.5), some_waves(2, 40)
    function = jax.jit(jax.value_and_grad(weighted(by(route), lattice)))
    far = (momenta * 1e4, cosines, sines)
    assert_equal(jax.jit(by(route), static_argnums=1)(far, lattice), naive_field(far, lattice), 1e-9)
    for bad in (jnp.inf, jnp.nan):
        value, gradients = function((momenta.at[3, 1].set(bad), cosines, sines))
        assert np.isnan(value)
        assert np.isnan(gradients[0][3]).any()
    assert np.isfinite(function((momenta.at[3, 1].set(1e300), cosines, sines))[0])


@by_route
def test_float32_stays_float32(route):
    lattice = Lattice((9, 8), 0.3)
    waves = some_waves(2, 100)
    single = jax.tree.map(lambda a: a.astype(jnp.float32), waves)
    scalar = weighted(lambda w, at: field_by(route, w, at).astype(jnp.float64), lattice)
    found = jax.jit(by(route), static_argnums=1)(single, lattice)
    gradients = jax.jit(jax.grad(scalar))(single)
    assert found.dtype == gradients[0].dtype == jnp.float32
    assert_equal(found, naive_field(waves, lattice), 3e-5)
    assert_equal(gradients, jax.jit(jax.grad(scalar))(waves), 3e-5)


@by_route
def test_equal_calls_give_equal_bits(route):
    """Enough neurons for several threads to share them."""
    lattice, waves = Lattice((256,), 0.1), some_waves(1, 20_000)
    function = jax.jit(jax.value_and_grad(weighted(by(route), lattice)))
    first = function(waves)
    for _ in range(5):
        jax.tree.map(np.testing.assert_array_equal, function(waves), first)


def test_second_derivatives_of_the_transform_are_refused():
    lattice, waves = Lattice((6, 7), 0.5), some_waves(2, 4)
    gradient = jax.grad(weighted(by(NON_UNIFORM), lattice))
    with pytest.raises(InputError, match="first derivatives only"):
        jax.grad(lambda w: gradient(w)[0].sum())(waves)
    with pytest.raises(TypeError, match="custom_vjp"):
        jax.jvp(lambda w: field_by(NON_UNIFORM, w, lattice), (waves,), (waves,))


def test_many_neurons_go_in_pieces():
    """More neurons than are held at once, and a number that is no multiple of anything."""
    lattice, waves = Lattice((32, 40), 0.2), some_waves(2, 4999)
    expected = jax.jit(jax.value_and_grad(weighted(naive_field, lattice)))(waves)
    for route in (NAIVE, FACTORISED):
        found = jax.jit(jax.value_and_grad(weighted(by(route), lattice)))
        assert_equal(found(waves), expected, 1e-11)


@pytest.mark.parametrize("most", [1, 3, 5, 7, 10, 100])
def test_pieces(most):
    """Every neuron is counted once."""
    numbers = jnp.arange(10.0) ** 2
    assert_equal(sum_over(lambda a: jnp.sin(a).sum(), numbers, most), jnp.sin(numbers).sum(), 1e-14)
    assert_equal(map_over(lambda a: (jnp.sin(a), a), numbers, most), (jnp.sin(numbers), numbers), 0)
    assert_equal(jax.grad(lambda n: sum_over(lambda a: jnp.sin(a).sum(), n, most))(numbers), jnp.cos(numbers), 1e-14)


def test_the_model_of_costs():
    """A large net on a large lattice is transformed, or factorised in four dimensions and on a GPU."""
    assert fastest(10_000, (64, 64), 8, "cpu") == NON_UNIFORM
    assert fastest(10_000, (64, 64), 8, "gpu") == FACTORISED
    assert fastest(10_000, (8, 8, 8, 8), 8, "cpu") == FACTORISED
    assert fastest(100, (32, 32), 8, "cpu") == FACTORISED
    assert fastest(10, (8,), 8, "cpu") == NAIVE
    for width, shape in itertools.product((1, 100, 10_000), SHAPES):
        routes = [r for r in ACCURACY if not (r == NON_UNIFORM and len(shape) > 3)]
        assert fastest(width, shape, 8, "cpu") == min(routes, key=lambda r: microseconds(r, width, shape))


def test_an_ensemble_takes_the_fastest_route():
    net, lattice = CosNet(2, 3000), Lattice((20, 21), 0.25)
    theta = net.sample_parameters(jax.random.key(1))
    assert fastest(3000, lattice.shape, 8, "cpu") == NON_UNIFORM
    found = Ensemble(net, lattice).field(theta)
    np.testing.assert_array_equal(found, field(net.waves(theta), lattice))
    assert_equal(found, net(theta, lattice.sites), 1e-9)


def test_off_the_cpu_no_transform_of_the_cpu_library_is_called(monkeypatch):
    """FINUFFT's CPU library cannot be called from a program of another platform; the control is the CPU itself."""
    net, lattice = CosNet(2, 3000), Lattice((20, 21), 0.25)
    theta = net.sample_parameters(jax.random.key(1))

    def program():
        return str(jax.make_jaxpr(jax.grad(lambda theta: (Ensemble(net, lattice).field(theta) ** 2).sum()))(theta))

    assert "nufft" in program()
    for platform in ("gpu", "tpu"):
        monkeypatch.setattr(jax, "default_backend", lambda platform=platform: platform)
        assert "nufft" not in program()
    assert_equal(jax.jit(Ensemble(net, lattice).field)(theta), naive_field(net.waves(theta), lattice), 1e-12)


@pytest.mark.parametrize("net", [GaussNet(2, 30), DenseNet(2, 30)], ids=["gauss", "dense"])
def test_other_networks_go_in_pieces(net):
    points = jax.random.normal(jax.random.key(3), (11, 2))
    theta = net.sample_parameters(jax.random.key(1))
    for memory in (1, 5000, 2**20):
        function = jax.value_and_grad(lambda t, memory=memory: (at_points(net, t, points, memory) ** 2).sum())
        assert_equal(function(theta), jax.value_and_grad(lambda t: (net(t, points) ** 2).sum())(theta), 1e-12)


def test_points_on_a_grid():
    """In any order, with gaps, off centre, with another spacing along each axis, and repeated."""
    rng = np.random.default_rng(0)
    index = rng.permutation(np.stack(np.meshgrid(np.arange(9), np.arange(7), indexing="ij"), -1).reshape(-1, 2))[:40]
    points = np.concatenate([index, index[:3]]) * [0.31, 0.07] + [5.0, -0.3]
    net = CosNet(2, 50)
    theta = net.sample_parameters(jax.random.key(1))
    evaluation = FieldAt(net, points)
    assert evaluation.grid is not None
    assert_equal(evaluation(theta), net(theta, points), 1e-12)


@pytest.mark.parametrize(
    "points",
    [
        np.random.default_rng(0).normal(size=(30, 2)),
        np.array([[0.0], [1.0], [2.0 + 1e-8]]),
        np.array([[0.0], [0.1], [9.0]]),
    ],
    ids=["scattered", "nearly a grid", "mostly gaps"],
)
def test_points_off_the_grid(points):
    assert grid_of(points) is None
    net = CosNet(points.shape[1], 50)
    theta = net.sample_parameters(jax.random.key(1))
    assert_equal(FieldAt(net, points)(theta), net(theta, points), 1e-13)
