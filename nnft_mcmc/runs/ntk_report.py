"""The table and the plot of `nnft ntk`."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnft_mcmc.runs.ntk import Comparison, Report, condition_number, largest_rate
from nnft_mcmc.runs.report import number, table, with_error

NAMES = {"nngp": "NNGP", "ntk": "NTK"}
MEASURED, LIMIT = {"nngp": "#3f8f4f", "ntk": "#1f5fa8"}, "#222222"
SHOWN = 10


def text(report: Report) -> str:
    """Kernels against the limit, the spectrum, and what they mean for gradient descent."""
    of_width = "" if report.width is None else f", width {report.width}"
    trained = "all parameters" if report.settings.trained == "all" else "the readout"
    lines = [
        f"network    {report.name}{of_width}",
        f"kernels    at {len(report.points)} points, trained {trained}, coordinates {report.settings.coordinates}",
        f"draws      {report.estimates.num_draws}, seed {report.seed}; one Theta differs from their mean by"
        f" {100 * report.fluctuation:.3g}%",
        "",
        *(_kernels(report) if report.comparisons else [f"No limit to compare with: {report.reason}"]),
        "",
        "Eigenvalues of Theta, mean over draws:",
        _spectrum(report),
        *_conditioning(report),
    ]
    return "\n".join([*lines, *([] if not report.comparisons else ["", _verdict(report)])])


def _kernels(report: Report) -> list[str]:
    header = ["kernel", "|mean - limit|/|limit|", "from errors", "C at (1, 1)", "max |z|", "without C/N", "bound"]
    rows = [[NAMES[name], *_row(comparison)] for name, comparison in report.comparisons.items()]
    return ["Mean over draws against infinite width, <Theta_N> = Theta (1 + C/N):", table(header, rows)]


def _row(comparison: Comparison) -> list[str]:
    c = comparison.correction
    return [
        number(comparison.deviation, 3),
        number(comparison.noise, 3),
        "" if c is None else with_error(float(c.value[0, 0]), float(c.error[0, 0])),
        number(float(np.abs(comparison.z).max()), 3),
        number(comparison.worst, 3),
        number(comparison.bound, 3),
    ]


def _spectrum(report: Report) -> str:
    value, error, limit = report.eigenvalues.value, report.eigenvalues.error, report.limit_eigenvalues
    chosen = [k for k in range(len(value)) if k < SHOWN or k == len(value) - 1]
    rows = [
        [str(k + 1), with_error(float(value[k]), float(error[k])), "" if limit is None else number(float(limit[k]), 6)]
        for k in chosen
    ]
    return table(["", "networks", "infinite width"], rows)


def _conditioning(report: Report) -> list[str]:
    limit = report.limit_eigenvalues
    condition = condition_number(report.eigenvalues.value if limit is None else limit)
    singular = f", because {report.coincident} of the points repeat others" if report.coincident else ""
    return [
        f"Singular to rounding: Theta has no inverse{singular}."
        if condition is None
        else f"Condition number {number(condition, 3)}.",
        f"Gradient descent on these points is stable for learning rates below 2|D|/lambda_max ="
        f" {number(largest_rate(report), 4)}.",
    ]


def _verdict(report: Report) -> str:
    failed = [NAMES[name] for name, comparison in report.comparisons.items() if not comparison.agrees]
    if not failed:
        return "The kernels agree with infinite width within errors, once a correction of order 1/N is allowed for."
    return (
        f"The {' and '.join(failed)} kernel disagrees with infinite width by more than errors and a correction of order"
        " 1/N explain: the width is too small for the expansion, or the draws are heavy-tailed and too few."
    )


def plot(report: Report, path: Path) -> Path:
    """Kernels against the limit, and the spectrum."""
    figure = Figure(figsize=(9.6, 4.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    (_profile if report.points.shape[1] == 1 else _scatter)(left, report)
    _eigenvalues(right, report)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    return path


def _profile(axes: Axes, report: Report) -> None:
    """K(x_c, x) and Theta(x_c, x) against x, with x_c the middle one of the points."""
    order = np.argsort(report.points[:, 0])
    x, centre = report.points[order, 0], int(order[len(order) // 2])
    spread = np.sqrt(report.estimates.variance.value[centre, order])
    for name, color in MEASURED.items():
        found = getattr(report.estimates, name)
        value, error = found.value[centre, order], found.error[centre, order]
        if name in report.comparisons:
            axes.plot(x, report.comparisons[name].limit[centre, order], "-", lw=1.0, color=LIMIT)
        axes.errorbar(x, value, error, fmt="o", ms=3.5, capsize=2, color=color, label=NAMES[name])
        if name == "ntk":
            axes.fill_between(x, value - spread, value + spread, color=color, alpha=0.15, lw=0)
    axes.set_xlabel("x")
    axes.set_ylabel(f"kernel at (x, {report.points[centre, 0]:g})")
    axes.set_title("mean over networks; band: one network; line: infinite width", fontsize=9)
    axes.legend(frameon=False, fontsize=8)


def _scatter(axes: Axes, report: Report) -> None:
    """All entries against those of the limit, or against the size of the points' scalar product without one."""
    upper = np.triu_indices(len(report.points))
    products = (report.points @ report.points.T)[upper]
    for name, color in MEASURED.items():
        found = getattr(report.estimates, name)
        known = name in report.comparisons
        x = report.comparisons[name].limit[upper] if known else products
        axes.errorbar(
            x, found.value[upper], found.error[upper], fmt="o", ms=3, capsize=2, color=color, label=NAMES[name]
        )
        if known:
            axes.plot(np.sort(x), np.sort(x), "-", lw=1.0, color=LIMIT)
    axes.set_xlabel("infinite width" if report.comparisons else "x.y")
    axes.set_ylabel("mean over networks")
    axes.set_title("kernels, all pairs of points", fontsize=9)
    axes.legend(frameon=False, fontsize=8)


def _eigenvalues(axes: Axes, report: Report) -> None:
    value, error, limit = report.eigenvalues.value, report.eigenvalues.error, report.limit_eigenvalues
    k = np.arange(1, len(value) + 1)
    floor = 1e-15 * value[0]
    if limit is not None:
        axes.plot(k, np.maximum(limit, floor), "-", lw=1.0, color=LIMIT, label="infinite width")
    shown = value > floor
    axes.errorbar(
        k[shown], value[shown], error[shown], fmt="o", ms=3.5, capsize=2, color=MEASURED["ntk"], label="networks"
    )
    axes.set_yscale("log")
    axes.set_xlabel("number of the eigenvalue")
    axes.set_ylabel(r"$\lambda$ of $\Theta$")
    axes.set_title("spectrum", fontsize=9)
    axes.legend(frameon=False, fontsize=8)
