"""The run directory: a Zarr store that grows while sampling, a checkpoint, and a small JSON manifest.

    RUN/config.toml       the resolved configuration
    RUN/manifest.json     kind, seed, versions, and how many draws are complete
    RUN/data.zarr         groups posterior, sample_stats, observables; arrays (chain, draw, ...)
    RUN/checkpoint.npz    state of the chains after the last complete chunk
    RUN/plots/            what `nnft compare` and `nnft diagnose` draw

A chunk counts once its checkpoint, written beside the old one and renamed over it, is in place; then the manifest is
renewed likewise. Draws in the store beyond the checkpoint are what was being written when the process died: resuming
drops them and samples them again, bit for bit. Readers look at the complete draws of the manifest only.
"""

import fcntl
import importlib.metadata
import json
import os
import platform
import shutil
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import xarray as xr
import zarr

from nnft_mcmc import _checks
from nnft_mcmc.lattice import Lattice
from nnft_mcmc.runs import config as configuration
from nnft_mcmc.runs.results import dims_of, label
from nnft_mcmc.sampling import Chunk

FORMAT = 1
PACKAGES = ("nnft_mcmc", "jax", "jaxlib", "numpyro", "numpy", "xarray", "arviz", "zarr")
KINDS = ("sample", "draw")


@dataclass(frozen=True)
class Checkpoint:
    """How far the chains have come, and their state there."""

    warmup: int
    draws: int
    leaves: list[np.ndarray]


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
        _replace(self.path / "manifest.json", lambda file: file.write(json.dumps(manifest, indent=2).encode()))

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
        _replace(self.path / "checkpoint.npz", lambda file: np.savez(file, **content))

    def append(self, chunk: Chunk, lattice: Lattice, chunk_length: int) -> None:
        """Add a chunk of draws to the arrays, making them at the first."""
        root = zarr.open_group(self.path / "data.zarr", mode="a")
        for group, members in chunk.items():
            for name, values in members.items():
                key = f"{group}/{name}"
                if key not in root:
                    chains, _, *rest = values.shape
                    root.create_array(
                        key,
                        shape=(chains, 0, *rest),
                        chunks=(chains, chunk_length, *rest),
                        dtype=values.dtype,
                        dimension_names=dims_of(group, name, values.ndim, lattice),
                    )
                root[key].append(values, axis=1)

    def truncate(self, num_draws: int) -> None:
        """Drop all draws beyond the first `num_draws`."""
        store = self.path / "data.zarr"
        if num_draws == 0:
            shutil.rmtree(store, ignore_errors=True)
        elif store.exists():
            for _, group in zarr.open_group(store, mode="a").groups():
                for _, array in group.arrays():
                    array.resize((array.shape[0], num_draws, *array.shape[2:]))

    def arrays(self, *groups: str) -> Chunk:
        """The complete draws of the given groups, or of all, by group and name."""
        draws = self.manifest()["draws"]
        if draws == 0:
            raise _checks.InputError(f"{self.path} has no complete draws yet; let it run longer, or resume it.")
        root = zarr.open_group(self.path / "data.zarr", mode="r")
        return {
            group: {name: np.asarray(array[:, :draws]) for name, array in members.arrays()}
            for group, members in root.groups()
            if not groups or group in groups
        }

    def results(self) -> xr.DataTree:
        """The complete draws, labelled."""
        return label(self.arrays(), self.config().ensemble.lattice)


def _replace(path: Path, write: Callable[[Any], object]) -> None:
    """Write a file so that at every instant the old or the new one is there, whole."""
    temporary = path.with_name(path.name + ".new")
    with open(temporary, "wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
