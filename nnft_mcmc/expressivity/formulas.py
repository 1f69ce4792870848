r"""A fitted Kolmogorov-Arnold network as a formula: every edge read against a library, all constants fitted again.

Each edge becomes c f(a z + b) + d with the f that `symbolic.read` finds; an edge that varies little becomes a constant.
Then a, b, c, d of all edges are fitted to the data at once, by least squares with exact derivatives. For a function
that is such a formula the error falls to rounding, which is the proof that the forms are right: wrong ones leave a
remainder.

A formula need not be unique. x y on two hidden nodes, [2, 2, 1], is a sum of squares as in (x + y)^2 - x^2 - y^2, and
exp(log x + log y), and much between, so that the edges of a fit are in general none of a library. `imposed` takes the
forms as given and fits their constants: what remains says whether they can be the function.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike
from numpy.typing import NDArray
from scipy.optimize import least_squares

from nnft_mcmc import _checks
from nnft_mcmc.expressivity.kan_fitting import Edges, KanFit, layer_edges
from nnft_mcmc.expressivity.symbolic import ENOUGH, LIBRARY, Form, Reading, best, read

FloatArray = NDArray[np.float64]
# By layer, by node that the edge goes to, by node that it comes from.
Readings = tuple[tuple[tuple[Reading, ...], ...], ...]
# A constant and the coefficients of terms by their text.
Sum = tuple[float, dict[str, float]]

NEGLIGIBLE = 1e-3
TINY = 1e-6
# f(s u) = s^k f(u) for these, with |s| where the sign must stay.
_POWERS = {"x^2": 2.0, "x^3": 3.0, "x^4": 4.0, "1/x": -1.0, "abs": 1.0, "sqrt": 0.5}
_KEEPS_SIGN = ("abs", "sqrt", "log")


@dataclass(frozen=True, eq=False)
class Formula:
    """What the edges are, and the RMSE of the formula at the points of the fit."""

    readings: Readings
    rms: float

    def __call__(self, x: ArrayLike) -> FloatArray:
        """Values (n,) at points (n, dim)."""
        return np.asarray(_evaluate(self.readings, _constants(self.readings), np.asarray(x, dtype=np.float64), np))

    @property
    def forms(self) -> list[list[list[str]]]:
        """Names of the forms by layer, node above, node below; "constant" for an edge that is one."""
        return [[["constant" if r.c == 0.0 else r.form.name for r in row] for row in layer] for layer in self.readings]

    def text(self, digits: int = 4) -> str:
        """The formula in x_1 .. x_dim, constants to so many significant digits; without terms below 1e-6."""
        return _written(_node(self.readings, len(self.readings) - 1, 0, digits), digits)


def formula(
    found: KanFit, library: Mapping[str, Form] = LIBRARY, enough: float = ENOUGH, negligible: float = NEGLIGIBLE
) -> Formula:
    """Read every edge of a fit; an R^2 below `enough` is refused.

    An edge is a constant where its standard deviation is below `negligible` times the largest of its layer.
    """
    _checks.fraction("enough", enough)
    _checks.non_negative("negligible", negligible)
    readings = tuple(_of_layer(layer, library, enough, negligible) for layer in layer_edges(found))
    return _refitted(readings, found)


def imposed(found: KanFit, forms: Sequence[Sequence[Sequence[str]]], library: Mapping[str, Form] = LIBRARY) -> Formula:
    """The formula with the given forms, by layer, node above and node below, as near to the data as it gets.

    The constants begin where each form is nearest to the edge of the fit.
    """
    layers = layer_edges(found)
    given = [np.shape(layer) for layer in forms]
    if given != [layer.values.shape[1:] for layer in layers]:
        raise _checks.InputError(
            f"forms has the shapes {given} by layer; they must be those of the edges,"
            f" {[layer.values.shape[1:] for layer in layers]}."
        )

    def one(layer: Edges, i: int, j: int, name: str) -> Reading:
        return read(layer.z[:, j], layer.values[:, i, j], [library[_checks.one_of("a form", name, library)]])[0]

    readings = tuple(
        tuple(tuple(one(layer, i, j, name) for j, name in enumerate(row)) for i, row in enumerate(rows))
        for layer, rows in zip(layers, forms, strict=True)
    )
    return _refitted(readings, found)


def _of_layer(
    layer: Edges, library: Mapping[str, Form], enough: float, negligible: float
) -> tuple[tuple[Reading, ...], ...]:
    spread = layer.values.std(axis=0)
    small = negligible * spread.max()
    number = range(spread.shape[1])

    def one(i: int, j: int) -> Reading:
        y = layer.values[:, i, j]
        if spread[i, j] <= small:
            return Reading(LIBRARY["x"], 1.0, 0.0, 0.0, float(y.mean()), 1.0, 0.0)
        return best(read(layer.z[:, j], y, library), enough)

    return tuple(tuple(one(i, j) for j in number) for i in range(len(spread)))


def _refitted(readings: Readings, found: KanFit) -> Formula:
    start = _constants(readings)
    free = np.flatnonzero(_free(readings))
    x, y = jnp.asarray(found.x), jnp.asarray(found.y)

    def residual(p: Array) -> Array:
        return _evaluate(readings, jnp.asarray(start).at[free].set(p), x, jnp) - y

    error, slope = jax.jit(residual), jax.jit(jax.jacfwd(residual))
    solved = least_squares(
        lambda p: np.asarray(error(jnp.asarray(p))),
        start[free],
        jac=lambda p: np.asarray(slope(jnp.asarray(p))),
        x_scale="jac",
        xtol=1e-15,
        ftol=1e-15,
        gtol=1e-15,
        max_nfev=200,
    )
    constants = start.copy()
    constants[free] = solved.x
    rows = iter(constants.reshape(-1, 4).tolist())
    fitted = tuple(tuple(tuple(r.with_constants(*next(rows)) for r in row) for row in layer) for layer in readings)
    return Formula(fitted, float(np.sqrt(np.mean(solved.fun**2))))


def _constants(readings: Readings) -> FloatArray:
    return np.array([v for layer in readings for row in layer for r in row for v in (r.a, r.b, r.c, r.d)])


def _free(readings: Readings) -> list[bool]:
    """Which constants are fitted: those searched, c, and one d for each node."""
    return [
        flag
        for layer in readings
        for row in layer
        for j, r in enumerate(row)
        for flag in ((*r.form.free, True, j == 0) if r.c != 0.0 else (False, False, False, j == 0))
    ]


def _evaluate(readings: Readings, constants: Any, x: Any, xp: Any) -> Any:
    z, position = [x[:, j] for j in range(x.shape[1])], 0
    for layer in readings:
        nodes = []
        for row in layer:
            total = xp.zeros_like(x[:, 0])
            for r, value in zip(row, z, strict=True):
                a, b, c, d = (constants[position + k] for k in range(4))
                total = total + (d if r.c == 0.0 else c * r.form.function(xp, a * value + b) + d)
                position += 4
            nodes.append(total)
        z = nodes
    return z[0]


def _node(readings: Readings, layer: int, node: int, digits: int) -> Sum:
    """z^(layer + 1)_node as a sum of terms."""
    constant, terms = 0.0, dict[str, float]()
    for j, r in enumerate(readings[layer][node]):
        constant += r.d
        if r.c == 0.0:
            continue
        inner = (0.0, {f"x_{j + 1}": 1.0}) if layer == 0 else _node(readings, layer - 1, j, digits)
        argument = (r.a * inner[0] + r.b, {text: r.a * c for text, c in inner[1].items()})
        shift, found = _term(r.form, r.c, argument, digits)
        constant += shift
        for text, c in found.items():
            terms[text] = terms.get(text, 0.0) + c
    return constant, terms


def _term(form: Form, c: float, argument: Sum, digits: int) -> Sum:
    """c f(argument) with a leading coefficient of one, or above zero, inside f."""
    constant, terms = argument
    if form.name == "x":
        return c * constant, {text: c * v for text, v in terms.items()}
    lead = next(iter(terms.values()))
    shift = 0.0
    if form.name == "exp":
        c, constant = c * math.exp(constant), 0.0
    elif form.name in _POWERS or form.name == "log":
        scale = abs(lead) if form.name in _KEEPS_SIGN else lead
        shift = c * math.log(scale) if form.name == "log" else 0.0
        c *= scale ** _POWERS.get(form.name, 0.0)
        constant, terms = constant / scale, {text: v / scale for text, v in terms.items()}
    elif lead < 0:  # sin and tanh are odd, the Gaussian even
        c = c if form.name == "gaussian" else -c
        constant, terms = -constant, {text: -v for text, v in terms.items()}
    if form.name == "sin":
        turns = round(constant / math.pi)
        c, constant = c * (-1) ** turns, constant - math.pi * turns
    return shift, {form.text.format(_written((constant, terms), digits)): c}


def _written(total: Sum, digits: int) -> str:
    constant, terms = total
    pieces = [_signed(c, text, digits) for text, c in terms.items() if abs(c) > TINY]
    if abs(constant) > TINY or not pieces:
        pieces.append(_signed(constant, "", digits))
    joined = " ".join(pieces)
    return joined[2:] if joined.startswith("+ ") else f"-{joined[2:]}"


def _signed(c: float, text: str, digits: int) -> str:
    number = f"{abs(c):.{digits}g}"
    sign = "-" if c < 0 else "+"
    if not text:
        return f"{sign} {number}"
    return f"{sign} {text}" if number == "1" else f"{sign} {number} {text}"
