"""`nnft compare`: a run against a reference."""

import argparse
import json
from pathlib import Path
from typing import Any

from nnft_mcmc.cli._base import EXIT_FAILED, use_float64


def add(commands: Any) -> None:
    """Add the command to the parser."""
    help_text = "hold a run against a reference; exit code 1 where they disagree"
    command = commands.add_parser("compare", help=help_text, description=help_text)
    command.add_argument("run", type=Path, metavar="RUN", help="run directory")
    command.add_argument(
        "reference",
        metavar="REFERENCE",
        help="exact, infinite-width, lattice, perturbation, or the directory of another run",
    )
    command.add_argument("--json", action="store_true", help="print numbers as JSON")
    command.set_defaults(command=_compare)


def _compare(options: argparse.Namespace) -> int:
    use_float64()
    from nnft_mcmc.runs import compare, compare_report
    from nnft_mcmc.runs.store import RunDirectory

    run = RunDirectory(options.run)
    comparison = compare.compare(run, options.reference)
    plot = compare_report.plot(run, comparison)
    if options.json:
        print(json.dumps({**compare_report.as_json(comparison), "plot": str(plot)}))
    else:
        against = "the exact curve" if options.reference == "exact" else "the reference"
        print(f"{compare_report.text(comparison)}\nG(t) against {against}: {plot}")
    return 0 if comparison.agrees else EXIT_FAILED
