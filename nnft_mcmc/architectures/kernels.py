r"""Kernels of infinitely wide networks (NNGP), lectures eqs. (34)-(39) and (107)-(112), in float64 on the host:

    K_{l+1}(x, y) = sb^2 + sw^2 <sigma(u) sigma(v)>,   (u, v) ~ N(0, K_l at x, y)

and the factor <sigma'(u) sigma'(v)> by which the neural tangent kernel recurs. `Gram` holds the three numbers that a
pair of points needs. The expectations are in `activations.py`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnft_mcmc.architectures.activations import Activation, activation, covariances

FloatArray = NDArray[np.float64]


class Gram(NamedTuple):
    """K(x, x), K(y, y), K(x, y), arrays of one shape."""

    xx: FloatArray
    yy: FloatArray
    xy: FloatArray


def expectation(sigma: str | Activation, k11: ArrayLike, k22: ArrayLike, k12: ArrayLike) -> FloatArray:
    """<sigma(u) sigma(v)> for variances k11, k22 and covariance k12, broadcast; (1, 1, .5): erf .216346895939."""
    return activation("activation", sigma).expectation(*covariances(k11, k22, k12))


def slope_expectation(sigma: str | Activation, k11: ArrayLike, k22: ArrayLike, k12: ArrayLike) -> FloatArray:
    """<sigma'(u) sigma'(v)>, likewise; (1, 1, .5): ReLU 1/3."""
    return activation("activation", sigma).slope_expectation(*covariances(k11, k22, k12))


def input_gram(x: FloatArray, y: FloatArray, weight_std: float, bias_std: float) -> Gram:
    """Covariance of w.x/sqrt(dim) + b over w ~ N(0, weight_std^2), b ~ N(0, bias_std^2): K_1, points (..., dim)."""

    def covariance(p: FloatArray, q: FloatArray) -> FloatArray:
        return bias_std**2 + weight_std**2 * np.mean(p * q, axis=-1)

    return Gram(covariance(x, x), covariance(y, y), covariance(x, y))


def features_gram(sigma: Activation, gram: Gram) -> Gram:
    """<sigma sigma> at (x, x), (y, y), (x, y) for preactivations of covariance `gram`."""
    xx, yy, xy = gram
    return Gram(sigma.expectation(xx, xx, xx), sigma.expectation(yy, yy, yy), sigma.expectation(xx, yy, xy))


def affine_gram(features: Gram, weight_variance: float, bias_std: float) -> Gram:
    """sb^2 + weight_variance * features: the covariance of the next layer's preactivations."""
    return Gram(*(bias_std**2 + weight_variance * k for k in features))
