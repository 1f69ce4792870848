"""[[approximant]]: a family of networks of one architecture, one for each width.

The width is the key of the architecture that says how large it is, and which the table leaves open:

    kan             `widths`, the nodes of one hidden layer; with these in the table, `grid`, the intervals of all grids
    additive_kan    `grid`
    all others      `width`

The grids of Kolmogorov-Arnold networks lie on the smallest interval that contains all components of the points, unless
`lower` and `upper` say otherwise.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nnft_mcmc import _checks
from nnft_mcmc.architectures import Architecture
from nnft_mcmc.expressivity.problem import Problem
from nnft_mcmc.runs.config import build_architecture


@dataclass(frozen=True)
class Kind:
    """The keys that can be the width, by precedence, and whether the network has grids on a box."""

    sizes: Mapping[str, Callable[[int], Any]]
    on_box: bool = False


OF_ONE_WIDTH = Kind({"width": int})
KINDS = {
    "kan": Kind({"widths": lambda width: [width], "grid": int}, on_box=True),
    "additive_kan": Kind({"grid": int}, on_box=True),
}


@dataclass(frozen=True, eq=False)
class Approximant:
    """A family of networks: its label and the network of each width."""

    label: str
    networks: Mapping[int, Architecture]


def approximant(table: Any, problem: Problem, widths: Iterable[int]) -> Approximant:
    """The networks that a table describes."""
    if not isinstance(table, Mapping):
        raise _checks.InputError(f"[[approximant]] is {table!r}; it must be a table with the name of an architecture.")
    own = {key: value for key, value in table.items() if key != "label"}
    kind = KINDS.get(str(own.get("name")), OF_ONE_WIDTH)
    size = _open_size(kind, own)
    box = {"lower": float(problem.looked_at.min()), "upper": float(problem.looked_at.max())} if kind.on_box else {}

    def at(width: int) -> Architecture:
        sized = {**box, **own, "dim": problem.dim, size: kind.sizes[size](width)}
        network, _ = build_architecture("approximant", sized, None)
        return network

    return Approximant(str(table.get("label", own.get("name"))), {width: at(width) for width in widths})


def _open_size(kind: Kind, table: Mapping[str, Any]) -> str:
    """The key that the width sets."""
    if "dim" in table:
        raise _checks.InputError("[[approximant]] has dim; leave it out, the dimension is that of [target].")
    still_open = [key for key in kind.sizes if key not in table]
    if not still_open:
        remedy = "leave it out" if len(kind.sizes) == 1 else "leave one of them out"
        raise _checks.InputError(
            f"[[approximant]] has {' and '.join(kind.sizes)}; {remedy}, the widths of [expressivity] set it."
        )
    return still_open[0]
