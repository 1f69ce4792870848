r"""The infinite-width network on finitely many points: a Gaussian process (lectures (34), (41)-(43)).

    phi ~ N(mean, K),    S(phi) = (1/2) (phi - mean) K^{-1} (phi - mean)          # eq. (42), corrected

K is never inverted. Its eigenvectors U with eigenvalues above `threshold` times the largest span the fields that the
process has; `rank` is their number and W = U sqrt(eigenvalues), K = W W^T, the whitening map: phi = mean + W theta,
theta ~ N(0, 1). So a smooth kernel on a fine grid, singular to machine precision, is drawn from and conditioned like
any other. What is dropped has a standard deviation below sqrt(threshold) of the largest, 1e-6 by default.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnft_mcmc._checks import InputError, integer, positive

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

_SYMMETRY = 1e-10
_ROUNDING = 1e-13
_DEVIATIONS = 8.0  # beyond so many standard deviations of what is dropped, a value is not one of the process


@dataclass(frozen=True, eq=False)
class GaussianProcess:
    """The Gaussian of covariance `kernel` (n, n) and `mean`, () or (n,), on n points.

    `threshold`: relative size below which an eigenvalue of the kernel counts as zero. Raises `InputError` for a kernel
    that is not symmetric, or has an eigenvalue below -threshold times its largest.
    """

    kernel: Array
    mean: Array | float = 0.0
    threshold: float = 1e-12

    def __post_init__(self) -> None:
        kernel = _checked_kernel(self.kernel)
        positive("threshold", self.threshold)
        mean = np.asarray(self.mean, dtype=np.float64)
        if mean.shape not in {(), (len(kernel),)} or not np.all(np.isfinite(mean)):
            raise InputError(f"mean has shape {mean.shape}; it must be one finite number or {len(kernel)} of them.")
        object.__setattr__(self, "kernel", kernel)
        object.__setattr__(self, "mean", np.broadcast_to(mean, len(kernel)))
        lowest, highest = self._spectrum[0][[0, -1]]
        if lowest < -self.threshold * abs(highest):
            raise InputError(
                f"the kernel has eigenvalues from {lowest:.3g} to {highest:.3g}; a covariance has none below zero: "
                f"correct it, or raise threshold above its numerical error."
            )

    @cached_property
    def _spectrum(self) -> tuple[Array, Array]:
        """Eigenvalues (n,), increasing, and eigenvectors (n, n) of the kernel."""
        eigenvalues, vectors = np.linalg.eigh(self.kernel)
        return eigenvalues, vectors

    @property
    def cut(self) -> float:
        """Eigenvalues up to this one count as zero."""
        return self.threshold * float(self._spectrum[0][-1])

    @cached_property
    def eigenvalues(self) -> Array:
        """Those above the threshold, decreasing, (rank,)."""
        eigenvalues = self._spectrum[0]
        return eigenvalues[eigenvalues > max(self.cut, 0.0)][::-1]

    @property
    def rank(self) -> int:
        """Number of independent directions."""
        return self.eigenvalues.size

    @property
    def modes(self) -> Array:
        """Orthonormal eigenvectors of `eigenvalues`, (n, rank)."""
        return self._spectrum[1][:, ::-1][:, : self.rank]

    @property
    def whitening(self) -> Array:
        """W of phi = mean + W theta, theta ~ N(0, 1): (n, rank), unique up to a rotation of degenerate modes."""
        return self.modes * np.sqrt(self.eigenvalues)

    def whiten(self, phi: ArrayLike) -> Array:
        """theta of fields (..., n), by projection on the modes: (..., rank)."""
        return self._deviation(phi) @ self.modes / np.sqrt(self.eigenvalues)

    def action(self, phi: ArrayLike) -> Array:
        """S of fields (..., n): shape (...). Infinite for fields outside the range of the kernel.

        Outside means a component orthogonal to all modes of more than 8 standard deviations of what was dropped.
        """
        deviation, modes = self._deviation(phi), self.modes
        outside = np.linalg.norm(deviation - deviation @ modes @ modes.T, axis=-1)
        action = 0.5 * np.sum(self.whiten(phi) ** 2, axis=-1)
        return np.where(outside > self._tolerance(np.asarray(phi)), np.inf, action)

    def log_density(self, phi: ArrayLike) -> Array:
        """ln of the density of fields (..., n), with respect to volume in the `rank` directions: shape (...)."""
        return -self.action(phi) - 0.5 * np.sum(np.log(2 * math.pi * self.eigenvalues))

    def draw(self, rng: np.random.Generator, num_draws: int) -> Array:
        """Independent fields, (num_draws, n)."""
        theta = rng.standard_normal((integer("num_draws", num_draws, 0), self.rank))
        return self.mean + theta @ self.whitening.T

    def condition(self, sites: ArrayLike, values: ArrayLike, noise: ArrayLike = 0.0) -> "GaussianProcess":
        """The process given phi[sites] = values + noise, noise ~ N(0, noise^2): its mean and kernel on all n points.

        sites (m,) whole numbers, values (m,), noise () or (m,) standard deviations, 0 for exact values. Exact values
        are met up to combinations that the process all but fixes by itself, of a standard deviation below
        sqrt(threshold) of the largest; values that contradict those raise `InputError`.
        """
        where, target, deviation = self._checked_data(sites, values, noise)
        exact = deviation == 0
        if exact.any() and not exact.all():
            known = self.condition(where[exact], target[exact])
            return known.condition(where[~exact], target[~exact], deviation[~exact])
        rows, residual = self.whitening[where], target - np.asarray(self.mean)[where]
        if exact.all():
            theta, factor = self._given_exactly(rows, residual)
        else:
            theta, factor = _given_noisily(rows / deviation[:, None], residual / deviation)
        spread = self.whitening @ factor
        return GaussianProcess(spread @ spread.T, self.mean + self.whitening @ theta, self.threshold)

    def _given_exactly(self, rows: Array, values: Array) -> tuple[Array, Array]:
        """theta with rows theta = values, rows (m, rank): its mean, and orthonormal columns of what stays free."""
        left, sizes, right = np.linalg.svd(rows)
        kept = int(np.sum(sizes > math.sqrt(max(self.cut, 0.0))))
        contradiction = np.linalg.norm(left[:, kept:].T @ values)
        if contradiction > self._tolerance(values):
            raise InputError(
                f"the values contradict the process by {contradiction:.3g}: they differ where it has one value; give "
                f"them a positive noise, or fewer sites."
            )
        return right[:kept].T @ (left[:, :kept].T @ values / sizes[:kept]), right[kept:].T

    def _tolerance(self, values: Array) -> Array:
        """What the dropped directions and rounding can put into values (..., m): shape (...)."""
        dropped = _DEVIATIONS * math.sqrt(len(self.kernel) * max(self.cut, 0.0))
        return dropped + _ROUNDING * np.linalg.norm(values, axis=-1)

    def _deviation(self, phi: ArrayLike) -> Array:
        field = np.asarray(phi, dtype=np.float64)
        if field.ndim == 0 or field.shape[-1] != len(self.kernel):
            raise InputError(
                f"phi has shape {field.shape}; its last axis must have length {len(self.kernel)}, one value for each "
                f"point."
            )
        return field - self.mean

    def _checked_data(self, sites: ArrayLike, values: ArrayLike, noise: ArrayLike) -> tuple[Indices, Array, Array]:
        where, target = np.asarray(sites), np.asarray(values, dtype=np.float64)
        deviation = np.asarray(noise, dtype=np.float64)
        n = len(self.kernel)
        if where.ndim != 1 or where.dtype.kind not in "iu" or np.any((where < 0) | (where >= n)):
            raise InputError(f"sites is {sites!r}; it must be a list of whole numbers from 0 to {n - 1}.")
        if target.shape != where.shape or not np.all(np.isfinite(target)):
            raise InputError(f"values has shape {target.shape}; it must hold one finite number for each site.")
        if deviation.shape not in {(), where.shape} or not np.all((deviation >= 0) & np.isfinite(deviation)):
            raise InputError("noise must be one finite standard deviation of at least 0, or one for each site.")
        return where, target, np.broadcast_to(deviation, where.shape)


def _given_noisily(rows: Array, values: Array) -> tuple[Array, Array]:
    """theta given values = rows theta + N(0, 1), rows (m, rank): its mean and a factor of its covariance."""
    left, sizes, right = np.linalg.svd(rows)
    shrunk = np.ones(rows.shape[1])
    shrunk[: sizes.size] = 1 / np.hypot(1.0, sizes)
    coefficients = sizes / (1 + sizes**2) * (left.T @ values)[: sizes.size]
    return right[: sizes.size].T @ coefficients, right.T * shrunk


def _checked_kernel(kernel: ArrayLike) -> Array:
    k = np.array(kernel, dtype=np.float64)
    if k.ndim != 2 or k.shape[0] != k.shape[1] or k.size == 0 or not np.all(np.isfinite(k)):
        raise InputError(f"kernel has shape {k.shape} or values that are not finite; it must be (n, n) and finite.")
    if np.abs(k - k.T).max() > _SYMMETRY * np.abs(k).max():
        raise InputError("kernel is not symmetric; a covariance is: symmetrise it.")
    return (k + k.T) / 2
