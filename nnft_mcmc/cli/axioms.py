"""`nnft axioms`, of a run or of a configuration."""

import argparse
import json
from pathlib import Path
from typing import Any

from nnft_mcmc import _checks
from nnft_mcmc.cli._base import EXIT_FAILED, use_float64


def add(commands: Any) -> None:
    """Add the command to the parser."""
    help_text = "the axioms: invariance, reflection positivity, clustering; exit code 1 where one is violated"
    command = commands.add_parser("axioms", help=help_text, description=help_text)
    command.add_argument("theory", type=Path, metavar="RUN|CONFIG", help="run directory, or configuration to draw from")
    command.add_argument("--num-draws", metavar="N", help="draws of a CONFIG, such as 1e6 (default 1e5)")
    command.add_argument("--false-alarm", type=float, default=1e-3, metavar="A", help="of each axiom (default 1e-3)")
    command.add_argument("--seed", type=int, metavar="N", help="seed instead of the configuration's")
    command.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change one entry")
    command.add_argument("--plot", type=Path, metavar="FILE", help="PNG to write (default for a RUN: plots/axioms.png)")
    command.add_argument("--json", action="store_true", help="print numbers as JSON")
    command.set_defaults(command=_axioms)


def _axioms(options: argparse.Namespace) -> int:
    use_float64()
    from nnft_mcmc.runs import axiom_report, axioms, config, correlators
    from nnft_mcmc.runs.store import RunDirectory

    plot = options.plot
    if options.theory.is_dir():
        if options.set or options.num_draws is not None or options.seed is not None:
            raise _checks.InputError("--set, --num-draws and --seed are for a CONFIG; a RUN has its draws already.")
        run = RunDirectory(options.theory)
        found = axioms.of_run(run, options.false_alarm)
        plot = run.plots / "axioms.png" if plot is None else plot
    else:
        num_draws = correlators.parse_count(options.num_draws or "1e5")
        configuration = config.load(options.theory, options.set)
        found = axioms.of_config(configuration, num_draws, options.false_alarm, options.seed)
    drawn = None if plot is None else str(axiom_report.plot(found, plot))
    if options.json:
        print(json.dumps({**axiom_report.as_json(found), "plot": drawn}))
    else:
        print(axiom_report.text(found) + ("" if drawn is None else f"\nPlot: {drawn}"))
    return EXIT_FAILED if found.rejected else 0
