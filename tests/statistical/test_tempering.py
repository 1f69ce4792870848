"""Replica exchange against exact moments and partition functions, and what must be found out about wrong swaps.

Every call of `assert_consistent` has a false alarm of 1e-4; keys are fixed. Resolutions are relative errors of <phi^2>,
twice that for <phi^4> and <M^2>. Controls: the exact answer at a coupling 20% off, and kernels that swap wrongly.
"""

import functools
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import pytest

from nnft_mcmc import InputError
from nnft_mcmc.estimators.partition_function import log_partition_ratio
from nnft_mcmc.sampling import GaussianFlow, Tempering, TemperingKernel, ladder
from nnft_mcmc.sampling.base_moves import base_kernel
from nnft_mcmc.statistics import gamma_method
from tests.statistical.consistency import assert_consistent, assert_inconsistent
from tests.statistical.ladder_targets import TARGETS, assert_resumes_bit_for_bit, run, started

SETTINGS = {"num_chains": 32, "num_warmup": 120, "num_samples": 600, "num_replicas": 4}
CASES = {
    "cos_net": ({"num_chains": 128}, 0.015, 1.3),
    "scalar_net_10": ({"num_samples": 300, "num_chains": 64}, 0.02, 1.4),
    "gaussian_plane": ({}, 0.02, 1.3),
    "quartic_line": ({}, 0.02, 1.3),
    "strong_plane": ({}, 0.02, 1.5),
    "strong_plane by clusters": ({}, 0.02, 1.5),
    "double_well": ({"num_replicas": 8, "num_samples": 1000, "num_chains": 8}, 0.02, 1.1),
}
SLOW = {"cos_net", "scalar_net_10", "gaussian_plane", "quartic_line", "strong_plane", "strong_plane by clusters"}
slow = pytest.mark.slow


def settings(name):
    return Tempering(**{**SETTINGS, **CASES[name][0]}, base=TARGETS[name].base)


@functools.cache
def chains(name):
    return started(TARGETS[name], settings(name))


@functools.cache
def tempered(name):
    """Kept (chain, draw, numbers) and sample_stats; the chains are put back to their start."""
    run, sampler = chains(name), settings(name)
    start = run.leaves()
    run.warm_up(sampler.num_warmup)
    chunk = run.draw(sampler.num_samples)
    run.restore(start)
    return chunk["kept"]["it"], chunk["sample_stats"]


cases = pytest.mark.parametrize("name", [pytest.param(name, marks=[slow] if name in SLOW else []) for name in CASES])


@cases
def test_moments(name):
    target, (_, resolution, wrong) = TARGETS[name], CASES[name]
    estimate, exact = gamma_method(tempered(name)[0]), target.moments(1.0)
    scale = exact * np.array([1.0, 2.0, 2.0])[: len(exact)]
    assert_consistent(estimate, exact, scale=scale, resolution=resolution)
    assert_inconsistent(estimate, target.moments(wrong), scale=scale, resolution=resolution)


@cases
def test_partition_function(name):
    """Resolution 0.02 of 1 + |ln Z/Z0|."""
    target, (_, _, wrong) = TARGETS[name], CASES[name]
    found = log_partition_ratio(tempered(name)[1])
    exact = target.log_ratio(1.0)
    assert found.note == ""
    estimate = gamma_method(found.series)
    assert_consistent(estimate, exact, scale=1 + abs(exact), resolution=0.02)
    assert_inconsistent(estimate, target.log_ratio(wrong), scale=1 + abs(exact), resolution=0.02)


@cases
def test_swaps_are_equally_likely_and_replicas_travel(name):
    stats = tempered(name)[1]
    acceptance = stats["swap_acceptance_rate"].mean(axis=(0, 1))
    assert acceptance.max() - acceptance.min() < 0.1
    assert (acceptance > 0.5).all()
    scales = stats["replica_scale"]
    assert (scales == scales[:, :1]).all()  # frozen
    assert (scales[..., 0] == 1).all()
    assert (scales[..., -1] == 0).all()
    assert (np.diff(scales, axis=-1) < 0).all()
    trips = stats["num_round_trips"]
    assert (np.diff(trips, axis=1) >= 0).all()
    assert (trips[:, -1] > 0.02 * trips.shape[1]).all()


# Kernels that are wrong, and must be found out.


class SwapsUphill(TemperingKernel):
    """The wrong sign in the exponent."""

    def log_swap_ratio(self, scales, actions):
        return -TemperingKernel.log_swap_ratio(self, scales, actions)


class SwapsAlways(TemperingKernel):
    """No acceptance at all."""

    def log_swap_ratio(self, scales, actions):
        return jnp.zeros_like(actions[1:])


class SwapsAtTheHigherScale(TemperingKernel):
    """exp(s (S - S')) with the larger of both scales, as if the other replica were free."""

    def log_swap_ratio(self, scales, actions):
        return scales[:-1] * (actions[:-1] - actions[1:])


@dataclass(frozen=True, kw_only=True)
class Mutant(Tempering):
    kernel_class: type = TemperingKernel

    def kernel(self, ensemble):
        return self.kernel_class(base_kernel(self.base, ensemble), self.num_replicas)


@pytest.mark.parametrize(
    "kernel_class",
    [SwapsUphill, pytest.param(SwapsAlways, marks=slow), pytest.param(SwapsAtTheHigherScale, marks=slow)],
)
def test_wrong_swaps_are_found_out(kernel_class):
    """By the call that the right kernel passes, with half as many draws."""
    mutant = Mutant(kernel_class=kernel_class, base="refresh", **{**SETTINGS, "num_chains": 64})
    estimate = gamma_method(run(TARGETS["cos_net"], mutant)[0])
    exact = TARGETS["cos_net"].moments(1.0)
    scale = exact * np.array([1.0, 2.0])
    assert_inconsistent(estimate, exact, scale=np.maximum(scale, estimate.value), resolution=0.03, min_ess=100)


# The double well, in which a single chain is slow.


@slow
def test_a_single_chain_is_slower_in_the_double_well():
    """Draws of M that one effective draw takes: at least five times those of replica exchange."""
    target, (changed, *_) = TARGETS["double_well"], CASES["double_well"]

    @dataclass(frozen=True)
    class Magnetization:
        ensemble: object

        def observe(self, position):
            return position.field.mean()[None]

    observed, chosen = Magnetization(target.ensemble), {**SETTINGS, **changed}
    alone = GaussianFlow(**{k: chosen[k] for k in ("num_chains", "num_warmup", "num_samples")})
    single = gamma_method(run(observed, alone)[0])
    exchanged = gamma_method(run(observed, settings("double_well"))[0])
    assert single.tau_int[0] > 5 * exchanged.tau_int[0]
    assert_consistent(exchanged, 0.0, scale=1.0, resolution=0.05)


# The ladder.


def test_rungs_at_equal_lengths():
    """With l(s) = s^2 between rungs, two rounds put them at the square roots, up to the interpolation."""
    scales = jnp.linspace(0, 1, 9) ** 3
    for _ in range(6):
        scales = ladder.equalised(scales, jnp.diff(scales**2))
    np.testing.assert_allclose(scales, jnp.sqrt(jnp.linspace(0, 1, 9)), atol=0.03)
    np.testing.assert_allclose(ladder.equalised(jnp.linspace(0, 1, 5), jnp.zeros(4)), np.linspace(0, 1, 5), atol=1e-12)
    stuck = ladder.equalised(jnp.linspace(0, 1, 5), jnp.array([0.0, 0.0, 0.0, 1.0]))
    assert (jnp.diff(stuck) > 0).all()
    overflown = ladder.equalised(jnp.linspace(0, 1, 5), jnp.array([jnp.inf, 1.0, 1.0, jnp.nan]))
    assert (jnp.diff(overflown) > 0).all()
    assert overflown[1] < 0.25


def test_rounds_double_and_end_with_the_warm_up():
    """8, 16, and 26 transitions of 32, which are enough; then nothing changes any more."""
    state, renewals = ladder.start(2, num_warmup=50), []
    for _ in range(80):
        state = ladder.observed(state, jnp.array([1.0, 3.0]))
        after = ladder.renewed(state, state.mean)
        if (after.scales != state.scales).any():
            renewals.append(int(after.transition))
        state = after
    assert renewals == [8, 24, 50]
    short = ladder.start(2, num_warmup=3)
    for _ in range(20):
        short = ladder.observed(short, jnp.array([1.0, 3.0]))
        short = ladder.renewed(short, short.mean)
    np.testing.assert_array_equal(short.scales, ladder.start(2, 3).scales)


def test_mean_and_deviation_of_a_round():
    x = np.random.default_rng(1).normal(size=(5, 2, 3))
    state = ladder.start(2, num_warmup=100)
    for values in x:
        state = ladder.observed(state, jnp.asarray(values))
    np.testing.assert_allclose(state.mean, x.mean(axis=(0, 2)), rtol=1e-12)
    np.testing.assert_allclose(state.deviation, x.std(axis=(0, 2)), rtol=1e-10)


# The state, and what is refused.


@cases
def test_pieces_and_restored_states_continue_bit_for_bit(name):
    """The ladder moves while states are saved."""
    run = chains(name)
    start = run.leaves()
    assert_resumes_bit_for_bit(run, 20)
    run.restore(start)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [({"num_replicas": 1}, "num_replicas is 1"), ({"base": "nuts"}, "sampler.base is 'nuts'.*one of composite")],
)
def test_settings_that_cannot_be(settings, complaint):
    with pytest.raises(InputError, match=complaint):
        Tempering(**settings)
