"""Chains advanced in compiled chunks.

One function is compiled per run: it makes up to `chunk_length` draws (fewer on demand, so that warm-up, full chunks and
the last chunk share it), each the last of `thinning` transitions, and returns what `collect` takes from each. The state
is a pytree of arrays that can be saved and put back; a chain restored from it continues bit for bit. How many draws a
call makes, and on how many devices, is no part of the program's meaning.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from nnft_mcmc import _checks
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.sampling._base import Position, Sampler
from nnft_mcmc.sampling.devices import Layout, from_first, gather
from nnft_mcmc.sampling.starts import HOT_AND_COLD, hot_and_cold

Collect = Callable[[Position], dict[str, dict[str, Array]]]
Chunk = dict[str, dict[str, np.ndarray]]  # group -> name -> array (chain, draw, ...)


class Chains:
    """`sampler.num_chains` chains on `ensemble`, started from `key`; `collect` is called at each draw of each chain."""

    def __init__(
        self,
        ensemble: Ensemble,
        sampler: Sampler,
        key: Array,
        collect: Collect,
        chunk_length: int,
        layout: Layout | None = None,
    ) -> None:
        self.sampler, self.chunk_length = sampler, _checks.integer("chunk_length", chunk_length, minimum=1)
        self._ensemble, self._kernel = ensemble, sampler.kernel(ensemble)
        self._collect = collect
        self._layout = Layout(1) if layout is None else layout
        self._width = getattr(ensemble.architecture, "width", None)
        self._layout.check(sampler.num_chains, self._width)
        options = self._layout.compiler_options
        keys = np.asarray(jax.random.split(raw_key(key), sampler.num_chains))
        state = jax.jit(self._start, compiler_options=options)(keys)
        self._shardings = self._layout.of_state(state, sampler.num_chains, self._width)
        self.state = jax.device_put(state, self._shardings)
        self._position = sampler.position(ensemble, self._kernel)  # which NumPyro's kernels know once they have started
        self._advance = jax.jit(
            self._layout.by_chains(self._run, self._shardings),
            out_shardings=(self._shardings, self._layout.of_draws()),
            compiler_options=options,
        )

    def _start(self, keys: Array) -> Any:
        initial = None
        if self.sampler.start == HOT_AND_COLD:
            drawn = hot_and_cold(self._ensemble.architecture, jax.vmap(lambda key: jax.random.fold_in(key, 0))(keys))
            initial = jax.vmap(lambda theta: self.sampler.initial(self._ensemble, theta))(drawn)
        state = _strongly_typed(self._kernel.init(keys, self.sampler.num_warmup, initial, (), {}))
        shardings = self._layout.of_state(state, self.sampler.num_chains, self._width)
        return jax.lax.with_sharding_constraint(state, shardings)

    def warm_up(self, num_transitions: int) -> None:
        """Advance by transitions that are not kept; samplers adapt during the first `num_warmup` of them.

        With none, nothing happens but the compilation.
        """
        self.state, _ = self._advance(self.state, num_transitions, jnp.asarray(1))
        jax.block_until_ready(self.state)

    def draw(self, num_draws: int) -> Chunk:
        """The next `num_draws` (at most chunk_length) draws."""
        self.state, kept = self._advance(self.state, num_draws, jnp.asarray(self.sampler.thinning))
        return jax.tree.map(lambda buffer: np.moveaxis(gather(buffer)[:num_draws], 0, 1), kept)

    def _keep(self, state: Any) -> dict[str, dict[str, Array]]:
        def of_one_chain(state: Any) -> dict[str, dict[str, Array]]:
            return {"sample_stats": self.sampler.statistics(state), **self._collect(self._position(state))}

        return jax.vmap(of_one_chain)(state)

    def _run(self, state: Any, num_draws: Array, thinning: Array) -> tuple[Any, Any]:
        shapes = jax.eval_shape(self._keep, state)
        buffers = jax.tree.map(lambda s: jnp.zeros((self.chunk_length, *s.shape), s.dtype), shapes)

        def one_draw(index: Array, carry: tuple[Any, Any]) -> tuple[Any, Any]:
            state, buffers = carry
            state = jax.lax.fori_loop(0, thinning, lambda _, s: self._kernel.sample(s, (), {}), state)
            kept = self._keep(state)
            return state, jax.tree.map(lambda buffer, value: buffer.at[index].set(value), buffers, kept)

        state, buffers = jax.lax.fori_loop(0, num_draws, one_draw, (state, buffers))
        return _strongly_typed(state), buffers

    def leaves(self) -> list[np.ndarray]:
        """The state as arrays."""
        return [gather(leaf) for leaf in jax.tree.leaves(self.state)]

    def restore(self, leaves: list[np.ndarray] | None) -> None:
        """Put back the state that `leaves()` gave; of several processes the first gives it to the others."""
        current, structure = jax.tree.flatten(self.state)
        if leaves is None:
            leaves = [np.zeros(leaf.shape, leaf.dtype) for leaf in current]
        given = [(leaf.shape, leaf.dtype) for leaf in leaves]
        if given != [(leaf.shape, leaf.dtype) for leaf in current]:
            raise _checks.InputError(
                "the saved sampler state does not fit this configuration; resume with the configuration, precision and"
                " package versions the run was started with."
            )
        shardings = jax.tree.leaves(self._shardings)
        put = [self._layout.put(from_first(leaf), sharding) for leaf, sharding in zip(leaves, shardings, strict=True)]
        self.state = jax.tree.unflatten(structure, put)


def chunk_lengths(num_draws: int, chunk_length: int) -> Iterator[int]:
    """num_draws in pieces of chunk_length, the last one shorter."""
    for start in range(0, num_draws, chunk_length):
        yield min(chunk_length, num_draws - start)


def _strongly_typed(state: Any) -> Any:
    """Without weak types, which would make one state another type than the next, and compile everything twice."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype=jnp.asarray(leaf).dtype), state)


def raw_key(key: Array) -> Array:
    """A JAX key as the two integers that can be stored in a file."""
    return jax.random.key_data(key) if jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key) else key
