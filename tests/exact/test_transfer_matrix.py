"""The transfer matrix against published figures, Gaussian algebra, brute force and a diagonalised Hamiltonian."""

import itertools
import math

import numpy as np
import pytest
from numpy.polynomial import polynomial
from scipy.integrate import quad

from nnft_mcmc._checks import InputError
from nnft_mcmc.exact import TransferMatrix


def phi4_box(spacing, length=4.0, coupling=0.5, mass=1.0):
    """phi^4 on a centred box with trapezoid weights."""
    num_sites = round(length / spacing) + 1
    weights = np.full(num_sites, spacing)
    weights[[0, -1]] /= 2
    coefficients = np.zeros((5, num_sites))
    coefficients[4] = coupling * weights
    return TransferMatrix(mass, np.linspace(-length / 2, length / 2, num_sites), coefficients)


def middle(array):
    return array[len(array) // 2]


def continuum(values):
    """Richardson limit of values at spacings a, a/2, a/4, ... with an error series in a^2."""
    table = list(values)
    for k in range(1, len(table)):
        table = [(4**k * fine - coarse) / (4**k - 1) for coarse, fine in itertools.pairwise(table)]
    return table[0]


def covariance(mass, times):
    return np.exp(-mass * np.abs(np.subtract.outer(times, times))) / (2 * mass)


@pytest.mark.parametrize(("spacing", "value"), [(0.1, 0.3054812467), (0.25, 0.3033222698), (0.5, 0.2962459650)])
def test_published_mid_box_figures(spacing, value):
    assert middle(phi4_box(spacing).moment(2)) == pytest.approx(value, abs=5.1e-11)


def test_continuum_limit_of_the_box():
    limit = continuum([middle(phi4_box(spacing).moment(2)) for spacing in (0.2, 0.1, 0.05, 0.025)])
    assert limit == pytest.approx(0.3059024255, abs=5.1e-11)


def oscillator(mass, coupling, num_states=140):
    """H = p^2/2 + m^2 x^2/2 + coupling x^4 and x in the harmonic basis, whose first state is the free vacuum."""
    ladder = np.diag(np.sqrt(np.arange(1, num_states)), 1)
    position = (ladder + ladder.T) / math.sqrt(2 * mass)
    harmonic = np.diag(mass * (np.arange(num_states) + 0.5))
    energies, states = np.linalg.eigh(harmonic + coupling * np.linalg.matrix_power(position, 4))
    return energies, states, position


def test_long_box_reaches_the_interacting_vacuum():
    energies, states, position = oscillator(1.0, 0.5)
    ground = states[:, 0]
    assert ground @ position @ position @ ground == pytest.approx(0.305813650718, abs=1e-11)
    spacings = (0.2, 0.1, 0.05, 0.025)
    boxes = [phi4_box(spacing, length=16.0) for spacing in spacings]
    assert continuum([middle(b.moment(2)) for b in boxes]) == pytest.approx(0.305813650718, abs=1e-10)
    # Four spacings leave 2e-9 of phi^4 and 3e-10 of the energy.
    assert continuum([middle(b.moment(4)) for b in boxes]) == pytest.approx(0.260241446698, abs=4e-9)
    # Energy of the vacuum from the growth of ln Z with the box: H of the free theory has energy m/2 taken out by Z0.
    short = [phi4_box(spacing, length=14.0) for spacing in spacings]
    growth = continuum([b.log_partition_ratio - s.log_partition_ratio for b, s in zip(boxes, short, strict=True)]) / 2
    assert 0.5 - growth == pytest.approx(energies[0], abs=6e-10)


def test_long_box_two_point_function_decays_with_the_gap():
    energies, _, _ = oscillator(1.0, 0.5)
    assert energies[1] - energies[0] == pytest.approx(1.628230531341, abs=1e-11)
    rows = []
    for spacing in (0.2, 0.1, 0.05, 0.025):
        box, site = phi4_box(spacing, length=18.0), np.arange(round(18.0 / spacing) + 1)
        start, unit = round(4.0 / spacing), round(1.0 / spacing)
        ends = (start + 8 * unit, start + 9 * unit)
        near, far = (box.n_point(((site == start) | (site == end)).astype(int)) for end in ends)
        rows.append(math.log(near / far))
    # At distance 8 the next odd level, 3.5 above, enters at exp(-27); the rest is the error of the extrapolation.
    assert continuum(rows) == pytest.approx(energies[1] - energies[0], abs=2e-8)


def test_two_point_function_of_the_box_is_the_hamiltonian_one():
    energies, states, position = oscillator(1.0, 0.5)
    x, free_vacuum = states.T @ position @ states, states[0]

    def evolve(time, vector):
        return np.exp(-energies * time) * vector

    separations = np.array([0.2, 0.6, 1.4, 2.0])
    norm = free_vacuum @ evolve(4.0, free_vacuum)
    exact = [free_vacuum @ evolve(2.0, x @ evolve(t, x @ evolve(2.0 - t, free_vacuum))) / norm for t in separations]
    spacings = (0.2, 0.1, 0.05, 0.025)
    found = [middle(phi4_box(a).two_point())[round(2.0 / a) + np.rint(separations / a).astype(int)] for a in spacings]
    np.testing.assert_allclose(continuum(found), exact, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "potential",
    [
        [0.0, 0.0, 0.0, 0.0, 0.5],
        [0.3, -1.0, 0.2, 0.4, 0.05],
        [0.0, 0.0, -3.0, 0.0, 0.15],
        [0.0, 5.0],
        [-700.0, 0.0, -0.4],
        [0.0, 0.0, -2.0, 0.0, 0.0, 0.0, 1.0],
    ],
)
def test_one_site_against_adaptive_quadrature(potential):
    mass = 0.9
    offset = potential[0]

    def integral(power):
        def integrand(phi):
            return phi**power * math.exp(-mass * phi**2 - polynomial.polyval(phi, potential) + offset)

        points = [-3, 0, 3]
        return quad(integrand, -25, 25, points=points, epsabs=0, epsrel=1e-13, limit=400)[0] * math.sqrt(mass / math.pi)

    theory = TransferMatrix(mass, [0.0], np.array(potential)[:, None])
    norm = integral(0)
    assert theory.log_partition_ratio == pytest.approx(math.log(norm) - offset, abs=1e-11, rel=1e-13)
    for power in (2, 4, 8):
        assert theory.moment(power)[0] == pytest.approx(integral(power) / norm, rel=1e-10)
    np.testing.assert_allclose(theory.two_point()[0, 0], theory.moment(2)[0], rtol=1e-13)


def test_one_site_of_the_scalar_net_at_infinite_width():
    variance = math.atan(3.0) / math.pi
    theory = TransferMatrix(1 / (2 * variance), [0.0], [[0], [0], [0], [0], [0.5]])
    assert math.exp(theory.log_partition_ratio) == pytest.approx(0.8762435894, abs=5.1e-11)
    assert theory.moment(2)[0] == pytest.approx(0.2597757152, abs=5.1e-11)
    assert theory.moment(4)[0] == pytest.approx(0.1733068170, abs=5.1e-11)


def test_quadratic_and_linear_insertions_are_gaussian_algebra():
    rng = np.random.default_rng(3)
    mass, times = 0.7, np.sort(rng.uniform(-3, 3, 9))
    constant, source, curvature = rng.normal(size=9), 2 * rng.normal(size=9), rng.uniform(-0.06, 0.5, 9)
    source[4] = curvature[4] = curvature[5] = 0.0
    theory = TransferMatrix(mass, times, [constant, source, curvature])
    free = covariance(mass, times)
    dressed = np.linalg.inv(np.linalg.inv(free) + 2 * np.diag(curvature))
    mean = -dressed @ source
    determinant = np.linalg.slogdet(np.eye(9) + 2 * free * curvature)[1]
    log_ratio = source @ dressed @ source / 2 - constant.sum() - determinant / 2
    variances = np.diag(dressed)
    assert theory.log_partition_ratio == pytest.approx(log_ratio, abs=1e-12)
    np.testing.assert_allclose(theory.moment(1), mean, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(theory.moment(4), mean**4 + 6 * mean**2 * variances + 3 * variances**2, rtol=1e-11)
    np.testing.assert_allclose(theory.two_point(), dressed + np.outer(mean, mean), rtol=1e-10, atol=1e-12)


def test_free_field_wick_sum_of_the_n_point_function():
    times = np.array([-1.0, 0.2, 0.5, 2.0])
    theory = TransferMatrix(1.2, times, np.zeros((1, 4)))
    g = covariance(1.2, times)
    pairings = g[0, 1] * g[2, 3] + g[0, 2] * g[1, 3] + g[0, 3] * g[1, 2]
    assert theory.log_partition_ratio == pytest.approx(0.0, abs=1e-13)
    assert theory.n_point([1, 1, 1, 1]) == pytest.approx(pairings, rel=1e-12)
    assert theory.n_point([0, 2, 0, 2]) == pytest.approx(g[1, 1] * g[3, 3] + 2 * g[1, 3] ** 2, rel=1e-12)
    assert theory.n_point([0, 0, 0, 0]) == pytest.approx(1.0, abs=1e-14)


THREE_SITES = {
    "phi4": [[0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0], [0.5, 0.2, 1.0]],
    "tilted wells": [[0, 0, 0], [0.5, -0.3, 0], [-2.0, -1.0, -2.5], [0.2, 0, -0.1], [0.3, 0.2, 0.3]],
    "soft middle held by its neighbours": [[0, 0, 0], [0, 0.2, 0], [0, -1.0, 0], [0, 0, 0], [0.4, 0, 0.4]],
}


@pytest.mark.parametrize("coefficients", THREE_SITES.values(), ids=THREE_SITES.keys())
def test_three_non_uniform_sites_against_brute_force(coefficients):
    mass, times, coefficients = 0.8, np.array([-0.4, 0.1, 0.9]), np.array(coefficients, dtype=float)
    theory = TransferMatrix(mass, times, coefficients)
    axis = np.linspace(-12.5, 12.5, 141)
    phi = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"))
    precision = np.linalg.inv(covariance(mass, times))
    action = 0.5 * np.einsum("iabc,ij,jabc->abc", phi, precision, phi, optimize=True)
    free = np.exp(-action).sum()
    weight = np.exp(-action - sum(polynomial.polyval(phi[x], coefficients[:, x]) for x in range(3)))
    moments = np.einsum("abc,iabc,jabc->ij", weight, phi, phi, optimize=True) / weight.sum()
    assert theory.log_partition_ratio == pytest.approx(math.log(weight.sum() / free), abs=1e-10)
    np.testing.assert_allclose(theory.two_point(), moments, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(theory.moment(1), np.einsum("abc,iabc->i", weight, phi) / weight.sum(), atol=1e-9)
    four = (weight * phi[0] * phi[1] ** 2 * phi[2]).sum() / weight.sum()
    assert theory.n_point([1, 2, 1]) == pytest.approx(four, rel=1e-9)


def test_sites_without_potential_leave_the_rest_unchanged():
    theory = phi4_box(0.5)
    times = np.sort(np.append(theory.times, [-2.7, 0.13, 5.0]))
    coefficients = np.zeros((5, times.size))
    kept = np.isin(times, theory.times)
    coefficients[:, kept] = theory.coefficients
    padded = TransferMatrix(1.0, times, coefficients)
    assert padded.log_partition_ratio == pytest.approx(theory.log_partition_ratio, abs=1e-12)
    np.testing.assert_allclose(padded.two_point()[np.ix_(kept, kept)], theory.two_point(), rtol=1e-11)


def test_deep_wells_and_large_constants_neither_overflow_nor_underflow():
    times = np.linspace(-2, 2, 17)
    coefficients = np.zeros((5, 17))
    coefficients[2], coefficients[4], coefficients[0] = -5.0, 0.07, -1e4  # wells near +-6, 90 deep at each site
    wells = TransferMatrix(1.0, times, coefficients)
    tilted = coefficients.copy()
    tilted[1, 8] = -1e-3
    # Two narrow wells at +-f behave as one spin: <phi> = <|phi|> tanh(h <|phi|>), h the source.
    size = math.sqrt(wells.n_point([0] * 8 + [2] + [0] * 8))
    assert wells.moment(1)[8] == pytest.approx(0.0, abs=1e-9)
    assert TransferMatrix(1.0, times, tilted).moment(1)[8] == pytest.approx(size * math.tanh(1e-3 * size), rel=1e-5)
    coefficients[0] = 0.0
    plain = TransferMatrix(1.0, times, coefficients).log_partition_ratio
    assert wells.log_partition_ratio - 1.7e5 == pytest.approx(plain, rel=1e-12)


@pytest.mark.parametrize("coupling", [1e-6, 1.0, 1e4])
def test_couplings_of_every_size_obey_the_schwinger_dyson_equation(coupling):
    theory = phi4_box(0.25, coupling=coupling)
    precision = np.linalg.inv(covariance(1.0, theory.times))
    # <phi_y dS/dphi_x> = delta_xy with S the whole action.
    cubic = np.array([theory.n_point(3 * np.eye(17, dtype=int)[8] + np.eye(17, dtype=int)[y]) for y in range(17)])
    identity = precision[8] @ theory.two_point() + 4 * theory.coefficients[4, 8] * cubic
    np.testing.assert_allclose(identity, np.eye(17)[8], rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0.0, [0.0], [[0.0]]), "mass is 0.0; it must be positive"),
        ((1.0, [0.0, 0.0], np.zeros((5, 2))), "strictly increasing"),
        ((1.0, [[0.0]], np.zeros((5, 1))), "strictly increasing"),
        ((1.0, [0.0, 1.0], np.zeros((5, 3))), r"shape \(5, 3\); it must .* \(degree \+ 1, 2\)"),
        ((1.0, [0.0], [[np.inf]]), "finite numbers"),
        ((1.0, [0.0], [[0], [0], [0], [1.0]]), r"site 0 has leading term 1 phi\^3"),
        ((1.0, [0.0, 1.0], [[0, 0], [0, 0], [0, 0], [0, 0], [1, -0.5]]), r"site 1 has leading term -0.5 phi\^4"),
        ((1.0, [0.0], [[0], [0], [-1.0]]), "quadratic coefficients reach -1"),
        ((1.0, [0.0, 0.1], [[0, 0], [0, 0], [-0.6, -0.6]]), "raise them or add a positive quartic"),
    ],
)
def test_bad_input_is_refused_in_words(arguments, words):
    with pytest.raises(InputError, match=words):
        TransferMatrix(*arguments)


def test_requests_that_cannot_be_met_are_refused_in_words():
    with pytest.raises(InputError, match="use wider time spacings"):
        TransferMatrix(1.0, [0.0, 1e-8], np.zeros((1, 2))).moment(2)
    with pytest.raises(InputError, match="less extreme potential"):
        TransferMatrix(0.8, [-0.4, 0.1, 0.9], [[0, 0, 0], [0, 0, 0], [0, -1.7, 0], [0, 0, 0], [0.4, 0, 0.4]]).moment(2)
    theory = TransferMatrix(1.0, [0.0], [[0.0]])
    for powers in ([1, 1], [-1], [0.5]):
        with pytest.raises(InputError, match="one whole number of at least 0 for each of the 1 sites"):
            theory.n_point(powers)
    with pytest.raises(InputError, match="power is -1"):
        theory.moment(-1)
