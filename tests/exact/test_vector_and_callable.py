"""Vector outputs and user-made networks against their equations, written out again."""

import itertools
import math

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from nnft_mcmc.architectures import CosNet
from nnft_mcmc.architectures.callable import CallableNet
from nnft_mcmc.architectures.deep import MLP
from nnft_mcmc.architectures.dense import DenseNet
from nnft_mcmc.architectures.vector import EquivariantNet, VectorNet
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.insertions import PhiPower
from nnft_mcmc.lattice import Lattice
from tests.exact.compiled import draw, field, log_prior

RNG = np.random.default_rng


# Vector outputs.


@pytest.mark.parametrize("base", [CosNet(2, 4), DenseNet(2, 4, "erf", bias_std=0.3)])
def test_vector_correlators_from_the_wick_expansion_of_the_output_weights(base):
    """N E[A_a A_b A_c A_d] <ffff> - pairings, from the scalar net's one-neuron moment."""
    net, x = VectorNet(base, 2), RNG(9).normal(size=(4, 2))
    g = {(i, j): float(base.two_point(x[i], x[j])) for i, j in itertools.combinations(range(4), 2)}
    one_neuron = float(base.neuron_moment(*x)) / 3  # without the <a^4> of the scalar net
    delta, computed = np.eye(2), net.four_point_connected(*x)
    for a, b, c, d in np.ndindex(2, 2, 2, 2):
        wick = delta[a, b] * delta[c, d] + delta[a, c] * delta[b, d] + delta[a, d] * delta[b, c]
        pairings = (
            delta[a, b] * delta[c, d] * g[0, 1] * g[2, 3]
            + delta[a, c] * delta[b, d] * g[0, 2] * g[1, 3]
            + delta[a, d] * delta[b, c] * g[0, 3] * g[1, 2]
        )
        assert computed[a, b, c, d] == pytest.approx((wick * one_neuron - pairings) / 4, abs=1e-14)
    np.testing.assert_allclose(net.two_point(x[0], x[1]), g[0, 1] * delta, rtol=1e-14)


def test_vector_cos_net_at_one_point():
    net, x = VectorNet(CosNet(1, 4), 3), np.array([0.7])
    g4 = net.four_point_connected(x, x, x, x)
    assert g4[0, 0, 0, 0] == pytest.approx(3 / (8 * 4), rel=1e-12)
    assert g4[0, 0, 0, 0] == pytest.approx(3 * g4[0, 0, 1, 1], rel=1e-12)
    assert g4[0, 0, 0, 1] == 0.0
    assert net.four_point_connected(x, x[None], x, x).shape == (1, 3, 3, 3, 3)


def test_rotations_of_the_outputs_are_absorbed_into_the_output_weights():
    net, x = VectorNet(CosNet(2, 5), 3), RNG(10).normal(size=(4, 2))
    theta, rotation = draw(net), np.linalg.qr(RNG(11).normal(size=(3, 3)))[0]
    turned = {**theta, "amplitudes": theta["amplitudes"] @ rotation.T}
    phi = field(net, theta, x)
    assert phi.shape == (4, 3)
    np.testing.assert_allclose(field(net, turned, x), phi @ rotation.T, rtol=1e-12)
    assert log_prior(net, turned) == pytest.approx(float(log_prior(net, theta)), rel=1e-12)
    single = {**theta, "amplitudes": theta["amplitudes"][:, 0]}
    np.testing.assert_allclose(phi[:, 0], field(net.base, single, x), rtol=1e-12)


@pytest.mark.parametrize("profile", [MLP(1, 5, 3, "tanh", bias_std=0.5), DenseNet(1, 6, "erf", bias_std=1.0)])
def test_equivariant_net_turns_with_its_input_at_every_theta(profile):
    net, x = EquivariantNet(3, profile), RNG(12).normal(size=(4, 3))
    rotation = np.linalg.qr(RNG(13).normal(size=(3, 3)))[0]
    for seed in range(3):
        theta = draw(net, seed)
        np.testing.assert_allclose(field(net, theta, x @ rotation.T), field(net, theta, x) @ rotation.T, rtol=1e-10)
    not_equivariant = VectorNet(DenseNet(3, 6), 3)
    theta = draw(not_equivariant)
    assert (
        np.abs(field(not_equivariant, theta, x @ rotation.T) - field(not_equivariant, theta, x) @ rotation.T).max()
        > 0.01
    )


def test_equivariant_two_point():
    profile, x = DenseNet(1, 6, "erf", bias_std=1.0), RNG(14).normal(size=(2, 3))
    computed = EquivariantNet(3, profile).two_point(x[0], x[1])
    g = profile.two_point(np.array([x[0] @ x[0]]), np.array([x[1] @ x[1]]))
    np.testing.assert_allclose(computed, g * np.outer(x[0], x[1]), rtol=1e-14)


# One's own.


def test_a_callable_is_an_architecture():
    def wave(theta, x):
        return jnp.dot(theta["a"], jnp.tanh(jnp.dot(theta["w"], x))) / 2

    net = CallableNet(wave, {"w": dist.Normal(0, 1).expand((4, 1)), "a": dist.Normal(0, 1).expand((4,))}, dim=1)
    hash(net)
    theta, dense = draw(net), DenseNet(1, 4, "tanh")
    x = RNG(15).normal(size=(3, 1))
    as_dense = {"weights": theta["w"], "amplitudes": theta["a"] / 2}
    np.testing.assert_allclose(field(net, theta, x), field(dense, as_dense, x), rtol=1e-12)
    ensembles = [Ensemble(a, Lattice((3,), 0.5), PhiPower(4, 0.7)) for a in (net, dense)]
    jacobian = 4 * math.log(2)
    expected = float(ensembles[1].log_density(as_dense)) - jacobian
    assert ensembles[0].log_density(theta) == pytest.approx(expected, rel=1e-12)
