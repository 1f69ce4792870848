"""Plots of a run, written as PNG into its `plots` folder."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnft_mcmc.estimators.effective_mass import plateau_window
from nnft_mcmc.estimators.series import MINIMUM_SIGNAL
from nnft_mcmc.runs.measure import Measurement
from nnft_mcmc.runs.store import RunDirectory

MEASURED, EXACT, SHIFTED = "#1f5fa8", "#222222", "#c2571a"


def plot_correlator(run: RunDirectory, found: Mapping[str, Measurement]) -> Path | None:
    """C(t) on a logarithmic scale, effective mass and plateau beneath; None where there is no effective mass."""
    if "effective_mass" not in found:
        return None
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    _plot_decay(top, found["correlator"])
    top.set_title(f"{run.path.name}: zero-momentum correlator and effective mass", fontsize=10)
    _plot_plateau(bottom, found["effective_mass"], found["mass"])
    bottom.set_xlabel("separation $t$ (length)")
    return _save(figure, run.plots / "correlator.png")


def _plot_decay(axes: Axes, c: Measurement) -> None:
    value, error, t = c.estimate.value, c.estimate.error, np.asarray(c.observable.coords)
    positive, lost = value > 0, ~(value > MINIMUM_SIGNAL * error)
    for chosen, fill, name in ((positive & ~lost, MEASURED, "$C(t)$"), (positive & lost, "white", "in the noise")):
        if chosen.any():
            y, half = value[chosen], error[chosen]
            axes.errorbar(t[chosen], y, half, fmt="o", ms=4, capsize=2, color=MEASURED, mfc=fill, label=name)
    if positive.any():
        axes.set_yscale("log")
        axes.legend(frameon=False)
    axes.set_ylabel(r"$C(t)$")


def _plot_plateau(axes: Axes, m: Measurement, mass: Measurement) -> None:
    t = np.asarray(m.observable.coords)
    axes.errorbar(t, m.estimate.value, m.estimate.error, fmt="o", ms=4, capsize=2, color=MEASURED)
    axes.set_ylabel(r"$m(t)$  (1/length)")
    first, last = plateau_window(t)
    # One entry makes a plateau as well; a band of no width would not be seen.
    margin = 0.0 if last > first else t[0] / 4
    window = (first - margin, last + margin)
    axes.axvspan(*window, color="0.93", lw=0, zorder=0)
    middle, half = float(mass.estimate.value), float(np.nan_to_num(mass.estimate.error))
    if np.isfinite(middle):
        axes.fill_between(window, middle - half, middle + half, color=SHIFTED, alpha=0.3, lw=0)
        axes.plot(window, [middle, middle], color=SHIFTED, lw=1)
    else:
        axes.set_title("no plateau: an entry of its window is undefined", fontsize=9)


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=150)
    return path
