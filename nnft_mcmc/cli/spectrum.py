"""`nnft spectrum`."""

import argparse
import json
from pathlib import Path
from typing import Any

from nnft_mcmc.cli._base import EXIT_FAILED, use_float64


def add(commands: Any) -> None:
    """Add the command to the parser."""
    help_text = "the gap and the levels above it, by fits to correlators; exit code 1 where the gap is undefined"
    command = commands.add_parser("spectrum", help=help_text, description=help_text)
    command.add_argument("run", type=Path, metavar="RUN", help="run directory with stored operators or fields")
    command.add_argument("--edge", type=float, metavar="LENGTH", help="distance to keep from both ends of a box")
    command.add_argument("--plot", type=Path, metavar="FILE", help="PNG to write (default plots/spectrum.png)")
    command.add_argument("--json", action="store_true", help="print numbers as JSON")
    command.set_defaults(command=_spectrum)


def _spectrum(options: argparse.Namespace) -> int:
    use_float64()
    from nnft_mcmc.runs import report, spectrum
    from nnft_mcmc.runs.store import RunDirectory

    run = RunDirectory(options.run)
    found = spectrum.of_run(run, options.edge)
    file = run.plots / "spectrum.png" if options.plot is None else options.plot
    drawn = str(spectrum.plot(found, file, run.path.name))
    if options.json:
        print(json.dumps({**spectrum.as_json(found), "plot": drawn}))
    else:
        print("\n".join([spectrum.text(found), *report.incomplete(run), f"Plot: {drawn}"]))
    return EXIT_FAILED if found.gap.energy.reason else 0
