"""Lattice modes, site field and the infinite-width limit against the lattice operator written out as a matrix."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nnft_mcmc import Ensemble, InputError, Lattice, PhiPower
from nnft_mcmc.architectures import CosNet, InfiniteWidth, LatticeModes, ScalarNet, SiteField
from nnft_mcmc.architectures.on_lattice import dual_momenta, hartley

TORUS, MASS = Lattice((6, 4), 0.5, "torus"), 1.3


def lattice_operator(lattice, mass):
    """S_free = 1/2 phi M phi, the nearest-neighbour action of the module's docstring, site by site."""
    a, d, n = lattice.spacing, lattice.dim, lattice.num_sites
    number = np.arange(n).reshape(lattice.shape)
    matrix = np.eye(n) * a**d * mass**2
    for axis in range(d):
        neighbour = np.roll(number, -1, axis=axis).ravel()
        for x, y in zip(number.ravel(), neighbour, strict=True):
            matrix[[x, y], [x, y]] += a ** (d - 2)
            matrix[x, y] -= a ** (d - 2)
            matrix[y, x] -= a ** (d - 2)
    return matrix


def all_pairs(architecture, lattice):
    sites = lattice.sites.reshape(-1, lattice.dim)
    return architecture.two_point(sites[:, None], sites[None])


@pytest.mark.parametrize("architecture", [LatticeModes(TORUS, MASS), SiteField(TORUS, MASS)])
def test_covariance_is_the_inverse_of_the_lattice_operator(architecture):
    expected = np.linalg.inv(lattice_operator(TORUS, MASS))
    np.testing.assert_allclose(all_pairs(architecture, TORUS), expected, atol=1e-14)


def test_modes_map_white_noise_to_that_covariance():
    modes = LatticeModes(TORUS, MASS)
    matrix = jax.jacobian(lambda a: modes.on_sites({"amplitudes": a}).reshape(-1))(jnp.zeros(TORUS.shape))
    matrix = matrix.reshape(TORUS.num_sites, -1)
    np.testing.assert_allclose(matrix @ matrix.T, all_pairs(modes, TORUS), atol=1e-14)


def test_site_field_has_the_normalised_density_of_the_free_action():
    field, operator = SiteField(TORUS, MASS), lattice_operator(TORUS, MASS)
    phi = np.random.default_rng(0).normal(size=TORUS.shape)
    expected = -0.5 * phi.ravel() @ operator @ phi.ravel() + 0.5 * np.linalg.slogdet(operator / (2 * math.pi))[1]
    assert field.log_prior({"phi": jnp.asarray(phi)}) == pytest.approx(float(expected), rel=1e-12)
    several = field.prior()["phi"].log_prob(jnp.stack([phi, 2 * phi]))
    assert several[0] == pytest.approx(float(expected), rel=1e-12)


def test_density_of_modes_and_of_sites_agree_up_to_the_jacobian():
    """The two parametrisations of one theory: ln P(modes) - ln P(sites) is the same at every field."""
    modes, sites = LatticeModes(TORUS, MASS), SiteField(TORUS, MASS)
    insertion = PhiPower(4, 0.7)
    thetas = [modes.sample_parameters(jax.random.key(k)) for k in range(2)]
    fields = [Ensemble(modes, TORUS).field(theta) for theta in thetas]
    by_modes = [Ensemble(modes, TORUS, insertion).log_density(theta) for theta in thetas]
    by_sites = [Ensemble(sites, TORUS, insertion).log_density({"phi": phi}) for phi in fields]
    assert by_modes[0] - by_sites[0] == pytest.approx(float(by_modes[1] - by_sites[1]), rel=1e-11)


def test_hartley_transform_is_its_own_inverse():
    phi = np.random.default_rng(1).normal(size=(5, 3, 4))
    np.testing.assert_allclose(hartley(hartley(jnp.asarray(phi))), phi, atol=1e-14)


def test_continuum_dispersion_and_cutoff():
    modes = LatticeModes(TORUS, MASS, "continuum", 7.0)
    p2 = np.sum(dual_momenta(TORUS) ** 2, axis=-1)
    propagator = modes.propagator(dual_momenta(TORUS))
    np.testing.assert_allclose(propagator, np.where(p2 <= 49, 1 / (p2 + MASS**2), 0), rtol=1e-14)
    assert 0 < (propagator == 0).sum() < TORUS.num_sites
    volume = TORUS.num_sites * TORUS.cell_volume
    expected = np.sum(propagator) / volume  # G(0) = V^-1 sum_p G(p)
    assert modes.two_point(TORUS.sites[2, 1], TORUS.sites[2, 1]) == pytest.approx(expected, rel=1e-13)


def test_infinite_width_is_the_gaussian_process_of_its_base():
    lattice, base = Lattice((9,), 0.25), ScalarNet(1, 3, 1.0, math.inf)
    wide = InfiniteWidth(base, lattice)
    np.testing.assert_allclose(all_pairs(wide, lattice), all_pairs(base, lattice), rtol=1e-13)
    whitening = wide.process.whitening
    np.testing.assert_allclose(whitening @ whitening.T, all_pairs(base, lattice), atol=1e-13)
    assert (wide.four_point_connected(*lattice.sites[:4]) == 0).all()


def test_infinite_width_survives_a_kernel_singular_to_machine_precision():
    lattice = Lattice((65,), 0.1)
    wide = InfiniteWidth(CosNet(1, 1), lattice)
    assert wide.process.rank < 30
    whitening = wide.process.whitening
    np.testing.assert_allclose(whitening @ whitening.T, all_pairs(CosNet(1, 1), lattice), atol=1e-11)


@pytest.mark.parametrize("architecture", [LatticeModes(TORUS, MASS), SiteField(TORUS, MASS)])
def test_the_field_at_a_site_is_that_entry_of_the_field(architecture):
    theta = architecture.sample_parameters(jax.random.key(5))
    field = Ensemble(architecture, TORUS).field(theta)
    np.testing.assert_array_equal(architecture(theta, TORUS.sites), field)
    shifted = TORUS.sites + np.array([6 * 0.5, 0.0])  # once around the torus
    np.testing.assert_array_equal(architecture(theta, shifted), field)


def test_there_is_no_field_off_the_sites():
    box = Lattice((3,), 1.0)
    wide = InfiniteWidth(CosNet(1, 1), box)
    theta = wide.sample_parameters(jax.random.key(0))
    assert jnp.isnan(wide(theta, jnp.array([[0.3], [2.0]]))).all()
    assert jnp.isfinite(wide(theta, box.sites)).all()


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: LatticeModes(Lattice((4,), 1.0), 1.0), "lattice_modes is a field on a torus"),
        (lambda: LatticeModes(TORUS, 1.0, "lattise"), "lattice_modes.dispersion is 'lattise'"),
        (lambda: SiteField(TORUS, -1.0), "site_field.mass is -1.0"),
        (lambda: InfiniteWidth(CosNet(1, 1), Lattice((3, 3), 1.0)), "infinite_width has a base of dim = 1"),
        (
            lambda: InfiniteWidth(ScalarNet(2, 1, 1.0, math.inf, 0.5), Lattice((3, 3), 1.0)),
            "infinite_width needs a finite",
        ),
        (lambda: SiteField(TORUS, 1.0).two_point(np.array([0.2, 0.0]), np.zeros(2)), "a point is not a site"),
        (lambda: Ensemble(SiteField(TORUS, 1.0), Lattice((6, 4), 0.4, "torus")), "SiteField lives on"),
        (lambda: Ensemble(CosNet(2, 3), TORUS), "lattice.geometry is 'torus'"),
    ],
)
def test_bad_input_is_one_sentence(build, says):
    with pytest.raises(InputError) as caught:
        build()
    assert str(caught.value).startswith(says)
