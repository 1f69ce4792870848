"""`nnft convert`: couplings and observables of lattice phi^4 in another convention."""

import argparse
import json
from pathlib import Path
from typing import Any

from nnft_mcmc import _checks, conventions
from nnft_mcmc.cli._base import use_float64

NETWORK = "network"


def add(commands: Any) -> None:
    """Add the command to the parser."""
    names = ", ".join(conventions.CONVENTIONS)
    help_text = "couplings and observables of lattice phi^4 in another convention"
    command = commands.add_parser("convert", help=help_text, description=f"{help_text}: {names}")
    command.add_argument("values", nargs="*", metavar="NAME=VALUE", help="couplings, and observables to convert")
    command.add_argument("--from", dest="source", metavar="CONVENTION", help=names)
    command.add_argument("--to", dest="target", required=True, metavar="CONVENTION", help="one of those, or network")
    command.add_argument("--dim", type=int, metavar="D", help="dimension of the lattice")
    command.add_argument("--spacing", type=float, default=1.0, metavar="A", help="lattice spacing (default 1)")
    command.add_argument("--to-spacing", type=float, default=1.0, metavar="A", help="spacing wanted (default 1)")
    command.add_argument("--mass", type=float, metavar="M", help="mass of the free field, with --to network")
    command.add_argument("--run", type=Path, metavar="RUN", help="convert the observables of a run")
    command.add_argument("--json", action="store_true", help="print numbers as JSON")
    command.set_defaults(command=_convert)


def _convert(options: argparse.Namespace) -> int:
    target = "continuum" if options.target == NETWORK else options.target
    if options.mass is not None and options.target != NETWORK:
        raise _checks.InputError("--mass splits off the free field of a network; give it with --to network only.")
    if options.run is not None:
        return _convert_run(options, target)
    if options.source is None or options.dim is None:
        raise _checks.InputError("--from and --dim are missing; give both, or --run RUN.")
    _checks.one_of("--from", options.source, conventions.CONVENTIONS)
    couplings, observables = _sorted(options.values)
    to = conventions.convert(options.source, target, couplings, options.dim, options.spacing, options.to_spacing)
    found = {name: {"value": to.observable(name, value)} for name, value in observables.items()}
    part = conventions.free_part(**to.couplings, mass=options.mass) if options.target == NETWORK else None
    _print(options, to, found, part)
    return 0


def _convert_run(options: argparse.Namespace, target: str) -> int:
    if options.values or options.source is not None or options.dim is not None or options.target == NETWORK:
        raise _checks.InputError("--run takes couplings and dimension from the run; give --to CONVENTION only.")
    use_float64()
    from nnft_mcmc.runs import converted
    from nnft_mcmc.runs.store import RunDirectory

    to, found = converted.of_run(RunDirectory(options.run), target, options.to_spacing)
    _print(options, to, found, None)
    return 0


def _sorted(pairs: list[str]) -> tuple[dict[str, float], dict[str, float]]:
    """NAME=VALUE pairs as couplings and observables."""
    couplings: dict[str, float] = {}
    observables: dict[str, float] = {}
    for pair in pairs:
        name, separator, text = pair.partition("=")
        try:
            value = float(text)
        except ValueError:
            separator = ""
        if not separator:
            raise _checks.InputError(f"{pair!r} is not of the form NAME=VALUE, such as lam=6.975.")
        measured = name in conventions.OBSERVABLES or name in conventions.PER_SITE
        (observables if measured else couplings)[name] = value
    return couplings, observables


def _print(
    options: argparse.Namespace,
    to: conventions.Conversion,
    observables: dict[str, dict[str, float]],
    part: conventions.FreePart | None,
) -> None:
    if options.json:
        answer: dict[str, Any] = {
            "from": to.source,
            "to": to.target,
            "dim": to.dim,
            "couplings": to.couplings,
            "field_scale": to.field_scale,
            "constant_shift": to.constant_shift,
            "observables": observables,
        }
        if part is not None:
            answer["network"] = {"mass": part.mass, "quadratic": part.quadratic, "coupling": part.coupling}
        print(json.dumps(answer))
        return
    lines = [f"{name} = {value:.10g}" for name, value in to.couplings.items()]
    lines.append(f"phi_{to.source} = {to.field_scale:.10g} phi_{to.target}")
    for name, numbers in observables.items():
        error = f" +- {numbers['error']:.2g}" if "error" in numbers else ""
        lines.append(f"{name} = {numbers['value']:.10g}{error}")
    if part is not None:
        lines += ["", f"mass = {part.mass:.10g}    # in [architecture]", *_tables(part)]
    print("\n".join(lines))


def _tables(part: conventions.FreePart) -> list[str]:
    """The insertions of a configuration; a coupling that is zero needs none."""
    powers = [(degree, c) for degree, c in ((2, part.quadratic), (4, part.coupling)) if c != 0.0]
    return [
        f'[[insertion]]\nname = "phi_power"\ndegree = {degree}\ncoupling = {coupling:.10g}'
        for degree, coupling in powers
    ]
