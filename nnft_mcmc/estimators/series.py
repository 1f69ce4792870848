"""Series: one number, or array, per draw whose mean is an estimate."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Series = NDArray[np.float64]
Coordinates = NDArray[np.float64]

# A function of means that is singular at zero is undefined, not noise, where its argument is below this many errors.
MINIMUM_SIGNAL = 4.0


@dataclass(frozen=True)
class Observable:
    """`series` (chain, draw) or (chain, draw, k), with the coordinate of k, a length, in the latter case.

    reasons: why an entry is NaN, one for each entry and "" where it is defined; () where all are.
    """

    series: Series
    coords: Coordinates | None = None
    note: str = ""
    reasons: tuple[str, ...] = ()


def linearised(value: Series, gradient: Series, series: Series) -> Series:
    """value (M,) and gradient (M, K) of M functions of the means of series (chain, draw, K); (chain, draw, M)."""
    with np.errstate(invalid="ignore"):  # a non-finite draw makes the result NaN, which is shown
        return value + (series - series.mean(axis=(0, 1))) @ gradient.T
