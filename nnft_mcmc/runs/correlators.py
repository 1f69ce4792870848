"""`nnft correlators CONFIG`: connected functions of the ensemble without insertion, streamed from independent draws.

A file of points holds one tuple on each line, points separated by semicolons and coordinates by spaces or commas:

    0 0; 0.5 0                      # two points in d = 2
    0 0; 0 0; 0.5 0; 0.5 0          # a four-point function
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from nnft_mcmc import _checks
from nnft_mcmc.architectures import Architecture, ExactCorrelators
from nnft_mcmc.architectures._missing import missing
from nnft_mcmc.estimators.n_point import NPointEstimate, estimate_n_point
from nnft_mcmc.estimators.single_neuron import Williams, iid_neurons, williams
from nnft_mcmc.estimators.streaming import Batch
from nnft_mcmc.lattice import Lattice
from nnft_mcmc.runs.config import Config
from nnft_mcmc.runs.measure import plain
from nnft_mcmc.runs.report import table, with_error
from nnft_mcmc.statistics import CumulantEstimate, bonferroni_bound, z_score
from nnft_mcmc.statistics.k_statistics import ORDERS

METHODS = ("draws", "williams")
# The mean of the field is held against zero at this false-alarm rate.
FALSE_ALARM = 1e-6

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Correlators:
    """Tuples of points, each (n, dim), the estimates and the exact values, NaN where there is none."""

    method: str
    tuples: list[FloatArray]
    estimate: CumulantEstimate
    exact: FloatArray
    notes: list[str]
    symmetric: bool
    batch: Batch

    @property
    def z(self) -> FloatArray:
        """Deviations from the exact values in units of the error."""
        return z_score(self.estimate.value, self.estimate.error, self.exact)


def parse_count(text: str) -> int:
    """A whole number of draws, such as 100000 or 1e7."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not number.is_integer() or number < 1:
        raise _checks.InputError(f"--num-draws is {text!r}; it must be a positive whole number, such as 100000 or 1e7.")
    return int(number)


def parse_orders(text: str) -> tuple[int, ...]:
    """Orders such as 2,4,6."""
    parts = [part.strip() for part in text.split(",")]
    if any(part not in map(str, ORDERS) for part in parts):
        raise _checks.InputError(f"--order is {text!r}; it must be a list of 2, 4 and 6 with commas, such as 2,4.")
    return tuple(sorted({int(part) for part in parts}))


def default_tuples(lattice: Lattice, orders: Iterable[int]) -> list[FloatArray]:
    """For each order, half of the points at the central site and half at 0, 1/2 and 1 of the way to the last time, and
    points spread over the time axis."""
    first = lattice.centre[0]
    last = lattice.shape[0] - 1
    chosen = []
    for order in orders:
        half = order // 2
        pairs = [(first,) * half + (time,) * half for time in sorted({first, (first + last) // 2, last})]
        spread = tuple(int(k) for k in np.rint(np.linspace(0, last, order)))
        chosen += list(dict.fromkeys([*pairs, spread]))
    flat = lattice.sites.reshape(lattice.shape[0], -1, lattice.dim)
    line = flat[:, np.ravel_multi_index(lattice.centre[1:], lattice.shape[1:]) if lattice.dim > 1 else 0]
    return [line[list(times)] for times in chosen]


def read_tuples(path: Path, dim: int, orders: Iterable[int]) -> list[FloatArray]:
    """The tuples of a file, those of the given orders."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise _checks.InputError(f"cannot read the points {path}: {reason}; give a readable file.") from None
    stripped = [(number, line.partition("#")[0].strip()) for number, line in enumerate(lines, start=1)]
    found = [_tuple_of(f"{path}, line {number}", line, dim) for number, line in stripped if line]
    kept = [points for points in found if len(points) in orders]
    if not kept:
        wanted = " or ".join(map(str, orders))
        raise _checks.InputError(f"{path} holds no tuple of {wanted} points; write one on each line, such as 0; 0.5.")
    return kept


def _tuple_of(where: str, line: str, dim: int) -> FloatArray:
    points = [point.replace(",", " ").split() for point in line.split(";")]
    try:
        values = [[float(x) for x in point] for point in points]
    except ValueError:
        values = []
    wrong = any(len(point) != dim for point in values) or len(values) not in ORDERS
    if wrong or not np.isfinite(values).all():
        raise _checks.InputError(
            f"{where} is {line!r}; it must be 2, 4 or 6 points separated by semicolons, each of {dim} coordinate(s)."
        )
    return np.array(values)


def estimate(
    config: Config, tuples: Sequence[FloatArray], num_draws: int, method: str = "draws", seed: int | None = None
) -> Correlators:
    """Estimate every tuple from `num_draws` networks or, with Williams' technique, neurons; a bar on stderr."""
    architecture = config.ensemble.architecture
    seed = config.run.seed if seed is None else _checks.integer("--seed", seed, 0, 2**63 - 1)
    points, numbers = np.unique(np.concatenate(tuples), axis=0, return_inverse=True)
    ends = np.cumsum([len(t) for t in tuples])[:-1]
    index_tuples = [tuple(t.tolist()) for t in np.split(numbers.ravel(), ends)]
    key, unit = jax.random.key(seed), "network" if method == "draws" else "neuron"
    with tqdm(total=num_draws, unit=unit, unit_scale=True, smoothing=0) as bar:
        found: NPointEstimate | Williams
        if method == "draws":
            found = estimate_n_point(architecture, key, num_draws, index_tuples, points, progress=bar.update)
        else:
            found = williams(iid_neurons(architecture), key, num_draws, index_tuples, points, progress=bar.update)
    exact, notes = exact_values(architecture, tuples)
    symmetric = isinstance(found, Williams) or _is_zero(found.means)
    if not symmetric:
        notes = [
            *notes,
            "The mean of the field is not zero: the ensemble is not symmetric under phi -> -phi, and the connected"
            " functions above, which leave out all odd correlators, are WRONG for it.",
        ]
    return Correlators(method, list(tuples), found.cumulants, exact, notes, symmetric, found.batch)


def _is_zero(means: CumulantEstimate) -> bool:
    bound = bonferroni_bound(means.value.size, FALSE_ALARM, means.error_dof)
    return not (np.abs(means.value) > bound * means.error).any()


def exact_values(architecture: Architecture, tuples: Sequence[FloatArray]) -> tuple[FloatArray, list[str]]:
    """The exact connected function of each tuple at this width, NaN where none is known, and why."""
    values, notes = [], []
    for points in tuples:
        try:
            values.append(float(_exact(architecture, points)))
        except _checks.InputError as error:
            values.append(np.nan)
            notes.append(f"No exact value of order {len(points)}: {error}")
    return np.array(values), list(dict.fromkeys(notes))


def _exact(architecture: Architecture, points: FloatArray) -> Any:
    if not isinstance(architecture, ExactCorrelators):
        raise missing(architecture, "n_point_connected")
    return architecture.n_point_connected(*points)


def announce(config: Config, num_draws: int, method: str) -> str:
    """What is about to be done; refuses a method that this ensemble does not allow."""
    _checks.one_of("--method", method, METHODS)
    if method == "williams":
        iid_neurons(config.ensemble.architecture)
    tables = config.tables["architecture"]
    arguments = ", ".join(f"{key} = {value}" for key, value in tables.items() if key != "name")
    what = "independent networks, without insertion" if method == "draws" else "single neurons, exact in the width"
    return f"ensemble   {tables['name']}({arguments})\ndrawing    {num_draws} {what}"


def text(found: Correlators) -> str:
    """The table of `nnft correlators`."""
    columns = zip(found.tuples, found.estimate.value, found.estimate.error, found.exact, found.z, strict=True)
    rows = [
        [
            str(len(points)),
            "  ".join(map(_point, points)),
            _with_error(value, error),
            "" if np.isnan(exact) else f"{exact:.6g}",
            "" if np.isnan(exact) else f"{z:+.2f}",
        ]
        for points, value, error, exact, z in columns
    ]
    what = "networks" if found.method == "draws" else "neurons"
    memory = f"Drawn in batches of {found.batch.size} {what}, which take at most {found.batch.bytes / 2**20:.0f} MiB."
    return "\n".join([table(["order", "points", "value ± error", "exact", "z"], rows), memory, *found.notes])


def _with_error(value: float, error: float) -> str:
    """value ± error; with a common power of ten where both are small."""
    largest = max(abs(value), error)
    if not np.isfinite(largest) or largest == 0 or largest > 1e-3:
        return with_error(value, error)
    exponent = int(np.floor(np.log10(largest)))
    return f"({with_error(value / 10.0**exponent, error / 10.0**exponent)})e{exponent:+03d}"


def _point(point: FloatArray) -> str:
    coordinates = ",".join(f"{x:g}" for x in point)
    return coordinates if len(point) == 1 else f"({coordinates})"


def as_json(found: Correlators) -> dict[str, Any]:
    """What `nnft correlators --json` prints."""
    columns = zip(found.tuples, found.estimate.value, found.estimate.error, found.exact, found.z, strict=True)
    return {
        "method": found.method,
        "num_draws": found.estimate.num_draws,
        "symmetric": found.symmetric,
        "batch_size": found.batch.size,
        "batch_bytes": found.batch.bytes,
        "correlators": [
            {
                "order": len(points),
                "points": points.tolist(),
                **{name: plain(x) for name, x in zip(("value", "error", "exact", "z"), numbers, strict=True)},
            }
            for points, *numbers in columns
        ],
        "notes": found.notes,
    }
