"""Running a configuration into a run directory, chunk by chunk, with a progress bar.

Of several processes all make the draws and the first alone reads, writes and prints.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from nnft_mcmc import _checks
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.runs.config import Config, changed_keys
from nnft_mcmc.runs.results import chunk_length, collector
from nnft_mcmc.runs.stopping import TIME_LIMIT, Pace, StopRequest
from nnft_mcmc.runs.store import Checkpoint, RunDirectory
from nnft_mcmc.sampling import Chains, PriorDraws, Sampler
from nnft_mcmc.sampling.devices import Layout, by_first, everyone, from_first, is_first

# The one key in which a run may differ from the configuration it resumes with, if it grows.
LENGTH = "sampler.num_samples"


def theory(config: Config, kind: str) -> tuple[Ensemble, Sampler]:
    """What a run of this kind samples, and how: `draw` draws the undeformed ensemble."""
    if kind == "sample":
        return config.ensemble, config.sampler
    s = config.sampler
    return config.ensemble.undeformed(), PriorDraws(num_chains=s.num_chains, num_warmup=0, num_samples=s.num_samples)


def run(
    config: Config,
    path: Path,
    kind: str = "sample",
    resume: bool = False,
    quiet: bool = False,
    layout: Layout | None = None,
    stop: StopRequest | None = None,
) -> RunDirectory:
    """Run `config` into the directory `path`; with `resume`, go on from its last checkpoint.

    `layout` says which devices the chains lie on (one, where it is None). Where `stop` asks for it the run ends early:
    its manifest is then not `complete`, and it can be resumed.
    """
    directory = RunDirectory(path)
    by_first(lambda: _check_same_run(directory, config, kind) if resume else directory.check_free())
    chains = _chains(config, kind, layout)  # what cannot be started leaves no directory behind
    if not resume:
        by_first(lambda: directory.create(config, kind))
    with ExitStack() as held:
        by_first(lambda: held.enter_context(directory.lock()))
        by_first(lambda: directory.lengthen(config) if resume else None)
        _Progress(config, directory, chains, stop or StopRequest(), quiet).run()
    return directory


def _chains(config: Config, kind: str, layout: Layout | None) -> Chains:
    ensemble, sampler = theory(config, kind)
    length, collect = chunk_length(ensemble, sampler, config.run.store), collector(ensemble, config.run.store)
    try:
        return Chains(ensemble, sampler, jax.random.key(config.run.seed), collect, length, layout)
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise _checks.InputError(
            f"{sampler.num_chains} chains of this ensemble do not fit in memory; lower architecture.width,"
            " lattice.shape or sampler.num_chains."
        ) from None


def _check_same_run(directory: RunDirectory, config: Config, kind: str) -> None:
    if directory.manifest()["kind"] != kind:
        raise _checks.InputError(
            f"{directory.path} was made by nnft {directory.manifest()['kind']}; resume it with that."
        )
    before = directory.config()
    changed = [key for key in changed_keys(config.tables, before.tables) if key != LENGTH]
    if changed:
        raise _checks.InputError(
            f"the configuration differs from that of the run {directory.path} in {', '.join(changed)}; a run resumes"
            f" with the configuration it was started with, of which only {LENGTH} may grow."
        )
    if config.sampler.num_samples < before.sampler.num_samples:
        raise _checks.InputError(
            f"{LENGTH} is {config.sampler.num_samples} and the run {directory.path} was asked for"
            f" {before.sampler.num_samples}; a run can grow but not shrink."
        )


class _Progress:
    """How far a run has come, here and in its directory."""

    def __init__(self, config: Config, directory: RunDirectory, chains: Chains, stop: StopRequest, quiet: bool) -> None:
        self.directory, self.chains, self.stop = directory, chains, stop
        self.sampler, self.lattice = chains.sampler, config.ensemble.lattice
        self.pace = Pace(stop.deadline)
        self.silent = quiet or not is_first()
        self.warmup = self.draws = 0
        self.began = time.monotonic()
        self.manifest: dict[str, Any] = {}

    def run(self) -> None:
        """Make the draws that are missing, or as many as there is time for."""
        self._restore()
        if self.draws < self.sampler.num_samples:
            self.chains.warm_up(0)  # compiles
        total = self.sampler.num_warmup + self.sampler.num_samples
        with tqdm(total=total, initial=self.warmup + self.draws, disable=self.silent, unit="draw", smoothing=0) as bar:
            bar.set_description("warm-up")
            for number in self._chunks(self.sampler.num_warmup - self.warmup, 1):
                self.chains.warm_up(number)
                self.warmup += number
                self._save()
                bar.update(number)
            bar.set_description("sampling")
            if self.warmup == self.sampler.num_warmup:
                for number in self._chunks(self.sampler.num_samples - self.draws, self.sampler.thinning):
                    chunk = self.chains.draw(number)
                    self.draws += number
                    by_first(partial(self.directory.append, chunk, self.lattice))
                    self._save()
                    rate = chunk["sample_stats"]["acceptance_rate"].mean()
                    bar.set_postfix(acceptance=f"{rate:.3f}", refresh=False)
                    bar.update(number)
                    del chunk  # before the next is made
        by_first(self._write_manifest)

    def _restore(self) -> None:
        checkpoint = by_first(self.directory.checkpoint)
        found = [0, 0, 0] if checkpoint is None else [1, checkpoint.warmup, checkpoint.draws]
        some, self.warmup, self.draws = from_first(np.array(found)).tolist()
        if some:
            self.chains.restore(None if checkpoint is None else checkpoint.leaves)
        by_first(lambda: self.directory.truncate(self.draws))
        self.manifest = by_first(self.directory.manifest) or {"seconds": 0.0}
        by_first(self._write_manifest)  # the process may have died after the checkpoint and before the manifest

    def _chunks(self, missing: int, thinning: int) -> Iterator[int]:
        """Lengths of chunks until none is missing or the run has to stop, the same in all processes."""
        while missing > 0:
            number = self._next(missing, thinning)
            if number == 0:
                return
            start = time.monotonic()
            yield number
            self.pace.record(number * thinning, time.monotonic() - start)
            missing -= number

    def _next(self, missing: int, thinning: int) -> int:
        affordable = self.pace.transitions()
        number = min(missing, self.chains.chunk_length, max(min(affordable, 1), affordable // thinning))
        told = everyone([number, self.stop.cause is not None])
        if told[:, 1].any():
            self.stop.cause = self.stop.cause or "a signal to another process"
            return 0
        if told[0, 0] == 0:
            self.stop.cause = TIME_LIMIT
        return int(told[0, 0])

    def _save(self) -> None:
        leaves = self.chains.leaves()
        by_first(lambda: self.directory.write_checkpoint(Checkpoint(self.warmup, self.draws, leaves)))
        by_first(self._write_manifest)

    def _write_manifest(self) -> None:
        seconds = self.manifest["seconds"] + time.monotonic() - self.began
        complete = self.draws == self.sampler.num_samples
        self.directory.write_manifest(
            {
                **self.manifest,
                "num_samples": self.sampler.num_samples,
                "draws": self.draws,
                "complete": complete,
                "stopped_by": None if complete else self.stop.cause,
                "seconds": round(seconds, 3),
            }
        )
