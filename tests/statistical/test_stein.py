r"""Stein (Schwinger-Dyson) identities for every block of parameters, sampler by sampler.

In unconstrained coordinates u with density P~(u) = P(theta) |dtheta/du| exp(-S_int), for every O that grows slowly,

    <d_i O + O d_i ln P~> = 0.

O = u_i averaged over the entries of a block, and for phases, whose coordinate is the angle itself on the circle,
O = sin(u_i). No exact answer is needed, so any network and any coupling can be asked. Each call of `assert_consistent`
has a false alarm of 1e-4 (Bonferroni over the blocks), with errors below 5% of <d_i O>, about 1; the keys are fixed.
Controls: the same with the interaction left out of ln P~, and moves that are wrong, at the same precision.
"""

import functools
import math
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
from numpyro.distributions import biject_to

from nnft_mcmc.architectures import CosNet, DenseNet, InfiniteWidth, ScalarNet, TwoQuadratureNet
from nnft_mcmc.architectures.priors import circle
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.insertions import PhiPower
from nnft_mcmc.lattice import Lattice
from nnft_mcmc.sampling import (
    HMC,
    NUTS,
    SMC,
    Chains,
    Composite,
    GaussianFlow,
    MoveKernel,
    Refresh,
    SMCKernel,
    Tempering,
    TemperingKernel,
    numpyro_model,
)
from nnft_mcmc.sampling.base_moves import base_kernel
from nnft_mcmc.sampling.model import inverse_masses
from nnft_mcmc.sampling.symmetry_moves import RigidMotion
from nnft_mcmc.statistics import gamma_method
from tests.statistical.consistency import assert_consistent, assert_inconsistent

BOX = Lattice((3, 3), 0.6)
LINE = Lattice((5,), 0.5)
ENSEMBLES = {
    "ball": Ensemble(ScalarNet(2, 3, 1.0, 3.0, -1.0), BOX, PhiPower(4, 2.0)),
    "phases": Ensemble(CosNet(2, 3, 2.0, 1.5), BOX, PhiPower(4, 2.0)),
    "quadratures": Ensemble(TwoQuadratureNet(CosNet(2, 3, 2.0, 1.5)), BOX, PhiPower(4, 2.0)),
    "dense": Ensemble(DenseNet(1, 4, "tanh", 1.5, 0.5), LINE, PhiPower(4, 4.0)),
    "line": Ensemble(InfiniteWidth(ScalarNet(1, 1, 1.0, math.inf), LINE), LINE, PhiPower(4, 2.0)),
}


def identities(ensemble, interacting):
    """Function from parameters to the d_i O + O d_i ln P~ of every block, by name of the block, sorted."""
    prior = ensemble.architecture.prior()
    maps = {name: biject_to(d.support) for name, d in prior.items() if d.support is not circle}

    def log_density(u):
        theta = {name: maps[name](value) if name in maps else value for name, value in u.items()}
        total = sum(d.log_prob(theta[name]).sum() for name, d in prior.items())
        total += sum(maps[name].log_abs_det_jacobian(u[name], theta[name]).sum() for name in maps)
        return total - (ensemble.action(ensemble.field(theta)) if interacting else 0.0)

    def at(theta):
        u = {name: maps[name].inv(value) if name in maps else value for name, value in theta.items()}
        score = jax.grad(log_density)(u)
        real = {name: (1.0 + u[name] * score[name]).mean() for name in maps}
        angles = {n: (jnp.cos(u[n]) + jnp.sin(u[n]) * score[n]).mean() for n in u if n not in maps}
        blocks = {**real, **angles}
        return jnp.stack([blocks[name] for name in sorted(blocks)])

    return at


@functools.cache
def kept(name, sampler):
    """The identities with and without the interaction, (chain, draw, 2, blocks)."""
    ensemble = ENSEMBLES[name]
    both = identities(ensemble, True), identities(ensemble, False)

    def collect(position):
        return {"kept": {"it": jnp.stack([f(position.theta) for f in both])}}

    chains = Chains(ensemble, sampler, jax.random.key(7), collect, sampler.num_samples)
    chains.warm_up(sampler.num_warmup)
    return chains.draw(sampler.num_samples)["kept"]["it"]


REFRESH = Refresh(num_chains=32, num_warmup=50, num_samples=80, thinning=3)
COMPOSITE = Composite(num_chains=32, num_warmup=100, num_samples=80, thinning=3)
FLOW = GaussianFlow(num_chains=32, num_warmup=100, num_samples=150)
HMC_STEPS = HMC(num_chains=64, num_warmup=200, num_samples=200, num_steps=8, thinning=3)
NUTS_STEPS = NUTS(num_chains=64, num_warmup=200, num_samples=200)
TEMPERING = Tempering(num_chains=32, num_warmup=120, num_samples=80, thinning=3, num_replicas=4, base="refresh")
ANNEALING = SMC(num_chains=64, num_warmup=60, num_samples=80, num_particles=4, num_steps=4, base="refresh")
slow = pytest.mark.slow
CASES = [
    pytest.param("ball", REFRESH, id="refresh-ball", marks=slow),
    pytest.param("phases", REFRESH, id="refresh-phases"),
    pytest.param("ball", COMPOSITE, id="composite-ball", marks=slow),
    pytest.param("quadratures", REFRESH, id="refresh-quadratures", marks=slow),
    pytest.param("dense", REFRESH, id="refresh-dense", marks=slow),
    pytest.param("phases", COMPOSITE, id="composite-phases", marks=slow),
    pytest.param("quadratures", COMPOSITE, id="composite-quadratures"),
    pytest.param("dense", COMPOSITE, id="composite-dense", marks=slow),
    pytest.param("line", COMPOSITE, id="composite-line", marks=slow),
    pytest.param("line", FLOW, id="flow-line", marks=slow),
    pytest.param("dense", FLOW, id="flow-dense"),
    pytest.param("ball", HMC_STEPS, id="hmc-ball", marks=slow),
    pytest.param("phases", HMC_STEPS, id="hmc-phases", marks=slow),
    pytest.param("ball", NUTS_STEPS, id="nuts-ball", marks=slow),
    pytest.param("phases", NUTS_STEPS, id="nuts-phases", marks=slow),
    pytest.param("quadratures", NUTS_STEPS, id="nuts-quadratures", marks=slow),
    pytest.param("dense", NUTS_STEPS, id="nuts-dense", marks=slow),
    pytest.param("line", NUTS_STEPS, id="nuts-line", marks=slow),
    pytest.param("ball", TEMPERING, id="tempering-ball", marks=slow),
    pytest.param("phases", TEMPERING, id="tempering-phases", marks=slow),
    pytest.param("quadratures", replace(TEMPERING, base="composite"), id="tempering-quadratures", marks=slow),
    pytest.param("dense", replace(TEMPERING, base="gaussian_flow"), id="tempering-dense", marks=slow),
    pytest.param("ball", ANNEALING, id="smc-ball", marks=slow),
    pytest.param("phases", ANNEALING, id="smc-phases", marks=slow),
    pytest.param("quadratures", replace(ANNEALING, base="composite"), id="smc-quadratures", marks=slow),
    pytest.param("dense", replace(ANNEALING, base="gaussian_flow"), id="smc-dense", marks=slow),
]


@pytest.mark.parametrize(("name", "sampler"), CASES)
def test_every_block_obeys_its_identity(name, sampler):
    values = kept(name, sampler)
    assert_consistent(gamma_method(values[:, :, 0]), np.zeros(values.shape[-1]), scale=1.0, resolution=0.05)
    assert_inconsistent(gamma_method(values[:, :, 1]), np.zeros(values.shape[-1]), scale=1.0, resolution=0.05)


# Moves that are wrong, and must be found out. Many of them in each transition, lest the sweep repair what they do.


class ManyMotions(RigidMotion):
    """Nothing wrong."""

    def moves(self, position, tuning, scale, key, count):
        return RigidMotion.moves(self, position, tuning, scale, key, 20 * count)


class UnaskedMotion(ManyMotions):
    """Moves the field whatever its action."""

    def move(self, position, tuning, scale, key):
        return RigidMotion.move(self, position, tuning, 0.0 * scale, key)


class ShrinkingMotion(ManyMotions):
    """Rescales the momenta as well, without the Jacobian that this would need."""

    def moved(self, theta, size, key):
        moved = RigidMotion.moved(self, theta, size, key)
        return {**moved, "momenta": moved["momenta"] * jnp.exp(-0.1 * jax.random.uniform(key))}


@functools.cache
def with_motion(motion_class):
    """The identities of a composite with other rigid motions."""

    class Mutant(Composite):
        def kernel(self, ensemble):
            move = self.move(ensemble)
            move.motion = motion_class(ensemble, ensemble.architecture)
            return MoveKernel(ensemble, move)

    settings = {"num_chains": 32, "num_warmup": 100, "num_samples": 80, "thinning": 3, "flows_per_sweep": 1.0}
    return gamma_method(kept("phases", Mutant(**settings))[:, :, 0])


def assert_found_out(estimate):
    """Wrong by more than its bound; the gate is a fifth of the wrong number, where that is larger than 1."""
    scale = np.maximum(1.0, np.abs(estimate.value))
    assert_inconsistent(estimate, np.zeros(len(scale)), scale=scale, resolution=0.2, min_ess=100)


@slow
def test_many_motions_obey_the_identities():
    estimate = with_motion(ManyMotions)
    assert_consistent(estimate, np.zeros(len(estimate.value)), scale=1.0, resolution=0.05)


@pytest.mark.parametrize("motion_class", [UnaskedMotion, pytest.param(ShrinkingMotion, marks=slow)])
def test_wrong_motions_are_found_out(motion_class):
    assert_found_out(with_motion(motion_class))


@dataclass(frozen=True, kw_only=True)
class NoJacobian(HMC):
    """Leaves out the Jacobian of the map from unconstrained momenta to those in the ball."""

    def kernel(self, ensemble):
        right = numpyro_model(ensemble)
        momenta = biject_to(ensemble.architecture.prior()["momenta"].support)

        def model():
            with numpyro.handlers.trace() as sites:
                right()
            theta = sites["momenta"]["value"]
            numpyro.factor("lost", -momenta.log_abs_det_jacobian(momenta.inv(theta), theta).sum())

        return self.hamiltonian_kernel(model, inverse_masses(ensemble.architecture.prior()))


@slow
def test_a_missing_jacobian_is_found_out():
    settings = {"num_chains": 64, "num_warmup": 200, "num_samples": 400, "num_steps": 8, "thinning": 3}
    assert_found_out(gamma_method(kept("ball", NoJacobian(**settings))[:, :, 0]))


class SwapsAlways(TemperingKernel):
    """No acceptance at all."""

    def log_swap_ratio(self, scales, actions):
        return jnp.zeros_like(actions[1:])


@dataclass(frozen=True, kw_only=True)
class WrongTempering(Tempering):
    def kernel(self, ensemble):
        return SwapsAlways(base_kernel(self.base, ensemble), self.num_replicas)


class TakesEveryProposal(SMCKernel):
    """No acceptance at all."""

    def step(self, state):
        return SMCKernel.step(self, state._replace(current_log_z=jnp.full_like(state.current_log_z, -jnp.inf)))


@dataclass(frozen=True, kw_only=True)
class WrongAnnealing(SMC):
    def kernel(self, ensemble):
        return TakesEveryProposal(base_kernel(self.base, ensemble), self.num_particles, self.num_steps)


@slow
@pytest.mark.parametrize(
    "sampler",
    [
        WrongTempering(num_chains=32, num_warmup=120, num_samples=80, thinning=3, num_replicas=4, base="refresh"),
        WrongAnnealing(num_chains=64, num_warmup=60, num_samples=80, num_particles=1, num_steps=1, base="refresh"),
    ],
    ids=["tempering", "smc"],
)
def test_wrong_acceptance_between_scales_is_found_out(sampler):
    assert_found_out(gamma_method(kept("phases", sampler)[:, :, 0]))
