"""Plots of a run, written as PNG into its `plots` folder."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnft_mcmc.runs.compare import Comparison
from nnft_mcmc.runs.store import RunDirectory
from nnft_mcmc.statistics import autocovariance

MEASURED, EXACT, SHIFTED = "#1f5fa8", "#222222", "#c2571a"
MAX_LAG = 40
MAX_POINTS = 2000


def plot_comparison(run: RunDirectory, c: Comparison) -> Path:
    """G(t) against the reference, and the deviations in units of the error below it."""
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    local = c.names.index("phi2_mid")
    rows = [local, *(k for k, name in enumerate(c.names) if name == "two_point")]
    t = np.where(np.isnan(c.t[rows]), 0.0, c.t[rows])
    value, error, exact = c.estimate.value[rows], c.estimate.error[rows], c.exact[rows]
    top.plot(t, exact, "-", color=EXACT, lw=1.2, label="exact")
    if c.shift is not None:
        top.plot(
            t, exact + c.shift[rows], ":", color=SHIFTED, lw=1.2, label=f"exact + leading 1/N shift, N = {c.width}"
        )
    top.errorbar(t, value, error, fmt="o", ms=4, color=MEASURED, capsize=2, label="networks")
    positive = (exact > 0).all() and (value > 0).all()
    top.set_yscale("log" if positive else "linear")
    top.set_ylabel(r"$G(t)=\langle\phi(0)\,\phi(t)\rangle$")
    top.legend(frameon=False)
    p = f"p = {c.test.p_value:.2g}" if c.test else "not judged"
    top.set_title(
        f"{run.path.name}: {'agrees' if c.agrees else 'does not agree'} with the exact answer, {p}", fontsize=10
    )
    bottom.axhspan(-2, 2, color="0.92", lw=0)
    bottom.axhline(0, color=EXACT, lw=0.8)
    bottom.plot(t, c.z[rows], "o", ms=4, color=MEASURED)
    bottom.set_ylabel("deviation / error")
    bottom.set_xlabel("Euclidean time $t$")
    reach = max(3.0, float(np.nanmax(np.abs(c.z[rows]), initial=0.0)) * 1.15)
    bottom.set_ylim(-reach, reach)
    return _save(figure, run.plots / "compare_exact.png")


def plot_chains(run: RunDirectory) -> Path:
    """Traces of two observables, chain by chain, and their autocorrelation."""
    observables = run.arrays("observables")["observables"]
    figure = Figure(figsize=(9.0, 4.6), layout="constrained")
    axes = figure.subplots(2, 2, width_ratios=(2.4, 1), sharex="col")
    for (trace, correlation), name in zip(axes, ("phi2", "magnetization"), strict=True):
        _plot_trace(trace, observables[name], name)
        _plot_autocorrelation(correlation, observables[name])
    axes[1, 0].set_xlabel("draw")
    axes[1, 1].set_xlabel("lag (draws)")
    return _save(figure, run.plots / "chains.png")


def _plot_trace(axes: Axes, series: np.ndarray, name: str) -> None:
    step = -(-series.shape[1] // MAX_POINTS)
    for number, chain in enumerate(series):
        axes.plot(np.arange(0, len(chain), step), chain[::step], lw=0.4, alpha=0.8, label=f"chain {number}")
    axes.set_ylabel(name)


def _plot_autocorrelation(axes: Axes, series: np.ndarray) -> None:
    lags = min(MAX_LAG, series.shape[1] // 2)
    gamma = autocovariance(series - series.mean(), lags)
    axes.axhline(0, color="0.6", lw=0.8)
    if gamma[0] > 0:
        axes.plot(gamma / gamma[0], "o-", ms=3, lw=0.8, color=MEASURED)
    axes.set_ylabel(r"$\rho$(lag)")


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=150)
    return path
