"""Samplers on deformed Gaussian fields of which all is known, and wrong flows that must be found out.

Targets: lattice modes with a quadratic insertion (exact covariance), the infinite-width line (transfer matrix), a torus
of 3 x 3 at strong coupling (computed deterministically), the same as sums of neurons, and a network whose neurons share
a parameter (quadrature).
Each call of `assert_consistent` has a false alarm of 1e-4; the keys are fixed. Resolutions are relative errors of
<phi^2> and <M^2>; <phi^4> may have twice that. Controls: the exact answers at another coupling, and mutants.
"""

import functools
import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from nnft_mcmc.architectures import LatticeModes, ScalarNet
from nnft_mcmc.architectures._base import SumOfNeurons
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.insertions import PhiPower
from nnft_mcmc.lattice import Lattice
from nnft_mcmc.sampling import HMC, NUTS, Chains, Cluster, Composite, GaussianFlow, MoveKernel, Refresh
from nnft_mcmc.sampling.composite import WeightsFlow
from nnft_mcmc.sampling.gaussian_flow import Flow, GaussianFlowMove, whitenings
from nnft_mcmc.statistics import gamma_method
from tests.statistical.consistency import assert_consistent, assert_inconsistent, detectable_deviation
from tests.statistical.gaussian_targets import SCALES, TARGETS, strong_plane_by_rows
from tests.statistical.tiny_theories import normal


def run(ensemble, sampler, seed=1):
    """(chain, draw, 3) numbers whose means are the exact ones, and the statistics."""
    centre = ensemble.lattice.centre

    def collect(position):
        phi = position.field
        return {"kept": {"it": jnp.stack([phi[centre] ** 2, phi[centre] ** 4, phi.mean() ** 2])}}

    chains = Chains(ensemble, sampler, jax.random.key(seed), collect, sampler.num_samples)
    chains.warm_up(sampler.num_warmup)
    chunk = chains.draw(sampler.num_samples)
    return chunk["kept"]["it"], chunk["sample_stats"]


FLOW = GaussianFlow(num_chains=64, num_warmup=150, num_samples=500)
COMPOSITE = Composite(num_chains=64, num_warmup=150, num_samples=500)
CLUSTER = Cluster(num_chains=64, num_warmup=150, num_samples=500)
REFRESH = Refresh(num_chains=64, num_warmup=50, num_samples=1500)
HMC_MODES = HMC(num_chains=64, num_warmup=500, num_samples=300, num_steps=8)
NUTS_MODES = NUTS(num_chains=64, num_warmup=150, num_samples=200)
slow = pytest.mark.slow
CASES = [
    pytest.param("modes", FLOW, 0.015, id="flow-modes"),
    pytest.param("sites", FLOW, 0.015, id="flow-sites", marks=slow),
    pytest.param("line", FLOW, 0.015, id="flow-line"),
    pytest.param("strong", FLOW, 0.015, id="flow-strong"),
    pytest.param("modes", COMPOSITE, 0.015, id="composite-modes", marks=slow),
    pytest.param("line", COMPOSITE, 0.015, id="composite-line", marks=slow),
    pytest.param("strong", COMPOSITE, 0.015, id="composite-strong"),
    pytest.param("modes", CLUSTER, 0.015, id="cluster-modes", marks=slow),
    pytest.param("sites", CLUSTER, 0.015, id="cluster-sites", marks=slow),
    pytest.param("strong", CLUSTER, 0.015, id="cluster-strong", marks=slow),
    pytest.param("modes by neurons", REFRESH, 0.015, id="refresh-modes", marks=slow),
    pytest.param("line by neurons", REFRESH, 0.015, id="refresh-line", marks=slow),
    pytest.param("strong by neurons", REFRESH, 0.015, id="refresh-strong"),
    pytest.param("modes by neurons", COMPOSITE, 0.015, id="composite-modes by neurons", marks=slow),
    pytest.param("line by neurons", COMPOSITE, 0.015, id="composite-line by neurons", marks=slow),
    pytest.param("strong by neurons", COMPOSITE, 0.015, id="composite-strong by neurons", marks=slow),
    pytest.param("modes", HMC_MODES, 0.03, id="hmc-modes", marks=slow),
    pytest.param("line", HMC_MODES, 0.03, id="hmc-line", marks=slow),
    pytest.param("strong", HMC_MODES, 0.03, id="hmc-strong", marks=slow),
    pytest.param("modes", NUTS_MODES, 0.03, id="nuts-modes", marks=slow),
    pytest.param("line", NUTS_MODES, 0.03, id="nuts-line", marks=slow),
    pytest.param("strong", NUTS_MODES, 0.03, id="nuts-strong", marks=slow),
]


@pytest.mark.parametrize(("target", "sampler", "resolution"), CASES)
def test_exact_moments(target, sampler, resolution):
    """And <exp(-dH)> = 1 for the trajectories of the flow, whose steps are long enough for dH to matter."""
    ensemble, exact = TARGETS[target]
    values, statistics = run(ensemble, sampler)
    estimate, right = gamma_method(values), exact(1.0)
    assert_consistent(estimate, right, scale=SCALES * right, resolution=resolution)
    assert_inconsistent(estimate, exact(1.5), scale=SCALES * right, resolution=resolution)
    if "energy_error" in statistics:
        assert statistics["energy_error"].std() > 0.05
        assert_consistent(gamma_method(np.exp(-statistics["energy_error"])), 1.0, resolution=0.02)


def test_the_strong_plane_is_known():
    """Against digits from a contraction of all nine integrals by other means."""
    known = [2 * 0.176157908802, 4 * 0.060350032093, 2 * 0.782872411670 / 9]
    np.testing.assert_allclose(strong_plane_by_rows(1.0)[0], known, rtol=1e-3)


def test_the_free_theory_is_always_accepted():
    lattice = Lattice((4, 4), 1.0, "torus")
    ensemble = Ensemble(LatticeModes(lattice, 0.7), lattice)
    _, statistics = run(ensemble, GaussianFlow(num_chains=4, num_warmup=30, num_samples=50))
    np.testing.assert_allclose(statistics["acceptance_rate"], 1.0, rtol=1e-12)
    np.testing.assert_allclose(statistics["energy_error"], 0.0, atol=1e-12)


# Flows that are wrong, and must be found out.


@dataclass(frozen=True)
class WrongAngle(Flow):
    """Turns coordinates by a larger angle than momenta, so that volume is lost."""

    angle: float = 0.5

    def integrate(self, field_of, start, h, n_steps, scale):
        end = Flow.integrate(self, field_of, start, h, n_steps, scale)
        return end._replace(z=end.z * math.cos(self.angle) + end.p * math.sin(self.angle))


class ForgottenMomentum(Flow):
    """Draws the same momentum and the same uniform number for every trajectory."""

    def trajectory(self, field_of, z, tuning, scale, key):
        return Flow.trajectory(self, field_of, z, tuning, scale, jnp.zeros_like(key))


class NoKinetic(Flow):
    """Leaves p^2/2 out of the energy."""

    def integrate(self, field_of, start, h, n_steps, scale):
        end = Flow.integrate(self, field_of, start, h, n_steps, scale)
        return end._replace(p=start.p)


@functools.cache
def with_flow(flow_class, **settings):
    """What `run` gives for a wrong flow."""
    ensemble, _ = TARGETS["strong"]

    class Mutant(GaussianFlow):
        def kernel(self, ensemble):
            return MoveKernel(
                ensemble, GaussianFlowMove(flow_class(ensemble, 64, 0.8, **settings), whitenings(ensemble))
            )

    return run(ensemble, Mutant(num_chains=64, num_warmup=150, num_samples=500))


def assert_moments_are_found_out(values, target):
    """By the call that the right flow passes; whether it is the gates or the bound that stops them is all the same."""
    right = TARGETS[target][1](1.0)
    with pytest.raises(AssertionError):
        assert_consistent(gamma_method(values), right, scale=SCALES * right, resolution=0.015)


@pytest.mark.parametrize("flow_class", [WrongAngle, ForgottenMomentum, pytest.param(NoKinetic, marks=slow)])
def test_wrong_flows_are_found_out(flow_class):
    assert_moments_are_found_out(with_flow(flow_class)[0], "strong")


@pytest.mark.parametrize("angle", [0.1, pytest.param(0.05, marks=slow)])
def test_small_wrong_angles_are_found_out_by_their_energy_errors(angle):
    """Where volume shrinks by J, <exp(-dH)> = 1/J, and J = cos^9 of the angle for nine coordinates.

    The error from 32,000 trajectories is 0.0013 for the right flow, so that deviations of 0.7%, angles of 0.04, are
    seen with a probability of 95%; moments see angles from 0.2 on. The call is that which the right flow passes.
    """
    _, statistics = with_flow(WrongAngle, angle=angle)
    estimate = gamma_method(np.exp(-statistics["energy_error"]))
    assert detectable_deviation(estimate, 1.0) < math.cos(0.06) ** -9 - 1
    assert_inconsistent(estimate, 1.0, resolution=0.02)


class StaleField(WeightsFlow):
    """Moves the weights, and hands on the field that they had before."""

    def moves(self, position, tuning, scale, key, count):
        moved, tuning = WeightsFlow.moves(self, position, tuning, scale, key, count)
        return moved._replace(field=position.field), tuning


@slow
def test_a_stale_field_in_composite_is_found_out():
    class Mutant(Composite):
        def kernel(self, ensemble):
            move = self.move(ensemble)
            move.flow = StaleField(move.flow.flow, ensemble.architecture, move.flow.weights)
            return MoveKernel(ensemble, move)

    target = "strong by neurons"
    values, _ = run(TARGETS[target][0], Mutant(num_chains=64, num_warmup=150, num_samples=500))
    assert_moments_are_found_out(values, target)


@pytest.mark.parametrize("pace", [0.3, pytest.param("auto", marks=slow), pytest.param(2.5, marks=slow)])
def test_tuning_ends_with_the_warmup(pace):
    ensemble = Ensemble(ScalarNet(1, 6, 1.0, 3.0), Lattice((3,), 0.5), PhiPower(4, 1.0))
    chains = Chains(
        ensemble, Composite(num_chains=2, num_warmup=20, flows_per_sweep=pace), jax.random.key(5), lambda p: {}, 1
    )

    def tuned():
        refresh, flow, motion, tuned_pace = chains.state.tuning
        numbers = refresh.log_block, flow.step_size, flow.trajectory_length, motion.log_size, tuned_pace.pace
        return np.stack([np.asarray(number) for number in numbers])

    chains.warm_up(19)
    before = tuned()
    chains.warm_up(1)
    after = tuned()
    chains.warm_up(10)
    np.testing.assert_array_equal(tuned(), after)
    assert (before != after)[1].all()
    assert pace == "auto" or (after[4] == pace).all()
    assert not (chains.state.tuning.pace.warmup_left + chains.state.tuning.flow.warmup_left).any()


# Parameters that all neurons share.


class SharedScale(SumOfNeurons):
    """phi = s sum_i a_i, with s and a_i sqrt(width) standard normal."""

    dim: int = 1
    width: int = 3

    @property
    def common(self):
        return ("scale",)

    def prior(self):
        return {"amplitudes": dist.Normal(0.0, self.width**-0.5).expand((self.width,)), "scale": dist.Normal(0.0, 1.0)}

    def feature(self, theta_i, x):
        return theta_i["scale"]


@pytest.mark.parametrize("sampler", [Refresh, pytest.param(Composite, marks=slow)])
def test_shared_parameters(sampler):
    """<phi^2> and <s^2> by quadrature over s and g = sum_i a_i; control: the coupling 1.5 instead of 1."""
    ensemble = Ensemble(SharedScale(), Lattice((1,), 1.0), PhiPower(4, 1.0))
    settings = sampler(num_chains=256, num_warmup=50, num_samples=1000)

    def collect(position):
        return {"kept": {"it": jnp.stack([position.field[0] ** 2, position.theta["scale"] ** 2])}}

    chains = Chains(ensemble, settings, jax.random.key(3), collect, 1000)
    chains.warm_up(50)
    estimate = gamma_method(chains.draw(1000)["kept"]["it"])

    def exact(coupling):
        (s, weights), (g, other) = normal(1.0, 401), normal(1.0, 401)
        phi = np.outer(s, g)
        density = np.outer(weights, other) * np.exp(-coupling * phi**4)
        return np.array([(density * phi**2).sum(), density.sum(axis=1) @ s**2]) / density.sum()

    assert_consistent(estimate, exact(1.0), resolution=0.01)
    assert_inconsistent(estimate, exact(1.5), resolution=0.01)
