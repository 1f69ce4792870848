"""Lattice phi^4 against published numbers, in their own conventions; long runs, false alarm 1e-4 each unless said.

A wrong convention (a field off by sqrt 2), and a wrong coupling, are seen: the controls are at the end.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nnft_mcmc import (
    SMC,
    Cluster,
    Ensemble,
    GaussianFlow,
    Lattice,
    LatticeModes,
    LatticePhi4,
    PhiPower,
    SiteField,
    convert,
    exact_reference,
    gamma_method,
    sample,
)
from nnft_mcmc.estimators import log_partition_ratio, observables, per_draw
from nnft_mcmc.sampling import Chains
from nnft_mcmc.statistics import Estimate
from tests.statistical.consistency import assert_consistent, assert_inconsistent

HALF = 0.5  # phi_albergo^2 = phi^2/2
SIGMAS_4 = 6.3e-5  # false alarm of |z| > 4


def run(shape, insertion, settings, seed, mass=1.5, architecture=SiteField, spacing=1.0):
    """Series of all observables by name, with per-draw M^2 as `susceptibility`."""
    lattice = Lattice(shape, spacing, "torus")
    ensemble = Ensemble(architecture(lattice, mass), lattice, insertion)
    found = sample(ensemble, jax.random.key(seed), settings, store=())
    kept = {name: array.values for name, array in found["observables"].items()}
    stats = {name: array.values for name, array in found["sample_stats"].items()}
    return observables(kept, lattice), stats, ensemble


def scaled(estimate, factor):
    """An estimate of `factor` times the observable."""
    return Estimate(**{**vars(estimate), "value": factor * estimate.value, "error": factor * estimate.error})


def albergo(m2, lam):
    return LatticePhi4("albergo", m2=m2, lam=lam)


def m_p_length(correlator, length):
    """m_p L, m_p the mean over t = 1 .. L - 2 of arccosh[(C(t-1) + C(t+1))/2C(t)], with its error by blocks."""

    def of_mean(c):
        whole = c[[*range(length // 2 + 1), *range((length - 1) // 2, 0, -1)]]
        t = np.arange(1, length - 1)
        return length * np.arccosh((whole[t - 1] + whole[(t + 1) % length]) / (2 * whole[t])).mean()

    blocks = correlator.reshape(-1, 200, correlator.shape[-1]).mean(axis=1)
    total, n = blocks.sum(axis=0), len(blocks)
    left_out = np.array([of_mean((total - block) / (n - 1)) for block in blocks])
    return of_mean(blocks.mean(axis=0)), math.sqrt((n - 1) * left_out.var())


BIN = 10  # successive draws that are averaged before they are kept
DRAWS = {2: 12_000, 3: 14_000, 6: 40_000}


def binned(ensemble, settings, chunk=500):
    """phi2, phi4, E, chi2 and C(t), t along either axis, averaged over BIN draws: (chain, bin, numbers)."""
    lattice, observe = ensemble.lattice, per_draw(ensemble)

    def collect(position):
        both = [observe(position.theta, field) for field in (position.field, position.field.T)]
        chi = lattice.num_sites * position.field.mean() ** 2
        scalars = jnp.stack([*(both[0][name] for name in ("phi2", "phi4", "nearest_neighbour")), chi])
        return {"kept": {"it": jnp.concatenate([scalars, (both[0]["correlator"] + both[1]["correlator"]) / 2])}}

    chains = Chains(ensemble, settings, jax.random.key(lattice.shape[0]), collect, chunk)
    chains.warm_up(settings.num_warmup)
    parts = [chains.draw(chunk)["kept"]["it"] for _ in range(settings.num_samples // chunk)]
    return np.concatenate([p.reshape(len(p), chunk // BIN, BIN, -1).mean(axis=2) for p in parts], axis=1)


@pytest.mark.slow
@pytest.mark.parametrize("size", DRAWS)
def test_exact_tori(size):
    """Millions of draws: relative errors of 1e-3, deviations within 4 standard errors, all quantities at once."""
    lattice = Lattice((size, size), 1.0, "torus")
    ensemble = Ensemble(SiteField(lattice, 0.6 if size == 6 else 1.5), lattice, albergo(-4.0, 6.975))
    estimate = gamma_method(binned(ensemble, Cluster(num_chains=256, num_warmup=300, num_samples=DRAWS[size])))
    exact = exact_reference(ensemble).values
    names = ("phi2", "phi4", "nearest_neighbour", "susceptibility", "correlator")
    oracle = np.concatenate([np.atleast_1d(exact[name]) for name in names])
    print(f"L = {size}: errors {estimate.error / oracle}, z {(estimate.value - oracle) / estimate.error}")
    assert_consistent(estimate, oracle, resolution=1e-3, false_alarm=len(oracle) * SIGMAS_4)


PUBLISHED = {  # L, lam: m_p L, chi2, E, phi2, each with its error; L = 6 exact
    "E1": (6, 6.975, (3.971517, 0), (1.063075, 0), (0.0583478, 0), (0.1613866, 0)),
    "E3": (10, 5.550, (3.980, 3e-3), (2.908, 3e-3), (0.088601, 25e-6), (0.1990245, 178e-7)),
    "E5": (14, 5.113, (4.054, 4e-3), (5.364, 7e-3), (0.106824, 33e-6), (0.2184126, 242e-7)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_ensembles(name):
    """<phi^2>, E, chi2 and m_p L of arXiv:1904.12072's ensembles, by clusters."""
    length, lam, mass, chi, energy, phi2 = PUBLISHED[name]
    settings = Cluster(num_chains=64, num_warmup=300, num_samples=4000)
    found, _, _ = run((length, length), albergo(-4.0, lam), settings, seed=length, mass=0.4)
    for observable, (value, error), resolution in (
        ("phi2", phi2, 1e-3),
        ("nearest_neighbour", energy, 4e-3),
        ("susceptibility", chi, 5e-3),
    ):
        estimate = scaled(gamma_method(found[observable].series), HALF)
        assert_consistent(estimate, value, oracle_error=error, resolution=resolution)
    value, error = m_p_length(found["correlator"].series, length)
    assert error < 0.02
    assert abs(value - mass[0]) < 4.5 * math.hypot(error, mass[1])


@pytest.mark.slow
def test_schaich_loinaz():
    """L = 32, lam = 0.5, mu2 = -0.7: <S>/V, <|phi|>, chi and U4 of an independent code; arXiv:0902.0045 has
    0.359025(979), 0.4346(64), 0.524."""
    stated = {"mu2": -0.7, "lam": 0.5}
    settings = Cluster(num_chains=16, num_warmup=300, num_samples=3000)
    found, _, _ = run((32, 32), LatticePhi4("schaich_loinaz", **stated), settings, seed=5, mass=0.5)
    s = convert("schaich_loinaz", "schaich_loinaz", stated, 2).action
    action = -2 * s.hopping * found["nearest_neighbour"].series
    action = action + s.quadratic * found["phi2"].series + s.quartic * found["phi4"].series
    assert_consistent(gamma_method(action), 0.359607, oracle_error=155e-6, resolution=2e-3)
    for name, value, error, resolution in (
        ("abs_magnetization", 0.4295, 0.0013, 0.01),
        ("connected_susceptibility", 34.90, 0.17, 0.02),
        ("binder", 0.5189, 0.0013, 0.01),
    ):
        assert_consistent(gamma_method(found[name].series), value, oracle_error=error, resolution=resolution)


@pytest.mark.slow
def test_hasenbusch_in_three_dimensions():
    """L = 8, lam = 1.1, beta = 0.3750966: <m^4>/<m^2>^2 = 1.6019(15), xi/L = .6427(8), <phi^2> = .642500(93)."""
    stated = {"beta": 0.3750966, "lam": 1.1}
    settings = Cluster(num_chains=32, num_warmup=300, num_samples=5000)
    found, _, _ = run((8, 8, 8), LatticePhi4("hasenbusch", **stated), settings, seed=7, mass=0.4)
    to = convert("continuum", "hasenbusch", _continuum(stated, 3), 3)
    phi2 = scaled(gamma_method(found["phi2"].series), to.factor("phi2"))
    assert_consistent(phi2, 0.642500, oracle_error=93e-6, resolution=1e-3)
    binder = gamma_method(found["binder"].series)
    ratio = Estimate(**{**vars(binder), "value": 3 * (1 - binder.value), "error": 3 * binder.error})
    assert_consistent(ratio, 1.6019, oracle_error=0.0015, resolution=5e-3)
    xi = scaled(gamma_method(found["correlation_length"].series), 1 / 8)
    assert_consistent(xi, 0.6427, oracle_error=0.0008, resolution=5e-3)


def _continuum(stated, dim):
    return convert("hasenbusch", "continuum", stated, dim).couplings


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lam", "a", "x2", "x4"),
    [(0.1, 0.5, 0.3979230817, 0.4477472028), (1.0, 0.5, 0.2419336950, 0.1519840855)],
)
def test_rings(lam, a, x2, x4):
    """The nearest-neighbour oscillator of period 20, by Fourier-accelerated HMC of modes."""
    settings = GaussianFlow(num_chains=32, num_warmup=300, num_samples=2000)
    found, _, _ = run((round(20 / a),), PhiPower(4, lam), settings, 11, mass=1.0, architecture=LatticeModes, spacing=a)
    for name, value in (("phi2", x2), ("phi4", x4)):
        assert_consistent(gamma_method(found[name].series), value, resolution=3e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "steps"), [(2, 8), (3, 8), (6, 24)])
def test_ln_z_by_annealing(size, steps):
    """ln Z of the stated action: that of the free field, its Jacobian, and ln Z/Z0 of `smc`; published numbers."""
    kept = {"num_chains": 32, "num_warmup": 150, "num_samples": 150, "num_particles": 4}
    settings = SMC(**kept, num_steps=steps, base="gaussian_flow")
    _, stats, ensemble = run((size, size), albergo(-4.0, 6.975), settings, seed=13)
    ratio = log_partition_ratio(stats)
    assert ratio is not None
    assert not ratio.note
    exact = exact_reference(ensemble).log_partition_ratio
    estimate = gamma_method(ratio.series)
    assert_consistent(estimate, exact, resolution=0.01, scale=1.0)
    free = 0.5 * float(np.sum(np.log(2 * math.pi * ensemble.architecture.spectrum())))
    log_z = float(estimate.value) + free - size**2 * 0.5 * math.log(2)
    published = {2: 1.173184710778, 3: 1.969824275117, 6: 6.984948}[size]
    assert abs(log_z - published) < 5 * float(estimate.error)


@pytest.mark.slow
def test_wrong_theories_are_noticed():
    """Controls: E1's field without its factor sqrt 2, and a coupling two per cent off."""
    settings = Cluster(num_chains=64, num_warmup=300, num_samples=1500)
    found, _, _ = run((6, 6), albergo(-4.0, 6.975 * 1.02), settings, seed=17, mass=0.6)
    phi2, chi = (gamma_method(found[name].series) for name in ("phi2", "susceptibility"))
    assert_inconsistent(scaled(phi2, HALF), 0.1613866, resolution=2e-3)
    assert_inconsistent(chi, 1.063075, resolution=0.01, scale=2.0)
