"""`nnft spectrum`: the gap and the levels above it."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnft_mcmc import _checks
from nnft_mcmc.estimators.operators import slices_of_fields
from nnft_mcmc.estimators.spectrum import Level, Spectrum, spectrum
from nnft_mcmc.runs.driver import theory
from nnft_mcmc.runs.measure import plain
from nnft_mcmc.runs.report import table, with_error
from nnft_mcmc.runs.store import RunDirectory
from nnft_mcmc.statistics import gamma_method

COLOURS = ("#1f5fa8", "#c2571a", "#3a7d44", "#7a4fa3")
# The slowest of these sets the length of the blocks.
_WATCHED = ("magnetization", "phi2", "phi4", "correlator")


def of_run(run: RunDirectory, edge: float | None = None) -> Spectrum:
    """The levels of a run, from its stored operators or fields."""
    arrays = run.arrays("observables", "posterior")
    kept = arrays.get("posterior", {})
    if "operators" in kept:
        slices = kept["operators"]
    elif "field" in kept:
        slices = slices_of_fields(kept["field"])
    else:
        raise _checks.InputError(
            f"{run.path} keeps neither fields nor operators, of which a spectrum is made; sample with [run] store ="
            ' ["operators"].'
        )
    taus = [np.max(gamma_method(arrays["observables"][name]).tau_int) for name in _WATCHED]
    ensemble, _ = theory(run.config(), run.manifest()["kind"])
    even = not ensemble.local_action.coefficients[1::2].any()
    return spectrum(slices, ensemble.lattice, float(np.max(taus)), edge, even)


def as_json(found: Spectrum) -> dict[str, Any]:
    """What `nnft spectrum --json` prints."""
    levels = [_level(level) for level in found.levels]
    return {
        "gap": levels[0],
        "levels": levels,
        "times": list(found.times),
        "num_blocks": found.num_blocks,
        "tau_int": plain(found.tau_int),
    }


def _level(level: Level) -> dict[str, Any]:
    e, best = level.energy, level.energy.best
    found: dict[str, Any] = {
        "sector": level.sector,
        "level": level.number,
        "value": plain(e.value),
        "error": plain(e.error),
        "statistical_error": plain(e.statistical_error),
        "spread": plain(e.spread),
        "num_windows": e.num_windows,
        "best_window": None if best is None else {key: plain(value) for key, value in vars(best).items()},
        "effective_energy": {
            "coords": plain(level.effective_t),
            "value": plain(level.effective.value),
            "error": plain(level.effective.error),
        },
    }
    return {**found, "reason": e.reason} if e.reason else found


def text(found: Spectrum) -> str:
    """The table of `nnft spectrum`."""
    rows = []
    for level in found.levels:
        e, best = level.energy, level.energy.best
        window = ["", "", "", ""]
        if best is not None:
            window = [
                f"{best.t_min:g}..{best.t_max:g}",
                str(best.num_states),
                f"{best.chi2:.1f}/{best.dof}",
                f"{best.p_value:.2g}",
            ]
        rows.append([f"{level.sector} {level.number}", with_error(e.value, e.error), *window, str(e.num_windows)])
    headers = ["level", "energy ± error", "best window t", "states", "chi^2/dof", "p", "windows"]
    first, last = found.times
    notes = [
        f"{level.sector} {level.number}: undefined, because {level.energy.reason}"
        for level in found.levels
        if level.energy.reason
    ]
    return "\n".join(
        [
            table(headers, rows),
            "",
            *notes,
            f"Energies above the vacuum, in 1/length; times {first:g} to {last:g}; errors from {found.num_blocks}"
            f" jackknife blocks, tau_int = {found.tau_int:.3g}. The gap is {found.gap.sector} 0.",
        ]
    )


def plot(found: Spectrum, path: Path, title: str) -> Path:
    """Correlators of the levels above, effective energies with the fitted ones below."""
    figure = Figure(figsize=(6.6, 6.4), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    for colour, level in zip(COLOURS, found.levels, strict=False):
        name = f"{level.sector} {level.number}"
        _points(top, level.t, level.correlator.value, level.correlator.error, colour, name)
        _points(bottom, level.effective_t, level.effective.value, level.effective.error, colour, name)
        e, best = level.energy, level.energy.best
        if math.isfinite(e.value) and best is not None:
            window = (best.t_min, best.t_max)
            bottom.fill_between(window, e.value - e.error, e.value + e.error, color=colour, alpha=0.25, lw=0)
    top.set_yscale("log")
    top.set_ylabel("$C_n(t)\\,/\\,C_n(a)$")
    top.legend(frameon=False)
    bottom.set_ylabel("$E_n(t)$  (1/length)")
    bottom.set_xlabel("separation $t$; bands: fits in their best windows, with errors over all")
    bottom.set_ylim(bottom=0)
    top.set_title(title, fontsize=10)
    figure.savefig(path, dpi=150)
    return path


def _points(axes: Axes, t: np.ndarray, value: np.ndarray, error: np.ndarray, colour: str, name: str) -> None:
    """What is above its noise; the rest would hide it."""
    shown = np.abs(value) > 2 * error
    axes.errorbar(t[shown], value[shown], error[shown], fmt="o", ms=3.5, capsize=2, lw=1, color=colour, label=name)
