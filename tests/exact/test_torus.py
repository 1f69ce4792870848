"""Contracted tori: published tables, the Gaussian case mode by mode, brute force, and other grids."""

import itertools
import math

import numpy as np
import pytest

from nnft_mcmc import (
    Ensemble,
    InfiniteWidth,
    InputError,
    Lattice,
    LatticeModes,
    LatticePhi4,
    PhiPower,
    Polynomial,
    ScalarNet,
    SiteField,
    Source,
    TorusTheory,
    TransferMatrix,
    exact_reference,
)
from nnft_mcmc.exact import mehler, torus_rows

ALBERGO = {
    2: (1.173184710778, 0.195626210163, 0.071128384092, 0.123060239521, 0.544209630893),
    3: (1.969824275117, 0.176157908802, 0.060350032093, 0.085470736925, 0.782872411670),
}


def albergo(size):
    """m2 = -4, lam = 6.975: c = 2, a = 0, b = lam."""
    return TorusTheory((size, size), 2.0, (0, 0, 0, 0, 6.975))


@pytest.mark.parametrize("size", ALBERGO)
def test_published_tori(size):
    theory = albergo(size)
    found = (theory.log_z, theory.moment(2), theory.moment(4), theory.nearest_neighbour, theory.susceptibility)
    np.testing.assert_allclose(found, ALBERGO[size], rtol=0, atol=2e-12)
    identity = -2 * 2.0 * 2 * theory.nearest_neighbour + 4 * 6.975 * theory.moment(4)
    assert identity == pytest.approx(1, abs=1e-11)


@pytest.mark.parametrize(("precision", "error"), [(1e-5, 5e-7), (1e-7, 2e-9), (1e-9, 1e-11)])
def test_what_dropped_states_cost(precision, error):
    """A twentieth of their weight, or less."""
    theory = TorusTheory((3, 3), 2.0, (0, 0, 0, 0, 6.975), precision)
    found = (theory.log_z, theory.moment(2), theory.moment(4), theory.nearest_neighbour, theory.susceptibility)
    np.testing.assert_allclose(found, ALBERGO[3], rtol=error)


RINGS = [
    (0.1, 0.5, 0.3979230817, 0.4477472028, 1.1843562870),
    (1.0, 0.5, 0.2419336950, 0.1519840855, 1.8032831440),
    (1.0, 0.1, 0.2564549051, 0.1804310026, 1.9272941811),
]


@pytest.mark.parametrize(("lam", "a", "x2", "x4", "gap"), RINGS)
def test_published_rings(lam, a, x2, x4, gap):
    """S = a sum [(dx)^2/2a^2 + x^2/2 + lam x^4], period 20."""
    theory = TorusTheory((round(20 / a),), 1 / a, (0, 0, 1 / a + a / 2, 0, a * lam))
    assert theory.moment(2) == pytest.approx(x2, abs=6e-11)
    assert theory.moment(4) == pytest.approx(x4, abs=6e-11)
    assert theory.gap / a == pytest.approx(gap, abs=6e-11)


def test_published_integral_in_no_dimension():
    """One site, its own neighbour, has no hopping term: Z = int exp(-phi^2/2 - phi^4/2)."""
    for hopping in (0.3, 2.0):
        theory = TorusTheory((1,), hopping, (0, 0, hopping + 0.5, 0, 0.5))
        assert math.exp(theory.log_z) == pytest.approx(1.748944705359, abs=1e-11)
        assert theory.moment(2) == pytest.approx(0.365957321231, abs=1e-11)
        assert theory.moment(4) == pytest.approx(0.317021339385, abs=1e-11)


def test_the_continuum_oscillator_is_the_limit_of_mehler_rings():
    """<x^2> = .306548273984 at beta = 4, lambda = .5. Splitting the potential from exact propagation errs by even
    powers of the spacing, so that two steps of Richardson's extrapolation leave O(a^6)."""
    rough = []
    for n in (32, 64, 128):
        hopping, potential = mehler(1.0, 4 / n, (0, 0, 0, 0, 0.5 * 4 / n))
        rough.append(TorusTheory((n,), hopping, potential).moment(2))
    once = [(4 * fine - coarse) / 3 for coarse, fine in itertools.pairwise(rough)]
    assert (16 * once[1] - once[0]) / 15 == pytest.approx(0.306548273984, abs=1e-8)


def test_mehler_ring_and_the_chain_of_the_same_kernels_meet_far_from_the_ends():
    """At gap 1.6 a ring of 16 and the middle of a box of 16 both see the vacuum up to e^-13."""
    a, n = 0.5, 33
    hopping, potential = mehler(1.0, a, (0, 0, 0, 0, 0.5 * a))
    box = TransferMatrix(1.0, a * np.arange(n), np.outer([0, 0, 0, 0, 0.5 * a], np.ones(n)))
    assert TorusTheory((n,), hopping, potential).moment(2) == pytest.approx(box.moment(2)[n // 2], rel=1e-8)


@pytest.mark.parametrize("shape", [(1,), (2,), (5,), (1, 1), (2, 2), (3, 2), (2, 3)])
def test_gaussian_tori_mode_by_mode(shape):
    lattice = Lattice(shape, 0.7, "torus")
    c, a = 0.7 ** (len(shape) - 2), len(shape) * 0.7 ** (len(shape) - 2) + 0.5 * 4.0**2 * 0.7 ** len(shape)
    theory = TorusTheory(shape, c, (0.2, 0, a), precision=1e-10)
    free = exact_reference(Ensemble(SiteField(lattice, 4.0), lattice)).values
    spectrum = SiteField(lattice, 4.0).spectrum()
    log_z = 0.5 * np.sum(np.log(2 * math.pi * spectrum)) - 0.2 * lattice.num_sites
    assert theory.log_z == pytest.approx(log_z, rel=1e-8)
    assert theory.moment(2) == pytest.approx(float(free["phi2"]), rel=1e-8)
    assert theory.moment(4) == pytest.approx(float(free["phi4"]), rel=1e-8)
    np.testing.assert_allclose(theory.two_point, free["two_point"], rtol=1e-8)
    assert 0.7 ** len(shape) * theory.susceptibility == pytest.approx(float(free["susceptibility"]), rel=1e-8)
    if len(shape) == 2:
        assert theory.nearest_neighbour == pytest.approx(float(free["nearest_neighbour"]), rel=1e-8)
        np.testing.assert_allclose(theory.correlator, free["correlator"], rtol=1e-8)


def test_a_torus_by_brute_force():
    """2 x 2 sites and an odd potential, on a grid of four field values each."""
    c, potential = 0.6, (0.0, 0.3, 1.1, -0.1, 0.4)
    phi = np.linspace(-4.5, 4.5, 41)
    a, b, x, y = np.meshgrid(phi, phi, phi, phi, indexing="ij")
    action = -2 * c * (a * b + x * y + a * x + b * y)
    action += sum(np.polynomial.polynomial.polyval(site, potential) for site in (a, b, x, y))
    weight = np.exp(-action)
    z = weight.sum() * (phi[1] - phi[0]) ** 4
    theory = TorusTheory((2, 2), c, potential)

    def mean(observable):
        return (observable * weight).sum() / weight.sum()

    assert theory.log_z == pytest.approx(math.log(z), rel=1e-10)
    assert theory.moment(1) == pytest.approx(mean(a), rel=1e-10)
    assert theory.moment(3) == pytest.approx(mean(a**3), rel=1e-10)
    np.testing.assert_allclose(theory.two_point, [mean(a**2), mean(a * b)], rtol=1e-10)
    row = (a + x) / 2
    np.testing.assert_allclose(theory.correlator, [mean(row**2), mean(row * (b + y) / 2)], rtol=1e-10)


@pytest.mark.parametrize("potential", [(0, 0, 0, 0, 6.975), (0, 0.4, 2.0, 0, 4.0)])
def test_transposed_tori_are_the_same(potential):
    """Transfer along one axis against transfer along the other; four sites in a row are two halves of two."""
    tall, broad = (TorusTheory(shape, 1.0, potential, precision=1e-9) for shape in ((4, 2), (2, 4)))
    assert tall.log_z == pytest.approx(broad.log_z, rel=1e-7)
    assert tall.susceptibility == pytest.approx(broad.susceptibility, rel=1e-7)
    assert tall.nearest_neighbour == pytest.approx(broad.nearest_neighbour, rel=1e-7)


def test_a_finer_grid_changes_nothing(monkeypatch):
    before = TorusTheory((3, 2), 1.0, (0, 0, -1.0, 0, 1.5))
    value = before.log_z, before.susceptibility
    monkeypatch.setattr(torus_rows, "_STEPS_PER_WIDTH", 2 * torus_rows._STEPS_PER_WIDTH)
    after = TorusTheory((3, 2), 1.0, (0, 0, -1.0, 0, 1.5))
    assert (after.log_z, after.susceptibility) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((3, 3, 3), 1.0, (0, 0, 4.0)), "for one dimension or two"),
        (((3,), 1.0, (0, 0, 1.0)), "unbounded below or flat"),
        (((3,), 1.0, (0, 0, 2.0, 1.0)), "unbounded below or flat"),
        (((3, 3), 1.0, (0, 0, 4.0, 0, -0.1)), "unbounded below or flat"),
        (((3,), -1.0, (0, 0, 4.0)), "hopping is -1.0; it must be positive"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        TorusTheory(*arguments)


def test_wide_rows_are_refused():
    with pytest.raises(InputError, match=r"rows of 8 sites have .* contract a smaller torus"):
        _ = TorusTheory((8, 8), 2.0, (0, 0, 0, 0, 6.975), precision=1e-5).log_z


@pytest.mark.parametrize("architecture", [LatticeModes, SiteField])
def test_reference_of_a_lattice_ensemble(architecture):
    """In the field of the ensemble: phi_albergo = phi/sqrt 2. ln Z/Z0 has the Jacobian of that rescaling in it."""
    lattice = Lattice((3, 3), 1.0, "torus")
    ensemble = Ensemble(architecture(lattice, 1.2), lattice, LatticePhi4("albergo", m2=-4.0, lam=6.975))
    reference, (log_z, phi2, phi4, energy, chi) = exact_reference(ensemble), ALBERGO[3]
    assert float(reference.values["phi2"]) == pytest.approx(2 * phi2, rel=1e-9)
    assert float(reference.values["phi4"]) == pytest.approx(4 * phi4, rel=1e-9)
    assert float(reference.values["nearest_neighbour"]) == pytest.approx(2 * energy, rel=1e-9)
    assert float(reference.values["susceptibility"]) == pytest.approx(2 * chi, rel=1e-9)
    assert 3 * (2 * reference.values["correlator"].sum() - reference.values["correlator"][0]) == pytest.approx(2 * chi)
    free = 0.5 * np.sum(np.log(2 * math.pi * SiteField(lattice, 1.2).spectrum()))
    assert reference.log_partition_ratio == pytest.approx(log_z + 9 * 0.5 * math.log(2) - free, rel=1e-9)


def test_reference_of_a_ring_at_a_spacing():
    """The published ring, from the free field of mass 1 and an insertion."""
    lattice = Lattice((40,), 0.5, "torus")
    reference = exact_reference(Ensemble(LatticeModes(lattice, 1.0), lattice, PhiPower(4, 1.0)))
    assert float(reference.values["phi2"]) == pytest.approx(0.2419336950, abs=6e-11)
    assert reference.values.keys() == {"phi2", "phi4", "two_point", "susceptibility"}
    by_hand = 0.5 * (2 * reference.values["two_point"].sum() - reference.values["two_point"][[0, -1]].sum())
    assert float(reference.values["susceptibility"]) == pytest.approx(by_hand, rel=1e-12)


def test_free_modes_with_the_dispersion_of_the_continuum_are_their_covariance():
    lattice = Lattice((4, 3), 0.5, "torus")
    modes = LatticeModes(lattice, 1.3, "continuum", cutoff=7.0)
    reference = exact_reference(Ensemble(modes, lattice))
    sites = lattice.sites
    np.testing.assert_allclose(reference.values["two_point"], modes.two_point(sites[0, 0], sites[:3, 0]), rtol=1e-12)
    from_slices = modes.two_point(sites[0, 0], sites).mean(axis=1)[:3]
    np.testing.assert_allclose(reference.values["correlator"], from_slices, rtol=1e-12)


def test_infinite_width_has_the_reference_of_its_network_without_a_shift():
    lattice, waves, action = Lattice((5,), 0.5), ScalarNet(1, 6, 1.0, math.inf), PhiPower(4, 0.5, "trapezoid")
    network, process = (exact_reference(Ensemble(a, lattice, action)) for a in (waves, InfiniteWidth(waves, lattice)))
    assert process.shifts == {} != network.shifts
    for name in network.values:
        np.testing.assert_array_equal(process.values[name], network.values[name])


def test_infinite_width_on_one_site_is_one_integral():
    """G(0) = .2592710845 at m = 1, cut-off 5 in d = 2."""
    lattice = Lattice((1, 1), 0.5)
    process = InfiniteWidth(ScalarNet(2, 3, 1.0, 5.0), lattice)
    reference = exact_reference(Ensemble(process, lattice, PhiPower(4, 0.8) + Source(0.3)))
    phi = np.linspace(-6, 6, 4001)
    free = np.exp(-(phi**2) / (2 * 0.2592710845))
    density = free * np.exp(-0.25 * (0.8 * phi**4 - 0.3 * phi))
    assert float(reference.values["phi2_mid"]) == pytest.approx((phi**2 @ density) / density.sum(), rel=1e-9)
    assert reference.log_partition_ratio == pytest.approx(math.log(density.sum() / free.sum()), rel=1e-9)


def test_lattice_ensembles_without_exact_answer():
    for shape, message in (((12, 12), "few sites along the second"), ((2, 2, 2), "it is in d = 1, and in d = 2")):
        lattice = Lattice(shape, 1.0, "torus")
        with pytest.raises(InputError, match=message):
            exact_reference(Ensemble(SiteField(lattice, 1.0), lattice, PhiPower(4, 0.5)))
    ring = Lattice((4,), 1.0, "torus")
    with pytest.raises(InputError, match="does not couple nearest neighbours only"):
        exact_reference(Ensemble(LatticeModes(ring, 1.0, "continuum"), ring, Polynomial([0, 0, 0, 0, 0.5])))
    with pytest.raises(InputError, match="differs from site to site"):
        exact_reference(Ensemble(SiteField(ring, 1.0), ring, PhiPower(4, 0.5) + Source([0.1, 0.0, 0.0, 0.0])))


@pytest.mark.slow
def test_published_torus_of_six():
    """The published digits; weights below 1e-5 dropped cost 2e-6."""
    theory = TorusTheory((6, 6), 2.0, (0, 0, 0, 0, 6.975), precision=1e-5)
    assert theory.log_z == pytest.approx(6.984948, abs=3e-6)
    assert theory.moment(2) == pytest.approx(0.1613866, abs=2e-7)
    assert theory.moment(4) == pytest.approx(0.0525728, abs=2e-7)
    assert theory.nearest_neighbour == pytest.approx(0.0583478, abs=2e-7)
    assert theory.susceptibility == pytest.approx(1.063075, abs=3e-6)
    np.testing.assert_allclose(theory.correlator, [0.05880565, 0.03183093, 0.01943221, 0.01584719], atol=1e-7)
    c = theory.correlator[[0, 1, 2, 3, 2, 1]]
    masses = np.arccosh((c[:-2] + c[2:]) / (2 * c[1:-1]))  # t = 1 .. L - 2
    assert 6 * masses.mean() == pytest.approx(3.971517, abs=3e-5)
