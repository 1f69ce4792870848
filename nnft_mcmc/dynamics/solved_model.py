r"""Exactly solvable training, lectures eqs. (94)-(99): the frozen tangent kernel Theta and the mean square loss.

    phi_t(x) = phi_0(x) + A_t(x) (y - phi_0(X)),    A_t(x) = Theta(x, X) g_t(Theta(X, X)),      # eq. (96), corrected
    g_t(l)   = (1 - e^{-eta l t/|D|})/l             for gradient flow; `response` has gradient descent and momentum

(no prefactor 1/|D|, and the exponent is -eta Theta t/|D|). Over initialisations phi_0 is Gaussian, of mean zero and
covariance K, and so is phi_t:

    mu_t(x)     = A_t(x) y                                                     # eq. (99) at t = infinity
    C_t(x, x')  = K(x, x') + A_t K(X, X) A_t'^T - A_t K(X, x') - K(x, X) A_t'^T

One factorisation serves all times and test points: the eigenvectors of Theta(X, X), about 10 |D|^3 operations. Where
t = infinity alone is asked for, it is the Cholesky factor instead, |D|^3/3.

Conditioning. Rounding in an eigenvalue, of relative size eps lambda_max/l, enters A_t times l g_t(l): what counts is

    condition(t) = lambda_max max_l g_t(l)   <=   lambda_max eta t/|D|,

the condition number of Theta at t = infinity. Above MOST_CONDITION a prediction is refused. A `jitter` j, in units of
the mean of the diagonal, replaces Theta(X, X) by Theta(X, X) + j mean(diag) 1. That is another model, with targets of
independent noise; nothing is added unless it is asked for, and what was added is in the result.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from nnft_mcmc._checks import InputError, non_negative, positive
from nnft_mcmc.dynamics.response import Solvable, check_stable, response

FloatArray = NDArray[np.float64]

MOST_CONDITION = 1e11
_NEGATIVE = 1e-11  # of the largest: an eigenvalue below minus this is not rounding
_COINCIDE = 1e-12  # squared distance of two inputs in the kernel, relative to its diagonal


class KernelsAt(NamedTuple):
    """Kernels of P test points: ntk (P, D) and nngp (P, D) with the training points, nngp_test (P, P) among them."""

    ntk: FloatArray
    nngp: FloatArray
    nngp_test: FloatArray


@dataclass(frozen=True, eq=False)
class Predictions:
    """times (T,), mean (T, P) and covariance (T, P, P) of the ensemble of trained networks.

    condition: (T,), see the module; jitter: what was added to the diagonal of Theta(X, X); factorisation: of what kind.
    """

    times: FloatArray
    mean: FloatArray
    covariance: FloatArray
    condition: FloatArray
    jitter: float
    factorisation: str

    @property
    def std(self) -> FloatArray:
        """Standard deviation over initialisations, (T, P)."""
        return np.sqrt(np.maximum(np.diagonal(self.covariance, axis1=1, axis2=2), 0.0))

    def band(self, deviations: float = 2.0) -> tuple[FloatArray, FloatArray]:
        """mean -+ `deviations` standard deviations, each (T, P)."""
        return self.mean - deviations * self.std, self.mean + deviations * self.std


@dataclass(frozen=True, eq=False)
class SolvedModel:
    """Training on targets (D,) with tangent kernel ntk (D, D) and, for covariances, nngp (D, D).

    learning_rate is eta of eq. (77). Raises `InputError` for kernels that are no kernels and for an unstable rate.
    """

    targets: FloatArray
    ntk: FloatArray
    optimizer: Solvable
    learning_rate: float
    nngp: FloatArray | None = None
    jitter: float = 0.0

    def __post_init__(self) -> None:
        targets, ntk = np.asarray(self.targets, dtype=np.float64), np.asarray(self.ntk, dtype=np.float64)
        nngp = None if self.nngp is None else np.asarray(self.nngp, dtype=np.float64)
        positive("learning_rate", self.learning_rate)
        size = non_negative("jitter", self.jitter)
        for name, kernel in (("ntk", ntk), ("nngp", ntk if nngp is None else nngp)):
            if kernel.shape != (len(targets), len(targets)) or not np.isfinite(kernel).all():
                raise InputError(
                    f"{name} has shape {kernel.shape} or values that are not finite; it must be ({len(targets)},"
                    f" {len(targets)}), one row for each target."
                )
        object.__setattr__(self, "targets", targets)
        object.__setattr__(self, "nngp", nngp)
        object.__setattr__(self, "ntk", ntk)
        object.__setattr__(self, "jitter", size * float(np.mean(np.diagonal(ntk))))

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def rate(self) -> float:
        """eta/|D|."""
        return self.learning_rate / len(self)

    @cached_property
    def spectrum(self) -> tuple[FloatArray, FloatArray]:
        """Eigenvalues (D,), increasing, and eigenvectors (D, D) of Theta(X, X) + jitter."""
        eigenvalues, vectors = scipy.linalg.eigh(
            self._regularised(), driver="evd", overwrite_a=True, check_finite=False
        )
        lowest, highest = eigenvalues[[0, -1]]
        if lowest < -_NEGATIVE * len(self) * highest:
            raise InputError(
                f"ntk has eigenvalues from {lowest:.3g} to {highest:.3g}; a kernel has none below zero: correct it, or"
                " give a jitter above its numerical error."
            )
        check_stable(self.optimizer, self.learning_rate, float(highest), len(self))
        return np.maximum(eigenvalues, 0.0), vectors

    @cached_property
    def cholesky(self) -> tuple[FloatArray, float]:
        """Lower factor of Theta(X, X) + jitter, and an estimate of its condition number in the 1-norm."""
        matrix = self._regularised()
        norm = float(np.abs(matrix).sum(axis=0).max())
        try:
            factor = scipy.linalg.cholesky(matrix, lower=True, overwrite_a=True, check_finite=False)
        except np.linalg.LinAlgError:
            self._refuse(math.inf, math.inf)
        reciprocal, _ = scipy.linalg.lapack.dpocon(factor, norm, uplo="L")
        return factor, math.inf if reciprocal == 0 else 1 / float(reciprocal)

    def condition(self, time: float) -> float:
        """lambda_max max_l g_t(l)."""
        eigenvalues = self.spectrum[0]
        return float(eigenvalues[-1] * response(self.optimizer, eigenvalues, self.rate, time).max())

    def predict(self, at: KernelsAt, times: ArrayLike) -> Predictions:
        """Mean and covariance of phi_t at the test points, for times (T,) of which one or all may be infinity."""
        if self.nngp is None:
            raise InputError("nngp is missing, without which there is no covariance; give it, or use `trajectories`.")
        moments, conditions, when = [], [], np.atleast_1d(np.asarray(times, dtype=np.float64))
        for time in when.tolist():
            a, condition = self._propagator(at.ntk, time, only=bool(np.isinf(when).all()))
            moments.append((a @ self.targets, _covariance(a, self.nngp, at)))
            conditions.append(condition)
        mean, covariance = (np.array(part) for part in zip(*moments, strict=True))
        kind = "cholesky" if np.isinf(when).all() else "eigenvectors"
        return Predictions(when, mean, covariance, np.array(conditions), self.jitter, kind)

    def trajectories(self, cross: FloatArray, at_data: ArrayLike, at_test: ArrayLike, times: ArrayLike) -> FloatArray:
        """phi_t (T, ..., P) of networks that start with values at_data (..., D) and at_test (..., P).

        cross is Theta(x, X), (P, D): eq. (96) for given phi_0.
        """
        start, residual = np.asarray(at_test, dtype=np.float64), self.targets - np.asarray(at_data, dtype=np.float64)
        when = np.atleast_1d(np.asarray(times, dtype=np.float64))
        only = bool(np.isinf(when).all())
        return np.array([start + residual @ self._propagator(cross, t, only)[0].T for t in when.tolist()])

    def _propagator(self, cross: FloatArray, time: float, only: bool) -> tuple[FloatArray, float]:
        """A_t (P, D) and condition(t); `only` says that no finite time is wanted."""
        if not time >= 0:
            raise InputError(f"a time is {time!r}; it must be at least 0.")
        if only:
            factor, condition = self.cholesky
            self._refuse(condition, time)
            return scipy.linalg.cho_solve((factor, True), cross.T, check_finite=False).T, condition
        eigenvalues, vectors = self.spectrum
        g = response(self.optimizer, eigenvalues, self.rate, time)
        condition = float(eigenvalues[-1] * g.max())
        self._refuse(condition, time)
        return (cross @ vectors * g) @ vectors.T, condition

    def _regularised(self) -> FloatArray:
        matrix = (self.ntk + self.ntk.T) / 2
        matrix[np.diag_indices_from(matrix)] += self.jitter
        return matrix

    def _refuse(self, condition: float, time: float) -> None:
        if condition <= MOST_CONDITION:
            return
        raise InputError(
            f"at t = {time:g} the tangent kernel on {len(self)} inputs has the condition number {condition:.3g}, above"
            f" {MOST_CONDITION:g}; {self._nearest_inputs()}. Remove one of them, ask for earlier times, or give a"
            " jitter, such as 1e-8."
        )

    def _nearest_inputs(self) -> str:
        """Which two inputs the kernel tells apart least."""
        diagonal = np.diagonal(self.ntk)
        if len(self) == 1:
            return "the only input has a kernel of zero"
        apart = (diagonal[:, None] + diagonal - 2 * self.ntk) / np.maximum(diagonal[:, None] + diagonal, 1e-300)
        apart[np.diag_indices_from(apart)] = np.inf
        first, second = sorted(int(k) for k in np.unravel_index(int(apart.argmin()), apart.shape))
        if apart[first, second] < _COINCIDE:
            return f"inputs number {first} and {second} (from 0) coincide"
        return f"inputs number {first} and {second} (from 0) are the nearest"


def _covariance(a: FloatArray, nngp: FloatArray, at: KernelsAt) -> FloatArray:
    """K + A K A^T - A K - K A^T, symmetric."""
    crossed = a @ at.nngp.T
    covariance = at.nngp_test + a @ nngp @ a.T - crossed - crossed.T
    return (covariance + covariance.T) / 2
