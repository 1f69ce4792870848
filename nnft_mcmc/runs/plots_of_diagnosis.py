"""The plot of `nnft diagnose`: traces, autocorrelations with their windows, ranks, z-scores of the certificate."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import rankdata

from nnft_mcmc.runs.certificate import Certificate
from nnft_mcmc.runs.diagnose import Diagnosis
from nnft_mcmc.runs.store import RunDirectory
from nnft_mcmc.statistics import autocovariance

MEASURED, BOUND, WINDOW = "#1f5fa8", "#c2571a", "#222222"
SHOWN = ("phi2", "magnetization")
MAX_POINTS = 2000
RANK_BINS = 20


def plot_diagnosis(run: RunDirectory, found: Diagnosis) -> Path:
    """Two observables in the upper rows, the z-scores of the certificate, where there is one, in the last."""
    observables = run.arrays("observables")["observables"]
    certified = found.certificate is not None and bool(found.certificate.identities)
    rows = len(SHOWN) + certified
    figure = Figure(figsize=(10.0, 2.5 * rows), layout="constrained")
    grid = figure.add_gridspec(rows, 3, width_ratios=(2.2, 1, 1))
    for row, name in enumerate(SHOWN):
        trace, correlation, ranks = (figure.add_subplot(grid[row, column]) for column in range(3))
        _plot_trace(trace, observables[name], name)
        window = found.mixing[name].window if name in found.mixing else None
        _plot_autocorrelation(correlation, observables[name], window)
        _plot_ranks(ranks, observables[name])
    if found.certificate is not None and certified:
        _plot_scores(figure.add_subplot(grid[-1, :]), found.certificate)
    word = "converged" if found.converged else "NOT converged"
    figure.suptitle(f"{run.path.name}: {word}", fontsize=10)
    path = run.plots / "diagnosis.png"
    figure.savefig(path, dpi=150)
    return path


def _plot_trace(axes: Axes, series: np.ndarray, name: str) -> None:
    step = -(-series.shape[1] // MAX_POINTS)
    for chain in series:
        axes.plot(np.arange(0, len(chain), step), chain[::step], lw=0.4, alpha=0.8)
    axes.set_ylabel(name)
    axes.set_xlabel("draw")


def _plot_autocorrelation(axes: Axes, series: np.ndarray, window: int | None) -> None:
    lags = min(max(20, 3 * (window or 0)), series.shape[1] // 2)
    gamma = autocovariance(series - series.mean(), lags)
    axes.axhline(0, color="0.6", lw=0.8)
    if gamma[0] > 0:
        axes.plot(gamma / gamma[0], "o-", ms=3, lw=0.8, color=MEASURED)
    if window is not None and window <= lags:
        axes.axvline(window, color=WINDOW, lw=0.8, ls=":", label=f"window {window}")
        axes.legend(frameon=False, fontsize=8)
    axes.set_ylabel(r"$\rho$(lag)")
    axes.set_xlabel("lag (draws)")


def _plot_ranks(axes: Axes, series: np.ndarray) -> None:
    """Histograms of each chain's ranks among all draws: flat where the chains have one law (arXiv:1903.08008)."""
    ranks = rankdata(series.reshape(-1)).reshape(series.shape) / series.size
    for chain in ranks:
        counts, edges = np.histogram(chain, bins=RANK_BINS, range=(0, 1))
        axes.stairs(counts * RANK_BINS / len(chain), edges, lw=0.9)
    axes.axhline(1, color="0.6", lw=0.8)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("draws / mean")
    axes.set_xlabel("rank of the draw")


def _plot_scores(axes: Axes, certificate: Certificate) -> None:
    bars = [(f"{t.block}\n{t.name}", t.z, t.bound) for t in certificate.identities]
    bars += [(f"coupling\n$\\phi^{c.degree}$", c.z, c.bound) for c in certificate.couplings]
    labels, scores, bounds = zip(*bars, strict=True)
    at, z = np.arange(len(bars)), np.nan_to_num(scores, nan=0.0)
    colours = [MEASURED if abs(x) <= bound else BOUND for x, bound in zip(scores, bounds, strict=True)]
    axes.bar(at, z, color=colours, width=0.6)
    axes.axhline(0, color="0.6", lw=0.8)
    for sign in (-1, 1):
        axes.step(at, sign * np.array(bounds), where="mid", color=BOUND, lw=0.9, ls="--")
    axes.set_xticks(at, labels, rotation=60, ha="right", rotation_mode="anchor", fontsize=7)
    axes.set_ylabel("mean / error")
