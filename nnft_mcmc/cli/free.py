"""Commands on a configuration alone: `nnft correlators` and `nnft reweight`, from independent draws."""

import argparse
import json
from pathlib import Path
from typing import Any

from nnft_mcmc.cli._base import EXIT_FAILED, use_float64


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    _add_correlators(commands)
    _add_reweight(commands)


def _add_correlators(commands: Any) -> None:
    help_text = "connected 2-, 4- and 6-point functions without insertion, streamed from independent draws"
    command = commands.add_parser("correlators", help=help_text, description=help_text)
    command.add_argument("config", type=Path, metavar="CONFIG", help="TOML or YAML configuration")
    command.add_argument("--order", default="2,4", metavar="2,4,6", help="orders to estimate (default 2,4)")
    command.add_argument("--num-draws", default="1e6", metavar="N", help="number of draws, such as 1e7 (default 1e6)")
    command.add_argument("--points", type=Path, metavar="FILE", help="tuples of points, one on each line: 0; 0.5")
    command.add_argument("--method", default="draws", metavar="METHOD", help="draws of whole networks, or williams")
    command.add_argument("--seed", type=int, metavar="N", help="seed instead of the configuration's")
    command.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change one entry")
    command.add_argument("--json", action="store_true", help="print numbers as JSON")
    command.set_defaults(command=_correlators)


def _add_reweight(commands: Any) -> None:
    help_text = "observables and Z/Z0 by reweighting independent draws; exit code 1 where the weights are too uneven"
    command = commands.add_parser("reweight", help=help_text, description=help_text)
    command.add_argument("config", type=Path, metavar="CONFIG", help="TOML or YAML configuration")
    command.add_argument("--num-draws", default="1e5", metavar="N", help="number of draws, such as 1e6 (default 1e5)")
    command.add_argument("--seed", type=int, metavar="N", help="seed instead of the configuration's")
    command.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change one entry")
    command.add_argument("--json", action="store_true", help="print numbers as JSON")
    command.set_defaults(command=_reweight)


def _correlators(options: argparse.Namespace) -> int:
    use_float64()
    from nnft_mcmc.runs import config, correlators

    orders, num_draws = correlators.parse_orders(options.order), correlators.parse_count(options.num_draws)
    configuration = config.load(options.config, options.set)
    lattice = configuration.ensemble.lattice
    if options.points is None:
        tuples = correlators.default_tuples(lattice, orders)
    else:
        tuples = correlators.read_tuples(options.points, lattice.dim, orders)
    announcement = correlators.announce(configuration, num_draws, options.method)
    if not options.json:
        print(announcement, flush=True)
    found = correlators.estimate(configuration, tuples, num_draws, options.method, options.seed)
    print(json.dumps(correlators.as_json(found)) if options.json else correlators.text(found))
    return 0 if found.symmetric else EXIT_FAILED


def _reweight(options: argparse.Namespace) -> int:
    use_float64()
    from nnft_mcmc.runs import config, correlators, reweight

    num_draws = correlators.parse_count(options.num_draws)
    configuration = config.load(options.config, options.set)
    if not options.json:
        print(reweight.announce(configuration, num_draws), flush=True)
    found = reweight.estimate(configuration, num_draws, options.seed)
    print(json.dumps(reweight.as_json(found)) if options.json else reweight.text(found))
    return 0 if found.weights.trusted else EXIT_FAILED
