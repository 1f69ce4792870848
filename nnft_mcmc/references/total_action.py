"""The total action of a lattice ensemble in the form that conventions and contractions know."""

import numpy as np

from nnft_mcmc import _checks
from nnft_mcmc.conventions import LatticeAction
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.insertions import free_lattice_action


def total_action(ensemble: Ensemble) -> LatticeAction:
    """S_free + S_int of lattice modes or a site field with an even insertion of degree 4 or less."""
    free, potential = free_lattice_action(ensemble.architecture), uniform_potential(ensemble)
    full = np.zeros(max(5, potential.size))
    full[: potential.size] = potential
    if full[1::2].any() or full[5:].any():
        raise _checks.InputError(
            "the insertion has other powers than phi^2 and phi^4, and conventions of phi^4 have no place for them."
        )
    return LatticeAction(free.hopping, free.quadratic + full[2], full[4], full[0])


def uniform_potential(ensemble: Ensemble) -> np.ndarray:
    """The coefficients (degree + 1,) of the insertion at each site, which must be the same at all."""
    coefficients = ensemble.local_action.coefficients.reshape(len(ensemble.local_action.coefficients), -1)
    if np.ptp(coefficients, axis=1).any():
        raise _checks.InputError(
            "the insertion differs from site to site, so the theory is not translation invariant; use one strength at"
            " all sites."
        )
    return coefficients[:, 0]
