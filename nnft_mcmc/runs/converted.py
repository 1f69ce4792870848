"""Observables of a lattice run in a named convention."""

import numpy as np

from nnft_mcmc.conventions import OBSERVABLES, Conversion, in_convention
from nnft_mcmc.references import total_action
from nnft_mcmc.runs.measure import measure
from nnft_mcmc.runs.store import RunDirectory


def of_run(run: RunDirectory, target: str, spacing: float) -> tuple[Conversion, dict[str, dict[str, float]]]:
    """The conversion from a run to the convention `target`, and its scalar observables there with their errors."""
    ensemble = run.config().ensemble
    lattice = ensemble.lattice
    to = in_convention("continuum", total_action(ensemble), target, lattice.dim, lattice.spacing, spacing)
    found = {}
    for name, measurement in measure(run).items():
        if name in OBSERVABLES and np.ndim(measurement.estimate.value) == 0:
            factor = to.factor(name)
            estimate = measurement.estimate
            found[name] = {"value": factor * float(estimate.value), "error": factor * float(estimate.error)}
    return to, found
