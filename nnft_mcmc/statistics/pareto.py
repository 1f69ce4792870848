"""How heavy the upper tail of a set of weights is: the shape k of a generalised Pareto distribution fitted to it.

    P(w > u + x) ~ (1 + k x/sigma)^(-1/k):   moments of order 1/k and above do not exist.

Weights that are bounded have every moment, and yet a sample that has not come near the bound looks like one of k > 1/2
and behaves so: its mean has no useful error. Source: J. Zhang and M. A. Stephens, Technometrics 51 (2009) 316, for the
fit; A. Vehtari et al., JMLR 25 (2024) 72, arXiv:1507.02646, for its use, the length of the tail, the prior on k and the
largest k at which a mean of a given number of weights can be believed.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnft_mcmc._checks import InputError

FloatArray = NDArray[np.float64]

# Fewer weights than this have no tail to speak of.
MINIMUM_TAIL = 5


def tail_length(num_weights: int) -> int:
    """How many of the largest weights make the tail."""
    return math.ceil(min(num_weights / 5, 3 * math.sqrt(num_weights)))


def largest_pareto_k(num_weights: int) -> float:
    """The largest k at which the mean of this many weights, and its error, can be believed."""
    return min(1 - 1 / math.log10(max(num_weights, 2)), 0.7)


def pareto_k(largest: ArrayLike) -> float:
    """k of the tail above a threshold; `largest` holds the weights of the tail and, as its smallest, the threshold.

    -inf where the tail is one value, which is the lightest that there is.
    """
    weights = np.sort(np.asarray(largest, dtype=np.float64))
    if len(weights) <= MINIMUM_TAIL or not np.isfinite(weights).all():
        raise InputError(
            f"largest holds {len(weights)} weights; it must be more than {MINIMUM_TAIL} finite numbers; draw more."
        )
    excess = weights[1:] - weights[0]
    scale = excess[-1]
    if not scale > np.finfo(np.float64).eps * weights[-1] or excess[0] == scale:
        return -math.inf
    excess = np.maximum(excess / scale, np.finfo(np.float64).tiny)
    n = len(excess)
    # The profile likelihood of theta = -k/sigma, averaged over a grid of it; a prior of ten weights at k = 1/2.
    grid = 30 + math.isqrt(n)
    quartile = excess[int(n / 4 + 0.5) - 1]
    theta = 1 / excess[-1] + (1 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))) / (3 * quartile)
    k = np.array([np.log1p(-t * excess).mean() for t in theta])
    profile = n * (np.log(-theta / k) - k - 1)
    posterior = np.exp(profile - profile.max())
    mean_theta = float(theta @ posterior / posterior.sum())
    shape = float(np.log1p(-mean_theta * excess).mean())
    return (n * shape + 5) / (n + 10)
