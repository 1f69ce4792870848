"""`nnft sweep`: a grid of configurations, one run for each point, made by one process or by one of many for each.

    DIR/sweep.json                    the grid: configuration, varied entries, and each point's name, settings and seed
    DIR/width=10,coupling=0.5/        the run of one point

Entries in one --over, separated by semicolons, vary together, as the spacing and the number of sites do in a box of
given size; several --over make a grid.

Points are compared and extrapolated, so their errors must be independent: each has a seed of its own, derived from
run.seed and the name of the point, unless run.seed is varied itself. A point that is complete is left alone and one
that is not is resumed, so the same command goes on after an interruption; another grid in the same place is refused.
"""

import hashlib
import itertools
import json
import os
import re
import tomllib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import tomli_w

from nnft_mcmc import _checks
from nnft_mcmc.runs import config as configuration
from nnft_mcmc.runs.driver import LENGTH, run
from nnft_mcmc.runs.measure import Measurement, measure
from nnft_mcmc.runs.stopping import StopRequest
from nnft_mcmc.runs.store import RunDirectory
from nnft_mcmc.sampling.devices import Layout, by_first, everyone

FORMAT = 2
SEED = "run.seed"


@dataclass(frozen=True)
class Point:
    """One point of a grid: its place in it, its name, what is set, and the run directory."""

    index: int
    name: str
    settings: dict[str, Any]
    seed: int
    directory: RunDirectory
    config: configuration.Config

    @property
    def draws(self) -> int:
        """How many draws are complete."""
        return self.directory.manifest()["draws"] if self.directory.exists else 0

    @property
    def complete(self) -> bool:
        """Whether all draws that are asked for are there."""
        return self.draws == self.config.sampler.num_samples


@dataclass(frozen=True)
class Sweep:
    """A grid of points over a configuration; the entries of one element of `varied` vary together."""

    path: Path
    tables: dict[str, Any]
    varied: list[dict[str, list[Any]]]
    points: list[Point]

    @property
    def complete(self) -> bool:
        """Whether all points are."""
        return all(point.complete for point in self.points)

    def description(self) -> dict[str, Any]:
        """What sweep.json holds."""
        points = [{"name": p.name, "settings": p.settings, "seed": p.seed} for p in self.points]
        return {"format": FORMAT, "config": _plain(self.tables), "over": _plain(self.varied), "points": _plain(points)}

    def write_description(self) -> None:
        """Write sweep.json, or check that the one there is of the same grid."""
        file = self.path / "sweep.json"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            _create(file, json.dumps(self.description(), indent=2))
        except OSError as error:
            raise _checks.InputError(f"cannot write {file}: {error.strerror}; give another --out directory.") from None
        before, now = read_description(file), self.description()
        changed = configuration.changed_keys(now["config"], before["config"])
        changed = [key for key in changed if key != LENGTH]
        if now["over"] != before["over"] or changed:
            what = f"the configuration differs in {', '.join(changed)}" if changed else _grid_of(before["over"])
            raise _checks.InputError(
                f"{self.path} holds another sweep ({what}); use the same --over and configuration, or give another"
                " --out directory."
            )

    def element(self, number: int) -> Point:
        """One point, by its number in the grid."""
        _checks.integer("--element", number, minimum=0, maximum=len(self.points) - 1)
        return self.points[number]


def plan(file: Path, settings: Sequence[str], over: Sequence[str], path: Path) -> Sweep:
    """The grid of a configuration file over `section.key=v1,v2,...`; everything in it is checked."""
    tables = configuration.override(configuration.read_tables(file), settings)
    varied = [_together(text) for text in over]
    keys = [key for group in varied for key in group]
    if len(set(keys)) != len(keys):
        raise _checks.InputError("--over names one entry twice; give all of its values in one --over.")
    base = configuration.resolve(tables)
    labels = _labels(keys)
    points = []
    columns = [list(zip(*group.values(), strict=True)) for group in varied]
    for index, values in enumerate(itertools.product(*columns)):
        chosen = dict(zip(keys, itertools.chain.from_iterable(values), strict=True))
        name = ",".join(f"{labels[key]}={_in_a_name(value)}" for key, value in chosen.items())
        seed = chosen[SEED] if SEED in chosen else _derived_seed(base.run.seed, name)
        changes = [f"{key}={_toml(value)}" for key, value in {**chosen, SEED: seed}.items()]
        built = configuration.resolve(configuration.override(tables, changes))
        points.append(Point(index, name, chosen, seed, RunDirectory(path / name), built))
    if len({point.name for point in points}) != len(points):
        raise _checks.InputError("--over gives one value twice; give each once.")
    return Sweep(path, base.tables, varied, points)


def run_points(
    sweep: Sweep, points: Sequence[Point], quiet: bool, layout: Layout | None, stop: StopRequest
) -> Iterator[Point]:
    """Make or continue the runs of some points, each given back as it begins, until `stop` asks for an end."""
    by_first(sweep.write_description)
    for point in points:
        if everyone([stop.cause is not None]).any():
            return
        found = by_first(partial(_state, point))
        exists, complete = everyone(found or [0, 0])[0]
        if not complete:
            yield point
            run(point.config, point.directory.path, "sample", bool(exists), quiet, layout, stop)


def _state(point: Point) -> list[int]:
    return [int(point.directory.exists), int(point.complete)]


def measured(sweep: Sweep) -> dict[str, dict[str, Measurement]]:
    """The observables of every point that has draws."""
    return {point.name: measure(point.directory) for point in sweep.points if point.draws}


def as_json(sweep: Sweep, found: Mapping[str, Mapping[str, Measurement]]) -> dict[str, Any]:
    """What `nnft sweep --json` prints."""
    return {
        "complete": sweep.complete,
        "points": [
            {
                "name": p.name,
                "settings": _plain(p.settings),
                "seed": p.seed,
                "run": str(p.directory.path),
                "draws": p.draws,
                "num_samples": p.config.sampler.num_samples,
                "complete": p.complete,
                "observables": {name: m.table() for name, m in found.get(p.name, {}).items()},
            }
            for p in sweep.points
        ],
    }


def _together(text: str) -> dict[str, list[Any]]:
    """`section.key=v1,v2,...; section.key=...` as entries with equally many values each."""
    group = dict(_values(part) for part in text.split(";"))
    if len({len(values) for values in group.values()}) > 1 or len(group) != text.count(";") + 1:
        raise _checks.InputError(
            f"--over {text!r} varies entries together; give each once, and equally many values of each."
        )
    return group


def _values(text: str) -> tuple[str, list[Any]]:
    """`section.key=v1,v2,...` as the name of the entry and its values, read as TOML or else as plain strings."""
    key, separator, listed = text.partition("=")
    if not separator or "." not in key or not listed.strip():
        raise _checks.InputError(
            f"--over {text!r} is not of the form section.key=v1,v2,..., such as architecture.width=10,20,40."
        )
    try:
        return key.strip(), tomllib.loads(f"values = [{listed}]")["values"]
    except tomllib.TOMLDecodeError:
        return key.strip(), [item.strip() for item in listed.split(",")]


def _labels(keys: Sequence[str]) -> dict[str, str]:
    """Entries by their last word, where no other has the same."""
    last = {key: key.rpartition(".")[2] for key in keys}
    words = list(last.values())
    return {key: word if words.count(word) == 1 else key for key, word in last.items()}


def _in_a_name(value: Any) -> str:
    if isinstance(value, list):
        return "x".join(map(_in_a_name, value))
    return re.sub(r"[^\w.+-]", "_", str(value))


def _derived_seed(seed: int, name: str) -> int:
    """53 bits, which every reader of JSON keeps, that depend on the seed of the sweep and on the name of a point."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "big") >> 11


def _toml(value: Any) -> str:
    return tomli_w.dumps({"value": value}).partition("=")[2].strip()


def _plain(value: Any) -> Any:
    """As JSON reads it back; what is not finite becomes a string, for JSON has no infinity."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and abs(value) == float("inf") else value


def _grid_of(over: Sequence[Mapping[str, Sequence[Any]]]) -> str:
    groups = ["; ".join(f"{key}={','.join(map(str, values))}" for key, values in group.items()) for group in over]
    return " ".join(f"--over {group!r}" for group in groups)


def _create(file: Path, text: str) -> None:
    """Make a file, whole, unless it is there; of several processes that try one succeeds."""
    if file.exists():
        return
    temporary = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
    temporary.write_text(text, encoding="utf-8")
    try:
        os.link(temporary, file)
    except FileExistsError:
        return
    finally:
        temporary.unlink()


def read_description(file: Path) -> dict[str, Any]:
    """What sweep.json holds."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise _checks.InputError(f"cannot read {file}: {error.strerror}; give the directory of a sweep.") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        found = None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise _checks.InputError(f"{file} is damaged or of another version; give another --out directory.")
    return found
