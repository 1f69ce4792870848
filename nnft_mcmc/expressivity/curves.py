r"""Error against width, for a network and a method.

    random_features    a draw of the architecture, the output weights by least squares
    training           all parameters trained from a draw (`features`), then the output weights by least squares
    construction       `bumps` in one dimension, `ridges` in more: an error below a guaranteed bound
    fourier_sampling   neurons drawn from the target's own spectrum: a mean square error known exactly

The first two are repeated over independent draws. Errors of a curve are geometric means over draws, with the standard
error of log2 of them; the rate is the exponent s of N^s that `statistics.exponents` fits to these, or the reason why
none fits. A construction has no draws, nor has a network that is linear in all its parameters: their rate is that of a
straight line in the logarithms, with the error that the scatter about it gives. Fourier sampling is fitted in the root
of the mean of squares, which is what is known.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray

from nnft_mcmc import _checks
from nnft_mcmc.architectures import Architecture
from nnft_mcmc.expressivity import fourier_sampling
from nnft_mcmc.expressivity.approximation import Approximation, evaluate
from nnft_mcmc.expressivity.bumps import bumps
from nnft_mcmc.expressivity.features import Method, is_linear
from nnft_mcmc.expressivity.least_squares import Fit, least_squares
from nnft_mcmc.expressivity.problem import Errors, Problem
from nnft_mcmc.expressivity.ridges import degree_of_width, ridges
from nnft_mcmc.expressivity.targets import Target
from nnft_mcmc.statistics.exponents import fit_exponent
from nnft_mcmc.statistics.extrapolation import Unsupported

FloatArray = NDArray[np.float64]

OF_ARCHITECTURES = ("random_features", "training")
OF_TARGETS = ("construction", "fourier_sampling")
METHODS = (*OF_ARCHITECTURES, *OF_TARGETS)
LEAST_DRAWS = 2
LEAST_WIDTHS = 3
ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Point:
    """One width: rms and sup (draws,); ranks and conditions (draws,) of the least squares, empty without.

    bound: above the sup-norm, of a construction; predicted: the root mean square, of Fourier sampling; NaN elsewhere.
    """

    width: int
    num_parameters: int
    rms: FloatArray
    sup: FloatArray
    ranks: FloatArray
    conditions: FloatArray
    bound: float = np.nan
    predicted: float = np.nan


@dataclass(frozen=True)
class Rate:
    """The exponent of the width with its error, or NaN and the reason."""

    value: float
    error: float
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Curve:
    """Points of increasing width; `floor` is what the L2 error cannot fall below, 0 where nothing is known.

    random: whether draws differ; a construction and a linear network have one best.
    """

    label: str
    method: str
    points: tuple[Point, ...]
    floor: float = 0.0
    random: bool = True

    def summary(self, norm: str) -> tuple[FloatArray, FloatArray]:
        """Typical error at each width and its standard error, NaN for a single draw; norm is rms or sup."""
        draws = [getattr(point, norm) for point in self.points]
        if self.method == "fourier_sampling":
            squares = [d**2 for d in draws]
            means = np.array([np.sqrt(s.mean()) for s in squares])
            return means, np.array([_standard_error(s) for s in squares]) / (2 * means)
        logs = [np.log(d) for d in draws]
        means = np.exp([log.mean() for log in logs])
        return means, means * np.array([_standard_error(log) for log in logs])

    def rate(self, norm: str) -> Rate:
        """The exponent of the error in the width."""
        widths = np.array([point.width for point in self.points], dtype=np.float64)
        values, errors = self.summary(norm)
        if not (values > 0).all():
            return Rate(np.nan, np.nan, "an error is zero.")
        if self.floor > 0:
            return Rate(np.nan, np.nan, f"the error does not fall below the floor, {self.floor:.6g} in L2.")
        if not self.random:
            return _straight(np.log2(widths), np.log2(values))
        if (errors < ROUNDING * values).any():
            return Rate(np.nan, np.nan, "draws differ by rounding only: the network has one best approximation.")
        try:
            found = fit_exponent(widths, np.log2(values), errors / values / np.log(2))
        except Unsupported as error:
            return Rate(np.nan, np.nan, str(error))
        return Rate(found.value, found.error)


def _standard_error(values: FloatArray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) >= LEAST_DRAWS else np.nan


def _straight(x: FloatArray, y: FloatArray) -> Rate:
    if len(x) < LEAST_WIDTHS:
        return Rate(np.nan, np.nan, f"there are {len(x)} widths and a rate needs {LEAST_WIDTHS} or more.")
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    rest = y - y.mean() - slope * centred
    return Rate(slope, float(np.sqrt(rest @ rest / (len(x) - 2) / (centred @ centred))))


def count_parameters(network: Architecture) -> int:
    """The number of numbers in theta."""
    shapes = (d.batch_shape + d.event_shape for d in network.prior().values())
    return sum(int(np.prod(shape)) for shape in shapes)


def of_features(
    method: Method, network: Architecture, width: int, problem: Problem, key: Array, num_draws: int
) -> Point:
    """Features that `method` finds, with the best output weights; one draw of a network that is linear."""
    found = method(network, problem, key, 1 if is_linear(network) else num_draws)
    fits = [least_squares(of.network, of.theta, problem.fit, problem.fit_values) for of in found]
    errors = [
        problem.errors(evaluate(of.network, fit.theta, problem.looked_at)) for of, fit in zip(found, fits, strict=True)
    ]
    return _point(width, count_parameters(network), errors, fits)


def construction(target: Target, problem: Problem, width: int) -> Point:
    """The construction with at most `width` neurons."""
    if target.dim == 1:
        built = bumps(target.f, (target.lower[0], target.upper[0]), target.modulus, width)
    else:
        degree = degree_of_width(width, target.dim)
        built = ridges(target.f, target.lower, target.upper, target.modulus, degree)
    return _of_construction(built, problem)


def fourier_draws(target: Target, problem: Problem, width: int, key: Array, num_draws: int) -> Point:
    """Draws of neurons from the spectrum of the target."""
    spectrum = target.spectrum
    if spectrum is None:
        raise _checks.InputError(
            f"expressivity.methods has fourier_sampling and the spectrum of {target.name} is not known; leave it out,"
            " or take the target gaussian or exponential."
        )
    drawn = [fourier_sampling.draw(spectrum, width, k) for k in jax.random.split(key, num_draws)]
    errors = [problem.errors(evaluate(network, theta, problem.looked_at)) for network, theta in drawn]
    predicted = fourier_sampling.rms_error(spectrum, target.lower, target.upper, width)
    return _point(width, count_parameters(drawn[0][0]), errors, predicted=predicted)


def _of_construction(built: Approximation, problem: Problem) -> Point:
    errors = [problem.errors(built(problem.looked_at))]
    return _point(built.width, count_parameters(built.network), errors, bound=built.bound + built.rounding)


def _point(
    width: int,
    num_parameters: int,
    errors: list[Errors],
    fits: list[Fit] | None = None,
    *,
    bound: float = np.nan,
    predicted: float = np.nan,
) -> Point:
    def array(of: Callable[[Fit], float]) -> FloatArray:
        return np.array([of(fit) for fit in fits or []])

    return Point(
        width,
        num_parameters,
        np.array([e.rms for e in errors]),
        np.array([e.sup for e in errors]),
        array(lambda fit: fit.rank),
        array(lambda fit: fit.condition),
        bound,
        predicted,
    )
