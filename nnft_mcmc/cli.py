"""The command `nnft`: parse, call, print.

Exit codes: 0, done; 1, a check failed or a run could not go on; 2, bad input, with one line on stderr. JAX and
everything built on it is imported when a command needs it, so that `--help` answers at once.
"""

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnft_mcmc import _checks

EXIT_FAILED, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    options.began = time.monotonic()
    try:
        return options.command(options)
    except _checks.InputError as error:
        print(f"nnft: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except BrokenPipeError:  # the reader of our output, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        kept = "; what was sampled is kept, continue with --resume" if options.command in (_run, _sweep) else ""
        print(f"nnft: cannot write or read{where}: {error.strerror or error}{kept}.", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        kept = "; what was sampled is kept, continue with --resume" if options.command in (_run, _sweep) else ""
        print(f"\nnnft: interrupted{kept}.", file=sys.stderr)
        return EXIT_INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nnft",
        description="Neural-network field theory: ensembles of networks as field theories, sampled and held against"
        " exact answers.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

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
        command.set_defaults(command=_run, kind=name)

    for name, function, help_text in (
        ("measure", _measure, "observables with autocorrelated errors, tau_int, ESS and R-hat"),
        ("diagnose", _diagnose, "whether the run is converged; exit code 1 where it is not"),
        ("compare", _compare, "hold a run against a reference; exit code 1 where they disagree"),
    ):
        command = commands.add_parser(name, help=help_text, description=help_text)
        command.add_argument("run", type=Path, metavar="RUN", help="run directory")
        if name == "compare":
            command.add_argument("reference", metavar="REFERENCE", help="exact")
        command.add_argument("--json", action="store_true", help="print numbers as JSON")
        command.set_defaults(command=function)

    export = commands.add_parser("export", help="write a run as one file for other programs")
    export.add_argument("run", type=Path, metavar="RUN", help="run directory")
    export.add_argument("--to", required=True, metavar="FORMAT", help="netcdf")
    export.add_argument("--out", type=Path, required=True, metavar="FILE", help="file to write")
    export.set_defaults(command=_export)
    _add_correlators(commands)
    _add_reweight(commands)
    _add_axioms(commands)
    _add_sweep(commands)
    return parser


def _add_machine(command: argparse.ArgumentParser) -> None:
    command.add_argument("--time-limit", type=float, metavar="MINUTES", help="stop cleanly before this much time is up")
    command.add_argument("--devices", type=int, metavar="N", help="share the chains among N devices (default 1)")
    command.add_argument("--neuron-shards", type=int, default=1, metavar="M", help="share the neurons among M of them")
    command.add_argument("--distributed", action="store_true", help="one of several processes, started by srun")
    command.add_argument("--coordinator", metavar="HOST:PORT", help="one of several processes, started by hand")
    command.add_argument("--num-processes", type=int, metavar="N", help="how many, with --coordinator")
    command.add_argument("--process-id", type=int, metavar="I", help="which of them this is, from 0")


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
    command.set_defaults(command=_sweep)


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


def _add_axioms(commands: Any) -> None:
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


def _add_reweight(commands: Any) -> None:
    help_text = "observables and Z/Z0 by reweighting independent draws; exit code 1 where the weights are too uneven"
    command = commands.add_parser("reweight", help=help_text, description=help_text)
    command.add_argument("config", type=Path, metavar="CONFIG", help="TOML or YAML configuration")
    command.add_argument("--num-draws", default="1e5", metavar="N", help="number of draws, such as 1e6 (default 1e5)")
    command.add_argument("--seed", type=int, metavar="N", help="seed instead of the configuration's")
    command.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change one entry")
    command.add_argument("--json", action="store_true", help="print numbers as JSON")
    command.set_defaults(command=_reweight)


def _use_float64() -> None:
    import jax

    jax.config.update("jax_enable_x64", True)


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


def _run(options: argparse.Namespace) -> int:
    _use_float64()
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
    _use_float64()
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


def _measure(options: argparse.Namespace) -> int:
    _use_float64()
    from nnft_mcmc.runs import measure, report
    from nnft_mcmc.runs.store import RunDirectory

    run = RunDirectory(options.run)
    found = measure.measure(run)
    if options.json:
        progress = {key: run.manifest()[key] for key in ("draws", "num_samples")}
        print(json.dumps({"observables": {name: m.table() for name, m in found.items()}, **progress}))
    else:
        print("\n".join([report.measurements(found), *report.incomplete(run)]))
    return 0


def _diagnose(options: argparse.Namespace) -> int:
    _use_float64()
    from nnft_mcmc.runs import diagnose, plots, report
    from nnft_mcmc.runs.store import RunDirectory

    run = RunDirectory(options.run)
    checks = diagnose.diagnose(run)
    plot = plots.plot_chains(run)
    if options.json:
        print(json.dumps({**diagnose.as_json(checks), "plot": str(plot)}))
    else:
        print(f"{report.diagnosis(checks)}\nTraces and autocorrelations: {plot}")
    return 0 if diagnose.converged(checks) else EXIT_FAILED


def _compare(options: argparse.Namespace) -> int:
    _use_float64()
    from nnft_mcmc.runs import compare, plots, report
    from nnft_mcmc.runs.store import RunDirectory

    run = RunDirectory(options.run)
    comparison = compare.compare(run, options.reference)
    plot = plots.plot_comparison(run, comparison)
    if options.json:
        print(json.dumps({**compare.as_json(comparison), "plot": str(plot)}))
    else:
        print(f"{report.comparison(comparison)}\nG(t) against the exact curve: {plot}")
    return 0 if comparison.agrees else EXIT_FAILED


def _export(options: argparse.Namespace) -> int:
    _use_float64()
    from nnft_mcmc.runs import export
    from nnft_mcmc.runs.store import RunDirectory

    export.export(RunDirectory(options.run), options.to, options.out)
    print(f"Wrote {options.out}")
    return 0


def _correlators(options: argparse.Namespace) -> int:
    _use_float64()
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


def _axioms(options: argparse.Namespace) -> int:
    _use_float64()
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


def _reweight(options: argparse.Namespace) -> int:
    _use_float64()
    from nnft_mcmc.runs import config, correlators, reweight

    num_draws = correlators.parse_count(options.num_draws)
    configuration = config.load(options.config, options.set)
    if not options.json:
        print(reweight.announce(configuration, num_draws), flush=True)
    found = reweight.estimate(configuration, num_draws, options.seed)
    print(json.dumps(reweight.as_json(found)) if options.json else reweight.text(found))
    return 0 if found.weights.trusted else EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
