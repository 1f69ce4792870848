"""ln Z/Z0 from what a sampler that starts at the prior says of each transition.

smc: Z_hat of independent proposals, each an unbiased estimate of Z/Z0:

    ln Z/Z0 = ln <Z_hat>.

tempering: replicas at scales 1 = s_0 > ... > s_{R-1} = 0, with Z(s) the partition function of s S_int,

    ln Z/Z0 = sum_k ln <exp[-(s_k - s_{k+1}) S_int]>_{k+1},      <.>_k at scale s_k.

Both become series whose mean is the estimate, by linear propagation as in `observables`, in which correlations between
replicas and between draws are contained. The logarithm's bias, -error^2/2 for smc, is not taken off.
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from nnft_mcmc.estimators.series import Observable, Series
from nnft_mcmc.statistics.pareto import MINIMUM_TAIL, largest_pareto_k, pareto_k, tail_length


def log_partition_ratio(stats: Mapping[str, Series]) -> Observable | None:
    """ln Z/Z0 from a run's sample_stats (chain, draw, ...), if its sampler tells."""
    if "log_z" in stats:
        log_z = stats["log_z"]
        mean = logsumexp(log_z) - math.log(log_z.size)
        return Observable(_linearised(log_z, mean), note=_warning(log_z.reshape(-1, 1)))
    if "replica_action" in stats:
        scales, actions = stats["replica_scale"], stats["replica_action"]
        log_w = -(scales[..., :-1] - scales[..., 1:]) * actions[..., 1:]
        # Every chain has a ladder of its own, and so means of its own.
        means = logsumexp(log_w, axis=1, keepdims=True) - math.log(log_w.shape[1])
        return Observable(_linearised(log_w, means).sum(axis=-1), note=_warning(log_w.reshape(-1, log_w.shape[-1])))
    return None


def _linearised(log_w: Series, log_mean: Series) -> Series:
    """ln(mean) + w/mean - 1, whose mean is ln(mean)."""
    return log_mean + np.expm1(log_w - log_mean)


def _warning(log_w: NDArray[np.float64]) -> str:
    """What to say of weights (draws, steps) whose mean has no useful error."""
    worst, allowed = max(_tail(column) for column in log_w.T), largest_pareto_k(len(log_w))
    if worst <= allowed:
        return ""
    return (
        f"NOT to be trusted: the weights that are averaged have a heavy tail, Pareto k = {worst:.2f} where"
        f" {allowed:.2f} is allowed; take more steps, particles or replicas, or more draws"
    )


def _tail(log_w: NDArray[np.float64]) -> float:
    """Pareto k of the largest weights; inf where they are too few or not finite."""
    largest = np.sort(log_w)[-tail_length(len(log_w)) - 1 :]
    relative = np.exp(largest - largest[-1])
    if len(largest) <= MINIMUM_TAIL or not np.isfinite(relative).all():
        return math.inf
    return pareto_k(relative)
