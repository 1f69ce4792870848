"""Running a configuration into a run directory, chunk by chunk, with a progress bar."""

import time
from pathlib import Path

import jax
from tqdm import tqdm

from nnft_mcmc import _checks
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.runs.config import Config, changed_keys
from nnft_mcmc.runs.results import chunk_length, collector
from nnft_mcmc.runs.store import Checkpoint, RunDirectory
from nnft_mcmc.sampling import Chains, PriorDraws, Sampler, chunk_lengths


def theory(config: Config, kind: str) -> tuple[Ensemble, Sampler]:
    """What a run of this kind samples, and how: `draw` draws the undeformed ensemble."""
    if kind == "sample":
        return config.ensemble, config.sampler
    s = config.sampler
    return config.ensemble.undeformed(), PriorDraws(num_chains=s.num_chains, num_warmup=0, num_samples=s.num_samples)


def run(config: Config, path: Path, kind: str = "sample", resume: bool = False, quiet: bool = False) -> RunDirectory:
    """Run `config` into the directory `path`; with `resume`, go on from its last checkpoint."""
    directory = RunDirectory(path)
    if resume:
        _check_same_run(directory, config, kind)
    else:
        directory.check_free()
    chains = _chains(config, kind)  # what cannot be started leaves no directory behind
    if not resume:
        directory.create(config, kind)
    with directory.lock():
        _run(config, directory, chains, quiet)
    return directory


def _chains(config: Config, kind: str) -> Chains:
    ensemble, sampler = theory(config, kind)
    length, collect = chunk_length(ensemble, sampler, config.run.store), collector(ensemble, config.run.store)
    try:
        return Chains(ensemble, sampler, jax.random.key(config.run.seed), collect, length)
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
    changed = changed_keys(config.tables, directory.config().tables)
    if changed:
        raise _checks.InputError(
            f"the configuration differs from that of the run {directory.path} in {', '.join(changed)}; a run resumes"
            " with the configuration it was started with."
        )


def _run(config: Config, directory: RunDirectory, chains: Chains, quiet: bool) -> None:
    sampler, length, lattice = chains.sampler, chains.chunk_length, config.ensemble.lattice
    manifest, began = directory.manifest(), time.monotonic()
    checkpoint = directory.checkpoint()
    if checkpoint is not None:
        chains.restore(checkpoint.leaves)
    warmup, draws = (checkpoint.warmup, checkpoint.draws) if checkpoint is not None else (0, 0)
    directory.truncate(draws)
    if draws != manifest["draws"]:  # the process died after the checkpoint and before the manifest
        directory.write_manifest({**manifest, "draws": draws})
    total = sampler.num_warmup + sampler.num_samples
    with tqdm(total=total, initial=warmup + draws, disable=quiet, unit="draw", smoothing=0) as bar:
        bar.set_description("warm-up")
        for number in chunk_lengths(sampler.num_warmup - warmup, length):
            chains.warm_up(number)
            warmup += number
            directory.write_checkpoint(Checkpoint(warmup, 0, chains.leaves()))
            bar.update(number)
        bar.set_description("sampling")
        for number in chunk_lengths(sampler.num_samples - draws, length):
            chunk = chains.draw(number)
            directory.append(chunk, lattice, length)
            draws += number
            directory.write_checkpoint(Checkpoint(warmup, draws, chains.leaves()))
            seconds = manifest["seconds"] + time.monotonic() - began
            directory.write_manifest({**manifest, "draws": draws, "seconds": round(seconds, 3)})
            bar.set_postfix(acceptance=f"{chunk['sample_stats']['acceptance_rate'].mean():.3f}", refresh=False)
            bar.update(number)
