"""Modes with the lattice dispersion and site values are one theory: equal densities up to the Jacobian of the map."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nnft_mcmc import Ensemble, InputError, Lattice, LatticeModes, LatticePhi4, PhiPower, Polynomial, SiteField
from nnft_mcmc.references import total_action
from nnft_mcmc.sampling.cluster import parameters_of

INSERTIONS = {
    "weak": PhiPower(4, 0.01),
    "strong": PhiPower(4, 30.0),
    "double well": LatticePhi4("schaich_loinaz", mu2=-3.0, lam=0.5),
    "odd": Polynomial([0.1, 0.2, -0.3, -0.1, 0.4]),
}
LATTICES = [Lattice((6,), 0.5, "torus"), Lattice((4, 3), 0.8, "torus"), Lattice((3, 2, 3), 1.0, "torus")]


@pytest.mark.parametrize("insertion", INSERTIONS.values(), ids=INSERTIONS)
@pytest.mark.parametrize("lattice", LATTICES, ids=lambda lattice: f"d={lattice.dim}")
def test_densities_differ_by_the_jacobian(lattice, insertion):
    """ln P_modes(theta) = ln P_site(phi(theta)) + ln |det dphi/dtheta|, of K^(1/2), at every coupling."""
    modes, sites = (Ensemble(a(lattice, 1.3), lattice, insertion) for a in (LatticeModes, SiteField))
    jacobian = 0.5 * np.sum(np.log(modes.architecture.spectrum()))
    for key in jax.random.split(jax.random.key(0), 3):
        theta = {"amplitudes": 1.5 * jax.random.normal(key, lattice.shape)}
        phi = modes.field(theta)
        assert float(modes.log_density(theta)) == pytest.approx(
            float(sites.log_density({"phi": phi})) + jacobian, rel=1e-12, abs=1e-10
        )
        np.testing.assert_allclose(
            parameters_of(modes.architecture, phi)["amplitudes"], theta["amplitudes"], atol=1e-12
        )


@pytest.mark.parametrize("lattice", LATTICES, ids=lambda lattice: f"d={lattice.dim}")
def test_the_density_of_site_values_is_the_lattice_action_written_out(lattice):
    """Differences of ln P_site are those of sum_x [-c sum phi phi_mu + a phi^2 + b phi^4]."""
    ensemble = Ensemble(SiteField(lattice, 1.3), lattice, PhiPower(2, -1.1) + PhiPower(4, 0.7))
    s = total_action(ensemble)
    fields = np.random.default_rng(1).normal(size=(2, *lattice.shape))

    def action(phi):
        bonds = sum(phi * np.roll(phi, -1, mu) for mu in range(lattice.dim))
        return np.sum(-s.hopping * bonds + s.quadratic * phi**2 + s.quartic * phi**4)

    found = [float(ensemble.log_density({"phi": jnp.asarray(phi)})) for phi in fields]
    assert found[0] - found[1] == pytest.approx(action(fields[1]) - action(fields[0]), rel=1e-12)


def test_total_action_of_a_named_convention():
    lattice = Lattice((4, 4), 0.8, "torus")
    ensemble = Ensemble(LatticeModes(lattice, 1.3), lattice, LatticePhi4("albergo", m2=-4.0, lam=6.975))
    s = total_action(ensemble)
    assert (s.hopping, s.quadratic, s.quartic) == pytest.approx((1.0, 0.0, 6.975 / 4), abs=1e-13)
    with pytest.raises(InputError, match="other powers than"):
        total_action(Ensemble(LatticeModes(lattice, 1.3), lattice, PhiPower(6, 0.1)))
