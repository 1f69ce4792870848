"""`nnft ntk`: tangent kernels."""

import argparse
import json
from pathlib import Path
from typing import Any

from nnft_mcmc.cli._base import EXIT_FAILED, use_float64


def add(commands: Any) -> None:
    """Add the command to the parser."""
    help_text = "tangent kernel of drawn networks against infinite width; exit code 1 where they disagree"
    command = commands.add_parser("ntk", help=help_text, description=help_text)
    command.add_argument("config", type=Path, metavar="CONFIG", help="configuration with [data], or with [lattice]")
    command.add_argument("--num-draws", type=int, default=200, metavar="N", help="networks of each width (default 200)")
    command.add_argument("--trained", default="all", metavar="WHAT", help="all or readout (default all)")
    command.add_argument(
        "--coordinates", default="parameters", metavar="WHICH", help="parameters or standardised (default parameters)"
    )
    command.add_argument("--seed", type=int, metavar="N", help="seed instead of the configuration's")
    command.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change one entry")
    command.add_argument("--out", type=Path, metavar="FILE", help="PNG to write")
    command.add_argument("--json", action="store_true", help="print numbers as JSON")
    command.set_defaults(command=_ntk)


def _ntk(options: argparse.Namespace) -> int:
    use_float64()
    from nnft_mcmc.runs import dynamics_config, ntk, ntk_report

    settings = ntk.Settings(options.num_draws, options.trained, options.coordinates)
    report = ntk.run(dynamics_config.load(options.config, options.set), settings, options.seed)
    drawn = None if options.out is None else str(ntk_report.plot(report, options.out))
    if options.json:
        print(json.dumps({**ntk.as_json(report), "plot": drawn}))
    else:
        print(ntk_report.text(report) + ("" if drawn is None else f"\nPlot: {drawn}"))
    return 0 if report.passed else EXIT_FAILED
