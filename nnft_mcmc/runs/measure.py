"""`nnft measure`: observables of a run with autocorrelated errors, tau_int, ESS and R-hat.

An error of chains shorter than MINIMUM_TAU_INTS tau_int (tau_int = 1/2 at least) is not known: it is NaN, with a
reason. So is what the draws leave undefined.
"""

import math
import warnings
from dataclasses import dataclass, replace
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


MINIMUM_TAU_INTS = 50  # draws per chain in units of tau_int, below which tau_int itself is not known


@dataclass(frozen=True)
class Measurement:
    """An observable with its estimate and rank-normalised split R-hat, entry by entry.

    reasons: why a number of an entry is NaN, "" where none is; one for each entry, a scalar has one.
    """

    observable: Observable
    estimate: Estimate
    rhat: np.ndarray
    reasons: tuple[str, ...]

    def table(self) -> dict[str, Any]:
        """What `nnft measure --json` prints of it; lists beside `coords` for an array."""
        e = self.estimate
        numbers = {"value": e.value, "error": e.error, "tau_int": e.tau_int, "ess": e.ess, "rhat": self.rhat}
        table: dict[str, Any] = {name: plain(value) for name, value in numbers.items()}
        if self.observable.coords is not None:
            table["coords"] = plain(self.observable.coords)
        if self.observable.note:
            table["note"] = self.observable.note
        if any(self.reasons):
            listed = [reason or None for reason in self.reasons]
            table["reason"] = listed[0] if self.observable.coords is None else listed
        return table


def measure(run: RunDirectory) -> dict[str, Measurement]:
    """Every observable of the run's complete draws, and ln Z/Z0 where the sampler tells."""
    arrays = run.arrays("observables", "sample_stats")
    found = observables(arrays["observables"], run.config().ensemble.lattice)
    ratio = log_partition_ratio(arrays["sample_stats"])
    if ratio is not None:
        found["log_partition_ratio"] = ratio
    return {name: measurement(o) for name, o in found.items()}


def measurement(observable: Observable) -> Measurement:
    """An observable with its numbers, those that the draws do not support taken out."""
    raw = gamma_method(observable.series)
    draws_per_chain = observable.series.shape[1]
    # False where tau_int is undefined: there is no error then either.
    short = np.asarray(draws_per_chain < MINIMUM_TAU_INTS * np.maximum(raw.tau_int, 0.5))
    estimate = replace(raw, error=np.where(short, np.nan, raw.error)[()])
    given = observable.reasons or ("",) * max(1, raw.value.size)
    reasons = tuple(
        reason or _why(value, error, tau_int, too_few, draws_per_chain)
        for reason, value, error, tau_int, too_few in zip(
            given, raw.value.ravel(), raw.error.ravel(), raw.tau_int.ravel(), short.ravel(), strict=True
        )
    )
    return Measurement(observable, estimate, rhat(observable.series), reasons)


def _why(value: float, error: float, tau_int: float, short: bool, draws_per_chain: int) -> str:
    if not math.isfinite(value):
        return "a draw is not finite"
    if not math.isfinite(error):
        return "no draw differs from another: a constant, or a sampler that is stuck"
    if not short:
        return ""
    needed = math.ceil(MINIMUM_TAU_INTS * max(tau_int, 0.5))
    return (
        f"{draws_per_chain} draws per chain are fewer than {MINIMUM_TAU_INTS} tau_int = {needed}, so the error is not"
        f" known; take {needed - draws_per_chain} draws more at least, or thin more"
    )


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
