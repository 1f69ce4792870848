"""What `nnft compare` says: a table and a verdict, JSON, and a plot."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from nnft_mcmc.runs.compare import FALSE_ALARM, Comparison
from nnft_mcmc.runs.measure import plain
from nnft_mcmc.runs.plots import EXACT, MEASURED, SHIFTED
from nnft_mcmc.runs.report import number, table, with_error
from nnft_mcmc.runs.store import RunDirectory
from nnft_mcmc.statistics import ChiSquared


def text(c: Comparison) -> str:
    """The table and the verdict."""
    e = c.estimate
    rows = [
        [
            name if np.isnan(t) else f"{name}({t:g})",
            with_error(v, s),
            with_error(x, dx) if c.sampled else f"{x:.6f}",
            f"{z:+.2f}",
            number(tau, 3),
            number(float(np.rint(ess)), 6),
            number(r, 5),
        ]
        for name, t, v, s, x, dx, z, tau, ess, r in zip(
            c.names, c.t, e.value, e.error, c.expected, c.expected_error, c.z, e.tau_int, e.ess, c.rhat, strict=True
        )
    ]
    headers = ["observable", "value ± error", "reference" if c.label != "exact" else "exact", "z", "tau_int", "ESS"]
    return "\n".join([table([*headers, "R-hat"], rows), "", *sentences(c)])


def sentences(c: Comparison) -> list[str]:
    """What was compared, the verdict, and the systematic difference that remains, in words."""
    lines = [f"Compared with {c.reference.description}."]
    if c.test is None:
        return [*lines, f"The run CANNOT BE JUDGED: {c.cannot_judge}"]
    verdict = "agrees with" if c.agrees else "DISAGREES with"
    lines.append(
        f"The run {verdict} it: chi^2 = {c.test.chi2:.1f} for {c.test.dof} correlated quantities, p ="
        f" {c.test.p_value:.2g} (rejected below {FALSE_ALARM:g})."
    )
    if c.shift is not None and c.width is not None:
        lines.append(_size_of_width_shift(c.names[0], c.width, c.shift[0], c.expected[0], c.estimate.error[0]))
        if not c.agrees:
            lines.append(_cause(c.test, c.shifted_test))
    return [*lines, c.reference.remains] if c.reference.remains else lines


def _size_of_width_shift(name: str, width: int, shift: float, exact: float, error: float) -> str:
    here = (
        f"Finite width: to leading order in 1/N, width {width} shifts {name} by {shift:+.5f}"
        f" ({100 * shift / exact:+.2f}%, {abs(shift) / error:.1f} times its error)"
    )
    small = 10
    if width <= small:
        return here + "."
    at_small = shift * width / small
    return here + f"; width {small} would shift it by {at_small:+.3f} ({100 * at_small / exact:+.0f}%)."


def _cause(test: ChiSquared, shifted_test: ChiSquared | None) -> str:
    if shifted_test is not None and shifted_test.chi2 < test.chi2 / 2:
        return (
            f"With that shift added to the reference, chi^2 falls from {test.chi2:.0f} to {shifted_test.chi2:.0f}:"
            " finite width accounts for most of the difference, and bad sampling does not. Use a larger"
            " architecture.width."
        )
    return (
        "Adding that shift to the reference does not mend it, so finite width is not the cause. See what nnft diagnose"
        " says of the run."
    )


def as_json(c: Comparison) -> dict[str, Any]:
    """What `nnft compare --json` prints."""
    numbers = {
        "value": c.estimate.value,
        "error": c.estimate.error,
        "reference": c.expected,
        "z": c.z,
        "tau_int": c.estimate.tau_int,
        "ess": c.estimate.ess,
        "rhat": c.rhat,
    }
    if c.sampled:
        numbers["reference_error"] = c.expected_error
    if c.shift is not None:
        numbers["width_shift"] = c.shift
    found: dict[str, Any] = {}
    for name in dict.fromkeys(c.names):
        rows = np.array([other == name for other in c.names])
        if np.isnan(c.t[rows]).all():
            found[name] = {key: plain(column[rows][0]) for key, column in numbers.items()}
        else:
            columns = {key: plain(column[rows]) for key, column in numbers.items()}
            found[name] = {"coords": plain(c.t[rows]), **columns}
    return {
        "reference": c.reference.description,
        "observables": found,
        "chi2": plain(c.test.chi2) if c.test else None,
        "dof": c.test.dof if c.test else None,
        "p_value": plain(c.test.p_value) if c.test else None,
        "false_alarm": FALSE_ALARM,
        "agrees": c.agrees,
        "excess_kurtosis": plain(c.reference.excess_kurtosis),
        "verdict": " ".join(sentences(c)),
    }


def plot(run: RunDirectory, c: Comparison) -> Path:
    """G(t) against the reference, and the deviations in units of the error below it."""
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    rows = [0, *(k for k, name in enumerate(c.names) if name == "two_point")]
    t = np.where(np.isnan(c.t[rows]), 0.0, c.t[rows])
    value, error, expected = c.estimate.value[rows], c.estimate.error[rows], c.expected[rows]
    top.plot(t, expected, "-", color=EXACT, lw=1.2, label=c.label)
    if c.sampled:
        spread = c.expected_error[rows]
        top.fill_between(t, expected - spread, expected + spread, color=EXACT, alpha=0.2, lw=0)
    if c.shift is not None:
        shifted = expected + c.shift[rows]
        top.plot(t, shifted, ":", color=SHIFTED, lw=1.2, label=f"exact + leading 1/N shift, N = {c.width}")
    top.errorbar(t, value, error, fmt="o", ms=4, color=MEASURED, capsize=2, label=run.path.name)
    positive = (expected > 0).all() and (value > 0).all()
    top.set_yscale("log" if positive else "linear")
    top.set_ylabel(r"$G(t)=\langle\phi(0)\,\phi(t)\rangle$")
    top.legend(frameon=False)
    p = f"p = {c.test.p_value:.2g}" if c.test else "not judged"
    top.set_title(
        f"{run.path.name}: {'agrees' if c.agrees else 'does not agree'} with {_name(c.label)}, {p}", fontsize=10
    )
    bottom.axhspan(-2, 2, color="0.92", lw=0)
    bottom.axhline(0, color=EXACT, lw=0.8)
    bottom.plot(t, c.z[rows], "o", ms=4, color=MEASURED)
    bottom.set_ylabel("deviation / error")
    bottom.set_xlabel("Euclidean time $t$")
    reach = max(3.0, float(np.nanmax(np.abs(c.z[rows]), initial=0.0)) * 1.15)
    bottom.set_ylim(-reach, reach)
    path = run.plots / f"compare_{re.sub(r'[^A-Za-z0-9_.=-]', '_', c.label)}.png"
    figure.savefig(path, dpi=150)
    return path


def _name(label: str) -> str:
    return "the exact answer" if label == "exact" else label
