"""Neuron refresh: Metropolis moves that redraw a block of neurons from its prior.

For phi = sum_i phi_i with independent neurons, propose theta_i' ~ P(theta_i) for the neurons of a block, accept with
probability

    min(1, exp(-[S_int(phi + sum_block (phi_i' - phi_i)) - S_int(phi)])).

The prior cancels from the ratio, so the move needs no gradient and no step size, and heavy-tailed or stiff parameters
cost nothing. A block of B neurons of N changes the field by O((B/N)^1/2), so at large N blocks are accepted as well,
and a sweep over all of them replaces nearly the whole field. One transition of the kernel is one sweep; parameters that
all neurons share are redrawn after it, at fixed neurons, by the same rule.

B is tuned in warm-up towards an acceptance of 0.8 by stochastic approximation of ln B. A chunk of neurons at a time
has its fields computed, old and new; the field carried along the sweep is computed afresh from them at its end, so
that rounding cannot drift, and no array of neurons by sites is kept.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from nnft_mcmc import _checks
from nnft_mcmc.architectures import PlaneWaves, SumOfNeurons
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.field_evaluation import neuron_fields
from nnft_mcmc.sampling._base import Move, MoveSampler, Position

AUTO = "auto"
# Blocks are not larger than a chunk, and the fields of a chunk are this many numbers at most.
LARGEST_CHUNK = 128
CHUNK_NUMBERS = 2**19
# Found by measurement: effective samples per second are flat around it (docs/samplers.md).
TARGET_ACCEPTANCE = 0.8


class RefreshTuning(NamedTuple):
    """`log_block` is the logarithm of the block size, tuned while `warmup_left` > 0.

    `common_acceptance_rate` is None where the neurons share no parameters.
    """

    log_block: Array
    num_tuned: Array
    warmup_left: Array
    acceptance_rate: Array
    common_acceptance_rate: Array | None
    num_not_finite: Array

    @property
    def block(self) -> Array:
        """B."""
        return jnp.round(jnp.exp(self.log_block)).astype(int)

    def statistics(self) -> dict[str, Array]:
        """What the last sweep says of itself."""
        common = {} if self.common_acceptance_rate is None else {"common_acceptance_rate": self.common_acceptance_rate}
        return {
            "acceptance_rate": self.acceptance_rate,
            "num_not_finite": self.num_not_finite,
            "block_size": self.block,
            **common,
        }


class _Sweep(NamedTuple):
    """The field in the middle of a sweep over a chunk, its action, and the verdict on each neuron so far."""

    start: Array
    field: Array
    action: Array
    accepted: Array
    num_not_finite: Array


class RefreshMove(Move):
    """One sweep of block refreshes; `block_size` None is a tuned one."""

    def __init__(self, ensemble: Ensemble, architecture: SumOfNeurons, block_size: int | None = None) -> None:
        self.ensemble, self.architecture, self.block_size = ensemble, architecture, block_size
        width, num_sites = architecture.width, ensemble.lattice.num_sites
        largest = max(1, min(LARGEST_CHUNK, CHUNK_NUMBERS // num_sites, width))
        self.num_chunks = math.ceil(width / largest)
        self.chunk = math.ceil(width / self.num_chunks)

    def init(self, num_warmup: int) -> RefreshTuning:
        one, zero = jnp.ones(()), jnp.zeros((), dtype=int)
        common = one if self.architecture.common else None
        log_block = jnp.log(one if self.block_size is None else self.block_size * one)
        return RefreshTuning(log_block, zero, zero + (num_warmup if self.block_size is None else 0), one, common, zero)

    def move(
        self, position: Position, tuning: RefreshTuning, scale: Array, key: Array
    ) -> tuple[Position, RefreshTuning]:
        key_propose, key_sweep, key_common = jax.random.split(key, 3)
        proposed = self.architecture.sample_parameters(key_propose)
        theta, field, acceptance, not_finite = self.sweep(*position, proposed, tuning.block, scale, key_sweep)
        tuning = tuning._replace(acceptance_rate=acceptance, num_not_finite=not_finite)
        if self.architecture.common:
            theta, field, accept = self.redraw_common(theta, field, proposed, scale, key_common)
            tuning = tuning._replace(common_acceptance_rate=accept)
        return Position(theta, field), self.tuned(tuning)

    def sweep(
        self, theta: dict[str, Array], field: Array, proposed: dict[str, Array], block: Array, scale: Array, key: Array
    ) -> tuple[dict[str, Array], Array, Array, Array]:
        """Parameters and field after a sweep, the share of accepted neurons, and the number of ratios that were NaN."""
        shape, common = self.ensemble.lattice.shape, {name: theta[name] for name in self.architecture.common}
        log_uniform = -jax.random.exponential(key, (self.num_chunks, self.chunk), dtype=field.dtype)
        real = (jnp.arange(self.num_chunks * self.chunk) < self.architecture.width).reshape(log_uniform.shape)

        def action(field: Array) -> Array:
            return scale * self.ensemble.action(field.reshape(shape))

        def fields_of(neurons: dict[str, Array]) -> Array:
            return neuron_fields_of(self.architecture, self.ensemble, {**neurons, **common})

        def of_chunk(
            carry: tuple[Array, Array, Array], chunk: tuple[dict[str, Array], dict[str, Array], Array, Array]
        ) -> tuple[tuple[Array, Array, Array], tuple[Array, Array]]:
            (field, fresh, current), (theirs, other, thresholds, real) = carry, chunk
            # A loop's results are kept in memory; otherwise XLA computes the cosines anew wherever they are used.
            both = jax.tree.map(lambda *pair: jnp.stack(pair), theirs, other)
            old, new = jax.lax.map(fields_of, both)
            changes = jnp.where(real[:, None], new - old, 0.0)
            before = jnp.concatenate([jnp.zeros_like(changes[:1]), jnp.cumsum(changes, axis=0)])

            def refresh(sweep: _Sweep) -> _Sweep:
                start, stop = sweep.start, jnp.minimum(sweep.start + block, self.chunk)
                proposed_field = sweep.field + (before[stop] - before[start])
                proposed_action = action(proposed_field)
                log_ratio = sweep.action - proposed_action
                accept = thresholds[start] < log_ratio  # false for NaN
                numbers = jnp.arange(self.chunk)
                return _Sweep(
                    stop,
                    jnp.where(accept, proposed_field, sweep.field),
                    jnp.where(accept, proposed_action, sweep.action),
                    sweep.accepted | (accept & (numbers >= start) & (numbers < stop)),
                    sweep.num_not_finite + jnp.isnan(log_ratio),
                )

            nothing = jnp.zeros_like(real), jnp.zeros((), dtype=int)
            sweep = _Sweep(jnp.zeros((), dtype=int), field, current, *nothing)
            sweep = jax.lax.while_loop(lambda s: s.start < self.chunk, refresh, sweep)
            fresh = fresh + jnp.dot(real.astype(old.dtype), old) + jnp.dot(sweep.accepted.astype(old.dtype), changes)
            return (sweep.field, fresh, sweep.action), (sweep.accepted, sweep.num_not_finite)

        start = field.reshape(-1), jnp.zeros(field.size, field.dtype), action(field)
        chunks = self._in_chunks(theta), self._in_chunks(proposed), log_uniform, real
        (_, fresh, _), (accepted, not_finite) = jax.lax.scan(of_chunk, start, chunks)
        accepted = accepted.reshape(-1)[: self.architecture.width]

        def choose(new: Array, old: Array) -> Array:
            return jnp.where(accepted.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        neurons = {name: choose(proposed[name], theta[name]) for name in theta if name not in common}
        return {**neurons, **common}, fresh.reshape(shape), accepted.mean(dtype=field.dtype), not_finite.sum()

    def _in_chunks(self, theta: dict[str, Array]) -> dict[str, Array]:
        """The neurons' own parameters, shape (chunks, neurons of a chunk, ...), the last one repeated to fill up."""
        missing = self.num_chunks * self.chunk - self.architecture.width

        def in_chunks(value: Array) -> Array:
            full = jnp.pad(value, ((0, missing), *[(0, 0)] * (value.ndim - 1)), mode="edge") if missing else value
            return full.reshape(self.num_chunks, self.chunk, *value.shape[1:])

        return {name: in_chunks(value) for name, value in theta.items() if name not in self.architecture.common}

    def redraw_common(
        self, theta: dict[str, Array], field: Array, proposed: dict[str, Array], scale: Array, key: Array
    ) -> tuple[dict[str, Array], Array, Array]:
        """The parameters that all neurons share, redrawn from their prior at fixed neurons."""
        moved = {**theta, **{name: proposed[name] for name in self.architecture.common}}
        moved_field = self.ensemble.field(moved)
        log_ratio = scale * (self.ensemble.action(field) - self.ensemble.action(moved_field))
        accept = -jax.random.exponential(key, dtype=field.dtype) < log_ratio
        theta, field = jax.tree.map(lambda new, old: jnp.where(accept, new, old), (moved, moved_field), (theta, field))
        return theta, field, accept.astype(field.dtype)

    def tuned(self, tuning: RefreshTuning) -> RefreshTuning:
        """One more step of the stochastic approximation, if the warm-up lasts."""
        gain = 2.0 / jnp.sqrt(tuning.num_tuned + 1.0)
        moved = tuning.log_block + gain * (tuning.acceptance_rate - TARGET_ACCEPTANCE)
        log_block = jnp.where(tuning.warmup_left > 0, jnp.clip(moved, 0.0, math.log(self.chunk)), tuning.log_block)
        return tuning._replace(
            log_block=log_block.astype(tuning.log_block.dtype),
            num_tuned=tuning.num_tuned + 1,
            warmup_left=jnp.maximum(tuning.warmup_left - 1, 0),
        )


@dataclass(frozen=True, kw_only=True)
class Refresh(MoveSampler):
    """Neuron refresh, for any architecture that is a sum of independent neurons; one transition is one sweep."""

    block_size: int | str = AUTO

    def check_settings(self) -> None:
        check_block_size(self.block_size)

    def move(self, ensemble: Ensemble) -> RefreshMove:
        return RefreshMove(ensemble, sum_of_neurons("refresh", ensemble), fixed_size(self.block_size))


def check_block_size(value: int | str) -> None:
    """Refuse what is neither a size nor "auto"."""
    if value != AUTO:
        _checks.integer("sampler.block_size", value, minimum=1, maximum=LARGEST_CHUNK)


def fixed_size(value: int | str) -> int | None:
    """The size of blocks, None if it is to be tuned."""
    return None if isinstance(value, str) else value


def neuron_fields_of(architecture: SumOfNeurons, ensemble: Ensemble, theta: dict[str, Array]) -> Array:
    """What each neuron adds to the field, shape (neurons, sites)."""
    if isinstance(architecture, PlaneWaves):
        return neuron_fields(architecture.waves(theta), ensemble.lattice)
    return architecture.neurons(theta, jnp.asarray(ensemble.lattice.sites.reshape(-1, ensemble.lattice.dim)))


def sum_of_neurons(sampler: str, ensemble: Ensemble) -> SumOfNeurons:
    """The ensemble's architecture, if neurons can be redrawn one by one."""
    if not isinstance(ensemble.architecture, SumOfNeurons):
        raise _checks.InputError(
            f"sampler.name is {sampler!r}, which redraws neurons one by one, and {type(ensemble.architecture).__name__}"
            " is not a sum of independent neurons; use 'nuts' or 'hmc'."
        )
    return ensemble.architecture
