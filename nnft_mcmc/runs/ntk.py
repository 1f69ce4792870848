"""`nnft ntk`: kernels of networks of one width against those of the limit.

N = width. The mean over draws differs from the limit by C/N + O(1/N^2). Networks of half the width tell C: of the
deviations D, divided by the size of the limit,

    2 D_N - D_{N/2} = O(1/N^2)

is what is tested, pair by pair of points with a Bonferroni bound. An architecture without a width is tested as it is.
"""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from nnft_mcmc import _checks
from nnft_mcmc.architectures.attention import KernelEstimate
from nnft_mcmc.dynamics.infinite_width import Kernels, kernels
from nnft_mcmc.dynamics.kernel_estimates import KernelDraws, KernelEstimates, draw_kernels, with_width
from nnft_mcmc.runs.dynamics_config import DynamicsConfig
from nnft_mcmc.statistics import bonferroni_bound, z_score

FloatArray = NDArray[np.float64]

FALSE_ALARM = 1e-3
ROUNDING = 1e-10  # of the size of a kernel: smaller deviations are none


@dataclass(frozen=True)
class Settings:
    """What of the networks is trained, in which coordinates, and how many are drawn."""

    num_draws: int = 200
    trained: str = "all"
    coordinates: str = "parameters"


@dataclass(frozen=True)
class Comparison:
    """One kernel against its limit: relative deviation of the mean, and z-scores before and after C/N is removed."""

    limit: FloatArray
    mean: KernelEstimate
    deviation: float  # |mean - limit|/|limit|, Frobenius norms
    noise: float  # what the errors alone make of it
    correction: KernelEstimate | None  # C/size of the limit
    z: FloatArray
    z_corrected: FloatArray
    bound: float

    @property
    def worst(self) -> float:
        """The largest |z| without C/N."""
        return float(np.abs(self.z_corrected).max())

    @property
    def agrees(self) -> bool:
        """Whether all of them are within the bound."""
        return self.worst <= self.bound


@dataclass(frozen=True)
class Report:
    """Everything that the command prints. Without a limit in closed form `comparisons` is empty; `reason` says why."""

    name: str
    width: int | None
    points: FloatArray
    settings: Settings
    seed: int
    estimates: KernelEstimates
    eigenvalues: KernelEstimate
    limit_eigenvalues: FloatArray | None
    comparisons: dict[str, Comparison]
    reason: str

    @property
    def passed(self) -> bool:
        """Whether no kernel contradicts its limit."""
        return all(each.agrees for each in self.comparisons.values())

    @property
    def fluctuation(self) -> float:
        """Root mean square of Theta - <Theta> over draws and pairs, divided by that of <Theta>."""
        return float(np.sqrt(np.mean(self.estimates.variance.value) / np.mean(self.estimates.ntk.value**2)))

    @property
    def coincident(self) -> int:
        """Number of points that are given more than once."""
        return len(self.points) - len(np.unique(self.points, axis=0))


def run(config: DynamicsConfig, settings: Settings, seed: int | None) -> Report:
    """Draw networks and hold their kernels against the limit."""
    architecture, points = config.architecture, points_of(config)
    seed = config.seed if seed is None else _checks.integer("--seed", seed, 0, 2**63 - 1)
    key, key_half = jax.random.split(jax.random.key(seed))
    draws = _drawn(architecture, key, points, settings)
    estimates, reason = draws.estimates(), ""
    limit: Kernels | None = None
    try:
        limit = _limit(architecture, points, settings)
    except _checks.InputError as error:
        reason = str(error)
    width = getattr(architecture, "width", None)
    comparisons = {}
    if limit is not None:
        half = None
        if width is not None and width > 1:
            narrow = with_width(architecture, width // 2)
            half = _drawn(narrow, key_half, points, settings).estimates(), _limit(narrow, points, settings)
        comparisons = _comparisons(estimates, limit, half, width)
    spectra = np.linalg.eigvalsh(draws.ntk)[:, ::-1]
    eigenvalues = KernelEstimate(spectra.mean(axis=0), spectra.std(axis=0, ddof=1) / np.sqrt(len(spectra)))
    return Report(
        config.tables["architecture"]["name"],
        width,
        points,
        settings,
        seed,
        estimates,
        eigenvalues,
        None if limit is None else np.asarray(np.linalg.eigvalsh(limit.ntk)[::-1], dtype=np.float64),
        comparisons,
        reason,
    )


def points_of(config: DynamicsConfig) -> FloatArray:
    """The inputs of [data], or without it the sites of [lattice]."""
    if "data" in config.given:
        return config.data().inputs
    if config.lattice is None:
        raise _checks.InputError("the configuration has no points; add [data] with inputs, or [lattice].")
    return config.lattice.sites.reshape(-1, config.lattice.dim)


def _drawn(architecture: Any, key: jax.Array, points: FloatArray, settings: Settings) -> KernelDraws:
    return draw_kernels(architecture, key, points, None, settings.num_draws, settings.trained, settings.coordinates)


def _limit(architecture: Any, points: FloatArray, settings: Settings) -> Kernels:
    return kernels(architecture, points, trained=settings.trained, coordinates=settings.coordinates)


def _comparisons(
    wide: KernelEstimates, limit: Kernels, half: tuple[KernelEstimates, Kernels] | None, width: int | None
) -> dict[str, Comparison]:
    narrow = {} if half is None else {n: (getattr(half[0], n), getattr(half[1], n)) for n in ("nngp", "ntk")}
    return {
        name: _compare(getattr(wide, name), getattr(limit, name), narrow.get(name), width or 0, wide.num_draws)
        for name in ("nngp", "ntk")
    }


def _compare(
    mean: KernelEstimate, limit: FloatArray, narrow: tuple[KernelEstimate, FloatArray] | None, width: int, draws: int
) -> Comparison:
    size = float(np.sqrt(np.mean(limit**2)))
    wide = KernelEstimate((mean.value - limit) / size, mean.error / size)
    corrected, correction = wide, None
    if narrow is not None:
        of_half, half_limit = narrow
        half_size = float(np.sqrt(np.mean(half_limit**2)))
        other = KernelEstimate((of_half.value - half_limit) / half_size, of_half.error / half_size)
        # D_n = C/n at n = N and at n' = N // 2: C = (D_n' - D_n)/(1/n' - 1/n), and what is left of D_n
        share = (1 / width) / (1 / (width // 2) - 1 / width)
        corrected = _combined(1 + share, wide, -share, other)
        correction = _combined(-share * width, wide, share * width, other)
    norm = np.linalg.norm(limit)
    return Comparison(
        limit,
        mean,
        float(np.linalg.norm(mean.value - limit) / norm),
        float(np.linalg.norm(mean.error) / norm),
        correction,
        _z(wide),
        _z(corrected),
        float(bonferroni_bound(len(limit) * (len(limit) + 1) // 2, FALSE_ALARM / 2, draws - 1)),
    )


def _combined(a: float, first: KernelEstimate, b: float, second: KernelEstimate) -> KernelEstimate:
    """a first + b second, independent."""
    return KernelEstimate(a * first.value + b * second.value, np.hypot(a * first.error, b * second.error))


def _z(deviation: KernelEstimate) -> FloatArray:
    return z_score(deviation.value, np.hypot(deviation.error, ROUNDING), 0.0)


def as_json(report: Report) -> dict[str, Any]:
    """The numbers of a report."""
    found = report.estimates
    kernels_of = {
        name: {
            "mean": getattr(found, name).value.tolist(),
            "error": getattr(found, name).error.tolist(),
            **_comparison_json(report.comparisons.get(name)),
        }
        for name in ("nngp", "ntk")
    }
    limit = report.limit_eigenvalues
    return {
        "architecture": report.name,
        "width": report.width,
        "points": report.points.tolist(),
        "trained": report.settings.trained,
        "coordinates": report.settings.coordinates,
        "num_draws": found.num_draws,
        "seed": report.seed,
        "kernels": kernels_of,
        "variance": {"value": found.variance.value.tolist(), "error": found.variance.error.tolist()},
        "fluctuation": report.fluctuation,
        "eigenvalues": {
            "mean": report.eigenvalues.value.tolist(),
            "error": report.eigenvalues.error.tolist(),
            "infinite_width": None if limit is None else limit.tolist(),
        },
        "condition_number": condition_number(report.eigenvalues.value if limit is None else limit),
        "largest_stable_learning_rate": largest_rate(report),
        "coincident_points": report.coincident,
        "no_limit": report.reason or None,
        "passed": report.passed,
    }


def _comparison_json(comparison: Comparison | None) -> dict[str, Any]:
    if comparison is None:
        return {}
    correction = comparison.correction
    return {
        "infinite_width": comparison.limit.tolist(),
        "relative_deviation": comparison.deviation,
        "expected_from_errors": comparison.noise,
        "correction": None if correction is None else correction.value.tolist(),
        "correction_error": None if correction is None else correction.error.tolist(),
        "largest_z": float(np.abs(comparison.z).max()),
        "largest_z_without_1_over_n": comparison.worst,
        "bound": comparison.bound,
        "agrees": comparison.agrees,
    }


def condition_number(eigenvalues: FloatArray) -> float | None:
    """Largest over smallest eigenvalue, given in falling order; None where the smallest is rounding."""
    smallest = eigenvalues[-1]
    return float(eigenvalues[0] / smallest) if smallest > len(eigenvalues) * 2.3e-16 * eigenvalues[0] else None


def largest_rate(report: Report) -> float:
    """2 |D|/lambda_max: gradient descent on the mean squared loss with these points as data is stable below it."""
    spectrum = report.eigenvalues.value if report.limit_eigenvalues is None else report.limit_eigenvalues
    return float(2 * len(report.points) / spectrum[0])
