"""`nnft report`: a run as one HTML page."""

import argparse
from pathlib import Path
from typing import Any

from nnft_mcmc.cli._base import use_float64


def add(commands: Any) -> None:
    """Add the command to the parser."""
    help_text = "one self-contained HTML page: verdict, observables, exact answer, plots, configuration"
    command = commands.add_parser("report", help=help_text, description=help_text)
    command.add_argument("run", type=Path, metavar="RUN", help="run directory")
    command.add_argument("--out", type=Path, metavar="FILE", help="page to write (default: RUN/report.html)")
    command.set_defaults(command=_report)


def _report(options: argparse.Namespace) -> int:
    use_float64()
    from nnft_mcmc.runs import page
    from nnft_mcmc.runs.store import RunDirectory

    run = RunDirectory(options.run)
    print(f"Wrote {page.write(run, options.out or options.run / 'report.html')}")
    return 0
