"""`nnft measure`: observables of a run with autocorrelated errors, tau_int, ESS and R-hat."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from nnft_mcmc.estimators import Observable, observables
from nnft_mcmc.estimators.partition_function import log_partition_ratio
from nnft_mcmc.runs.store import RunDirectory
from nnft_mcmc.statistics import Estimate, gamma_method

with warnings.catch_warnings():
    # ArviZ 0.23 announces its own refactoring on import, which no user of this package can act on.
    warnings.simplefilter("ignore", FutureWarning)
    import arviz


@dataclass(frozen=True)
class Measurement:
    """An observable with its estimate and rank-normalised split R-hat, entry by entry."""

    observable: Observable
    estimate: Estimate
    rhat: np.ndarray

    def table(self) -> dict[str, Any]:
        """What `nnft measure --json` prints of it; lists beside `coords` for an array."""
        e = self.estimate
        numbers = {"value": e.value, "error": e.error, "tau_int": e.tau_int, "ess": e.ess, "rhat": self.rhat}
        table: dict[str, Any] = {name: plain(value) for name, value in numbers.items()}
        if self.observable.coords is not None:
            table["coords"] = plain(self.observable.coords)
        if self.observable.note:
            table["note"] = self.observable.note
        return table


def measure(run: RunDirectory) -> dict[str, Measurement]:
    """Every observable of the run's complete draws, and ln Z/Z0 where the sampler tells."""
    arrays = run.arrays("observables", "sample_stats")
    found = observables(arrays["observables"], run.config().ensemble.lattice)
    ratio = log_partition_ratio(arrays["sample_stats"])
    if ratio is not None:
        found["log_partition_ratio"] = ratio
    return {name: Measurement(o, gamma_method(o.series), rhat(o.series)) for name, o in found.items()}


def rhat(series: np.ndarray) -> np.ndarray:
    """Rank-normalised split R-hat (Vehtari et al., arXiv:1903.08008) of series (chain, draw, ...); NaN where undefined.

    Each chain is split in halves, so one chain suffices; a constant series has none.
    """
    return _arviz(arviz.rhat, series)


def bulk_and_tail_ess(series: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rank-normalised effective sample sizes of the bulk and of the tails (same source)."""
    return _arviz(arviz.ess, series, method="bulk"), _arviz(arviz.ess, series, method="tail")


def _arviz(function: Any, series: np.ndarray, **options: Any) -> np.ndarray:
    halves = series.shape[1] // 2
    split = np.concatenate([series[:, :halves], series[:, halves : 2 * halves]], axis=0)
    if halves < 4:
        return np.full(series.shape[2:], np.nan)
    moving = np.isfinite(split).all(axis=(0, 1)) & (np.ptp(split, axis=(0, 1)) > 0)
    dims = ("chain", "draw", *(f"dim_{k}" for k in range(series.ndim - 2)))
    data = xr.Dataset(
        {"series": (dims, np.where(moving, series, np.arange(series.shape[1]).reshape(-1, *[1] * moving.ndim)))}
    )
    return np.where(moving, np.asarray(function(data, **options)["series"]), np.nan)


def plain(value: Any) -> Any:
    """Numbers and lists for JSON; what is not finite becomes null."""
    if isinstance(value, np.ndarray) and value.ndim:
        return [plain(item) for item in value]
    number = float(value)
    return number if np.isfinite(number) else None
