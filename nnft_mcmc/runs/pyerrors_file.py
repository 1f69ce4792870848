"""A run for pyerrors (F. Joswig et al., Comput. Phys. Commun. 288 (2023) 108750): its observables as Obs and Corr.

    observables = pyerrors.input.json.load_json_dict(FILE)

is a dictionary: scalars are `Obs`, functions of t are `Corr`, with the entries that are undefined left out. The
ensemble has the name of the run and its chains are the replica "RUN|chain0", "RUN|chain1", ...; all observables are
defined on the same draws, so that pyerrors knows their correlations. Derived ones carry their linearised fluctuations.
pyerrors takes fluctuations about the mean of each replicum, this package about the mean of all chains: errors differ by
relative order tau_int/(draws per chain), and by more only where chains disagree.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nnft_mcmc import _checks
from nnft_mcmc.estimators import Observable
from nnft_mcmc.runs.measure import measure
from nnft_mcmc.runs.store import RunDirectory

with warnings.catch_warnings():
    # pyerrors 2.17 imports scipy.odr, which announces its removal; no user of this package can act on that.
    warnings.simplefilter("ignore", DeprecationWarning)
    import pyerrors

SUFFIX = ".json.gz"
MINIMUM_DRAWS = 5  # of a chain, for pyerrors


def write(run: RunDirectory, file: Path) -> None:
    """Write the observables of a run; `file` must end in .json.gz, which pyerrors insists on."""
    if not file.name.endswith(SUFFIX):
        raise _checks.InputError(f"--out is {file}; a file for pyerrors must end in {SUFFIX}.")
    found = measure(run)
    draws = found["phi2"].observable.series.shape[1]
    if draws < MINIMUM_DRAWS:
        raise _checks.InputError(f"{run.path} has {draws} draws per chain; pyerrors needs {MINIMUM_DRAWS} or more.")
    ensemble = run.path.resolve().name.replace("|", "_")  # the bar separates ensemble and replicum
    structures = {name: _structure(m.observable, name, ensemble) for name, m in found.items()}
    described = {
        "run": ensemble,
        "coords": {
            name: np.asarray(m.observable.coords).tolist() for name, m in found.items() if _is_array(m.observable)
        },
        "undefined": {name: [r for r in m.reasons if r] for name, m in found.items() if any(m.reasons)},
        "created_by": f"nnft_mcmc {run.manifest()['versions']['nnft_mcmc']}",
    }
    defined = {name: structure for name, structure in structures.items() if structure is not None}
    pyerrors.input.json.dump_dict_to_json(defined, str(file), description=described, indent=0)


def _is_array(observable: Observable) -> bool:
    return observable.coords is not None


def _structure(observable: Observable, name: str, ensemble: str) -> pyerrors.Obs | pyerrors.Corr | None:
    """An Obs, or a Corr; None where nothing is defined."""
    if not _is_array(observable):
        return _obs(observable.series, name, ensemble)
    entries = list(_entries(observable.series, name, ensemble))
    if not any(entry is not None for entry in entries):
        return None
    correlator = pyerrors.Corr(entries)
    correlator.tag = [name]
    return correlator


def _entries(series: np.ndarray, name: str, ensemble: str) -> Iterator[pyerrors.Obs | None]:
    for k in range(series.shape[-1]):
        yield _obs(series[..., k], name, ensemble)


def _obs(series: np.ndarray, name: str, ensemble: str) -> pyerrors.Obs | None:
    """One Obs of series (chain, draw); None where it is not finite."""
    if not np.isfinite(series).all():
        return None
    obs = pyerrors.Obs(list(series), [f"{ensemble}|chain{k}" for k in range(len(series))])
    obs.tag = name
    return obs
