"""Estimators: what is measured on each draw, and the observables made of it."""

from nnft_mcmc.estimators.observables import Observable, observables
from nnft_mcmc.estimators.per_draw import has_virial, pair_weights, per_draw, separations, virial

__all__ = ["Observable", "has_virial", "observables", "pair_weights", "per_draw", "separations", "virial"]
