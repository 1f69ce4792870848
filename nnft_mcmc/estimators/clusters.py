"""Two clusters of points at growing distances, and their connected functions from given fields.

The clusters are single points, taken 1 + 1, 2 + 2 and 2 + 4 times (`PARTS`): products of an odd number of fields in
each decay sooner. In a box they lie on the time axis, symmetric about the middle, where a theory that lives in the box
is least disturbed by its ends; on a torus they start at the origin, and of each draw the translates are averaged over.

Fields of chains are averaged over blocks of 10 tau_int or more, which the jackknife leaves out one by one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnft_mcmc import _checks
from nnft_mcmc.lattice import Lattice
from nnft_mcmc.statistics import CumulantAccumulator, CumulantEstimate, TooFewDraws, gamma_method
from nnft_mcmc.statistics.partitions import Block

FloatArray = NDArray[np.float64]
Indices = NDArray[np.int64]

PARTS = ((1, 1), (2, 2), (2, 4))
NUM_BLOCKS = 128
FAR, NUM_DISTANCES = 2.0, 13
_MINIMUM_BLOCK = 10.0  # in units of tau_int
_NUMBERS_AT_ONCE = 1 << 22


@dataclass(frozen=True, eq=False)
class Separations:
    """Pairs of `points` (P, dim), by their numbers, at increasing `distances` (K,) along the time axis.

    `circumferences` (dim,) are those of the torus, inf in a box.
    """

    points: FloatArray
    pairs: tuple[tuple[int, int], ...]
    distances: FloatArray
    circumferences: tuple[float, ...]

    def tuples(self, parts: tuple[int, int]) -> list[Block]:
        """The points of both clusters, taken so many times, at each distance."""
        return [(left,) * parts[0] + (right,) * parts[1] for left, right in self.pairs]


def label(parts: tuple[int, int]) -> str:
    """<phi^2 phi^4> and the like."""
    return "<" + " ".join("phi" if n == 1 else f"phi^{n}" for n in parts) + ">"


def on_lattice(lattice: Lattice) -> Separations:
    """All distances along the time axis that the lattice has."""
    n = lattice.shape[0]
    if lattice.geometry == "torus":
        pairs, circumferences = [(0, k) for k in range(n // 2 + 1)], tuple(m * lattice.spacing for m in lattice.shape)
    else:
        pairs, circumferences = [(k, n - 1 - k) for k in range((n - 1) // 2, -1, -1)], (math.inf,) * lattice.dim
    times = sorted({t for pair in pairs for t in pair})
    points = lattice.sites.reshape(n, -1, lattice.dim)[times, _middle(lattice)]
    number = {t: k for k, t in enumerate(times)}
    distances = lattice.spacing * np.array([float(j - i) for i, j in pairs])
    return Separations(points, tuple((number[i], number[j]) for i, j in pairs), distances, circumferences)


def _middle(lattice: Lattice) -> int:
    """Number of the central site of space."""
    return int(np.ravel_multi_index(lattice.centre[1:], lattice.shape[1:])) if lattice.dim > 1 else 0


def in_space(lattice: Lattice) -> Separations:
    """Distances up to `FAR` times the extent of the lattice in time, for networks, which exist everywhere."""
    distances = np.linspace(0.0, FAR * max(1, lattice.shape[0] - 1) * lattice.spacing, NUM_DISTANCES)
    points = np.zeros((NUM_DISTANCES, lattice.dim))
    points[:, 0] = distances
    return Separations(points, tuple((0, k) for k in range(NUM_DISTANCES)), distances, (math.inf,) * lattice.dim)


class FieldCumulants:
    """Connected functions of independent draws of a field, dealt in turn to blocks, with copies of equal right."""

    def __init__(self, index_tuples: Sequence[Block], num_blocks: int = NUM_BLOCKS) -> None:
        self.accumulator = CumulantAccumulator(index_tuples, num_blocks)

    def update(self, fields: FloatArray) -> None:
        """Add draws (draws, copies, P)."""
        means = copy_means(fields, self.accumulator.monomials)
        blocks = self.accumulator.num_blocks
        self._add(means, (self.accumulator.num_draws + np.arange(len(means))) % blocks)

    def _add(self, means: FloatArray, block: Indices) -> None:
        sums = np.zeros((self.accumulator.num_blocks, means.shape[1]))
        np.add.at(sums, block, means)
        self.accumulator.add(sums, np.bincount(block, minlength=len(sums)))

    def estimate(self) -> CumulantEstimate:
        """The connected functions, one for each tuple."""
        return self.accumulator.estimate()


def chain_cumulants(means: FloatArray, index_tuples: Sequence[Block], least_blocks: int) -> CumulantEstimate:
    """The same from the `copy_means` (chain, draw, M) of `monomials`; blocks are successive draws of one chain.

    Raises `TooFewDraws` where the chains do not hold `least_blocks` blocks of 10 tau_int.
    """
    num_chains, draws = means.shape[:2]
    tau = float(np.nanmax(gamma_method(means).tau_int, initial=0.5))
    shortest = math.ceil(_MINIMUM_BLOCK * tau)
    per_chain = min(max(1, NUM_BLOCKS // num_chains), draws // shortest)
    if num_chains * per_chain < least_blocks:
        needed = num_chains * -(-least_blocks // num_chains) * shortest
        raise TooFewDraws(
            num_chains * draws, needed, f"{least_blocks} blocks of 10 tau_int, and the largest tau_int is {tau:.3g}"
        )
    length = draws // per_chain
    used = means[:, draws - per_chain * length :].reshape(num_chains * per_chain, length, -1)
    accumulator = CumulantAccumulator(index_tuples, len(used))
    accumulator.add(used.sum(axis=1), np.full(len(used), length))
    return accumulator.estimate()


def monomials(index_tuples: Sequence[Block]) -> tuple[Block, ...]:
    """The products of which the connected functions of these tuples are made."""
    return CumulantAccumulator(index_tuples).monomials


def copy_means(fields: FloatArray, products: Sequence[Block]) -> FloatArray:
    """Products of fields (draws, copies, P) over the points of each of `products`, copies averaged: (draws, M)."""
    if not np.isfinite(fields).all():
        raise _checks.InputError("a field is not finite; connected functions need finite fields.")
    means = np.empty((len(fields), len(products)))
    step = max(1, _NUMBERS_AT_ONCE // (fields.shape[1] * fields.shape[2]))
    for start in range(0, len(fields), step):
        at = np.ascontiguousarray(np.moveaxis(fields[start : start + step].astype(np.float64), -1, 0))
        for column, monomial in enumerate(products):
            means[start : start + step, column] = math.prod(at[k] for k in monomial).mean(axis=1)
    return means
