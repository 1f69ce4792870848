"""`nnft scaling`: a width sweep of a configuration, its verdict, and where asked for the transfer of the learning rate.

[architecture] is an `mlp`, whose width is replaced by those of [scaling]; [data] holds what it is trained on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnft_mcmc import _checks
from nnft_mcmc.architectures import MLP
from nnft_mcmc.dynamics.data import Data
from nnft_mcmc.dynamics.learning_rate_transfer import Transfer, learning_rate_transfer
from nnft_mcmc.dynamics.scaling import ScalingSettings, sweep
from nnft_mcmc.dynamics.scaling_verdict import Finding, Row, Scaling, judge
from nnft_mcmc.runs.dynamics_config import DynamicsConfig
from nnft_mcmc.runs.measure import plain
from nnft_mcmc.statistics.exponents import Exponent
from nnft_mcmc.statistics.extrapolation import Unsupported


@dataclass(frozen=True, eq=False)
class Plan:
    """What will be measured."""

    architecture: MLP
    data: Data
    settings: ScalingSettings
    seed: int
    tables: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Report:
    """What was found; `refusal` says why there is no transfer of the learning rate where one was asked for."""

    plan: Plan
    scaling: Scaling
    transfer: Transfer | None
    refusal: str


def plan(config: DynamicsConfig) -> Plan:
    """The sweep that a configuration describes, checked."""
    architecture = config.architecture
    if not isinstance(architecture, MLP):
        raise _checks.InputError(
            f"[architecture] is a {type(architecture).__name__}; width exponents are those of an mlp, name one."
        )
    settings = config.section("scaling", ScalingSettings)
    return Plan(architecture, config.data(), settings, config.seed, config.tables)


def run(wanted: Plan) -> Report:
    """Measure and judge."""
    architecture, data, settings = wanted.architecture, wanted.data, wanted.settings
    scaling = judge(architecture, sweep(architecture, data, settings, wanted.seed), settings)
    if not settings.learning_rates:
        return Report(wanted, scaling, None, "")
    try:
        return Report(wanted, scaling, learning_rate_transfer(architecture, data, settings, wanted.seed), "")
    except Unsupported as refused:
        return Report(wanted, scaling, None, str(refused))


def as_json(report: Report) -> dict[str, Any]:
    """What `nnft scaling --json` prints."""
    found = report.scaling
    return {
        "configuration": dict(report.plan.tables),
        "widths": list(found.widths),
        "networks": list(found.networks),
        "passed": found.passed,
        "z_bound": found.bound,
        "unstable": found.unstable,
        "quantities": [_row(row) for row in found.rows],
        "desiderata": [_finding(finding) for finding in found.findings],
        "broken": [str(finding) for finding in found.broken],
        "learning_rate_transfer": None if report.transfer is None else _transfer(report.transfer),
        "learning_rate_refused": report.refusal,
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "log2": plain(row.log2),
        "log2_error": plain(row.log2_error),
        **_exponent(row.exponent),
        "refused": row.refusal,
        "predicted": plain(row.predicted),
        "z": plain(row.z),
        "verdict": row.verdict,
    }


def _exponent(exponent: Exponent | None) -> dict[str, Any]:
    if exponent is None:
        return {"exponent": None, "error": None}
    fits = [
        {"smallest_width": f.smallest, "correction_power": f.power, "exponent": f.slope, "error": f.error}
        | {"chi2": f.chi2, "dof": f.dof, "p_value": plain(f.p_value), "weight": f.weight}
        for f in exponent.fits
    ]
    return {"exponent": exponent.value, "error": exponent.error, "fits": fits}


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "desideratum": finding.desideratum.name,
        "layer": finding.desideratum.layer,
        "quantity": finding.quantity,
        "exponent": plain(finding.slope),
        "error": plain(finding.error),
        "predicted": plain(finding.predicted),
        "own_constraint": finding.own,
        "verdict": finding.verdict,
    }


def _transfer(transfer: Transfer) -> dict[str, Any]:
    mean, error = transfer.best()
    curves = [np.median(transfer.log2_loss[width], axis=0) for width in transfer.widths]
    return {
        "widths": list(transfer.widths),
        "steps": transfer.steps,
        "eta_0": plain(transfer.grid),
        "median_log2_loss": [plain(curve) for curve in curves],
        "log2_best_eta_0": plain(mean),
        "log2_best_eta_0_error": plain(error),
        "shift_of_log2_eta_0": transfer.shift.value,
        "shift_error": transfer.shift.error,
        "predicted_shift": plain(transfer.predicted),
        "shift_of_log2_eta": transfer.shift.value + transfer.of_rate,
    }
