r"""What a width sweep says: fitted exponents against power counting, and the desiderata that are met or broken.

Row by row the slope s of log2 of a quantity with log2 N is held against the predicted power: at odds where |z| exceeds
the bound that any row passes by chance with probability `false_alarm`, and the deviation is above TOLERANCE, which
corrections to scaling of higher order than the fits know can make. An error above RESOLUTION decides nothing.

A desideratum of `constraints` asks for the power 0 of its own quantity in its layer. It is broken where |s| exceeds
THRESHOLD by SIGNIFICANT errors, met where |s| stays below it by as much, and else undecided. Half-integer exponents
make powers that are multiples of 1/4, THRESHOLD is half of that.

    finite preactivations            z(l), and for l = L the output N^d phi_0
    learning in finite time          eta Theta(l)
    features evolve in finite time   dz(l)/dt

A desideratum can be broken by its own constraint, or by that of another layer, whose effect is carried on.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnft_mcmc.architectures import MLP
from nnft_mcmc.dynamics.constraints import FEATURES, FINITE, LEARNING, Desideratum, breaches, desiderata
from nnft_mcmc.dynamics.power_counting import predicted_powers
from nnft_mcmc.dynamics.scaling import UNSTABLE, ScalingSettings, Sizes, is_after_training, names
from nnft_mcmc.statistics import bonferroni_bound
from nnft_mcmc.statistics.exponents import Exponent, fit_exponent
from nnft_mcmc.statistics.extrapolation import Unsupported

FloatArray = NDArray[np.float64]

TOLERANCE, RESOLUTION = 0.05, 0.1
THRESHOLD, SIGNIFICANT = 0.125, 2.0
AGREES, AT_ODDS, UNDECIDED, UNPREDICTED = "as predicted", "at odds", "undecided", "not predicted"
MET, BROKEN = "met", "broken"


@dataclass(frozen=True, eq=False)
class Row:
    """One quantity: mean of log2 and its error (widths,), the exponent or why there is none, and the prediction."""

    name: str
    log2: FloatArray
    log2_error: FloatArray
    exponent: Exponent | None
    refusal: str
    predicted: float
    z: float
    verdict: str


@dataclass(frozen=True)
class Finding:
    """One desideratum, by its quantity: the slope with its error, the predicted power, and whether it is met.

    `own`: the power that its own constraint leaves, given the layers below; zero where that constraint holds.
    """

    desideratum: Desideratum
    quantity: str
    slope: float
    error: float
    predicted: float
    own: float
    verdict: str

    def __str__(self) -> str:
        trend = "blows up" if self.slope > 0 else "dies"
        if self.verdict == UNDECIDED:
            return f"{self.desideratum} is undecided: {self.quantity} ~ N^({self.slope:.3f} ± {self.error:.3f})"
        if self.verdict == MET:
            return f"{self.desideratum} is met"
        cause = f"its constraint is off by N^{self.own:g}" if self.own else "carried on from another layer"
        return (
            f"{self.desideratum} is broken: {self.quantity} {trend} as N^({self.slope:.3f} ± {self.error:.3f})"
            f" ({cause})"
        )


@dataclass(frozen=True, eq=False)
class Scaling:
    """A width sweep with its verdict; `bound` is that on |z|, `unstable` says where training was, if anywhere."""

    widths: tuple[int, ...]
    networks: tuple[int, ...]
    rows: tuple[Row, ...]
    findings: tuple[Finding, ...]
    bound: float
    unstable: str

    @property
    def passed(self) -> bool:
        """Whether every desideratum is met and no quantity is at odds with the prediction."""
        return not self.at_odds and all(finding.verdict == MET for finding in self.findings)

    @property
    def at_odds(self) -> tuple[Row, ...]:
        """The quantities whose exponent is not the predicted one."""
        return tuple(row for row in self.rows if row.verdict == AT_ODDS)

    @property
    def broken(self) -> tuple[Finding, ...]:
        """The desiderata that are broken, those by their own constraint first."""
        found = [finding for finding in self.findings if finding.verdict == BROKEN]
        return tuple(sorted(found, key=lambda finding: finding.own == 0))


def judge(architecture: MLP, sizes: Sizes, settings: ScalingSettings) -> Scaling:
    """Fit the exponents of a sweep and hold them against power counting."""
    networks = tuple(settings.networks(width) for width in sizes.widths)
    powers = predicted_powers(architecture)
    wanted = names(architecture.depth)
    known = sum(math.isfinite(powers[name]) for name in wanted)
    bound = float(bonferroni_bound(max(1, known), settings.false_alarm, min(networks) - 1))
    unstable = _unstable(sizes)
    rows = tuple(_row(name, sizes, powers[name], bound, unstable) for name in wanted)
    return Scaling(sizes.widths, networks, rows, _findings(architecture, rows), bound, unstable)


def _unstable(sizes: Sizes) -> str:
    """Where eta lambda_max/|D| of the tangent kernel exceeds 2, beyond which descent on a frozen kernel diverges."""
    for width, values in zip(sizes.widths, sizes.log2[UNSTABLE], strict=True):
        over = int((values > 1.0).sum())
        if over:
            return (
                f"training is unstable at width {width}: eta lambda_max/|D| is {2.0 ** values.max():.3g}, above 2, in"
                f" {over} of {len(values)} networks; lower scaling.learning_rate"
            )
    return ""


def _row(name: str, sizes: Sizes, predicted: float, bound: float, unstable: str) -> Row:
    mean, error = sizes.mean(name)
    try:
        if unstable and is_after_training(name):
            raise Unsupported(unstable)
        exponent = fit_exponent(sizes.widths, mean, error)
    except Unsupported as refused:
        return Row(name, mean, error, None, str(refused), predicted, math.nan, UNDECIDED)
    z = (exponent.value - predicted) / exponent.error
    if math.isnan(predicted):
        verdict = UNPREDICTED
    elif abs(z) > bound and abs(exponent.value - predicted) > TOLERANCE:
        verdict = AT_ODDS
    else:
        verdict = AGREES if exponent.error <= RESOLUTION else UNDECIDED
    return Row(name, mean, error, exponent, "", predicted, z, verdict)


def _findings(architecture: MLP, rows: tuple[Row, ...]) -> tuple[Finding, ...]:
    by_name = {row.name: row for row in rows}
    own = {breach.desideratum: float(breach.power) for breach in breaches(architecture.exponents)}
    return tuple(_finding(wish, by_name, own.get(wish, 0.0), architecture) for wish in desiderata(architecture.depth))


def _finding(wish: Desideratum, rows: dict[str, Row], own: float, architecture: MLP) -> Finding:
    name, shift = f"z({wish.layer})", 0.0
    if wish.name == FINITE and wish.layer == architecture.depth:
        name, shift = "phi_0", architecture.exponents.d
    if wish.name == LEARNING:
        name = f"eta Theta({wish.layer})"
    if wish.name == FEATURES:
        name = f"dz({wish.layer})/dt"
    row, quantity = rows[name], f"N^{shift:g} {name}" if shift else name
    if row.exponent is None:
        return Finding(wish, quantity, math.nan, math.nan, row.predicted + shift, own, UNDECIDED)
    slope, error = row.exponent.value + shift, row.exponent.error
    verdict = UNDECIDED
    if abs(slope) - SIGNIFICANT * error > THRESHOLD:
        verdict = BROKEN
    if abs(slope) + SIGNIFICANT * error < THRESHOLD:
        verdict = MET
    return Finding(wish, quantity, slope, error, row.predicted + shift, own, verdict)
