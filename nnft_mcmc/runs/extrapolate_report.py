"""The tables and the plot of `nnft extrapolate`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnft_mcmc.runs.extrapolate import CUTOFF, TARGET_BIAS, WIDTH, Outcome, Series, smallest_for
from nnft_mcmc.runs.report import table, with_error

MEASURED, FITTED = "#1f5fa8", "#c2571a"
MOST_PANELS = 9


def text(found: Sequence[Series]) -> str:
    """Each series: where it was measured, how much of that is bias, and the limit."""
    return "\n\n".join("\n".join(_lines(series)) for series in found)


def _lines(series: Series) -> list[str]:
    fixed = "".join(f", {key} = {value}" for key, value in series.fixed.items())
    at = ", ".join(_setting(series, k) for k in range(len(series.points)))
    powers = ", ".join(f"{p:g}" for p in series.powers)
    lines = [
        f"Series in {series.key}{fixed}: x = {series.symbol} -> 0, powers {powers} of x, at {at or 'no point'}.",
        *[f"Left out: {reason}." for reason in series.left_out],
    ]
    done = [outcome for outcome in series.outcomes if outcome.limit is not None]
    if done:
        finest = int(np.argmin(series.x))
        short, setting = series.key.rpartition(".")[2], series.points[finest].setting
        headers = ["observable", f"at {short} {setting}", "of it bias", "limit", "model error"]
        headers += ["chi^2/dof", "p", f"bias of {TARGET_BIAS:.0%} at"]
        lines += [table(headers, [_row(series, outcome, finest) for outcome in done])]
    refused = [outcome for outcome in series.outcomes if outcome.limit is None]
    return lines + [f"No limit of {label(outcome)}: {outcome.refusal}" for outcome in refused]


def _setting(series: Series, k: int) -> str:
    point, short = series.points[k], series.key.rpartition(".")[2]
    kurtosis = f" (kappa {point.kurtosis:.2g})" if series.key == WIDTH and np.isfinite(point.kurtosis) else ""
    return f"{short} {point.setting}{kurtosis}"


def label(outcome: Outcome) -> str:
    """The name, and the coordinate of an entry of an array."""
    return outcome.name if outcome.coordinate is None else f"{outcome.name}({outcome.coordinate:g})"


def _row(series: Series, outcome: Outcome, finest: int) -> list[str]:
    limit = outcome.limit
    if limit is None:
        return [label(outcome), outcome.refusal]
    bias, error = limit.bias(series.x[finest])
    x = smallest_for(limit, series.x)
    where = "" if np.isnan(x) else f"{_inverse(series)} {1 / x:.3g}" if _inverse(series) else f"x = {x:.3g}"
    return [
        label(outcome),
        with_error(float(outcome.values[finest]), float(outcome.errors[finest])),
        with_error(float(bias), float(error)),
        with_error(limit.value, limit.error),
        f"{limit.model_error:.2g}",
        f"{limit.best.chi2:.1f}/{limit.best.dof}",
        f"{limit.best.p_value:.2g}",
        where,
    ]


def _inverse(series: Series) -> str:
    return {WIDTH: "N =", CUTOFF: "cutoff ="}.get(series.key, "")


def plot(found: Sequence[Series], path: Path) -> Path:
    """Values against x, with the likeliest fit and the limit with its error, as PNG."""
    panels = [(series, o) for series in found for o in series.outcomes if o.limit is not None][:MOST_PANELS]
    columns = min(3, max(1, len(panels)))
    rows = -(-max(1, len(panels)) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.1 * rows), layout="constrained")
    every = np.atleast_1d(np.asarray(figure.subplots(rows, columns, squeeze=False))).ravel()
    for axes, (series, outcome) in zip(every, panels, strict=False):
        _panel(axes, series, outcome)
    for axes in every[len(panels) :]:
        axes.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    return path


def _panel(axes: Axes, series: Series, outcome: Outcome) -> None:
    limit = outcome.limit
    if limit is None:
        return
    x = series.x
    fine = np.linspace(0.0, x.max() * 1.03, 200)
    axes.plot(fine, limit.value + limit.bias(fine)[0], "-", lw=1.0, color=FITTED, label="average of fits")
    axes.errorbar(x, outcome.values, outcome.errors, fmt="o", ms=4, capsize=2, color=MEASURED, label="runs")
    axes.errorbar(0.0, limit.value, limit.error, fmt="s", ms=5, capsize=3, color=FITTED, label="limit")
    axes.set_xlim(-0.06 * x.max(), 1.06 * x.max())
    fixed = "".join(f", {key.rpartition('.')[2]} = {value}" for key, value in series.fixed.items())
    axes.set_title(f"{label(outcome)}{fixed}", fontsize=9)
    axes.set_xlabel(series.symbol, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.legend(frameon=False, fontsize=7)
