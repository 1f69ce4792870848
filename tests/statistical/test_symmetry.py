"""The test of a symmetry on draws: its false-alarm rate, its power, what it catches and what it lets pass."""

import math

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy.stats import binom

from nnft_mcmc._checks import InputError
from nnft_mcmc.architectures import CosNet, CubeNet, GaussNet, LatticeModes, ScalarNet
from nnft_mcmc.architectures.callable import CallableNet
from nnft_mcmc.architectures.convolution import ConvNet
from nnft_mcmc.architectures.vector import EquivariantNet, VectorNet
from nnft_mcmc.estimators import _draws
from nnft_mcmc.estimators.field_observables import CharacteristicFunction, Correlators, default_correlators
from nnft_mcmc.estimators.group_actions import (
    Joint,
    Orthogonal,
    OutputOrthogonal,
    SignFlip,
    Translation,
    reflection,
    rotation,
)
from nnft_mcmc.estimators.symmetry import POWER, symmetry_test, symmetry_test_of_fields
from nnft_mcmc.lattice import Lattice
from nnft_mcmc.statistics import TooFewDraws
from tests.statistical.autoregressive import ar1

ON_A_LINE = np.array([[-0.3], [0.0], [0.4]])
IN_A_PLANE = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
ALONG_AN_AXIS = np.array([[0.0, 0.0], [1.5, 0.0]])
TWO_AND_FOUR = Correlators(((0, 0), (0, 0, 0, 0)))
SOURCES = CharacteristicFunction(((1.0,), (2.0,)))

GAUSS, CUBE = GaussNet(1, 2, bias_std=0.2), CubeNet(2, 3, 2.0)
STEP, TURN, EIGHTH = Translation((0.4,)), rotation(2, 0.7), rotation(2, math.pi / 4)

PASSES = 1e-4  # the false-alarm rate of each test below that expects a symmetry


def p_values(net, element, points, num_draws, runs, observable=None):
    tests = (symmetry_test(net, jax.random.key(s), element, points, num_draws, observable) for s in range(runs))
    return np.array([test.p_value for test in tests])


# Level. A rate is compared with its nominal value at two-sided 1e-4.


@pytest.mark.parametrize(
    ("net", "element", "points"),
    [
        pytest.param(CosNet(1, 3), Translation((0.6,)), ON_A_LINE, id="cos_net, 12 differences"),
        pytest.param(CUBE, rotation(2, math.pi / 2), ALONG_AN_AXIS, id="cube_net by a right angle"),
    ],
)
def test_false_alarm_rate(net, element, points):
    alarms = np.count_nonzero(p_values(net, element, points, 2000, 200) < 0.05)
    assert binom.ppf(5e-5, 200, 0.05) <= alarms <= binom.isf(5e-5, 200, 0.05)


def test_heavy_tails_do_not_raise_the_false_alarm_rate():
    """A gauss-net far from the origin, where products of four have no variance to speak of, under its own symmetry."""
    alarms = p_values(GaussNet(1, 2), reflection([1.0]), ON_A_LINE + 1.0, 2000, 200) < 0.05
    assert np.count_nonzero(alarms) <= binom.isf(1e-4, 200, 0.05)


def test_translations_of_a_torus_by_whole_steps():
    """Sites are moved to sites; anything else is refused."""
    net = LatticeModes(Lattice((4, 3), 0.5, "torus"), 0.8)
    sites, key = net.lattice.sites.reshape(-1, 2)[[0, 1, 4]], jax.random.key(0)
    assert not symmetry_test(net, key, Translation((0.5, 1.0)), sites, 4000, false_alarm=PASSES).is_violated
    with pytest.raises(InputError, match="not a site"):
        symmetry_test(net, key, Translation((0.4, 1.0)), sites, 4000)


# What has the symmetry passes, at the points and numbers of draws that catch what has not.


@pytest.mark.parametrize(
    ("net", "element", "points"),
    [
        (CosNet(1, 2), STEP, ON_A_LINE),
        (CosNet(2, 3), TURN, IN_A_PLANE),
        (CosNet(2, 3), EIGHTH, ALONG_AN_AXIS),
        (ScalarNet(1, 3, 1.0, math.inf), STEP, ON_A_LINE),
        (ScalarNet(2, 3, 1.0, 4.0, -1.0), TURN, IN_A_PLANE),
        (ScalarNet(3, 3, 1.0, 4.0), reflection([1.0, 2.0, 0.0]), np.eye(3)),
        (CUBE, Translation((0.3, -0.2)), ALONG_AN_AXIS),
        (GaussNet(2, 2, bias_std=0.2), TURN, 0.4 * IN_A_PLANE),
        (CosNet(1, 2), SignFlip(), ON_A_LINE),
    ],
)
def test_symmetries_pass(net, element, points):
    test = symmetry_test(net, jax.random.key(0), element, points, 20_000, false_alarm=PASSES)
    assert not test.is_violated
    assert test.dof == np.count_nonzero(test.error) >= 3  # the origin does not move under a rotation
    assert np.isfinite(test.detectable[test.error > 0]).all()


def test_translations_of_gauss_net_are_caught_by_the_four_point_function_alone():
    """N = 2, bias_std = 0.2, from x = 0 to 0.4: <phi^4> grows by 48%, seen by 8000 draws in 95% of runs at 1e-3."""
    key = jax.random.key(0)
    both = symmetry_test(GAUSS, key, STEP, [[0.0]], 20_000, TWO_AND_FOUR, false_alarm=1e-6)
    two = symmetry_test(GAUSS, key, STEP, [[0.0]], 20_000, Correlators(((0, 0),)), false_alarm=PASSES)
    assert both.is_violated
    assert not two.is_violated
    assert not symmetry_test(CosNet(1, 2), key, STEP, [[0.0]], 20_000, TWO_AND_FOUR, false_alarm=PASSES).is_violated


def test_the_measured_violation_is_the_exact_one():
    """Control of the sign and size of `difference`: cube_net's two-point function along an axis and a diagonal."""
    test = symmetry_test(CUBE, jax.random.key(1), EIGHTH, ALONG_AN_AXIS, 100_000, Correlators(((0, 1),)))
    exact = [CUBE.two_point(*points) for points in (ALONG_AN_AXIS, EIGHTH.on_points(ALONG_AN_AXIS))]
    assert abs(test.difference[0] - (exact[1] - exact[0])) < 4 * test.error[0] < 0.2 * abs(exact[1] - exact[0])
    assert test.is_violated


def test_the_characteristic_function_sees_what_heavy_tails_hide():
    """bias_std = 1: products of four are useless; cos(J phi) needs 2000 draws. On cos_net it stays silent."""
    net, key = GaussNet(1, 2), jax.random.key(0)
    assert symmetry_test(net, key, STEP, [[0.0]], 2000, SOURCES, false_alarm=1e-6).is_violated
    assert not symmetry_test(CosNet(1, 2), key, STEP, [[0.0]], 2000, SOURCES, false_alarm=PASSES).is_violated


def test_rotations_of_cube_net_are_caught():
    """By an eighth of a turn, with 8000 draws; by a quarter they are a symmetry."""
    key = jax.random.key(0)
    assert symmetry_test(CUBE, key, EIGHTH, ALONG_AN_AXIS, 8000, false_alarm=1e-6).is_violated
    quarter = rotation(2, math.pi / 2)
    assert not symmetry_test(CUBE, key, quarter, ALONG_AN_AXIS, 8000, false_alarm=PASSES).is_violated


def shifted(theta, x):
    return theta["a"] * x[0] ** 2 + 0.0 * x[1]


def test_a_field_with_a_mean_has_no_sign_symmetry():
    net = CallableNet(shifted, {"a": dist.Normal(0.2, 1.0)}, dim=2)
    assert symmetry_test(net, jax.random.key(0), SignFlip(), [[1.0, 0.0]], 4000, false_alarm=1e-6).is_violated
    even = CallableNet(shifted, {"a": dist.Normal(0.0, 1.0)}, dim=2)
    assert not symmetry_test(even, jax.random.key(0), SignFlip(), [[1.0, 0.0]], 4000, false_alarm=PASSES).is_violated


def test_rotations_of_outputs():
    """O(D)-invariant output weights pass; x f(|x|^2) alone, without the rotation of x, does not."""
    key, out = jax.random.key(0), OutputOrthogonal(TURN.matrix)
    assert not symmetry_test(
        VectorNet(CosNet(2, 3), 2), key, out, ALONG_AN_AXIS, 20_000, false_alarm=PASSES
    ).is_violated
    equivariant = EquivariantNet(2, CosNet(1, 3))
    assert symmetry_test(equivariant, key, out, [[1.5, 0.0]], 4000, false_alarm=1e-6).is_violated


# Power: at the number of draws where `detectable` is the true violation, POWER of the runs reject.


def test_power_is_as_stated():
    pair = Correlators(((0, 1),))
    exact = [float(CUBE.two_point(*points)) for points in (ALONG_AN_AXIS, EIGHTH.on_points(ALONG_AN_AXIS))]
    violation = abs(exact[1] - exact[0]) / CUBE.two_point(np.zeros(2), np.zeros(2))
    pilot = symmetry_test(CUBE, jax.random.key(1000), EIGHTH, ALONG_AN_AXIS, 20_000, pair)
    num_draws = int(20_000 * (pilot.detectable[0] / violation) ** 2)
    assert 1000 < num_draws < 10_000
    hits = np.count_nonzero(p_values(CUBE, EIGHTH, ALONG_AN_AXIS, num_draws, 200, pair) < 1e-3)
    assert binom.ppf(5e-5, 200, POWER) <= hits <= binom.isf(5e-5, 200, POWER)


# Fields of Markov chains.


def ar1_fields(seed, second_variance, num_chains=2, draws=2000):
    """Two sites, AR(1) in the draw with tau_int = 4.5; exchanging them is a symmetry if their variances are equal."""
    fields = np.moveaxis(ar1(np.random.default_rng(seed), 0.8, (num_chains, 2, draws)), 1, 2)
    return fields * np.sqrt([1.0, second_variance])


def test_fields_of_chains_keep_the_false_alarm_rate():
    """200 runs at 5%, two-sided 1e-4; draws that were taken for independent would be rejected in most of them."""
    exchanged = [ar1_fields(seed, 1.0) for seed in range(200)]
    tests = [symmetry_test_of_fields(reflection([1.0]), f, f[..., ::-1], false_alarm=0.05) for f in exchanged]
    assert binom.ppf(5e-5, 200, 0.05) <= sum(test.is_violated for test in tests) <= binom.isf(5e-5, 200, 0.05)


def test_fields_of_chains_find_a_violation():
    """A variance of 1.6, not 1, and 4000 draws of tau_int 2.3: caught, with the error of correlated draws."""
    pair = Correlators(((0, 0),))
    fields = ar1_fields(0, 1.6)
    test = symmetry_test_of_fields(reflection([1.0]), fields, fields[..., ::-1], pair, false_alarm=1e-4)
    assert test.is_violated
    assert abs(test.difference[0] - 0.6) < 4 * test.error[0]
    # tau_int of a squared AR(1) series is (1 + a^2)/(2 (1 - a^2)) = 2.28.
    independent = math.sqrt((2 + 2 * 1.6**2) / test.num_draws)
    assert 1.5 < test.error[0] / independent < 3.0


def test_fields_of_chains_that_are_too_short():
    fields = ar1_fields(0, 1.0, draws=60)
    with pytest.raises(TooFewDraws):
        symmetry_test_of_fields(reflection([1.0]), fields, fields[..., ::-1])
    with pytest.raises(InputError, match="must be \\(chain, draw, points\\)"):
        symmetry_test_of_fields(reflection([1.0]), fields[0], fields[0])


# Networks that are invariant one by one.


@pytest.mark.parametrize(
    ("net", "element", "points"),
    [
        (EquivariantNet(2, CosNet(1, 3)), Joint(TURN.matrix), IN_A_PLANE[1:]),
        (ConvNet(3, 2), Orthogonal(np.roll(np.eye(3), 1, axis=0)), np.array([[0.3, 1.0, -0.2], [1.0, 0.0, 0.5]])),
    ],
)
def test_invariance_draw_by_draw_is_not_tested_on_rounding(net, element, points):
    test = symmetry_test(net, jax.random.key(0), element, points, 400)
    assert (test.dof, test.p_value, test.is_violated) == (0, 1.0, False)
    assert np.isnan(test.detectable).all()
    assert not test.error.any()


def test_an_even_correlator_does_not_notice_the_sign():
    test = symmetry_test(CosNet(1, 2), jax.random.key(0), SignFlip(), [[0.0]], 400, Correlators(((0, 0), (0,))))
    assert test.dof == 1
    assert test.error[0] == 0.0


# The rest.


def test_batches_have_no_effect_on_the_draws(monkeypatch):
    def draws():
        return np.concatenate(list(_draws.fields_in_batches(CosNet(1, 3), jax.random.key(4), ON_A_LINE, 100)))

    together = draws()
    monkeypatch.setattr(_draws, "_NUMBERS_PER_BATCH", 300)
    assert together.shape == (100, 3)
    np.testing.assert_allclose(draws(), together, rtol=1e-12, atol=1e-14)


def test_default_correlators():
    assert default_correlators(2, TURN).tuples == ((0, 0), (0, 1), (1, 1), (0, 0, 0, 0), (0, 0, 1, 1), (1, 1, 1, 1))
    assert default_correlators(2, SignFlip()).tuples == ((0,), (1,), (0, 0, 0), (0, 0, 1), (1, 1, 1))
    assert (0, 1, 2, 3) in default_correlators(4, TURN).tuples


def test_the_outcome_in_words():
    test = symmetry_test(CUBE, jax.random.key(0), EIGHTH, ALONG_AN_AXIS, 4000)
    assert str(test).startswith("Orthogonal: violated, p = ")
    assert "95% power for" in str(test)


NET = CosNet(1, 2)
REFUSED = [
    (lambda key: symmetry_test(NET, key, STEP, ON_A_LINE, 40), TooFewDraws, "40 draws were given"),
    (lambda key: symmetry_test(NET, key, STEP, ON_A_LINE, 0), InputError, "num_draws is 0"),
    (lambda key: symmetry_test(NET, key, STEP, [0.0], 4000), InputError, "points has shape (1,)"),
    (lambda key: symmetry_test(NET, key, TURN, ON_A_LINE, 4000), InputError, "Orthogonal acts on dim = 2"),
    (lambda key: symmetry_test(NET, key, STEP, ON_A_LINE, 4000, false_alarm=0.0), InputError, "false_alarm is 0.0"),
    (
        lambda key: symmetry_test(NET, key, STEP, ON_A_LINE, 4000, SOURCES),
        InputError,
        "characteristic_function.sources",
    ),
    (lambda key: symmetry_test(NET, key, STEP, [[0.0]], 4000, Correlators(((1,),))), InputError, "correlators.tuples"),
    (lambda key: Correlators(()), InputError, "correlators.tuples is ()"),
    (lambda key: Correlators(((0,) * 7,)), InputError, "correlators.tuples is"),
    (
        lambda key: CharacteristicFunction(((math.nan,),)),
        InputError,
        "characteristic_function.sources has shape (1, 1)",
    ),
]


@pytest.mark.parametrize(("call", "kind", "start"), REFUSED)
def test_bad_input_is_refused(call, kind, start):
    with pytest.raises(kind) as refusal:
        call(jax.random.key(0))
    assert str(refusal.value).startswith(start)
