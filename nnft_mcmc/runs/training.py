r"""`nnft train CONFIG`: an ensemble of networks trained, its correlators G_t, and how they compare with the exact ones.

    G_t^(1)(x) = <phi_t(x)>,    G_t,c^(2)(x, y),    G_t,c^(4)(x, x, x, x),      # lectures eqs. (17)-(19), connected

with errors from independent networks (`statistics.joint_cumulants`). Where the tangent kernel of infinite width is
known and training is a flow or a descent on all data, the mean and standard deviation are held against the solved model
(`dynamics.solved_model`): z-scores, and at every time Hotelling's test of the means at all points,
and of the variances about the exact mean.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from nnft_mcmc import _checks
from nnft_mcmc.architectures import MLP, Architecture, DeepEuclideanNet
from nnft_mcmc.dynamics.data import Data
from nnft_mcmc.dynamics.infinite_width import kernels
from nnft_mcmc.dynamics.learning_rate import learning_rate
from nnft_mcmc.dynamics.response import solvable
from nnft_mcmc.dynamics.solved_model import KernelsAt, Predictions, SolvedModel
from nnft_mcmc.dynamics.task import Nonlinear
from nnft_mcmc.dynamics.training import Training, Trajectories, joined
from nnft_mcmc.runs import dynamics_config
from nnft_mcmc.runs.training_store import TrainingDirectory
from nnft_mcmc.statistics import ChiSquared, CumulantEstimate, TooFewDraws, hotelling_of_independent
from nnft_mcmc.statistics.joint_cumulants import joint_cumulants

FloatArray = NDArray[np.float64]

LEAST_NETWORKS = 16
LEAST_CHUNKS = 10  # so that a killed training has lost at most a part of this size
CURVE_TIMES = 40  # of the loss, besides those asked for


@dataclass(frozen=True)
class Solution:
    """What the solved model says: at the test points, and the mean loss at all times of the curve, (T',)."""

    predictions: Predictions
    loss: FloatArray


@dataclass(frozen=True, eq=False)
class Trained:
    """times (T,) at test points (P, dim); mean, std, four_point (T, P) and covariance (T, P, P), with errors.

    curve_times (T',) and losses (networks, T'); solution is None, with `notes` why, where there is none; tests: at each
    time, of the mean and of the variance.
    """

    config: dynamics_config.Training
    data: Data
    eta: float
    times: FloatArray
    fields: FloatArray
    curve_times: FloatArray
    losses: FloatArray
    more: dict[str, np.ndarray]
    mean: CumulantEstimate
    std: CumulantEstimate
    covariance: CumulantEstimate
    four_point: CumulantEstimate
    solution: Solution | None
    tests: dict[str, list[ChiSquared]]
    notes: list[str]

    @property
    def points(self) -> FloatArray:
        """The test points, (P, dim)."""
        return np.asarray(self.data.test_inputs)

    @property
    def shape(self) -> tuple[int, int]:
        """Times and points."""
        return len(self.times), len(self.points)


def run(
    config: dynamics_config.DynamicsConfig,
    out: Path | None = None,
    resume: bool = False,
    quiet: bool = False,
    num_devices: int = 1,
) -> Trained:
    """Train the ensemble of `config`; with `out` chunks are stored there, and `resume` goes on with what there is."""
    data, settings = config.data(), config.training()
    if data.test_inputs is None:
        raise _checks.InputError("[data] has no test points; give test_inputs, or in one dimension num_test_points.")
    _checks.integer("training.num_networks", settings.num_networks, minimum=LEAST_NETWORKS)
    if resume and out is None:
        raise _checks.InputError("--resume goes on with what is stored; give --out DIR as well.")
    curve_times = _curve_times(settings)
    if settings.store and out is None:
        raise _checks.InputError("training.store keeps parameters in files; give --out DIR as well, or leave it out.")
    # What the solved model refuses, such as an unstable learning rate, is refused before anything is trained.
    solution, notes = _solve(config.architecture, data, settings, curve_times)
    found, eta = _trajectories(config, data, settings, curve_times, out, resume, quiet, num_devices)
    wanted = np.searchsorted(curve_times, settings.times)
    return _evaluate(settings, data, eta, found, wanted, solution, notes)


def _curve_times(settings: dynamics_config.Training) -> FloatArray:
    """The times asked for, and more for the curve of the loss."""
    last = settings.times[-1]
    if last == 0:
        return settings.times
    more = np.concatenate([np.linspace(0, last, CURVE_TIMES // 2), np.geomspace(last / 1e3, last, CURVE_TIMES // 2)])
    more = np.unique(np.rint(more)) if settings.optimizer.discrete else more
    return np.unique(np.concatenate([settings.times, more]))


def _trajectories(
    config: dynamics_config.DynamicsConfig,
    data: Data,
    settings: dynamics_config.Training,
    times: FloatArray,
    out: Path | None,
    resume: bool,
    quiet: bool,
    num_devices: int,
) -> tuple[Trajectories, float]:
    training = _training(config, data, settings, times, num_devices)
    parts = []
    with ExitStack() as held:
        directory = None
        if out is not None:
            directory = TrainingDirectory(out)
            chunk = directory.begin(config.tables, data, training.chunk, resume)
            held.enter_context(directory.lock())
            training = _training(config, data, settings, times, num_devices, chunk)
        bar = held.enter_context(tqdm(total=settings.num_networks, disable=quiet, unit="network", smoothing=0))
        for first, count in training.pieces():
            part = None if directory is None else directory.load(first, count)
            if part is None:
                part = training.train(jax.random.key(config.seed), first, count)
                if directory is not None:
                    directory.save(first, part)
            # Parameters, which may be many, stay in the files.
            parts.append(Trajectories(part.times, part.points, part.fields, part.losses, {}, part.more))
            bar.update(count)
            bar.set_postfix(loss=f"{float(np.median(part.losses[:, -1])):.3g}", refresh=False)
    return joined(parts), training.eta


def _training(
    config: dynamics_config.DynamicsConfig,
    data: Data,
    settings: dynamics_config.Training,
    times: FloatArray,
    num_devices: int,
    chunk: int | None = None,
) -> Training:
    def of(most: int | None) -> Training:
        return Training(
            Nonlinear(config.architecture),
            data,
            settings.optimizer,
            times,
            np.asarray(data.test_inputs),
            settings.num_networks,
            trained=settings.trained,
            coordinates=settings.coordinates,
            keep_parameters="parameters" in settings.store,
            chunk=most,
            num_devices=num_devices,
        )

    return of(chunk) if chunk is not None else of(min(of(None).chunk, -(-settings.num_networks // LEAST_CHUNKS)))


def _solve(
    architecture: Architecture, data: Data, settings: dynamics_config.Training, curve_times: FloatArray
) -> tuple[Solution | None, list[str]]:
    """The solved model, or why there is none."""
    try:
        optimizer = solvable(settings.optimizer)
        _require_frozen(architecture)
        points = np.concatenate([np.asarray(data.test_inputs), data.inputs])
        k = kernels(architecture, points, trained=settings.trained, coordinates=settings.coordinates)
    except _checks.InputError as error:
        return None, [f"Nothing exact to compare with: {error}"]
    test, train = slice(0, len(points) - len(data)), slice(len(points) - len(data), None)
    eta = learning_rate(architecture, optimizer)
    model = SolvedModel(data.targets, k.ntk[train, train], optimizer, eta, k.nngp[train, train])
    at_test = KernelsAt(k.ntk[test, train], k.nngp[test, train], k.nngp[test, test])
    at_data = KernelsAt(k.ntk[train, train], k.nngp[train, train], k.nngp[train, train])
    curve = model.predict(at_data, curve_times)
    loss = 0.5 * np.mean((curve.mean - data.targets) ** 2 + curve.std**2, axis=1)
    return Solution(model.predict(at_test, settings.times), loss), []


def _require_frozen(architecture: Architecture) -> None:
    """Refuse a network whose features learn at infinite width."""
    if isinstance(architecture, MLP | DeepEuclideanNet) and architecture.layers.exponents.d != 0:
        raise _checks.InputError(
            f"with the exponent d = {architecture.layers.exponents.d:g} features learn at any width, and the tangent"
            " kernel does not stay what it was; parametrization = 'ntk' has d = 0."
        )


def _evaluate(
    settings: dynamics_config.Training,
    data: Data,
    eta: float,
    found: Trajectories,
    wanted: NDArray[np.intp],
    solution: Solution | None,
    notes: list[str],
) -> Trained:
    fields = found.fields[:, wanted].astype(np.float64)
    flat = fields.reshape(len(fields), -1)
    columns, num_points = range(flat.shape[1]), fields.shape[2]
    pairs = [(i, j) for i in columns for j in columns if i // num_points == j // num_points]
    tests, remarks = _tests(fields, solution) if solution is not None else ({}, [])
    return Trained(
        config=settings,
        data=data,
        eta=eta,
        times=found.times[wanted],
        fields=fields,
        curve_times=found.times,
        losses=found.losses,
        more=found.more,
        mean=joint_cumulants(flat, [(i,) for i in columns]),
        std=joint_cumulants(flat, [(i, i) for i in columns], _square_root),
        covariance=joint_cumulants(flat, pairs),
        four_point=joint_cumulants(flat, [(i,) * 4 for i in columns]),
        solution=solution,
        tests=tests,
        notes=notes + remarks,
    )


def _tests(fields: FloatArray, solution: Solution) -> tuple[dict[str, list[ChiSquared]], list[str]]:
    """Hotelling's tests of the means and of the second moments, at every time of all points together.

    Not of all times together: combinations of times that a linear model fixes exactly vary in a network by a part of
    order 1/width alone, and only that part would be tested.
    """
    mean, variance = solution.predictions.mean, solution.predictions.std**2
    series = {"mean": (fields, mean), "variance": ((fields - mean) ** 2, variance)}
    tests, notes = {}, []
    for name, (samples, reference) in series.items():
        try:
            tests[name] = [hotelling_of_independent(samples[:, k], r) for k, r in enumerate(reference)]
        except TooFewDraws as error:
            notes.append(f"No joint test of the {name}: {error}")
    return tests, notes


def _square_root(variance: FloatArray) -> FloatArray:
    return np.sqrt(np.maximum(variance, 0.0))


def as_json(found: Trained) -> dict[str, Any]:
    """What `nnft train --json` prints."""

    def table(values: FloatArray) -> list[list[float | None]]:
        return [[float(v) if np.isfinite(v) else None for v in row] for row in values.reshape(found.shape)]

    def entry(e: CumulantEstimate, exact: FloatArray | None = None) -> dict[str, Any]:
        columns = {"value": table(e.value), "error": table(e.error)}
        return columns if exact is None else {**columns, "exact": table(exact), "z": table(z_scores(e, exact))}

    p = None if found.solution is None else found.solution.predictions
    losses = found.losses
    return {
        "optimizer": found.config.optimizer.name,
        "learning_rate": found.eta,
        "num_networks": len(found.fields),
        "times": found.times.tolist(),
        "points": found.points.tolist(),
        "mean": entry(found.mean, None if p is None else p.mean),
        "std": entry(found.std, None if p is None else p.std),
        "four_point": entry(found.four_point),
        "loss": {
            "times": found.curve_times.tolist(),
            "value": losses.mean(axis=0).tolist(),
            "error": (losses.std(axis=0, ddof=1) / np.sqrt(len(losses))).tolist(),
            "exact": None if found.solution is None else found.solution.loss.tolist(),
        },
        "tests": {
            name: [{"chi2": t.chi2, "dof": t.dof, "p_value": t.p_value} for t in at_times]
            for name, at_times in found.tests.items()
        },
        "condition": None if p is None else p.condition.tolist(),
        "jitter": None if p is None else p.jitter,
        "notes": found.notes,
    }


def z_scores(e: CumulantEstimate, exact: FloatArray) -> FloatArray:
    """Deviations in units of the error, NaN where there is none."""
    error = np.where(e.error > 0, e.error, np.nan)
    return (e.value - exact.ravel()) / error
