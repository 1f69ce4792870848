r"""Generating functionals and the central limit theorem, lectures eqs. (28)-(30), (129) and appendix A.

    Z[J] = <exp(J.phi)>,   J.phi = sum_i J_i phi(x_i),      W[J] = ln Z[J]
    <phi_i phi_j ..>_c = d/dJ_i d/dJ_j .. W[J] at J = 0

and from n independent draws Z_n[J] = (1/n) sum_k exp(J.phi_k). The derivatives of W_n are the connected correlators of
the draws, with sample means in place of expectations: `connected_by_derivative` takes them by automatic
differentiation. They have the bias of products of sample means, O(1/n) of the disconnected part;
`statistics.CumulantAccumulator` has unbiased ones with errors.

Z_n[J] at J of order one is an average over rare draws: its relative variance is exp(J G J)/n for a Gaussian field.
`GeneratingFunctional.ess` says how many draws carry it. A field with heavy tails has no Z[J], whatever its moments, and
is refused.

For phi = N^-1/2 sum_i psi_i with i.i.d. neurons kappa_r[phi] = N^(1 - r/2) kappa_r[psi], eq. (143): `cumulant_scaling`
measures kappa_r at several widths and fits the exponent.
"""

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float
from numpy.typing import NDArray
from scipy.optimize import curve_fit
from scipy.special import gammaincc

from nnft_mcmc import _checks
from nnft_mcmc.architectures import ExactCorrelators
from nnft_mcmc.architectures._base import Architecture
from nnft_mcmc.estimators._draws import checked_points, fields_in_batches
from nnft_mcmc.statistics import CumulantAccumulator

FloatArray = NDArray[np.float64]

LARGEST_ORDER = 6
SIGNIFICANT = 4.0  # standard errors that a cumulant must have at two widths for an exponent to be fitted


@dataclass(frozen=True, eq=False)
class GeneratingFunctional:
    """W[J] for each source, (M,), with one standard error; ess = (sum e^{J.phi})^2 / sum e^{2 J.phi} of the draws.

    The bias of W is -error^2/2. An ess below about 100 means that neither the value nor its error is to be trusted.
    """

    sources: FloatArray
    log_partition: FloatArray
    error: FloatArray
    ess: FloatArray
    num_draws: int


@dataclass(frozen=True, eq=False)
class CumulantScaling:
    """kappa_r of phi(x) for orders r (R,) at widths N (W,): value, error and exact of shape (R, W).

    `exact` is NaN where it is not known. `exponent` with its error (R,) is that of the fit kappa_r = A N^s, with the
    p-value of its chi^2 (NaN for two widths); eq. (143) says `expected` = 1 - r/2 for i.i.d. neurons. Where kappa_r is
    lost in its error at all widths but one there is no exponent and it is NaN.
    """

    widths: tuple[int, ...]
    orders: tuple[int, ...]
    value: FloatArray
    error: FloatArray
    exact: FloatArray
    exponent: FloatArray
    exponent_error: FloatArray
    p_value: FloatArray

    @property
    def expected(self) -> FloatArray:
        """1 - r/2, (R,)."""
        return 1 - np.array(self.orders) / 2


def log_partition_function(
    fields: Float[ArrayLike, "draws points"], source: Float[ArrayLike, " points"]
) -> Float[Array, ""]:
    """W_n[J] = ln (1/n) sum_k exp(J.phi_k) of given draws; differentiable, in JAX's precision."""
    phi = jnp.asarray(fields)
    return jax.scipy.special.logsumexp(jnp.dot(phi, jnp.asarray(source))) - math.log(phi.shape[0])


def connected_by_derivative(fields: ArrayLike, tuples: Iterable[Sequence[int]]) -> FloatArray:
    """d/dJ_i d/dJ_j .. W_n[J] at J = 0 of draws (n, points) for each tuple (i, j, ..) of 1 to 6 points; float64."""
    phi = np.asarray(fields, dtype=np.float64)
    if phi.ndim != 2 or phi.size == 0 or not np.isfinite(phi).all():
        raise _checks.InputError(f"fields has shape {phi.shape}; it must be finite numbers of shape (draws, points).")
    with jax.enable_x64(True):
        return np.array(
            [float(_mixed_derivative(jnp.asarray(phi[:, _checked_tuple(phi.shape[1], sites)]))) for sites in tuples]
        )


def generating_functional(
    architecture: Architecture, key: Array, points: ArrayLike, sources: ArrayLike, num_draws: int
) -> GeneratingFunctional:
    """W[J] of an ensemble from `num_draws` independent networks, for sources (M, P) at `points` (P, dim).

    An architecture that does not say whether its tails are Gaussian is taken at its word: look at `ess`.
    """
    if isinstance(architecture, ExactCorrelators) and not architecture.has_gaussian_tails():
        raise _checks.InputError(
            f"{type(architecture).__name__} has no Z[J], because <exp(J phi)> diverges for its heavy-tailed field; use"
            " its correlators, or symmetry.CharacteristicFunction, which is Z[iJ]."
        )
    x = checked_points(architecture, points)
    j = np.asarray(sources, dtype=np.float64)
    if j.ndim != 2 or j.shape[1] != len(x) or not np.isfinite(j).all():
        raise _checks.InputError(f"sources has shape {j.shape}; it must be finite numbers (M, P) with P = {len(x)}.")
    total, squared = np.zeros(len(j)), np.zeros(len(j))
    with np.errstate(over="ignore", invalid="ignore"):  # a source that is too strong gives inf and NaN, to be seen
        for fields in fields_in_batches(architecture, key, x, num_draws):
            weight = np.exp(fields.astype(np.float64) @ j.T)
            total, squared = total + weight.sum(axis=0), squared + (weight**2).sum(axis=0)
        mean = total / num_draws
        error = np.sqrt(np.maximum(squared / num_draws / mean**2 - 1, 0) / num_draws)
        return GeneratingFunctional(j, np.log(mean), error, total**2 / squared, num_draws)


def cumulant_scaling(
    at_width: Callable[[int], Architecture],
    widths: Sequence[int],
    key: Array,
    x: ArrayLike,
    num_draws: int,
    orders: Sequence[int] = (2, 4, 6),
) -> CumulantScaling:
    """kappa_r of phi(x), x (dim,), from `num_draws` networks at each width; `at_width(N)` is the network of width N.

    The field must have the symmetry phi -> -phi, and a variance for its r-th power: a gauss-net far from the origin has
    errors that mean nothing.
    """
    chosen = tuple(_checks.integer("a width", n, 1) for n in widths)
    if len(set(chosen)) < 2 or len(set(chosen)) != len(chosen):
        raise _checks.InputError(f"widths is {list(widths)!r}; an exponent takes two or more different widths.")
    tuples = [(0,) * _checks.integer("an order", r, 2) for r in orders]
    value, error, exact = (np.full((len(tuples), len(chosen)), np.nan) for _ in range(3))
    for column, (width, width_key) in enumerate(zip(chosen, jax.random.split(key, len(chosen)), strict=True)):
        net, accumulator = at_width(width), CumulantAccumulator(tuples)
        for fields in fields_in_batches(net, width_key, np.asarray(x, dtype=np.float64)[None], num_draws):
            accumulator.update(fields)
        estimate = accumulator.estimate()
        value[:, column], error[:, column] = estimate.value, estimate.error
        if isinstance(net, ExactCorrelators):
            exact[:, column] = [net.n_point_connected(*[x] * len(sites)) for sites in tuples]
    fits = np.array(
        [_power_law(np.array(chosen), v, e, 1 - len(t) / 2) for v, e, t in zip(value, error, tuples, strict=True)]
    )
    return CumulantScaling(chosen, tuple(len(t) for t in tuples), value, error, exact, *fits.T)


@jax.jit
def _mixed_derivative(phi: Float[Array, "draws r"]) -> Float[Array, ""]:
    """d/ds_1 .. d/ds_r of W_n at s = 0, one forward derivative inside the other."""

    def derivative(function: Callable[[Array], Array], direction: Array) -> Callable[[Array], Array]:
        return lambda s: jax.jvp(function, (s,), (direction,))[1]

    order = phi.shape[1]
    w: Callable[[Array], Array] = functools.partial(log_partition_function, phi)
    for direction in jnp.eye(order):
        w = derivative(w, direction)
    return w(jnp.zeros(order))


def _checked_tuple(num_points: int, sites: Sequence[int]) -> list[int]:
    checked = [_checks.integer("a point number", i, 0, num_points - 1) for i in sites]
    if not 1 <= len(checked) <= LARGEST_ORDER:
        raise _checks.InputError(f"the tuple {tuple(checked)!r} has {len(checked)} entries; give 1 to {LARGEST_ORDER}.")
    return checked


def _power_law(
    widths: NDArray[np.int64], value: FloatArray, error: FloatArray, guess: float
) -> tuple[float, float, float]:
    """Exponent, its error and the p-value of the fit value = A widths^s, weighted by the errors."""
    if np.count_nonzero(np.abs(value) > SIGNIFICANT * error) < 2:
        return math.nan, math.nan, math.nan

    def law(n: FloatArray, amplitude: float, exponent: float) -> FloatArray:
        return amplitude * n**exponent

    shape = widths**guess / error
    amplitude = (shape @ (value / error)) / (shape @ shape)
    n = widths.astype(np.float64)
    (a, s), covariance = curve_fit(law, n, value, (amplitude, guess), error, absolute_sigma=True)
    chi2, dof = float(np.sum(((value - law(n, a, s)) / error) ** 2)), len(widths) - 2
    return float(s), float(np.sqrt(covariance[1, 1])), float(gammaincc(dof / 2, chi2 / 2)) if dof else math.nan
