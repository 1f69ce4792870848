"""What `nnft train` prints and stores: the announcement, the table with its sentence, and the labelled trajectories."""

from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nnft_mcmc.runs.dynamics_config import DynamicsConfig
from nnft_mcmc.runs.report import table, with_error
from nnft_mcmc.runs.training import Trained, z_scores

FloatArray = NDArray[np.float64]

COMPARED = (
    "Compared with the exact solution at infinite width: a Gaussian field whose mean is that of kernel regression with"
    " the tangent kernel, stopped at t. Networks of finite width differ from it by a part of order 1/width, which shows"
    " once the errors are smaller than that."
)


def announce(config: DynamicsConfig, out: Path | None) -> str:
    """What is about to be done."""
    settings, tables = config.training(), config.tables
    architecture = ", ".join(f"{key} = {value}" for key, value in tables["architecture"].items() if key != "name")
    own = ("times", "num_networks", "store", "name")
    optimizer = ", ".join(f"{key} = {value}" for key, value in tables["training"].items() if key not in own)
    lines = [
        f"ensemble   {settings.num_networks} networks {tables['architecture']['name']}({architecture}), seed"
        f" {config.seed}",
        f"training   {settings.optimizer.name}({optimizer}) on {len(config.data())} points",
    ]
    return "\n".join(lines if out is None else [*lines, f"writing    {out}"])


def text(found: Trained) -> str:
    """The tables of `nnft train`."""
    p = None if found.solution is None else found.solution.predictions
    headers = (
        ["t", "x", "mean ± error"] + (["exact", "z"] if p else []) + ["std ± error"] + (["exact", "z"] if p else [])
    )
    blocks = [
        _columns(
            found.mean.value,
            found.mean.error,
            None if p is None else p.mean,
            z_scores(found.mean, p.mean) if p else None,
        ),
        _columns(
            found.std.value, found.std.error, None if p is None else p.std, z_scores(found.std, p.std) if p else None
        ),
    ]
    labels = [[f"{t:g}", _point(x)] for t in found.times for x in found.points]
    rows = [label + first + second for label, first, second in zip(labels, *blocks, strict=True)]
    return "\n".join([table(headers, rows), "", _loss(found), *_verdict(found), *found.notes])


def _columns(value: FloatArray, error: FloatArray, exact: FloatArray | None, z: FloatArray | None) -> list[list[str]]:
    measured = [[with_error(float(v), float(s))] for v, s in zip(value, error, strict=True)]
    if exact is None or z is None:
        return measured
    return [[*row, f"{e:.5g}", f"{k:+.2f}"] for row, e, k in zip(measured, exact.ravel(), z, strict=True)]


def _point(x: FloatArray) -> str:
    return f"{x[0]:g}" if len(x) == 1 else "(" + ", ".join(f"{c:g}" for c in x) + ")"


def _loss(found: Trained) -> str:
    begin, end = found.losses[:, 0], found.losses[:, -1]
    line = (
        f"loss       {begin.mean():.4g} at t = {found.curve_times[0]:g}, {end.mean():.4g} at t ="
        f" {found.curve_times[-1]:g} (median {np.median(end):.4g}), learning rate {found.eta:.4g}"
    )
    if "steps" in found.more:
        line += f", {found.more['steps'].mean():.0f} adaptive steps on average"
    return line


def _verdict(found: Trained) -> list[str]:
    if found.solution is None:
        return []
    p = found.solution.predictions
    rows = [
        [f"{t:g}", *[f"{cell}" for test in at_time for cell in (f"{test.chi2:.1f}", test.dof, f"{test.p_value:.2g}")]]
        for t, *at_time in zip(found.times, *found.tests.values(), strict=True)
    ]
    headers = ["t", *[f"{head} {name}" for name in found.tests for head in ("chi^2", "dof", "p")]]
    lines = ["", "All points together", table(headers, rows), ""] if found.tests else []
    jitter = f"; jitter {p.jitter:.3g} on the diagonal" if p.jitter else ""
    return [*lines, COMPARED, f"Condition number of the exact solution: {p.condition.max():.2g} at most{jitter}."]


def dataset(found: Trained) -> xr.Dataset:
    """phi_t of all networks, losses, and G_t with errors, labelled: dims network, t, point and coordinate."""
    times, points = found.shape
    pair = (times, points, points)
    grid = ("t", "point")
    variables: dict[str, tuple] = {
        "field": (("network", *grid), found.fields),
        "loss": (("network", "t_loss"), found.losses),
        "x": (("point", "coordinate"), found.points),
        "two_point_connected": (("t", "point", "point_2"), found.covariance.value.reshape(pair)),
        "two_point_connected_error": (("t", "point", "point_2"), found.covariance.error.reshape(pair)),
    }
    for name, e in (("mean", found.mean), ("std", found.std), ("four_point_connected", found.four_point)):
        variables[name] = (grid, e.value.reshape(found.shape))
        variables[f"{name}_error"] = (grid, e.error.reshape(found.shape))
    if found.solution is not None:
        p = found.solution.predictions
        variables |= {"exact_mean": (grid, p.mean), "exact_covariance": (("t", "point", "point_2"), p.covariance)}
    return xr.Dataset(variables, coords={"t": found.times, "t_loss": found.curve_times})
