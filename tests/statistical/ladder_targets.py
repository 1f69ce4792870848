"""Targets of the samplers that go from the prior to the deformed density: ensembles with moments and ln Z/Z0 known.

Every target says at which site phi^2 and phi^4 are taken; the exact values are <phi^2>, <phi^4> there, <M^2> with M
the mean of the field, and ln Z/Z0. Torus, box, infinite width and finite width are among them.
"""

import functools
import math
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np

from nnft_mcmc import (
    CosNet,
    Ensemble,
    InfiniteWidth,
    Lattice,
    LatticeModes,
    PhiPower,
    Polynomial,
    ScalarNet,
    TransferMatrix,
)
from nnft_mcmc.sampling import Chains
from tests.statistical.gaussian_targets import TARGETS as GAUSSIAN_TARGETS
from tests.statistical.gaussian_targets import strong_plane_by_rows
from tests.statistical.tiny_theories import THEORIES


@dataclass(frozen=True)
class Target:
    """`moments(factor)`, `log_ratio(factor)` are exact for couplings multiplied by `factor`: 1 is the target itself."""

    ensemble: Ensemble
    base: str
    moments: object
    log_ratio: object

    def observe(self, position):
        """What `moments` are the means of."""
        lattice, field = self.ensemble.lattice, position.field
        middle = field[lattice.centre] if lattice.num_sites > 3 else field[(0,) * lattice.dim]
        powers = [middle**2, middle**4]
        return jnp.stack([*powers, field.mean() ** 2] if lattice.num_sites > 3 else powers)


def tiny(name):
    """A tiny theory; moments of its first site."""
    theory = THEORIES[name]
    return Target(
        theory.ensemble,
        "refresh",
        lambda factor: theory.exact(factor).moments,
        lambda factor: math.log(theory.exact(factor).ratio),
    )


def strong_neuron():
    """The tiny cos-net at coupling 30, where weights are uneven."""
    lattice = Lattice((3,), 1.0)
    return Target(
        Ensemble(CosNet(1, 1), lattice, PhiPower(4, 30.0)),
        "refresh",
        lambda factor: THEORIES["cos_net"].exact(30.0 * factor).moments,
        lambda factor: math.log(THEORIES["cos_net"].exact(30.0 * factor).ratio),
    )


def line(couplings, shape, spacing):
    """The free scalar of mass 1 on the line with a local polynomial, at infinite width; by its transfer matrix."""
    lattice = Lattice((shape,), spacing)
    ensemble = Ensemble(
        InfiniteWidth(ScalarNet(1, 1, 1.0, math.inf), lattice), lattice, Polynomial(couplings, "trapezoid")
    )

    @functools.cache
    def theory(factor):
        return TransferMatrix(1.0, lattice.axis(0), factor * ensemble.local_action.coefficients)

    def moments(factor):
        centre = lattice.centre[0]
        one_site = [theory(factor).moment(power)[centre] for power in (2, 4)]
        return np.array([*one_site, theory(factor).two_point().mean()])

    return Target(ensemble, "gaussian_flow", moments, lambda factor: theory(factor).log_partition_ratio)


def gaussian_plane():
    """Lattice modes on a torus of 4 x 4 with 0.6 phi^2 inserted, which shifts the squared mass by 1.2."""
    lattice, mass2, coupling = Lattice((4, 4), 1.0, "torus"), 0.5, 0.6

    def propagator(factor):
        return LatticeModes(lattice, math.sqrt(mass2 + 2 * factor * coupling)).spectrum()

    def moments(factor):
        g = propagator(factor).mean()
        return np.array([g, 3 * g**2, propagator(factor).flat[0] / lattice.num_sites])

    return Target(
        Ensemble(LatticeModes(lattice, math.sqrt(mass2)), lattice, PhiPower(2, coupling)),
        "gaussian_flow",
        moments,
        lambda factor: 0.5 * float(np.log(propagator(factor) / propagator(0)).sum()),
    )


def strong_plane():
    """A torus of 3 x 3 at strong coupling."""
    ensemble, moments = GAUSSIAN_TARGETS["strong"]
    return Target(ensemble, "gaussian_flow", moments, lambda factor: strong_plane_by_rows(factor)[1])


TARGETS = {
    "cos_net": tiny("cos_net"),
    "strong_neuron": strong_neuron(),
    "scalar_net_10": tiny("scalar_net_10"),
    "gaussian_plane": gaussian_plane(),
    "quartic_line": line([0.0, 0.0, 0.0, 0.0, 0.5], 9, 0.5),
    "strong_plane": strong_plane(),
    "strong_plane by clusters": replace(strong_plane(), base="cluster"),
    "double_well": line([0.0, 0.0, -2.5, 0.0, 0.5], 33, 0.25),
}


def started(target, sampler, seed=1):
    """The chains before their warm-up."""

    def collect(position):
        return {"kept": {"it": target.observe(position)}}

    return Chains(target.ensemble, sampler, jax.random.key(seed), collect, sampler.num_samples)


def run(target, sampler):
    """Kept (chain, draw, numbers) and sample_stats of a run."""
    chains = started(target, sampler)
    chains.warm_up(sampler.num_warmup)
    chunk = chains.draw(sampler.num_samples)
    return chunk["kept"]["it"], chunk["sample_stats"]


def assert_resumes_bit_for_bit(chains, num_warmup):
    """In one piece, and in pieces between which the state is saved and put back, from warm-up to draws."""
    start = chains.leaves()
    chains.warm_up(num_warmup)
    whole = chains.draw(6)
    chains.warm_up(3)
    chains.restore(start)
    for number in (5, num_warmup - 6, 1):
        chains.warm_up(number)
        chains.restore(chains.leaves())
    parts = chains.draw(4), chains.draw(2)
    jax.tree.map(lambda a, *b: np.testing.assert_array_equal(a, np.concatenate(b, axis=1)), whole, *parts)
