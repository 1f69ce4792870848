"""The ensemble: the architecture on the sites, and the deformed density."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm

from nnft_mcmc._checks import InputError
from nnft_mcmc.architectures import Architecture, CosNet, GaussNet, ScalarNet
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.insertions import PhiPower
from nnft_mcmc.lattice import Lattice

ENSEMBLES = [
    Ensemble(CosNet(1, 4, 1.1, 0.9), Lattice((5,), 0.3), PhiPower(4, 0.7, "trapezoid")),
    Ensemble(GaussNet(2, 4, 0.8, 0.4), Lattice((3, 2), 0.4), PhiPower(4, 0.7)),
    Ensemble(ScalarNet(3, 4, 1.0, 3.0, -1.0), Lattice((2, 3, 2), 0.5), PhiPower(6, 0.2)),
    Ensemble(ScalarNet(1, 4, 1.0, np.inf), Lattice((1,), 0.5)),
]
every_ensemble = pytest.mark.parametrize("ensemble", ENSEMBLES)


def theta_of(ensemble, seed=0):
    return ensemble.architecture.sample_parameters(jax.random.key(seed))


@every_ensemble
def test_field_is_the_network_at_the_sites(ensemble):
    theta, lattice = theta_of(ensemble), ensemble.lattice
    field = ensemble.field(theta)
    assert field.shape == lattice.shape
    np.testing.assert_allclose(field, ensemble.architecture(theta, lattice.sites), rtol=1e-12, atol=1e-13)
    for index in np.ndindex(lattice.shape):
        one = ensemble.architecture(theta, lattice.sites[index])
        assert float(field[index]) == pytest.approx(float(one), rel=1e-12, abs=1e-13)


@every_ensemble
def test_log_density_is_log_prior_minus_action(ensemble):
    theta = theta_of(ensemble)
    field = np.asarray(ensemble.field(theta))
    action = 0.0
    if ensemble.insertion is not None:
        weights = ensemble.lattice.quadrature_weights(ensemble.insertion.quadrature)
        action = ensemble.insertion.coupling * float((weights * field**ensemble.insertion.degree).sum())
    assert float(ensemble.action(jnp.asarray(field))) == pytest.approx(action, rel=1e-12)
    expected = float(ensemble.architecture.log_prior(theta)) - action
    assert float(ensemble.log_density(theta)) == pytest.approx(expected, rel=1e-12)


@every_ensemble
def test_gradient_of_the_log_density_is_the_chain_rule(ensemble):
    theta = theta_of(ensemble)
    gradient = jax.grad(ensemble.log_density)(theta)
    _, pull_back = jax.vjp(ensemble.field, theta)
    (by_force,) = pull_back(ensemble.local_action.force(ensemble.field(theta)))
    prior = jax.grad(ensemble.architecture.log_prior)(theta)
    for name in theta:
        np.testing.assert_allclose(gradient[name], prior[name] - by_force[name], rtol=1e-10, atol=1e-12)


def test_undeformed_is_the_free_ensemble():
    ensemble = ENSEMBLES[0].undeformed()
    theta = theta_of(ensemble)
    assert ensemble.local_action.is_free
    assert float(ensemble.log_density(theta)) == float(ensemble.architecture.log_prior(theta))


class Line(Architecture):
    """phi(x) = slope . x: an architecture that is no sum of neurons."""

    dim: int = 2

    def prior(self):
        return {}

    def forward(self, theta, x):
        return jnp.dot(theta["slope"], x)

    def log_prior(self, theta):
        return norm.logpdf(theta["slope"]).sum()


def test_field_of_an_architecture_that_is_no_sum_of_neurons():
    ensemble, theta = Ensemble(Line(), Lattice((3, 4), 0.5), PhiPower(4, 1.0)), {"slope": jnp.array([0.3, -2.0])}
    np.testing.assert_allclose(ensemble.field(theta), ensemble.lattice.sites @ [0.3, -2.0], rtol=1e-14, atol=1e-15)


def test_dimensions_must_agree_and_a_torus_needs_a_periodic_field():
    with pytest.raises(InputError, match=r"lattice.shape \[3, 3\] .* the architecture has dim = 1"):
        Ensemble(CosNet(1, 2), Lattice((3, 3), 1.0))
    with pytest.raises(InputError, match="not periodic"):
        Ensemble(CosNet(1, 2), Lattice((3,), 1.0, "torus"))
