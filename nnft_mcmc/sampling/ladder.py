"""The ladder of scales between the prior, s = 0, and the deformed density, s = 1: P(theta) exp(-s S_int).

A ladder is good where all its steps are equally hard. How hard a step is, its length l_k >= 0, is measured over rounds
of warm-up transitions, each round twice as long as the one before; after a round the rungs are put at equal parts of
the cumulative length, interpolated linearly. For replica exchange the length is the rejection rate of the swap, whose
sum is nearly independent of the ladder (S. Syed, A. Bouchard-Cote, G. Deligiannidis and A. Doucet, J. R. Stat. Soc. B
84 (2022) 321); for annealing it is the standard deviation of the logarithmic weight, the thermodynamic length. After
warm-up the ladder stays as it is.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

# The first ladder is (k/n)^3: most of what an even power of the field does to P(theta), it does at small scales.
_POWER = 3
_FIRST_ROUND = 8
# A step that never seemed hard keeps this part of the average length, so that no two rungs meet.
_LEAST = 0.02


class Ladder(NamedTuple):
    """Rungs (n + 1,) from 0 to 1; sums over a round of a number x of each step (n,), and of x^2."""

    scales: Float[Array, " rungs"]
    sums: Float[Array, " steps"]
    squares: Float[Array, " steps"]
    num_seen: Array
    round_length: Array
    transition: Array
    num_warmup: Array

    @property
    def frozen(self) -> Array:
        """Whether warm-up is over."""
        return self.transition >= self.num_warmup

    @property
    def mean(self) -> Float[Array, " steps"]:
        """Mean of x over the round."""
        return self.sums / self.num_seen

    @property
    def deviation(self) -> Float[Array, " steps"]:
        """Standard deviation of x over the round."""
        return jnp.sqrt(jnp.maximum(self.squares / self.num_seen - self.mean**2, 0))


def start(num_steps: int, num_warmup: int) -> Ladder:
    """The first ladder."""
    zero, none = jnp.zeros(num_steps), jnp.zeros((), dtype=int)
    return Ladder(
        jnp.linspace(0, 1, num_steps + 1) ** _POWER, zero, zero, none, none + _FIRST_ROUND, none, none + num_warmup
    )


def observed(ladder: Ladder, x: Float[Array, "steps ..."]) -> Ladder:
    """The ladder after one more transition, in which each step gave the numbers x, averaged over further axes."""
    values = x.reshape(len(x), -1)
    return ladder._replace(
        sums=ladder.sums + values.mean(axis=1),
        squares=ladder.squares + (values**2).mean(axis=1),
        num_seen=ladder.num_seen + 1,
        transition=ladder.transition + 1,
    )


def renewed(ladder: Ladder, lengths: Float[Array, " steps"]) -> Ladder:
    """At the end of a round of warm-up: rungs at equal lengths, and an empty round of twice the length."""
    full = ladder.num_seen >= ladder.round_length
    last = (ladder.transition == ladder.num_warmup) & (2 * ladder.num_seen >= ladder.round_length)
    ends = (ladder.transition <= ladder.num_warmup) & (full | last)
    zero = jnp.zeros_like(ladder.sums)
    return Ladder(
        jnp.where(ends, equalised(ladder.scales, lengths), ladder.scales),
        jnp.where(ends, zero, ladder.sums),
        jnp.where(ends, zero, ladder.squares),
        jnp.where(ends, 0, ladder.num_seen),
        jnp.where(ends, 2 * ladder.round_length, ladder.round_length),
        ladder.transition,
        ladder.num_warmup,
    )


def equalised(scales: Float[Array, " rungs"], lengths: Float[Array, " steps"]) -> Float[Array, " rungs"]:
    """Rungs at equal parts of the cumulative length; one that is not finite is as long as the others together."""
    finite = jnp.isfinite(lengths)
    others = jnp.where(finite, lengths, 0)
    lengths = jnp.where(finite, lengths, 1 + others.sum())
    floor = _LEAST * lengths.mean() + jnp.finfo(lengths.dtype).tiny
    cumulative = jnp.append(0.0, jnp.cumsum(lengths + floor))
    fractions = cumulative / cumulative[-1]
    inner = jnp.interp(jnp.linspace(0, 1, len(scales)), fractions, scales)
    return inner.at[0].set(0).at[-1].set(1)
