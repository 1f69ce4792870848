"""AR(1) chains: x_{i+1} = a x_i + sqrt(1 - a^2) noise, stationary, unit variance, tau_int = (1 + a)/(2 (1 - a))."""

import numpy as np
from scipy.signal import lfilter


def ar1(rng: np.random.Generator, coefficient: float, shape: tuple[int, ...]) -> np.ndarray:
    """Series along the last axis, started from the stationary distribution, mean 0."""
    noise = rng.standard_normal(shape)
    noise[..., 1:] *= np.sqrt(1.0 - coefficient**2)
    return lfilter([1.0], [1.0, -coefficient], noise, axis=-1)


def ar1_tau_int(coefficient: float) -> float:
    return (1.0 + coefficient) / (2.0 * (1.0 - coefficient))
