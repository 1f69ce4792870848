"""The capability of knowing the Gaussian process that a network becomes as it grows wide."""

from abc import abstractmethod

import numpy as np
from jaxtyping import ArrayLike

from nnft_mcmc.architectures._base import Architecture


class InfiniteWidthKernel(Architecture):
    """Knows the kernel of its infinite-width limit, computed on the host in float64."""

    @abstractmethod
    def infinite_width_kernel(self, x: ArrayLike, y: ArrayLike) -> np.ndarray:
        """K(x, y) with <phi(x) phi(y)> = K(x, y) (1 + O(1/width)); x, y (..., dim), broadcast against each other."""
