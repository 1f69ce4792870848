"""Configurations of the commands on training: [architecture], [lattice], [data], [training], [scaling], [run].

Read by the same loader as all others (`config`), with the same errors. Each command asks for the sections that it
needs; the others may be absent. [training] holds the keys of the optimiser that its `name` picks beside its own.

    config = load(path, settings)
    config.data()  config.training()        an error that names the section where it is absent
    config.section("scaling", Scaling)      a section of a command's own
"""

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nnft_mcmc import _checks
from nnft_mcmc.architectures import Architecture
from nnft_mcmc.dynamics.data import Data, as_points, targets_of
from nnft_mcmc.dynamics.optimizers import REGISTRY, Optimizer, checked_times
from nnft_mcmc.dynamics.parameters import COORDINATES, TRAINED
from nnft_mcmc.lattice import Lattice
from nnft_mcmc.runs.config import build, build_architecture, known_keys, override, read_tables, section_of
from nnft_mcmc.runs.samples import read_samples

SECTIONS = ("architecture", "lattice", "data", "training", "scaling", "run")
STORABLE = ("parameters",)


@dataclass(frozen=True)
class Seed:
    """[run]: the seed."""

    seed: int = 0

    def __post_init__(self) -> None:
        _checks.integer("run.seed", self.seed, minimum=0, maximum=2**63 - 1)


@dataclass(frozen=True)
class DataSettings:
    """[data]: inputs and targets, or the file that holds them, or a function on an interval or on the lattice."""

    inputs: Any = None
    targets: Any = None
    file: str | None = None
    function: str | None = None
    wavenumber: float = 1.0
    interval: Any = None
    num_points: int | None = None
    test_inputs: Any = None
    num_test_points: int | None = None


@dataclass(frozen=True)
class TrainingSettings:
    """[training]: when networks are looked at, how many, what of them is trained in which coordinates, what is kept."""

    times: Any
    num_networks: int = 100
    trained: str = "all"
    coordinates: str = "parameters"
    store: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _checks.integer("training.num_networks", self.num_networks, minimum=1)
        _checks.one_of("training.trained", self.trained, TRAINED)
        _checks.one_of("training.coordinates", self.coordinates, COORDINATES)
        if not isinstance(self.store, (list, tuple)):
            raise _checks.InputError(f"training.store is {self.store!r}; it must be a list of {', '.join(STORABLE)}.")
        kept = tuple(_checks.one_of("training.store", item, STORABLE) for item in self.store)
        object.__setattr__(self, "store", kept)


@dataclass(frozen=True)
class Training:
    """[training], checked: the optimiser, times (T,), and the rest."""

    optimizer: Optimizer
    times: np.ndarray
    num_networks: int
    trained: str
    coordinates: str
    store: tuple[str, ...]


@dataclass(frozen=True)
class DynamicsConfig:
    """The architecture, the seed and the other sections as they stand; `tables` is the resolved text of what was read.

    `folder` is where relative names of files start.
    """

    architecture: Architecture
    lattice: Lattice | None
    seed: int
    given: Mapping[str, Any]
    folder: Path
    tables: dict[str, Any] = field(default_factory=dict)

    def data(self) -> Data:
        """[data]."""
        settings = self.section("data", DataSettings)
        data = _data(settings, self.lattice, self.folder)
        if data.dim != self.architecture.dim:
            raise _checks.InputError(
                f"the inputs of [data] have {data.dim} coordinates and the architecture has dim ="
                f" {self.architecture.dim}; they must be equal."
            )
        return data

    def training(self) -> Training:
        """[training]."""
        table = section_of(self.given, "training")
        if not isinstance(table, Mapping) or "name" not in table:
            raise _checks.InputError(f"[training] has no name; it must be one of {', '.join(REGISTRY)}.")
        name = _checks.one_of("training.name", table["name"], REGISTRY)
        own, of_optimizer = (inspect.signature(cls).parameters for cls in (TrainingSettings, REGISTRY[name]))
        known_keys("training", table, ["name", *own, *of_optimizer])
        settings, resolved = build("training", TrainingSettings, {k: v for k, v in table.items() if k in own})
        optimizer, more = build("training", REGISTRY[name], {k: v for k, v in table.items() if k in of_optimizer})
        self.tables["training"] = {"name": name, **resolved, **more}
        times = checked_times(settings.times, optimizer.discrete)
        kept = {name: getattr(settings, name) for name in ("num_networks", "trained", "coordinates", "store")}
        return Training(optimizer, times, **kept)

    def section(self, name: str, cls: type) -> Any:
        """The section `name` as cls(**its keys)."""
        built, self.tables[name] = build(name, cls, section_of(self.given, name))
        return built


def load(path: Path, settings: Iterable[str] = ()) -> DynamicsConfig:
    """The configuration in a file, with `section.key=value` settings put over it."""
    return resolve(override(read_tables(path), settings, SECTIONS), path.resolve().parent)


def resolve(tables: Mapping[str, Any], folder: Path = Path()) -> DynamicsConfig:
    """Build what `tables` describe; [data], [training] and [scaling] are built when they are asked for."""
    known_keys("configuration", tables, SECTIONS)
    resolved: dict[str, Any] = {}
    lattice = None
    if "lattice" in tables:
        lattice, resolved["lattice"] = build("lattice", Lattice, tables["lattice"])
    table = section_of(tables, "architecture")
    architecture, resolved["architecture"] = build_architecture("architecture", table, lattice)
    run, resolved["run"] = build("run", Seed, tables.get("run", {}))
    return DynamicsConfig(architecture, lattice, run.seed, tables, folder, resolved)


def _data(settings: DataSettings, lattice: Lattice | None, folder: Path) -> Data:
    sources = [name for name in ("inputs", "file", "function") if getattr(settings, name) is not None]
    if len(sources) != 1:
        raise _checks.InputError(
            f"[data] has {' and '.join(sources) or 'none of them'}; give one of inputs (with targets), file, function."
        )
    if settings.file is not None:
        inputs, targets, test = read_samples("data.file", folder / settings.file)
    elif settings.function is not None:
        inputs = _places("data.num_points", settings.num_points, settings.interval, lattice)
        targets, test = targets_of(settings.function, settings.wavenumber, inputs), None
    else:
        if settings.targets is None:
            raise _checks.InputError("[data] has inputs without targets; give one target for each.")
        inputs, targets, test = as_points("data.inputs", settings.inputs), settings.targets, None
    if settings.test_inputs is not None:
        test = as_points("data.test_inputs", settings.test_inputs)
    elif settings.num_test_points is not None:
        ends = settings.interval if settings.interval is not None else [float(inputs.min()), float(inputs.max())]
        test = _interval("data.num_test_points", settings.num_test_points, ends, inputs.shape[1])
    return Data(inputs, targets, test)


def _places(name: str, number: int | None, interval: Any, lattice: Lattice | None) -> np.ndarray:
    """Points evenly over the interval, ends included; without one, the sites of the lattice."""
    if interval is None and lattice is None:
        raise _checks.InputError("data.function needs places; give interval = [from, to] and num_points, or [lattice].")
    if interval is None and lattice is not None:
        return lattice.sites.reshape(-1, lattice.dim)
    if number is None:
        raise _checks.InputError("data.interval needs data.num_points; add it.")
    return _interval(name, number, interval, 1)


def _interval(name: str, number: int, interval: Any, dim: int) -> np.ndarray:
    ends = interval if isinstance(interval, (list, tuple)) and len(interval) == 2 else (None, None)
    low, high = (_checks.real("an end of data.interval", end) for end in ends)
    if dim != 1 or not low < high:
        raise _checks.InputError(
            f"{name} spreads points over an interval [from, to], which needs dim = 1 and from < to; list them instead."
        )
    return np.linspace(low, high, _checks.integer(name, number, minimum=1))[:, None]
