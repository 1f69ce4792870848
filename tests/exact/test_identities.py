"""Identities against their definition, div u + u.grad ln P~, by automatic differentiation in parameter space."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from nnft_mcmc.architectures import (
    MLP,
    CosNet,
    CubeNet,
    DenseNet,
    GaussNet,
    InfiniteWidth,
    LatticeModes,
    MaternNet,
    OnLattice,
    ScalarNet,
    SiteField,
    StratifiedNet,
    TwoQuadratureNet,
)
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.estimators import ACTION_TERMS, identities, tangent_kernel
from nnft_mcmc.estimators.identities import action_degrees, expected_variance, smearings
from nnft_mcmc.estimators.tangent_kernel import linear_block
from nnft_mcmc.estimators.vector_fields import own_fields, rotation_field
from nnft_mcmc.insertions import PhiPower, Polynomial
from nnft_mcmc.lattice import Lattice

LINE, BOX, TORUS = Lattice((5,), 0.5), Lattice((3, 3), 0.6), Lattice((4, 3), 0.5, "torus")
SEVERAL = Polynomial((0.0, 0.1, -0.3, 0.05, 0.4))
ENSEMBLES = {
    "ball": Ensemble(ScalarNet(2, 3, 1.0, 3.0, -1.0), BOX, SEVERAL),
    "ball, alpha 0": Ensemble(ScalarNet(2, 3, 1.0, 3.0, 0.0), BOX, SEVERAL),
    "cauchy": Ensemble(ScalarNet(1, 4, 1.0, math.inf), LINE, SEVERAL),
    "cos": Ensemble(CosNet(2, 3, 2.0, 1.5), BOX, SEVERAL),
    "quadratures": Ensemble(TwoQuadratureNet(CosNet(2, 3, 2.0, 1.5)), BOX, SEVERAL),
    "gauss": Ensemble(GaussNet(1, 3, 1.0, 0.5, 1.5), LINE, SEVERAL),
    "dense": Ensemble(DenseNet(1, 4, "tanh", 1.5, 0.5), LINE, SEVERAL),
    "cube": Ensemble(CubeNet(2, 3, 2.0), BOX, SEVERAL),
    "rayleigh": Ensemble(MaternNet(1, 3, 1.0, 1.0, amplitude_law="rayleigh"), LINE, SEVERAL),
    "stratified": Ensemble(StratifiedNet(ScalarNet(1, 3, 1.0, math.inf)), LINE, SEVERAL),
    "deep": Ensemble(MLP(1, 3, 3, bias_std=0.2), LINE, SEVERAL),
    "modes": Ensemble(LatticeModes(TORUS, 1.0), TORUS, SEVERAL),
    "sites": Ensemble(SiteField(TORUS, 1.0), TORUS, SEVERAL),
    "infinite width": Ensemble(InfiniteWidth(ScalarNet(1, 1, 1.0, math.inf), LINE), LINE, SEVERAL),
}


def field_of(ensemble, theta):
    """phi on the sites, point by point: a route that can be differentiated any number of times in either mode."""
    if isinstance(ensemble.architecture, OnLattice):
        return ensemble.architecture.on_sites(theta)
    return ensemble.architecture(theta, ensemble.lattice.sites)


def by_definition(ensemble, theta, block, fields):
    """div u + u.grad ln P~ for vector fields u on one block, functions of all parameters."""
    flat, back = ravel_pytree(theta[block])

    def u(value):
        moved = {**theta, block: back(value)}
        return jnp.stack([field(moved).reshape(-1) for field in fields])

    def log_density(value):
        moved = {**theta, block: back(value)}
        return ensemble.architecture.log_prior(moved) - ensemble.action(field_of(ensemble, moved))

    divergence = jnp.trace(jax.jacfwd(u)(flat), axis1=1, axis2=2)
    return divergence + jnp.dot(u(flat), jax.grad(log_density)(flat))


def linear_fields(ensemble, block):
    """u = c s^2 dh/da for every functional h of the family, by name, computed from the field alone."""
    architecture, lattice, prior = ensemble.architecture, ensemble.lattice, ensemble.architecture.prior()[block]

    def flow(h):
        def u(theta):
            def of_block(value):
                return h(field_of(ensemble, {**theta, block: value}).reshape(-1))

            gradient = jax.grad(of_block)(theta[block])
            if block == "phi":  # the covariance of the sites is not diagonal
                spectrum = jnp.asarray(architecture.spectrum())
                return jnp.fft.ifftn(spectrum * jnp.fft.fftn(gradient)).real
            return damping(theta) * prior.variance * gradient

        return u

    def damping(theta):
        jacobian = jax.jacfwd(lambda v: field_of(ensemble, {**theta, block: v}).reshape(-1))(theta[block])
        diagonal = jnp.sum((jacobian**2 * prior.variance[None]).reshape(lattice.num_sites, -1), axis=1)
        return 1.0 if isinstance(architecture, MLP) else 4 / (1 + diagonal.mean() / expected_variance(ensemble)) ** 2

    middle = np.zeros(lattice.num_sites)
    middle[np.ravel_multi_index(lattice.centre, lattice.shape)] = 1
    fields = {f"phi{k if k > 1 else ''}": flow(lambda phi, k=k: jnp.mean(phi**k) / k) for k in (1, 2, 3, 4)}
    for name, g in {**smearings(lattice), "middle": middle}.items():
        for k in (1, 2, 4):
            suffix = k if k > 1 else ""
            fields[f"{name}{suffix}"] = flow(lambda phi, k=k, g=g: jnp.dot(jnp.asarray(g), phi) ** k / k)
    return fields


def own_vector_fields(ensemble, block):
    """O X/n for every field of a parameter of its own, by name."""
    rows = np.arange(ensemble.architecture.width) if not isinstance(ensemble.architecture, MLP) else ...

    def bounded(theta):
        v = jnp.mean(field_of(ensemble, theta) ** 2) / expected_variance(ensemble)
        return (v - 1) / (v + 1)

    fields = {}
    for field in own_fields(ensemble.architecture.prior()[block], rows):

        def plain(theta, field=field):
            x, rho = field.field(theta[block])
            return x / max(1, rho.size)

        fields[field.name] = plain
        fields[f"{field.name} field"] = lambda theta, plain=plain: bounded(theta) * plain(theta)
    return fields


def all_by_definition(ensemble, known, theta):
    """Every identity of every block."""
    expected = {}
    for block, names in known.names.items():
        linear = block == linear_block(ensemble.architecture)
        fields = linear_fields(ensemble, block) if linear else own_vector_fields(ensemble, block)
        expected[block] = by_definition(ensemble, theta, block, [fields[name] for name in names])
    return expected


QUICK = ("cos", "gauss", "sites")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in ENSEMBLES]
)
def test_identities_are_what_they_are_defined_as(name):
    ensemble = ENSEMBLES[name]
    known = identities(ensemble)
    theta = ensemble.architecture.sample_parameters(jax.random.key(3))
    values = jax.jit(known)(theta, field_of(ensemble, theta))
    expected = jax.jit(lambda theta: all_by_definition(ensemble, known, theta))(theta)
    assert known.uncertified == ()
    assert set(values) == {*ensemble.architecture.prior(), ACTION_TERMS}
    for block in known.names:
        assert values[block].shape == (len(known.names[block]),)
        np.testing.assert_allclose(values[block], expected[block], rtol=1e-9, atol=1e-10)


def test_other_routes_give_the_same(monkeypatch):
    """Sums over many waves by the fast transforms, and sums over neurons in pieces with factorised features."""
    ensemble = ENSEMBLES["quadratures"]
    theta = ensemble.architecture.sample_parameters(jax.random.key(4))

    def evaluated(**settings):
        with monkeypatch.context() as patch:
            for name, value in settings.items():
                patch.setattr(tangent_kernel, name, value)
            return jax.jit(identities(ensemble))(theta, field_of(ensemble, theta))["amplitudes"]

    one_by_one, sites = evaluated(), ensemble.lattice.num_sites
    np.testing.assert_allclose(evaluated(MANY_NUMBERS=0), one_by_one, rtol=1e-8, atol=1e-10)
    in_pieces = evaluated(FEW_SITES=0, NEURONS_AT_ONCE=2 * sites)
    np.testing.assert_allclose(in_pieces, one_by_one, rtol=1e-8, atol=1e-10)


def test_action_terms():
    ensemble = ENSEMBLES["modes"]
    theta = ensemble.architecture.sample_parameters(jax.random.key(5))
    field = ensemble.field(theta)
    terms = jax.jit(identities(ensemble))(theta, field)[ACTION_TERMS]
    assert action_degrees(ensemble) == identities(ensemble).degrees == (1, 2, 3, 4)
    np.testing.assert_allclose(terms.sum(), ensemble.action(field), rtol=1e-12)
    np.testing.assert_allclose(terms[3], 0.4 * 0.25 * jnp.sum(field**4), rtol=1e-12)
    free = ensemble.undeformed()
    assert ACTION_TERMS not in jax.jit(identities(free))(theta, field)
    assert action_degrees(Ensemble(free.architecture, TORUS, PhiPower(6, 0.1))) == (6,)


def test_radial_fields_vanish_at_every_edge():
    for net in (ScalarNet(2, 3, 1.0, 3.0), StratifiedNet(ScalarNet(2, 6, 1.0, 3.0))):
        momenta = net.prior()["momenta"]
        (radius,) = own_fields(momenta, np.arange(net.width))
        w = np.zeros((net.width, 2))
        w[:, 0] = 3.0
        if isinstance(net, StratifiedNet):
            cells = net.cells
            w[:, 0] = np.append(net.base.momentum_law.quantile(cells.rho_edges[:-1]), 3.0)[cells.shell + 1]
        x, _ = radius.field(jnp.asarray(w))
        np.testing.assert_allclose(x, 0.0, atol=1e-12)


def generators(dim):
    """E_jk - E_kj, j < k."""
    unit = np.eye(dim)
    return [np.outer(unit[j], unit[k]) - np.outer(unit[k], unit[j]) for j in range(dim) for k in range(j + 1, dim)]


def test_the_field_of_rotations():
    """X = sum_A tr(A^T R) R A, and rho = sum_A d/dt tr(A^T R exp(tA)) = sum_A tr(A^T R A)."""
    for dim in (2, 3, 4):
        rotation = np.linalg.qr(np.random.default_rng(dim).normal(size=(dim, dim)))[0]
        x, rho = rotation_field(jnp.asarray(rotation))
        np.testing.assert_allclose(x, sum(np.trace(a.T @ rotation) * rotation @ a for a in generators(dim)), atol=1e-12)
        np.testing.assert_allclose(rho, sum(np.trace(a.T @ rotation @ a) for a in generators(dim)), atol=1e-12)


def test_laws_of_two_values_have_no_identity():
    signs = Ensemble(MaternNet(1, 3, 1.0, 1.0, amplitude_law="sign"), LINE, SEVERAL)
    known = identities(signs)
    assert known.uncertified == ("amplitudes",)
    assert set(known.names) == {"momenta", "phases"}
