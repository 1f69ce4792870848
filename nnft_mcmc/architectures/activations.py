r"""Activations and their dual functions: expectations over Gaussian preactivations, in float64 on the host.

With (u, v) ~ N(0, [[a, c], [c, b]]) every activation sigma knows

    expectation(a, b, c)       = <sigma(u) sigma(v)>
    slope_expectation(a, b, c) = <sigma'(u) sigma'(v)>
    product(Sigma)             = <sigma(u_1) .. sigma(u_n)>,  u ~ N(0, Sigma), Sigma (..., n, n), n = 4, 6, ..

also where the covariance is singular. Closed forms: erf (Williams 1997), ReLU (Cho and Saul 2009), cos, sin,
exp(-z^2/2), z, z^2; the products of four erf or ReLU are exact up to one integral. Any other activation is a
`SmoothActivation`, integrated numerically. Accuracy: 1e-14 for the closed forms, 1e-12 for the others.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import ArrayLike, NDArray
from scipy import special

from nnft_mcmc import _checks
from nnft_mcmc.architectures.gaussian_integrals import planar_ramp_product, ramp_product, sign_product, smooth_product
from nnft_mcmc.exact.wick import gaussian_n_point

FloatArray = NDArray[np.float64]


class Activation(ABC):
    """sigma, with its expectations. `sublinear`: |sigma(z)| grows slower than |z|, so that <exp(J phi)> exists."""

    sublinear: bool

    @abstractmethod
    def __call__(self, z: Array) -> Array:
        """sigma(z)."""

    @abstractmethod
    def expectation(self, a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
        """<sigma(u) sigma(v)>."""

    @abstractmethod
    def slope_expectation(self, a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
        """<sigma'(u) sigma'(v)>."""

    @abstractmethod
    def product(self, covariance: FloatArray) -> FloatArray:
        """<sigma(u_1) .. sigma(u_n)>."""


@dataclass(frozen=True)
class Erf(Activation):
    """erf(z), without a factor sqrt(2) inside. Products of four: erf(u) = <sign(u + n)> over n ~ N(0, 1/2)."""

    sublinear: bool = field(default=True, init=False)

    def __call__(self, z: Array) -> Array:
        return jax.scipy.special.erf(z)

    def expectation(self, a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
        return 2 / math.pi * np.arcsin(np.clip(2 * c / np.sqrt((1 + 2 * a) * (1 + 2 * b)), -1.0, 1.0))

    def slope_expectation(self, a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
        return 4 / math.pi / np.sqrt(1 + 2 * (a + b) + 4 * _determinant(a, b, c))

    def product(self, covariance: FloatArray) -> FloatArray:
        if covariance.shape[-1] == 4:
            return sign_product(covariance + np.eye(4) / 2)
        return smooth_product(special.erf, covariance, strip=1.0)  # entire; of moderate size up to there


@dataclass(frozen=True)
class ReLU(Activation):
    """max(z, 0): arc-cosine kernels (|u||v|/2 pi)(sin t + (pi - t) cos t) and (pi - t)/2 pi, t the angle of u and v.

    sigma'(0) = 1/2, which is seen only where a variance is zero. The angle of two preactivations is only as good as the
    root of the rounding error: below 3e-8 it counts as zero, which makes slopes uncertain by 5e-9 there.
    """

    sublinear: bool = field(default=False, init=False)

    def __call__(self, z: Array) -> Array:
        return jnp.maximum(z, 0)

    def expectation(self, a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
        sine = np.sqrt(_determinant(a, b, c))  # times |u||v|
        return (sine + (math.pi - np.arctan2(sine, c)) * c) / (2 * math.pi)

    def slope_expectation(self, a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
        angle = np.arctan2(np.sqrt(_determinant(a, b, c)), c)
        return np.where(a * b > 0.0, (math.pi - angle) / (2 * math.pi), 0.25)

    def product(self, covariance: FloatArray) -> FloatArray:
        return ramp_product(covariance) if covariance.shape[-1] == 4 else planar_ramp_product(covariance)


@dataclass(frozen=True)
class Cos(Activation):
    """cos(z)."""

    sublinear: bool = field(default=True, init=False)

    def __call__(self, z: Array) -> Array:
        return jnp.cos(z)

    def expectation(self, a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
        return (np.exp(c - (a + b) / 2) + np.exp(-c - (a + b) / 2)) / 2

    def slope_expectation(self, a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
        return (np.exp(c - (a + b) / 2) - np.exp(-c - (a + b) / 2)) / 2

    def product(self, covariance: FloatArray) -> FloatArray:
        return np.mean([np.exp(-variance / 2) for _, variance in _sign_patterns(covariance)], axis=0)


@dataclass(frozen=True)
class Sin(Activation):
    """sin(z)."""

    sublinear: bool = field(default=True, init=False)

    def __call__(self, z: Array) -> Array:
        return jnp.sin(z)

    def expectation(self, a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
        return Cos().slope_expectation(a, b, c)

    def slope_expectation(self, a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
        return Cos().expectation(a, b, c)

    def product(self, covariance: FloatArray) -> FloatArray:
        i_to_n = (-1) ** (covariance.shape[-1] // 2)
        return i_to_n * np.mean([sign * np.exp(-variance / 2) for sign, variance in _sign_patterns(covariance)], axis=0)


@dataclass(frozen=True)
class Gaussian(Activation):
    """exp(-z^2/2)."""

    sublinear: bool = field(default=True, init=False)

    def __call__(self, z: Array) -> Array:
        return jnp.exp(-(z**2) / 2)

    def expectation(self, a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
        return (1 + a + b + _determinant(a, b, c)) ** -0.5

    def slope_expectation(self, a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
        return c * (1 + a + b + _determinant(a, b, c)) ** -1.5

    def product(self, covariance: FloatArray) -> FloatArray:
        return np.linalg.det(np.eye(covariance.shape[-1]) + covariance) ** -0.5


@dataclass(frozen=True)
class Identity(Activation):
    """z: linear networks."""

    sublinear: bool = field(default=False, init=False)

    def __call__(self, z: Array) -> Array:
        return z

    def expectation(self, a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
        return c

    def slope_expectation(self, a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
        return np.ones_like(c)

    def product(self, covariance: FloatArray) -> FloatArray:
        return gaussian_n_point(covariance)


@dataclass(frozen=True)
class Square(Activation):
    """z^2."""

    sublinear: bool = field(default=False, init=False)

    def __call__(self, z: Array) -> Array:
        return z**2

    def expectation(self, a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
        return a * b + 2 * c**2

    def slope_expectation(self, a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
        return 4 * c

    def product(self, covariance: FloatArray) -> FloatArray:
        twice = np.repeat(np.arange(covariance.shape[-1]), 2)
        return gaussian_n_point(covariance[..., twice[:, None], twice])


@dataclass(frozen=True)
class SmoothActivation(Activation):
    """Any activation that is analytic where |Im z| < strip and grows at most like a power there.

    `function` acts on JAX arrays; `host` and `host_slope`, sigma and sigma', on NumPy arrays in float64. A product over
    preactivations that span r dimensions (at most dim, plus one with biases) takes some 60^r evaluations: milliseconds
    up to r = 3, seconds at r = 4.
    """

    function: Callable[[Array], Array]
    host: Callable[[FloatArray], FloatArray]
    host_slope: Callable[[FloatArray], FloatArray]
    strip: float
    sublinear: bool

    def __call__(self, z: Array) -> Array:
        return self.function(z)

    def expectation(self, a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
        return smooth_product(self.host, _matrix(a, b, c), self.strip)

    def slope_expectation(self, a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
        return smooth_product(self.host_slope, _matrix(a, b, c), self.strip)

    def product(self, covariance: FloatArray) -> FloatArray:
        return smooth_product(self.host, covariance, self.strip)


def _determinant(a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
    """a b - c^2, zero where rounding of a, b and c can make all of it: its root is the angle between close points."""
    determinant = a * b - c**2
    return np.where(determinant > 4 * np.finfo(np.float64).eps * a * b, determinant, 0.0)


def _matrix(a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
    return np.stack([np.stack([a, c], axis=-1), np.stack([c, b], axis=-1)], axis=-2)


def _sign_patterns(covariance: FloatArray) -> Iterator[tuple[int, FloatArray]]:
    """prod_i s_i and the variance of sum_i s_i u_i for the 2^n sign patterns s."""
    for s in np.ndindex(*[2] * covariance.shape[-1]):
        signs = 1.0 - 2.0 * np.array(s)
        yield int(np.prod(signs)), np.einsum("i,...ij,j->...", signs, covariance, signs)


def _logistic_slope(z: FloatArray) -> FloatArray:
    return special.expit(z) * special.expit(-z)


REGISTRY: dict[str, Activation] = {
    "erf": Erf(),
    "relu": ReLU(),
    "cos": Cos(),
    "sin": Sin(),
    "gaussian": Gaussian(),
    "identity": Identity(),
    "square": Square(),
    "tanh": SmoothActivation(
        jnp.tanh, np.tanh, lambda z: 1 / np.cosh(np.clip(z, -300, 300)) ** 2, math.pi / 2, sublinear=True
    ),
    "sigmoid": SmoothActivation(jax.nn.sigmoid, special.expit, _logistic_slope, math.pi, sublinear=True),
    "softplus": SmoothActivation(
        jax.nn.softplus, lambda z: np.logaddexp(0.0, z), special.expit, math.pi, sublinear=False
    ),
    "silu": SmoothActivation(
        jax.nn.silu,
        lambda z: z * special.expit(z),
        lambda z: special.expit(z) + z * _logistic_slope(z),
        math.pi,
        sublinear=False,
    ),
    # Entire, but of growth exp(|Im z|^2/2): a strip in which that is still small.
    "gelu": SmoothActivation(
        lambda z: jax.nn.gelu(z, approximate=False),
        lambda z: z * special.ndtr(z),
        lambda z: special.ndtr(z) + z * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi),
        2.0,
        sublinear=False,
    ),
}


def activation(name: str, given: str | Activation) -> Activation:
    """The activation called `given`, or `given` itself if it is one; `name` is the argument's, for the error."""
    if isinstance(given, Activation):
        return given
    return REGISTRY[_checks.one_of(name, given, REGISTRY)]


def covariances(k11: ArrayLike, k22: ArrayLike, k12: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Two variances and a covariance as float64 arrays of one shape, refused where they cannot be."""
    a, b, c = np.broadcast_arrays(*(np.asarray(k, dtype=np.float64) for k in (k11, k22, k12)))
    if not (np.isfinite(a) & np.isfinite(b) & np.isfinite(c)).all() or (a < 0).any() or (b < 0).any():
        raise _checks.InputError("k11, k22 and k12 must be finite, and the variances k11 and k22 not negative.")
    if (c**2 > a * b * (1 + 1e-12)).any():
        raise _checks.InputError(
            f"k12 is {c.ravel()[np.argmax(c**2 - a * b)]:g} somewhere with k12^2 above k11 k22; a covariance cannot be."
        )
    return a, b, c
