"""Estimators: what is measured on each draw, observables made of it, and free ensembles measured without storing."""

from nnft_mcmc.estimators.clustering import clustering_test
from nnft_mcmc.estimators.generating import cumulant_scaling, generating_functional
from nnft_mcmc.estimators.identities import ACTION_TERMS, Identities, identities
from nnft_mcmc.estimators.lattice_two_point import estimate_time_correlators, estimate_torus_two_point
from nnft_mcmc.estimators.momentum_space import estimate_momentum_n_point, momentum_two_point
from nnft_mcmc.estimators.n_point import estimate_n_point
from nnft_mcmc.estimators.observables import observables
from nnft_mcmc.estimators.parameter_symmetry import absorbed
from nnft_mcmc.estimators.partition_function import log_partition_ratio
from nnft_mcmc.estimators.per_draw import has_virial, modes, pair_weights, per_draw, separations, virial
from nnft_mcmc.estimators.positivity import positivity_test
from nnft_mcmc.estimators.reweighting import reweight
from nnft_mcmc.estimators.series import Observable
from nnft_mcmc.estimators.single_neuron import williams
from nnft_mcmc.estimators.stein_variates import stein_variates
from nnft_mcmc.estimators.symmetry import symmetry_test, symmetry_test_of_fields

__all__ = [
    "ACTION_TERMS",
    "Identities",
    "Observable",
    "absorbed",
    "clustering_test",
    "cumulant_scaling",
    "estimate_momentum_n_point",
    "estimate_n_point",
    "estimate_time_correlators",
    "estimate_torus_two_point",
    "generating_functional",
    "has_virial",
    "identities",
    "log_partition_ratio",
    "modes",
    "momentum_two_point",
    "observables",
    "pair_weights",
    "per_draw",
    "positivity_test",
    "reweight",
    "separations",
    "stein_variates",
    "symmetry_test",
    "symmetry_test_of_fields",
    "virial",
    "williams",
]
