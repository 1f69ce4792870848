"""`nnft reweight CONFIG`: the deformed ensemble from independent draws of the undeformed one."""

from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from nnft_mcmc import _checks
from nnft_mcmc.estimators.reweighting import MINIMUM_DRAWS, Reweighted, reweight
from nnft_mcmc.runs.config import Config
from nnft_mcmc.runs.measure import plain
from nnft_mcmc.runs.report import table, with_error


def estimate(config: Config, num_draws: int, seed: int | None = None) -> Reweighted:
    """Reweight `num_draws` networks; a bar on stderr."""
    seed = config.run.seed if seed is None else _checks.integer("--seed", seed, 0, 2**63 - 1)
    with tqdm(total=num_draws, unit="network", unit_scale=True, smoothing=0) as bar:
        return reweight(config.ensemble, jax.random.key(seed), num_draws, progress=bar.update)


def announce(config: Config, num_draws: int) -> str:
    """What is about to be done; refuses too few draws."""
    _checks.integer("--num-draws", num_draws, MINIMUM_DRAWS)
    tables, lattice = config.tables["architecture"], config.ensemble.lattice
    arguments = ", ".join(f"{key} = {value}" for key, value in tables.items() if key != "name")
    sites = " x ".join(map(str, lattice.shape))
    return "\n".join(
        [
            f"ensemble   {tables['name']}({arguments})",
            f"lattice    {sites} sites, spacing {lattice.spacing:g}, {lattice.geometry}",
            f"drawing    {num_draws} independent networks without insertion, weighted with exp(-S_int)",
        ]
    )


def text(found: Reweighted) -> str:
    """The table and the verdict of `nnft reweight`."""
    one_dimension = np.array_equal(found.observables["correlator"].series, found.observables["two_point"].series)
    shown = {name: o for name, o in found.observables.items() if not (one_dimension and name == "correlator")}
    rows = []
    for name, observable in shown.items():
        value, error = (np.atleast_1d(x) for x in found.estimate(name))
        labels = [name] if observable.coords is None else [f"{name}({t:g})" for t in observable.coords]
        rows += [[label, with_error(float(v), float(e))] for label, v, e in zip(labels, value, error, strict=True)]
    rows.append(["log_partition_ratio", with_error(found.log_partition_ratio, found.log_partition_ratio_error)])
    notes = ["correlator: equal to two_point in one dimension"] if one_dimension else []
    notes += [f"{name}: {o.note}" for name, o in shown.items() if o.note]
    return "\n".join([table(["observable", "value ± error"], rows), *notes, "", found.weights.verdict])


def as_json(found: Reweighted) -> dict[str, Any]:
    """What `nnft reweight --json` prints."""
    observables = {}
    for name, observable in found.observables.items():
        value, error = found.estimate(name)
        observables[name] = {"value": plain(value), "error": plain(error)}
        if observable.coords is not None:
            observables[name]["coords"] = plain(observable.coords)
        if observable.note:
            observables[name]["note"] = observable.note
    observables["log_partition_ratio"] = {
        "value": plain(found.log_partition_ratio),
        "error": plain(found.log_partition_ratio_error),
        "bias": plain(found.log_partition_ratio_bias),
    }
    weights = found.weights
    return {
        "observables": observables,
        "num_draws": weights.num_draws,
        "ess": plain(weights.ess),
        "ess_fraction": plain(weights.ess / weights.num_draws),
        "largest_share": plain(weights.share),
        "pareto_k": plain(weights.pareto_k),
        "num_not_finite": weights.num_not_finite,
        "trusted": weights.trusted,
        "verdict": weights.verdict,
    }
