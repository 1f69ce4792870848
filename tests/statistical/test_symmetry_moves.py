"""Moves by exact symmetries of the prior: what they do to a field, and where they are made.

Each call of `assert_consistent` has a false alarm of 1e-4; the keys are fixed.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nnft_mcmc.architectures import LatticeModes, MaternNet, ScalarNet, TwoQuadratureNet
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.insertions import Polynomial
from nnft_mcmc.lattice import Lattice
from nnft_mcmc.sampling import Chains, Composite
from nnft_mcmc.sampling.symmetry_moves import RigidMotion, is_even, rigid_motion, sign_flip
from nnft_mcmc.statistics import gamma_method
from tests.statistical.consistency import assert_consistent, assert_inconsistent

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
