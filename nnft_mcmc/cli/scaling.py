"""`nnft scaling`: width sweeps of a deep network."""

import argparse
import json
from pathlib import Path
from typing import Any

from nnft_mcmc.cli._base import EXIT_FAILED, use_float64


def add(commands: Any) -> None:
    """Add the command to the parser."""
    help_text = "exponents of N of a deep network in training; exit code 1 where a desideratum is broken"
    command = commands.add_parser("scaling", help=help_text, description=help_text)
    command.add_argument("config", type=Path, metavar="CONFIG", help="TOML or YAML configuration with [scaling]")
    command.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change one entry")
    command.add_argument("--out", type=Path, metavar="FILE", help="PNG to write: the coordinate check")
    command.add_argument("--json", action="store_true", help="print numbers as JSON")
    command.set_defaults(command=_scaling)


def _scaling(options: argparse.Namespace) -> int:
    use_float64()
    from nnft_mcmc.runs import dynamics_config, scaling, scaling_report

    plan = scaling.plan(dynamics_config.load(options.config, options.set))
    if not options.json:
        print(scaling_report.announce(plan), flush=True)
    report = scaling.run(plan)
    drawn = None if options.out is None else str(scaling_report.plot(report, options.out))
    if options.json:
        print(json.dumps({**scaling.as_json(report), "plot": drawn}))
    else:
        print(scaling_report.text(report) + ("" if drawn is None else f"\nPlot: {drawn}"))
    return 0 if report.scaling.passed else EXIT_FAILED
