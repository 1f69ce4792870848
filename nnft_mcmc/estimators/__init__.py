"""Estimators: what is measured on each draw, observables made of it, and free ensembles measured without storing."""

from nnft_mcmc.estimators.generating import cumulant_scaling, generating_functional
from nnft_mcmc.estimators.lattice_two_point import estimate_time_correlators, estimate_torus_two_point
from nnft_mcmc.estimators.momentum_space import estimate_momentum_n_point, momentum_two_point
from nnft_mcmc.estimators.n_point import estimate_n_point
from nnft_mcmc.estimators.observables import Observable, observables
from nnft_mcmc.estimators.parameter_symmetry import absorbed
from nnft_mcmc.estimators.partition_function import log_partition_ratio
from nnft_mcmc.estimators.per_draw import has_virial, pair_weights, per_draw, separations, virial
from nnft_mcmc.estimators.reweighting import reweight
from nnft_mcmc.estimators.single_neuron import williams
from nnft_mcmc.estimators.symmetry import symmetry_test

__all__ = [
    "Observable",
    "absorbed",
    "cumulant_scaling",
    "estimate_momentum_n_point",
    "estimate_n_point",
    "estimate_time_correlators",
    "estimate_torus_two_point",
    "generating_functional",
    "has_virial",
    "log_partition_ratio",
    "momentum_two_point",
    "observables",
    "pair_weights",
    "per_draw",
    "reweight",
    "separations",
    "symmetry_test",
    "virial",
    "williams",
]
