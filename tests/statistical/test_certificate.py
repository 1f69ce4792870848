r"""The certificate passes right runs and finds wrong ones: couplings, output weights, momenta, phases, samplers.

Right runs: 200 seeds of each of three theories, with a false alarm of 1e-3 for each run. The number of failures is then
at most binomial(200, 1e-3), more than 2 of them has the probability 1.1e-3.

A wrong coupling: the theory is phi^4 of coupling 1 in a box of length 16 at spacing 0.5, infinite width, where S has
the standard deviation 1.3. With 1e5 effective draws a coupling that is 2% off shows as 8 errors or more; the bound is
3.5, so the test has a power above 0.9999. All keys are fixed.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from nnft_mcmc.architectures import (
    CosNet,
    DenseNet,
    GaussNet,
    InfiniteWidth,
    LatticeModes,
    MaternNet,
    ScalarNet,
    SiteField,
    TwoQuadratureNet,
)
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.estimators import identities
from nnft_mcmc.insertions import PhiPower, Polynomial
from nnft_mcmc.lattice import Lattice
from nnft_mcmc.runs.certificate import certificate, of_parameters
from nnft_mcmc.sampling import Chains, Composite, GaussianFlow, MoveKernel, Refresh
from nnft_mcmc.sampling.refresh import RefreshMove

slow = pytest.mark.slow
BOX, LINE = Lattice((3, 3), 0.6), Lattice((5,), 0.5)
LONG = Lattice((33,), 0.5)
RING = Lattice((8,), 0.5, "torus")
PLANE = Lattice((4, 4), 0.5, "torus")


def series(stated, truth, sampler, seed=1):
    """Identities of `stated` along chains of `sampler` on `truth`."""
    known = identities(stated)

    def collect(position):
        return {"identities": known(position.theta, position.field)}

    chains = Chains(truth, sampler, jax.random.key(seed), collect, sampler.num_samples)
    chains.warm_up(sampler.num_warmup)
    return chains.draw(sampler.num_samples)["identities"]


def failing(found):
    """Names of blocks and degrees of couplings that are off."""
    blocks = {t.block for t in found.identities if not t.holds}
    return blocks | {c.degree for c in found.couplings if not c.holds}


def split(kept, number):
    """One run of many chains as `number` runs."""
    for k in range(number):
        yield {name: values.reshape(number, -1, *values.shape[1:])[k] for name, values in kept.items()}


# Right runs.

SEEDS, CHAINS = 200, 4
RIGHT = {
    "ring": (LatticeModes(RING, 1.0), RING, GaussianFlow(num_chains=SEEDS * CHAINS, num_warmup=200, num_samples=500)),
    "cos": (CosNet(2, 3, 2.0, 1.5), BOX, Composite(num_chains=SEEDS * CHAINS, num_warmup=100, num_samples=500)),
    "gauss": (GaussNet(1, 4, 1.0, 0.5, 1.5), LINE, Refresh(num_chains=SEEDS * CHAINS, num_warmup=50, num_samples=500)),
}


@slow
@pytest.mark.parametrize("name", RIGHT)
def test_right_runs_pass(name):
    """In at least 99% of 200 seeds."""
    architecture, lattice, sampler = RIGHT[name]
    ensemble = Ensemble(architecture, lattice, PhiPower(4, 1.0))
    kept = series(ensemble, ensemble, sampler)
    found = [certificate(ensemble, run) for run in split(kept, SEEDS)]
    assert sum(not each.holds for each in found) <= 2
    # and the couplings' errors are right: z has unit variance, chi^2 with 200 degrees of freedom
    z = np.array([c.z for each in found for c in each.couplings])
    assert 140 < np.sum(z**2) < 270


# A wrong coupling.


@functools.cache
def long_line(factor):
    """Series of the theory of coupling 1 along chains of the coupling `factor`."""
    line = InfiniteWidth(ScalarNet(1, 1, 1.0, math.inf), LONG)
    stated, truth = (Ensemble(line, LONG, PhiPower(4, coupling)) for coupling in (1.0, factor))
    sampler = GaussianFlow(num_chains=256, num_warmup=200, num_samples=700)
    return stated, series(stated, truth, sampler)


@pytest.mark.parametrize("factor", [1.02, pytest.param(0.98, marks=slow), pytest.param(1.0, marks=slow)])
def test_a_coupling_wrong_by_two_percent_is_found(factor):
    stated, kept = long_line(factor)
    found = certificate(stated, kept)
    (coupling,) = found.couplings
    effective = (coupling.error * kept["action_terms"].std() * coupling.share) ** -2
    assert 1e5 < effective < 2e5
    assert coupling.share > 0.95  # of what Cramer and Rao allow
    assert coupling.visible < 0.017
    assert coupling.holds == found.holds == (factor == 1.0)
    # the coupling that the draws obey, to first order in its deviation
    assert abs(coupling.ratio - factor) < 4 * coupling.error + 2 * (factor - 1) ** 2


@slow
def test_each_of_several_couplings_is_found():
    """S = -0.4 phi^2 + 0.2 phi^4 + 0.1 phi^6 per volume: each coupling in turn is 10% off; 13 to 24 errors."""
    numbers = (0.0, 0.0, -0.4, 0.0, 0.2, 0.0, 0.1)

    def ensemble(changed=None):
        coefficients = tuple(c * (1.1 if k == changed else 1.0) for k, c in enumerate(numbers))
        return Ensemble(SiteField(PLANE, 1.0), PLANE, Polynomial(coefficients))

    sampler = GaussianFlow(num_chains=256, num_warmup=200, num_samples=400)
    right = certificate(ensemble(), series(ensemble(), ensemble(), sampler))
    assert [c.degree for c in right.couplings] == [2, 4, 6]
    assert right.holds
    for degree in (2, 4, 6):
        found = certificate(ensemble(), series(ensemble(), ensemble(degree), sampler))
        (own,) = (c for c in found.couplings if c.degree == degree)
        assert not own.holds
        assert abs(own.ratio - 1.1) < 4 * own.error + 0.02


# A wrong density of each block of parameters. The draws are independent ones of the undeformed ensemble.


def drawn(stated, theta):
    """The certificate of `stated` for independent draws (draw, ...), as four chains."""
    by_chain = {name: value.reshape(4, -1, *value.shape[1:]) for name, value in theta.items()}
    return certificate(stated, of_parameters(stated, by_chain))


def draws(architecture, number=20000, seed=2):
    keys = jax.random.split(jax.random.key(seed), number)
    return {name: np.asarray(value) for name, value in jax.jit(jax.vmap(architecture.sample_parameters))(keys).items()}


def biased(phases: Array) -> np.ndarray:
    """Phases of density (1 + 0.06 sin b)/2 pi, to first order: b -> b - 0.06 cos b."""
    return np.asarray((phases - 0.06 * np.cos(phases) + np.pi) % (2 * np.pi) - np.pi)


# Architecture, what is done to one of its parameters, and the block whose identities must be off.
MUTANTS = {
    "amplitudes of a cos-net": (CosNet(2, 4, 2.0, 1.5), lambda a: 1.03 * a, "amplitudes"),
    "momenta of a cos-net": (CosNet(2, 4, 2.0, 1.5), lambda w: 1.03 * w, "momenta"),
    "phases of a cos-net": (CosNet(2, 4, 2.0, 1.5), biased, "phases"),
    "momenta of a ball": (ScalarNet(2, 4, 1.0, 3.0, -1.0), lambda w: 0.97 * w, "momenta"),
    "momenta of a ball, alpha 0": (ScalarNet(2, 4, 1.0, 3.0), lambda w: 0.97 * w, "momenta"),
    "momenta without a cut-off": (ScalarNet(1, 4, 1.0, math.inf), lambda w: 1.05 * w, "momenta"),
    "quadratures": (TwoQuadratureNet(CosNet(2, 4, 2.0, 1.5)), lambda a: 1.03 * a, "amplitudes"),
    "rayleigh amplitudes": (MaternNet(1, 4, 1.0, 1.0, amplitude_law="rayleigh"), lambda a: 1.03 * a, "amplitudes"),
    "weights of a gauss-net": (GaussNet(1, 4, 1.0, 0.5, 1.5), lambda w: 1.03 * w, "weights"),
    "biases of a dense net": (DenseNet(1, 4, "tanh", 1.5, 0.5), lambda b: 1.03 * b, "biases"),
    "modes": (LatticeModes(RING, 1.0), lambda a: 1.03 * a, "amplitudes"),
    "sites": (SiteField(RING, 1.0), lambda phi: 1.03 * phi, "phi"),
    "infinite width": (InfiniteWidth(ScalarNet(1, 1, 1.0, math.inf), LINE), lambda a: 1.03 * a, "coefficients"),
}
QUICK = ("phases of a cos-net", "momenta of a ball", "modes")


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in QUICK else slow) for name in MUTANTS])
def test_a_wrong_block_is_found(name):
    architecture, change, block = MUTANTS[name]
    lattice = getattr(architecture, "lattice", BOX if architecture.dim == 2 else LINE)
    stated = Ensemble(architecture, lattice)
    theta = draws(architecture)
    assert failing(drawn(stated, theta)) == set()
    assert block in failing(drawn(stated, {**theta, block: change(theta[block])}))


@slow
def test_a_wrong_mass_is_found():
    stated = Ensemble(SiteField(RING, 1.0), RING)
    assert "phi" in failing(drawn(stated, draws(SiteField(RING, 1.05))))


# Right and wrong samplers of interacting theories.


class Bold(Refresh):
    """Accepts every proposal of a sweep at half of the action."""

    def kernel(self, ensemble):
        return MoveKernel(ensemble, BoldMove(ensemble, ensemble.architecture, 1))


class BoldMove(RefreshMove):
    def move(self, position, tuning, scale, key):
        return RefreshMove.move(self, position, tuning, 0.8 * scale, key)


INTERACTING = {
    "ball": (ScalarNet(2, 4, 1.0, 3.0, -1.0), BOX),
    "phases": (CosNet(2, 4, 2.0, 1.5), BOX),
    "dense": (DenseNet(1, 4, "tanh", 1.5, 0.5), LINE),
    "gauss": (GaussNet(1, 4, 1.0, 0.5, 1.5), LINE),
}


@slow
@pytest.mark.parametrize("name", INTERACTING)
def test_a_bad_sampler_is_found(name):
    """A sweep that accepts by 0.8 of the action samples 0.8 of the coupling: more than 10 errors."""
    ensemble = Ensemble(*INTERACTING[name], PhiPower(4, 2.0))
    settings = {"num_chains": 64, "num_warmup": 50, "num_samples": 500, "thinning": 2}
    assert failing(certificate(ensemble, series(ensemble, ensemble, Refresh(**settings)))) == set()
    bold = certificate(ensemble, series(ensemble, ensemble, Bold(**settings)))
    assert {"amplitudes", 4} <= failing(bold)
    assert abs(bold.couplings[0].ratio - 0.8) < 4 * bold.couplings[0].error + 0.04


def test_stored_parameters_give_the_same_series():
    """`of_parameters` against the sampling loop, 600 draws in pieces of 256."""
    ensemble = Ensemble(CosNet(1, 3, 2.0), LINE, PhiPower(4, 1.0))
    known = identities(ensemble)

    def collect(position):
        return {"posterior": position.theta, "identities": known(position.theta, position.field)}

    chains = Chains(ensemble, Refresh(num_chains=2, num_warmup=0), jax.random.key(3), collect, 300)
    chains.warm_up(0)
    kept = chains.draw(300)
    again = of_parameters(ensemble, kept["posterior"])
    assert again.keys() == kept["identities"].keys()
    for name, values in kept["identities"].items():
        np.testing.assert_allclose(again[name], values, rtol=1e-9, atol=1e-12)
    assert jnp.isfinite(again["amplitudes"]).all()
