"""Do the errors of observables mean what they say: 68% and 95% intervals over 300 replicas, for means, effective masses
and other functions of means.

Each count is held against its binomial interval of false-alarm rate 1e-4. Power: an error that is 25% too small gives
intervals that hold the truth in 54.7% and 86.6% of the cases, which the counts of one number notice with a probability
of 95% and those of several with more; the control of every test is that such errors do not pass.
"""

import jax
import numpy as np
import pytest
from scipy import stats

from nnft_mcmc import HMC, Ensemble, Lattice, LatticeModes, PhiPower, sample
from nnft_mcmc.estimators import observables
from nnft_mcmc.estimators.effective_mass import effective_mass, torus_effective_mass
from nnft_mcmc.statistics import gamma_method
from nnft_mcmc.statistics.resampling import jackknife
from tests.statistical.autoregressive import ar1

REPLICAS = 300
FALSE_ALARM = 1e-4
TOO_SMALL = 0.75


def covers(z):
    """Whether |z| < 1 and |z| < 2 as often as for a normal z, within the binomial interval."""
    for bound in (1.0, 2.0):
        low, high = stats.binom(len(z), 1 - 2 * stats.norm.sf(bound)).interval(1 - FALSE_ALARM)
        if not low <= (np.abs(z) < bound).sum() <= high:
            return False
    return True


def assert_covered(z):
    """Coverage of z (replica, numbers) is right, and errors of 75% of these would be noticed."""
    z = np.reshape(z, (REPLICAS, -1))
    assert np.isfinite(z).all()
    held = {bound: np.mean(np.abs(z) < bound, axis=0).round(3).tolist() for bound in (1.0, 2.0)}
    assert all(covers(column) for column in z.T), held
    assert not all(covers(column / TOO_SMALL) for column in z.T)


def test_power():
    """Of the count of two errors alone, exactly."""
    low, high = stats.binom(REPLICAS, 1 - 2 * stats.norm.sf(2.0)).interval(1 - FALSE_ALARM)
    mistaken = stats.binom(REPLICAS, 1 - 2 * stats.norm.sf(2.0 * TOO_SMALL))
    assert 1 - (mistaken.cdf(high) - mistaken.cdf(low - 1)) > 0.95


T = 0.5 * np.arange(4)
DECAY = np.exp(-0.8 * T)


def correlators():
    """300 replicas of C(t) = e^{-0.8 t}: 2 chains of 1000 draws of tau_int = 2, correlated in t; (300, 2, 1000, 4)."""
    rng = np.random.default_rng(2)
    noise = [ar1(rng, a, (REPLICAS, 2, 1000)) for a in (0.6, 0.3, 0.6, 0.0)]
    mixed = np.stack(noise, axis=-1) @ (np.eye(4) + 0.5 * np.tri(4, k=-1)).T
    return DECAY * (1 + 0.3 * mixed)


@pytest.fixture(scope="module")
def autoregressive():
    return correlators()


def test_means_of_autoregressive_chains(autoregressive):
    estimate = gamma_method(np.moveaxis(autoregressive, 0, 2))
    z = (estimate.value - DECAY) / estimate.error
    assert_covered(z)


def test_effective_masses_of_autoregressive_chains(autoregressive):
    found = [gamma_method(effective_mass(c, T).series) for c in autoregressive]
    z = np.array([(e.value - 0.8) / e.error for e in found])
    assert_covered(z)


def test_jackknife_of_effective_masses_of_autoregressive_chains(autoregressive):
    """50 blocks of 20 tau_int, whose error is Student's t with 49 degrees of freedom, 1% wider than normal."""
    found = [jackknife(c, 50).derived(lambda x: np.log(x[..., :-1] / x[..., 1:]) / 0.5) for c in autoregressive]
    z = np.array([(e.value - 0.8) / e.error for e in found])
    assert_covered(z)


def test_cosh_masses_of_independent_fields():
    """300 runs of 400 fields on a free torus, whose effective mass is known at every t: 2 sinh(m a/2) = a."""
    lattice = Lattice((8,), 0.5, "torus")
    modes = LatticeModes(lattice=lattice, mass=1.0)
    keys = jax.random.split(jax.random.key(3), REPLICAS * 400)
    fields = np.asarray(jax.jit(jax.vmap(lambda key: modes.on_sites(modes.sample_parameters(key))))(keys))
    pairs = np.stack([(fields * np.roll(fields, -k, axis=1)).mean(axis=1) for k in range(5)], axis=-1)
    truth = 2 / 0.5 * np.arcsinh(0.5 / 2)
    found = [gamma_method(torus_effective_mass(c[None], 0.5 * np.arange(5)).series) for c in pairs.reshape(300, 400, 5)]
    assert_covered([(e.value[:2] - truth) / e.error[:2] for e in found])


def exact_torus(sites, spacing, coupling):
    """<x^2> and C(t) on a torus with the action a sum [(dx)^2/2a^2 + x^2/2 + coupling x^4], by its transfer matrix."""
    x = np.linspace(-5.0, 5.0, 301)
    v = x**2 / 2 + coupling * x**4
    matrix = np.exp(-((x[:, None] - x) ** 2) / (2 * spacing) - spacing * (v[:, None] + v) / 2)
    matrix /= np.linalg.eigvalsh(matrix)[-1]
    powers = [np.linalg.matrix_power(matrix, k) for k in range(sites + 1)]
    norm = np.trace(powers[sites])
    pairs = [np.einsum("i,ij,j,ji", x, powers[k], x, powers[sites - k]) for k in range(1, sites // 2 + 1)]
    return (x**2 @ np.diag(powers[sites])) / norm, np.array([(x**2) @ np.diag(powers[sites]), *pairs]) / norm


@pytest.mark.slow
def test_chains_of_an_interacting_lattice():
    """300 chains of HMC, each one run: means, effective masses and correlation length of phi^4."""
    sites, spacing, coupling = 8, 0.5, 0.5
    lattice = Lattice((sites,), spacing, "torus")
    ensemble = Ensemble(LatticeModes(lattice=lattice, mass=1.0), lattice, PhiPower(degree=4, coupling=coupling))
    settings = HMC(num_chains=REPLICAS, num_warmup=1000, num_samples=4000)
    kept = sample(ensemble, jax.random.key(4), settings, store=())["observables"]
    series = {name: np.asarray(array.values) for name, array in kept.items()}
    phi2, c = exact_torus(sites, spacing, coupling)
    cosh = np.arccosh((c[:-2] + c[2:]) / (2 * c[1:-1])) / spacing
    both = np.concatenate([c, c[-2:0:-1]])
    g0, g1 = (spacing * both @ np.cos(2 * np.pi * k * np.arange(sites) / sites) for k in range(2))
    xi = spacing * np.sqrt(g0 / g1 - 1) / (2 * np.sin(np.pi / sites))
    truths = {"phi2": phi2, "susceptibility": g0, "correlation_length": xi}
    runs = [observables({name: a[r : r + 1] for name, a in series.items()}, lattice) for r in range(REPLICAS)]
    for name, truth in truths.items():
        found = [gamma_method(run[name].series) for run in runs]
        assert_covered([(e.value - truth) / e.error for e in found])
    logarithmic = np.log(c[:-1] / c[1:]) / spacing
    for name, truth in {"effective_mass": cosh[:1], "log_effective_mass": logarithmic[:2]}.items():
        found = [gamma_method(run[name].series[..., : len(truth)]) for run in runs]
        assert_covered([(e.value - truth) / e.error for e in found])
