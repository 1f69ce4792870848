"""The tests of `nnft axioms` on fields that pass by once: what each takes from every batch, and its outcome."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from nnft_mcmc import _checks
from nnft_mcmc.architectures import Architecture, ExactCorrelators, OnLattice
from nnft_mcmc.estimators.clustering import Clustering, clustering_test
from nnft_mcmc.estimators.clusters import (
    PARTS,
    FieldCumulants,
    Separations,
    chain_cumulants,
    copy_means,
    label,
    monomials,
)
from nnft_mcmc.estimators.euclidean import Element, observables
from nnft_mcmc.estimators.exchange import Exchange
from nnft_mcmc.estimators.field_observables import CharacteristicFunction, Correlators
from nnft_mcmc.estimators.positivity import Family, GramMatrices, PositivityTest, positivity_test
from nnft_mcmc.estimators.reflections import Reflection, families
from nnft_mcmc.estimators.symmetry import SymmetryTest, symmetry_test_of_fields
from nnft_mcmc.exact import covariance_matrix
from nnft_mcmc.exact.positivity import exponential_gram_matrix, product_gram_matrix
from nnft_mcmc.runs.axiom_fields import Fields
from nnft_mcmc.statistics import CumulantEstimate
from nnft_mcmc.statistics.partitions import Block

FloatArray = NDArray[np.float64]

_BLOCKS_PER_DISTANCE = 3


class Watcher(ABC):
    """Looks at the fields at `points` (P, dim) of every batch."""

    points: FloatArray

    @abstractmethod
    def update(self, chain: int, fields: FloatArray) -> None:
        """Successive draws (draws, copies, P) of a chain."""


def watch(fields: Fields, watchers: Sequence[Watcher], progress: Callable[[int], object]) -> None:
    """Show every draw to every watcher, once."""
    ends = np.cumsum([len(w.points) for w in watchers])
    for chain, batch in fields.at(np.concatenate([w.points for w in watchers])):
        for watcher, end in zip(watchers, ends, strict=True):
            watcher.update(chain, batch[..., end - len(watcher.points) : end])
        progress(len(batch))


class PositivityWatcher(Watcher):
    """Gram matrices of all families at one reflection. The unit of the sources is the field's size in the first batch,
    which a choice of operators may depend on."""

    def __init__(self, reflection: Reflection, fields: Fields) -> None:
        self.reflection, self.points = reflection, reflection.points
        self.num_chains, self.draws_per_chain = fields.num_chains, fields.draws_per_chain
        self.grams: list[GramMatrices] = []

    def update(self, chain: int, fields: FloatArray) -> None:
        num = len(self.reflection.forward)
        if not self.grams:
            rms = float(np.sqrt(np.mean(fields**2)))
            if not 0.0 < rms < np.inf:
                raise _checks.InputError(
                    "the field is not finite, or zero everywhere; it has no reflection positivity."
                )
            every = families(num, self.reflection.few, rms)
            self.grams = [GramMatrices(family, self.draws_per_chain, self.num_chains) for family in every]
        for gram in self.grams:
            gram.update(fields[..., :num], fields[..., num:], chain)

    def tests(self, false_alarm: float, architecture: Architecture | None) -> list[PositivityTest]:
        """One for each family; `architecture`, of a free ensemble, says what M is."""
        found = []
        for gram in self.grams:
            exact = None
            if architecture is not None:
                exact = exact_gram(architecture, self.reflection, gram.family)
            found.append(positivity_test(gram, false_alarm, exact))
        return found


def exact_gram(architecture: Architecture, reflection: Reflection, family: Family) -> FloatArray | None:
    """M of the free ensemble; None where it is not known: no exact correlators, or not of this order."""
    if not isinstance(architecture, ExactCorrelators):
        return None
    (observable,) = family.observables
    forward, reflected = reflection.forward, reflection.reflected
    if isinstance(observable, CharacteristicFunction):
        if not isinstance(architecture, OnLattice):
            return None
        covariance = covariance_matrix(architecture.two_point, np.concatenate([reflected, forward]))
        return exponential_gram_matrix(covariance, observable.sources, family.constant)
    if not isinstance(observable, Correlators):
        return None
    tuples = [*([()] if family.constant else []), *observable.tuples]
    try:
        return product_gram_matrix(
            architecture.n_point_connected,
            [reflected[list(sites)] for sites in tuples],
            [forward[list(sites)] for sites in tuples],
        )
    except _checks.InputError:
        return None  # a correlator that does not exist, or is not known


class PointsWatcher(Watcher):
    """Keeps the fields at some points, of a torus at one copy of them."""

    def __init__(self, points: FloatArray, fields: Fields, most_draws: int | None = None) -> None:
        self.points = points
        draws = fields.draws_per_chain if most_draws is None else min(most_draws, fields.draws_per_chain)
        self.fields = np.zeros((fields.num_chains, draws, len(points)))
        self._done = [0] * fields.num_chains

    def update(self, chain: int, fields: FloatArray) -> None:
        start = self._done[chain]
        stop = min(start + len(fields), self.fields.shape[1])
        self.fields[chain, start:stop] = fields[: stop - start, 0]
        self._done[chain] = stop


def euclidean_tests(
    elements: Sequence[Element], watchers: Sequence[PointsWatcher], false_alarm: float
) -> dict[str, SymmetryTest]:
    """Two for each element, sharing the rate; `watchers` saw its points and the moved points, in turn."""
    found = {}
    for element, here, there in zip(elements, watchers[::2], watchers[1::2], strict=True):
        rms = float(np.sqrt(np.mean(here.fields**2)))
        for kind, observable in observables(element.element, len(element.points), rms).items():
            found[f"{element.name}, {kind}"] = symmetry_test_of_fields(
                element.element, here.fields, there.fields, observable, false_alarm / (2 * len(elements))
            )
    return found


class ClusterWatcher(Watcher):
    """Connected functions of two clusters, of independent draws or of chains."""

    def __init__(self, separations: Separations, fields: Fields, independent: bool) -> None:
        self.separations, self.points = separations, separations.points
        self.tuples = cluster_tuples(separations)
        self._stream = FieldCumulants(self.tuples) if independent else None
        self._products = monomials(self.tuples)
        self._means: list[list[FloatArray]] = [[] for _ in range(fields.num_chains)]

    def update(self, chain: int, fields: FloatArray) -> None:
        if self._stream is not None:
            self._stream.update(fields)
        else:
            self._means[chain].append(copy_means(fields, self._products))

    def estimate(self) -> CumulantEstimate:
        """Of all `cluster_tuples`."""
        if self._stream is not None:
            return self._stream.estimate()
        means = np.stack([np.concatenate(chain) for chain in self._means])
        return chain_cumulants(means, self.tuples, _BLOCKS_PER_DISTANCE * len(self.separations.distances))


def cluster_tuples(separations: Separations) -> list[Block]:
    """The tuples of all PARTS, one after the other, each at all distances."""
    return [points for parts in PARTS for points in separations.tuples(parts)]


def cluster_tests(
    separations: Separations, estimate: CumulantEstimate, variance: float, false_alarm: float
) -> list[Clustering]:
    """One for each of PARTS; `variance` is <phi^2>."""
    found, num = [], len(separations.distances)
    for k, parts in enumerate(PARTS):
        those = slice(k * num, (k + 1) * num)
        part = CumulantEstimate(estimate.value[those], estimate.replicas[:, those], estimate.num_draws)
        scale = variance ** (sum(parts) / 2)
        # min(parts) particles are exchanged at least.
        exchange = Exchange(separations.circumferences, min(parts))
        found.append(clustering_test(label(parts), separations.distances, part, scale, false_alarm, exchange))
    return found
