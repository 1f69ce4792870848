"""The leading width correction against exact finite-width theories, Gaussian algebra and perturbation theory."""

import functools
import itertools
import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.linalg import toeplitz
from scipy.special import ive

from nnft_mcmc._checks import InputError
from nnft_mcmc.architectures import ScalarNet, StratifiedNet
from nnft_mcmc.exact import TransferMatrix, width_shift
from nnft_mcmc.exact.finite_width import _neurons

WIDTHS = (200, 400, 800, 1600, 3200)


def phi4_box(spacing, coupling, length=4.0, mass=1.0):
    num_sites = round(length / spacing) + 1
    weights = np.full(num_sites, spacing)
    weights[[0, -1]] /= 2
    coefficients = np.zeros((5, num_sites))
    coefficients[4] = coupling * weights
    return TransferMatrix(mass, np.linspace(-length / 2, length / 2, num_sites), coefficients)


def leading(values, infinite):
    """B from <O>_N at WIDTHS (doubling), extrapolating N (<O>_N - <O>_infinity) in 1/N."""
    table = [width * (value - infinite) for width, value in zip(WIDTHS, values, strict=True)]
    for k in range(1, len(table)):
        table = [(2**k * fine - coarse) / (2**k - 1) for coarse, fine in itertools.pairwise(table)]
    return table[0]


def single_neuron(t, mass):
    """E exp(i A (t . (cos, sin)(w x + b))) of one unit phase: q = |sum_x t_x e^{iwx}|^2 -> e^{-q/4m} I_0(q/4m)."""
    return ive(0, t / (4 * mass))


def test_one_site_is_the_first_term_of_the_exact_finite_width_theory():
    mass, potential = 0.9, np.array([0.0, 0.0, -0.3, 0.0, 0.4])
    theory = TransferMatrix(mass, [0.0], potential[:, None])
    phi, t = np.linspace(-8, 8, 801), np.linspace(-40, 40, 1601)
    weight = np.exp(-np.polynomial.polynomial.polyval(phi, potential))
    waves = np.cos(np.outer(t, phi)) * (phi[1] - phi[0]) * (t[1] - t[0]) / (2 * math.pi)

    def integral(power, width):
        return single_neuron(t**2 / width, mass) ** width @ (waves @ (weight * phi**power))

    norms = [integral(0, width) for width in WIDTHS]
    shift = width_shift(theory, 0)
    moments = {power: [integral(power, w) / n for w, n in zip(WIDTHS, norms, strict=True)] for power in (2, 4)}
    assert shift.phi2[0] == pytest.approx(leading(moments[2], theory.moment(2)[0]), rel=1e-7)
    assert shift.phi4[0] == pytest.approx(leading(moments[4], theory.moment(4)[0]), rel=1e-7)
    log_ratio = leading(np.log(norms), theory.log_partition_ratio)
    # ln Z cancels to 1% of the size of its terms at this potential.
    assert shift.log_partition_ratio == pytest.approx(log_ratio, rel=1e-7, abs=2e-9)
    assert shift.two_point[0] == pytest.approx(shift.phi2[0], rel=1e-12)


def test_two_sites_are_the_first_term_of_the_exact_finite_width_theory():
    mass, distance, coefficients = 1.1, 0.6, np.array([[0, 0], [0, 0.2], [0.1, 0], [0, 0.1], [0.5, 0.3]], dtype=float)
    theory = TransferMatrix(mass, [0.0, distance], coefficients)
    phi, t = np.linspace(-5.5, 5.5, 161), np.linspace(-30, 30, 241)
    # w of a Cauchy law enters through theta = w a modulo 2 pi only: the wrapped Cauchy density on the circle.
    theta, decay = 2 * math.pi * np.arange(64) / 64, math.exp(-mass * distance)
    density = (1 - decay**2) / (1 - 2 * decay * np.cos(theta) + decay**2) / theta.size
    square, product = np.add.outer(t**2, t**2), 2 * np.outer(t, t)
    measure = (phi[1] - phi[0]) * (t[1] - t[0]) / (2 * math.pi)

    def transform(site, power):
        weight = np.exp(-np.polynomial.polynomial.polyval(phi, coefficients[:, site])) * phi**power
        return np.exp(1j * np.outer(t, phi)) @ weight * measure

    def characteristic(width):
        neuron = sum(
            p * single_neuron((square + product * math.cos(x)) / width, mass)
            for x, p in zip(theta, density, strict=True)
        )
        return neuron**width

    found = {powers: [] for powers in ((0, 0), (1, 1), (2, 0), (0, 2), (4, 0), (0, 4))}
    for width in WIDTHS:
        values = characteristic(width)
        for powers, values_at in found.items():
            values_at.append((transform(0, powers[0]) @ values @ transform(1, powers[1])).real)
    ratio = {powers: np.array(values) / np.array(found[0, 0]) for powers, values in found.items()}
    for site in (0, 1):
        shift = width_shift(theory, site)
        assert shift.log_partition_ratio == pytest.approx(
            leading(np.log(found[0, 0]), theory.log_partition_ratio), rel=1e-6
        )
        for x, (two, four) in enumerate((((2, 0), (4, 0)), ((0, 2), (0, 4)))):
            assert shift.phi2[x] == pytest.approx(leading(ratio[two], theory.moment(2)[x]), rel=1e-6)
            assert shift.phi4[x] == pytest.approx(leading(ratio[four], theory.moment(4)[x]), rel=1e-6)
        assert shift.two_point[1 - site] == pytest.approx(leading(ratio[1, 1], theory.two_point()[0, 1]), rel=1e-6)
        assert shift.two_point[site] == pytest.approx(shift.phi2[site], rel=1e-12)


def four_point_connected(times, mass):
    """N Gc4 of the Cauchy-cos-net: the cos-net formula with e^{-m|x|} and s1^2 = 1/m, (n, n, n, n)."""
    x1, x2, x3, x4 = np.ix_(times, times, times, times)

    def decay(y):
        return np.exp(-mass * np.abs(y))

    together = decay(x1 + x2 - x3 - x4) + decay(x1 + x3 - x2 - x4) + decay(x1 + x4 - x2 - x3)
    pairs = decay(x1 - x2) * decay(x3 - x4) + decay(x1 - x3) * decay(x2 - x4) + decay(x1 - x4) * decay(x2 - x3)
    return (3 * together - 2 * pairs) / (8 * mass**2)


def test_quadratic_insertion_of_any_strength_is_gaussian_algebra():
    mass, times = 0.8, 0.4 * np.arange(6) - 1.0
    curvature = np.array([0.5, 2.0, 0.0, 0.7, 0.1, 3.0])
    theory = TransferMatrix(mass, times, [0 * curvature, 0 * curvature, curvature])
    free = np.exp(-mass * np.abs(np.subtract.outer(times, times))) / (2 * mass)
    inverse = np.linalg.inv(free)
    dressed = np.linalg.inv(inverse + 2 * np.diag(curvature))
    # Edgeworth vertex (1/4!) c4 :(G^-1 phi)^4: with legs T = G^-1 C and self-contraction D = G^-1 C G^-1 - G^-1.
    legs, loop = inverse @ dressed, inverse @ dressed @ inverse - inverse
    vertex = four_point_connected(times, mass)
    two_point = np.einsum("abcd,ax,by,cd->xy", vertex, legs, legs, loop, optimize=True) / 2
    connected = np.einsum("abcd,ax,bx,cx,dx->x", vertex, legs, legs, legs, legs, optimize=True)
    shift = width_shift(theory, 2)
    assert shift.log_partition_ratio == pytest.approx(np.einsum("abcd,ab,cd", vertex, loop, loop) / 8, rel=1e-10)
    np.testing.assert_allclose(shift.two_point, two_point[2], rtol=0, atol=1e-11)
    np.testing.assert_allclose(shift.phi2, np.diag(two_point), rtol=0, atol=1e-11)
    np.testing.assert_allclose(shift.phi4, 6 * np.diag(two_point) * np.diag(dressed) + connected, rtol=0, atol=1e-11)


def test_weak_coupling_is_first_order_perturbation_theory():
    length, site = 4.0, 3
    couplings = 2e-4 * np.arange(1, 6)
    shifts = [width_shift(phi4_box(0.5, c, length), site) for c in couplings]
    found = np.polyfit(couplings, [s.two_point / c for s, c in zip(shifts, couplings, strict=True)], 4)[-1]
    times = phi4_box(0.5, 0.0, length).times
    weights = np.full(times.size, 0.5)
    weights[[0, -1]] = 0.25
    g, k4 = np.exp(-np.abs(np.subtract.outer(times, times))) / 2, four_point_connected(times, 1.0)
    # - int dz [6 G_zz k4(x,y,z,z) + 4 G_xz k4(y,z,z,z) + 4 G_yz k4(x,z,z,z)]; k6 is of order 1/N^2.
    pair = np.einsum("z,xyzz->xy", weights * np.diag(g), k4)
    leg = np.einsum("z,xz,yzzz->xy", weights, g, k4)
    np.testing.assert_allclose(found, -(6 * pair + 4 * leg + 4 * leg.T)[site], rtol=1e-8)
    first = np.polyfit(couplings, [s.log_partition_ratio / c for s, c in zip(shifts, couplings, strict=True)], 4)[-1]
    assert first == pytest.approx(-length * k4[0, 0, 0, 0], rel=1e-8)


def test_free_theory_shifts_only_the_connected_four_point_function():
    shift = width_shift(phi4_box(0.5, 0.0, mass=0.7), 4)
    assert shift.log_partition_ratio == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_allclose(shift.phi2, 0.0, atol=1e-12)
    np.testing.assert_allclose(shift.two_point, 0.0, atol=1e-12)
    np.testing.assert_allclose(shift.phi4, 1.5 / (2 * 0.7) ** 2, rtol=1e-12)


def momentum_average(decay, wave):
    """int_0^infinity dw (w^2 + 1)^{-decay} cos(w wave) by adaptive quadrature."""
    if wave > 0:
        return quad(lambda w: (w**2 + 1) ** -decay, 0, math.inf, weight="cos", wvar=wave, limlst=300, limit=500)[0]
    # w = tan u, then u' = pi/2 - u with its endpoint power u'^{2 decay - 2} as the weight of the rule.
    power = 2 * decay - 2
    return quad(lambda u: (math.sin(u) / u) ** power if u else 1.0, 0, math.pi / 2, weight="alg", wvar=(power, 0))[0]


@pytest.mark.parametrize("alpha", [-0.2, 0.0, 0.3])
def test_fourth_moment_of_a_neuron_against_an_integral_over_its_momentum(alpha):
    mass, spacing, num_sites = 0.7, 0.5, 3
    neurons, weights = _neurons(num_sites, spacing, mass, alpha)
    # Density (w^2 + m^2)^{-1-alpha}, F^2 = (w^2 + m^2)^alpha, in units of m; s1^2 E F^2 = 2 G(0) = 1/m fixes s1.
    norm, square = momentum_average(1 + alpha, 0), momentum_average(1.0, 0)
    variance = norm / square / mass
    fourth = [momentum_average(1 - alpha, mass * spacing * k) / norm for k in range(2 * num_sites - 1)]
    for a, b, c, d in itertools.combinations_with_replacement(range(num_sites), 4):
        exact = (
            3 * variance**2 / 8 * (fourth[abs(a + b - c - d)] + fourth[abs(a + c - b - d)] + fourth[abs(a + d - b - c)])
        )
        assert np.prod(neurons[[a, b, c, d]], axis=0) @ weights == pytest.approx(exact, rel=1e-7)


COEFFICIENTS = np.array([[0, 0, 0], [0, 0.2, 0], [0.1, 0, 0.3], [0, 0.1, 0], [0.5, 0.3, 0.4]], dtype=float)
STEPS, MASS = 0.6, 1.1


def gaussian_theory(at_one, at_two):
    """<O e^-V> of three sites of covariance G(0), at_one, at_two: O = 1, phi_x^2, phi_x^4, phi_0 phi_x; 10 numbers."""
    g0 = 1 / (2 * MASS)
    covariance = np.array([[g0, at_one, at_two], [at_one, g0, at_one], [at_two, at_one, g0]])
    axis = np.linspace(-4.8, 4.8, 65)
    phi = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    potential = sum(np.polynomial.polynomial.polyval(phi[:, x], COEFFICIENTS[:, x]) for x in range(3))
    free = np.sum(phi @ np.linalg.inv(covariance) * phi, axis=1) / 2
    measure = (axis[1] - axis[0]) ** 3 / math.sqrt((2 * math.pi) ** 3 * np.linalg.det(covariance))
    values = np.column_stack([np.ones(len(phi)), phi**2, phi**4, phi[:, :1] * phi])
    return measure * np.exp(-free - potential) @ values


@functools.cache
def second_derivatives(step):
    """d^2/dK_a dK_b of `gaussian_theory` in the values K of the kernel at one and two steps, by central differences."""
    g = np.exp(-MASS * STEPS * np.arange(1, 3)) / (2 * MASS)
    at = {shift: gaussian_theory(*(g + step * np.array(shift))) for shift in itertools.product((-1, 0, 1), repeat=2)}
    mixed = (at[1, 1] - at[1, -1] - at[-1, 1] + at[-1, -1]) / 4
    first, second = at[1, 0] + at[-1, 0] - 2 * at[0, 0], at[0, 1] + at[0, -1] - 2 * at[0, 0]
    return np.array([[first, mixed], [mixed, second]]) / step**2


def cell_moments(num_cells):
    """<k(j)> and <k(j) k(j')> over each cell of the Cauchy law, k(j) = G(0) cos(w j a): the last from the whole law."""
    z, weights = np.polynomial.legendre.leggauss(400)
    whole = np.exp(-MASS * STEPS * np.arange(5)) / (2 * MASS)
    j = np.arange(3)
    first, second = num_cells * whole[:3], num_cells * (whole[np.add.outer(j, j)] + toeplitz(whole[:3])) / (4 * MASS)
    means, squares = [], []
    for i in range(num_cells - 1):
        w = MASS * np.tan(math.pi * (i + (1 + z) / 2) / num_cells / 2)
        k = np.cos(STEPS * np.outer(j, w)) / (2 * MASS)
        means.append(k @ weights / 2)
        squares.append(k * weights / 2 @ k.T)
    return [*means, first - sum(means)], [*squares, second - sum(squares)]


@pytest.mark.parametrize("num_cells", [1, 4])
def test_two_quadratures_respond_to_the_fluctuations_of_their_kernel(num_cells):
    """Given momenta the field is Gaussian with K(j) = mean_i k_i(j), so the shift of <O e^-V> is half of the second
    derivatives of Gaussian integrals, done on a grid and differenced, times the covariance of K."""
    means, squares = cell_moments(num_cells)
    covariance = np.mean([s - np.outer(m, m) for m, s in zip(means, squares, strict=True)], axis=0)[1:, 1:]
    hessian = (4 * second_derivatives(0.01) - second_derivatives(0.02)) / 3
    values = gaussian_theory(*(np.exp(-MASS * STEPS * np.arange(1, 3)) / (2 * MASS)))
    shift_of = np.einsum("ab,abf->f", covariance, hessian) / 2 / values[0]
    expected = shift_of - np.append(0.0, values[1:] / values[0]) * shift_of[0]
    theory = TransferMatrix(MASS, STEPS * np.arange(3), COEFFICIENTS)
    shift = width_shift(theory, 0, quadratures=2, cell_two_point=None if num_cells == 1 else np.array(means))
    found = np.concatenate([[shift.log_partition_ratio], shift.phi2, shift.phi4, shift.two_point])
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-8)


def test_one_cell_is_the_net_itself_and_cells_lower_both_nets_alike():
    theory, distances = phi4_box(0.5, 0.5, length=2.0), 0.5 * np.arange(5)
    plain = [width_shift(theory, 1, quadratures=q) for q in (1, 2)]
    for number in (1, 6):
        cells = StratifiedNet(ScalarNet(1, number, 1.0, math.inf)).cell_two_point(distances)
        strata = [width_shift(theory, 1, 0.0, q, cells) for q in (1, 2)]
        gain = [before.two_point - after.two_point for before, after in zip(plain, strata, strict=True)]
        np.testing.assert_allclose(gain[0], gain[1], atol=1e-12)
        assert (np.abs(gain[0]).max() < 1e-10) == (number == 1)


def test_demonstration_box_agrees_with_monte_carlo():
    """Monte Carlo of whole networks, N (<phi^2(mid)>_N - infinity) at a = 1/4: -0.374(16) at N = 20 (sampled) and
    -0.3767(36) at N = 40 (2e7 reweighted free draws). Their linear extrapolation to 1/N = 0 is B to 5%.

    False-alarm rate at 4 sigma 6e-5; the negative control is a B 20% too small.
    """
    slope = width_shift(phi4_box(0.25, 0.5), 8).phi2[8]
    measured, error = 2 * -0.3767 + 0.374, math.hypot(2 * 0.0036, 0.016)
    assert abs(slope - measured) < 4 * error
    assert abs(0.8 * slope - measured) > 3 * error
    assert slope == pytest.approx(-0.3985472246, abs=1e-9)


@pytest.mark.parametrize("alpha", [-0.3, 0.2])
def test_reflection_and_chunking_leave_the_shift_unchanged(alpha, monkeypatch):
    theory = phi4_box(0.5, 0.5, length=3.0)
    shift, mirrored = width_shift(theory, 1, alpha), width_shift(theory, 5, alpha)
    np.testing.assert_allclose(shift.two_point, mirrored.two_point[::-1], rtol=1e-9)
    np.testing.assert_allclose(shift.phi4, shift.phi4[::-1], rtol=1e-9)
    monkeypatch.setattr("nnft_mcmc.exact.finite_width._NEURONS_PER_CHUNK", 5)
    np.testing.assert_allclose(width_shift(theory, 1, alpha).two_point, shift.two_point, rtol=1e-11)


@pytest.mark.parametrize(
    ("times", "site", "alpha", "words"),
    [
        ([0.0, 0.5, 1.1], 0, 0.0, "spacings from 0.5 to 0.6; the width correction needs uniform times"),
        ([0.0, 0.5, 1.0], 3, 0.0, "site is 3; .* at most 2"),
        ([0.0, 0.5, 1.0], 0, -0.5, "alpha is -0.5; without a cut-off"),
        ([0.0, 0.5, 1.0], 0, math.nan, "alpha is nan"),
    ],
)
def test_bad_input_is_refused_in_words(times, site, alpha, words):
    with pytest.raises(InputError, match=words):
        width_shift(TransferMatrix(1.0, times, np.zeros((1, 3))), site, alpha)


@pytest.mark.parametrize(
    ("quadratures", "cells", "words"),
    [
        (3, None, "quadratures is 3; .* at most 2"),
        (2, np.ones((4, 2)), r"cell_two_point has shape \(4, 2\); it must be \(cells, 3\)"),
        (2, np.ones((4, 3)), "with a mean over cells that is the two-point function of the theory"),
    ],
)
def test_cells_that_do_not_fit_are_refused(quadratures, cells, words):
    with pytest.raises(InputError, match=words):
        width_shift(TransferMatrix(1.0, [0.0, 0.5, 1.0], np.zeros((1, 3))), 0, 0.0, quadratures, cells)
