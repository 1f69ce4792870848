"""Control variates of Stein's identity against their definition, div u + u.grad ln P~; the regression on them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nnft_mcmc import (
    CosNet,
    Ensemble,
    InfiniteWidth,
    InputError,
    Lattice,
    MaternNet,
    PhiPower,
    Polynomial,
    ScalarNet,
    TwoQuadratureNet,
)
from nnft_mcmc.architectures import LatticeModes
from nnft_mcmc.estimators import stein_variates
from nnft_mcmc.statistics import control_coefficients
from tests.exact.test_identities import field_of

LINE = Lattice((3,), 0.5)
ACTION = Polynomial((0.0, 0.1, -0.3, 0.05, 0.4))
NETS = {
    "cauchy": ScalarNet(1, 4, 1.0, math.inf),
    "quadratures": TwoQuadratureNet(CosNet(1, 3, 2.0, 1.5)),
    "infinite width": InfiniteWidth(ScalarNet(1, 1, 1.0, math.inf), LINE),
}


@pytest.mark.parametrize("name", ["cauchy", pytest.param("quadratures", marks=pytest.mark.slow), "infinite width"])
def test_definition(name):
    """u = s^2 f(x) P for all x, P = phi(y) and (K F)(y), the divergence by automatic differentiation."""
    net, sites = NETS[name], LINE.num_sites
    ensemble = Ensemble(net, LINE, ACTION)
    theta = net.sample_parameters(jax.random.key(1))
    (block,) = ("amplitudes",) if "amplitudes" in theta else tuple(theta)
    shape, variance = theta[block].shape, net.prior()[block].variance.reshape(-1)

    def field(a):
        return field_of(ensemble, {**theta, block: a.reshape(shape)}).reshape(-1)

    def vector_fields(a):
        scaled = variance[:, None] * jax.jacfwd(field)(a).T  # s^2 f(x), (parameters, x)
        force = jax.grad(lambda phi: ensemble.action(phi.reshape(LINE.shape)))(field(a))
        pulled = jax.jacfwd(field)(a) @ (scaled @ force)
        return jnp.stack([jnp.einsum("ax,y->axy", scaled, p) for p in (field(a), pulled)])  # (2, parameters, x, y)

    def log_density(a):
        return -jnp.sum(a**2 / variance) / 2 - ensemble.action(field(a).reshape(LINE.shape))

    @jax.jit
    def identity(a):
        u, du = vector_fields(a), jax.jacfwd(vector_fields)(a)
        z = jnp.einsum("kaxya->kxy", du) + jnp.einsum("kaxy,a->kxy", u, jax.grad(log_density)(a))
        return (z + z[:, ::-1, ::-1]) / 2

    z = np.asarray(identity(theta[block].reshape(-1)))
    found = jax.jit(stein_variates(ensemble))(theta, field(theta[block].reshape(-1)).reshape(LINE.shape))
    kept = (sites**2 + 1) // 2
    np.testing.assert_allclose(found, z.reshape(2, -1)[:, :kept].reshape(-1), rtol=1e-10, atol=1e-12)


def test_improved_correlator_is_a_combination():
    """phi phi + Z_1 - Z_2^T = K - K F' K + K F F K, whose mean is the two-point function, in a box with one site."""
    lattice = Lattice((1,), 1.0)
    ensemble = Ensemble(InfiniteWidth(ScalarNet(1, 1, 2.0, math.inf), lattice), lattice, PhiPower(4, 0.3))
    phi, k = 0.7, 0.25
    field = jnp.full((1,), phi)
    theta = {"coefficients": field / math.sqrt(k)}
    first, second = jax.jit(stein_variates(ensemble))(theta, field)
    force, curvature = 4 * 0.3 * phi**3, 12 * 0.3 * phi**2
    assert phi**2 + first - second == pytest.approx(k - k**2 * (curvature - force**2), rel=1e-12)


def test_coefficients():
    """An observable that is a combination of variates and noise of its own; one variate twice, one that is zero."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(4000, 3)) * [1.0, 30.0, 0.01]
    z = np.column_stack([z, z[:, 0], np.zeros(4000)])
    noise = rng.normal(size=4000)
    observables = np.stack([2.0 + z[:, :3] @ [0.5, -0.1, 7.0], 1.0 + z[:, 1] + 1e-3 * noise], axis=-1)
    beta = control_coefficients(z, observables)
    improved = observables - z @ beta
    # <Z (O - <O>)> differs from <Z O> by the product of two means, each of order draws^-1/2
    assert improved[:, 0].std() < 0.05 * observables[:, 0].std()
    assert improved[:, 1].std() < 0.05 * observables[:, 1].std()
    np.testing.assert_allclose(beta[0], beta[3], rtol=1e-6)
    np.testing.assert_array_equal(beta[4], 0.0)


def test_what_is_refused():
    torus = Lattice((4,), 1.0, "torus")
    with pytest.raises(InputError, match="On a torus use improved_correlator"):
        stein_variates(Ensemble(LatticeModes(torus, 1.0), torus, PhiPower(4, 0.1)))
    with pytest.raises(InputError, match="a box of 100 sites"):
        stein_variates(Ensemble(CosNet(2, 3), Lattice((10, 10), 1.0), PhiPower(4, 0.1)))
    with pytest.raises(InputError, match="normal output weights, or a Gaussian field"):
        stein_variates(Ensemble(MaternNet(1, 3, 1.0, 1.0, amplitude_law="sign"), LINE, ACTION))
    with pytest.raises(InputError, match="needs 4 for each, 40 or more"):
        control_coefficients(np.ones((39, 10)), np.ones((39, 1)))
    with pytest.raises(InputError, match="must be"):
        control_coefficients(np.ones((39, 2)), np.ones((38, 1)))
    with pytest.raises(InputError, match="not finite"):
        control_coefficients(np.full((39, 2), np.nan), np.ones((39, 1)))
