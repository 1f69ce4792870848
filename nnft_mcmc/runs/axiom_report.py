"""What `nnft axioms` prints and draws."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnft_mcmc.estimators.clustering import Clustering
from nnft_mcmc.estimators.permutations import ROUNDING
from nnft_mcmc.estimators.positivity import PositivityTest
from nnft_mcmc.estimators.symmetry import POWER, SymmetryTest
from nnft_mcmc.runs.axioms import Axiom, Axioms, Test
from nnft_mcmc.runs.measure import plain
from nnft_mcmc.runs.report import table, with_error

GOOD, BAD, OPEN = "#1f5fa8", "#b3261e", "0.55"


def text(found: Axioms) -> str:
    """Tables, one for each axiom, and the verdicts in words."""
    parts = []
    for axiom in found.axioms:
        head = f"{axiom.name}{f' ({axiom.note})' if axiom.note else ''}"
        parts.append("\n".join([head, *_table(axiom)]))
    verdicts = [f"{axiom.name}: {verdict(axiom, found.false_alarm)}" for axiom in found.axioms]
    return "\n\n".join([*parts, "\n".join([*verdicts, *found.notes])])


def verdict(axiom: Axiom, false_alarm: float) -> str:
    """One axiom in a sentence."""
    if not axiom.tests:
        return f"NOT TESTED: {axiom.reason}"
    if axiom.name == "permutation invariance":
        return "REJECTED: the estimator treats its points unequally." if axiom.rejected else "exact up to rounding."
    if axiom.rejected:
        where = "; ".join(name for name, t in axiom.tests.items() if not isinstance(t, float) and t.is_violated)
        return (
            f"REJECTED, which happens to a theory that obeys it with a probability of {false_alarm:g} at most: {where}."
        )
    clusterings = [t for t in axiom.tests.values() if isinstance(t, Clustering)]
    undecided = [t.label for t in clusterings if t.outcome == "undecided"]
    if clusterings and len(undecided) == len(clusterings):
        return "cannot tell from these draws."
    if undecided:
        return f"no violation seen; cannot tell for {', '.join(undecided)}."
    return "no violation seen."


def _table(axiom: Axiom) -> list[str]:
    tests = list(axiom.tests.items())
    if not tests:
        return [f"not tested: {axiom.reason}"]
    first = tests[0][1]
    if isinstance(first, PositivityTest):
        headers = [
            "operators",
            "<Theta[O] O>/<O^2>",
            "p",
            f"{POWER:.0%} power for",
            "smallest eigenvalue",
            "power, M known",
        ]
        return [table(headers, [_positivity_row(name, t) for name, t in tests if isinstance(t, PositivityTest)])]
    if isinstance(first, SymmetryTest):
        headers = ["element, observables", "T^2", "differences", "p", f"{POWER:.0%} power for"]
        return [table(headers, [_symmetry_row(name, t) for name, t in tests if isinstance(t, SymmetryTest)])]
    if isinstance(first, Clustering):
        return [table(["clusters", "p", "outcome"], [_cluster_row(t) for _, t in tests if isinstance(t, Clustering)])]
    rows = [[name, f"{spread:.1e}", f"{ROUNDING:.0e}"] for name, spread in tests]
    return [table(["correlator", "spread over orders", "at most"], rows)]


def _positivity_row(name: str, t: PositivityTest) -> list[str]:
    power = "" if np.isnan(t.power) else f"{t.power:.2f}"
    ratio = with_error(t.ratio, t.error)
    return [name, ratio, f"{t.p_value:.2g}", f"{-t.detectable:.2g}", f"{t.eigenvalues[0]:.2g}", power]


def _symmetry_row(name: str, t: SymmetryTest) -> list[str]:
    seen = t.detectable[np.isfinite(t.detectable)]
    reach = f"{seen.min():.2g} to {seen.max():.2g}" if seen.size else ""
    return [name, f"{t.chi2:.1f}", str(t.dof), f"{t.p_value:.2g}", reach]


def _cluster_row(t: Clustering) -> list[str]:
    return [t.label, f"{t.p_value:.2g}", t.verdict]


def as_json(found: Axioms) -> dict[str, Any]:
    """What `nnft axioms --json` prints."""
    return {
        "rejected": found.rejected,
        "num_draws": found.num_draws,
        "false_alarm": found.false_alarm,
        "axioms": [
            {
                "name": axiom.name,
                "rejected": axiom.rejected,
                "verdict": verdict(axiom, found.false_alarm),
                "tests": [{"name": name, **_numbers(t)} for name, t in axiom.tests.items()],
            }
            for axiom in found.axioms
        ],
        "notes": list(found.notes),
    }


def _numbers(t: Test) -> dict[str, Any]:
    if isinstance(t, float):
        return {"spread": t}
    kept = {name: plain(getattr(t, name)) for name in _SHOWN[type(t)]}
    outcome = {"outcome": t.outcome} if isinstance(t, Clustering) else {}
    return {**outcome, **kept, "rejected": t.is_violated}


_SHOWN: dict[type, tuple[str, ...]] = {
    PositivityTest: ("ratio", "error", "p_value", "detectable", "power", "ess", "eigenvalues"),
    SymmetryTest: ("chi2", "dof", "p_value", "value", "difference", "error", "detectable"),
    Clustering: (
        "distances",
        "value",
        "error",
        "rate",
        "rate_error",
        "floor",
        "floor_error",
        "p_value",
        "draws_needed",
    ),
}


def plot(found: Axioms, path: Path) -> Path:
    """p-values of invariance, ratios of reflection positivity, connected functions against the distance."""
    figure = Figure(figsize=(13.0, 4.6), layout="constrained")
    euclidean, _, positivity, clusters = found.axioms
    panels = figure.subplots(1, 3)
    _plot_p_values(panels[0], euclidean, found.false_alarm)
    _plot_ratios(panels[1], positivity)
    _plot_clusters(panels[2], clusters)
    for axes, axiom in zip(panels, (euclidean, positivity, clusters), strict=True):
        axes.set_title(f"{axiom.name}: {_short(axiom)}", fontsize=10, color=BAD if axiom.rejected else "black")
    figure.savefig(path, dpi=150)
    return path


def _short(axiom: Axiom) -> str:
    return "not tested" if not axiom.tests else "rejected" if axiom.rejected else "no violation seen"


def _names(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set_ylim(len(names) - 0.5, -0.5)


def _plot_p_values(axes: Axes, axiom: Axiom, false_alarm: float) -> None:
    tests = {name: t for name, t in axiom.tests.items() if isinstance(t, SymmetryTest)}
    smallest = 1e-12
    for row, t in enumerate(tests.values()):
        axes.plot(max(t.p_value, smallest), row, "o", color=BAD if t.is_violated else GOOD)
    axes.axvline(false_alarm / max(1, len(tests)), color="0.4", lw=0.8, ls="--")
    axes.set_xscale("log")
    axes.set_xlim(smallest / 3, 3)
    axes.set_xlabel("p-value; dashed: rejected below")
    _names(axes, [name.replace(", ", "\n") for name in tests])


def _plot_ratios(axes: Axes, axiom: Axiom) -> None:
    tests = {name: t for name, t in axiom.tests.items() if isinstance(t, PositivityTest)}
    for row, t in enumerate(tests.values()):
        axes.errorbar(t.ratio, row, xerr=t.error, fmt="o", ms=4, capsize=2, color=BAD if t.is_violated else GOOD)
        axes.plot(-t.detectable, row, "|", ms=12, color=OPEN)
    axes.axvline(0, color="0.4", lw=0.8)
    axes.set_xlabel(r"$\langle\Theta[O]\,O\rangle/\langle O^2\rangle$;  | seen with 95% power")
    _names(axes, [name.replace(", ", "\n") for name in tests])


def _plot_clusters(axes: Axes, axiom: Axiom) -> None:
    tests = [t for t in axiom.tests.values() if isinstance(t, Clustering)]
    for k, t in enumerate(tests):
        colour = (GOOD, "#c2571a", "#3a7d44")[k]
        size = np.abs(t.value) / t.scale
        filled = t.value > 0
        for sign, face in ((filled, colour), (~filled, "white")):
            axes.errorbar(
                t.distances[sign], size[sign], t.error[sign] / t.scale, fmt="o", ms=4, mfc=face, color=colour, capsize=2
            )
        r = np.linspace(t.first_distance, t.distances[-1], 200)
        axes.plot(r, np.abs(t.curve(r)) / t.scale, "-", lw=1, color=colour, label=f"{t.label}: {t.outcome}")
    axes.set_yscale("log")
    if tests:
        least = min(float((t.error / t.scale).min()) for t in tests)
        axes.set_ylim(max(least / 10, 1e-12), None)
        axes.legend(frameon=False, fontsize=8)
    axes.set_xlabel("distance of the clusters")
    axes.set_ylabel(r"|connected function| / $G(0)^{n/2}$; open: negative")
