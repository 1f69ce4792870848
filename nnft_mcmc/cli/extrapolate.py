"""`nnft extrapolate`: the limit of a sweep."""

import argparse
import json
from pathlib import Path
from typing import Any

from nnft_mcmc import _checks
from nnft_mcmc.cli._base import EXIT_FAILED, use_float64


def add(commands: Any) -> None:
    """Add the command to the parser."""
    help_text = "the limit of a sweep in width, cut-off, spacing or volume; exit code 1 where there is none"
    command = commands.add_parser("extrapolate", help=help_text, description=help_text)
    command.add_argument("sweep", type=Path, metavar="DIR", help="directory of a sweep")
    command.add_argument(
        "--observable", action="append", default=[], metavar="NAME", help="only this one (default: all scalar ones)"
    )
    command.add_argument("--in", dest="key", metavar="SECTION.KEY", help="entry that goes to its limit")
    command.add_argument("--powers", metavar="P1,P2,...", help="powers of x that are fitted, such as 1,2")
    command.add_argument("--rate", type=float, metavar="M", help="rate of the approach to infinite volume, in 1/length")
    command.add_argument("--plot", type=Path, metavar="FILE", help="PNG to write (default: DIR/extrapolate.png)")
    command.add_argument("--json", action="store_true", help="print numbers as JSON")
    command.set_defaults(command=_extrapolate)


def _extrapolate(options: argparse.Namespace) -> int:
    use_float64()
    from nnft_mcmc.runs import extrapolate, extrapolate_report

    powers = None if options.powers is None else _powers(options.powers)
    found = extrapolate.extrapolate_sweep(options.sweep, options.observable, options.key, powers, options.rate)
    plot = extrapolate_report.plot(found, options.plot or options.sweep / "extrapolate.png")
    if options.json:
        print(json.dumps({**extrapolate.as_json(found), "plot": str(plot)}))
    else:
        print(f"{extrapolate_report.text(found)}\n\nValues against x: {plot}")
    limits = [outcome.limit is not None for series in found for outcome in series.outcomes]
    return 0 if (all(limits) if options.observable else any(limits)) and limits else EXIT_FAILED


def _powers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise _checks.InputError(f"--powers is {text!r}; give numbers separated by commas, such as 1,2.") from None
