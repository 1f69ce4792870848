"""Errors of Markov-chain means: the Gamma-method.

R chains of n draws, N = R n in all, with the common mean a_bar of an observable a. Autocovariance, C and tau_int:

    Gamma(t) = 1/(N - R t) sum_chains sum_i (a_i - a_bar)(a_{i+t} - a_bar)
    C(W)     = Gamma(0) + 2 sum_{t=1}^{W} Gamma(t),     error^2 = C / N
    tau_int  = C / (2 Gamma(0)) = 1/2 + sum_{t=1}^{W} rho(t),   rho(t) = Gamma(t)/Gamma(0)

so tau_int = 1/2 is independent draws and ess = N / (2 tau_int). W is the first window with

    exp(-W/tau) - tau / sqrt(W N) < 0,   tau = S / log(1 + 1/G(W)),   G(W) = sum_{t=1}^{W} rho(t),

at most n/2. Subtracting the estimated mean biases Gamma by -C/N, which is undone; tau_int has the error
2 tau_int sqrt((W + 1/2 - tau_int)/N). Source: U. Wolff, Comput. Phys. Commun. 156 (2004) 143 with its erratum,
hep-lat/0306017v4, eq. (42) for the error of tau_int, (49) for the bias, section 3.3 for the window.

Anti-correlated chains (G(W) <= 0, tau_int <= 1/2), which over-relaxed and Hamiltonian samplers produce, need two
things that the paper leaves open. In the window G becomes sum |rho|, the same for rho(t) and (-1)^t rho(t), because
the logarithm does not exist. And the last lag counts half, C(W) -> C(W) - Gamma(W): the remainder of an alternating
series rho = (-b)^t is then smaller by (1 - b)/2, without which C(W) is often negative. Should the noise still win,
C <= 0, the triangular (Bartlett) sum Gamma(0) + 2 sum (1 - t/(W+1)) Gamma(t) takes its place, an over-estimate for
such series, and C is never below Gamma(0)/N, the variance of a telescoping sum. For tau_int > 1/2 the estimator is
the paper's, unchanged.

When no window closes before n/2 the chains are too short: tau_int is then only a lower bound and ess comes out small.
Chains that sit in different states, further apart than their fluctuations, differ from the common mean at all lags,
which gives tau_int of order N and an ess of a few; smaller disagreements are for R-hat to find.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import irfft, next_fast_len, rfft

from nnft_mcmc._checks import InputError, positive

FloatArray = NDArray[np.float64]

MINIMUM_DRAWS = 4
_CHUNK_BYTES = 2**26


@dataclass(frozen=True, eq=False)
class Estimate:
    """A mean with its error; every array has the shape of the observable, a scalar observable has NumPy scalars.

    `error` is one standard error with autocorrelation, `tau_int` is 1/2 for independent draws, in units of draws,
    `ess` = num_draws / (2 tau_int), `num_draws` counts all chains. NaN in `error`, `tau_int` and `ess` beside a finite
    `value` means that no draw differs from another: a constant, or a sampler that is stuck, never an exact answer.
    """

    value: FloatArray
    error: FloatArray
    tau_int: FloatArray
    tau_int_error: FloatArray
    ess: FloatArray
    num_draws: int

    @property
    def error_dof(self) -> FloatArray:
        """Degrees of freedom of error^2, N/(2W + 1): (value - truth)/error follows Student's t with this many.

        The error has the relative uncertainty sqrt((W + 1/2)/N), W taken from tau_int_error.
        """
        relative_variance = (self.tau_int_error / self.tau_int) ** 2 / 4.0 + 1.0 / (2.0 * self.ess)
        return 1.0 / (2.0 * relative_variance)

    def __getitem__(self, index: Any) -> "Estimate":
        """The estimate of a part of the observable, indexed like an array."""
        parts = (self.value, self.error, self.tau_int, self.tau_int_error, self.ess)
        value, error, tau_int, tau_int_error, ess = (part[index] for part in parts)
        return Estimate(value, error, tau_int, tau_int_error, ess, self.num_draws)


def gamma_method(samples: ArrayLike, window_parameter: float = 2.0) -> Estimate:
    """Mean of `samples` (chain, draw, *obs) with its error; `window_parameter` is S, 1 to 2 as a rule, 2 in pyerrors.

    An observable with a non-finite draw has the value NaN, one that never changes keeps its value and has no error.
    """
    checked = _samples(samples)
    window_parameter = positive("window_parameter", window_parameter)
    num_chains, draws_per_chain, *shape = checked.shape
    columns = checked.reshape(num_chains, draws_per_chain, -1)
    step = max(1, _CHUNK_BYTES // (64 * num_chains * draws_per_chain))
    starts = range(0, columns.shape[-1], step)
    parts = [_estimate_columns(columns[:, :, start : start + step], window_parameter) for start in starts]
    rows = np.concatenate([np.empty((4, 0)), *parts], axis=1)
    value, error, tau_int, tau_int_error = (row.reshape(shape)[()] for row in rows)
    num_draws = num_chains * draws_per_chain
    return Estimate(value, error, tau_int, tau_int_error, num_draws / (2.0 * tau_int), num_draws)


def derived(samples: ArrayLike, value: ArrayLike, gradient: ArrayLike, window_parameter: float = 2.0) -> Estimate:
    """f of the means <O_k>, with its error by linear propagation: the Gamma-method of

        sum_k df/dO_k (O_k - <O_k>).

    `samples` (chain, draw, K); `value` is f at the means, () or (M,); `gradient` is df/dO there, (K,) or (M, K).
    The bias of f, of relative order 1/ess, is not subtracted.
    """
    checked = _samples(samples).astype(np.float64)
    f_value = np.asarray(value, dtype=np.float64)
    df_dO = np.asarray(gradient, dtype=np.float64)
    if checked.ndim != 3 or df_dO.shape != (*f_value.shape, checked.shape[-1]) or f_value.ndim > 1:
        raise InputError(
            f"samples, value and gradient have shapes {checked.shape}, {f_value.shape} and {df_dO.shape}; they must be "
            "(chain, draw, K), () and (K,), or (chain, draw, K), (M,) and (M, K)."
        )
    with np.errstate(invalid="ignore"):  # a non-finite draw makes the result NaN, which is shown
        projection = (checked - checked.mean(axis=(0, 1))) @ df_dO.T
    projected = gamma_method(projection, window_parameter)
    shown = np.where(np.isfinite(projected.value), f_value, np.nan)[()]
    return Estimate(
        shown, projected.error, projected.tau_int, projected.tau_int_error, projected.ess, projected.num_draws
    )


def autocovariance(fluctuations: ArrayLike, max_lag: int) -> FloatArray:
    """Gamma(t), t = 0..max_lag, of fluctuations (..., chain, draw) about the common mean: (..., max_lag + 1).

    The transform is padded to n + max_lag points, so no product wraps around.
    """
    delta = np.asarray(fluctuations, dtype=np.float64)
    num_chains, draws_per_chain = delta.shape[-2:]
    length = next_fast_len(draws_per_chain + max_lag, real=True)
    power = (np.abs(rfft(delta, length, axis=-1)) ** 2).sum(axis=-2)
    pairs = num_chains * (draws_per_chain - np.arange(max_lag + 1))
    return irfft(power, length, axis=-1)[..., : max_lag + 1] / pairs


def _samples(samples: ArrayLike) -> NDArray[Any]:
    array = np.asarray(samples)
    if array.dtype.kind not in "biuf":
        raise InputError(f"samples have dtype {array.dtype}; they must be real numbers.")
    if array.ndim < 2 or array.shape[0] < 1 or array.shape[1] < MINIMUM_DRAWS:
        raise InputError(
            f"samples have shape {array.shape}; they must be (chain, draw, ...) with at least {MINIMUM_DRAWS} draws. "
            "Draw more, or add the chain axis."
        )
    return array


def _estimate_columns(columns: NDArray[Any], window_parameter: float) -> FloatArray:
    """(chain, draw, M) -> (4, M): value, error, tau_int, tau_int_error."""
    draws = np.array(np.moveaxis(columns, -1, 0), dtype=np.float64, order="C")
    finite = np.isfinite(draws).all(axis=(1, 2))
    draws[~finite] = 0.0
    value = draws.mean(axis=(1, 2))
    moving = (draws != draws[:, :1, :1]).any(axis=(1, 2))

    rows = np.full((4, len(draws)), np.nan)
    rows[0, finite] = value[finite]
    delta = draws[moving] - value[moving, None, None]
    scale = np.abs(delta).max(axis=(1, 2), initial=0.0)
    delta /= scale[:, None, None]  # squares of any unit stay within the floating-point range
    unit_error, tau_int, tau_int_error = _errors(delta, window_parameter)
    rows[1:, moving] = scale * unit_error, tau_int, tau_int_error
    return rows


def _errors(delta: FloatArray, window_parameter: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """error, tau_int and its error, each (M,), of the mean of non-constant fluctuations (M, chain, draw)."""
    num_draws = delta.shape[1] * delta.shape[2]
    gamma = autocovariance(delta, max_lag=delta.shape[2] // 2)
    window = _window(gamma, num_draws, window_parameter)
    c, weight = _summed(gamma, window, num_draws)
    gamma_0 = gamma[:, 0] + c / num_draws  # eq. (49)
    c = c * (1.0 + weight / num_draws)  # eq. (49), the same shift at each lag of the sum
    error = np.sqrt(c / num_draws)
    tau_int = c / (2.0 * gamma_0)
    tau_int_error = 2.0 * tau_int * np.sqrt(np.maximum(window + 0.5 - tau_int, 0.0) / num_draws)  # eq. (42)
    return error, tau_int, tau_int_error


def _window(gamma: FloatArray, num_draws: int, window_parameter: float) -> NDArray[np.intp]:
    """W for each row of gamma (M, lag); the last lag where the condition is never met."""
    rho = gamma[:, 1:] / gamma[:, :1]
    w = np.arange(1, gamma.shape[1])
    total = np.cumsum(rho, axis=1)
    g = np.where(total > 0.0, total, np.cumsum(np.abs(rho), axis=1))
    tau = window_parameter / np.log1p(1.0 / np.maximum(g, np.finfo(np.float64).tiny))
    closed = np.exp(-w / tau) - tau / np.sqrt(w * num_draws) < 0.0
    return np.where(closed.any(axis=1), closed.argmax(axis=1) + 1, w[-1])


def _summed(gamma: FloatArray, window: NDArray[np.intp], num_draws: int) -> tuple[FloatArray, FloatArray]:
    """C(W) > 0 for each row of gamma (M, lag), and the sum of the weights with which the lags enter it."""
    lag = np.arange(gamma.shape[1])
    last = window[:, None]
    full = np.where(lag == 0, 1.0, 2.0) * (lag <= last)
    half_end = full - (lag == last)
    triangle = full * (1.0 - lag / (last + 1.0))

    weights = np.where(_dot(full, gamma) > gamma[:, :1], full, half_end)  # full where tau_int > 1/2
    weights = np.where(_dot(weights, gamma) > 0.0, weights, triangle)
    c = np.maximum(_dot(weights, gamma)[:, 0], gamma[:, 0] / num_draws)
    return c, weights.sum(axis=1)


def _dot(weights: FloatArray, gamma: FloatArray) -> FloatArray:
    return np.einsum("ml,ml->m", weights, gamma)[:, None]
