"""The run directory: a Zarr store that grows while sampling, a checkpoint, and a small JSON manifest.

    RUN/config.toml       the resolved configuration
    RUN/manifest.json     kind, seed, versions, and how many draws are complete
    RUN/data.zarr         groups posterior, sample_stats, observables; arrays (chain, draw, ...)
    RUN/checkpoint.npz    state of the chains after the last complete chunk
    RUN/plots/            what `nnft compare` and `nnft diagnose` draw

Every file is written beside its place, flushed to the disk and renamed: at every instant the old or the new one is
there, whole, and a loss of power loses neither. A chunk counts once its checkpoint is in place; then the manifest is
renewed. Draws in the store beyond the checkpoint are what was being written when the process died: resuming drops them
and samples them again, bit for bit. Readers look at the complete draws of the manifest only.
"""

import asyncio
import fcntl
import importlib.metadata
import json
import os
import platform
import shutil
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import xarray as xr
import zarr
from zarr.codecs import ZstdCodec
from zarr.core.buffer import Buffer
from zarr.storage import LocalStore

from nnft_mcmc import _checks
from nnft_mcmc.lattice import Lattice
from nnft_mcmc.runs import config as configuration
from nnft_mcmc.runs.results import dims_of, label
from nnft_mcmc.sampling import Chunk

FORMAT = 1
PACKAGES = ("nnft_mcmc", "jax", "jaxlib", "numpyro", "numpy", "xarray", "arviz", "zarr")
KINDS = ("sample", "draw")

# Size of the files of an array. The last one is written anew at each append until it is full.
FILE_BYTES = 2**20
# How many arrays are appended to at a time.
WRITERS = 3


@dataclass(frozen=True)
class Checkpoint:
    """How far the chains have come, and their state there."""

    warmup: int
    draws: int
    leaves: list[np.ndarray]


class DurableStore(LocalStore):
    """A local Zarr store whose writes survive a loss of power."""

    async def set(self, key: str, value: Buffer) -> None:
        """Write one file."""
        data = value.as_buffer_like()
        await asyncio.to_thread(replace_file, self.root / key, lambda file: file.write(data))


class RunDirectory:
    """A directory that holds, or will hold, one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def plots(self) -> Path:
        """Folder of the plots, made on demand."""
        folder = self.path / "plots"
        folder.mkdir(exist_ok=True)
        return folder

    @property
    def exists(self) -> bool:
        """Whether a run is here."""
        return (self.path / "manifest.json").exists()

    def check_free(self) -> None:
        """Refuse a directory that is not new or empty."""
        if self.exists:
            raise _checks.InputError(
                f"{self.path} already holds a run; continue it with --resume, or give another --out directory."
            )
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise _checks.InputError(f"{self.path} exists and is not an empty directory; give another --out directory.")

    def create(self, config: configuration.Config, kind: str) -> None:
        """Begin a run; the directory must be new or empty."""
        self.check_free()
        versions = {name: importlib.metadata.version(name) for name in PACKAGES}
        manifest = {
            "format": FORMAT,
            "kind": kind,
            "seed": config.run.seed,
            "versions": {"python": platform.python_version(), **versions},
            "num_chains": config.sampler.num_chains,
            "num_samples": config.sampler.num_samples,
            "draws": 0,
            "complete": False,
            "stopped_by": None,
            "seconds": 0.0,
        }
        # Made beside its place and moved there whole, so that a run that is there at all can be resumed.
        beginning = RunDirectory(self.path.parent / f".{self.path.name}.{uuid.uuid4().hex}")
        try:
            beginning.path.mkdir(parents=True)
            (beginning.path / "config.toml").write_text(tomli_w.dumps(config.tables), encoding="utf-8")
            beginning.write_manifest(manifest)
            beginning.path.rename(self.path)
        except OSError as error:
            shutil.rmtree(beginning.path, ignore_errors=True)
            raise _checks.InputError(
                f"cannot make the run directory {self.path}: {error.strerror}; give another --out directory."
            ) from None

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep every other process from writing this run."""
        with open(self.path / "lock", "w", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _checks.InputError(
                    f"another process is writing the run {self.path}; wait for it to end, or give another --out"
                    " directory."
                ) from None
            yield

    def manifest(self) -> dict[str, Any]:
        """The manifest; an error says what is wrong with a directory that has none."""
        try:
            manifest = json.loads((self.path / "manifest.json").read_text(encoding="utf-8"))
        except OSError:
            raise _checks.InputError(
                f"{self.path} holds no run; give a directory written by nnft sample or nnft draw."
            ) from None
        except json.JSONDecodeError:
            raise _checks.InputError(
                f"{self.path}/manifest.json is damaged; restore it from a copy of the run."
            ) from None
        if not isinstance(manifest, dict):
            raise _checks.InputError(f"{self.path}/manifest.json is damaged; restore it from a copy of the run.")
        if manifest.get("format") != FORMAT:
            raise _checks.InputError(
                f"{self.path} has the run format {manifest.get('format')!r} and this version reads {FORMAT}; use the"
                f" version of nnft_mcmc it was written with, {manifest.get('versions', {}).get('nnft_mcmc')!r}."
            )
        return manifest

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replace the manifest in one step."""
        replace_file(self.path / "manifest.json", lambda file: file.write(json.dumps(manifest, indent=2).encode()))

    def lengthen(self, config: configuration.Config) -> None:
        """Ask for the draws of `config`, the run's own but for a larger number of them."""
        text = tomli_w.dumps(config.tables).encode()
        replace_file(self.path / "config.toml", lambda file: file.write(text))

    def config(self) -> configuration.Config:
        """The configuration the run was made with."""
        return configuration.load(self.path / "config.toml")

    def checkpoint(self) -> Checkpoint | None:
        """The last checkpoint, if the run has come to one."""
        file = self.path / "checkpoint.npz"
        if not file.exists():
            return None
        try:
            with np.load(file) as saved:
                leaves = [saved[f"leaf_{k}"] for k in range(len(saved.files) - 2)]
                return Checkpoint(int(saved["warmup"]), int(saved["draws"]), leaves)
        except (zipfile.BadZipFile, ValueError, EOFError, KeyError):
            raise _checks.InputError(f"{file} is damaged; restore it from a copy of the run.") from None

    def write_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint in one step."""
        leaves = {f"leaf_{k}": leaf for k, leaf in enumerate(checkpoint.leaves)}
        content: dict[str, Any] = {"warmup": np.array(checkpoint.warmup), "draws": np.array(checkpoint.draws), **leaves}
        replace_file(self.path / "checkpoint.npz", lambda file: np.savez(file, **content))

    @property
    def _data(self) -> Path:
        return self.path / "data.zarr"

    def append(self, chunk: Chunk, lattice: Lattice) -> None:
        """Add a chunk of draws to the arrays, making them at the first."""
        root = zarr.open_group(DurableStore(self._data), mode="a")
        named = {f"{group}/{name}": values for group, members in chunk.items() for name, values in members.items()}
        for key, values in named.items():
            if key not in root:
                group, _, name = key.partition("/")
                chains, _, *rest = values.shape
                bytes_per_draw = max(1, values.itemsize * values[:, 0].size)
                root.create_array(
                    key,
                    shape=(chains, 0, *rest),
                    chunks=(chains, max(1, FILE_BYTES // bytes_per_draw), *rest),
                    dtype=values.dtype,
                    compressors=ZstdCodec(checksum=True),  # a damaged file is noticed
                    fill_value=np.nan if np.issubdtype(values.dtype, np.floating) else 0,  # and so is a lost one
                    dimension_names=dims_of(group, name, values.ndim, lattice),
                )
        # The disk flushes several files together in little more time than one; more of them at once take memory.
        with zarr.config.set({"async.concurrency": 2}), ThreadPoolExecutor(WRITERS) as pool:
            for appended in [pool.submit(root[key].append, values, axis=1) for key, values in named.items()]:
                appended.result()

    def truncate(self, num_draws: int) -> None:
        """Drop all draws beyond the first `num_draws`; an error where there are not so many."""
        if num_draws == 0:
            shutil.rmtree(self._data, ignore_errors=True)
            return
        for left in self._data.rglob("*.new"):  # what a killed process was writing
            left.unlink()
        for _, group in zarr.open_group(DurableStore(self._data), mode="a").groups():
            for name, array in group.arrays():
                if array.shape[1] < num_draws:
                    raise _checks.InputError(
                        f"{self._data} holds {array.shape[1]} draws of {name} and the checkpoint counts {num_draws};"
                        " restore the run from a copy."
                    )
                self._read(array, num_draws - 1, num_draws)
                if array.shape[1] > num_draws:
                    array.resize((array.shape[0], num_draws, *array.shape[2:]))

    def _read(self, array: zarr.Array, start: int, stop: int) -> np.ndarray:
        try:
            return np.asarray(array[:, start:stop])
        except (RuntimeError, ValueError) as error:  # what the decoder says of damaged data
            raise _checks.InputError(
                f"{self._data}/{array.path} is damaged ({error}); restore the run from a copy."
            ) from None

    def arrays(self, *groups: str) -> Chunk:
        """The complete draws of the given groups, or of all, by group and name."""
        draws = self.manifest()["draws"]
        if draws == 0:
            raise _checks.InputError(f"{self.path} has no complete draws yet; let it run longer, or resume it.")
        root = zarr.open_group(self._data, mode="r")
        return {
            group: {name: self._read(array, 0, draws) for name, array in members.arrays()}
            for group, members in root.groups()
            if not groups or group in groups
        }

    def results(self) -> xr.DataTree:
        """The complete draws, labelled."""
        return label(self.arrays(), self.config().ensemble.lattice)


def replace_file(path: Path, write: Callable[[Any], object]) -> None:
    """Write a file so that at every instant the old or the new one is there, whole, and on the disk when this ends."""
    _make_folder(path.parent)
    temporary = path.with_name(path.name + ".new")
    with open(temporary, "wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    _flush_folder(path.parent)


def _make_folder(path: Path) -> None:
    if not path.is_dir():
        _make_folder(path.parent)
        path.mkdir(exist_ok=True)
        _flush_folder(path.parent)


def _flush_folder(path: Path) -> None:
    """Have the names in a folder on the disk."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
