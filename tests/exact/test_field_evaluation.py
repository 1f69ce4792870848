"""Fields of plane waves by every route against the cosines and sines themselves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nnft_mcmc import Lattice
from nnft_mcmc.field_evaluation import neuron_fields

SHAPES = [(1,), (2,), (17,), (64,), (100,), (5, 5), (16, 16), (1, 9), (12, 7), (3, 4, 5), (4, 4, 4), (3, 2, 4, 5)]
by_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def some_waves(dim, width, key=0):
    """Momenta with a heavy tail, cosines and sines."""
    keys = jax.random.split(jax.random.key(key), 3)
    momenta = jax.random.t(keys[0], 3.0, (width, dim))
    return momenta, jax.random.normal(keys[1], (width,)), jax.random.normal(keys[2], (width,))


def naive_neurons(waves, lattice):
    momenta, cosines, sines = waves
    angles = momenta @ lattice.sites.reshape(-1, lattice.dim).T
    return cosines[:, None] * jnp.cos(angles) + sines[:, None] * jnp.sin(angles)


@by_shape
def test_single_neurons(shape):
    lattice = Lattice(shape, 0.3)
    waves = some_waves(len(shape), 7)
    fields = jax.jit(neuron_fields, static_argnums=1)(waves, lattice)
    np.testing.assert_allclose(fields, naive_neurons(waves, lattice), rtol=0, atol=1e-12)


def test_single_neurons_of_one_and_of_none():
    lattice = Lattice((4, 6), 0.3)
    for width in (0, 1):
        waves = some_waves(2, width)
        np.testing.assert_allclose(neuron_fields(waves, lattice), naive_neurons(waves, lattice), rtol=0, atol=1e-12)


def test_single_neurons_batched_and_differentiated():
    lattice = Lattice((5, 4), 0.3)
    batch = jax.tree.map(lambda *a: jnp.stack(a), *[some_waves(2, 3, key) for key in range(4)])
    weight = jax.random.normal(jax.random.key(9), (3, 20))

    def of(fields):
        return jax.vmap(jax.grad(lambda w: jnp.sum(weight * fields(w, lattice) ** 2)))(batch)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-11), of(neuron_fields), of(naive_neurons)
    )
