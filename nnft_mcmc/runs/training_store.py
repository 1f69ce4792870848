"""The directory of `nnft train --out`: the trained networks, chunk by chunk, and what is made of them at the end.

    DIR/config.toml             the resolved configuration
    DIR/training.json           chunk length, seed and versions
    DIR/networks/0000000.npz    trajectories of the networks from that number on, one file for each chunk
    DIR/trajectories.nc         phi_t and losses of all networks, and the correlators, labelled; opens with xarray
    DIR/results.json            what `nnft train --json` prints
    DIR/plots/                  bands and losses

A file is there whole or not at all, so that a killed training loses the chunk in hand and no other. Resuming trains the
networks whose files are missing; the number of networks may have grown.
"""

import hashlib
import importlib.metadata
import json
import platform
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import xarray as xr

from nnft_mcmc import _checks
from nnft_mcmc.dynamics.data import Data
from nnft_mcmc.dynamics.training import Trajectories
from nnft_mcmc.runs.config import changed_keys, read_tables
from nnft_mcmc.runs.store import PACKAGES, RunDirectory, replace_file

FORMAT = 1
MAY_GROW = "training.num_networks"


class TrainingDirectory:
    """A directory that holds, or will hold, one training."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = RunDirectory(path).lock

    @property
    def plots(self) -> Path:
        """Folder of the plots, made on demand."""
        folder = self.path / "plots"
        folder.mkdir(exist_ok=True)
        return folder

    def begin(self, tables: dict[str, Any], data: Data, chunk: int, resume: bool) -> int:
        """Make the directory, or check that it is of the same training; the length of its chunks."""
        manifest = self.path / "training.json"
        if resume and manifest.exists():
            return self._go_on(tables, data)
        if resume:
            raise _checks.InputError(f"{self.path} holds no training to resume; leave --resume out.")
        if manifest.exists():
            raise _checks.InputError(
                f"{self.path} already holds a training; give --resume, or another --out directory."
            )
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise _checks.InputError(f"{self.path} exists and is not an empty directory; give another --out directory.")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _checks.InputError(
                f"cannot make the directory {self.path}: {error.strerror}; give another --out directory."
            ) from None
        versions = {name: importlib.metadata.version(name) for name in (*PACKAGES, "optax", "diffrax")}
        content = {
            "format": FORMAT,
            "chunk": chunk,
            "data": _digest(data),
            "versions": {"python": platform.python_version(), **versions},
        }
        self._write("config.toml", tomli_w.dumps(tables))
        self._write("training.json", json.dumps(content, indent=2))  # last: with it the training counts as begun
        return chunk

    def _go_on(self, tables: dict[str, Any], data: Data) -> int:
        before = read_tables(self.path / "config.toml")
        changed = [key for key in changed_keys(tables, before) if key != MAY_GROW]
        if changed:
            raise _checks.InputError(
                f"the configuration differs from that of the training {self.path} in {', '.join(changed)}; it resumes"
                f" with the configuration it was started with, of which only {MAY_GROW} may change."
            )
        try:
            content = json.loads((self.path / "training.json").read_text(encoding="utf-8"))
            chunk, digest = _checks.integer("chunk", content["chunk"], minimum=1), content["data"]
        except (json.JSONDecodeError, KeyError, TypeError, _checks.InputError):
            raise _checks.InputError(f"{self.path}/training.json is damaged; restore it from a copy.") from None
        if digest != _digest(data):
            raise _checks.InputError(
                f"the numbers in data.file are not those with which the training {self.path} was started; restore the"
                " file, or give another --out directory."
            )
        self._write("config.toml", tomli_w.dumps(tables))
        return chunk

    def load(self, first: int, count: int) -> Trajectories | None:
        """The networks from `first` on, if so many are stored."""
        file = self._file(first)
        if not file.exists():
            return None
        try:
            with np.load(file) as saved:
                arrays = {name: saved[name] for name in saved.files}
            found = Trajectories(
                **{name: arrays[name] for name in ("times", "points", "fields", "losses")},
                parameters={n[6:]: v for n, v in arrays.items() if n.startswith("theta/")},
                more={n[5:]: v for n, v in arrays.items() if n.startswith("more/")},
            )
        except (zipfile.BadZipFile, ValueError, EOFError, KeyError):
            raise _checks.InputError(f"{file} is damaged; remove it, and --resume trains its networks again.") from None
        return found if len(found) == count else None

    def save(self, first: int, found: Trajectories) -> None:
        """Write a chunk in one step."""
        content: dict[str, Any] = {
            **{name: getattr(found, name) for name in ("times", "points", "fields", "losses")},
            **{f"theta/{name}": values for name, values in found.parameters.items()},
            **{f"more/{name}": values for name, values in found.more.items()},
        }
        replace_file(self._file(first), lambda file: np.savez(file, **content))

    def write_results(self, results: dict[str, Any]) -> None:
        """Write results.json."""
        self._write("results.json", json.dumps(results, indent=1))

    def write_dataset(self, dataset: xr.Dataset) -> None:
        """Write trajectories.nc in one step."""
        content = dataset.to_netcdf(engine="h5netcdf")
        replace_file(self.path / "trajectories.nc", lambda file: file.write(content))

    def _file(self, first: int) -> Path:
        return self.path / "networks" / f"{first:07d}.npz"

    def _write(self, name: str, text: str) -> None:
        replace_file(self.path / name, lambda file: file.write(text.encode()))


def _digest(data: Data) -> str:
    """Of all numbers of the data."""
    test = np.zeros(0) if data.test_inputs is None else data.test_inputs
    return hashlib.sha256(b"".join(array.tobytes() for array in (data.inputs, data.targets, test))).hexdigest()
