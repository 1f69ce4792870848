"""The energy errors of NumPyro's HMC: its own chain bit for bit, dH known in two ways, <exp(-dH)> = 1 over proposals.

False alarm of the average: 1e-4. Control: rejected proposals, all of dH > 0, taken for exact ones.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.infer import HMC as StockHMC
from numpyro.infer import init_to_sample

from nnft_mcmc.architectures import LatticeModes
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.insertions import PhiPower
from nnft_mcmc.lattice import Lattice
from nnft_mcmc.sampling import HMC
from nnft_mcmc.sampling.measured_hmc import energy_error
from nnft_mcmc.sampling.model import inverse_masses, numpyro_model
from nnft_mcmc.statistics import gamma_method
from tests.statistical.consistency import assert_consistent, assert_inconsistent

LATTICE = Lattice((4,), 0.5, "torus")
ENSEMBLE = Ensemble(LatticeModes(lattice=LATTICE, mass=1.0), LATTICE, PhiPower(4, 0.5))
SETTINGS = HMC(num_chains=128, num_warmup=300, num_samples=300, num_steps=4)


@pytest.fixture(scope="module")
def chains():
    """Of each transition after warm-up, (chain, draw): energies of both, dH, dH from the energies, accepted or not."""
    ours = SETTINGS.kernel(ENSEMBLE)
    stock = StockHMC(
        numpyro_model(ENSEMBLE),
        num_steps=SETTINGS.num_steps,
        trajectory_length=None,
        inverse_mass_matrix=inverse_masses(ENSEMBLE.architecture.prior()),
        target_accept_prob=SETTINGS.target_accept,
        init_strategy=init_to_sample,
    )
    keys = jax.vmap(jax.random.key_data)(jax.random.split(jax.random.key(11), SETTINGS.num_chains))
    start = tuple(kernel.init(keys, SETTINGS.num_warmup, None, (), {}) for kernel in (ours, stock))

    def transition(states, _):
        old, new = states[0], ours.sample(states[0], (), {})
        other = stock.sample(states[1], (), {})
        certain = new._replace(accept_prob=jnp.ones_like(new.accept_prob))
        kept = {
            "energy": new.energy,
            "stock": other.energy,
            "error": new.energy_error,
            "of_energies": jax.vmap(energy_error)(old, certain),
            "accepted": new.potential_energy != old.potential_energy,
        }
        return (new, other), kept

    total = SETTINGS.num_warmup + SETTINGS.num_samples
    kept = jax.jit(lambda states: jax.lax.scan(transition, states, None, total)[1])(start)
    return {name: np.asarray(value)[SETTINGS.num_warmup :].T for name, value in kept.items()}


def test_the_chain_is_numpyros(chains):
    np.testing.assert_array_equal(chains["energy"], chains["stock"])


def test_both_ways_to_know_the_energy_error_agree(chains):
    accepted, uphill = chains["accepted"], chains["error"] > 0.0
    assert (accepted & uphill).sum() > 1000
    assert (~accepted).sum() > 1000
    np.testing.assert_allclose(chains["error"][accepted], chains["of_energies"][accepted], rtol=0, atol=1e-10)
    assert (chains["error"][~accepted] > 0.0).all()


def test_average_over_proposals(chains):
    weight = np.exp(-chains["error"])
    assert np.median(np.abs(chains["error"])) > 0.03
    assert_consistent(gamma_method(weight), 1.0, resolution=0.003)
    mistaken = gamma_method(np.where(chains["accepted"], weight, 1.0))
    assert_inconsistent(mistaken, 1.0, resolution=0.003)
