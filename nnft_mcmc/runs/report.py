"""Tables and sentences for the terminal."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from nnft_mcmc.runs.config import Config
from nnft_mcmc.runs.diagnose import Diagnosis
from nnft_mcmc.runs.measure import Measurement
from nnft_mcmc.runs.store import RunDirectory
from nnft_mcmc.runs.sweep import Sweep
from nnft_mcmc.sampling.devices import Layout

# What the table of a sweep shows of each point.
SWEEP_COLUMNS = ("phi2", "phi4", "abs_magnetization", "susceptibility", "binder")

# Beyond this a number is printed with an exponent.
UNREADABLE = 1e6


def announce(config: Config, path: Path, kind: str, layout: Layout) -> str:
    """What a run is about to do."""
    tables, lattice, sampler = config.tables, config.ensemble.lattice, config.sampler
    architecture = ", ".join(f"{key} = {value}" for key, value in tables["architecture"].items() if key != "name")
    given = tables.get("insertion", [])
    insertions = [given] if isinstance(given, dict) else given
    theory = " + ".join(
        f"{term['name']}({', '.join(f'{key} = {value}' for key, value in term.items() if key != 'name')})"
        for term in insertions
    )
    sites = " x ".join(map(str, lattice.shape))
    lines = [
        f"ensemble   {tables['architecture']['name']}({architecture})",
        f"lattice    {sites} sites, spacing {lattice.spacing:g}, {lattice.geometry}",
    ]
    if kind == "draw":
        lines.append(f"drawing    {sampler.num_chains} x {sampler.num_samples} independent networks, without insertion")
    else:
        lines += [
            f"insertion  {theory or 'none'}",
            f"sampling   {tables['sampler']['name']}, {sampler.num_chains} chains of {sampler.num_warmup} +"
            f" {sampler.num_samples} draws, seed {config.run.seed}",
        ]
    if layout.mesh.size > 1:
        lines.append(f"devices    {layout}")
    return "\n".join([*lines, f"writing    {path}"])


def incomplete(run: RunDirectory) -> list[str]:
    """How far a run has come, where it is not complete."""
    manifest = run.manifest()
    if manifest["draws"] == manifest["num_samples"]:
        return []
    return [f"The run is not complete: {manifest['draws']} of {manifest['num_samples']} draws per chain."]


def ended(run: RunDirectory, again: str) -> str:
    """What the end of `nnft sample` was, and what to do next."""
    manifest = run.manifest()
    if manifest["complete"]:
        return f"Done. Next: nnft measure {run.path}; nnft diagnose {run.path}"
    done = f"{manifest['draws']} of {manifest['num_samples']} draws per chain" if manifest["draws"] else "warm-up"
    return f"Stopped by {manifest['stopped_by']} after {done}; go on with: {again}"


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned, the first to the left."""
    widths = [max(len(row[k]) for row in [headers, *rows]) for k in range(len(headers))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cells[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)),
        ]
        return "  ".join(padded).rstrip()

    return "\n".join([line(headers), "  ".join("-" * width for width in widths), *map(line, rows)])


def with_error(value: float, error: float) -> str:
    """value ± error, to two digits of the error."""
    if not (math.isfinite(value) and math.isfinite(error) and error > 0):
        return f"{number(value, 6)} ± {number(error, 2)}"
    if max(abs(value), error) >= UNREADABLE:
        return f"{value:.3g} ± {error:.2g}"
    decimals = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{decimals}f} ± {error:.{decimals}f}"


def number(value: float, digits: int) -> str:
    """A number of so many digits."""
    return f"{value:.{digits}g}" if math.isfinite(value) else "undefined"


def _labels(name: str, m: Measurement) -> list[str]:
    coords = m.observable.coords
    return [name] if coords is None else [f"{name}({t:g})" for t in coords]


def _reasons(name: str, m: Measurement) -> list[str]:
    """Why numbers are undefined, entries with the same reason together."""
    if m.observable.coords is None:
        return [f"{name}: undefined, because {reason}" for reason in m.reasons if reason]
    entries: dict[str, list[str]] = {}
    for t, reason in zip(m.observable.coords, m.reasons, strict=True):
        if reason:
            entries.setdefault(reason, []).append(f"{t:g}")
    return [f"{name}({', '.join(at)}): undefined, because {reason}" for reason, at in entries.items()]


def _entries(name: str, m: Measurement) -> list[list[str]]:
    e, labels = m.estimate, _labels(name, m)
    columns = [np.atleast_1d(x) for x in (e.value, e.error, e.tau_int, e.ess, m.rhat)]
    return [
        [label, with_error(v, s), number(tau, 3), number(float(np.rint(ess)), 6), number(r, 5)]
        for label, v, s, tau, ess, r in zip(labels, *columns, strict=True)
    ]


def measurements(found: dict[str, Measurement]) -> str:
    """The table of `nnft measure`."""
    # In one dimension there is no space to average over, and C(t) is G(t) again.
    same = "correlator" if np.array_equal(found["correlator"].estimate.value, found["two_point"].estimate.value) else ""
    rows = [row for name, m in found.items() if name != same for row in _entries(name, m)]
    notes = ["correlator: equal to two_point in one dimension"] if same else []
    notes += [f"{name}: {m.observable.note}" for name, m in found.items() if m.observable.note]
    notes += [line for name, m in found.items() if name != same for line in _reasons(name, m)]
    return "\n".join([table(["observable", "value ± error", "tau_int", "ESS", "R-hat"], rows), *notes])


def diagnosis(found: Diagnosis) -> str:
    """The tables and the verdict of `nnft diagnose`."""
    rows = [[check.name, check.found, check.required, "ok" if check.passed else "FAILED"] for check in found.checks]
    mixing = [
        [
            name,
            f"{m.tau_int:.3f} ± {m.tau_int_error:.3f}",
            str(m.window),
            f"{m.bulk_ess:.0f}",
            f"{m.tail_ess:.0f}",
            f"{m.rhat:.4f}",
        ]
        for name, m in found.mixing.items()
    ]
    headers = ["slowest entry", "tau_int", "window", "bulk ESS", "tail ESS", "R-hat"]
    tables = [table(headers, mixing), ""] if mixing else []
    return "\n".join([*tables, table(["check", "found", "required", ""], rows), "", found.verdict])


def sweep(plan: Sweep, found: Mapping[str, Mapping[str, Measurement]], cause: str | None) -> str:
    """The table of `nnft sweep`: every point, how far it has come, and its main observables."""
    columns = [name for name in SWEEP_COLUMNS if any(name in measured for measured in found.values())]
    rows = []
    for p in plan.points:
        m = found.get(p.name, {})
        numbers = [
            with_error(float(m[c].estimate.value), float(m[c].estimate.error)) if c in m else "" for c in columns
        ]
        rows.append([str(p.index), p.name, f"{p.draws} of {p.config.sampler.num_samples}", *numbers])
    lines = [table(["point", "name", "draws", *columns], rows)]
    if cause is not None:
        lines.append(f"Stopped by {cause}; the same command goes on.")
    return "\n".join(lines)
