"""The deformed ensemble from independent draws of the undeformed one, by reweighting.

    <O> = <O w>_0 / <w>_0,    Z/Z0 = <w>_0,    w = exp(-S_int[phi_theta]),    <.>_0 over P(theta).

Draw i has the key fold_in(key, i) and belongs to block i mod B. What is kept of the draws are the sums of w, w^2 and
w O over each block, with w divided by its largest value so far so that nothing overflows, and the largest weights.

Errors are those of a ratio to first order: with r = (sum w O)/(sum w) the blocks

    r_b = r + B [sum_b w O - r sum_b w] / sum w,      mean r, error = their standard deviation / B^(1/2),

are independent numbers, of which functions of several means follow as in `observables`. The bias of r is smaller than
its error by a factor of order ESS^(1/2), with Kish's effective sample size ESS = (sum w)^2 / sum w^2, and

    ln Z/Z0 = ln(mean of w),    error^2 = 1/ESS - 1/num_draws,    bias = - error^2/2.

Reweighting fails silently: where P(theta) hardly overlaps with the deformed density, the draws that matter are missing
and the rest agree among each other. `Weights.verdict` says when not to believe it. Reference for the reweighting of
lattice fields: A. M. Ferrenberg and R. H. Swendsen, Phys. Rev. Lett. 61 (1988) 2635.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray

from nnft_mcmc import _checks
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.estimators.observables import moments, of_moments
from nnft_mcmc.estimators.per_draw import per_draw
from nnft_mcmc.estimators.series import Observable
from nnft_mcmc.estimators.streaming import MEMORY, Progress
from nnft_mcmc.field_evaluation import bytes_of
from nnft_mcmc.statistics.pareto import MINIMUM_TAIL, largest_pareto_k, pareto_k, tail_length

FloatArray = NDArray[np.float64]

NUM_BLOCKS = 128
MINIMUM_DRAWS = 1000
# Below this many effective draws the error itself is not known.
MINIMUM_ESS = 400
# A result that hangs on one draw is no average.
LARGEST_SHARE = 0.05
_ROUNDS = 64  # at most this many draws of each block in one batch
_MOST_DRAWS = 2**31


@dataclass(frozen=True)
class Weights:
    """What the weights say about themselves; `share` is that of the largest, `num_not_finite` were left out."""

    num_draws: int
    ess: float
    share: float
    pareto_k: float
    num_not_finite: int

    @property
    def objections(self) -> list[str]:
        """Why the estimates are not to be trusted; empty where they are."""
        largest_k = largest_pareto_k(self.num_draws)
        tests = {
            f"{self.num_not_finite} draws have no finite weight": self.num_not_finite > 0,
            f"the effective sample size is {self.ess:.3g} of {self.num_draws} draws, required are {MINIMUM_ESS}": not (
                self.ess >= MINIMUM_ESS
            ),
            f"one draw has {self.share:.1%} of the weight, allowed are {LARGEST_SHARE:.0%}": not (
                self.share <= LARGEST_SHARE
            ),
            f"the tail of the weights has Pareto k = {self.pareto_k:.2f}, allowed is {largest_k:.2f}": not (
                self.pareto_k <= largest_k
            ),
        }
        return [reason for reason, holds in tests.items() if holds]

    @property
    def trusted(self) -> bool:
        """Whether the free ensemble overlaps enough with the deformed one."""
        return not self.objections

    @property
    def verdict(self) -> str:
        """The judgement in words."""
        if self.trusted:
            return (
                f"The weights can be trusted: {self.ess:.0f} effective draws of {self.num_draws}"
                f" ({self.ess / self.num_draws:.1%}), the largest weight {self.share:.2g} of all."
            )
        return (
            f"These numbers are NOT to be trusted: {'; '.join(self.objections)}. Draw more, or sample the deformed"
            " density with nnft sample."
        )


@dataclass(frozen=True)
class Reweighted:
    """Observables as series (1, block, ...) of independent numbers; `log_partition_ratio` is ln Z/Z0."""

    observables: dict[str, Observable]
    log_partition_ratio: float
    log_partition_ratio_error: float
    weights: Weights

    @property
    def log_partition_ratio_bias(self) -> float:
        """The bias of ln Z/Z0 to leading order, not taken off."""
        return -(self.log_partition_ratio_error**2) / 2

    def estimate(self, name: str) -> tuple[FloatArray, FloatArray]:
        """Value and error of an observable, entry by entry."""
        blocks = self.observables[name].series[0]
        return blocks.mean(axis=0), blocks.std(axis=0, ddof=1) / math.sqrt(len(blocks))


@dataclass(frozen=True)
class _Sums:
    """Sums over draws relative to exp(shift): `w2` of w^2, `blocks` of w and of w O over each block.

    largest: ln of the largest weights, ascending.
    """

    shift: float
    w2: float
    blocks: dict[str, FloatArray]
    largest: FloatArray
    num_not_finite: int

    def __add__(self, other: "_Sums") -> "_Sums":
        shift = max(self.shift, other.shift)
        a, b = (np.exp(s.shift - shift) if np.isfinite(s.shift) else 0.0 for s in (self, other))
        blocks = {name: a * sums + b * other.blocks[name] for name, sums in self.blocks.items()}
        largest = np.sort(np.append(self.largest, other.largest))[-len(other.largest) :]
        return _Sums(
            shift, a**2 * self.w2 + b**2 * other.w2, blocks, largest, self.num_not_finite + other.num_not_finite
        )


def reweight(
    ensemble: Ensemble, key: Array, num_draws: int, at_once: int | None = None, progress: Progress | None = None
) -> Reweighted:
    """Observables of `ensemble` from `num_draws` draws without its insertion.

    at_once: networks held at the same time, of which the result depends by rounding only; None: what MEMORY allows.
    """
    num_draws = _checks.integer("num_draws", num_draws, MINIMUM_DRAWS, _MOST_DRAWS)
    size, batch = _batches(ensemble, key, num_draws, at_once)
    total = batch(0)
    for first in range(size, num_draws, size):
        if progress is not None:
            progress(size)
        total = total + batch(first)
    if progress is not None:
        progress(num_draws - (num_draws - 1) // size * size)
    return _result(total, num_draws, ensemble)


def _batches(ensemble: Ensemble, key: Array, num_draws: int, at_once: int | None) -> tuple[int, Callable[[int], _Sums]]:
    """The size of a batch, and the sums over the one that starts at a given draw."""
    observe, lattice = per_draw(ensemble), ensemble.lattice

    def one(index: Array) -> tuple[Array, dict[str, Array]]:
        theta = ensemble.architecture.sample_parameters(jax.random.fold_in(key, index))
        field = ensemble.field(theta)
        return -ensemble.action(field), moments(observe(theta, field), lattice)

    first_index = jnp.zeros((), dtype=jnp.uint32)
    limit = MEMORY // bytes_of(one, first_index) if at_once is None else _checks.integer("at_once", at_once, 1)
    numbers = sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(one, first_index)))
    rounds = max(1, min(_ROUNDS, MEMORY // (16 * NUM_BLOCKS * numbers), -(-num_draws // NUM_BLOCKS)))
    size = rounds * NUM_BLOCKS
    tail = tail_length(num_draws) + 1

    @jax.jit
    def sums(first: Array) -> tuple[Array, Array, dict[str, Array], Array, Array]:
        index = first + jnp.arange(size, dtype=jnp.uint32)
        log_w, drawn = jax.lax.map(one, index, batch_size=min(max(1, limit), size))
        exists, finite = index < num_draws, log_w < jnp.inf  # false for NaN
        log_w = jnp.where(exists & finite, log_w, -jnp.inf)
        shift = jnp.max(log_w)
        w = jnp.where(log_w > -jnp.inf, jnp.exp(log_w - shift), 0)

        def over_blocks(values: Array) -> Array:
            shaped = w.reshape(-1, *[1] * (values.ndim - 1))
            weighted = jnp.where(shaped > 0, shaped * values, 0)  # a field that overflows has no weight
            return weighted.reshape(rounds, NUM_BLOCKS, *values.shape[1:]).sum(axis=0)

        blocks = {"weight": over_blocks(jnp.ones_like(w)), **jax.tree.map(over_blocks, drawn)}
        largest = jax.lax.top_k(log_w, min(tail, size))[0]
        return shift, jnp.sum(w**2), blocks, largest, jnp.sum(exists & ~finite)

    def batch(first: int) -> _Sums:
        shift, w2, blocks, largest, bad = sums(jnp.asarray(first, dtype=jnp.uint32))
        host = {name: np.asarray(block, dtype=np.float64) for name, block in blocks.items()}
        padded = np.full(tail, -np.inf)
        padded[: len(largest)] = largest
        return _Sums(float(shift), float(w2), host, np.sort(padded), int(bad))

    return size, batch


def _result(total: _Sums, num_draws: int, ensemble: Ensemble) -> Reweighted:
    sums = dict(total.blocks)
    w = sums.pop("weight")
    if not w.sum() > 0:
        raise _checks.InputError(
            "no draw of the undeformed ensemble has a weight above zero, so there is nothing to reweight; lower the"
            " coupling, or use nnft sample."
        )
    series = {}
    for name, blocks in sums.items():
        ratio = blocks.sum(axis=0) / w.sum()
        deviation = blocks - np.multiply.outer(w, ratio)
        series[name] = (ratio + len(w) * deviation / w.sum())[None]
    tail = np.exp(total.largest - total.shift)
    ess = w.sum() ** 2 / total.w2
    tail = tail[tail > 0]
    shape = pareto_k(tail) if len(tail) > MINIMUM_TAIL else math.inf
    weights = Weights(num_draws, float(ess), float(tail[-1] / w.sum()), shape, total.num_not_finite)
    return Reweighted(
        observables=of_moments(series, ensemble.lattice),
        log_partition_ratio=total.shift + math.log(w.sum() / num_draws),
        log_partition_ratio_error=math.sqrt(max(0.0, 1 / ess - 1 / num_draws)),
        weights=weights,
    )
