"""`nnft compare RUN exact`: z-scores, a correlated chi^2 with its p-value, a verdict and a plot.

The null hypothesis is that the run's expectation values are the reference's. It is tested once, with Hotelling's T^2 on
<phi^2>, <phi^4> mid-box and G(t), t > 0 together (all of them come from the same draws and are strongly correlated),
and is rejected where p < FALSE_ALARM. The z-scores beside it are for reading, not for judging.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnft_mcmc import _checks
from nnft_mcmc.estimators import observables, separations
from nnft_mcmc.references import Reference, exact_reference
from nnft_mcmc.runs.driver import theory
from nnft_mcmc.runs.measure import plain, rhat
from nnft_mcmc.runs.store import RunDirectory
from nnft_mcmc.statistics import ChiSquared, Estimate, TooFewDraws, gamma_method, hotelling, z_score

REFERENCES = ("exact",)
FALSE_ALARM = 1e-3


@dataclass(frozen=True)
class Comparison:
    """The compared quantities in one row each: names, distances t (NaN for local ones), estimates and references."""

    reference: Reference
    width: int | None
    names: list[str]
    t: NDArray[np.float64]
    estimate: Estimate
    rhat: NDArray[np.float64]
    exact: NDArray[np.float64]
    shift: NDArray[np.float64] | None
    test: ChiSquared | None
    shifted_test: ChiSquared | None
    cannot_judge: str

    @property
    def z(self) -> NDArray[np.float64]:
        """Deviations in units of the error."""
        return z_score(self.estimate.value, self.estimate.error, self.exact)

    @property
    def agrees(self) -> bool:
        """Whether the test could be made and does not reject the reference."""
        return self.test is not None and self.test.p_value >= FALSE_ALARM


def compare(run: RunDirectory, reference: str) -> Comparison:
    """Hold a run against a reference; of the latter, `exact` is known."""
    _checks.one_of("REFERENCE", reference, REFERENCES)
    kind = run.manifest()["kind"]
    ensemble, _ = theory(run.config(), kind)
    exact = exact_reference(ensemble)
    found = observables(run.arrays("observables")["observables"], ensemble.lattice)
    local = [name for name in exact.values if exact.values[name].ndim == 0]
    t = separations(ensemble.lattice)
    # G(0) is <phi^2> once more.
    series = np.concatenate(
        [np.stack([found[name].series for name in local], axis=-1), found["two_point"].series[..., 1:]], axis=-1
    )

    def in_rows(values: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        return np.concatenate([[values[name] for name in local], values["two_point"][1:]])

    values, shift = in_rows(exact.values), in_rows(exact.shifts) if exact.shifts else None
    names = [*local, *["two_point"] * (len(t) - 1)]
    estimate, test, shifted_test = gamma_method(series), None, None
    unusable = sorted({name for name, error in zip(names, estimate.error, strict=True) if not np.isfinite(error)})
    cannot_judge = f"{', '.join(unusable)} is constant or not a number; see nnft diagnose." if unusable else ""
    try:
        if not cannot_judge:
            test = hotelling(series, values)
            shifted_test = hotelling(series, values + shift) if shift is not None else None
    except TooFewDraws as error:
        cannot_judge = str(error)
    return Comparison(
        reference=exact,
        width=getattr(ensemble.architecture, "width", None),
        names=names,
        t=np.concatenate([np.full(len(local), np.nan), t[1:]]),
        estimate=estimate,
        rhat=rhat(series),
        exact=values,
        shift=shift,
        test=test,
        shifted_test=shifted_test,
        cannot_judge=cannot_judge,
    )


def sentences(c: Comparison) -> list[str]:
    """What was compared, the verdict, and the systematic difference that remains, in words."""
    lines = [f"Compared with {c.reference.description}."]
    if c.test is None:
        return [*lines, f"The run CANNOT BE JUDGED: {c.cannot_judge}"]
    verdict = "agrees with" if c.agrees else "DISAGREES with"
    lines.append(
        f"The run {verdict} it: chi^2 = {c.test.chi2:.1f} for {c.test.dof} correlated quantities, p ="
        f" {c.test.p_value:.2g} (rejected below {FALSE_ALARM:g})."
    )
    if c.shift is not None and c.width is not None:
        lines.append(_size_of_width_shift(c.names[0], c.width, c.shift[0], c.exact[0], c.estimate.error[0]))
        if not c.agrees:
            lines.append(_cause(c.test, c.shifted_test))
    return lines


def _size_of_width_shift(name: str, width: int, shift: float, exact: float, error: float) -> str:
    here = (
        f"Finite width: to leading order in 1/N, width {width} shifts {name} by {shift:+.5f}"
        f" ({100 * shift / exact:+.2f}%, {abs(shift) / error:.1f} times its error)"
    )
    small = 10
    if width <= small:
        return here + "."
    at_small = shift * width / small
    return here + f"; width {small} would shift it by {at_small:+.3f} ({100 * at_small / exact:+.0f}%)."


def _cause(test: ChiSquared, shifted_test: ChiSquared | None) -> str:
    if shifted_test is not None and shifted_test.chi2 < test.chi2 / 2:
        return (
            f"With that shift added to the reference, chi^2 falls from {test.chi2:.0f} to {shifted_test.chi2:.0f}:"
            " finite width accounts for most of the difference, and bad sampling does not. Use a larger"
            " architecture.width."
        )
    return (
        "Adding that shift to the reference does not mend it, so finite width is not the cause. See what nnft diagnose"
        " says of the run."
    )


def as_json(c: Comparison) -> dict[str, Any]:
    """What `nnft compare --json` prints."""
    numbers = {
        "value": c.estimate.value,
        "error": c.estimate.error,
        "reference": c.exact,
        "z": c.z,
        "tau_int": c.estimate.tau_int,
        "ess": c.estimate.ess,
        "rhat": c.rhat,
    }
    if c.shift is not None:
        numbers["width_shift"] = c.shift
    rows = np.array([name == "two_point" for name in c.names])
    local = {
        name: {key: plain(column[k]) for key, column in numbers.items()}
        for k, name in enumerate(c.names)
        if not rows[k]
    }
    two_point = {"coords": plain(c.t[rows]), **{key: plain(column[rows]) for key, column in numbers.items()}}
    return {
        "reference": c.reference.description,
        "observables": {**local, "two_point": two_point},
        "chi2": plain(c.test.chi2) if c.test else None,
        "dof": c.test.dof if c.test else None,
        "p_value": plain(c.test.p_value) if c.test else None,
        "false_alarm": FALSE_ALARM,
        "agrees": c.agrees,
        "excess_kurtosis": plain(c.reference.excess_kurtosis),
        "verdict": " ".join(sentences(c)),
    }
