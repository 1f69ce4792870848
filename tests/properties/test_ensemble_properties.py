"""What holds for every registered architecture, whatever its hyperparameters, parameters and lattice."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnft_mcmc.architectures import (
    KAN,
    MLP,
    REGISTRY,
    AdditiveKAN,
    AdditiveNet,
    ConvNet,
    CosNet,
    CubeNet,
    DeepEuclideanNet,
    DenseNet,
    ExactCorrelators,
    GaussNet,
    IidNeurons,
    InfiniteWidth,
    LatticeModes,
    LinearAttention,
    MaternNet,
    OnLattice,
    ScalarNet,
    SiteField,
    SoftmaxAttention,
    StratifiedNet,
    SumOfNeurons,
    TwoQuadratureNet,
)
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.insertions import PhiPower, Polynomial, Source, WickPower
from nnft_mcmc.lattice import Lattice

few = settings(max_examples=4, deadline=None, derandomize=True)
seeds = st.integers(0, 2**31 - 1)

BOX, TORUS = Lattice((3, 2), 0.4), Lattice((4, 3), 0.4, "torus")
SCALAR = ScalarNet(2, 5, mass=0.9, cutoff=4.0, alpha=-0.5)
EXAMPLES = {
    "additive_kan": AdditiveKAN(2, 5, base_std=0.8),
    "additive_net": AdditiveNet(2, 5, bias_std=0.4),
    "conv_net": ConvNet(2, 5, filter_size=2),
    "cos_net": CosNet(2, 5, weight_std=1.2, amplitude_std=0.8),
    "cube_net": CubeNet(2, 5, cutoff=3.0),
    "deep_euclidean_net": DeepEuclideanNet(SCALAR, bias_std=0.2),
    "dense_net": DenseNet(2, 5, bias_std=0.4),
    "gauss_net": GaussNet(2, 5, weight_std=0.9, bias_std=0.4, amplitude_std=0.8),
    "infinite_width": InfiniteWidth(SCALAR, BOX),
    "kan": KAN(2, (5,), grid=4),
    "lattice_modes": LatticeModes(TORUS, mass=0.8),
    "linear_attention": LinearAttention(2, 1, 5),
    "matern_net": MaternNet(2, 5, mass=0.9, power=1.5, alpha=0.2, amplitude_law="rayleigh"),
    "mlp": MLP(2, 5),
    "scalar_net": SCALAR,
    "site_field": SiteField(TORUS, mass=0.8),
    "softmax_attention": SoftmaxAttention(2, 1, 5),
    "stratified_net": StratifiedNet(SCALAR),
    "two_quadrature_net": TwoQuadratureNet(SCALAR),
}


def names_of(kind):
    """Parametrise by the examples that have a capability."""
    return pytest.mark.parametrize("name", [name for name, net in EXAMPLES.items() if isinstance(net, kind)])


every_architecture = pytest.mark.parametrize("name", EXAMPLES)


@functools.cache
def ensemble_of(name):
    net = EXAMPLES[name]
    insertion = PhiPower(4, 0.6, "riemann") + Source(0.3)
    return Ensemble(net, net.lattice if isinstance(net, OnLattice) else BOX, insertion)


def theta_of(ensemble, seed):
    return ensemble.architecture.sample_parameters(jax.random.key(seed))


def batch_of(ensemble, seed, size):
    return jax.vmap(ensemble.architecture.sample_parameters)(jax.random.split(jax.random.key(seed), size))


def assert_close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


def test_every_registered_architecture_is_tried():
    assert {name: type(net) for name, net in EXAMPLES.items()} == REGISTRY


@names_of(IidNeurons)
@few
@given(seed=seeds, data=st.data())
def test_field_and_density_do_not_depend_on_the_order_of_neurons(name, seed, data):
    ensemble = ensemble_of(name)
    theta = theta_of(ensemble, seed)
    order = np.array(data.draw(st.permutations(range(ensemble.architecture.width))))
    permuted = {key: value[order] for key, value in theta.items()}
    assert_close(ensemble.field(permuted), ensemble.field(theta))
    assert_close(ensemble.log_density(permuted), ensemble.log_density(theta))


@names_of(SumOfNeurons)
@few
@given(seed=seeds)
def test_field_is_the_sum_of_its_neurons(name, seed):
    ensemble = ensemble_of(name)
    theta, sites = theta_of(ensemble, seed), jnp.asarray(ensemble.lattice.sites.reshape(-1, 2))
    neurons = ensemble.architecture.neurons(theta, sites)
    assert neurons.shape == (ensemble.architecture.width, ensemble.lattice.num_sites)
    assert_close(neurons.sum(axis=0).reshape(ensemble.lattice.shape), ensemble.field(theta))


@names_of(SumOfNeurons)
@few
@given(seed=seeds)
def test_field_changes_sign_with_the_output_weights(name, seed):
    ensemble = ensemble_of(name)
    theta = theta_of(ensemble, seed)
    assert_close(ensemble.field({**theta, "amplitudes": -theta["amplitudes"]}), -ensemble.field(theta))


@every_architecture
@few
@given(seed=seeds)
def test_jit_and_vmap_are_the_eager_loop(name, seed):
    ensemble = ensemble_of(name)
    thetas = batch_of(ensemble, seed, 3)
    for function in (ensemble.field, ensemble.log_density):
        one_by_one = [function({key: value[i] for key, value in thetas.items()}) for i in range(3)]
        assert_close(jax.vmap(function)(thetas), jnp.stack(one_by_one))
        assert_close(jax.jit(function)({key: value[0] for key, value in thetas.items()}), one_by_one[0])


@every_architecture
@few
@given(seed=seeds)
def test_draws_have_the_shapes_and_support_of_the_prior(name, seed):
    architecture = ensemble_of(name).architecture
    theta, prior = architecture.sample_parameters(jax.random.key(seed)), architecture.prior()
    assert theta.keys() == prior.keys()
    for key, distribution in prior.items():
        assert theta[key].shape == distribution.shape()
        assert distribution.support(theta[key]).all()
    assert jnp.isfinite(architecture.log_prior(theta))


@names_of(ExactCorrelators)
@few
@given(sites=st.lists(st.integers(0, 5), min_size=4, max_size=4), order=st.permutations(range(4)))
def test_exact_correlators_are_symmetric_in_their_points(name, sites, order):
    ensemble = ensemble_of(name)
    net, xs = ensemble.architecture, ensemble.lattice.sites.reshape(-1, 2)[sites]
    scale = float(net.two_point(xs[0], xs[0]))
    assert abs(net.two_point(xs[0], xs[1]) - net.two_point(xs[1], xs[0])) < 1e-12 * scale
    difference = net.four_point_connected(*xs[order]) - net.four_point_connected(*xs)
    assert abs(difference) < 1e-10 * max(scale**2, abs(float(net.four_point_connected(*xs))))
    gram = net.two_point(xs[:, None], xs[None])
    assert np.linalg.eigvalsh(gram).min() > -1e-12 * gram.trace()


couplings = st.floats(-2, 2)
insertions = st.one_of(
    st.builds(PhiPower, st.integers(1, 6), couplings, st.sampled_from(["riemann", "trapezoid"])),
    st.builds(WickPower, st.integers(1, 6), couplings, st.sampled_from(["riemann", "trapezoid"])),
    st.builds(Polynomial, st.lists(couplings, min_size=1, max_size=6)),
    st.builds(Source, couplings),
)


@settings(few, max_examples=25)
@given(terms=st.lists(insertions, min_size=3, max_size=3), seed=seeds)
def test_insertions_add_in_any_order(terms, seed):
    a, b, c = terms
    ensemble = ensemble_of("cos_net")

    def coefficients(insertion):
        return insertion.on(ensemble.architecture, ensemble.lattice)

    field = jnp.asarray(np.random.default_rng(seed).normal(size=ensemble.lattice.shape))
    separate = sum(float(coefficients(term)(field)) for term in terms)
    scale = sum(float(jnp.abs(coefficients(term).per_site(field)).sum()) for term in terms)
    for total in (a + b + c, c + (b + a)):
        assert float(coefficients(total)(field)) == pytest.approx(separate, rel=1e-12, abs=1e-11 * (1 + scale))
    np.testing.assert_allclose(coefficients(a + b).coefficients, coefficients(b + a).coefficients, rtol=1e-15, atol=0)
