"""`nnft expressivity`: errors of approximation against width."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from nnft_mcmc.cli._base import EXIT_FAILED, use_float64


def add(commands: Any) -> None:
    """Add the command to the parser."""
    help_text = "error against width of networks that approximate one function; exit code 1 where a theorem is violated"
    command = commands.add_parser("expressivity", help=help_text, description=help_text)
    command.add_argument("config", type=Path, metavar="CONFIG", help="configuration with [target] and [expressivity]")
    command.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change one entry")
    command.add_argument("--out", type=Path, metavar="DIR", help="directory for expressivity.png and errors.csv")
    command.add_argument("--json", action="store_true", help="print numbers as JSON")
    command.set_defaults(command=_expressivity)


def _expressivity(options: argparse.Namespace) -> int:
    use_float64()
    from nnft_mcmc.runs import expressivity, expressivity_report

    plan = expressivity.load(options.config, options.set)
    found = expressivity.study(plan, _announce)
    files = {}
    if options.out is not None:
        files["plot"] = str(expressivity_report.plot(found, options.out / "expressivity.png"))
        files["data"] = str(expressivity_report.write_data(found, options.out / "errors.csv"))
    if options.json:
        print(json.dumps({**expressivity_report.as_json(found), **files}))
    else:
        print(expressivity_report.text(found) + "".join(f"\n{name.capitalize()}: {at}" for name, at in files.items()))
    return EXIT_FAILED if found.breaches else 0


def _announce(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
