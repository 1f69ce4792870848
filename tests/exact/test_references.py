"""What a run is held against: the demo's published figure, the free theory, pairs about the centre by brute force."""

import math

import numpy as np
import pytest

from nnft_mcmc import (
    MLP,
    CosNet,
    Ensemble,
    GaussNet,
    Lattice,
    PhiPower,
    ScalarNet,
    Source,
    StratifiedNet,
    TransferMatrix,
    TwoQuadratureNet,
    exact_reference,
)
from nnft_mcmc._checks import InputError
from nnft_mcmc.estimators import pair_weights, separations

FREE_SCALAR = ScalarNet(dim=1, width=20, mass=1.0, cutoff=math.inf)


def phi4(num_sites, spacing, architecture=FREE_SCALAR, coupling=0.5):
    insertion = PhiPower(4, coupling, "trapezoid")
    return Ensemble(architecture, Lattice((num_sites,), spacing), insertion)


def transfer_matrix(num_sites, spacing, coupling=0.5, mass=1.0):
    """The same theory, built without lattice or insertion."""
    weights = np.full(num_sites, spacing)
    weights[[0, -1]] /= 2
    coefficients = np.zeros((5, num_sites))
    coefficients[4] = coupling * weights
    length = (num_sites - 1) * spacing
    return TransferMatrix(mass, np.linspace(-length / 2, length / 2, num_sites), coefficients)


def test_published_figure_of_the_demo():
    """Mid-box at a = 0.25, to ten digits."""
    reference = exact_reference(phi4(17, 0.25))
    assert float(reference.values["phi2_mid"]) == pytest.approx(0.3033222698, abs=5.1e-11)
    assert reference.values["two_point"].shape == (9,)
    assert reference.values["two_point"][0] == pytest.approx(float(reference.values["phi2_mid"]), rel=1e-12)


@pytest.mark.parametrize("num_sites", [2, 5, 6, 17])
def test_interacting_reference_is_the_transfer_matrix(num_sites):
    """Pairs about the centre c = n // 2 by brute force, an even number of sites having one pair at the last t."""
    reference, theory = exact_reference(phi4(num_sites, 0.5)), transfer_matrix(num_sites, 0.5)
    c, g = num_sites // 2, theory.two_point()
    values = reference.values
    assert float(values["phi2_mid"]) == pytest.approx(theory.moment(2)[c], rel=1e-12)
    assert float(values["phi4_mid"]) == pytest.approx(theory.moment(4)[c], rel=1e-12)
    pairs = [np.mean([g[c, j] for j in (c - k, c + k) if 0 <= j < num_sites]) for k in range(c + 1)]
    np.testing.assert_allclose(values["two_point"], pairs, rtol=1e-12)
    assert reference.log_partition_ratio == pytest.approx(theory.log_partition_ratio, rel=1e-12)


def test_partition_ratio_against_integration_of_the_coupling():
    """d ln Z / d lambda = - sum w <phi^4>, integrated by Gauss-Legendre over lambda in 0..0.5."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    trapezoid = 0.5 * np.array([0.5, 1, 1, 1, 0.5])
    slopes = [-trapezoid @ transfer_matrix(5, 0.5, coupling=0.25 * (1 + x)).moment(4) for x in nodes]
    assert exact_reference(phi4(5, 0.5)).log_partition_ratio == pytest.approx(0.25 * (weights @ slopes), rel=1e-10)


def test_mass_and_coupling_reach_the_reference():
    heavy = exact_reference(phi4(7, 0.5, ScalarNet(dim=1, width=3, mass=1.7, cutoff=math.inf), coupling=0.2))
    theory = transfer_matrix(7, 0.5, coupling=0.2, mass=1.7)
    assert float(heavy.values["phi2_mid"]) == pytest.approx(theory.moment(2)[3], rel=1e-12)


def test_one_site_against_quadrature():
    """Density exp(-phi^2 - a lambda phi^4 + a J phi), since G(0) = 1/2; a = 0.5, lambda = 0.8, J = 0.3."""
    ensemble = Ensemble(FREE_SCALAR, Lattice((1,), 0.5), PhiPower(4, 0.8) + Source(0.3))
    phi = np.linspace(-8, 8, 20001)
    density = np.exp(-(phi**2) - 0.5 * 0.8 * phi**4 + 0.5 * 0.3 * phi)
    expected = np.sum(phi**2 * density) / np.sum(density)
    assert float(exact_reference(ensemble).values["phi2_mid"]) == pytest.approx(expected, rel=1e-10)


def test_shift_falls_like_one_over_the_width_and_the_values_do_not():
    narrow, wide = (
        exact_reference(phi4(5, 0.5, ScalarNet(dim=1, width=n, mass=1.0, cutoff=math.inf))) for n in (10, 40)
    )
    assert narrow.shifts.keys() == narrow.values.keys()
    for name, shift in narrow.shifts.items():
        np.testing.assert_allclose(shift, 4 * wide.shifts[name], rtol=1e-12)
        np.testing.assert_array_equal(narrow.values[name], wide.values[name])
    assert narrow.excess_kurtosis == pytest.approx(3 / (2 * 10), rel=1e-12)
    assert narrow.shifts["phi2_mid"] < 0


def test_neurons_without_a_fourth_moment_have_no_shift():
    reference = exact_reference(phi4(5, 0.5, ScalarNet(dim=1, width=10, mass=1.0, cutoff=math.inf, alpha=0.6)))
    assert reference.shifts == {}
    assert math.isnan(reference.excess_kurtosis)
    assert float(reference.values["phi2_mid"]) == pytest.approx(transfer_matrix(5, 0.5).moment(2)[2], rel=1e-12)


FREE = [
    (CosNet(dim=1, width=3, weight_std=1.3), (6,)),
    (CosNet(dim=2, width=4, amplitude_std=0.7), (4, 3)),
    (GaussNet(dim=2, width=5, weight_std=0.5, bias_std=0.5), (5, 2)),
    (ScalarNet(dim=3, width=6, mass=1.0, cutoff=4.0), (4, 3, 2)),
    (FREE_SCALAR, (5,)),
]


@pytest.mark.parametrize(("architecture", "shape"), FREE)
def test_free_reference_is_the_architecture(architecture, shape):
    lattice = Lattice(shape, 0.5)
    reference = exact_reference(Ensemble(architecture, lattice))
    c = tuple(n // 2 for n in shape)
    centre = lattice.sites[c]
    g0, g4 = architecture.two_point(centre, centre), architecture.four_point_connected(*[centre] * 4)
    assert float(reference.values["phi2_mid"]) == pytest.approx(float(g0), rel=1e-12)
    assert float(reference.values["phi4_mid"]) == pytest.approx(float(3 * g0**2 + g4), rel=1e-12)
    assert reference.excess_kurtosis == pytest.approx(float(g4 / g0**2), rel=1e-12)
    assert reference.log_partition_ratio == 0.0
    assert reference.shifts == {}
    pairs = []
    for k in range(c[0] + 1):
        ends = [lattice.sites[(j, *c[1:])] for j in (c[0] - k, c[0] + k) if 0 <= j < shape[0]]
        pairs.append(np.mean([architecture.two_point(centre, end) for end in dict.fromkeys(map(tuple, ends))]))
    np.testing.assert_allclose(reference.values["two_point"], pairs, rtol=1e-12)


@pytest.mark.parametrize("num_sites", range(1, 8))
def test_pair_weights_by_brute_force(num_sites):
    lattice = Lattice((num_sites, 2), 0.25)
    c = num_sites // 2
    phi = np.random.default_rng(num_sites).normal(size=num_sites)
    pairs = []
    for k in range(num_sites):
        products = [phi[c] * phi[j] for j in range(num_sites) if abs(j - c) == k]
        if products:
            pairs.append(np.mean(products))
    np.testing.assert_allclose(pair_weights(lattice) @ (phi[c] * phi), pairs, rtol=1e-12)
    np.testing.assert_array_equal(separations(lattice), 0.25 * np.arange(len(pairs)))


@pytest.mark.parametrize(
    ("architecture", "shape", "message"),
    [
        (CosNet(dim=1, width=3), (5,), "interacting CosNet of dim = 1"),
        (ScalarNet(dim=2, width=3, mass=1.0, cutoff=4.0), (3, 3), "interacting ScalarNet of dim = 2"),
        (ScalarNet(dim=1, width=3, mass=1.0, cutoff=4.0), (5,), "dim = 1 and cutoff = inf"),
    ],
)
def test_ensembles_without_exact_answer(architecture, shape, message):
    with pytest.raises(InputError, match=f"no exact answer is known.*{message}"):
        exact_reference(Ensemble(architecture, Lattice(shape, 0.5), PhiPower(4, 0.5)))


def test_a_free_ensemble_without_correlators_names_what_it_lacks():
    with pytest.raises(InputError, match=r"free MLP: it lacks ExactCorrelators; .*nnft correlators"):
        exact_reference(Ensemble(MLP(dim=1, width=3), Lattice((5,), 0.5)))


def test_two_quadratures_and_strata_have_the_reference_of_their_waves_and_smaller_shifts():
    lattice, action = Lattice((5,), 0.5), PhiPower(4, 0.5, "trapezoid")
    waves = ScalarNet(1, 6, 1.0, math.inf)
    nets = [waves, TwoQuadratureNet(waves), StratifiedNet(waves), StratifiedNet(TwoQuadratureNet(waves))]
    found = [exact_reference(Ensemble(net, lattice, action)) for net in nets]
    for reference in found[1:]:
        np.testing.assert_array_equal(reference.values["two_point"], found[0].values["two_point"])
    one, two, strata, both = (abs(float(reference.shifts["phi2_mid"])) for reference in found)
    assert one > 2 * two > 2 * both
    assert one > strata > both
    assert found[0].excess_kurtosis == pytest.approx(3 / 12)
    assert found[2].excess_kurtosis == pytest.approx(3 / 12)
    assert found[3].excess_kurtosis == pytest.approx(0, abs=1e-9)
