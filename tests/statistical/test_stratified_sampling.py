"""Refresh of stratified networks in two dimensions, where all neurons share a rotation, against reweighted free draws.

False-alarm rate 1e-4. The resolution is 3% of <phi^2>: a chain that kept its rotation for ever, or turned it without
accepting, would have to be wrong by more than 12% to be seen with certainty; the negative control is the free
value.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nnft_mcmc import (
    Composite,
    Ensemble,
    Lattice,
    PhiPower,
    Refresh,
    ScalarNet,
    StratifiedNet,
    TwoQuadratureNet,
    gamma_method,
    sample,
)
from tests.statistical.consistency import assert_consistent, assert_inconsistent

NET = StratifiedNet(TwoQuadratureNet(ScalarNet(2, 4, 1.0, 3.0)))
ENSEMBLE = Ensemble(NET, Lattice((3, 5), 0.5), PhiPower(4, 1.5, "trapezoid"))


@pytest.fixture(scope="module")
def reweighted():
    """<phi^2(mid)> and its error, from 200,000 free draws."""

    def one(key):
        field = ENSEMBLE.field(NET.sample_parameters(key))
        return jnp.exp(-ENSEMBLE.action(field)), field[ENSEMBLE.lattice.centre] ** 2

    w, phi2 = (np.asarray(v) for v in jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(5), 200_000)))
    value = float(w @ phi2 / w.sum())
    return value, float(np.linalg.norm(w * (phi2 - value)) / w.sum())


@pytest.mark.parametrize("sampler", [Refresh, pytest.param(Composite, marks=pytest.mark.slow)])
def test_sampled_stratified_networks_agree_with_reweighted_ones(sampler, reweighted):
    settings = sampler(num_chains=16, num_warmup=100, num_samples=600)
    results = sample(ENSEMBLE, jax.random.key(6), settings, store=("parameters",))
    found = gamma_method(results["observables"]["phi2_mid"].values)
    value, error = reweighted
    assert_consistent(found, value, resolution=0.03, oracle_error=error)
    free = float(NET.two_point(np.zeros(2), np.zeros(2)))
    assert_inconsistent(found, free, resolution=0.03, oracle_error=error)
    rotation = results["posterior"]["rotation"].values
    assert (np.abs(np.diff(rotation[..., 0, 0], axis=1)) > 0).mean() > 0.3  # the rotation moves
