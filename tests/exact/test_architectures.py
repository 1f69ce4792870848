"""Architectures against the printed check values and against quadrature over the parameters of one neuron."""

import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from nnft_mcmc._checks import InputError
from nnft_mcmc.architectures import CosNet, GaussNet, ScalarNet
from tests.exact import neuron_quadrature

DIMS = (1, 2, 3)
SEEDS = (0, 1, 2)
INF = math.inf


def on_a_line(*xs):
    return [np.array([x]) for x in xs]


def n_kappa(architecture, x=None):
    """width * excess kurtosis of phi(x)."""
    x = np.zeros(architecture.dim) if x is None else x
    return architecture.width * float(architecture.four_point_connected(x, x, x, x) / architecture.two_point(x, x) ** 2)


# Printed check values, 5e-11 being half of the last digit.


def test_gauss_net_gives_the_published_figures():
    net, x = GaussNet(1, 1, bias_std=0.5), on_a_line(0.5, 0.2, -0.3, 0.7)
    assert net.two_point(x[0], x[1]) == pytest.approx(0.4779987409, abs=5e-11)
    assert net.four_point_connected(*x) == pytest.approx(1.0426894063, abs=5e-11)


def test_cos_net_gives_the_published_figures():
    net, x = CosNet(1, 1), on_a_line(0.0, 0.7, 1.5, -0.4)
    assert net.two_point(x[0], x[1]) == pytest.approx(0.3913522691, abs=5e-11)
    assert net.four_point_connected(*x) == pytest.approx(0.2973836815, abs=5e-11)


@pytest.mark.parametrize(
    ("dim", "at_zero", "at_one"),
    [(1, 0.4371670418, 0.1728844348), (2, 0.2592710845, 0.0597273261), (3, 0.1837256634, 0.0281592085)],
)
@pytest.mark.parametrize("alpha", [-1.0, 0.0, 0.7])
def test_scalar_net_gives_the_published_propagator_for_every_alpha(dim, at_zero, at_one, alpha):
    net = ScalarNet(dim, 3, 1.0, 5.0, alpha)
    origin, away = np.zeros(dim), np.eye(dim)[0]
    assert net.two_point(origin, origin) == pytest.approx(at_zero, abs=5e-11)
    assert net.two_point(origin, away) == pytest.approx(at_one, abs=5e-11)


@pytest.mark.parametrize(("dim", "expected"), [(1, 6.33832209), (2, 7.19040129), (3, 5.41891779)])
def test_excess_kurtosis_of_the_lectures_scalar_net(dim, expected):
    assert n_kappa(ScalarNet(dim, 4, 1.0, 5.0, -1.0)) == pytest.approx(expected, abs=5e-9)


@pytest.mark.parametrize(("mass", "cutoff"), [(1.0, 5.0), (0.3, 20.0), (2.0, 3.0)])
@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_scalar_net_at_coincident_points_in_closed_form(dim, mass, cutoff):
    ratio = cutoff / mass
    closed = {
        1: math.atan(ratio) / (math.pi * mass),
        2: math.log1p(ratio**2) / (4 * math.pi),
        3: (cutoff - mass * math.atan(ratio)) / (2 * math.pi**2),
        4: (cutoff**2 - mass**2 * math.log1p(ratio**2)) / (16 * math.pi**2),
    }[dim]
    x = np.linspace(0.1, 0.4, dim)
    for alpha in (-1.0, 0.0):
        assert ScalarNet(dim, 2, mass, cutoff, alpha).two_point(x, x) == pytest.approx(closed, rel=1e-11)


@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_excess_kurtosis_is_that_of_a_constant_form_factor_at_alpha_0(dim):
    assert n_kappa(ScalarNet(dim, 7, 0.8, 6.0)) == pytest.approx(1.5, rel=1e-10)


def test_cauchy_cos_net_is_the_free_propagator_without_a_cutoff():
    net, r = ScalarNet(1, 5, 0.7, INF), np.linspace(0, 6, 13)[:, None]
    np.testing.assert_allclose(net.two_point(r, np.zeros(1)), np.exp(-0.7 * r[:, 0]) / 1.4, rtol=1e-12)
    assert n_kappa(net) == pytest.approx(1.5, rel=1e-12)


def test_excess_kurtosis_of_cos_net_is_the_same_everywhere_and_that_of_gauss_net_grows():
    cos, gauss = CosNet(2, 5, 1.3, 0.7), GaussNet(2, 5, 0.8, 0.4, 1.2)
    for x in np.array([[0.0, 0.0], [0.6, -1.1], [2.0, 3.0]]):
        assert n_kappa(cos, x) == pytest.approx(1.5, rel=1e-12)
        closed = 3 * math.exp(4 * 0.4**2 + 4 * 0.8**2 * (x @ x) / 2) - 3
        assert n_kappa(gauss, x) == pytest.approx(closed, rel=1e-12)


# Brute force. Tolerance: 1e-10 of G(0)^2, or of the value itself where a heavy tail makes that larger.


def assert_correlators(net, reference, points):
    scale = float(net.two_point(points[0], points[0]))
    for x, y in itertools.combinations(points, 2):
        assert abs(net.two_point(x, y) - reference.two_point(x, y)) < 1e-10 * scale
    for xs in (points, points[[0, 0, 1, 1]], points[[2, 2, 2, 3]], points[[3, 3, 3, 3]]):
        expected = reference.four_point_connected(xs)
        assert abs(net.four_point_connected(*xs) - expected) < 1e-10 * max(scale**2, abs(expected))


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("seed", SEEDS)
def test_cos_net_correlators_by_brute_force(dim, seed):
    rng = np.random.default_rng(seed)
    hyper = {
        "dim": dim,
        "width": int(rng.integers(1, 9)),
        "weight_std": rng.uniform(0.5, 1.5),
        "amplitude_std": rng.uniform(0.5, 2),
    }
    assert_correlators(CosNet(**hyper), neuron_quadrature.cos_net(**hyper), rng.uniform(-1, 1, (4, dim)))


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("seed", SEEDS)
def test_gauss_net_correlators_by_brute_force(dim, seed):
    rng = np.random.default_rng(seed)
    hyper = {
        "dim": dim,
        "width": int(rng.integers(1, 9)),
        "weight_std": rng.uniform(0.5, 1.2),
        "bias_std": rng.uniform(0.2, 0.6),
        "amplitude_std": rng.uniform(0.5, 2),
    }
    assert_correlators(GaussNet(**hyper), neuron_quadrature.gauss_net(**hyper), rng.uniform(-0.8, 0.8, (4, dim)))


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("alpha", [-1.0, -0.4, 0.0])
def test_scalar_net_correlators_by_brute_force(dim, alpha):
    rng = np.random.default_rng(10 * dim)
    hyper = {
        "dim": dim,
        "width": int(rng.integers(1, 9)),
        "mass": rng.uniform(0.7, 1.5),
        "cutoff": rng.uniform(2, 4),
        "alpha": alpha,
    }
    assert_correlators(ScalarNet(**hyper), neuron_quadrature.scalar_net(**hyper), rng.uniform(-0.8, 0.8, (4, dim)))


def momentum_average(power, mass, y):
    """int dw/(2 pi) (w^2 + m^2)^-power e^{iwy} over all momenta, by scipy's quadrature."""

    def integrand(w):
        return (w**2 + mass**2) ** -power / math.pi

    if y == 0:
        return quad(lambda u: integrand(mass * math.sinh(u)) * mass * math.cosh(u), 0, 300, epsabs=0, limit=500)[0]
    return quad(integrand, 0, INF, weight="cos", wvar=abs(y), epsabs=1e-12, limit=500)[0]


@pytest.mark.parametrize("alpha", [-0.3, 0.0, 0.3])
def test_scalar_net_without_a_cutoff_by_brute_force(alpha):
    """The average over the phase keeps the sign patterns s with sum s = 0: E[cos cos cos cos] = sum_s cos(w s.x)/16."""
    mass, width, x = 0.8, 3, np.array([0.0, 0.5, -0.9, 1.1])
    z = momentum_average(1 + alpha, mass, 0)  # P = (w^2 + m^2)^-(1 + alpha)/(2 pi z), F^2 = 2 z (..)^alpha
    net = ScalarNet(1, width, mass, INF, alpha)

    def waves(power, *points):
        patterns = [s for s in itertools.product((-1, 1), repeat=len(points)) if sum(s) == 0]
        distances = [abs(np.dot(s, points)) for s in patterns]
        return sum(momentum_average(power, mass, d) for d in distances) / 2 ** len(points)

    def pair(i, j):
        return 2 * waves(1.0, x[i], x[j])

    for i, j in itertools.combinations(range(4), 2):
        assert net.two_point(x[[i]], x[[j]]) == pytest.approx(pair(i, j), rel=1e-8)
    pairings = sum(pair(i, j) * pair(k, m) for i, j, k, m in neuron_quadrature.PAIRINGS)
    expected = (3 * 4 * z * waves(1 - alpha, *x) - pairings) / width
    assert net.four_point_connected(*x[:, None]) == pytest.approx(expected, abs=1e-8 / (4 * mass**2))


def test_points_broadcast():
    net, rng = CosNet(2, 3), np.random.default_rng(1)
    x, y = rng.normal(size=(5, 1, 2)), rng.normal(size=(4, 2))
    table = net.two_point(x, y)
    assert table.shape == (5, 4)
    assert table[3, 2] == net.two_point(x[3, 0], y[2])
    assert net.four_point_connected(x, y, y[0], x[0]).shape == (5, 4)


# The network itself, and the density of its parameters.


def formula(net, theta, x):
    """phi_theta(x) at x (n, dim), from the lectures."""
    theta = {name: np.asarray(value) for name, value in theta.items()}
    if isinstance(net, GaussNet):
        exponent = x @ theta["weights"].T + theta["biases"]
        norm = np.exp(net.bias_std**2 + net.weight_std**2 * np.sum(x**2, axis=-1) / net.dim)
        return np.exp(exponent) @ theta["amplitudes"] / norm
    form_factor = 1.0
    if isinstance(net, ScalarNet):
        w2 = np.sum(theta["momenta"] ** 2, axis=-1) + net.mass**2
        volume = math.pi ** (net.dim / 2) * net.cutoff**net.dim / math.gamma(net.dim / 2 + 1)
        form_factor = np.sqrt(2 * volume / (2 * math.pi) ** net.dim) / np.sqrt(w2)  # eq. (72), corrected; alpha = -1
    return (form_factor * np.cos(x @ theta["momenta"].T + theta["phases"])) @ theta["amplitudes"]


@pytest.mark.parametrize(
    "net", [CosNet(2, 6, 1.2, 0.8), GaussNet(3, 6, 1.1, 0.6, 0.8), ScalarNet(3, 6, 0.9, 4.0, -1.0)]
)
def test_network_is_the_formula_of_the_lectures(net):
    rng = np.random.default_rng(3)
    theta = {name: jnp.asarray(rng.normal(size=d.shape())) for name, d in net.prior().items()}
    x = rng.normal(size=(7, net.dim))
    np.testing.assert_allclose(net(theta, x), formula(net, theta, x), rtol=1e-12, atol=1e-13)
    assert net(theta, x.reshape(7, 1, net.dim)).shape == (7, 1)
    assert net(theta, x[0]).shape == ()


def test_log_prior_of_cos_net_and_gauss_net():
    rng, width = np.random.default_rng(4), 5
    w, b, a = rng.normal(size=(width, 2)), rng.uniform(-3, 3, width), rng.normal(size=width)
    cos = CosNet(2, width, 1.3, 0.7).log_prior({"momenta": w, "phases": b, "amplitudes": a})
    expected = (
        stats.norm(scale=1.3 / math.sqrt(2)).logpdf(w).sum()
        + stats.uniform(-math.pi, 2 * math.pi).logpdf(b).sum()
        + stats.norm(scale=0.7 / math.sqrt(width)).logpdf(a).sum()
    )
    assert cos == pytest.approx(expected, rel=1e-12)
    gauss = GaussNet(2, width, 1.3, 0.4, 0.7).log_prior({"weights": w, "biases": b, "amplitudes": a})
    expected = (
        stats.norm(scale=1.3 / math.sqrt(2)).logpdf(w).sum()
        + stats.norm(scale=0.4).logpdf(b).sum()
        + stats.norm(scale=0.7 / math.sqrt(2 * width)).logpdf(a).sum()
    )
    assert gauss == pytest.approx(expected, rel=1e-12)


def truncated_student_t(k, mass, cutoff, alpha):
    """d = 1: (w^2 + m^2)^-(1 + alpha) is Student's t with 1 + 2 alpha degrees of freedom."""
    law = stats.t(1 + 2 * alpha, scale=mass / math.sqrt(1 + 2 * alpha))
    return law.logpdf(k) - np.log(law.cdf(cutoff) - law.cdf(-cutoff))


def multivariate_t(w, mass, alpha):
    """No cut-off: the t distribution with nu = 2 + 2 alpha - d degrees of freedom and shape m^2/nu."""
    dim = w.shape[-1]
    nu = 2 + 2 * alpha - dim
    return stats.multivariate_t(np.zeros(dim), mass**2 / nu * np.eye(dim), df=nu).logpdf(w)


MOMENTUM_DENSITIES = [
    (ScalarNet(1, 6, 0.9, INF), lambda w: stats.cauchy(scale=0.9).logpdf(w[:, 0])),
    (ScalarNet(1, 6, 0.9, 4.0), lambda w: truncated_student_t(w[:, 0], 0.9, 4.0, 0.0)),
    (ScalarNet(1, 6, 0.9, 4.0, 0.6), lambda w: truncated_student_t(w[:, 0], 0.9, 4.0, 0.6)),
    (ScalarNet(2, 6, 0.9, INF, 0.5), lambda w: multivariate_t(w, 0.9, 0.5)),
    (ScalarNet(3, 6, 0.9, INF, 1.5), lambda w: multivariate_t(w, 0.9, 1.5)),
    (ScalarNet(4, 6, 0.9, INF, 1.5), lambda w: multivariate_t(w, 0.9, 1.5)),
    (ScalarNet(2, 6, 0.9, 4.0, -1.0), lambda w: np.full(len(w), -math.log(math.pi * 16))),
    (ScalarNet(3, 6, 0.9, 4.0, -1.0), lambda w: np.full(len(w), -math.log(4 / 3 * math.pi * 64))),
]


@pytest.mark.parametrize(("net", "log_density"), MOMENTUM_DENSITIES)
def test_log_prior_of_scalar_net(net, log_density):
    rng = np.random.default_rng(5)
    w, b, a = rng.normal(size=(6, net.dim)), rng.uniform(-3, 3, 6), rng.normal(size=6)
    w /= np.maximum(1, np.linalg.norm(w, axis=-1, keepdims=True) / 3)
    value = net.log_prior({"momenta": jnp.asarray(w), "phases": jnp.asarray(b), "amplitudes": jnp.asarray(a)})
    rest = -6 * math.log(2 * math.pi) + stats.norm(scale=math.sqrt(1 / 6)).logpdf(a).sum()
    assert value == pytest.approx(log_density(w).sum() + rest, rel=1e-11)
    if net.cutoff < INF:
        w[0] *= 1.001 * net.cutoff / np.linalg.norm(w[0])
        outside = net.log_prior({"momenta": jnp.asarray(w), "phases": jnp.asarray(b), "amplitudes": jnp.asarray(a)})
        assert outside == -INF


# Refusals.

BAD_CONSTRUCTIONS = [
    (lambda: CosNet(1, 0), "cos_net.width is 0"),
    (lambda: CosNet(0, 1), "cos_net.dim is 0"),
    (lambda: CosNet(1, 2.5), "cos_net.width is 2.5"),
    (lambda: CosNet(1, True), "cos_net.width is True"),
    (lambda: CosNet(1, "4"), "cos_net.width is '4'"),
    (lambda: CosNet(1, 4, weight_std=-1.0), "cos_net.weight_std is -1.0"),
    (lambda: CosNet(1, 4, amplitude_std=math.nan), "cos_net.amplitude_std is nan"),
    (lambda: GaussNet(1, 0), "gauss_net.width is 0"),
    (lambda: GaussNet(1, 4, bias_std=0.0), "gauss_net.bias_std is 0.0"),
    (lambda: GaussNet(1, 4, weight_std=INF), "gauss_net.weight_std is inf"),
    (lambda: GaussNet(1, 4, amplitude_std="1"), "gauss_net.amplitude_std is '1'"),
    (lambda: ScalarNet(1, 0, 1.0, 5.0), "scalar_net.width is 0"),
    (lambda: ScalarNet(5, 1, 1.0, 5.0), "scalar_net.dim is 5"),
    (lambda: ScalarNet(1, 1, -1.0, 5.0), "scalar_net.mass is -1.0"),
    (lambda: ScalarNet(1, 1, 0.0, 5.0), "scalar_net.mass is 0.0"),
    (lambda: ScalarNet(1, 1, 1.0, 0.0), "scalar_net.cutoff is 0.0"),
    (lambda: ScalarNet(1, 1, 1.0, -INF), "scalar_net.cutoff is -inf"),
    (lambda: ScalarNet(1, 1, 1.0, math.nan), "scalar_net.cutoff is nan"),
    (lambda: ScalarNet(1, 1, 1.0, None), "scalar_net.cutoff is None"),
    (lambda: ScalarNet(1, 1, 1.0, 5.0, INF), "scalar_net.alpha is inf"),
    (lambda: ScalarNet(2, 1, 1.0, INF), "scalar_net.cutoff is infinite"),
    (lambda: ScalarNet(1, 1, 1.0, INF, -0.5), "scalar_net.cutoff is infinite"),
    (lambda: ScalarNet(1, 1, 1.0, INF, -0.499), "the momentum density falls too slowly"),
    (lambda: ScalarNet(3, 1, 1.0, INF, 0.55), "the momentum density falls too slowly"),
]
BAD_CALLS = [
    (lambda: CosNet(2, 1).two_point(np.zeros(3), np.zeros(3)), "a point has shape (3,)"),
    (lambda: GaussNet(2, 1).two_point(0.0, np.zeros(2)), "a point has shape ()"),
    (lambda: CosNet(2, 1)({}, jnp.zeros((4, 1))), "x has shape (4, 1)"),
    (lambda: CosNet(2, 1)({}, 0.5), "x has shape ()"),
    (lambda: ScalarNet(1, 1, 1.0, INF, 0.5).four_point_connected(*np.zeros((4, 1))), "the four-point function"),
    (lambda: ScalarNet(2, 1, 1.0, INF, 0.5).four_point_connected(*np.zeros((4, 2))), "the four-point function"),
]


def assert_refused(call, start):
    """One line that starts with what was given, and is a sentence."""
    with pytest.raises(InputError) as refusal:
        call()
    message = str(refusal.value)
    assert message.startswith(start)
    assert "\n" not in message
    assert message.endswith(".")


@pytest.mark.parametrize(("call", "start"), BAD_CONSTRUCTIONS + BAD_CALLS)
def test_bad_input_is_refused_in_one_line(call, start):
    assert_refused(call, start)
