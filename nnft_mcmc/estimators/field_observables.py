"""Numbers made of the fields at some points: products, and the characteristic function."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from nnft_mcmc import _checks
from nnft_mcmc.estimators.group_actions import GroupElement, SignFlip

FloatArray = NDArray[np.float64]

LARGEST_ORDER = 6


class FieldObservable(ABC):
    """Numbers made of the fields at the points; the sites count points, and for vector fields components within."""

    @abstractmethod
    def __call__(self, fields: FloatArray) -> FloatArray:
        """(draws, sites) -> (draws, K)."""

    @abstractmethod
    def scale(self, rms: FloatArray) -> FloatArray:
        """Natural size of each, (K,), from the root mean squares of the fields (sites,)."""

    @abstractmethod
    def labels(self) -> tuple[str, ...]:
        """A name for each."""

    @abstractmethod
    def check(self, num_sites: int) -> None:
        """Refuse sites that are not there."""


@dataclass(frozen=True)
class Correlators(FieldObservable):
    """Products of the fields over tuples of 1 to 6 sites, repetitions allowed."""

    tuples: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        tuples = tuple(tuple(_checks.integer("a site number", i, 0) for i in sites) for sites in self.tuples)
        if not tuples or any(not 1 <= len(sites) <= LARGEST_ORDER for sites in tuples):
            raise _checks.InputError(
                f"correlators.tuples is {self.tuples!r}; give one or more tuples of 1 to {LARGEST_ORDER} site numbers."
            )
        object.__setattr__(self, "tuples", tuples)

    def __call__(self, fields: FloatArray) -> FloatArray:
        return np.stack([math.prod(fields[:, i] for i in sites) for sites in self.tuples], axis=1)

    def scale(self, rms: FloatArray) -> FloatArray:
        return np.array([np.prod(rms[list(sites)]) for sites in self.tuples])

    def labels(self) -> tuple[str, ...]:
        return tuple(f"<{' '.join(f'phi{i}' for i in sites)}>" for sites in self.tuples)

    def check(self, num_sites: int) -> None:
        largest = max(max(sites) for sites in self.tuples)
        if largest >= num_sites:
            raise _checks.InputError(f"correlators.tuples names site {largest} and there are {num_sites}, from 0 on.")


@dataclass(frozen=True)
class CharacteristicFunction(FieldObservable):
    """cos(J.phi) and sin(J.phi) for sources J, shape (M, sites), in units of 1/phi; |J.phi| of about 1 sees most."""

    sources: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        array = np.asarray(self.sources, dtype=np.float64)
        if array.ndim != 2 or array.size == 0 or not np.isfinite(array).all():
            raise _checks.InputError(
                f"characteristic_function.sources has shape {array.shape}; it must be finite numbers (M, sites)."
            )
        object.__setattr__(self, "sources", tuple(tuple(float(j) for j in row) for row in array))

    def __call__(self, fields: FloatArray) -> FloatArray:
        phase = fields @ np.asarray(self.sources).T
        return np.concatenate([np.cos(phase), np.sin(phase)], axis=1)

    def scale(self, rms: FloatArray) -> FloatArray:
        return np.ones(2 * len(self.sources))

    def labels(self) -> tuple[str, ...]:
        return tuple(f"<{name}(J{m}.phi)>" for name in ("cos", "sin") for m in range(len(self.sources)))

    def check(self, num_sites: int) -> None:
        if len(self.sources[0]) != num_sites:
            raise _checks.InputError(
                f"characteristic_function.sources has {len(self.sources[0])} entries a row and there are {num_sites}"
                " sites; give one for each."
            )


def default_correlators(num_sites: int, element: GroupElement) -> Correlators:
    """Two- and four-point functions (i, j) and (i, i, j, j); one- and three-point ones for the sign, (i) and (i, i, j).

    Even correlators do not notice phi -> -phi.
    """
    pairs = list(combinations_with_replacement(range(num_sites), 2))
    if isinstance(element, SignFlip):
        return Correlators((*((i,) for i in range(num_sites)), *((i, i, j) for i, j in pairs)))
    together = ((0, 1, 2, 3),) if num_sites >= 4 else ()
    return Correlators((*pairs, *((i, i, j, j) for i, j in pairs), *together))
