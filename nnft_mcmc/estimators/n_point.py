"""Connected 2-, 4- and 6-point functions of a free ensemble from independent draws of whole networks.

    G_c(x_1 .. x_n) = sum_{even partitions pi} (-1)^{|pi|-1} (|pi|-1)! prod_{B in pi} <phi_B>

for ensembles that are symmetric under phi -> -phi, whose odd correlators vanish. The means of all products phi_B are
summed as `streaming` says; the estimates are unbiased and their errors a jackknife (`statistics.k_statistics`).
The error of a connected function at width N is that of its disconnected part: it takes more than N^2 draws of networks
to see a Gc4 of order 1/N. For i.i.d. neurons `williams` needs far fewer.
"""

import functools
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int
from numpy.typing import NDArray

from nnft_mcmc import _checks
from nnft_mcmc.architectures import Architecture, OnLattice
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.estimators.streaming import Batch, Progress, Statistic, stream
from nnft_mcmc.point_evaluation import FieldAt
from nnft_mcmc.statistics import CumulantAccumulator, CumulantEstimate
from nnft_mcmc.statistics.partitions import Block

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NPointEstimate:
    """`cumulants`: one for each of `index_tuples`, numbers of rows of `points` (P, dim).

    means: <phi> at the points that occur, in increasing order of their numbers; zero within errors, or the ensemble
    is not symmetric under phi -> -phi and the cumulants are not what they claim to be.
    """

    points: FloatArray
    index_tuples: tuple[Block, ...]
    cumulants: CumulantEstimate
    means: CumulantEstimate
    batch: Batch


class Products(eqx.Module):
    """Products of a field over monomials, given by the numbers of the points in each, sorted by size."""

    by_size: tuple[Int[Array, "monomials size"], ...]
    columns: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, monomials: Sequence[Block]) -> None:
        sizes = sorted({len(m) for m in monomials})
        self.by_size = tuple(jnp.asarray([m for m in monomials if len(m) == size]) for size in sizes)
        self.columns = tuple(int(k) for k in np.argsort(np.argsort([len(m) for m in monomials], kind="stable")))

    def __call__(self, field: Float[Array, "points draws"]) -> Float[Array, "monomials draws"]:
        """The products, sorted by size."""
        return jnp.concatenate(
            [functools.reduce(operator.mul, [field[m[:, k]] for k in range(m.shape[1])]) for m in self.by_size]
        )

    def in_order(self, sums: FloatArray) -> FloatArray:
        """Sums (B, monomials) in the order in which the monomials were given."""
        return sums[:, list(self.columns)]


class NetworkProducts(Statistic):
    """phi_theta at the points, then its products."""

    field: FieldAt
    products: Products

    def draw(self, key: Array) -> Float[Array, " points"]:
        return self.field(self.field.architecture.sample_parameters(key))

    def numbers(self, values: Float[Array, "points draws"]) -> Float[Array, "numbers draws"]:
        return jnp.concatenate([values, self.products(values)])


def estimate_n_point(
    theory: Architecture | Ensemble,
    key: Array,
    num_draws: int,
    index_tuples: Iterable[Sequence[int]],
    points: ArrayLike | None = None,
    *,
    num_blocks: int = 128,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> NPointEstimate:
    """Connected functions at tuples of 2, 4 or 6 numbers of `points` (P, dim), from `num_draws` networks.

    Without `points`, those of an ensemble (or of an architecture that has a lattice) are its sites in C order.
    num_blocks: of the jackknife; batch_size: networks at once, by default what `streaming.MEMORY` allows.
    """
    architecture, at = _architecture_and_points(theory, points)
    tuples = tuple(tuple(int(i) for i in t) for t in index_tuples)
    used = sorted({i for t in tuples for i in t})
    if used and not 0 <= used[0] <= used[-1] < len(at):
        raise _checks.InputError(
            f"index_tuples names point {used[0] if used[0] < 0 else used[-1]}; points are numbered 0 to {len(at) - 1}."
        )
    number = {point: k for k, point in enumerate(used)}
    accumulator = CumulantAccumulator([[number[i] for i in t] for t in tuples], num_blocks)
    products = Products(accumulator.monomials)
    statistic = NetworkProducts(FieldAt(architecture, at[used]), products)
    streamed = stream(statistic, key, num_draws, num_blocks, batch_size, progress)
    means = streamed.of(slice(0, len(used))).means()
    accumulator.add(products.in_order(streamed.sums[:, len(used) :]), streamed.counts)
    return NPointEstimate(at, tuples, accumulator.estimate(), means, streamed.batch)


def require_free(ensemble: Ensemble) -> None:
    """Refuse an ensemble that cannot be drawn."""
    if not ensemble.local_action.is_free:
        raise _checks.InputError(
            "the ensemble has an insertion, of which there are no independent draws; take its undeformed(), or `sample`"
            " it."
        )


def _architecture_and_points(
    theory: Architecture | Ensemble, points: ArrayLike | None
) -> tuple[Architecture, FloatArray]:
    architecture = theory.architecture if isinstance(theory, Ensemble) else theory
    if isinstance(theory, Ensemble):
        require_free(theory)
    lattice = theory.lattice if isinstance(theory, Ensemble | OnLattice) else None
    if points is None and lattice is None:
        raise _checks.InputError(
            f"points is missing; give {type(theory).__name__} an array of points of shape (P, dim)."
        )
    at = lattice.sites if points is None and lattice is not None else np.asarray(points, dtype=np.float64)
    if points is not None and (at.ndim != 2 or at.shape[1] != architecture.dim):
        raise _checks.InputError(f"points has shape {at.shape}; it must be (P, {architecture.dim}).")
    return architecture, at.reshape(-1, architecture.dim)
