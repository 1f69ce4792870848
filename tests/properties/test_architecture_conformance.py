"""What every architecture promises, one suite over all of them.

A class that is registered without an example here fails `test_every_registered_architecture_has_an_example`. Each
statistical test has a false-alarm rate of 1e-4. The draws of an example are made once and shared: `NUM_DRAWS` networks,
which fix two-point functions to better than 1% and connected four-point functions to 4% of the product of the
standard deviations of the fields, or to what `KURTOTIC` says, in a few seconds each.
"""

import functools
import itertools
import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy.integrate import quad

from nnft_mcmc._checks import InputError
from nnft_mcmc.architectures import (
    REGISTRY,
    CosNet,
    CubeNet,
    EuclideanNet,
    ExactCorrelators,
    GaussNet,
    IidNeurons,
    InfiniteWidth,
    InfiniteWidthKernel,
    LatticeModes,
    MaternNet,
    NeuronMoments,
    OnLattice,
    PlaneWaves,
    ScalarNet,
    SiteField,
    StratifiedNet,
    SumOfNeurons,
    TwoQuadratureNet,
)
from nnft_mcmc.architectures.amplitudes import Signs
from nnft_mcmc.architectures.attention import LinearAttention, SoftmaxAttention
from nnft_mcmc.architectures.convolution import ConvNet
from nnft_mcmc.architectures.deep import MLP, DeepEuclideanNet
from nnft_mcmc.architectures.dense import DenseNet
from nnft_mcmc.architectures.kan import KAN, AdditiveKAN
from nnft_mcmc.architectures.on_lattice import FreeField
from nnft_mcmc.architectures.priors import IsotropicMomentum, UniformPhase
from nnft_mcmc.architectures.stratified import StratifiedMomenta
from nnft_mcmc.architectures.vector import EquivariantNet, VectorNet
from nnft_mcmc.estimators._draws import fields_in_batches
from nnft_mcmc.estimators.generating import cumulant_scaling
from nnft_mcmc.statistics import CumulantAccumulator
from tests.properties.architecture_examples import (
    BOX,
    EXAMPLES,
    NAMES,
    TORUS,
    WIDTH,
    boltzmann,
    example,
    falling,
    output_shape,
    some_points,
)
from tests.statistical.consistency import assert_consistent, assert_inconsistent

NUM_DRAWS = 200_000
NUM_THETAS = 4000
WIDE = 64
# Error of the four-point function, in those units, where the law of one neuron has long tails.
KURTOTIC = {"gauss_net": 0.08, "scalar_net of the lectures": 0.08, "euclidean_net": 0.08, "dense_net of relu": 0.25}


def names_of(*capabilities, without=()):
    found = [n for n in NAMES if isinstance(example(n), capabilities) and not isinstance(example(n), without)]
    return pytest.mark.parametrize("name", found)


every_architecture = pytest.mark.parametrize("name", NAMES)


def one_theta(net, seed=0):
    return net.sample_parameters(jax.random.key(seed))


@functools.cache
def many_thetas(name):
    return jax.vmap(example(name).sample_parameters)(jax.random.split(jax.random.key(1), NUM_THETAS))


def assert_close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


def test_every_registered_architecture_has_an_example():
    tried = {type(example(name)) for name in NAMES}
    missing = sorted(name for name, cls in REGISTRY.items() if cls not in tried)
    assert not missing, f"add an example of {', '.join(missing)} to EXAMPLES or ON_LATTICE"


# The network and its prior.


@every_architecture
def test_shapes(name):
    net = example(name)
    theta, prior, x = one_theta(net), net.prior(), some_points(net)
    assert {key: value.shape for key, value in theta.items()} == {key: d.shape() for key, d in prior.items()}
    assert net(theta, x[0]).shape == output_shape(net)
    assert net(theta, x).shape == (3, *output_shape(net))
    assert net(theta, x[:, None]).shape == (3, 1, *output_shape(net))
    assert net.log_prior(theta).shape == ()


@names_of(PlaneWaves)
def test_plane_waves_are_the_network(name):
    net = example(name)
    theta, x = one_theta(net), jnp.asarray(some_points(net))
    momenta, cosines, sines = net.waves(theta)
    phase = x @ momenta.T
    assert_close(jnp.cos(phase) @ cosines + jnp.sin(phase) @ sines, net(theta, x))


@every_architecture
def test_jit_and_vmap_are_the_eager_loop(name):
    net = example(name)
    x = jnp.asarray(some_points(net))
    thetas = {key: value[:3] for key, value in many_thetas(name).items()}
    for function in (lambda theta: net(theta, x), net.log_prior):
        one_by_one = jnp.stack([function({key: value[i] for key, value in thetas.items()}) for i in range(3)])
        assert_close(jax.vmap(function)(thetas), one_by_one)
        assert_close(jax.jit(jax.vmap(function))(thetas), one_by_one)
    theta = one_theta(net)
    assert_close(jnp.stack([net.forward(theta, point) for point in x]), net(theta, x))


@every_architecture
def test_draws_differ_and_are_reproduced_by_their_key(name):
    net = example(name)
    first, again, other = one_theta(net), one_theta(net), one_theta(net, 1)
    for key, value in first.items():
        np.testing.assert_array_equal(value, again[key])
        assert jnp.isfinite(value).all()
    assert any((value != other[key]).any() for key, value in first.items())


@every_architecture
def test_log_prior_is_the_sum_of_the_log_densities(name):
    net = example(name)
    prior, thetas = net.prior(), many_thetas(name)
    log_prior = jax.vmap(net.log_prior)(thetas)
    assert jnp.isfinite(log_prior).all()
    for i in range(3):
        assert_close(log_prior[i], sum(float(d.log_prob(thetas[key][i]).sum()) for key, d in prior.items()))
    for key, d in prior.items():
        assert d.support(thetas[key]).all()


@names_of(SumOfNeurons, VectorNet)
def test_the_order_of_neurons_does_not_matter(name):
    net = example(name)
    theta, order = one_theta(net), np.random.default_rng(0).permutation(WIDTH)
    shared = net.common if isinstance(net, SumOfNeurons) else ()
    permuted = {key: value if key in shared else value[order] for key, value in theta.items()}
    assert_close(net(permuted, some_points(net)), net(theta, some_points(net)))
    if isinstance(net, IidNeurons):
        assert_close(net.log_prior(permuted), net.log_prior(theta))


@names_of(SumOfNeurons)
def test_the_field_is_the_sum_of_its_neurons(name):
    net = example(name)
    theta, x = one_theta(net), jnp.asarray(some_points(net))
    neurons = net.neurons(theta, x)
    assert neurons.shape == (WIDTH, 3)
    assert_close(neurons.sum(axis=0), net(theta, x))


# Draws of the parameters against their densities.


@dataclass(frozen=True)
class Number:
    """Means of independent draws (draws, ...) with their errors, as the helpers want them."""

    draws: np.ndarray

    @property
    def value(self):
        return self.draws.mean(axis=0)

    @property
    def error(self):
        return self.draws.std(axis=0, ddof=1) / math.sqrt(len(self.draws))

    @property
    def ess(self):
        return np.full(self.draws.shape[1:], float(len(self.draws)))

    @property
    def error_dof(self):
        return len(self.draws) - 1


def elementary(distribution):
    while isinstance(distribution, (dist.ExpandedDistribution, dist.Independent)):
        distribution = distribution.base_dist
    return distribution


def mean_and_variance(distribution):
    """Of each entry; None where they need not exist."""
    base, shape = elementary(distribution), distribution.shape()
    known = {
        UniformPhase: lambda: (0.0, math.pi**2 / 3),
        Signs: lambda: (0.0, float(base.variance)),
        FreeField: lambda: (0.0, float(base.spectrum.mean())),
    }
    if isinstance(base, (IsotropicMomentum, StratifiedMomenta)):
        return None
    mean, variance = known[type(base)]() if type(base) in known else (distribution.mean, distribution.variance)
    return np.broadcast_to(mean, shape), np.broadcast_to(variance, shape)


def mean_inverse_length(law):
    """<1/(1 + |w|)> from the density of w."""
    area = 2 * math.pi ** (law.dim / 2) / math.gamma(law.dim / 2)
    density = lambda k: float(jnp.exp(law.log_density(jnp.asarray(k))))  # noqa: E731
    integral = quad(lambda k: area * k ** (law.dim - 1) * density(k) / (1 + k), 0, law.cutoff, epsabs=1e-6, limit=200)
    return integral[0]


@every_architecture
def test_draws_have_the_moments_of_the_prior(name):
    for key, distribution in example(name).prior().items():
        values = np.asarray(many_thetas(name)[key])
        moments = mean_and_variance(distribution)
        if moments is None:
            exact = np.array([mean_inverse_length(elementary(distribution).law)])
            assert_consistent(inverse_of(values), exact, resolution=0.05)
            assert_inconsistent(inverse_of(values), 1.1 * exact, resolution=0.05)
            continue
        mean, variance = moments
        assert_consistent(Number(values), mean, resolution=0.05, scale=np.sqrt(variance))
        spread = Number((values - mean) ** 2)
        if not isinstance(elementary(distribution), Signs):
            assert_consistent(spread, variance, resolution=0.1)
            assert_inconsistent(spread, 1.5 * variance, resolution=0.1)
        else:
            np.testing.assert_allclose(spread.value, variance, rtol=1e-12)


def inverse_of(momenta):
    """1/(1 + |w|), averaged over neurons, for draws (draws, width, dim)."""
    return Number((1 / (1 + np.linalg.norm(momenta, axis=-1))).mean(axis=-1, keepdims=True))


# Streamed correlators against the exact ones.

PAIRS = ((0, 0), (0, 1), (1, 2))
QUADRUPLES = ((0, 0, 0, 0), (0, 0, 1, 1), (0, 1, 2, 2))


@functools.cache
def streamed(name, tuples, num_draws=NUM_DRAWS, width=WIDTH):
    """Cumulants at `some_points`; components of a vector field count as further points."""
    net, accumulator = example(name, width), CumulantAccumulator(tuples)
    for fields in fields_in_batches(net, jax.random.key(2), some_points(net), num_draws):
        accumulator.update(fields.reshape(len(fields), -1))
    return accumulator.estimate()


@dataclass(frozen=True)
class Part:
    """Some entries of a `CumulantEstimate`."""

    whole: Any
    entries: slice

    @property
    def value(self):
        return self.whole.value[self.entries]

    @property
    def error(self):
        return self.whole.error[self.entries]

    @property
    def ess(self):
        return self.whole.ess

    @property
    def error_dof(self):
        return self.whole.error_dof


@names_of(ExactCorrelators)
def test_streamed_correlators_are_the_exact_ones(name):
    net, found = example(name), streamed(name, PAIRS + QUADRUPLES)
    x = some_points(net)
    two = np.array([net.two_point(x[i], x[j]) for i, j in PAIRS])
    four = np.array([net.four_point_connected(*x[list(sites)]) for sites in QUADRUPLES])
    pairs, quadruples = Part(found, slice(0, 3)), Part(found, slice(3, 6))
    assert_consistent(pairs, two, resolution=0.01)
    assert_inconsistent(pairs, 1.07 * two, resolution=0.01)
    resolution = KURTOTIC.get(name, 0.04)
    scale = np.array([np.prod([net.two_point(x[i], x[i]) ** 0.5 for i in sites]) for sites in QUADRUPLES])
    assert_consistent(quadruples, four, resolution=resolution, scale=scale)
    assert_inconsistent(quadruples, four + 9 * resolution * scale, resolution=resolution, scale=scale)


@names_of(InfiniteWidthKernel, without=(ExactCorrelators,))
def test_wide_networks_have_the_infinite_width_kernel(name):
    """Width 64: the kernel up to 2/64 of itself, which is allowed for, and errors of 5%."""
    net, found = example(name, WIDE), streamed(name, PAIRS, 10_000, WIDE)
    x = some_points(net)
    kernel = np.array([net.infinite_width_kernel(x[i], x[j]) for i, j in PAIRS])
    assert_consistent(found, kernel, resolution=0.05, oracle_error=kernel * 2 / WIDE)
    assert_inconsistent(found, 1.6 * kernel, resolution=0.05, oracle_error=kernel * 2 / WIDE)


def test_streamed_correlators_of_two_components():
    """<1 1>, <2 2>, <1 1 1 1>_c and <1 1 2 2>_c at one point, and <1 2> = 0."""
    net, x = example("vector_net"), some_points(example("vector_net"))
    found = streamed("vector_net", ((0, 0), (1, 1), (0, 1), (0, 0, 0, 0), (0, 0, 1, 1)))
    two, four = net.two_point(x[0], x[0]), net.four_point_connected(x[0], x[0], x[0], x[0])
    exact = np.array([two[0, 0], two[1, 1], two[0, 1], four[0, 0, 0, 0], four[0, 0, 1, 1]])
    scale = np.array([1, 1, 1, two[0, 0], two[0, 0]]) * two[0, 0]
    assert_consistent(found, exact, resolution=0.04, scale=scale)
    wrong = exact + np.array([0.0, 0.0, 0.0, 0.0, 0.1])
    assert_inconsistent(found, wrong, resolution=0.04, scale=scale)


# Large width.


@names_of(NeuronMoments)
def test_connected_correlators_of_iid_neurons_scale_with_the_width(name):
    """G is the same at every width, width Gc4 and width^2 Gc6 are constants."""
    narrow, wide = example(name), example(name, 300)
    x = some_points(narrow)
    g = float(narrow.two_point(x[0], x[0]))
    assert_close(wide.two_point(x[0], x[1]), narrow.two_point(x[0], x[1]))
    for sites in QUADRUPLES:
        four = [net.width * net.four_point_connected(*x[list(sites)]) for net in (narrow, wide)]
        np.testing.assert_allclose(four[1], four[0], rtol=1e-10, atol=1e-12 * g**2)
    assert abs(300 * float(wide.four_point_connected(*x[[0, 0, 0, 0]]))) < 300 * g**2
    six = [net.width**2 * net.six_point_connected(*x[[0] * 6]) for net in (narrow, wide)]
    np.testing.assert_allclose(six[1], six[0], rtol=1e-9, atol=1e-11 * g**3)


@pytest.mark.parametrize("name", ["stratified_net", "stratified_net of two quadratures"])
def test_stratified_momenta_leave_the_non_gaussianity_of_one_wave(name):
    """The two-point function is that of the base. width Gc4 falls to what one wave of known momentum has: nothing for
    two quadratures, at one point 3/2 G^2 for one."""
    nets = [example(name, n) for n in (4, 16, 64)]
    x, far = some_points(nets[0])[0], some_points(nets[0])[0] + 1.5
    pairs = [float(net.two_point(x, far)) for net in nets]
    np.testing.assert_allclose(pairs, float(nets[0].base.two_point(x, far)), rtol=1e-10)
    g = float(nets[0].two_point(x, x))
    at_one_point = [net.width * float(net.four_point_connected(x, x, x, x)) for net in nets]
    if isinstance(nets[0].base, TwoQuadratureNet):
        apart = [net.width * float(net.four_point_connected(x, x, far, far)) for net in nets]
        assert apart[0] > 2 * apart[1] > 4 * apart[2] > 0
        np.testing.assert_allclose(at_one_point, 0.0, atol=1e-10 * g**2)
    else:
        np.testing.assert_allclose(at_one_point, 1.5 * g**2, rtol=1e-9)


@names_of(OnLattice)
def test_fields_on_a_lattice_are_gaussian(name):
    net = example(name)
    x = some_points(net)
    assert net.four_point_connected(x[0], x[0], x[1], x[2]) == 0.0
    gram = net.two_point(x[:, None], x[None])
    assert np.linalg.eigvalsh(gram).min() > -1e-12 * gram.trace()


@names_of(ExactCorrelators)
def test_exact_correlators_are_symmetric_in_their_points(name):
    net = example(name)
    x = some_points(net)
    assert isinstance(net.has_gaussian_tails(), bool)
    assert_close(net.two_point(x[0], x[1]), net.two_point(x[1], x[0]))
    four = float(net.four_point_connected(*x[[0, 1, 2, 2]]))
    for order in itertools.permutations((0, 1, 2, 2)):
        np.testing.assert_allclose(net.four_point_connected(*x[list(order)]), four, rtol=1e-8, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "deep_euclidean_net", "conv_net", "softmax_attention", "callable_net"])
def test_the_kurtosis_of_networks_without_exact_correlators_falls_with_the_width(name):
    """kappa_4 ~ 1/N up to corrections of relative order 1/N: the exponent from widths 8, 16, 32 is -1 within 0.3."""
    x = some_points(example(name))[0]
    found = cumulant_scaling(EXAMPLES[name], (8, 16, 32), jax.random.key(3), x, 400_000, orders=(2, 4))
    assert found.exponent_error[1] < 0.15
    assert abs(found.exponent[1] + 1) < 0.3 + 4 * found.exponent_error[1]
    assert abs(found.exponent[0]) < 0.1 + 4 * found.exponent_error[0]


# Refusals.


def assert_refused_in_one_sentence(call):
    with pytest.raises(InputError) as refusal:
        call()
    message = str(refusal.value)
    assert "\n" not in message
    assert message.endswith((".", "?"))  # "Did you mean ..?"
    assert len(message) > 20


@pytest.mark.parametrize("width", [0, -1, 2.5, True, "4", None])
@pytest.mark.parametrize("name", [name for name in EXAMPLES if name != "callable_net"])
def test_a_width_that_cannot_be_is_refused(name, width):
    assert_refused_in_one_sentence(lambda: EXAMPLES[name](width))


@every_architecture
def test_a_point_of_another_dimension_is_refused(name):
    net = example(name)
    theta = one_theta(net)
    for x in (np.zeros(net.dim + 1), np.zeros((4, net.dim + 1)), 0.5):
        assert_refused_in_one_sentence(functools.partial(net, theta, x))
        if isinstance(net, ExactCorrelators):
            assert_refused_in_one_sentence(functools.partial(net.two_point, x, x))


BAD = {
    "cos_net.weight_std": lambda: CosNet(2, 3, weight_std=-1.0),
    "cube_net.cutoff": lambda: CubeNet(2, 3, cutoff=math.inf),
    "gauss_net.bias_std": lambda: GaussNet(2, 3, bias_std="1"),
    "scalar_net.mass": lambda: ScalarNet(2, 3, 0.0, 3.0),
    "matern_net.amplitude_law": lambda: MaternNet(2, 3, 0.9, 2.5, amplitude_law="gamma"),
    "euclidean_net.cutoff": lambda: EuclideanNet(2, 3, boltzmann, falling, -1.0),
    "stratified_net.base": lambda: StratifiedNet(CosNet(2, 3)),
    "stratified_net.shells": lambda: StratifiedNet(ScalarNet(2, 3, 0.9, 3.0), shells=4),
    "dense_net.activation": lambda: DenseNet(2, 3, "relux"),
    "additive_kan.lower": lambda: AdditiveKAN(2, lower=1.0),
    "kan.widths": lambda: KAN(2, ()),
    "kan.knots": lambda: KAN(2, (3,), knots=[[[0.0, 1.0]]]),
    "mlp.depth": lambda: MLP(2, 3, depth=1),
    "deep_euclidean_net.base": lambda: DeepEuclideanNet(GaussNet(2, 3)),
    "conv_net.image": lambda: ConvNet(4, 3, image=(3, 2)),
    "linear_attention.head_dim": lambda: LinearAttention(2, 2, 3, head_dim=0),
    "softmax_attention.tokens": lambda: SoftmaxAttention(0, 2, 3),
    "vector_net.components": lambda: VectorNet(CosNet(2, 3), 0),
    "equivariant_net.profile": lambda: EquivariantNet(2, CosNet(2, 3)),
    "lattice_modes": lambda: LatticeModes(BOX, 0.8),
    "site_field.mass": lambda: SiteField(TORUS, -0.8),
    "infinite_width": lambda: InfiniteWidth(CosNet(2, 1), TORUS),
}


@pytest.mark.parametrize("argument", BAD)
def test_the_bad_argument_is_named(argument):
    assert_refused_in_one_sentence(BAD[argument])
    with pytest.raises(InputError, match=f"^{argument}"):
        BAD[argument]()
