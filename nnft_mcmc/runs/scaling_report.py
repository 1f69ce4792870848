"""The table and the plot of `nnft scaling`: the coordinate check, and the loss against the learning rate."""

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnft_mcmc.dynamics.constraints import DESIDERATA
from nnft_mcmc.dynamics.learning_rate_transfer import Transfer
from nnft_mcmc.dynamics.scaling_verdict import MET, Finding, Row
from nnft_mcmc.runs.report import number, table, with_error
from nnft_mcmc.runs.scaling import Plan, Report

MEASURED, FITTED, PREDICTED = "#1f5fa8", "#c2571a", "#7a7a7a"
COLUMNS = 5


def announce(plan: Plan) -> str:
    """What is about to be measured."""
    settings, network = plan.settings, plan.architecture
    drawn = ", ".join(f"{settings.networks(width)} of {width}" for width in settings.widths)
    return (
        f"network    mlp, parametrization {network.parametrization}, depth {network.depth}, {network.activation}\n"
        f"training   {len(plan.data)} points, {settings.steps} steps of gradient descent,"
        f" eta_0 = {settings.learning_rate:g}, seed {plan.seed}\n"
        f"networks   {drawn} neurons"
    )


def text(report: Report) -> str:
    """The exponents, the desiderata and the transfer of the learning rate."""
    found = report.scaling
    lines = [
        "Exponents s of mean log2 over networks = A + s log2 N (+ B/N), averaged over fits.",
        table(["quantity", "exponent", "predicted", "z", "chi^2/dof", "verdict"], [_row(row) for row in found.rows]),
        *[f"No exponent of {row.name}: {row.refusal}" for row in found.rows if row.refusal],
        "",
        *_desiderata(found.findings),
        *[f"At odds with power counting: {row.name}." for row in found.at_odds],
    ]
    if report.transfer is not None:
        lines += ["", *_transfer(report.transfer)]
    return "\n".join([*lines, *([f"No best learning rate: {report.refusal}"] if report.refusal else [])])


def _row(row: Row) -> list[str]:
    predicted = "" if math.isnan(row.predicted) else f"{row.predicted:g}"
    if row.exponent is None:
        return [row.name, "", predicted, "", "", row.verdict]
    best = row.exponent.best
    value = with_error(row.exponent.value, row.exponent.error)
    z = "" if math.isnan(row.z) else number(row.z, 2)
    return [row.name, value, predicted, z, f"{best.chi2:.1f}/{best.dof}", row.verdict]


def _desiderata(findings: tuple[Finding, ...]) -> list[str]:
    """One line for each desideratum that is met in all layers, and one for each layer where one is not."""
    lines = []
    for name in DESIDERATA:
        of_name = [finding for finding in findings if finding.desideratum.name == name]
        failed = sorted((f for f in of_name if f.verdict != MET), key=lambda finding: finding.own == 0)
        if of_name and not failed:
            lines.append(f"{name}: met in all layers.")
        lines += [f"{finding}." for finding in failed]
    return lines


def _transfer(transfer: Transfer) -> list[str]:
    mean, error = transfer.best()
    best = ", ".join(f"{width}: {with_error(m, e)}" for width, m, e in zip(transfer.widths, mean, error, strict=True))
    shift, predicted = transfer.shift, "" if math.isnan(transfer.predicted) else f", predicted {transfer.predicted:g}"
    return [
        f"Best learning rate after {transfer.steps} steps, log2 eta_0 at width {best}.",
        f"It moves as log2 eta_0 ~ {with_error(shift.value, shift.error)} log2 N{predicted}; the rate"
        f" eta = eta_0 gamma0^2 N^(2d-c) as {with_error(shift.value + transfer.of_rate, shift.error)} log2 N.",
    ]


def plot(report: Report, path: Path) -> Path:
    """One panel for each quantity, with the likeliest fit and the predicted slope, and one for the learning rate."""
    rows = report.scaling.rows
    count = len(rows) + (report.transfer is not None)
    height = -(-count // COLUMNS)
    figure = Figure(figsize=(3.1 * COLUMNS, 2.6 * height), layout="constrained")
    every = np.atleast_1d(np.asarray(figure.subplots(height, COLUMNS, squeeze=False))).ravel()
    for axes, row in zip(every, rows, strict=False):
        _panel(axes, row, np.array(report.scaling.widths))
    if report.transfer is not None:
        _rates(every[len(rows)], report.transfer)
    for axes in every[count:]:
        axes.set_axis_off()
    figure.suptitle(
        "mean over networks of log2 (points), likeliest fit (line), power counting (dashed); exponent [predicted]",
        fontsize=9,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    return path


def _panel(axes: Axes, row: Row, widths: np.ndarray) -> None:
    axes.errorbar(widths, row.log2, row.log2_error, fmt="o", ms=3.5, capsize=2, color=MEASURED)
    fine = np.geomspace(widths[0], widths[-1], 100)
    title = row.name
    if row.exponent is not None:
        fitted = fine[fine >= row.exponent.best.smallest * (1 - 1e-9)]
        axes.plot(fitted, row.exponent.best(fitted), "-", lw=1.0, color=FITTED)
        title = f"{row.name}: {with_error(row.exponent.value, row.exponent.error)}"
    if not math.isnan(row.predicted):
        line = row.log2[-1] + row.predicted * np.log2(fine / widths[-1])
        axes.plot(fine, line, "--", lw=1.0, color=PREDICTED)
        title += f" [{row.predicted:g}]"
    low, high = axes.get_ylim()
    if high - low < 1.0:  # a flat quantity looks flat
        axes.set_ylim((low + high) / 2 - 0.5, (low + high) / 2 + 0.5)
    axes.set_xscale("log", base=2)
    axes.set_xticks(widths, [str(width) for width in widths])
    axes.minorticks_off()
    axes.set_title(title, fontsize=8)
    axes.set_xlabel("N", fontsize=7)
    axes.set_ylabel("log2", fontsize=7)
    axes.tick_params(labelsize=7)


def _rates(axes: Axes, transfer: Transfer) -> None:
    """Median loss over networks against eta_0, one line for each width, and the best rates below."""
    shades = np.linspace(0.75, 0.1, len(transfer.widths))
    mean, error = transfer.best()
    curves = [np.median(transfer.log2_loss[width], axis=0) for width in transfer.widths]
    top = max(float(curve[0]) for curve in curves) + 2.0
    bottom = min(float(curve.min()) for curve in curves)
    for k, (width, curve) in enumerate(zip(transfer.widths, curves, strict=True)):
        color = str(shades[k])
        shown = np.isfinite(curve)
        axes.plot(np.log2(transfer.grid)[shown], curve[shown], "-", lw=1.0, color=color, label=str(width))
        axes.errorbar(mean[k], bottom - 0.5 - 0.4 * k, xerr=error[k], fmt="o", ms=3, capsize=2, color=color)
    axes.set_ylim(bottom - 1.0 - 0.4 * len(curves), top)
    shift = with_error(transfer.shift.value, transfer.shift.error)
    axes.set_title(f"loss after {transfer.steps} steps; shift {shift}", fontsize=8)
    axes.set_xlabel("log2 eta_0", fontsize=7)
    axes.set_ylabel("log2 loss", fontsize=7)
    axes.tick_params(labelsize=7)
    axes.legend(frameon=False, fontsize=6, title="N", title_fontsize=6)
