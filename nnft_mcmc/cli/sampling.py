"""`nnft sample`, `nnft draw` and `nnft sweep`: the commands that make draws and can be resumed."""

import argparse
import json
import shlex
from pathlib import Path
from typing import Any

from nnft_mcmc import _checks
from nnft_mcmc.cli._base import use_float64


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    for name, help_text in (
        ("sample", "MCMC of the deformed density into a run directory"),
        ("draw", "independent draws of the undeformed ensemble into a run directory"),
    ):
        command = commands.add_parser(name, help=help_text, description=help_text)
        command.add_argument("config", type=Path, metavar="CONFIG", help="TOML or YAML configuration")
        command.add_argument("--out", type=Path, required=True, metavar="RUN", help="run directory to write")
        command.add_argument("--resume", action="store_true", help="go on with the run that is there")
        command.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="SECTION.KEY=VALUE",
            help="change one entry of the configuration",
        )
        command.add_argument("--quiet", action="store_true", help="print nothing, show no progress bar")
        _add_machine(command)
        command.set_defaults(command=_run, kind=name, resumable=True)
    _add_sweep(commands)


def _add_sweep(commands: Any) -> None:
    help_text = "a grid of configurations, one run for each point; the same command resumes it"
    command = commands.add_parser("sweep", help=help_text, description=help_text)
    command.add_argument("config", type=Path, metavar="CONFIG", help="TOML or YAML configuration")
    command.add_argument(
        "--over",
        action="append",
        required=True,
        metavar="SECTION.KEY=V1,V2,...",
        help="values of one entry; several --over make a grid",
    )
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="directory of the runs")
    command.add_argument("--element", type=int, metavar="K", help="run only point K of the grid, from 0")
    command.add_argument("--list", action="store_true", help="show the grid and how far it has come, run nothing")
    command.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change one entry")
    command.add_argument("--quiet", action="store_true", help="print nothing, show no progress bar")
    command.add_argument("--json", action="store_true", help="print the grid and its observables as JSON")
    _add_machine(command)
    command.set_defaults(command=_sweep, resumable=True)


def _add_machine(command: argparse.ArgumentParser) -> None:
    command.add_argument("--time-limit", type=float, metavar="MINUTES", help="stop cleanly before this much time is up")
    command.add_argument("--devices", type=int, metavar="N", help="share the chains among N devices (default 1)")
    command.add_argument("--neuron-shards", type=int, default=1, metavar="M", help="share the neurons among M of them")
    command.add_argument("--distributed", action="store_true", help="one of several processes, started by srun")
    command.add_argument("--coordinator", metavar="HOST:PORT", help="one of several processes, started by hand")
    command.add_argument("--num-processes", type=int, metavar="N", help="how many, with --coordinator")
    command.add_argument("--process-id", type=int, metavar="I", help="which of them this is, from 0")


def _run(options: argparse.Namespace) -> int:
    use_float64()
    from nnft_mcmc.runs import config, driver, report, stopping
    from nnft_mcmc.sampling.devices import is_first

    with stopping.StopRequest(_deadline(options)) as stop:
        layout = _layout(options)
        configuration = config.load(options.config, options.set)
        speaks = not options.quiet and is_first()
        if speaks:
            print(report.announce(configuration, options.out, options.kind, layout), flush=True)
        run = driver.run(configuration, options.out, options.kind, options.resume, options.quiet, layout, stop)
    if speaks:
        settings = [word for setting in options.set for word in ("--set", setting)]
        again = ["nnft", options.kind, str(options.config), "--out", str(options.out), *settings, "--resume"]
        print(report.ended(run, shlex.join(again)), flush=True)
    return 0


def _sweep(options: argparse.Namespace) -> int:
    use_float64()
    from nnft_mcmc.runs import report, stopping, sweep
    from nnft_mcmc.sampling.devices import is_first

    quiet = options.quiet or options.json
    with stopping.StopRequest(_deadline(options)) as stop:
        layout = _layout(options)
        plan = sweep.plan(options.config, options.set, options.over, options.out)
        points = plan.points if options.element is None else [plan.element(options.element)]
        if not options.list:
            for point in sweep.run_points(plan, points, quiet, layout, stop):
                if not quiet and is_first():
                    print(f"point {point.index} of {len(plan.points)}: {point.name}", flush=True)
    if not is_first():
        return 0
    found = {} if options.list else sweep.measured(plan)
    if options.json:
        print(json.dumps(sweep.as_json(plan, found)))
    elif not options.quiet:
        print(report.sweep(plan, found, stop.cause))
    return 0


def _deadline(options: argparse.Namespace) -> float:
    """When a run has to end, in seconds of time.monotonic(); the limit is counted from the start of the command."""
    if options.time_limit is None:
        return float("inf")
    return options.began + 60 * _checks.positive("--time-limit", options.time_limit)


def _layout(options: argparse.Namespace) -> Any:
    """The devices the options name, after the other processes have been joined."""
    from nnft_mcmc.sampling import devices

    if options.distributed and options.coordinator is not None:
        raise _checks.InputError("--distributed finds the coordinator itself; leave one of it and --coordinator out.")
    if options.distributed or options.coordinator is not None:
        devices.connect(options.coordinator, options.num_processes, options.process_id)
    return devices.Layout(options.devices, options.neuron_shards)
