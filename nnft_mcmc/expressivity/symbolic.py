r"""Reading functions of one variable: which of a library of forms f is y = c f(a z + b) + d?

For given a and b the best c and d are those of a linear regression, so only a and b are searched: from a grid of
starting values, then by least squares. What the other constants can absorb is not searched (a of z^2, b of exp).
The quality is R^2 = 1 - sum (y - fit)^2/sum (y - mean y)^2, and the form with the smallest

    log2(1 - R^2 + 1e-7) + 2 complexity

is taken: a form has to make 1 - R^2 four times smaller to be worth one more unit of complexity. It is refused where its
R^2 is below what is asked for: then no form of the library is the function.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from nnft_mcmc import _checks

FloatArray = NDArray[np.float64]

FLOOR = 1e-7
BITS = 2.0
ENOUGH = 0.999
_FROM_END = np.geomspace(1e-3, 3.0, 12)  # how far beyond the data a singularity begins, half-ranges
_STARTS = 3  # of the best points of the grid, how many are refined


@dataclass(frozen=True)
class Form:
    """f(xp, u) with xp NumPy or jax.numpy; `starts`, the values of (a, b) to begin from, for -1 <= z <= 1.

    free: which of a and b are searched. text: how f(u) is written, u for {}.
    """

    name: str
    function: Callable[[Any, Any], Any]
    text: str
    complexity: int
    starts: tuple[tuple[float, float], ...]
    free: tuple[bool, bool]


@dataclass(frozen=True)
class Reading:
    """c f(a z + b) + d, its R^2 and its score (smaller is better)."""

    form: Form
    a: float
    b: float
    c: float
    d: float
    r2: float
    score: float

    def with_constants(self, a: float, b: float, c: float, d: float) -> "Reading":
        """The same form with other constants."""
        return Reading(self.form, a, b, c, d, self.r2, self.score)

    def __call__(self, z: FloatArray) -> FloatArray:
        return self.c * self.form.function(np, self.a * z + self.b) + self.d


def _shifts(*values: float) -> tuple[tuple[float, float], ...]:
    return tuple((1.0, b) for b in values)


_CENTRES = tuple(np.linspace(-1.5, 1.5, 13))
_BEYOND = tuple((s, 1.0 + e) for s in (1.0, -1.0) for e in _FROM_END)
_SLOPES = (0.3, 0.6, 1.0, 1.6, 2.5, 4.0, 6.0, 10.0)
_WAVES = tuple((a, b) for a in (*_SLOPES, 15.0) for b in np.linspace(-1.25, 1.25, 6))
_STEPS = tuple((a, a * s) for a in _SLOPES for s in np.linspace(-1.0, 1.0, 9))

LIBRARY: dict[str, Form] = {
    form.name: form
    for form in (
        Form("x", lambda xp, u: u, "{}", 0, _shifts(0.0), (False, False)),
        Form("x^2", lambda xp, u: u**2, "({})^2", 1, _shifts(*_CENTRES), (False, True)),
        Form("x^3", lambda xp, u: u**3, "({})^3", 2, _shifts(*_CENTRES), (False, True)),
        Form("x^4", lambda xp, u: u**4, "({})^4", 3, _shifts(*_CENTRES), (False, True)),
        Form(
            "exp",
            lambda xp, u: xp.exp(u),
            "exp({})",
            2,
            tuple((s * a, 0.0) for a in _SLOPES for s in (1, -1)),
            (True, False),
        ),
        Form("log", lambda xp, u: xp.log(u), "log({})", 2, _BEYOND, (False, True)),
        Form("sqrt", lambda xp, u: xp.sqrt(u), "sqrt({})", 2, _BEYOND, (False, True)),
        Form("1/x", lambda xp, u: 1 / u, "1/({})", 2, _BEYOND, (False, True)),
        Form("abs", lambda xp, u: xp.abs(u), "|{}|", 2, _shifts(*np.linspace(-0.95, 0.95, 39)), (False, True)),
        Form("sin", lambda xp, u: xp.sin(u), "sin({})", 2, _WAVES, (True, True)),
        Form("tanh", lambda xp, u: xp.tanh(u), "tanh({})", 3, _STEPS, (True, True)),
        Form("gaussian", lambda xp, u: xp.exp(-(u**2)), "exp(-({})^2)", 3, _STEPS, (True, True)),
    )
}


def read(
    z: FloatArray, y: FloatArray, library: Mapping[str, Form] | Iterable[Form] = LIBRARY.values()
) -> list[Reading]:
    """Every form of the library at its best for values y (n,) at z (n,), the best first."""
    forms = tuple(library.values()) if isinstance(library, Mapping) else tuple(library)
    if not forms or z.shape != y.shape or z.ndim != 1 or not np.ptp(z) > 0 or not np.ptp(y) > 0:
        raise _checks.InputError(
            "an edge is read from values y (n,) at z (n,), neither all equal, and a library of forms."
        )
    middle, half = (z.max() + z.min()) / 2, np.ptp(z) / 2
    t = (z - middle) / half
    return sorted((_undone(_best(form, t, y), middle, half) for form in forms), key=lambda r: r.score)


def best(readings: list[Reading], enough: float = ENOUGH) -> Reading:
    """The first of `read`, refused if its R^2 is below `enough`."""
    if readings[0].r2 < enough:
        tried = ", ".join(f"{r.form.name} {r.r2:.5f}" for r in readings[:3])
        raise _checks.InputError(
            f"no form of the library is the function: the best R^2 are {tried}, and {enough} was asked for; fit"
            " longer or add forms."
        )
    return readings[0]


def _best(form: Form, t: FloatArray, y: FloatArray) -> Reading:
    tried = [(_residual(form, ab, t, y), ab) for ab in form.starts]
    begun = sorted(tried, key=lambda pair: float(pair[0] @ pair[0]))[:_STARTS]
    return min((_refined(form, ab, t, y) for _, ab in begun), key=lambda r: r.score)


def _refined(form: Form, start: tuple[float, float], t: FloatArray, y: FloatArray) -> Reading:
    free = np.flatnonzero(form.free)

    def both(searched: FloatArray) -> FloatArray:
        ab = np.array(start, dtype=np.float64)
        ab[free] = searched
        return ab

    ab = both(np.array(start)[free])
    if len(free):
        found = least_squares(
            lambda p: _residual(form, both(p), t, y),
            np.array(start)[free],
            xtol=1e-12,
            ftol=1e-14,
            gtol=1e-14,
            max_nfev=60,
        )
        ab = both(found.x)
    residual = _residual(form, ab, t, y)
    left = float(residual @ residual) / float(np.sum((y - y.mean()) ** 2))
    c, d = _regression(form.function(np, ab[0] * t + ab[1]), y)
    return Reading(form, float(ab[0]), float(ab[1]), c, d, 1 - left, math.log2(left + FLOOR) + BITS * form.complexity)


def _residual(form: Form, ab: Any, t: FloatArray, y: FloatArray) -> FloatArray:
    """y - c f(a t + b) - d at the best c and d; where f does not exist everywhere, y - mean y and a bit."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        g = form.function(np, ab[0] * t + ab[1])
    if not np.isfinite(g).all() or np.abs(g).max() > 1e100 or (form.name == "1/x" and g.min() < 0 < g.max()):
        return 1.1 * (y - y.mean())
    c, d = _regression(g, y)
    return y - c * g - d


def _regression(g: FloatArray, y: FloatArray) -> tuple[float, float]:
    centred = g - g.mean()
    square = float(centred @ centred)
    c = float(centred @ (y - y.mean())) / square if square > 0 else 0.0
    return c, float(y.mean() - c * g.mean())


def _undone(r: Reading, middle: float, half: float) -> Reading:
    """The reading in terms of z = middle + half t."""
    return Reading(r.form, r.a / half, r.b - r.a * middle / half, r.c, r.d, r.r2, r.score)
