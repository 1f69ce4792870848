"""`nnft extrapolate DIR`: the limit of a sweep in width, cut-off, spacing or volume, observable by observable.

    entry of the configuration     x                       powers by default
    architecture.width             1/N                     1, 2
    architecture.cutoff            1/cutoff                1, 2
    lattice.spacing                a                       2, 4
    lattice.shape                  exp(-rate T)            1, 2      T the extent in time, rate given

Every point of a sweep is a run of its own, so errors are independent and the fits of `statistics.extrapolation` apply.
What the limit removes is the bias y(x) - y(0); what it does not remove, and makes larger, is the error.

Width: the expansion of a network's correlators is one in its excess kurtosis kappa = R/N, not in 1/N (the ratio R grows
with the cut-off for alpha = -1). Points with kappa above LARGEST_KURTOSIS are left out.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnft_mcmc import _checks
from nnft_mcmc.architectures import ExactCorrelators
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.runs.measure import measure, plain
from nnft_mcmc.runs.store import RunDirectory
from nnft_mcmc.runs.sweep import read_description
from nnft_mcmc.statistics.extrapolation import Limit, Unsupported, extrapolate

LARGEST_KURTOSIS = 1.0
TARGET_BIAS = 0.01
WIDTH, CUTOFF, SPACING, SHAPE = "architecture.width", "architecture.cutoff", "lattice.spacing", "lattice.shape"
POWERS = {WIDTH: (1.0, 2.0), CUTOFF: (1.0, 2.0), SPACING: (2.0, 4.0), SHAPE: (1.0, 2.0)}
SYMBOLS = {WIDTH: "1/N", CUTOFF: "1/cutoff", SPACING: "a", SHAPE: "exp(-rate T)"}


@dataclass(frozen=True)
class Point:
    """A run of the series: the value of the varied entry, its x, and the excess kurtosis, NaN where not known."""

    name: str
    setting: Any
    x: float
    kurtosis: float


@dataclass(frozen=True)
class Outcome:
    """Of one number: `values` and `errors` (P,) at the points, and the limit or the reason why there is none."""

    name: str
    coordinate: float | None
    values: np.ndarray
    errors: np.ndarray
    limit: Limit | None
    refusal: str


@dataclass(frozen=True)
class Series:
    """Points that differ in the entry `key` alone, or in what varies together with it; `fixed` is the rest."""

    key: str
    fixed: Mapping[str, Any]
    points: tuple[Point, ...]
    left_out: tuple[str, ...]
    powers: tuple[float, ...]
    outcomes: tuple[Outcome, ...]

    @property
    def symbol(self) -> str:
        """What x is."""
        return SYMBOLS[self.key]

    @property
    def x(self) -> np.ndarray:
        """Of the points."""
        return np.array([point.x for point in self.points])


def extrapolate_sweep(
    directory: Path,
    names: Sequence[str] = (),
    key: str | None = None,
    powers: Sequence[float] | None = None,
    rate: float | None = None,
) -> list[Series]:
    """The limits of the observables `names`, by default all scalar ones, of each series of a sweep.

    key: the entry that goes to its limit; rate: of the approach to infinite volume, in 1/length.
    """
    described = read_description(directory / "sweep.json")
    chosen = _key(described["over"], key)
    x_of = _abscissa(chosen, rate)
    found: dict[str, tuple[dict[str, Any], list[tuple[Any, RunDirectory]]]] = {}
    together = next(group for group in described["over"] if chosen in group)
    for point in described["points"]:
        fixed = {k: value for k, value in point["settings"].items() if k not in together and k != "run.seed"}
        series = found.setdefault(json.dumps(fixed), (fixed, []))[1]
        series.append((point["settings"][chosen], RunDirectory(directory / point["name"])))
    powers = POWERS[chosen] if powers is None else tuple(powers)
    return [_series(chosen, fixed, runs, names, powers, x_of) for fixed, runs in found.values()]


def _key(over: Sequence[Mapping[str, Any]], key: str | None) -> str:
    varied = [k for group in over for k in group]
    known = [k for k in varied if k in POWERS]
    if key is not None:
        return _checks.one_of("--in", key, known)
    if not known:
        raise _checks.InputError(
            f"the sweep varies {', '.join(varied)}; a limit is taken of {', '.join(POWERS)}: make a sweep over one."
        )
    return known[0]


def _abscissa(key: str, rate: float | None) -> Any:
    """Function from the varied value and its configuration's ensemble to x."""
    if key == SHAPE:
        if rate is None:
            raise _checks.InputError(
                "--rate is missing; a series in volume needs the rate m of exp(-m T), in 1/length: on a torus the mass,"
                " in a box half the gap to the next even state."
            )
        m = _checks.positive("--rate", rate)
        return lambda value, ensemble: math.exp(-m * ensemble.lattice.shape[0] * ensemble.lattice.spacing)
    if rate is not None:
        raise _checks.InputError(f"--rate is {rate:g} and the series is in {key}; leave it out.")
    if key == SPACING:
        return lambda value, ensemble: float(value)
    return lambda value, ensemble: 1.0 / float(value)


def _series(
    key: str,
    fixed: Mapping[str, Any],
    runs: Sequence[tuple[Any, RunDirectory]],
    names: Sequence[str],
    powers: tuple[float, ...],
    x_of: Any,
) -> Series:
    points, tables, left_out = [], [], []
    for value, run in runs:
        if not run.exists or not run.manifest()["draws"]:
            left_out.append(f"{run.path.name}: no draws yet")
            continue
        ensemble = run.config().ensemble
        point = Point(run.path.name, value, x_of(value, ensemble), excess_kurtosis(ensemble))
        if key == WIDTH and point.kurtosis > LARGEST_KURTOSIS:
            left_out.append(
                f"{point.name}: its excess kurtosis is {point.kurtosis:.2g}, beyond an expansion in 1/N, which needs"
                f" {LARGEST_KURTOSIS:g} or less"
            )
            continue
        points.append(point)
        tables.append(measure(run))
    outcomes: list[Outcome] = []
    if points:
        known = [name for name in tables[0] if all(name in table for table in tables)]
        wanted = [_checks.one_of("--observable", name, known) for name in names] if names else known
        for name in wanted:
            estimates = [table[name].estimate for table in tables]
            coords = [table[name].observable.coords for table in tables]
            if coords[0] is None:
                value, error = (np.array([getattr(e, which) for e in estimates]) for which in ("value", "error"))
                outcomes.append(_outcome(name, None, points, value, error, powers))
            elif names:
                outcomes += _entries(name, coords, estimates, points, powers)
    return Series(key, fixed, tuple(points), tuple(left_out), powers, tuple(outcomes))


def _entries(
    name: str, coords: list[Any], estimates: list[Any], points: list[Point], powers: tuple[float, ...]
) -> list[Outcome]:
    """One outcome for each coordinate that all points have."""
    shared = [c for c in coords[0] if all(np.isclose(c, other).any() for other in coords)]
    found = []
    for c in shared:
        at = [int(np.argmin(np.abs(other - c))) for other in coords]
        value, error = (
            np.array([getattr(e, which)[k] for e, k in zip(estimates, at, strict=True)]) for which in ("value", "error")
        )
        found.append(_outcome(name, float(c), points, value, error, powers))
    return found


def _outcome(
    name: str,
    coordinate: float | None,
    points: list[Point],
    value: np.ndarray,
    error: np.ndarray,
    powers: tuple[float, ...],
) -> Outcome:
    try:
        limit = extrapolate([point.x for point in points], value, error, powers)
    except Unsupported as refused:
        return Outcome(name, coordinate, value, error, None, str(refused))
    return Outcome(name, coordinate, value, error, limit, "")


def excess_kurtosis(ensemble: Ensemble) -> float:
    """kappa of phi(0) in the free ensemble; NaN where it is not known."""
    architecture = ensemble.architecture
    if not isinstance(architecture, ExactCorrelators):
        return math.nan
    origin = ensemble.lattice.sites[ensemble.lattice.centre]
    try:
        gc4 = float(architecture.four_point_connected(*[origin] * 4))
    except _checks.InputError:  # it diverges
        return math.nan
    return gc4 / float(architecture.two_point(origin, origin)) ** 2


def smallest_for(limit: Limit, x: np.ndarray, part: float = TARGET_BIAS) -> float:
    """The x at which the bias is `part` of the limit; NaN where the bias is not known to two errors there."""
    grid = np.geomspace(x.min() * 1e-4, x.max() * 10, 4000)
    bias, error = limit.bias(grid)
    beyond = np.flatnonzero(np.abs(bias) > part * abs(limit.value))
    if not beyond.size or abs(bias[beyond[0]]) < 2 * error[beyond[0]]:
        return math.nan
    return float(grid[beyond[0]])


def as_json(found: Sequence[Series]) -> dict[str, Any]:
    """What `nnft extrapolate --json` prints."""
    return {"series": [_series_json(series) for series in found]}


def _series_json(series: Series) -> dict[str, Any]:
    points = [
        {"name": p.name, "setting": p.setting, "x": p.x, "excess_kurtosis": plain(p.kurtosis)} for p in series.points
    ]
    return {
        "entry": series.key,
        "x": series.symbol,
        "fixed": dict(series.fixed),
        "powers": list(series.powers),
        "points": points,
        "left_out": list(series.left_out),
        "observables": [_outcome_json(outcome, series.x) for outcome in series.outcomes],
    }


def _outcome_json(outcome: Outcome, x: np.ndarray) -> dict[str, Any]:
    table: dict[str, Any] = {"name": outcome.name, "values": plain(outcome.values), "errors": plain(outcome.errors)}
    if outcome.coordinate is not None:
        table["coordinate"] = outcome.coordinate
    limit = outcome.limit
    if limit is None:
        return {**table, "refused": outcome.refusal}
    bias, bias_error = limit.bias(x)
    models = [
        {"powers": list(f.powers), "largest_x": f.largest, "limit": plain(f.coefficients[0]), "chi2": f.chi2}
        | {"dof": f.dof, "p_value": plain(f.p_value), "weight": f.weight}
        for f in limit.fits
    ]
    return {
        **table,
        "limit": limit.value,
        "error": limit.error,
        "stat_error": limit.stat_error,
        "model_error": limit.model_error,
        "bias": plain(bias),
        "bias_error": plain(bias_error),
        "x_of_one_percent_bias": plain(smallest_for(limit, x)),
        "models": models,
    }
