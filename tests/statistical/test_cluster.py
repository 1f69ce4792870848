"""Sign clusters: the components of a graph, exact tori, the Schwinger-Dyson identity, and updates that are wrong.

Statistical tests: false alarm 1e-4 each. An update that bonds with 1 - exp(-4 J), or that ignores bonds, is seen.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from nnft_mcmc import (
    Cluster,
    Ensemble,
    InputError,
    Lattice,
    LatticeModes,
    LatticePhi4,
    PhiPower,
    ScalarNet,
    SiteField,
    Source,
    exact_reference,
    gamma_method,
    sample,
)
from nnft_mcmc.sampling import cluster
from nnft_mcmc.sampling.cluster import connected, parameters_of, sign_bonds
from tests.statistical.consistency import assert_consistent, assert_inconsistent

SETTINGS = Cluster(num_chains=4, num_warmup=200, num_samples=3000)
TORUS = Lattice((4, 2), 1.0, "torus")
ALBERGO = LatticePhi4("albergo", m2=-4.0, lam=6.975)
ORDERED = LatticePhi4("albergo", m2=-6.0, lam=4.0)


@pytest.mark.parametrize("shape", [(1,), (7,), (2, 2), (5, 8), (24, 24), (3, 4, 5)])
@pytest.mark.parametrize("density", [0.0, 0.3, 0.5, 0.7, 1.0])
def test_clusters_are_the_components_of_the_graph(shape, density):
    """Against SciPy's, around the percolation threshold 1/2 of the square lattice and far from it."""
    rng = np.random.default_rng(0)
    bonds = [rng.random(shape) < density for _ in shape]
    numbers = np.arange(np.prod(shape)).reshape(shape)
    ends = [np.roll(numbers, -1, axis)[bond] for axis, bond in enumerate(bonds)]
    starts = [numbers[bond] for bond in bonds]
    graph = coo_array(
        (np.ones(sum(map(len, ends))), (np.concatenate(starts), np.concatenate(ends))), (numbers.size,) * 2
    )
    _, components = connected_components(graph, directed=False)
    least = np.array([np.flatnonzero(components == c).min() for c in range(components.max() + 1)])
    np.testing.assert_array_equal(connected([jnp.asarray(b) for b in bonds]).ravel(), least[components])


def test_bonds_have_their_probability():
    """1 - exp(-2 c phi phi') between equal signs and 0 between others: 2e5 draws of five links."""
    field, c = jnp.array([0.9, 0.4, -0.7, -0.2, -1.3]), 0.8
    keys = jax.random.split(jax.random.key(0), 200_000)
    (drawn,) = jax.vmap(lambda key: sign_bonds(field, c, key))(keys)
    pairs = np.asarray(field) * np.roll(field, -1)
    expected = np.where(pairs > 0, 1 - np.exp(-2 * c * pairs), 0.0)
    z = (drawn.mean(axis=0) - expected) / np.sqrt(expected * (1 - expected) / len(keys) + 1e-300)
    assert np.abs(z).max() < 4.5
    assert not drawn[:, expected == 0].any()


@pytest.mark.parametrize("architecture", [LatticeModes, SiteField])
def test_parameters_of_a_field(architecture):
    lattice = Lattice((4, 3), 0.7, "torus")
    theory, field = architecture(lattice, 1.3), jax.random.normal(jax.random.key(1), (4, 3))
    np.testing.assert_allclose(theory.on_sites(parameters_of(theory, field)), field, atol=1e-14)


def drawn(architecture, insertion, seed):
    """Series of a run on the 4 x 2 torus."""
    ensemble = Ensemble(architecture(TORUS, 1.5), TORUS, insertion)
    found = sample(ensemble, jax.random.key(seed), SETTINGS, store=())["observables"]
    return {name: found[name].values for name in ("phi2", "phi4", "nearest_neighbour", "magnetization")}, ensemble


def compared(series, ensemble, check):
    """phi2, phi4, E and chi against the contracted torus."""
    reference = exact_reference(ensemble).values
    names = ("phi2", "phi4", "nearest_neighbour")
    chi = TORUS.num_sites * series["magnetization"] ** 2
    stacked = np.stack([*(series[name] for name in names), chi], axis=-1)
    oracle = [*(float(reference[name]) for name in names), float(reference["susceptibility"])]
    check(gamma_method(stacked), oracle, resolution=0.02)


@pytest.mark.parametrize(("architecture", "insertion"), [(LatticeModes, ALBERGO), (SiteField, ORDERED)])
def test_exact_torus_and_identity(architecture, insertion):
    """Also -2 c d E + 2 a <phi^2> + 4 b <phi^4> = 1, which no other theory has."""
    series, ensemble = drawn(architecture, insertion, 3)
    compared(series, ensemble, assert_consistent)
    s = insertion.action(TORUS)
    identity = -4 * s.hopping * series["nearest_neighbour"] + 2 * s.quadratic * series["phi2"]
    assert_consistent(gamma_method(identity + 4 * s.quartic * series["phi4"]), 1.0, resolution=0.02)


@pytest.mark.parametrize("wrong", ["no bonds", pytest.param("twice the coupling", marks=pytest.mark.slow)])
def test_wrong_clusters_are_noticed(wrong, monkeypatch):
    """Only if the trajectories of a transition do not mend what its clusters spoil."""
    factor = {"twice the coupling": 2.0, "no bonds": 0.0}[wrong]
    right = cluster.sign_bonds
    monkeypatch.setattr(cluster, "sign_bonds", lambda field, c, key: right(field, factor * c, key))
    series, ensemble = drawn(SiteField, ALBERGO, 4)
    compared(series, ensemble, assert_inconsistent)


def test_what_is_refused():
    for insertion, message in ((Source(0.1) + PhiPower(4, 0.5), "has an odd power"),):
        with pytest.raises(InputError, match=message):
            Cluster().kernel(Ensemble(SiteField(TORUS, 1.0), TORUS, insertion))
    with pytest.raises(InputError, match="does not couple nearest neighbours only"):
        Cluster().kernel(Ensemble(LatticeModes(TORUS, 1.0, "continuum"), TORUS, PhiPower(4, 0.5)))
    box = Lattice((3,), 1.0)
    with pytest.raises(InputError, match="this ScalarNet does not couple"):
        Cluster().kernel(Ensemble(ScalarNet(1, 5, 1.0, 4.0), box, PhiPower(4, 0.5)))
