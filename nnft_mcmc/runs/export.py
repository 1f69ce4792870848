"""`nnft export`: a run as one file."""

from pathlib import Path

from nnft_mcmc import _checks
from nnft_mcmc.runs.store import RunDirectory

FORMATS = ("netcdf",)


def export(run: RunDirectory, to: str, file: Path) -> None:
    """Write the complete draws: `netcdf` opens with `arviz.from_netcdf` and with `xarray.open_datatree`."""
    _checks.one_of("--to", to, FORMATS)
    if file.exists():
        raise _checks.InputError(f"{file} exists; give another --out file, or remove it.")
    if not file.parent.is_dir():
        raise _checks.InputError(f"{file.parent} is not a directory; make it, or give another --out file.")
    manifest = run.manifest()
    tree = run.results()
    tree.attrs.update({"seed": manifest["seed"], "created_by": f"nnft_mcmc {manifest['versions']['nnft_mcmc']}"})
    tree.to_netcdf(file, engine="h5netcdf")
