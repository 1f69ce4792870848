"""The Gaussian flow, alone and in composite, against exact answers, and wrong versions of it that must be found out.

Targets: lattice modes with a quadratic insertion (exact covariance), the infinite-width line (transfer matrix), a torus
of 3 x 3 at strong coupling (computed deterministically), and a network whose neurons share a parameter (quadrature).
Each call of `assert_consistent` has a false alarm of 1e-4; the keys are fixed. Resolutions are relative errors of
<phi^2> and <M^2>; <phi^4> may have twice that. Controls: the exact answers at another coupling, and mutants.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from nnft_mcmc.architectures import InfiniteWidth, LatticeModes, MaternNet, ScalarNet, SiteField, TwoQuadratureNet
from nnft_mcmc.architectures._base import SumOfNeurons
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.exact import TransferMatrix
from nnft_mcmc.insertions import PhiPower, Polynomial
from nnft_mcmc.lattice import Lattice
from nnft_mcmc.sampling import NUTS, Chains, Composite, GaussianFlow, MoveKernel, Refresh
from nnft_mcmc.sampling.gaussian_flow import Flow, GaussianFlowMove, whitenings
from nnft_mcmc.sampling.symmetry_moves import RigidMotion, is_even, rigid_motion, sign_flip
from nnft_mcmc.statistics import gamma_method
from tests.statistical.consistency import assert_consistent, assert_inconsistent
from tests.statistical.tiny_theories import normal

# Exact targets: <phi^2>, <phi^4> at one site and <M^2>, M the mean of the field, for a coupling that much larger.


def gaussian_plane(architecture):
    lattice, coupling = Lattice((4, 4), 1.0, "torus"), 0.6

    def exact(factor):
        spectrum = LatticeModes(lattice, math.sqrt(0.5 + 2 * factor * coupling)).spectrum()
        return np.array([spectrum.mean(), 3 * spectrum.mean() ** 2, spectrum.flat[0] / 16])

    return Ensemble(architecture(lattice, math.sqrt(0.5)), lattice, PhiPower(2, coupling)), exact


def quartic_line():
    """The free scalar of mass 1 at infinite width."""
    lattice = Lattice((9,), 0.5)
    base = InfiniteWidth(ScalarNet(1, 1, 1.0, math.inf), lattice)
    ensemble = Ensemble(base, lattice, PhiPower(4, 0.5, "trapezoid"))

    def exact(factor):
        theory = TransferMatrix(1.0, lattice.axis(0), factor * ensemble.local_action.coefficients)
        return np.array([theory.moment(2)[4], theory.moment(4)[4], theory.two_point().mean()])

    return ensemble, exact


def strong_plane():
    """sum (d phi)^2 - 4 phi^2 + 6.975 phi^4 on a torus of 3 x 3, here phi times 2^1/2.

    Its exact values from a deterministic contraction of all nine integrals: <phi^2> = 0.176157908802,
    <phi^4> = 0.060350032093, sum_x <phi_0 phi_x> = 0.782872411670. Only factor = 1 is known.
    """
    lattice = Lattice((3, 3), 1.0, "torus")
    potential = Polynomial([0.0, 0.0, -2.0 - 0.5, 0.0, 6.975 / 4])
    known = np.array([2 * 0.176157908802, 4 * 0.060350032093, 2 * 0.782872411670 / 9])
    return Ensemble(LatticeModes(lattice, 1.0), lattice, potential), lambda factor: known * factor**-0.3


TARGETS = {
    "modes": gaussian_plane(LatticeModes),
    "sites": gaussian_plane(SiteField),
    "line": quartic_line(),
    "strong": strong_plane(),
}
SCALES = np.array([1.0, 2.0, 1.0])


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


def test_the_free_theory_is_always_accepted():
    lattice = Lattice((4, 4), 1.0, "torus")
    ensemble = Ensemble(LatticeModes(lattice, 0.7), lattice)
    _, statistics = run(ensemble, GaussianFlow(num_chains=4, num_warmup=30, num_samples=50))
    np.testing.assert_allclose(statistics["acceptance_rate"], 1.0, rtol=1e-12)
    np.testing.assert_allclose(statistics["energy_error"], 0.0, atol=1e-12)


# Flows that are wrong, and must be found out.


class WrongAngle(Flow):
    """Turns coordinates by a larger angle than momenta, so that volume is lost."""

    def integrate(self, field_of, start, h, n_steps, scale):
        end = Flow.integrate(self, field_of, start, h, n_steps, scale)
        angle = 0.5
        return end._replace(z=end.z * math.cos(angle) + end.p * math.sin(angle))


class ForgottenMomentum(Flow):
    """Draws the same momentum and the same uniform number for every trajectory."""

    def trajectory(self, field_of, z, tuning, scale, key):
        return Flow.trajectory(self, field_of, z, tuning, scale, jnp.zeros_like(key))


class NoKinetic(Flow):
    """Leaves p^2/2 out of the energy."""

    def integrate(self, field_of, start, h, n_steps, scale):
        end = Flow.integrate(self, field_of, start, h, n_steps, scale)
        return end._replace(p=start.p)


@pytest.mark.parametrize("flow_class", [WrongAngle, ForgottenMomentum, pytest.param(NoKinetic, marks=slow)])
def test_wrong_flows_are_found_out(flow_class):
    """By the call that the right flow passes; whether it is the gates or the bound that stops them is all the same."""
    ensemble, exact = TARGETS["strong"]

    class Mutant(GaussianFlow):
        def kernel(self, ensemble):
            return MoveKernel(ensemble, GaussianFlowMove(flow_class(ensemble, 64, 0.8), whitenings(ensemble)))

    values, _ = run(ensemble, Mutant(num_chains=64, num_warmup=150, num_samples=500))
    right = exact(1.0)
    with pytest.raises(AssertionError):
        assert_consistent(gamma_method(values), right, scale=SCALES * right, resolution=0.015)


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


# Moves by symmetries.

PLANE_WAVES = {
    "phases": ScalarNet(2, 5, 1.0, 3.0),
    "quadratures": TwoQuadratureNet(ScalarNet(2, 5, 1.0, 3.0)),
    "line": ScalarNet(1, 5, 1.0, math.inf),
    "sign law": MaternNet(2, 5, 1.0, 2.0, amplitude_law="sign"),
    "rayleigh law": MaternNet(2, 5, 1.0, 2.0, amplitude_law="rayleigh"),
}


@pytest.mark.parametrize("name", PLANE_WAVES)
def test_rigid_motions_move_the_field_and_keep_the_prior(name):
    """All momenta turn by one rotation and all phases at the origin by w.s with one s; the prior is equal."""
    net = PLANE_WAVES[name]
    theta = net.sample_parameters(jax.random.key(1))
    motion = rigid_motion(Ensemble(net, Lattice((3,) * net.dim, 0.5)))
    assert isinstance(motion, RigidMotion)
    moved = motion.moved(theta, jnp.asarray(0.7), jax.random.key(2))
    np.testing.assert_allclose(net.log_prior(moved), net.log_prior(theta), rtol=1e-10)
    old, new = net.waves(theta).momenta, net.waves(moved).momenta
    rotation = np.linalg.lstsq(np.asarray(old), np.asarray(new), rcond=None)[0].T
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(net.dim), atol=1e-10)
    assert net.dim == 1 or np.abs(rotation - np.eye(net.dim)).max() > 0.1
    before, after = (np.arctan2(-w.sines, w.cosines) for w in (net.waves(theta), net.waves(moved)))
    s = 0.7 * 0.75 * np.asarray(jax.random.normal(jax.random.split(jax.random.key(2))[0], (net.dim,)))
    np.testing.assert_allclose(np.exp(1j * (after - before)), np.exp(1j * np.asarray(new) @ s), atol=1e-10)


@pytest.mark.parametrize("name", PLANE_WAVES)
def test_the_sign_is_flipped(name):
    net = PLANE_WAVES[name]
    theta, x = net.sample_parameters(jax.random.key(1)), np.ones((1, net.dim)) * 0.3
    flipped = sign_flip(net)(theta, jnp.asarray(-1.0))
    np.testing.assert_allclose(net(flipped, x), -net(theta, x), rtol=1e-10)
    np.testing.assert_allclose(net.log_prior(flipped), net.log_prior(theta), rtol=1e-12)


def test_evenness_is_decided_from_the_coefficients():
    net, lattice = ScalarNet(1, 2, 1.0, 3.0), Lattice((3,), 0.5)
    even = Polynomial([1.0, 0.0, -1.0, 0.0, 0.5]).on(net, lattice)
    odd = Polynomial([0.0, 1e-9, -1.0, 0.0, 0.5]).on(net, lattice)
    assert is_even(even)
    assert not is_even(odd)


def test_an_odd_action_keeps_its_sign():
    """<phi> of a Gaussian field in a source J at one site is J <phi^2>; control: half of it."""
    lattice = Lattice((2, 2), 1.0, "torus")
    source = Polynomial([0.0, -0.5])
    ensemble = Ensemble(LatticeModes(lattice, 1.0), lattice, source)
    sampler = Composite(num_chains=64, num_warmup=100, num_samples=200)
    chains = Chains(ensemble, sampler, jax.random.key(4), lambda p: {"kept": {"it": p.field.mean()}}, 200)
    chains.warm_up(100)
    estimate = gamma_method(chains.draw(200)["kept"]["it"])
    assert_consistent(estimate, 0.5, resolution=0.03)  # J/m^2
    assert_inconsistent(estimate, 0.25, resolution=0.06)
