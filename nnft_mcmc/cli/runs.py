"""Commands that read a run: `nnft measure`, `nnft diagnose`, `nnft export`."""

import argparse
import json
from pathlib import Path
from typing import Any

from nnft_mcmc.cli._base import EXIT_FAILED, use_float64


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    for name, function, help_text in (
        ("measure", _measure, "observables with autocorrelated errors, tau_int, ESS and R-hat"),
        ("diagnose", _diagnose, "whether the run is converged; exit code 1 where it is not"),
    ):
        command = commands.add_parser(name, help=help_text, description=help_text)
        command.add_argument("run", type=Path, metavar="RUN", help="run directory")
        command.add_argument("--json", action="store_true", help="print numbers as JSON")
        command.set_defaults(command=function)

    export = commands.add_parser("export", help="write a run as one file for other programs")
    export.add_argument("run", type=Path, metavar="RUN", help="run directory")
    export.add_argument("--to", required=True, metavar="FORMAT", help="netcdf or pyerrors")
    export.add_argument("--out", type=Path, required=True, metavar="FILE", help="file to write")
    export.set_defaults(command=_export)


def _measure(options: argparse.Namespace) -> int:
    use_float64()
    from nnft_mcmc.runs import measure, plots, report
    from nnft_mcmc.runs.store import RunDirectory

    run = RunDirectory(options.run)
    found = measure.measure(run)
    plot = plots.plot_correlator(run, found)
    if options.json:
        progress = {key: run.manifest()[key] for key in ("draws", "num_samples")}
        drawn = {} if plot is None else {"plot": str(plot)}
        print(json.dumps({"observables": {name: m.table() for name, m in found.items()}, **progress, **drawn}))
    else:
        drawn_at = [] if plot is None else [f"C(t) and effective mass: {plot}"]
        print("\n".join([report.measurements(found), *report.incomplete(run), *drawn_at]))
    return 0


def _diagnose(options: argparse.Namespace) -> int:
    use_float64()
    from nnft_mcmc.runs import diagnose, plots_of_diagnosis, report
    from nnft_mcmc.runs.store import RunDirectory

    run = RunDirectory(options.run)
    found = diagnose.diagnose(run)
    plot = plots_of_diagnosis.plot_diagnosis(run, found)
    if options.json:
        print(json.dumps({**found.as_json(), "plot": str(plot)}))
    else:
        print(f"{report.diagnosis(found)}\nTraces, autocorrelations, ranks and z-scores: {plot}")
    return 0 if found.converged else EXIT_FAILED


def _export(options: argparse.Namespace) -> int:
    use_float64()
    from nnft_mcmc.runs import export
    from nnft_mcmc.runs.store import RunDirectory

    export.export(RunDirectory(options.run), options.to, options.out)
    print(f"Wrote {options.out}")
    return 0
