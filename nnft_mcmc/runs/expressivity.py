"""`nnft expressivity CONFIG`: the error of several networks in one function against their width.

    [target]                       name and, if you like, the box lower, upper; or file = samples (.npz, .csv)
    [expressivity]                 widths, methods, num_draws, num_points, steps, learning_rate
    [[approximant]]                an architecture without dim and width (`approximants`); `label` names its curve
    [run]                          seed

The methods are those of `expressivity.curves`. What theorems say is checked: a construction keeps below its bound, a
network that is not universal above its floor.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from nnft_mcmc import _checks
from nnft_mcmc.dynamics.data import as_points
from nnft_mcmc.expressivity import curves
from nnft_mcmc.expressivity.curves import METHODS, OF_ARCHITECTURES, Curve, Point
from nnft_mcmc.expressivity.features import Method, drawn, is_linear, num_output_weights, trained
from nnft_mcmc.expressivity.floors import floor_of
from nnft_mcmc.expressivity.problem import Problem, of_samples, of_target
from nnft_mcmc.expressivity.targets import target
from nnft_mcmc.runs.approximants import Approximant, approximant
from nnft_mcmc.runs.config import build, known_keys, override, read_tables, section_of
from nnft_mcmc.runs.dynamics_config import Seed
from nnft_mcmc.runs.samples import read_samples

SECTIONS = ("target", "expressivity", "approximant", "run")
# Relative, of a measured error against its floor: the check nodes are not those of the floor.
SLACK = 1e-6


@dataclass(frozen=True)
class TargetSettings:
    """[target]."""

    name: str | None = None
    lower: Any = None
    upper: Any = None
    file: str | None = None


@dataclass(frozen=True)
class ExpressivitySettings:
    """[expressivity]."""

    widths: Any
    methods: Any = ("random_features",)
    num_draws: int = 16
    num_points: int | None = None
    steps: int = 2000
    learning_rate: float = 0.01

    def __post_init__(self) -> None:
        for name, value in (("widths", self.widths), ("methods", self.methods)):
            if not isinstance(value, (list, tuple)) or not value:
                raise _checks.InputError(f"expressivity.{name} is {value!r}; it must be a list of one entry or more.")
        widths = [_checks.integer("an entry of expressivity.widths", width, 1) for width in self.widths]
        if widths != sorted(set(widths)):
            raise _checks.InputError(f"expressivity.widths is {widths}; the widths must increase.")
        for method in self.methods:
            _checks.one_of("an entry of expressivity.methods", method, METHODS)
        _checks.integer("expressivity.num_draws", self.num_draws, minimum=1)
        _checks.integer("expressivity.steps", self.steps, minimum=1)
        _checks.positive("expressivity.learning_rate", self.learning_rate)


@dataclass(frozen=True, eq=False)
class Plan:
    """What a configuration asks for."""

    problem: Problem
    settings: ExpressivitySettings
    approximants: tuple[Approximant, ...]
    seed: int


@dataclass(frozen=True, eq=False)
class Study:
    """The curves; `breaches` says which theorem was violated, by a fault of the code."""

    problem: Problem
    curves: tuple[Curve, ...]
    breaches: tuple[str, ...]


def load(path: Path, settings: Iterable[str] = ()) -> Plan:
    """The configuration in a file, with `section.key=value` settings put over it."""
    return resolve(override(read_tables(path), settings, SECTIONS), path.resolve().parent)


def resolve(tables: Mapping[str, Any], folder: Path = Path()) -> Plan:
    """Build what `tables` describe, refusing what cannot be."""
    known_keys("configuration", tables, SECTIONS)
    run, _ = build("run", Seed, tables.get("run", {}))
    settings, _ = build("expressivity", ExpressivitySettings, section_of(tables, "expressivity"))
    of, _ = build("target", TargetSettings, section_of(tables, "target"))
    problem = _problem(of, settings, folder, run.seed)
    given = tables.get("approximant", [])
    listed = given if isinstance(given, list) else [given]
    approximants = tuple(approximant(table, problem, settings.widths) for table in listed)
    wanted = [method for method in settings.methods if method in OF_ARCHITECTURES]
    if wanted and not approximants:
        raise _checks.InputError(f"expressivity.methods has {wanted[0]}; add an [[approximant]], such as dense_net.")
    labels = [family.label for family in approximants]
    twice = [label for label in labels if labels.count(label) > 1]
    if twice:
        raise _checks.InputError(f"two [[approximant]] are called {twice[0]!r}; give each a `label` of its own.")
    _check_of_target(problem, settings)
    if wanted:
        _check_points(problem, approximants)
    return Plan(problem, settings, approximants, run.seed)


def _check_points(problem: Problem, approximants: Iterable[Approximant]) -> None:
    for family in approximants:
        width, number = max((width, num_output_weights(network)) for width, network in family.networks.items())
        if 2 * number > len(problem.fit_values):
            raise _checks.InputError(
                f"{family.label} of width {width} has {number} output weights and there are {len(problem.fit_values)}"
                " points to fit; give twice as many points as output weights at least (expressivity.num_points)."
            )


def _check_of_target(problem: Problem, settings: ExpressivitySettings) -> None:
    of_targets = [method for method in settings.methods if method not in OF_ARCHITECTURES]
    if of_targets and problem.target is None:
        raise _checks.InputError(
            f"expressivity.methods has {of_targets[0]}, which needs a [target] with a name: of samples neither modulus"
            " nor spectrum is known."
        )


def _problem(of: TargetSettings, settings: ExpressivitySettings, folder: Path, seed: int) -> Problem:
    if (of.name is None) == (of.file is None):
        raise _checks.InputError("[target] needs one of name and file; give the one or the other.")
    if of.name is not None:
        return of_target(target(of.name, of.lower, of.upper), settings.num_points)
    if of.lower is not None or of.upper is not None or settings.num_points is not None:
        raise _checks.InputError("target.file has its own points; leave out lower, upper and expressivity.num_points.")
    path = folder / str(of.file)
    inputs, targets, _ = read_samples("target.file", path)
    points, values = as_points("target.file", inputs), np.asarray(targets, dtype=np.float64)
    if values.shape != points.shape[:1] or not np.isfinite(values).all():
        raise _checks.InputError(f"target.file {path} must hold one finite target for each of its points.")
    return of_samples(path.name, points, values, seed)


def study(plan: Plan, progress: Callable[[str], object] = lambda text: None) -> Study:
    """All curves of a plan; `progress` is told what is done next."""
    found = tuple(_curves(plan, progress))
    return Study(plan.problem, found, tuple(_breaches(found)))


def _curves(plan: Plan, progress: Callable[[str], object]) -> Iterator[Curve]:
    problem, settings = plan.problem, plan.settings
    number = 0
    for method in settings.methods:
        if method in OF_ARCHITECTURES:
            for family in plan.approximants:
                yield _of_approximant(plan, family, method, number, progress)
                number += 1
            continue
        progress(method)
        points = _of_target(plan, method, number)
        yield Curve(problem.name, method, points, random=method != "construction")
        number += 1


def _of_approximant(
    plan: Plan, family: Approximant, method: str, number: int, progress: Callable[[str], object]
) -> Curve:
    problem, settings = plan.problem, plan.settings
    features: Method = trained(settings.steps, settings.learning_rate) if method == "training" else drawn
    points = []
    for width, network in family.networks.items():
        progress(f"{family.label}, {method}, width {width}")
        key = _key(plan.seed, number, width)
        points.append(curves.of_features(features, network, width, problem, key, settings.num_draws))
    network = next(iter(family.networks.values()))
    of = problem.target
    floor = 0.0 if of is None else floor_of(network, of.f, of.lower, of.upper)
    return Curve(family.label, method, tuple(points), floor, random=not is_linear(network))


def _of_target(plan: Plan, method: str, number: int) -> tuple[Point, ...]:
    of, settings = plan.problem.target, plan.settings
    if of is None:
        return ()
    if method == "construction":
        points = [curves.construction(of, plan.problem, width) for width in settings.widths]
        # In more than one dimension a sum of ridges has the width of its degree: several may be the same.
        return tuple({point.width: point for point in points}.values())
    return tuple(
        curves.fourier_draws(of, plan.problem, width, _key(plan.seed, number, width), settings.num_draws)
        for width in settings.widths
    )


def _key(seed: int, number: int, width: int) -> jax.Array:
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), number), width)


def _breaches(found: Iterable[Curve]) -> Iterator[str]:
    for curve in found:
        for point in curve.points:
            where, sup, rms = f"{curve.label}, width {point.width}", point.sup.max(), point.rms.min()
            if sup > point.bound:
                yield f"{where}: error {sup:.6g} above its bound {point.bound:.6g}"
            if rms < curve.floor * (1 - SLACK):
                yield f"{where}: error {rms:.6g} below its floor {curve.floor:.6g}"
