"""Means, errors and tests of Markov-chain output; arrays only."""

from nnft_mcmc.statistics.autocorrelation import Estimate, autocovariance, derived, gamma_method
from nnft_mcmc.statistics.comparison import ChiSquared, TooFewDraws, bonferroni_bound, hotelling, z_score

__all__ = [
    "ChiSquared",
    "Estimate",
    "TooFewDraws",
    "autocovariance",
    "bonferroni_bound",
    "derived",
    "gamma_method",
    "hotelling",
    "z_score",
]
