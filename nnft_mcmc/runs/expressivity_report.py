"""Tables, JSON, data and the plot of `nnft expressivity`."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnft_mcmc.expressivity.curves import Curve, Point, Rate
from nnft_mcmc.runs.expressivity import Study
from nnft_mcmc.runs.report import table, with_error

COLOURS = ("#1f5fa8", "#c2571a", "#2d7f46", "#7a4fa3", "#8a6d1f", "#b03060", "#3a8c94", "#555555")
MARKERS = {"random_features": "o", "training": "s", "construction": "^", "fourier_sampling": "D"}
NORMS = {"rms": "L2 error (root mean square)", "sup": "sup-norm of the error"}


def name_of(curve: Curve) -> str:
    """As in the table and in the plot."""
    return f"{curve.label}, {curve.method.replace('_', ' ')}"


def text(study: Study) -> str:
    """A table of errors and one of rates."""
    headers = ["network, method", "width", "parameters", "rms error", "sup error", "rank", "condition", "predicted"]
    rows = [row for curve in study.curves for row in _rows(curve)]
    rates = [[name_of(c), *(_rate(c.rate(norm)) for norm in NORMS), _floor(c.floor)] for c in study.curves]
    reasons = [
        f"No rate of {name_of(c)}, {norm}: {rate.reason}"
        for c in study.curves
        for norm, rate in ((norm, c.rate(norm)) for norm in NORMS)
        if rate.reason
    ]
    box = "samples" if study.problem.target is None else _box(study)
    checks = [f"Violated: {breach}." for breach in study.breaches]
    return "\n".join(
        [
            f"Target {study.problem.name}, {box}. Errors: geometric mean over draws with its standard error; of Fourier"
            " sampling the root of the mean square.",
            table(headers, rows),
            "",
            table(["error ~ width^s", "s of rms", "s of sup", "L2 floor"], rates),
            *reasons,
            *checks,
        ]
    )


def _box(study: Study) -> str:
    of = study.problem.target
    sides = [] if of is None else [f"[{a:.4g}, {b:.4g}]" for a, b in zip(of.lower, of.upper, strict=True)]
    return " x ".join(sides)


def _rows(curve: Curve) -> list[list[str]]:
    summaries = [curve.summary(norm) for norm in NORMS]
    return [
        [
            name_of(curve),
            str(point.width),
            str(point.num_parameters),
            *(_value(float(values[k]), float(errors[k])) for values, errors in summaries),
            f"{np.median(point.ranks):g}" if point.ranks.size else "",
            f"{np.median(point.conditions):.1e}" if point.conditions.size else "",
            _predicted(point),
        ]
        for k, point in enumerate(curve.points)
    ]


def _value(value: float, error: float) -> str:
    return f"{value:.3e}" if np.isnan(error) else f"{value:.3e} ± {error:.1e}"


def _predicted(point: Point) -> str:
    if np.isfinite(point.bound):
        return f"sup <= {point.bound:.3e}"
    return f"rms = {point.predicted:.3e}" if np.isfinite(point.predicted) else ""


def _floor(floor: float) -> str:
    return f"{floor:.6g}" if floor else ""


def _rate(rate: Rate) -> str:
    return "none" if rate.reason else with_error(rate.value, rate.error)


def as_json(study: Study) -> dict[str, Any]:
    """What `--json` prints; what is undefined is null."""
    return {
        "target": study.problem.name,
        "curves": [
            {
                "label": curve.label,
                "method": curve.method,
                "floor": curve.floor or None,
                "rates": {norm: _json_rate(curve.rate(norm)) for norm in NORMS},
                "points": [_json_point(curve, k) for k in range(len(curve.points))],
            }
            for curve in study.curves
        ],
        "breaches": list(study.breaches),
    }


def _json_rate(rate: Rate) -> dict[str, Any]:
    return {"value": _number(rate.value), "error": _number(rate.error), "reason": rate.reason}


def _json_point(curve: Curve, k: int) -> dict[str, Any]:
    point = curve.points[k]
    errors = {}
    for norm in NORMS:
        values, spread = curve.summary(norm)
        errors[norm] = {"value": _number(values[k]), "error": _number(spread[k])}
    return {
        "width": point.width,
        "num_parameters": point.num_parameters,
        **errors,
        "rank": _number(np.median(point.ranks)) if point.ranks.size else None,
        "condition": _number(np.median(point.conditions)) if point.conditions.size else None,
        "bound": _number(point.bound),
        "predicted_rms": _number(point.predicted),
    }


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def write_data(study: Study, path: Path) -> Path:
    """errors.csv: one line for each draw."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["label,method,width,num_parameters,draw,rms,sup,bound,predicted_rms,floor"]
    for curve in study.curves:
        for point in curve.points:
            ends = f"{point.bound!r},{point.predicted!r},{curve.floor!r}"
            lines += [
                f'"{curve.label}",{curve.method},{point.width},{point.num_parameters},{draw},{float(rms)!r},{float(sup)!r},{ends}'
                for draw, (rms, sup) in enumerate(zip(point.rms, point.sup, strict=True))
            ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def plot(study: Study, path: Path) -> Path:
    """Both errors against width, and the first against the number of parameters, as PNG."""
    figure = Figure(figsize=(13.0, 4.8), layout="constrained")
    axes = np.asarray(figure.subplots(1, 3))
    for panel, (norm, abscissa) in zip(
        axes, (("rms", "width"), ("sup", "width"), ("rms", "num_parameters")), strict=True
    ):
        for k, curve in enumerate(study.curves):
            _line(panel, curve, norm, abscissa, COLOURS[k % len(COLOURS)])
        panel.set_xscale("log", base=2)
        panel.set_yscale("log")
        panel.set_xlabel("width N" if abscissa == "width" else "parameters")
        panel.set_ylabel(NORMS[norm])
    figure.suptitle(f"Target {study.problem.name}; dashed: bounds, predictions and floors", fontsize=10)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    return path


def _bars(values: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """The errors of a geometric mean as factors up and down, (2, n)."""
    factor = np.exp(np.nan_to_num(errors / values))
    return np.stack([values * (1 - 1 / factor), values * (factor - 1)])


def _line(axes: Axes, curve: Curve, norm: str, abscissa: str, colour: str) -> None:
    x = np.array([getattr(point, abscissa) for point in curve.points], dtype=np.float64)
    values, errors = curve.summary(norm)
    shown = values > 0
    axes.errorbar(
        x[shown],
        values[shown],
        _bars(values[shown], errors[shown]),
        fmt=f"{MARKERS[curve.method]}-",
        ms=4,
        lw=1,
        capsize=2,
        color=colour,
        label=name_of(curve),
    )
    expected = np.array([point.predicted if norm == "rms" else point.bound for point in curve.points])
    if np.isfinite(expected).any():
        axes.plot(x, expected, "--", lw=1, color=colour)
    if norm == "rms" and curve.floor:
        axes.axhline(curve.floor, ls="--", lw=0.8, color=colour)
