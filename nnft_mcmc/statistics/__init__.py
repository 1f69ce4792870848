"""Means, errors and tests of Markov-chain output; arrays only."""

from nnft_mcmc.statistics.autocorrelation import Estimate, autocovariance, derived, gamma_method
from nnft_mcmc.statistics.comparison import (
    ChiSquared,
    TooFewDraws,
    bonferroni_bound,
    hotelling,
    hotelling_of_independent,
    z_score,
)
from nnft_mcmc.statistics.control_variates import control_coefficients
from nnft_mcmc.statistics.k_statistics import CumulantAccumulator, CumulantEstimate
from nnft_mcmc.statistics.partitions import pairings, set_partitions
from nnft_mcmc.statistics.two_samples import hotelling_two_samples

__all__ = [
    "ChiSquared",
    "CumulantAccumulator",
    "CumulantEstimate",
    "Estimate",
    "TooFewDraws",
    "autocovariance",
    "bonferroni_bound",
    "control_coefficients",
    "derived",
    "gamma_method",
    "hotelling",
    "hotelling_of_independent",
    "hotelling_two_samples",
    "pairings",
    "set_partitions",
    "z_score",
]
