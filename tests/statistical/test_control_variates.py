"""Networks of one neuron with an interaction, exact by quadrature: control variates leave the mean where it is.

False alarm 1e-4. One neuron's kernel fluctuates as much as its field, so the gain is the least that there is, the error
half of the plain one. Control: variates made with a coupling that is wrong by a fifth, whose mean is not zero.
"""

import jax
import numpy as np

from nnft_mcmc import CosNet, Ensemble, Lattice, PhiPower, Refresh, gamma_method
from nnft_mcmc.estimators import stein_variates
from nnft_mcmc.sampling import Chains
from nnft_mcmc.statistics import control_coefficients
from tests.statistical import tiny_theories
from tests.statistical.consistency import assert_consistent, assert_inconsistent

DRAWS = 2000


def ensemble(coupling):
    return Ensemble(CosNet(1, 1), Lattice((3,), 1.0), PhiPower(4, coupling))


def test_one_neuron():
    right, wrong = stein_variates(ensemble(1.0)), stein_variates(ensemble(1.2))

    def collect(position):
        middle = position.field[1] ** 2
        return {"observables": {"phi2": middle[None], "right": right(*position), "wrong": wrong(*position)}}

    chains = Chains(ensemble(1.0), Refresh(num_chains=32, num_warmup=50), jax.random.key(3), collect, DRAWS)
    chains.warm_up(50)
    pilot, drawn = chains.draw(200)["observables"], chains.draw(DRAWS)["observables"]
    flat = {name: values.reshape(-1, values.shape[-1]) for name, values in pilot.items()}
    exact = float(tiny_theories.cos_net(1.0, 1).moments[0])
    plain = gamma_method(drawn["phi2"][..., 0])
    improved = {}
    for name in ("right", "wrong"):
        beta = control_coefficients(flat[name], flat["phi2"])
        improved[name] = gamma_method((drawn["phi2"] - drawn[name] @ beta)[..., 0])
    assert improved["right"].error < 0.6 * plain.error
    assert_consistent(improved["right"], exact, resolution=6e-3)
    assert_inconsistent(improved["wrong"], exact, resolution=6e-3)
    assert np.isclose(plain.value, exact, atol=4 * plain.error)
