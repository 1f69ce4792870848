r"""The exponents of the deep (a, b, c, d) family, lectures eqs. (101)-(106): constraints, their solution, and breaches.

    z^(l) = N^{-a_l} W^(l) sigma(z^(l-1)),   phi = z^(L) / (gamma0 N^d),   W^(l) ~ N(0, sw^2 N^{-b_l}),
    eta = eta_0 gamma0^2 N^{2d - c}.

Every desideratum asks that some quantity neither blows up nor dies as N grows. Given the layers below, the quantity
goes as N^p with a power p that is linear in the exponents, and the constraint is p = 0:

    desideratum                      layer 1               layers 2 ..            quantity
    finite preactivations            -(2a_1 + b_1)/2       (1 - 2a_l - b_l)/2     z^(l), l <= L                  (113)
    learning in finite time          -(2a_1 + c)           1 - 2a_l - c           part of dphi/dt, l <= L        (118)
    features evolve in finite time   d - c - 2a_1 - 1/2    d - c - 2a_l + 1/2     dz^(l)/dt, l < L               (119)
    width-independent learning rate  2d - c                                       eta                            (106)

The first three leave one parameter free, (126)-(127): a_l = a, a_1 = a - 1/2, b = c = 1 - 2a, d = 1/2; with the fourth
a = 0, maximal update. All arithmetic is in fractions, and so exact.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from nnft_mcmc import _checks
from nnft_mcmc.architectures.layers import Exponents

FINITE = "finite preactivations"
LEARNING = "learning in finite time"
FEATURES = "features evolve in finite time"
RATE = "width-independent learning rate"
DESIDERATA = (FINITE, LEARNING, FEATURES, RATE)
EQUATIONS = {FINITE: "eq. (113)", LEARNING: "eq. (118)", FEATURES: "eq. (119)", RATE: "eq. (106)"}

HALF = Fraction(1, 2)
Number = Fraction | int | float


@dataclass(frozen=True)
class Desideratum:
    """One constraint: power = constant + sum of coefficient x exponent, which has to vanish. `layer` is 0 for RATE."""

    name: str
    layer: int
    constant: Fraction
    coefficients: tuple[tuple[str, Fraction], ...]

    def power(self, exponents: Mapping[str, Fraction]) -> Fraction:
        """The power of N with which the quantity grows (> 0) or dies (< 0)."""
        return self.constant + sum((k * exponents[name] for name, k in self.coefficients), start=Fraction(0))

    def __str__(self) -> str:
        where = f", layer {self.layer}" if self.layer else ""
        return f"{self.name}{where} ({EQUATIONS[self.name]})"


@dataclass(frozen=True)
class Breach:
    """A desideratum that is not met, and the power of N with which its quantity blows up or dies."""

    desideratum: Desideratum
    power: Fraction

    def __str__(self) -> str:
        return f"{self.desideratum}: {'blows up' if self.power > 0 else 'dies'} as N^{_text(self.power)}"


@dataclass(frozen=True)
class Solution:
    """All exponents as affine functions of the free ones: value = offset + sum of slope x free exponent."""

    depth: int
    free: tuple[str, ...]
    offsets: Mapping[str, Fraction]
    slopes: Mapping[str, Mapping[str, Fraction]]

    @property
    def determined(self) -> dict[str, Fraction]:
        """The exponents that the constraints fix."""
        return {name: value for name, value in self.offsets.items() if not self.slopes[name]}

    def exponents(self, **free: Number) -> Exponents:
        """The member of the family with these values of the free exponents."""
        if set(free) != set(self.free):
            raise _checks.InputError(
                f"values were given for {', '.join(sorted(free)) or 'no exponent'}; the constraints leave"
                f" {', '.join(self.free) or 'nothing'} free, give these and no others."
            )
        values = {name: rational(name, value) for name, value in free.items()}
        found = {
            name: offset + sum((k * values[f] for f, k in self.slopes[name].items()), start=Fraction(0))
            for name, offset in self.offsets.items()
        }
        return _exponents(found, self.depth)

    def __str__(self) -> str:
        lines = [f"{name} = {_affine(self.offsets[name], self.slopes[name])}" for name in unknowns(self.depth)]
        return "\n".join([*lines, f"free: {', '.join(self.free) or 'nothing'}"])


def desiderata(depth: int, names: Iterable[str] = (FINITE, LEARNING, FEATURES)) -> tuple[Desideratum, ...]:
    """The constraints of a network of `depth` layers, by name and layer."""
    _checks.integer("depth", depth, minimum=2)
    wanted = [_checks.one_of("the desideratum", name, DESIDERATA) for name in names]
    return tuple(
        Desideratum(name, layer, constant, tuple(sorted(coefficients.items())))
        for name in wanted
        for layer in _layers(name, depth)
        for constant, coefficients in [_power(name, layer)]
    )


def _layers(name: str, depth: int) -> Sequence[int]:
    return {FINITE: range(1, depth + 1), LEARNING: range(1, depth + 1), FEATURES: range(1, depth), RATE: (0,)}[name]


def _power(name: str, layer: int) -> tuple[Fraction, dict[str, Fraction]]:
    """Constant and coefficients of the table above."""
    a, b, one = f"a_{layer}", f"b_{layer}", Fraction(1)
    inner = Fraction(layer > 1)  # a sum over N units, which the first layer lacks
    if name == FINITE:
        return inner / 2, {a: -one, b: -HALF}
    if name == LEARNING:
        return inner, {a: -2 * one, "c": -one}
    if name == FEATURES:
        return inner - HALF, {"d": one, "c": -one, a: -2 * one}
    return Fraction(0), {"d": 2 * one, "c": -one}


def unknowns(depth: int) -> tuple[str, ...]:
    """a_1 .. a_L, b_1 .. b_L, c, d."""
    layers = range(1, depth + 1)
    return (*(f"a_{n}" for n in layers), *(f"b_{n}" for n in layers), "c", "d")


def rational(name: str, value: Number) -> Fraction:
    """`value` as a fraction; a float counts as the decimal number that it prints as."""
    if isinstance(value, (Fraction, int)) and not isinstance(value, bool):
        return Fraction(value)
    return Fraction(repr(_checks.real(name, value)))


def fractions(exponents: Exponents) -> dict[str, Fraction]:
    """The exponents by name."""
    names = unknowns(len(exponents.a))
    values = (*exponents.a, *exponents.b, exponents.c, exponents.d)
    return {name: rational(name, value) for name, value in zip(names, values, strict=True)}


def breaches(exponents: Exponents, names: Iterable[str] = (FINITE, LEARNING, FEATURES)) -> tuple[Breach, ...]:
    """The desiderata that these exponents do not meet."""
    values = fractions(exponents)
    powers = [(wish, wish.power(values)) for wish in desiderata(len(exponents.a), names)]
    return tuple(Breach(wish, power) for wish, power in powers if power != 0)


def solve(
    depth: int,
    names: Iterable[str] = (FINITE, LEARNING, FEATURES),
    fixed: Mapping[str, Number] | None = None,
) -> Solution:
    """Solve the named constraints, with some exponents held `fixed`, such as {"c": 1}.

    What remains free is chosen from the a of hidden layers first, so that three desiderata give (126)-(127).
    Constraints that contradict each other, or the fixed values, raise `InputError`, which names those that do.
    """
    wanted = desiderata(depth, names)
    columns = sorted(unknowns(depth), key=_freedom)
    held = {_checks.one_of("the fixed exponent", name, columns): value for name, value in (fixed or {}).items()}
    equations = [(dict(wish.coefficients), -wish.constant, str(wish)) for wish in wanted]
    equations += [({name: Fraction(1)}, rational(name, value), f"{name} = {value}") for name, value in held.items()]
    rows = [[k.get(name, Fraction(0)) for name in columns] + [right] for k, right, _ in equations]
    reduced, pivots = _eliminate(rows, [label for *_, label in equations])
    free = [name for k, name in enumerate(columns) if k not in pivots]
    slopes: dict[str, dict[str, Fraction]] = {name: {name: Fraction(1)} for name in free}
    offsets = dict.fromkeys(free, Fraction(0))
    for row, pivot in zip(reduced, pivots, strict=True):
        name = columns[pivot]
        offsets[name] = row[-1]
        slopes[name] = {f: -row[columns.index(f)] for f in free if row[columns.index(f)] != 0}
    return Solution(depth, tuple(sorted(free)), offsets, slopes)


def _freedom(name: str) -> tuple[int, int]:
    """The order in which exponents are solved for: what comes last stays free where anything does."""
    kind, _, layer = name.partition("_")
    first = layer == "1"
    return "dcba".index(kind) + (0 if kind != "a" or first else 1), -int(layer or 0)


def _eliminate(rows: list[list[Fraction]], labels: Sequence[str]) -> tuple[list[list[Fraction]], list[int]]:
    """Gauss-Jordan: reduced rows with their pivot columns. Each row carries the combination of equations it is."""
    size, count = len(rows[0]) - 1 if rows else 0, len(rows)
    work = [[*row, *(Fraction(k == n) for n in range(count))] for k, row in enumerate(rows)]
    pivots: list[int] = []
    for column in range(size):
        done = len(pivots)
        chosen = next((k for k in range(done, count) if work[k][column] != 0), None)
        if chosen is None:
            continue
        work[done], work[chosen] = work[chosen], work[done]
        work[done] = [value / work[done][column] for value in work[done]]
        for k in range(count):
            if k != done and work[k][column] != 0:
                factor = work[k][column]
                work[k] = [x - factor * y for x, y in zip(work[k], work[done], strict=True)]
        pivots.append(column)
    for row in work[len(pivots) :]:
        if row[size] != 0:  # 0 = something: this combination of equations is a contradiction
            involved = [label for label, part in zip(labels, row[size + 1 :], strict=True) if part != 0]
            raise _checks.InputError(f"these exclude each other: {'; '.join(involved)}. Leave one of them out.")
    return [row[: size + 1] for row in work[: len(pivots)]], pivots


def _exponents(values: Mapping[str, Fraction], depth: int) -> Exponents:
    layers = range(1, depth + 1)
    return Exponents(
        tuple(float(values[f"a_{n}"]) for n in layers),
        tuple(float(values[f"b_{n}"]) for n in layers),
        float(values["c"]),
        float(values["d"]),
    )


def _affine(offset: Fraction, slopes: Mapping[str, Fraction]) -> str:
    """Such as a_2 - 1/2."""
    terms = [(k, name if abs(k) == 1 else f"{_text(abs(k))} {name}") for name, k in slopes.items()]
    terms += [(offset, _text(abs(offset)))] if offset != 0 or not terms else []
    terms.sort(key=lambda term: term[0] < 0)
    text = "".join(f" {'-' if k < 0 else '+'} {term}" for k, term in terms).removeprefix(" + ")
    return "-" + text.removeprefix(" - ") if text.startswith(" - ") else text


def _text(value: Fraction) -> str:
    return f"{value.numerator}/{value.denominator}" if value.denominator != 1 else str(value.numerator)
