"""Plots of `nnft train`: the ensemble at several times beside the exact band, and the loss."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnft_mcmc.runs.plots import EXACT, MEASURED, SHIFTED
from nnft_mcmc.runs.training import Trained

MOST_PANELS = 6


def plot_bands(found: Trained, path: Path) -> Path:
    """Mean and standard deviation over networks against x, and the exact band, at up to six of the times."""
    chosen = np.unique(np.rint(np.linspace(0, len(found.times) - 1, MOST_PANELS)).astype(int))
    columns = min(3, len(chosen))
    rows = -(-len(chosen) // columns)
    figure = Figure(figsize=(0.8 + 3.2 * columns, 0.9 + 2.7 * rows), layout="constrained")
    panels = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
    for axes, k in zip(panels, chosen, strict=False):
        _plot_time(axes, found, int(k))
    for axes in panels[len(chosen) :]:
        axes.set_axis_off()
    for axes in panels[::columns]:
        axes.set_ylabel(r"$\phi_t$")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    figure.savefig(path, dpi=150)
    return path


def _plot_time(axes: Axes, found: Trained, k: int) -> None:
    one = found.points.shape[1] == 1
    x = found.points[:, 0] if one else np.arange(len(found.points))
    order = np.argsort(x)
    mean, std = (e.value.reshape(found.shape)[k] for e in (found.mean, found.std))
    if found.solution is not None:
        p = found.solution.predictions
        low, high = p.mean[k] - 2 * p.std[k], p.mean[k] + 2 * p.std[k]
        axes.fill_between(x[order], low[order], high[order], color="0.85", lw=0, label=r"exact mean $\pm$ 2 std")
        axes.plot(x[order], p.mean[k][order], color=EXACT, lw=1)
    axes.errorbar(x, mean, 2 * std, fmt="o", ms=3, capsize=2, lw=1, color=MEASURED, label=r"networks, mean $\pm$ 2 std")
    if one:
        axes.plot(found.data.inputs[:, 0], found.data.targets, "x", color=SHIFTED, ms=6, mew=1.5, label="data")
    axes.set_title(f"t = {found.times[k]:g}", fontsize=10)
    axes.set_xlabel("$x$" if one else "number of the test point")


def plot_losses(found: Trained, path: Path) -> Path:
    """Mean and spread of the loss over networks, and the exact mean loss."""
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    axes = figure.subplots()
    t, losses = found.curve_times, found.losses
    low, high = np.quantile(losses, [0.16, 0.84], axis=0)
    axes.fill_between(t, low, high, color=MEASURED, alpha=0.2, lw=0, label="16% to 84% of the networks")
    axes.plot(t, losses.mean(axis=0), color=MEASURED, lw=1.5, label="mean of the networks")
    if found.solution is not None:
        axes.plot(t, found.solution.loss, color=EXACT, ls="--", lw=1, label="mean at infinite width")
    axes.set_xlabel("steps" if found.config.optimizer.discrete else "time $t$")
    axes.set_ylabel("loss on the data")
    if (losses.mean(axis=0) > 0).all():
        axes.set_yscale("log")
    if t[-1] > 50 * t[t > 0].min(initial=np.inf):
        axes.set_xscale("symlog", linthresh=float(t[t > 0].min()))
    axes.set_xlim(left=0)
    axes.legend(frameon=False, fontsize=9)
    figure.savefig(path, dpi=150)
    return path
