"""Momentum and phase densities: quantiles, normalisation, draws, and the maps on which Hamiltonian samplers walk."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.distributions.transforms import biject_to
from scipy import stats
from scipy.integrate import quad
from scipy.special import gamma

from nnft_mcmc.architectures import CosNet, ScalarNet
from nnft_mcmc.architectures.priors import IsotropicMomentum, UniformPhase
from nnft_mcmc.architectures.radial import RHO_MAX, RadialLaw

INF = math.inf
FALSE_ALARM = 1e-4  # of each Kolmogorov-Smirnov test


def law(dim, mass, cutoff, alpha):
    return RadialLaw(dim, lambda k: (k**2 + mass**2) ** -(1 + alpha), scale=mass, cutoff=cutoff)


LAWS = {
    "cauchy": law(1, 0.7, INF, 0.0),
    "cauchy below a cut-off": law(1, 0.7, 5.0, 0.0),
    "heavy tail": law(1, 1.3, INF, -0.3),
    "disc": law(2, 1.0, 5.0, -1.0),
    "logarithmic": law(2, 0.4, 8.0, 0.0),
    "ball": law(3, 2.0, 3.0, -1.0),
    "free in three": law(3, 1.0, 5.0, 0.0),
    "four": law(4, 1.0, 3.0, 0.5),
    "four without a cut-off": law(4, 1.0, INF, 1.5),
}
every_law = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS.keys())

# 1 - e^-rho from the centre to far into the tail, and e^-rho beside it
RHO = jnp.concatenate([jnp.logspace(-6, 0, 50), jnp.linspace(1, 0.9 * RHO_MAX, 50)])
BELOW, ABOVE = -np.expm1(-np.asarray(RHO)), np.exp(-np.asarray(RHO))


def assert_quantile(law, expected):
    """To the accuracy that `RadialLaw` states."""
    error = np.abs(np.asarray(law.quantile(RHO)) - expected)
    assert (error < 1e-12 * (expected + law.scale * ABOVE)).all()


def test_quantile_of_the_cauchy_law():
    assert_quantile(LAWS["cauchy"], 0.7 / np.tan(math.pi / 2 * ABOVE))


def test_quantile_of_the_truncated_cauchy_law():
    assert_quantile(LAWS["cauchy below a cut-off"], 0.7 * np.tan(BELOW * math.atan(5.0 / 0.7)))


@pytest.mark.parametrize(("name", "dim", "cutoff"), [("disc", 2, 5.0), ("ball", 3, 3.0)])
def test_quantile_of_a_uniform_ball(name, dim, cutoff):
    assert_quantile(LAWS[name], cutoff * BELOW ** (1 / dim))


def test_quantile_of_the_logarithmic_law():
    assert_quantile(LAWS["logarithmic"], 0.4 * np.sqrt(np.expm1(BELOW * math.log1p((8.0 / 0.4) ** 2))))


def test_quantile_of_the_free_propagator_in_three_dimensions():
    """k - m atan(k/m) is the probability below k, up to its value at the cut-off."""
    k = np.asarray(LAWS["free in three"].quantile(RHO))
    np.testing.assert_allclose((k - np.arctan(k)) / (5 - math.atan(5)), BELOW, rtol=1e-9, atol=1e-13)


def test_quantile_of_students_t():
    nu = 2 + 2 * -0.3 - 1
    expected = stats.t(nu, scale=1.3 / math.sqrt(nu)).isf(ABOVE / 2)
    np.testing.assert_allclose(LAWS["heavy tail"].quantile(RHO), expected, rtol=1e-9)


@every_law
def test_quantile_starts_at_zero_and_rises_to_the_cutoff(law):
    k = np.asarray(law.quantile(jnp.linspace(0, RHO_MAX, 4001)))
    assert k[0] == 0.0
    assert (np.diff(k) >= -1e-14 * k[1:]).all()
    assert law.cutoff == INF or abs(k[-1] / law.cutoff - 1) < 1e-14


@every_law
def test_log_density_normalises(law):
    sphere = 2 * math.pi ** (law.dim / 2) / gamma(law.dim / 2)

    def radial(u):
        k = law.scale * math.sinh(u)
        return sphere * k ** (law.dim - 1) * math.exp(float(law.log_density(jnp.asarray(k)))) * law.scale * math.cosh(u)

    end = 80.0 if law.cutoff == INF else math.asinh(law.cutoff / law.scale)
    assert quad(radial, 0, end, epsabs=0, epsrel=1e-11, limit=400)[0] == pytest.approx(1, rel=1e-10)


LENGTHS = (0.0, 1e-6, 1e-3, 0.5, 1.5, 3.0, 4.0)
WALKED = ("cauchy", "disc", "logarithmic", "free in three", "four without a cut-off")
walked_law = pytest.mark.parametrize("law", [LAWS[name] for name in WALKED], ids=WALKED)


@functools.cache
def walk(law):
    """At vectors z of LENGTHS, 20 of each, by name: shape (lengths, 20, ...)."""
    distribution = IsotropicMomentum(law)
    transform = biject_to(distribution.support)

    def log_density(z):
        return distribution.log_prob(transform(z)) + transform.log_abs_det_jacobian(z, transform(z))

    @jax.jit
    @jax.vmap
    def at(z):
        w = transform(z)
        return {
            "z": z,
            "w": w,
            "inside": distribution.support(w),
            "inverse": transform.inv(w),
            "log_jacobian": transform.log_abs_det_jacobian(z, w),
            "derivative": jax.jacfwd(transform)(z),
            "reverse_derivative": jax.jacrev(transform)(z),
            "log_density": log_density(z),
            "gradients": jnp.stack(
                [jax.grad(log_density)(z), jax.grad(lambda z: distribution.log_prob(transform(z)))(z)]
            ),
        }

    directions = np.random.default_rng(law.dim).normal(size=(20, law.dim))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    z = np.multiply.outer(LENGTHS, directions).reshape(-1, law.dim)
    return {name: np.asarray(value).reshape(len(LENGTHS), 20, *value.shape[1:]) for name, value in at(z).items()}


@walked_law
def test_map_to_momenta_inverts_and_knows_its_jacobian(law):
    """Accuracy of the derivative falls like that of the table, 1e-13 of k, over dk/d|z|."""
    found = walk(law)
    assert found["inside"].all()
    np.testing.assert_allclose(found["inverse"], found["z"], rtol=1e-10)
    _, autodiff = np.linalg.slogdet(found["derivative"])
    np.testing.assert_allclose(found["log_jacobian"], autodiff, rtol=0, atol=2e-8)
    np.testing.assert_allclose(found["reverse_derivative"], found["derivative"], rtol=1e-9, atol=1e-9)


@walked_law
def test_walker_sees_a_standard_normal_density(law):
    found = walk(law)
    np.testing.assert_allclose(found["log_density"], stats.norm.logpdf(found["z"]).sum(axis=-1), rtol=1e-12)


@walked_law
def test_origin_is_no_singular_point(law):
    """At z = 0 exactly the map is 0, its derivative the limit of that nearby, and every gradient is 0, not NaN."""
    found = walk(law)
    assert (found["w"][0] == 0).all()
    np.testing.assert_allclose(found["derivative"][0], found["derivative"][1], rtol=1e-8, atol=1e-8)
    assert (found["gradients"][0] == 0).all()


@every_law
def test_far_walkers_keep_a_finite_density(law):
    """No probability lies there, but a trajectory may pass: |w| must not round to just outside the ball."""
    direction = np.random.default_rng(law.dim).normal(size=(500, law.dim))
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    far = law.quantile(jnp.asarray(RHO_MAX)) * direction
    assert np.isfinite(IsotropicMomentum(law).log_prob(far)).all()


def ks_p_value(law, k, mass_factor=1.0):
    """Of |w| = k under the law, of which the mass may be made wrong; the distribution function by quadrature."""
    mass, alpha = mass_factor * law.scale, ALPHAS[law]
    end = 60.0 if law.cutoff == INF else math.asinh(law.cutoff / mass)
    y = np.linspace(0, end, 40001)
    k_of_y = mass * np.sinh(y)
    density = k_of_y ** (law.dim - 1) * (k_of_y**2 + mass**2) ** -(1 + alpha) * np.cosh(y)
    cumulative = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return stats.kstest(k, lambda k: np.interp(np.arcsinh(k / mass), y, cumulative / cumulative[-1])).pvalue


ALPHAS = dict(zip(LAWS.values(), (0.0, 0.0, -0.3, -1.0, 0.0, -1.0, 0.0, 0.5, 1.5), strict=True))


@every_law
def test_draws_follow_the_law(law):
    """Kolmogorov-Smirnov, false alarm 1e-4; 100,000 draws see a mass 10% off wherever the mass enters."""
    w = np.asarray(IsotropicMomentum(law).sample(jax.random.key(7), (100_000,)))
    k = np.linalg.norm(w, axis=-1)
    assert ks_p_value(law, k) > FALSE_ALARM
    if ALPHAS[law] != -1.0:
        assert ks_p_value(law, k, mass_factor=1.1) < FALSE_ALARM


@every_law
def test_draws_are_isotropic(law):
    """One component of the direction has the density (1 - c^2)^((d-3)/2); false alarm 1e-4 for each component."""
    w = np.asarray(IsotropicMomentum(law).sample(jax.random.key(8), (20_000,)))
    direction = w / np.linalg.norm(w, axis=-1, keepdims=True)
    for c in direction.T:
        if law.dim == 1:
            assert stats.binomtest(int((c > 0).sum()), len(c)).pvalue > FALSE_ALARM
        else:
            half = (law.dim - 1) / 2
            assert stats.kstest((1 + c) / 2, stats.beta(half, half).cdf).pvalue > FALSE_ALARM


def test_draws_of_the_network_have_its_shapes_and_densities():
    net = ScalarNet(2, 1000, 1.0, 5.0)
    theta = net.sample_parameters(jax.random.key(9))
    assert {name: value.shape for name, value in theta.items()} == {
        "momenta": (1000, 2),
        "phases": (1000,),
        "amplitudes": (1000,),
    }
    assert all(value.dtype == jnp.float64 for value in theta.values())
    assert stats.kstest(theta["phases"], stats.uniform(-math.pi, 2 * math.pi).cdf).pvalue > FALSE_ALARM
    assert stats.kstest(theta["amplitudes"], stats.norm(scale=1000**-0.5).cdf).pvalue > FALSE_ALARM


# Phases.


def test_uniform_phase_density_and_draws():
    phase = UniformPhase()
    b = np.asarray(phase.sample(jax.random.key(1), (50_000,)))
    assert stats.kstest(b, stats.uniform(-math.pi, 2 * math.pi).cdf).pvalue > FALSE_ALARM
    np.testing.assert_allclose(phase.log_prob(b), -math.log(2 * math.pi), rtol=1e-15)


def test_turns_of_the_circle_share_the_density_of_the_phase():
    """sum_n P(b) h(b + 2 pi n) = P(b): whatever the density of b is, the walker's gives it back."""
    transform = biject_to(UniformPhase().support)
    b = jnp.linspace(-math.pi, math.pi, 101)
    turns = b[:, None] + 2 * math.pi * jnp.arange(-5, 6)[None, :]
    shares = jnp.exp(transform.log_abs_det_jacobian(turns, transform(turns)))
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-14)
    expected = stats.norm.cdf(turns + math.pi) - stats.norm.cdf(turns - math.pi)
    np.testing.assert_allclose(shares, expected, rtol=1e-9, atol=1e-15)


def test_the_walker_meets_no_seam_wall_or_flat_direction():
    """Across b = pi its field and its density have equal one-sided derivatives; far out the density falls off."""
    transform, net = biject_to(UniformPhase().support), CosNet(1, 1)

    def energy(z):
        theta = {"momenta": jnp.array([[0.7]]), "phases": transform(z)[None], "amplitudes": jnp.array([1.3])}
        return net(theta, jnp.array([0.4])) - transform.log_abs_det_jacobian(z, transform(z))

    for derivative in (energy, jax.grad(energy), jax.grad(jax.grad(energy))):
        below, above = (derivative(jnp.asarray(math.pi + side)) for side in (-1e-9, 1e-9))
        assert abs(below - above) < 1e-8
    z = jnp.array([0.0, 4.0, 8.0, 40.0])
    assert (jnp.diff(jax.vmap(lambda z: transform.log_abs_det_jacobian(z, transform(z)))(z)) < -1).all()
    assert jnp.isfinite(jax.vmap(jax.grad(energy))(z)).all()


def test_every_angle_has_a_finite_walker():
    """The ends of the circle and angles on other turns included, in single precision too."""
    transform = biject_to(UniformPhase().support)
    for dtype in (jnp.float32, jnp.float64):
        b = jnp.array([-math.pi, math.pi, 0.0, 7.0, -40.0], dtype=dtype)
        z = transform.inv(b)
        assert jnp.isfinite(z).all()
        np.testing.assert_allclose(jnp.cos(transform(z)), jnp.cos(b), rtol=0, atol=100 * jnp.finfo(dtype).eps)


def test_field_is_periodic_in_the_phase():
    net = CosNet(1, 1)

    def field(b):
        theta = {"momenta": jnp.array([[0.7]]), "phases": b[None], "amplitudes": jnp.array([1.3])}
        return net(theta, jnp.array([0.4]))

    turned = 0.3 + 2 * math.pi * jnp.array([0.0, -3.0, 1.0, 5.0])
    for f in (field, jax.grad(field)):
        np.testing.assert_allclose(jax.vmap(f)(turned), f(jnp.asarray(0.3)), rtol=1e-13)
