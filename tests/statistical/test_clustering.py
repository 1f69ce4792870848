"""Cluster decomposition: outcomes on known data, rates of false alarms, floors and masses, chains, refusals."""

import math

import jax
import numpy as np
import pytest
from scipy.special import k0
from scipy.stats import binom

from benchmarks import axioms as study
from nnft_mcmc._checks import InputError
from nnft_mcmc.architectures import CosNet, ScalarNet
from nnft_mcmc.estimators.clustering import RESOLUTION, clustering_test
from nnft_mcmc.estimators.clusters import (
    PARTS,
    FieldCumulants,
    chain_cumulants,
    copy_means,
    in_space,
    label,
    monomials,
    on_lattice,
)
from nnft_mcmc.estimators.exchange import Exchange
from nnft_mcmc.estimators.permutations import ROUNDING, permutation_spread
from nnft_mcmc.estimators.single_neuron import williams
from nnft_mcmc.exact import matern
from nnft_mcmc.lattice import Lattice
from nnft_mcmc.statistics import CumulantAccumulator, CumulantEstimate, TooFewDraws
from tests.statistical.autoregressive import ar1

CASES = {case.name: case for case in study.clustering_cases()}
DISTANCES = np.arange(8.0)
BLOCKS = 128


def noisy(truth, error, seed, num_draws=10_000):
    """Estimates of `truth` (K,) with correlated normal errors of this size, and their replicas."""
    rng, num = np.random.default_rng(seed), len(truth)
    correlation = 0.6 ** np.abs(np.subtract.outer(np.arange(num), np.arange(num)))
    blocks = truth + error * math.sqrt(BLOCKS) * rng.standard_normal((BLOCKS, num)) @ np.linalg.cholesky(correlation).T
    value = blocks.mean(axis=0)
    return CumulantEstimate(value, (BLOCKS * value - blocks) / (BLOCKS - 1), num_draws)


def outcomes(truth, error, false_alarm, runs, **options):
    return [
        clustering_test("f", DISTANCES, noisy(truth, error, seed), 1.0, false_alarm, **options) for seed in range(runs)
    ]


def test_pure_exponentials_have_no_floor_and_the_right_mass():
    """200 runs at 5%; z of the mass has mean 0 and width 1. Two-sided 1e-4 each."""
    found = outcomes(np.exp(-0.8 * DISTANCES), 0.002, 0.05, 200)
    assert sum(t.is_violated for t in found) <= binom.isf(1e-4, 200, 0.05)
    decays = [t for t in found if t.outcome == "decays"]
    assert len(decays) > 180
    z = np.array([(t.rate - 0.8) / t.rate_error for t in decays])
    assert abs(z.mean()) < 4 / math.sqrt(len(z))
    assert 0.8 < z.std() < 1.3


def test_floors_are_found_with_their_size():
    """A floor of 12 errors, at 1e-4, with power 0.95: fewer than the bound in 1e-4 of the cases; z has width 1.

    In one run of 20 the fit to all distances is refused, and what is left tells less.
    """
    found = [t for t in outcomes(np.exp(-0.8 * DISTANCES) + 0.024, 0.002, 1e-4, 100) if t.is_violated]
    assert len(found) >= binom.ppf(1e-4, 100, 0.95)
    z = np.array([(t.floor - 0.024) / t.floor_error for t in found])
    assert abs(z.mean()) < 0.5
    assert 0.7 < z.std() < 1.3
    assert found[0].verdict.startswith("approaches a non-zero constant, 0.02")


def test_a_torus_and_a_prefactor():
    """cosh on a torus of circumference 14; K_0(m R) in two dimensions. Controls: the other form is biased."""
    k = np.exp(-0.3 * DISTANCES) + np.exp(-0.3 * (14 - DISTANCES))
    torus = outcomes(k, 0.001, 0.01, 20, exchange=Exchange((14.0,)))
    assert abs(np.mean([(t.rate - 0.3) / t.rate_error for t in torus])) < 1.0
    assert all(t.outcome == "decays" for t in torus)
    assert any(t.outcome != "decays" or abs(t.rate - 0.3) > 5 * t.rate_error for t in outcomes(k, 0.001, 0.01, 20))
    k = k0(0.5 * np.maximum(DISTANCES, 0.25))
    plane = outcomes(k, 0.001, 0.01, 20, exchange=Exchange((math.inf, math.inf)))
    assert abs(np.mean([(t.rate - 0.5) / t.rate_error for t in plane])) < 1.0
    assert plane[0].first_distance == 1.0
    assert np.mean([t.rate for t in outcomes(k, 0.001, 0.01, 20) if t.outcome == "decays"]) > 0.6


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_exchange_is_the_free_propagator_and_its_powers(dim):
    """Up to a constant of each mass; on a torus the sum over images is that over the momenta of the torus."""
    r, m = np.linspace(0.2, 3.0, 12), 1.3
    boxed = Exchange((math.inf,) * dim)(np.array([m]), r)[0]
    exact = matern(r, m, dim, 1.0)
    np.testing.assert_allclose(boxed / boxed[0], exact / exact[0], rtol=1e-12)
    pair = Exchange((math.inf,) * dim, 2)(np.array([2 * m]), r)[0]
    np.testing.assert_allclose(pair, boxed**2, rtol=1e-12)
    length, t = 6.0, np.linspace(0.5, 3.0, 6)
    k = 2 * math.pi / length * np.arange(-60, 61)
    k2 = sum(np.meshgrid(*[k**2] * (dim - 1))) if dim > 1 else np.zeros(1)
    energy = np.sqrt(m**2 + np.ravel(k2))[:, None]
    on_torus = (np.cosh(energy * (length / 2 - t)) / (energy * np.sinh(energy * length / 2))).sum(axis=0)
    images = Exchange((length,) * dim)(np.array([m]), t)[0]
    np.testing.assert_allclose(images / images[0], on_torus / on_torus[0], rtol=2 * math.exp(-1.5 * m * length))


class OrnsteinZernike(Exchange):
    """Control: the leading behaviour at large distances alone, exp(-m R)/R^1/2."""

    def _single(self, mu, distance):
        return np.exp(-mu * distance) / np.maximum(distance, 0.25) ** 0.5


def test_the_mass_in_two_dimensions():
    """Nearest-neighbour lattice of 16^2 sites, 24 sets of 500 fields: z of the pole mass 2 arsinh(m/2) has mean zero.

    Within 4 of its errors. Control: the leading behaviour alone is more than 4 errors off.
    """
    torus, m = Lattice((16, 16), 1.0, "torus"), 0.5
    p_hat = 4 * np.sin(np.pi * np.fft.fftfreq(16)) ** 2
    size, places = 1 / np.sqrt(p_hat[:, None] + p_hat + m**2), on_lattice(torus)
    z = []
    for seed in range(24):
        noise = np.random.default_rng(seed).standard_normal((500, 16, 16))
        columns = np.moveaxis(np.fft.ifft2(np.fft.fft2(noise) * size).real, 2, 1)
        copies = np.stack([np.roll(columns, -k, axis=2)[..., : len(places.points)] for k in range(16)], axis=2)
        stream = FieldCumulants(places.tuples((1, 1)))
        stream.update(copies.reshape(500, 256, -1))
        estimate = stream.estimate()
        found = [
            clustering_test("f", places.distances, estimate, 1.0, 1e-3, kind(places.circumferences))
            for kind in (Exchange, OrnsteinZernike)
        ]
        z.append([(f.rate - 2 * math.asinh(m / 2)) / f.rate_error for f in found])
    mean, error = np.mean(z, axis=0), np.std(z, axis=0) / math.sqrt(len(z))
    assert abs(mean[0]) < 4 * error[0] < 1.5
    assert abs(mean[1]) > 4 * error[1]


def test_a_gaussian_decay_has_no_floor():
    """exp(-R^2/3), which an exponential with a spurious constant fits: 100 runs at 1e-3, none is rejected."""
    found = outcomes(np.exp(-(DISTANCES**2) / 3), 0.0005, 1e-3, 100)
    assert sum(t.is_violated for t in found) <= binom.isf(1e-4, 100, 1e-3)


def test_zero_is_zero_where_a_constant_would_have_been_seen():
    found = outcomes(np.zeros(8), 0.005, 1e-3, 50)
    assert sum(t.outcome == "vanishes" for t in found) >= 49
    assert (found[0].curve(DISTANCES) == found[0].floor).all()


def test_how_many_draws_are_needed():
    """Too few draws say so; with `draws_needed` of them the same theory is decided."""
    truth, errors = np.exp(-0.8 * DISTANCES), 0.05
    found = clustering_test("f", DISTANCES, noisy(truth, errors, 3, 1000), 1.0)
    assert found.outcome == "undecided"
    assert f"need about {found.draws_needed:.1g}" in found.verdict
    more = noisy(truth, errors * math.sqrt(1000 / found.draws_needed) / 1.3, 4, int(1.7 * found.draws_needed))
    decided = clustering_test("f", DISTANCES, more, 1.0)
    assert decided.outcome == "decays"
    assert decided.floor_error < RESOLUTION / 3


def test_floors_of_cos_nets_from_single_neurons():
    """amplitude_std^4/(2 N) at every width; the two-point function has none. Control: the width enters as 1/N."""
    places = in_space(Lattice((9,), 0.5))
    tuples = [*places.tuples((1, 1)), *places.tuples((2, 2))]
    drawn = williams(CosNet(1, 4), jax.random.key(0), 20_000, tuples, places.points)
    for width in (4, 10):
        every = drawn.at_width(width).cumulants
        two, four = (
            CumulantEstimate(every.value[k], every.replicas[:, k], every.num_draws)
            for k in (slice(None, len(places.pairs)), slice(len(places.pairs), None))
        )
        assert not clustering_test("<phi phi>", places.distances, two, 0.5).is_violated
        found = clustering_test("<phi^2 phi^2>", places.distances, four, 0.25)
        exact = 1 / (2 * width)
        assert found.is_violated
        assert abs(found.floor - exact) < 4 * found.floor_error < 0.05 * exact
        assert abs(found.floor - 1 / (2 * (width + 1))) > 6 * found.floor_error


def test_the_mass_of_the_free_scalar_from_single_neurons():
    """Cauchy-cos-net of mass 1; from 40,000 neurons within 4 errors, which are below 3%. Control: 0.8 is excluded."""
    places = in_space(Lattice((9,), 0.5))
    net = ScalarNet(1, 5, 1.0, math.inf)
    drawn = williams(net, jax.random.key(1), 40_000, places.tuples((1, 1)), places.points)
    found = clustering_test("f", places.distances, drawn.cumulants, 0.5)
    assert found.outcome == "decays"
    assert abs(found.rate - 1.0) < 4 * found.rate_error < 0.12
    assert abs(found.rate - 0.8) > 5 * found.rate_error


@pytest.mark.parametrize("name", ["free field", "Gaussian kernel, infinite width"])
def test_fields_of_infinite_width_cluster(name):
    """40 data sets, three functions at 1%; more floors than the bound in 1e-4 of the cases."""
    found = [study.clustering(CASES[name], np.random.default_rng(seed), 0.01) for seed in range(40)]
    floors = sum(t.is_violated for tests in found for t in tests)
    assert floors <= binom.isf(1e-4, 120, 0.01)


# Where the connected functions come from.


def test_streamed_functions_are_those_of_the_accumulator():
    """Copies of a draw are averaged; with one copy nothing else changes, whatever the batches."""
    tuples, rng = [(0, 1), (0, 0, 1, 1)], np.random.default_rng(0)
    fields = rng.standard_normal((300, 2))
    whole = CumulantAccumulator(tuples, 32)
    whole.update(fields)
    streamed = FieldCumulants(tuples, 32)
    for batch in np.array_split(fields, 5):
        streamed.update(batch[:, None, :])
    np.testing.assert_allclose(streamed.estimate().value, whole.estimate().value, rtol=1e-10)
    np.testing.assert_allclose(streamed.estimate().error, whole.estimate().error, rtol=1e-10)
    copies = copy_means(np.stack([fields, fields[:, ::-1]], axis=1), [(0, 0, 1)])
    expected = (fields[:, 0] ** 2 * fields[:, 1] + fields[:, 1] ** 2 * fields[:, 0]) / 2
    np.testing.assert_allclose(copies[:, 0], expected, rtol=1e-12)


def test_errors_of_chains_know_of_their_autocorrelation():
    """AR(1) fields of tau_int 4.5: z of <phi phi> over 60 runs has width 1. Control: dealt in turn, it has 2."""
    z, dealt = [], []
    for seed in range(60):
        fields = np.moveaxis(ar1(np.random.default_rng(seed), 0.8, (2, 1, 8000)), 1, 2)[:, :, None, :]
        means = np.stack([copy_means(chain, monomials([(0, 0)])) for chain in fields])
        chains = chain_cumulants(means, [(0, 0)], 20)
        z.append(float((chains.value[0] - 1) / chains.error[0]))
        wrong = FieldCumulants([(0, 0)])
        wrong.update(fields.reshape(-1, 1, 1))
        dealt.append(float((wrong.estimate().value[0] - 1) / wrong.estimate().error[0]))
    assert 0.65 < np.std(z) < 1.4
    assert np.std(dealt) > 1.5
    with pytest.raises(TooFewDraws, match="20 blocks of 10 tau_int"):
        chain_cumulants(means[:, :100], [(0, 0)], 20)


def test_separations():
    box, torus, space = (
        on_lattice(Lattice((7, 3), 0.5)),
        on_lattice(Lattice((6,), 1.0, "torus")),
        in_space(Lattice((5,), 1.0)),
    )
    np.testing.assert_allclose(box.distances, [0.0, 1.0, 2.0, 3.0])
    assert (box.points[:, 1] == 0).all()
    for places in (box, torus, space):
        apart = [abs(places.points[j, 0] - places.points[i, 0]) for i, j in places.pairs]
        np.testing.assert_allclose(apart, places.distances)
        assert places.tuples((2, 4))[1] == (places.pairs[1][0],) * 2 + (places.pairs[1][1],) * 4
    assert torus.circumferences == (6.0,)
    assert space.distances[-1] == 8.0
    np.testing.assert_allclose(on_lattice(Lattice((4,), 1.0)).distances, [1.0, 3.0])
    assert [label(parts) for parts in PARTS] == ["<phi phi>", "<phi^2 phi^2>", "<phi^2 phi^4>"]


def test_permutations(monkeypatch):
    """Rounding; and a control, an estimator that counts the first point twice."""
    fields = np.random.default_rng(0).standard_normal((500, 6))
    spread = permutation_spread(fields)
    assert set(spread) == {2, 4, 6}
    assert max(spread.values()) < ROUNDING
    update = CumulantAccumulator.update
    monkeypatch.setattr(
        CumulantAccumulator, "update", lambda self, batch: update(self, batch + 1e-6 * np.eye(1, batch.shape[1]))
    )
    assert max(permutation_spread(fields).values()) > ROUNDING
    with pytest.raises(InputError, match="from 2 on"):
        permutation_spread(fields[:, :1])


def test_numbers_that_are_exact():
    """A first distance without an error, as of neurons that are Gaussian at each point; and a function that is zero."""
    estimate = noisy(np.exp(-0.8 * DISTANCES), 0.002, 0)
    for estimates, outcome in (((estimate.value, estimate.replicas), "decays"), ((0.0, 0.0), "vanishes")):
        value, replicas = estimates[0] + np.zeros(8), estimates[1] + np.zeros((BLOCKS, 8))
        value[0], replicas[:, 0] = (1.0, 1.0) if outcome == "decays" else (0.0, 0.0)
        found = clustering_test("f", DISTANCES, CumulantEstimate(value, replicas, 10_000), 1.0)
        assert found.outcome == outcome
    assert found.floor == 0.0


def test_refusals():
    estimate = noisy(np.ones(8), 0.1, 0)
    with pytest.raises(InputError, match="4 or more increasing distances"):
        clustering_test("f", DISTANCES[:3], CumulantEstimate(estimate.value[:3], estimate.replicas[:, :3], 10), 1.0)
    with pytest.raises(InputError, match="false_alarm is 0"):
        clustering_test("f", DISTANCES, estimate, 1.0, 0.0)
    with pytest.raises(InputError, match="not finite"):
        clustering_test("f", DISTANCES, noisy(np.full(8, np.nan), 0.1, 0), 1.0)
    with pytest.raises(InputError, match="not finite"):
        copy_means(np.full((3, 1, 2), np.nan), [(0, 1)])
