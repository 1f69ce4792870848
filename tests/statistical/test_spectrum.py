"""Energies of oscillators, from draws, against exact levels.

Every comparison has a false-alarm rate below 1e-4: |E - exact| within 4 errors, the model average being wider than a
normal error; and the error must be a small fraction of the level. Fixed keys.
"""

import jax
import numpy as np
import pytest

from nnft_mcmc import HMC, Ensemble, InfiniteWidth, Lattice, LatticeModes, PhiPower, ScalarNet, draw, sample
from nnft_mcmc.estimators.operators import slices_of_fields
from nnft_mcmc.estimators.spectrum import spectrum

SPACING = 0.25
BOUND = 4.0


def levels(ensemble, results, tau_int=0.5):
    found = spectrum(slices_of_fields(results["posterior/field"].values), ensemble.lattice, tau_int)
    return {(level.sector, level.number): level.energy for level in found.levels}


def agree(energy, exact, resolution):
    """Whether an energy is known to `resolution` of itself and agrees with the exact one."""
    assert energy.reason == ""
    assert energy.error < resolution * exact
    return abs(energy.value - exact) < BOUND * energy.error


@pytest.fixture(scope="module")
def harmonic():
    """The free field on a torus of one dimension: E_n = n omega, 2 sinh(omega a/2) = m a."""
    lattice = Lattice((32,), SPACING, "torus")
    ensemble = Ensemble(LatticeModes(lattice=lattice, mass=1.0), lattice)
    return levels(ensemble, draw(ensemble, jax.random.key(1), 16_000, store=("field",)))


OMEGA = 2 / SPACING * np.arcsinh(SPACING / 2)


@pytest.mark.parametrize(
    ("level", "multiple", "resolution"), [(("odd", 0), 1, 0.1), (("even", 0), 2, 0.1), (("odd", 1), 3, 0.12)]
)
def test_levels_of_the_harmonic_oscillator(harmonic, level, multiple, resolution):
    assert agree(harmonic[level], multiple * OMEGA, resolution)
    assert not agree(harmonic[level], 1.6 * multiple * OMEGA, resolution)


@pytest.mark.slow
def test_gap_of_the_line_from_the_bulk_of_a_box():
    """The free field on all of R, seen in a box: e^{-m t}; the gap is m at every spacing. Control: 1.5 m."""
    lattice = Lattice((33,), SPACING)
    ensemble = Ensemble(InfiniteWidth(ScalarNet(dim=1, width=1, mass=1.0, cutoff=np.inf), lattice), lattice)
    found = levels(ensemble, draw(ensemble, jax.random.key(2), 40_000, store=("field",)))
    assert agree(found["odd", 0], 1.0, 0.06)
    assert not agree(found["odd", 0], 1.5, 0.06)


def exact_levels(potential):
    """E_n - E_0 of the action a sum [(dx)^2/2a^2 + V(x)], by diagonalising the transfer matrix on a grid."""
    x = np.linspace(-8.0, 8.0, 501)
    v = potential(x)
    kinetic = (x[:, None] - x) ** 2 / (2 * SPACING)
    matrix = np.exp(-kinetic - SPACING * (v[:, None] + v) / 2)
    energies = -np.log(np.linalg.eigvalsh(matrix)[::-1][:5]) / SPACING
    return energies[1:] - energies[0]


def test_exact_levels_are_those_published():
    """The gap of V = x^2/2 + x^4/2 at spacing 1/4, and the harmonic ones."""
    assert exact_levels(lambda x: x**2 / 2 + x**4 / 2)[0] == pytest.approx(1.606111601622, abs=1e-10)
    np.testing.assert_allclose(exact_levels(lambda x: x**2 / 2), OMEGA * np.arange(1, 5), rtol=1e-10)


def levels_of_the_line(coupling):
    """The same of the line, free between its sites: Mehler's kernel between factors of the potential."""
    x = np.linspace(-8.0, 8.0, 501)
    v = SPACING * coupling * x**4 / 2
    mehler = ((x[:, None] ** 2 + x**2) * np.cosh(SPACING) - 2 * x[:, None] * x) / (2 * np.sinh(SPACING))
    energies = -np.log(np.linalg.eigvalsh(np.exp(-mehler - v[:, None] - v))[::-1][:5]) / SPACING
    return energies[1:] - energies[0]


@pytest.mark.slow
def test_levels_of_the_infinite_width_limit_from_the_bulk_of_a_box():
    """phi^4 inside a box of length 10 and free outside; levels from its middle. Control: the free levels 1, 2, 3."""
    lattice = Lattice((41,), SPACING)
    limit = InfiniteWidth(ScalarNet(dim=1, width=1, mass=1.0, cutoff=np.inf), lattice)
    ensemble = Ensemble(limit, lattice, PhiPower(degree=4, coupling=0.5, quadrature="trapezoid"))
    settings = HMC(num_chains=32, num_warmup=300, num_samples=2000)
    found = levels(ensemble, sample(ensemble, jax.random.key(2), settings, store=("field",)), tau_int=2.0)
    exact = levels_of_the_line(0.5)
    np.testing.assert_allclose(levels_of_the_line(0.0), [1, 2, 3, 4], rtol=1e-9)
    for n, level in enumerate([("odd", 0), ("even", 0), ("odd", 1)]):
        assert agree(found[level], exact[n], 0.1)
        assert not agree(found[level], n + 1, 0.1)


@pytest.mark.slow
def test_levels_of_the_anharmonic_oscillator():
    """MCMC of lattice modes on a torus of length 8; gap 1.606, then 3.570 and 5.765. Control: the harmonic levels."""
    lattice = Lattice((32,), SPACING, "torus")
    ensemble = Ensemble(LatticeModes(lattice=lattice, mass=1.0), lattice, PhiPower(degree=4, coupling=0.5))
    settings = HMC(num_chains=32, num_warmup=300, num_samples=2000)
    found = levels(ensemble, sample(ensemble, jax.random.key(3), settings, store=("field",)), tau_int=3.0)
    exact = exact_levels(lambda x: x**2 / 2 + x**4 / 2)
    for n, level in enumerate([("odd", 0), ("even", 0), ("odd", 1)]):
        assert agree(found[level], exact[n], 0.1)
        assert not agree(found[level], (n + 1) * OMEGA, 0.1)
