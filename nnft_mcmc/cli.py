"""The command `nnft`: parse, call, print.

Exit codes: 0, done; 1, a check failed or a run could not go on; 2, bad input, with one line on stderr. JAX and
everything built on it is imported when a command needs it, so that `--help` answers at once.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnft_mcmc import _checks

EXIT_FAILED, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
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
        kept = "; what was sampled is kept, continue with --resume" if options.command is _run else ""
        print(f"nnft: cannot write or read{where}: {error.strerror or error}{kept}.", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        kept = "; what was sampled is kept, continue with --resume" if options.command is _run else ""
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
    return parser


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


def _use_float64() -> None:
    import jax

    jax.config.update("jax_enable_x64", True)


def _run(options: argparse.Namespace) -> int:
    _use_float64()
    from nnft_mcmc.runs import config, driver, report

    configuration = config.load(options.config, options.set)
    if not options.quiet:
        print(report.announce(configuration, options.out, options.kind), flush=True)
    driver.run(configuration, options.out, options.kind, options.resume, options.quiet)
    if not options.quiet:
        print(f"Done. Next: nnft measure {options.out}; nnft diagnose {options.out}")
    return 0


def _measure(options: argparse.Namespace) -> int:
    _use_float64()
    from nnft_mcmc.runs import measure, report
    from nnft_mcmc.runs.store import RunDirectory

    found = measure.measure(RunDirectory(options.run))
    if options.json:
        print(json.dumps({"observables": {name: m.table() for name, m in found.items()}}))
    else:
        print(report.measurements(found))
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
