r"""How connected functions of two clusters decay where particles of one mass are exchanged between them.

A free particle of mass mu in d dimensions gives, up to a constant,

    g(R) = R^{1-d/2} K_{d/2-1}(mu R)        [d = 1: exp(-mu R), d = 3: exp(-mu R)/R]

and p of them g(R)^p, which decays with the rate m = p mu; on a torus g is summed over the images of the point. The
two-point function of any theory is g at distances beyond 1/(the gap to its next states).
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import k0, k1, kv

FloatArray = NDArray[np.float64]

# On a torus of equal sides L what is left out is of the order of exp(-1.5 mu L) of what is kept.
_IMAGES_IN_TIME, _IMAGES_IN_SPACE = 2, 1

# K_{d/2-1} up to a constant, where there is something quicker than the general one.
_BESSEL: dict[int, Callable[[FloatArray], FloatArray]] = {2: k0, 3: lambda x: np.exp(-x) / np.sqrt(x), 4: k1}


@dataclass(frozen=True)
class Exchange:
    """`particles` of them, along the first of the axes with `circumferences`, one for each dimension, inf in a box."""

    circumferences: tuple[float, ...] = (math.inf,)
    particles: int = 1

    @property
    def dim(self) -> int:
        """d."""
        return len(self.circumferences)

    @property
    def diverges_at_zero(self) -> bool:
        """Whether there is no g(0)."""
        return self.dim > 1

    def __call__(self, rates: FloatArray, r: FloatArray) -> FloatArray:
        """g(R)^p at the rates m (M,) and distances R (K,), shape (M, K); g(0) is left out in d > 1."""
        mu = rates[:, None] / self.particles
        ranges = [
            range(-most, most + 1) if math.isfinite(length) else range(1)
            for length, most in zip(self.circumferences, self._images, strict=True)
        ]
        total = np.zeros((len(rates), len(r)))
        for images in itertools.product(*ranges):
            shifts = [n * length if n else 0.0 for n, length in zip(images, self.circumferences, strict=True)]
            total += self._single(mu, np.hypot(r + shifts[0], math.hypot(*shifts[1:])))
        return total**self.particles

    @property
    def _images(self) -> tuple[int, ...]:
        return (_IMAGES_IN_TIME, *[_IMAGES_IN_SPACE] * (self.dim - 1))

    def _single(self, mu: FloatArray, distance: FloatArray) -> FloatArray:
        if self.dim == 1:
            return np.exp(-mu * distance)
        nu = self.dim / 2 - 1
        there = distance > 0
        at = np.where(there, distance, 1.0)
        bessel = _BESSEL.get(self.dim, lambda x: kv(nu, x))
        return np.where(there, bessel(mu * at) / at**nu, 0.0)
