"""The command `nnft train`: train an ensemble and hold it against the exact solution."""

import argparse
import json
from pathlib import Path
from typing import Any

from nnft_mcmc.cli._base import use_float64


def add(commands: Any) -> None:
    """Add the command to the parser."""
    help_text = "train an ensemble of networks: mean and spread at test points, beside the exactly solved model"
    command = commands.add_parser("train", help=help_text, description=help_text)
    command.add_argument("config", type=Path, metavar="CONFIG", help="TOML or YAML configuration")
    command.add_argument("--out", type=Path, metavar="DIR", help="directory for trajectories, results and plots")
    command.add_argument("--resume", action="store_true", help="go on with what is in --out")
    command.add_argument("--devices", type=int, default=1, metavar="N", help="devices that share the networks")
    command.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change one entry")
    command.add_argument("--quiet", action="store_true", help="no progress bar")
    command.add_argument("--json", action="store_true", help="print numbers as JSON")
    command.set_defaults(command=_train, resumable=True)


def _train(options: argparse.Namespace) -> int:
    use_float64()
    from nnft_mcmc.runs import dynamics_config, training, training_report

    if options.out is None:
        del options.resumable  # nothing is kept
    configuration = dynamics_config.load(options.config, options.set)
    if not options.json:
        print(training_report.announce(configuration, options.out), flush=True)
    quiet = options.quiet or options.json
    found = training.run(configuration, options.out, options.resume, quiet, options.devices)
    if options.out is not None:
        _write(found, options.out)
    print(json.dumps(training.as_json(found)) if options.json else training_report.text(found), flush=True)
    return 0


def _write(found: Any, out: Path) -> None:
    from nnft_mcmc.runs import plots_of_training, training, training_report
    from nnft_mcmc.runs.training_store import TrainingDirectory

    directory = TrainingDirectory(out)
    directory.write_dataset(training_report.dataset(found))
    directory.write_results(training.as_json(found))
    plots_of_training.plot_bands(found, directory.plots / "bands.png")
    plots_of_training.plot_losses(found, directory.plots / "loss.png")
