"""Configurations: TOML (or YAML) tables to objects, checked before anything is compiled or written.

Sections [architecture], [lattice], [insertion] (or several [[insertion]]), [sampler], [run]. `name` picks a class from
a closed registry; the other keys are its constructor's arguments. Nothing is guessed: an unknown key is an error that
names the nearest valid one, and the resolved configuration, defaults written out, goes into the run.
"""

import copy
import functools
import inspect
import operator
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from nnft_mcmc import _checks, architectures, insertions, sampling
from nnft_mcmc.architectures import Architecture
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.lattice import Lattice
from nnft_mcmc.sampling import Sampler

STORABLE = ("field", "parameters", "operators")
SECTIONS = ("architecture", "lattice", "insertion", "sampler", "run")


@dataclass(frozen=True)
class RunSettings:
    """[run]: the seed, and what is kept of every draw besides the observables, which always are."""

    seed: int = 0
    store: tuple[str, ...] = ("field",)

    def __post_init__(self) -> None:
        _checks.integer("run.seed", self.seed, minimum=0, maximum=2**63 - 1)
        if not isinstance(self.store, (list, tuple)):
            raise _checks.InputError(f"run.store is {self.store!r}; it must be a list of {', '.join(STORABLE)}.")
        object.__setattr__(self, "store", tuple(_checks.one_of("run.store", item, STORABLE) for item in self.store))


@dataclass(frozen=True)
class Config:
    """A configuration with everything built from it; `tables` is the resolved text, defaults included."""

    ensemble: Ensemble
    sampler: Sampler
    run: RunSettings
    tables: dict[str, Any]


def load(path: Path, settings: Iterable[str] = ()) -> Config:
    """The configuration in a file, with `section.key=value` settings put over it."""
    return resolve(override(read_tables(path), settings))


def read_tables(path: Path) -> dict[str, Any]:
    """The tables of a TOML file, or of a YAML file (.yaml, .yml)."""
    try:
        text = path.read_text(encoding="utf-8")
        tables = yaml.safe_load(text) if path.suffix in (".yaml", ".yml") else tomllib.loads(text)
    except OSError as error:
        raise _checks.InputError(
            f"cannot read the configuration {path}: {error.strerror}; give a readable file."
        ) from None
    except (tomllib.TOMLDecodeError, yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise _checks.InputError(f"{path} is not a valid configuration file: {reason}; correct it there.") from None
    if not isinstance(tables, dict):
        raise _checks.InputError(f"{path} holds no tables; it needs sections such as architecture, lattice.")
    return tables


def override(tables: Mapping[str, Any], settings: Iterable[str], sections: Iterable[str] = SECTIONS) -> dict[str, Any]:
    """`tables` with every `section.key=value` put in; of several insertions, `insertion.0.key` is the first."""
    result = copy.deepcopy(dict(tables))
    for setting in settings:
        path, separator, text = setting.partition("=")
        section, *keys = path.strip().split(".")
        if not separator or not keys:
            raise _checks.InputError(
                f"--set {setting!r} is not of the form section.key=value, such as lattice.spacing=0.1."
            )
        _checks.one_of("the section of --set", section, sections)
        table: Any = result.setdefault(section, {})
        if isinstance(table, list):
            number, *keys = keys
            table = table[int(number)] if number.isdigit() and int(number) < len(table) else None
        if not isinstance(table, dict) or len(keys) != 1:
            raise _checks.InputError(
                f"--set {setting!r} names no entry of the configuration; write section.key=value, and with several"
                " insertions insertion.0.key=value for the first."
            )
        table[keys[0]] = _value(text.strip())
    return result


def _value(text: str) -> Any:
    """`text` as TOML would read it, else as a plain string."""
    try:
        tables = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return tables["value"] if len(tables) == 1 else text


def resolve(tables: Mapping[str, Any]) -> Config:
    """Build everything that `tables` describe, refusing what cannot be."""
    known_keys("configuration", tables, SECTIONS)
    lattice, of_lattice = build("lattice", Lattice, section_of(tables, "lattice"))
    architecture, of_architecture = build_architecture("architecture", section_of(tables, "architecture"), lattice)
    given = tables.get("insertion", [])
    pairs = [
        choose("insertion", table, insertions.REGISTRY) for table in (given if isinstance(given, list) else [given])
    ]
    insertion = functools.reduce(operator.add, [term for term, _ in pairs]) if pairs else None
    sampler, of_sampler = choose("sampler", tables.get("sampler", {"name": "composite"}), sampling.REGISTRY)
    run, of_run = build("run", RunSettings, tables.get("run", {}))
    resolved: dict[str, Any] = {
        "architecture": of_architecture,
        "lattice": of_lattice,
        "sampler": of_sampler,
        "run": of_run,
    }
    if pairs:
        resolved["insertion"] = [table for _, table in pairs] if len(pairs) > 1 else pairs[0][1]
    ensemble = Ensemble(architecture, lattice, insertion)
    sampler.kernel(ensemble)  # refuses an ensemble that this sampler cannot do
    return Config(ensemble, sampler, run, resolved)


def section_of(tables: Mapping[str, Any], name: str) -> Any:
    """The table of a section that must be there."""
    if name not in tables:
        raise _checks.InputError(f"the configuration has no section [{name}]; add one.")
    return tables[name]


def build_architecture(section: str, table: Any, lattice: Lattice | None) -> tuple[Architecture, dict[str, Any]]:
    """An architecture with its resolved table; `base` has a table of its own, `lattice` is that of [lattice]."""
    given = {} if lattice is None else {"lattice": lattice}
    if not isinstance(table, Mapping) or not isinstance(table.get("base"), Mapping):
        return choose(section, table, architectures.REGISTRY, given)
    base, of_base = build_architecture(f"{section}.base", table["base"], lattice)
    outer = {key: value for key, value in table.items() if key != "base"}
    built, resolved = choose(section, outer, architectures.REGISTRY, {**given, "base": base})
    return built, {**resolved, "base": of_base}


def choose(
    section: str, table: Any, registry: Mapping[str, type], given: Mapping[str, Any] | None = None
) -> tuple[Any, dict[str, Any]]:
    """The object of registered class table['name'], with its resolved table; `given` are built arguments."""
    if not isinstance(table, Mapping) or "name" not in table:
        raise _checks.InputError(f"[{section}] has no name; it must be one of {', '.join(registry)}.")
    name = _checks.one_of(f"{section}.name", table["name"], registry)
    arguments = {key: value for key, value in table.items() if key != "name"}
    built, resolved = build(section, registry[name], arguments, given or {})
    return built, {"name": name, **resolved}


def build(
    section: str, cls: type, arguments: Any, given: Mapping[str, Any] = MappingProxyType({})
) -> tuple[Any, dict[str, Any]]:
    """cls(**arguments), and the arguments with defaults filled in; those in `given` are built already."""
    if not isinstance(arguments, Mapping):
        raise _checks.InputError(f"[{section}] is {arguments!r}; it must be a table of keys and values.")
    signature = inspect.signature(cls).parameters
    built = {name: given[name] for name in signature if name in given}
    parameters = {name: p for name, p in signature.items() if name not in built}
    known_keys(section, arguments, parameters)
    missing = [name for name, p in parameters.items() if p.default is p.empty and name not in arguments]
    if missing:
        raise _checks.InputError(f"[{section}] lacks {', '.join(missing)}, which {_article(cls)} needs; add it.")
    complete = {name: arguments.get(name, p.default) for name, p in parameters.items()}
    return cls(**complete, **built), {
        name: _plain(value)
        for name, value in complete.items()
        if value is not None  # TOML has no null: what is absent is its default again
    }


def known_keys(section: str, table: Mapping[str, Any], names: Iterable[str]) -> None:
    """Refuse a key that is none of `names`, naming the nearest."""
    names = tuple(names)
    for key in table:
        if key not in names:
            raise _checks.InputError(
                f"[{section}] has the unknown key {key!r}; its keys are {', '.join(names)}."
                f"{_checks.nearest(key, names)}"
            )


def _article(cls: type) -> str:
    return f"{'an' if cls.__name__[0] in 'AEIOU' else 'a'} {cls.__name__}"


def _plain(value: Any) -> Any:
    """What a TOML file can hold."""
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def changed_keys(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Dotted names of the entries in which two resolved tables differ."""
    left, right = (dict(_flatten("", tables)) for tables in (first, second))
    return sorted(key for key in left.keys() | right.keys() if left.get(key) != right.get(key))


def _flatten(prefix: str, value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flatten(f"{prefix}.{key}" if prefix else key, item)
    else:
        yield prefix, value
