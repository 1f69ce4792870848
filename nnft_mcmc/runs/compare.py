"""`nnft compare RUN REFERENCE`: z-scores, a correlated chi^2 with its p-value, and a verdict.

The null hypothesis is that the run's expectation values are the reference's. It is tested once, on all compared
quantities together (they come from the same draws and are strongly correlated): with Hotelling's T^2 where the
reference is a set of numbers, with its form for two samples where it is another run; and it is rejected where
p < FALSE_ALARM. The z-scores beside it are for reading, not for judging.

Compared are <phi^2>, <phi^4> and G(t), t > 0, in a box those of its middle, and on a torus the nearest-neighbour
product and the zero-momentum correlator C(t) as well. The susceptibility is a sum of C(t): shown, but not tested.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnft_mcmc import _checks
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.estimators import Observable, observables
from nnft_mcmc.references import Reference, exact_reference, perturbative_reference
from nnft_mcmc.runs import sampled_reference
from nnft_mcmc.runs.driver import theory
from nnft_mcmc.runs.measure import rhat
from nnft_mcmc.runs.store import RunDirectory
from nnft_mcmc.statistics import (
    ChiSquared,
    Estimate,
    TooFewDraws,
    gamma_method,
    hotelling,
    hotelling_two_samples,
    z_score,
)

FloatArray = NDArray[np.float64]

COMPUTED = {"exact": exact_reference, "perturbation": perturbative_reference}
FALSE_ALARM = 1e-3
# Names by geometry, scalars first. G(0) is <phi^2> once more; where a run has no separate C(t), it is not there.
COMPARED = {
    "box": ("phi2_mid", "phi4_mid", "two_point"),
    "torus": ("phi2", "phi4", "nearest_neighbour", "susceptibility", "two_point", "correlator"),
}
SAME = {"phi2": "phi2_mid", "phi4": "phi4_mid"}  # everywhere the same on a torus
SHOWN_ONLY = ("susceptibility",)


@dataclass(frozen=True)
class Row:
    """One compared number: its observable and its place in it."""

    name: str
    index: int
    t: float


@dataclass(frozen=True)
class Comparison:
    """The compared quantities in one row each: names, distances t (NaN for local ones), estimates and references.

    `expected_error` is 0 where the reference was computed. `remains` are sentences on the differences that are not
    statistical.
    """

    label: str
    reference: Reference
    width: int | None
    names: list[str]
    t: FloatArray
    estimate: Estimate
    rhat: FloatArray
    expected: FloatArray
    expected_error: FloatArray
    shift: FloatArray | None
    test: ChiSquared | None
    shifted_test: ChiSquared | None
    cannot_judge: str

    @property
    def z(self) -> FloatArray:
        """Deviations in units of the error of the difference."""
        return z_score(self.estimate.value, self.estimate.error, self.expected, self.expected_error)

    @property
    def sampled(self) -> bool:
        """Whether the reference has statistical errors of its own."""
        return bool((self.expected_error > 0).any())

    @property
    def agrees(self) -> bool:
        """Whether the test could be made and does not reject the reference."""
        return self.test is not None and self.test.p_value >= FALSE_ALARM


def compare(run: RunDirectory, reference: str) -> Comparison:
    """Hold a run against a reference: exact, perturbation, infinite-width, lattice, or the directory of a run."""
    kind = run.manifest()["kind"]  # refuses what is no run
    ensemble, _ = theory(run.config(), kind)
    if reference in COMPUTED:
        return _with_numbers(reference, ensemble, run, COMPUTED[reference](ensemble))
    if reference in sampled_reference.NAMES:
        other, remains = sampled_reference.run(run, reference)
        return _with_run(reference, ensemble, run, other, remains)
    other = RunDirectory(Path(reference))
    if not other.exists:
        names = (*COMPUTED, *sampled_reference.NAMES)
        raise _checks.InputError(
            f"REFERENCE is {reference!r}; it must be one of {', '.join(names)} or the directory of a run."
            f"{_checks.nearest(reference, names)}"
        )
    return _with_run(other.path.name, ensemble, run, other, sampled_reference.differences(run, other))


def _observables(run: RunDirectory, ensemble: Ensemble) -> dict[str, Observable]:
    return observables(run.arrays("observables")["observables"], ensemble.lattice)


def _with_numbers(label: str, ensemble: Ensemble, run: RunDirectory, reference: Reference) -> Comparison:
    """Against computed numbers."""
    found = _observables(run, ensemble)
    rows = _rows(ensemble, found, reference.values.keys(), None)
    expected = _picked(rows, reference.values)
    shift = _picked(rows, reference.shifts) if reference.shifts else None
    series, tested = _series(rows, found), _tested(rows)
    estimate, test, shifted_test = gamma_method(series), None, None
    cannot_judge = _unusable(rows, estimate)
    try:
        if not cannot_judge:
            test = hotelling(series[..., tested], expected[tested])
            shifted_test = hotelling(series[..., tested], (expected + shift)[tested]) if shift is not None else None
    except TooFewDraws as error:
        cannot_judge = str(error)
    return Comparison(
        label=label,
        reference=reference,
        width=getattr(ensemble.architecture, "width", None),
        names=[row.name for row in rows],
        t=np.array([row.t for row in rows]),
        estimate=estimate,
        rhat=rhat(series),
        expected=expected,
        expected_error=np.zeros_like(expected),
        shift=shift,
        test=test,
        shifted_test=shifted_test,
        cannot_judge=cannot_judge,
    )


def _with_run(label: str, ensemble: Ensemble, run: RunDirectory, other: RunDirectory, remains: str) -> Comparison:
    """Against the draws of another run."""
    other_ensemble, _ = theory(other.config(), other.manifest()["kind"])
    found, theirs = _observables(run, ensemble), _observables(other, other_ensemble)
    rows = _rows(ensemble, found, theirs.keys(), theirs)
    if not rows:
        raise _checks.InputError(f"the run and {other.path} have no observable at a common distance to compare.")
    at_theirs = [Row(row.name, _at(theirs[row.name], row.t), row.t) for row in rows]
    series, their_series, tested = _series(rows, found), _series(at_theirs, theirs), _tested(rows)
    estimate, expected, test = gamma_method(series), gamma_method(their_series), None
    cannot_judge = _unusable(rows, estimate) or _unusable(rows, expected)
    try:
        if not cannot_judge:
            test = hotelling_two_samples(series[..., tested], their_series[..., tested])
    except TooFewDraws as error:
        cannot_judge = str(error)
    return Comparison(
        label=label,
        reference=Reference(description=f"the draws in {other.path}", values={}, remains=remains),
        width=getattr(ensemble.architecture, "width", None),
        names=[row.name for row in rows],
        t=np.array([row.t for row in rows]),
        estimate=estimate,
        rhat=rhat(series),
        expected=expected.value,
        expected_error=expected.error,
        shift=None,
        test=test,
        shifted_test=None,
        cannot_judge=cannot_judge,
    )


def _rows(
    ensemble: Ensemble,
    found: Mapping[str, Observable],
    known: Collection[str],
    theirs: Mapping[str, Observable] | None,
) -> list[Row]:
    """The numbers that both sides have; of another run, those at a common distance."""
    tori = ensemble.lattice.geometry == "torus" and (theirs is None or "propagator" in theirs)
    names = [name if name in known else SAME.get(name, name) for name in COMPARED["torus" if tori else "box"]]
    twice = ("correlator", "nearest_neighbour") if ensemble.lattice.dim == 1 else ()
    rows = []
    for name in names:
        if name not in known or name not in found or name in twice:
            continue
        coords = found[name].coords
        if coords is None:
            rows.append(Row(name, -1, np.nan))
            continue
        first = 1 if name == "two_point" else 0
        common = [k for k in range(first, len(coords)) if theirs is None or _at(theirs[name], coords[k]) >= 0]
        rows += [Row(name, k, float(coords[k])) for k in common]
    return rows


def _at(observable: Observable, t: float) -> int:
    """The place of the distance t in an array; -1 where it has none, and for a scalar."""
    if observable.coords is None:
        return -1
    near = np.flatnonzero(np.abs(observable.coords - t) < 1e-9 * (1 + abs(t)))
    return int(near[0]) if near.size else -1


def _picked(rows: list[Row], values: Mapping[str, FloatArray]) -> FloatArray:
    return np.array([float(values[row.name][row.index] if row.index >= 0 else values[row.name]) for row in rows])


def _series(rows: list[Row], found: Mapping[str, Observable]) -> FloatArray:
    columns = [found[row.name].series[..., row.index] if row.index >= 0 else found[row.name].series for row in rows]
    return np.stack(columns, axis=-1)


def _tested(rows: list[Row]) -> NDArray[np.int64]:
    return np.flatnonzero([row.name not in SHOWN_ONLY for row in rows])


def _unusable(rows: list[Row], estimate: Estimate) -> str:
    names = sorted({row.name for row, error in zip(rows, estimate.error, strict=True) if not np.isfinite(error)})
    return f"{', '.join(names)} is constant or not a number; see nnft diagnose." if names else ""
