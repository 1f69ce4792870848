"""`nnft export`: a run as one file.

netcdf      every array of the run; opens with `arviz.from_netcdf` and with `xarray.open_datatree`
pyerrors    the observables, for the analysis package of that name, in its own .json.gz format
"""

import importlib
from collections.abc import Callable
from pathlib import Path

from nnft_mcmc import _checks
from nnft_mcmc.runs.store import RunDirectory


def export(run: RunDirectory, to: str, file: Path) -> None:
    """Write the complete draws to a new file."""
    write = FORMATS[_checks.one_of("--to", to, FORMATS)]
    if file.exists():
        raise _checks.InputError(f"{file} exists; give another --out file, or remove it.")
    if not file.parent.is_dir():
        raise _checks.InputError(f"{file.parent} is not a directory; make it, or give another --out file.")
    write(run, file)


def _netcdf(run: RunDirectory, file: Path) -> None:
    manifest = run.manifest()
    tree = run.results()
    tree.attrs.update({"seed": manifest["seed"], "created_by": f"nnft_mcmc {manifest['versions']['nnft_mcmc']}"})
    tree.to_netcdf(file, engine="h5netcdf")


def _pyerrors(run: RunDirectory, file: Path) -> None:
    try:
        pyerrors_file = importlib.import_module("nnft_mcmc.runs.pyerrors_file")
    except ModuleNotFoundError as error:
        raise _checks.InputError(
            f"--to pyerrors needs the package {error.name}, which is not installed; pip install 'nnft_mcmc[lattice]'."
        ) from None
    pyerrors_file.write(run, file)


FORMATS: dict[str, Callable[[RunDirectory, Path], None]] = {"netcdf": _netcdf, "pyerrors": _pyerrors}
