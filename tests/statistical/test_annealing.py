"""SMC from the prior against exact moments and partition functions, and what must be found out about wrong weights.

Every call of `assert_consistent` has a false alarm of 1e-4; keys are fixed. Resolutions are relative errors of <phi^2>,
twice that for <phi^4> and <M^2>. Controls: the exact answer at a wrong coupling, and kernels that weigh wrongly.
"""

import functools
import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nnft_mcmc import InputError
from nnft_mcmc.estimators.partition_function import log_partition_ratio
from nnft_mcmc.sampling import SMC, SMCKernel
from nnft_mcmc.sampling.annealing import Population
from nnft_mcmc.sampling.base_moves import base_kernel
from nnft_mcmc.statistics import gamma_method
from tests.statistical.consistency import assert_consistent, assert_inconsistent
from tests.statistical.ladder_targets import TARGETS, assert_resumes_bit_for_bit, run, started

slow = pytest.mark.slow
SETTINGS = {"num_chains": 64, "num_warmup": 50, "num_samples": 200, "num_particles": 4, "num_steps": 4}
# Settings, the resolution of the moments, the error of ln Z/Z0, and couplings that are told from 1.
CASES = {
    "cos_net": ({"num_chains": 128}, 0.015, 0.003, 1.3),
    "scalar_net_10": ({}, 0.02, 0.003, 1.4),
    "gaussian_plane": ({"num_steps": 6}, 0.02, 0.02, 1.3),
    "quartic_line": ({"num_steps": 6}, 0.02, 0.02, 1.3),
    "strong_plane": ({"num_steps": 12}, 0.02, 0.02, 1.5),
    "strong_plane by clusters": ({"num_steps": 12}, 0.02, 0.02, 1.5),
    "double_well": ({"num_steps": 16, "num_samples": 100}, 0.03, 0.04, 1.1),
}
SLOW = {"cos_net", "scalar_net_10", "quartic_line", "strong_plane", "strong_plane by clusters", "double_well"}


def settings(name):
    return SMC(**{**SETTINGS, **CASES[name][0]}, base=TARGETS[name].base)


@functools.cache
def chains(name):
    return started(TARGETS[name], settings(name))


@functools.cache
def annealed(name):
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
    target, (_, resolution, _, wrong) = TARGETS[name], CASES[name]
    estimate, exact = gamma_method(annealed(name)[0]), target.moments(1.0)
    scale = exact * np.array([1.0, 2.0, 2.0])[: len(exact)]
    assert_consistent(estimate, exact, scale=scale, resolution=resolution)
    assert_inconsistent(estimate, target.moments(wrong), scale=scale, resolution=resolution)


@cases
def test_partition_function(name):
    """The proposals are independent: tau_int is 1/2."""
    target, (_, _, resolution, wrong) = TARGETS[name], CASES[name]
    found = log_partition_ratio(annealed(name)[1])
    assert found.note == ""
    estimate = gamma_method(found.series)
    assert estimate.tau_int == pytest.approx(0.5, abs=0.1)
    assert_consistent(estimate, target.log_ratio(1.0), scale=1.0, resolution=resolution)
    assert_inconsistent(estimate, target.log_ratio(wrong), scale=1.0, resolution=resolution)


@cases
def test_acceptance_is_that_of_independent_estimates(name):
    """Of two independent Z_hat weighted by the older one, min(1, Z'/Z): the chain's acceptance within 10%."""
    stats = annealed(name)[1]
    log_z = stats["log_z"].ravel()
    weights = np.exp(log_z - log_z.max())
    ordered = np.sort(weights)
    below = np.concatenate([[0.0], np.cumsum(ordered)])
    rank = np.searchsorted(ordered, weights)
    # sum_i w_i mean_j min(1, w_j/w_i) / sum_i w_i
    expected = np.sum(below[rank] + weights * (len(ordered) - rank)) / len(ordered) / weights.sum()
    assert stats["acceptance_rate"].mean() == pytest.approx(expected, rel=0.1)
    assert (stats["ess"] <= SETTINGS["num_particles"] * (1 + 1e-9)).all()
    assert (stats["ess"] >= 1 - 1e-9).all()


# Kernels that are wrong, and must be found out.


class ForgetsAStep(SMCKernel):
    """The last step to scale 1 has no weight."""

    def log_increments(self, z, previous, scale):
        return jnp.where(scale == 1, 0.0, SMCKernel.log_increments(self, z, previous, scale))


class KeepsWeights(SMCKernel):
    """Resamples without setting the weights to 1."""

    def resampled(self, population, key):
        after = SMCKernel.resampled(self, population, key)
        return after._replace(log_weights=population.log_weights)


class MovesAtScaleOne(SMCKernel):
    """Moves every particle at the deformed density, whatever its scale."""

    def moved(self, movers, z, scale):
        return SMCKernel.moved(self, movers, z, jnp.ones_like(scale))


@dataclass(frozen=True, kw_only=True)
class Mutant(SMC):
    kernel_class: type = SMCKernel

    def kernel(self, ensemble):
        return self.kernel_class(base_kernel(self.base, ensemble), self.num_particles, self.num_steps)


@slow
@pytest.mark.parametrize("kernel_class", [SMCKernel, ForgetsAStep, KeepsWeights, MovesAtScaleOne])
def test_wrong_weights_are_found_out(kernel_class):
    """ln Z/Z0 is wrong by more than its error, in a theory in which the right kernel's is right."""
    chosen = {**SETTINGS, "num_steps": 3, "num_particles": 8}
    _, stats = run(TARGETS["strong_neuron"], Mutant(kernel_class=kernel_class, base="refresh", **chosen))
    estimate = gamma_method(log_partition_ratio(stats).series)
    exact = TARGETS["strong_neuron"].log_ratio(1.0)
    if kernel_class is SMCKernel:
        assert_consistent(estimate, exact, scale=1.0, resolution=0.02)
    else:
        assert_inconsistent(estimate, exact, scale=1.0, resolution=0.05, min_ess=100)


# Resampling.


def population(log_weights):
    """Particles that are numbered by their field."""
    number = jnp.arange(len(log_weights))
    kernel = SMCKernel(base_kernel("refresh", TARGETS["cos_net"].ensemble), len(log_weights), 2)
    return kernel, Population({"field": number}, jnp.asarray(log_weights), jnp.asarray(-0.7))


def test_resampling_is_systematic_and_keeps_the_estimate():
    """Particle j is taken floor or ceil of P w_j/sum w times; over keys, that many times on average."""
    weights = np.array([0.02, 5.0, 0.5, 0.3, 0.02, 1.0, 0.01, 0.01])
    kernel, before = population(np.log(weights))
    assert float(before.effective) == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    assert float(before.log_estimate) == pytest.approx(-0.7 + math.log(weights.mean()))
    after = jax.jit(jax.vmap(lambda key: kernel.resampled(before, key)))(jax.random.split(jax.random.key(2), 2000))
    chosen = np.asarray(after.z["field"])
    counts = (chosen[..., None] == np.arange(8)).sum(axis=1)
    expected = 8 * weights / weights.sum()
    assert (counts >= np.floor(expected)).all()
    assert (counts <= np.ceil(expected)).all()
    # Between floor and ceil the variance is at most 1/4; five errors.
    assert np.abs(counts.mean(axis=0) - expected).max() < 5 * 0.5 / math.sqrt(2000)
    assert (after.log_weights == 0).all()
    estimates = jax.vmap(lambda population: population.log_estimate)(after)
    np.testing.assert_allclose(estimates, before.log_estimate, rtol=1e-12)


def test_even_weights_are_left_alone():
    kernel, before = population(np.log([1.0, 1.5, 0.5, 1.0]))
    after = kernel.resampled(before, jax.random.key(3))
    np.testing.assert_array_equal(after.z["field"], before.z["field"])
    np.testing.assert_array_equal(after.log_weights, before.log_weights)


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
    [
        ({"num_particles": 0}, "num_particles is 0"),
        ({"num_steps": 0}, "num_steps is 0"),
        ({"base": "smc"}, "sampler.base is 'smc'.*one of composite"),
    ],
)
def test_settings_that_cannot_be(settings, complaint):
    with pytest.raises(InputError, match=complaint):
        SMC(**settings)


# ln Z/Z0 from the statistics of a run.


def test_heavy_tails_are_told():
    """Logarithms of Z_hat with a standard deviation of 3: the mean hangs on the largest few. Control: 0.3."""
    normal = np.random.default_rng(1).normal(size=(4, 500))
    assert log_partition_ratio({"log_z": 0.3 * normal}).note == ""
    assert "NOT to be trusted" in log_partition_ratio({"log_z": 3 * normal}).note
    assert "NOT to be trusted" in log_partition_ratio({"log_z": normal[:1, :5]}).note


def test_series_of_the_logarithm():
    """Means are exact, and large logarithms do no harm; other samplers tell nothing."""
    log_z = np.random.default_rng(2).normal(scale=0.1, size=(3, 200))
    for shift in (0.0, 2000.0):
        series = log_partition_ratio({"log_z": log_z + shift}).series
        assert series.mean() == pytest.approx(math.log(np.exp(log_z).mean()) + shift, abs=1e-9)
    scales = np.broadcast_to(np.array([1.0, 0.4, 0.0]), (3, 200, 3))
    actions = np.random.default_rng(3).gamma(2.0, size=(3, 200, 3))
    by_hand = [np.log(np.exp(-(0.6 * a[:, 1])).mean()) + np.log(np.exp(-(0.4 * a[:, 2])).mean()) for a in actions]
    series = log_partition_ratio({"replica_action": actions, "replica_scale": scales}).series
    np.testing.assert_allclose(series.mean(axis=1), by_hand, rtol=1e-12)
    assert log_partition_ratio({"acceptance_rate": log_z}) is None
