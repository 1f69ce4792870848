"""Streamed connected functions against exact ones, with wrong widths as controls; the false-alarm rate of each call is
that of `assert_consistent`, 1e-4, unless it says otherwise."""

import math

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

from nnft_mcmc import InputError
from nnft_mcmc.architectures import (
    CosNet,
    IidNeurons,
    LatticeModes,
    MaternNet,
    ScalarNet,
    SiteField,
    TwoQuadratureNet,
)
from nnft_mcmc.architectures.on_lattice import dual_momenta
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.estimators import streaming
from nnft_mcmc.estimators.lattice_two_point import estimate_time_correlators, estimate_torus_two_point
from nnft_mcmc.estimators.n_point import estimate_n_point
from nnft_mcmc.estimators.single_neuron import normal_deviations, williams
from nnft_mcmc.insertions import PhiPower
from nnft_mcmc.lattice import Lattice
from nnft_mcmc.point_evaluation import at_points
from nnft_mcmc.statistics import CumulantAccumulator
from tests.statistical.consistency import assert_consistent, assert_inconsistent

KEY = jax.random.key(20)
POINTS = np.array([[0.0], [0.4], [0.9], [-0.3]])
TUPLES = [(0, 0), (0, 1), (0, 0, 0, 0), (0, 0, 1, 1), (0, 1, 2, 3)]
TWO, FOUR, SIX = slice(0, 2), slice(2, 5), slice(5, 7)

# Free fields of few neurons, with enough draws for 1% of G and 5% of Gc4.
NETS = {
    "cos_net": (CosNet(1, 2), 400_000),
    "scalar_net": (ScalarNet(1, 2, mass=1.0, cutoff=math.inf), 400_000),
    "two_quadratures": (TwoQuadratureNet(ScalarNet(1, 2, mass=1.0, cutoff=4.0, alpha=-1.0)), 400_000),
}


def exact(net, tuples=TUPLES, points=POINTS):
    return np.array([float(net.n_point_connected(*points[list(t)])) for t in tuples])


def part(estimate, entries):
    """Some entries of an estimate."""
    return estimate.derived(lambda kappa: kappa[..., entries])


@pytest.mark.parametrize("name", NETS)
def test_two_and_four_point_functions_of_networks(name):
    net, num_draws = NETS[name]
    found = estimate_n_point(net, KEY, num_draws, TUPLES, POINTS)
    truth, wrong = exact(net), exact(net)
    wrong[FOUR] *= 2 / 3  # the function of width 3
    two, four = part(found.cumulants, TWO), part(found.cumulants, FOUR)
    assert found.cumulants.num_draws == num_draws
    assert_consistent(two, truth[TWO], resolution=0.01)
    assert_inconsistent(two, 1.03 * truth[TWO], resolution=0.01)
    assert_consistent(four, truth[FOUR], resolution=0.05)
    assert_inconsistent(four, wrong[FOUR], resolution=0.05)
    assert_consistent(found.means, np.zeros(4), resolution=0.01, scale=1.0)


@pytest.mark.parametrize("name", NETS)
def test_williams_estimates_at_any_width(name):
    """2-, 4- and 6-point functions from one set of neurons; errors at most 1% of the size of an order, or 5%."""
    net, _ = NETS[name]
    found = williams(net, KEY, 200_000, [*TUPLES, (0, 0, 0, 0, 1, 1), (0, 1, 1, 2, 2, 3)], POINTS)
    for entries, resolution in ((TWO, 0.01), (FOUR, 0.01), (SIX, 0.05)):
        tuples = [[*TUPLES, (0, 0, 0, 0, 1, 1), (0, 1, 1, 2, 2, 3)][k] for k in range(7)[entries]]
        truth, loss = exact(net, tuples), len(tuples[0]) // 2 - 1
        for width in (2, 1000):
            at_width = truth * (net.width / width) ** loss
            estimate = part(found.at_width(width).cumulants, entries)
            scale = np.full(len(tuples), np.abs(at_width).max())
            assert_consistent(estimate, at_width, resolution=resolution, scale=scale)
            if loss:
                assert_inconsistent(estimate, at_width / 1.5**loss, resolution=resolution, scale=scale)


class RandomSigns(IidNeurons):
    """psi(x) = a (1 + g x) with a of another law than normal, so that a is sampled, and g normal."""

    dim = 1
    width = 3

    def neuron_prior(self):
        return {"slopes": dist.Normal(0.0, 1.0), "amplitudes": dist.Uniform(-1.0, 1.0)}

    def feature(self, theta_i, x):
        return 1.0 + theta_i["slopes"] * x[0]


def test_williams_samples_output_weights_of_other_laws():
    """<a^2> = 1/3, <a^4> = 1/5; <(1+g)^2> = 2, <(1+g)^4> = 10. Control: the moments of a normal a."""
    net, points = RandomSigns(), np.array([[0.0], [1.0]])
    assert normal_deviations(net.neuron_prior()["amplitudes"]) is None
    found = williams(net, KEY, 200_000, [(0, 0), (1, 1), (1, 1, 1, 1)], points)
    # psi = 3^(1/2) a f; kappa_4 = (<psi^4> - 3 <psi^2>^2)/3
    second, fourth = 3 * 2 / 3, 9 * 10 / 5
    truth = np.array([1.0, second, (fourth - 3 * second**2) / 3])
    assert_consistent(found, truth, resolution=0.06)
    assert_inconsistent(found, [1.0, second, (9 * 10 / 3 - 3 * second**2) / 3], resolution=0.06)


def test_williams_and_networks_agree_for_a_matern_net():
    """A net whose output weights are of the rayleigh law, sampled by both."""
    net = MaternNet(1, 1, mass=1.0, power=1.0, amplitude_law="rayleigh")
    tuples = [(0, 0), (0, 1), (0, 0, 1, 1), (0, 1, 2, 3)]
    neurons = williams(net, KEY, 200_000, tuples, POINTS).cumulants
    networks = estimate_n_point(net, jax.random.key(3), 200_000, tuples, POINTS).cumulants
    scale = np.maximum(np.abs(exact(net, tuples)), 0.1)
    assert_consistent(networks, neurons.value, oracle_error=neurons.error, resolution=0.06, scale=scale)
    assert_consistent(neurons, exact(net, tuples), resolution=0.06, scale=scale)


def test_few_draws_are_unbiased():
    """150 estimates from 4 draws each; the mean of the four-point functions, two-sided 1e-4 for the three together.

    Control: the products of means of the same draws are off by cov/n.
    """
    net, keys = CosNet(1, 1), [jax.random.fold_in(KEY, k) for k in range(150)]
    found = [estimate_n_point(net, key, 4, TUPLES, POINTS, num_blocks=4, batch_size=4) for key in keys]
    each = jax.vmap(lambda key: jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, np.arange(4)))(
        jax.numpy.stack(keys)
    )
    fields = jax.jit(jax.vmap(jax.vmap(lambda key: net(net.sample_parameters(key), POINTS))))(each)

    def plug_in(phi, indices):
        def mean(*which):
            return phi[:, :, which].prod(axis=2).mean(axis=1)

        i, j, k, m = indices
        products = mean(i, j) * mean(k, m) + mean(i, k) * mean(j, m) + mean(i, m) * mean(j, k)
        return mean(i, j, k, m) - products

    def z(values):
        deviation = values.mean(axis=0) - exact(net)[FOUR]
        return np.abs(deviation / (values.std(axis=0, ddof=1) / math.sqrt(len(values)))).max()

    bound = stats.t(len(keys) - 1).isf(1e-4 / 6)
    assert z(np.array([f.cumulants.value for f in found])[:, FOUR]) < bound
    assert z(np.stack([plug_in(np.asarray(fields), t) for t in TUPLES[FOUR]], axis=1)) > bound


@pytest.mark.parametrize("num_draws", [1000, 1024])
def test_same_settings_same_bits_and_batches_only_reorder_sums(num_draws):
    net = CosNet(1, 5)

    def values(batch_size, key=KEY):
        found = estimate_n_point(net, key, num_draws, TUPLES, POINTS, num_blocks=32, batch_size=batch_size)
        return np.concatenate([found.cumulants.value, found.cumulants.error, found.means.value])

    first = values(64)
    np.testing.assert_array_equal(values(64), first)
    for batch_size in (5, 500):
        np.testing.assert_allclose(values(batch_size), first, rtol=1e-10, atol=1e-13)
    assert np.abs(values(64, jax.random.key(1)) / first - 1).max() > 1e-3


def test_sums_are_those_of_the_accumulator():
    """Draw by draw: draw i has the key fold_in(key, i) and is dealt to block i mod B."""
    net = CosNet(1, 3)
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(KEY, np.arange(70))
    fields = jax.jit(jax.vmap(lambda key: net(net.sample_parameters(key), POINTS)))(keys)
    expected = CumulantAccumulator(TUPLES, 16)
    expected.update(fields)
    found = estimate_n_point(net, KEY, 70, TUPLES, POINTS, num_blocks=16, batch_size=8)
    np.testing.assert_allclose(found.cumulants.value, expected.estimate().value, rtol=1e-10)
    np.testing.assert_allclose(found.cumulants.replicas, expected.estimate().replicas, rtol=1e-10)


def test_pieces_of_neurons_only_reorder_sums():
    net, x = TwoQuadratureNet(CosNet(2, 11)), jax.random.normal(KEY, (5, 2))
    theta = jax.jit(net.sample_parameters)(KEY)
    whole = jax.jit(net)(theta, x)
    for memory in (1, 2000, 2**20):
        summed = jax.jit(lambda theta, memory=memory: at_points(net, theta, x, memory))(theta)
        np.testing.assert_allclose(summed, whole, rtol=1e-10, atol=1e-13)


def test_memory_does_not_grow_with_the_number_of_draws():
    """The batch is bounded by the budget, and the sums have the same size."""
    net = CosNet(1, 100)
    found = [estimate_n_point(net, KEY, n, TUPLES, POINTS, num_blocks=16) for n in (20_000, 60_000)]
    assert found[0].batch == found[1].batch
    assert found[0].batch.bytes < 1.1 * streaming.MEMORY


LATTICE = Lattice((6, 4), 0.5, "torus")


def test_torus_by_fft():
    architecture = LatticeModes(LATTICE, 1.0)
    ensemble = Ensemble(architecture, LATTICE)
    found = estimate_torus_two_point(ensemble, KEY, 60_000)
    momenta = dual_momenta(LATTICE)
    propagator = architecture.propagator(momenta)
    assert_consistent(found.propagator, propagator.ravel(), resolution=0.01)
    assert_inconsistent(found.propagator, LatticeModes(LATTICE, 1.05).propagator(momenta).ravel(), resolution=0.01)
    sites = np.argwhere(np.ones(LATTICE.shape))
    assert_consistent(found.two_point, architecture.covariance(0 * sites[:1], sites), resolution=0.02)
    # The same draws through the per-draw observables, transformed draw by draw.
    directly = estimate_time_correlators(ensemble, KEY, 60_000, num_blocks=32)
    np.testing.assert_allclose(directly.correlator.value, found.correlator.value[: len(directly.t)], rtol=1e-10)
    np.testing.assert_allclose(directly.correlator.error, found.correlator.error[: len(directly.t)], rtol=1e-8)
    along_time = found.two_point.value.reshape(LATTICE.shape)[: len(directly.t), 0]
    np.testing.assert_allclose(directly.two_point.value, along_time, rtol=1e-10)


def test_box_from_its_central_time():
    net, lattice = CosNet(2, 3), Lattice((5, 3), 0.5)
    found = estimate_time_correlators(Ensemble(net, lattice), KEY, 200_000)
    space = lattice.sites[0]
    shifted = [space + np.array([t, 0.0]) for t in found.t]
    correlator = [net.two_point(space[:, None], at[None]).mean() for at in shifted]
    assert_consistent(found.correlator, correlator, resolution=0.01)
    assert_consistent(found.two_point, net.two_point(np.zeros(2), [[t, 0.0] for t in found.t]), resolution=0.01)
    assert_inconsistent(found.two_point, found.two_point.value[0] * np.ones(len(found.t)), resolution=0.01)


def test_sites_of_a_lattice():
    """A Gaussian field has no connected four-point function; points are sites, in C order or by coordinates."""
    architecture, tuples = SiteField(LATTICE, 1.0), [(0, 1), (0, 9), (0, 0, 9, 9)]
    found = estimate_n_point(Ensemble(architecture, LATTICE), KEY, 100_000, tuples)
    sites = np.argwhere(np.ones(LATTICE.shape))
    truth = [*architecture.covariance(0 * sites[:1], sites[[1, 9]]), 0.0]
    assert_consistent(found.cumulants, truth, resolution=0.03, scale=[0.2, 0.2, 0.2])
    again = estimate_n_point(architecture, KEY, 100_000, [(0, 1), (0, 2), (0, 0, 2, 2)], 0.5 * sites[[0, 1, 9]])
    np.testing.assert_allclose(again.cumulants.value, found.cumulants.value, rtol=1e-10)


def test_bad_input_is_refused():
    net = CosNet(1, 2)
    interacting = Ensemble(net, Lattice((3,), 0.5), PhiPower(degree=4, coupling=1.0))
    with pytest.raises(InputError, match="undeformed"):
        estimate_n_point(interacting, KEY, 1000, [(0, 1)])
    with pytest.raises(InputError, match="undeformed"):
        estimate_time_correlators(interacting, KEY, 1000)
    with pytest.raises(InputError, match="points is missing"):
        estimate_n_point(net, KEY, 1000, [(0, 1)])
    with pytest.raises(InputError, match=r"must be \(P, 1\)"):
        estimate_n_point(net, KEY, 1000, [(0, 1)], np.zeros((2, 3)))
    for estimator in (estimate_n_point, williams):
        with pytest.raises(InputError, match="numbered 0 to 3"):
            estimator(net, KEY, 1000, [(0, 4)], POINTS)
    with pytest.raises(InputError, match="order 2, 4 and 6"):
        estimate_n_point(net, KEY, 1000, [(0, 1, 2)], POINTS)
    with pytest.raises(InputError, match="do not fill 128 blocks"):
        estimate_n_point(net, KEY, 100, [(0, 1)], POINTS)
    with pytest.raises(InputError, match=r"i\.i\.d\. neurons"):
        williams(SiteField(LATTICE, 1.0), KEY, 1000, [(0, 1)], np.zeros((2, 2)))
    with pytest.raises(InputError, match="needs a torus"):
        estimate_torus_two_point(Ensemble(net, Lattice((3,), 0.5)), KEY, 1000)
    with pytest.raises(InputError, match="not a site"):
        estimate_n_point(SiteField(LATTICE, 1.0), KEY, 1000, [(0, 1)], [[0.0, 0.0], [0.3, 0.0]])
