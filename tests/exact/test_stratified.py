"""Stratified momenta: the cells, the common rotation, and correlators by independent quadrature over cells."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.polynomial.legendre import leggauss
from scipy.special import eval_legendre

from nnft_mcmc import InputError
from nnft_mcmc.architectures import EuclideanNet, MaternNet, ScalarNet, StratifiedNet, TwoQuadratureNet
from nnft_mcmc.architectures.cell_averages import directional_powers
from nnft_mcmc.architectures.cells import direction, direction_boxes, direction_coordinates
from nnft_mcmc.architectures.rotations import HaarRotation
from nnft_mcmc.statistics import hotelling

INF = math.inf


def all_cells(dim, number):
    """Nodes of the directions of each cell, (cells, nodes, dim), and their weights, (nodes,), of sum 1."""
    z, weights = leggauss(24)
    boxes, axes = direction_boxes(dim, number), [(1 + z) / 2] * (dim - 1)
    unit = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, dim - 1)
    coordinates = boxes[:, None, :, 0] + (boxes[..., 1] - boxes[..., 0])[:, None] * unit
    product = np.prod(np.meshgrid(*[weights / 2] * (dim - 1), indexing="ij"), axis=0).ravel()
    return np.asarray(direction(dim, jnp.asarray(coordinates))), product


@pytest.mark.parametrize(("dim", "number"), [(2, 1), (2, 5), (3, 1), (3, 2), (3, 7), (3, 40), (4, 1)])
def test_directions_of_all_cells_are_uniform_on_the_half_sphere(dim, number):
    boxes = direction_boxes(dim, number)
    assert boxes.shape == (number, dim - 1, 2)
    volumes = np.prod(boxes[..., 1] - boxes[..., 0], axis=-1)
    np.testing.assert_allclose(volumes, 1 / number, rtol=1e-12)
    for a, b in itertools.combinations(range(number), 2):  # none overlaps another
        common = np.minimum(boxes[a, :, 1], boxes[b, :, 1]) - np.maximum(boxes[a, :, 0], boxes[b, :, 0])
        assert common.min() < 1e-12
    e, weights = all_cells(dim, number)
    np.testing.assert_allclose(np.linalg.norm(e, axis=-1), 1.0, rtol=1e-13)
    second = np.einsum("cna,cnb,n->ab", e, e, weights) / number
    np.testing.assert_allclose(second, np.eye(dim) / dim, atol=1e-10)
    fourth = np.einsum("cn,n->", e[..., 0] ** 2 * e[..., -1] ** 2, weights) / number
    assert fourth == pytest.approx(1 / (dim * (dim + 2)), rel=1e-9)
    coordinates = np.asarray(direction_coordinates(-2.5 * e))  # either sign, any length
    assert (coordinates > boxes[:, None, :, 0] - 1e-12).all()
    assert (coordinates < boxes[:, None, :, 1] + 1e-12).all()


@pytest.mark.parametrize(("dim", "number"), [(2, 3), (3, 2), (3, 5), (3, 12)])
def test_directional_power_by_quadrature_over_pairs_of_directions(dim, number):
    e, weights = all_cells(dim, number)
    found = directional_powers(dim, np.array([number]), 8)[0]
    for l in (0, 2, 4, 8):  # noqa: E741
        powers = []
        for directions in e:
            cosine = np.clip(directions @ directions.T, -1, 1)
            values = np.cos(l * np.arccos(cosine)) if dim == 2 else eval_legendre(l, cosine)
            powers.append(weights @ values @ weights)
        assert found[l] == pytest.approx(np.mean(powers), abs=1e-10)


def test_haar_rotation_is_orthogonal_and_uniform():
    """Moments of a uniform unit vector in each row and of independent signs of the determinant."""
    law = HaarRotation(3)
    r = np.asarray(law.sample(jax.random.key(4), (20_000,)))
    np.testing.assert_allclose(r @ np.swapaxes(r, 1, 2), np.broadcast_to(np.eye(3), r.shape), atol=1e-12)
    np.testing.assert_array_equal(law.log_prob(jnp.asarray(r)), 0.0)
    assert law.log_prob(1.001 * jnp.asarray(r[0])) == -np.inf
    numbers = np.stack([r[:, 0, 0], r[:, 2, 1] ** 2, r[:, 0, 1] ** 4, np.linalg.det(r)], axis=-1)
    mean = np.array([0.0, 1 / 3, 1 / 5, 0.0])
    assert hotelling(numbers[None], mean).p_value > 1e-4
    assert hotelling(numbers[None], mean + np.array([0.0, 0.02, 0.0, 0.0])).p_value < 1e-4


@pytest.mark.parametrize(
    ("base", "counts"),
    [
        (ScalarNet(2, 20, 1.0, 6.0), [1, 4, 4, 6, 5]),
        (ScalarNet(3, 20, 1.0, 4.0), [1, 7, 12]),
        (MaternNet(2, 20, 1.0, 1.5), [1, 4, 4, 5, 3, 2, 1]),
        (ScalarNet(1, 4, 1.0, INF), [1, 1, 1, 1]),
    ],
)
def test_natural_numbers_of_cells(base, counts):
    cells = StratifiedNet(base).cells
    np.testing.assert_array_equal(cells.counts, counts)
    assert cells.width == base.width


@pytest.mark.parametrize("shells", [1, 2, 5, 19, 20])
def test_a_given_number_of_shells(shells):
    cells = StratifiedNet(ScalarNet(3, 20, 1.0, 4.0), shells).cells
    assert cells.counts.size == shells
    assert cells.counts.min() >= 1
    assert cells.counts.sum() == 20


@pytest.mark.parametrize(("dim", "length"), [(2, 1.2), (3, 0.9)])
def test_natural_shells_leave_nearly_the_least_variance(dim, length):
    """Within a tenth of the best of all numbers of shells; as cells in the radius alone they would leave much more."""
    o, x = np.zeros(dim), length * np.eye(dim)[0]
    base = TwoQuadratureNet(ScalarNet(dim, 24, 1.0, 5.0))
    left = [float(StratifiedNet(base, n).four_point_connected(o, o, x, x)) for n in (*range(1, 13), 24)]
    natural = float(StratifiedNet(base).four_point_connected(o, o, x, x))
    assert natural < 1.1 * min(left)
    assert natural < 0.5 * left[-1]


def draws(net, number):
    return jax.jit(jax.vmap(net.sample_parameters))(jax.random.split(jax.random.key(2), number))


@pytest.mark.parametrize(
    "net",
    [StratifiedNet(ScalarNet(1, 7, 1.0, INF)), StratifiedNet(ScalarNet(2, 7, 1.0, 5.0)),
     StratifiedNet(ScalarNet(3, 9, 1.0, 5.0)), StratifiedNet(MaternNet(4, 5, 1.0, 3.0))],
)  # fmt: skip
def test_draws_stay_in_their_cells(net):
    thetas = draws(net, 500)
    log_prior = jax.jit(jax.vmap(net.log_prior))
    assert np.isfinite(log_prior(thetas)).all()
    k = np.linalg.norm(thetas["momenta"], axis=-1)
    law, cells = net._waves.momentum_law, net.cells
    ends = np.append(law.quantile(cells.rho_edges[:-1]), law.cutoff)
    assert (k >= ends[cells.shell] * (1 - 1e-9)).all()
    assert (k <= ends[cells.shell + 1] * (1 + 1e-9)).all()
    swapped = {**thetas, "momenta": thetas["momenta"][:, ::-1]}
    assert np.isneginf(log_prior(swapped)).mean() > 0.9
    if net.dim > 1:
        np.testing.assert_allclose(jnp.linalg.norm(jax.vmap(net.turned)(thetas)["momenta"], axis=-1), k, rtol=1e-12)


def test_every_cell_has_the_probability_one_over_the_width():
    """<exp(log_prob of neuron i)/p> over momenta of the law p, on a grid in probability and angle that cells divide."""
    net = StratifiedNet(ScalarNet(2, 6, 1.0, 2.0))
    assert net.cells.counts.tolist() == [2, 4]
    law = net._waves.momentum_law
    k = law.quantile(-np.log1p(-(np.arange(60) + 0.5) / 60))
    angle = 2 * math.pi * (np.arange(120) + 0.5) / 120
    w = (k[:, None, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)).reshape(-1, 1, 2)
    log_prob = np.asarray(net.prior()["momenta"].log_prob(jnp.asarray(np.broadcast_to(w, (len(w), 6, 2)))))
    relative = np.exp(log_prob - np.repeat(np.asarray(law.log_density(jnp.asarray(k))), 120)[:, None])
    np.testing.assert_allclose(relative.mean(axis=0), 1.0, rtol=1e-9)
    np.testing.assert_allclose(relative.mean(axis=1), 1.0, rtol=1e-9)  # each momentum lies in one cell


@pytest.mark.parametrize("quadratures", [1, 2])
@pytest.mark.parametrize(
    ("dim", "cutoff", "alpha"), [(1, 4.0, -1.0), (1, INF, 0.0), (2, 4.0, -0.5), (3, 4.0, 0.0), (4, 3.0, 0.0)]
)
def test_one_cell_is_the_base_and_cells_average_to_the_whole(dim, cutoff, alpha, quadratures):
    waves = ScalarNet(dim, 1, 1.0, cutoff, alpha)
    xs = np.random.default_rng(3).uniform(-1, 1, (4, dim))
    base = TwoQuadratureNet(waves) if quadratures == 2 else waves
    assert StratifiedNet(base).four_point_connected(*xs) == pytest.approx(base.four_point_connected(*xs), rel=1e-9)
    net = StratifiedNet(ScalarNet(dim, 6, 1.0, cutoff, alpha))
    r = np.linalg.norm(xs, axis=-1)
    shares = net.cells.counts / 6
    whole = net.two_point(xs, np.zeros(dim))
    np.testing.assert_allclose(shares @ net.cell_two_point(r), whole, rtol=1e-10, atol=1e-13)
    np.testing.assert_array_equal(whole, net.base.two_point(xs, np.zeros(dim)))


def test_cell_averages_of_the_cauchy_law_by_direct_quadrature():
    """k = m tan(pi u/2), u in the i-th of N equal intervals; 2 G(0) = 1."""
    net, x = StratifiedNet(ScalarNet(1, 5, 1.0, INF)), 0.7
    z, weights = leggauss(400)
    for i in range(4):
        u = (i + (1 + z) / 2) / 5
        expected = np.sum(weights / 2 * np.cos(np.tan(math.pi * u / 2) * x)) / 2
        assert net.cell_two_point([x])[i, 0] == pytest.approx(expected, abs=1e-11)


def by_quadrature_over_cells(net, xs):
    """Gc4 from c_i(R^T x) on a grid of directions in each cell, rotations averaged by turning the points."""
    dim, (x1, x2, x3, x4) = net.dim, xs
    law, cells = net._waves.momentum_law, net.cells
    z, weights = leggauss(40)
    turns = rotations(dim)
    pairings = ((x1 - x2, x3 - x4), (x1 - x3, x2 - x4), (x1 - x4, x2 - x3))
    f2 = 2 * law.normalisation / (2 * math.pi) ** dim  # alpha = 0: F is constant
    products = 0.0
    for shell, n in enumerate(cells.counts):
        u = cells.ends[shell] + (cells.ends[shell + 1] - cells.ends[shell]) * (1 + z) / 2
        k = law.quantile(-np.log1p(-u))
        e, of_direction = all_cells(dim, int(n))
        for directions in e:
            waves = [
                [np.einsum("k,n,knr->r", weights / 2, of_direction, np.cos(np.multiply.outer(k, directions @ turned.T)))
                 for turned in (turns @ x, turns @ y)] for x, y in pairings
            ]  # fmt: skip
            products += sum(np.mean(a * b) for a, b in waves)
    splits = [x1 + x2 - x3 - x4, x1 + x3 - x2 - x4, x1 + x4 - x2 - x3]
    whole = sum(net.base.wave_moment(4, x) for x in splits)
    mu2, mu4 = net.base.moment_factor(2), net.base.moment_factor(4)
    return (mu4 / 8 * whole - mu2**2 / 4 * f2**2 * products / net.width) / net.width


def rotations(dim):
    """Rotations (r, dim, dim) over which polynomials of plane waves average exactly at these distances."""
    angles = 2 * math.pi * np.arange(24) / 24

    def about(i, j, angle):
        r = np.broadcast_to(np.eye(dim), (angle.size, dim, dim)).copy()
        r[:, i, i] = r[:, j, j] = np.cos(angle)
        r[:, i, j], r[:, j, i] = -np.sin(angle), np.sin(angle)
        return r

    return about(0, 1, angles)


def test_four_point_function_in_two_dimensions_by_quadrature_over_cells_and_rotations():
    for base in (ScalarNet(2, 7, 1.0, 3.0), TwoQuadratureNet(ScalarNet(2, 7, 1.0, 3.0))):
        net, xs = StratifiedNet(base), np.random.default_rng(5).uniform(-0.7, 0.7, (4, 2))
        assert net.four_point_connected(*xs) == pytest.approx(by_quadrature_over_cells(net, xs), rel=1e-9)


@pytest.mark.parametrize("dim", [2, 3])
def test_four_point_function_of_two_quadratures_is_the_covariance_of_the_kernel(dim):
    """Given momenta and rotation the field is Gaussian of kernel K(x) = G(0) mean_i cos(w_i.x), so that
    Gc4 = sum over pairings of Cov(K(x12), K(x34)). 60,000 draws; false alarm 1e-4; the control leaves the rotation out.
    """
    net = StratifiedNet(TwoQuadratureNet(ScalarNet(dim, 9, 1.0, 4.0)))
    xs = 0.8 * np.random.default_rng(1).uniform(-1, 1, (4, dim))
    pairings = [(xs[0] - xs[1], xs[2] - xs[3]), (xs[0] - xs[2], xs[1] - xs[3])]
    thetas = draws(net, 60_000)
    g0 = float(net.two_point(xs[0], xs[0]))

    def products(momenta):
        def kernel(x):
            return g0 * jnp.cos(momenta @ x).mean(axis=1) - net.two_point(x, np.zeros(dim))

        return np.stack([kernel(x) * kernel(y) for x, y in pairings], axis=-1)[None]

    exact = [net.base.moment_factor(2) ** 2 / 4 / 9 * _covariance(net, x, y) for x, y in pairings]
    assert hotelling(products(jax.vmap(net.turned)(thetas)["momenta"]), np.array(exact)).p_value > 1e-4
    assert hotelling(products(thetas["momenta"]), np.array(exact)).p_value < 1e-4


def _covariance(net, x, y):
    """<c_i(x) c_i(y)> of single momenta, less that of the cells' averages."""
    whole = (net.base.wave_moment(4, x + y) + net.base.wave_moment(4, x - y)) / 2
    return float(whole - net._product(x, y))


def test_tails_without_a_cutoff_are_reached_and_refused_where_they_cannot_be():
    o, x = np.zeros(2), np.array([1.0, 0.0])
    far, cut = (TwoQuadratureNet(MaternNet(2, 10, 1.0, 2.5, cutoff)) for cutoff in (INF, 500.0))
    values = [float(StratifiedNet(base).four_point_connected(o, o, x, x)) for base in (far, cut)]
    assert values[0] == pytest.approx(values[1], rel=1e-6)
    with pytest.raises(InputError, match="give the base of stratified_net a finite cutoff"):
        StratifiedNet(MaternNet(2, 10, 1.0, 1.2)).four_point_connected(o, o, x, x)


def test_orders_that_are_known():
    xs = np.random.default_rng(0).uniform(-1, 1, (6, 1))
    line, plane = StratifiedNet(ScalarNet(1, 1, 1.0, INF)), StratifiedNet(ScalarNet(2, 3, 1.0, 3.0))
    assert line.n_point_connected(*xs) == pytest.approx(float(line.base.n_point_connected(*xs)), rel=1e-9)
    assert plane.n_point_connected(*np.zeros((3, 2))) == 0
    with pytest.raises(InputError, match="the 6-point function of StratifiedNet is not known in dim = 2"):
        plane.n_point_connected(*np.zeros((6, 2)))


@pytest.mark.parametrize(
    ("base", "shells", "says"),
    [
        (ScalarNet(2, 4, 1.0, 3.0), 0, "stratified_net.shells is 0"),
        (ScalarNet(2, 4, 1.0, 3.0), 5, "stratified_net.shells is 5"),
        (ScalarNet(1, 4, 1.0, INF), 2, "stratified_net.shells is 2 with dim = 1, where every cell is a whole shell"),
    ],
)
def test_shells_that_cannot_be_are_refused(base, shells, says):
    with pytest.raises(InputError) as caught:
        StratifiedNet(base, shells)
    assert str(caught.value).startswith(says)


def test_any_isotropic_spectrum_can_be_stratified():
    net = StratifiedNet(EuclideanNet(2, 8, lambda k: jnp.exp(-k), lambda k: 1 / (1 + k), 6.0))
    o, x = np.zeros(2), np.array([0.6, 0.0])
    assert 0 < net.four_point_connected(o, o, x, x) < net.base.four_point_connected(o, o, x, x)
