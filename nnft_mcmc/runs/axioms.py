"""`nnft axioms RUN|CONFIG`: does the ensemble obey the axioms of a Euclidean field theory?

Each axiom is tested at the rate `false_alarm`, shared out among its tests (Bonferroni): a theory that obeys it is
rejected with at most that probability. Of a configuration the free ensemble is drawn and tested; an interacting theory
is tested on the run that sampled it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import numpy as np
from tqdm import tqdm

from nnft_mcmc import _checks
from nnft_mcmc.architectures import Architecture, IidNeurons, OnLattice
from nnft_mcmc.estimators.clustering import Clustering
from nnft_mcmc.estimators.clusters import PARTS, in_space, on_lattice
from nnft_mcmc.estimators.euclidean import Element, of_lattice, of_space
from nnft_mcmc.estimators.field_observables import Correlators
from nnft_mcmc.estimators.group_actions import SignFlip
from nnft_mcmc.estimators.permutations import ROUNDING, permutation_spread
from nnft_mcmc.estimators.positivity import PositivityTest
from nnft_mcmc.estimators.reflections import reflections
from nnft_mcmc.estimators.single_neuron import iid_neurons, williams
from nnft_mcmc.estimators.symmetry import SymmetryTest, symmetry_test_of_fields
from nnft_mcmc.runs.axiom_fields import (
    Fields,
    LatticeDraws,
    NetworkFields,
    stored,
)
from nnft_mcmc.runs.axiom_tests import (
    ClusterWatcher,
    PointsWatcher,
    PositivityWatcher,
    Watcher,
    cluster_tests,
    euclidean_tests,
    watch,
)
from nnft_mcmc.runs.config import Config
from nnft_mcmc.runs.driver import theory
from nnft_mcmc.runs.store import RunDirectory

FALSE_ALARM = 1e-3
# p-value of phi -> -phi below which connected functions made without odd moments are not those of the field.
_ASYMMETRIC = 1e-6
_PERMUTED = 4000

Test = PositivityTest | SymmetryTest | Clustering | float


@dataclass(frozen=True)
class Axiom:
    """Outcome of one axiom: its tests by name, or the reason why there are none; `note` says what was tested."""

    name: str
    tests: Mapping[str, Test]
    rejected: bool
    reason: str = ""
    note: str = ""


@dataclass(frozen=True)
class Axioms:
    """All axioms of one theory; `false_alarm` is that of each."""

    axioms: tuple[Axiom, ...]
    num_draws: int
    false_alarm: float
    notes: tuple[str, ...] = ()

    @property
    def rejected(self) -> bool:
        """Whether any is."""
        return any(axiom.rejected for axiom in self.axioms)


@dataclass(frozen=True)
class _Theory:
    """What is tested, and on what: `fields` on a lattice or anywhere, `networks` at the points of `elements`.

    free: the architecture of a free ensemble; neurons: the key from which single ones of it are drawn, if they are
    i.i.d. and the ensemble is drawn here.
    """

    fields: Fields
    networks: Fields
    elements: list[Element]
    independent: bool
    free: Architecture | None
    neurons: jax.Array | None
    euclidean_note: str = ""


def of_config(config: Config, num_draws: int, false_alarm: float = FALSE_ALARM, seed: int | None = None) -> Axioms:
    """The free ensemble of a configuration, from `num_draws` independent draws; a bar on stderr."""
    seed = config.run.seed if seed is None else _checks.integer("--seed", seed, 0, 2**63 - 1)
    num_draws = _checks.integer("--num-draws", num_draws, 1)
    architecture, lattice = config.ensemble.architecture, config.ensemble.lattice
    draws, neurons = jax.random.split(jax.random.key(seed))
    on_sites = isinstance(architecture, OnLattice)
    fields = (LatticeDraws if on_sites else NetworkFields)(architecture, lattice, draws, num_draws)
    elements = of_lattice(lattice, translations=True) if on_sites else of_space(lattice)
    iid = neurons if isinstance(architecture, IidNeurons) else None
    note = "The insertion is left out: these are the axioms of the free ensemble. For those of the interacting theory,"
    notes = () if config.ensemble.insertion is None else (f"{note} sample it and give the run.",)
    what = _Theory(fields, fields, elements, True, architecture, iid, _GROUPS[on_sites])
    return _tested(what, false_alarm, notes)


def of_run(run: RunDirectory, false_alarm: float = FALSE_ALARM) -> Axioms:
    """The theory that a run has sampled, from what it has stored."""
    kind = run.manifest()["kind"]
    ensemble = theory(run.config(), kind)[0]
    fields, networks = stored(run, ensemble)
    free = ensemble.architecture if ensemble.local_action.is_free else None
    anywhere = networks is not None and free is not None and not isinstance(free, OnLattice)
    torus = ensemble.lattice.geometry == "torus"
    elements = of_space(ensemble.lattice) if anywhere else of_lattice(ensemble.lattice, torus or free is not None)
    note = _GROUPS[not anywhere] + ("" if torus or free is not None else _ENDS)
    independent = kind == "draw"
    there: Fields = networks if anywhere and networks is not None else fields
    return _tested(_Theory(fields, there, elements, independent, free, None, note), false_alarm, ())


_GROUPS = {
    False: "translations and rotations by any angle, on the networks themselves",
    True: "the symmetries of the lattice",
}
_ENDS = "; translations are left out, because the interaction ends with the box"


def _tested(what: _Theory, false_alarm: float, notes: tuple[str, ...]) -> Axioms:
    if not 0.0 < false_alarm < 1.0:
        raise _checks.InputError(f"--false-alarm is {false_alarm!r}; it must lie between 0 and 1.")
    fields, lattice = what.fields, what.fields.lattice
    anywhere = what.neurons is not None or (what.independent and isinstance(fields, NetworkFields))
    clusters = ClusterWatcher(in_space(lattice) if anywhere else on_lattice(lattice), fields, what.independent)
    positivity = [PositivityWatcher(r, fields) for r in reflections(lattice)] if lattice.shape[0] > 2 else []
    euclidean = [PointsWatcher(points, what.networks) for e in what.elements for points in (e.points, e.moved)]
    few = PointsWatcher(clusters.points[:6], fields, _PERMUTED)
    num_draws = fields.num_chains * fields.draws_per_chain
    on_fields: list[Watcher] = [*positivity, few, *([clusters] if what.neurons is None else [])]
    together = what.networks is fields
    passes: list[tuple[Fields, list[Watcher]]] = [(fields, [*on_fields, *(euclidean if together else [])])]
    if not together:
        passes.append((what.networks, [*euclidean]))
    total = num_draws * (len(passes) + (what.neurons is not None))
    with tqdm(total=total, unit="draw", unit_scale=True, smoothing=0) as bar:
        for source, watchers in passes:
            watch(source, watchers, bar.update)
        clustering = _clustering(what, clusters, few, false_alarm, bar.update)
    invariance = _euclidean(what, euclidean, false_alarm)
    axioms = (invariance, _permutation(few), _positivity(what, positivity, false_alarm), clustering)
    return Axioms(axioms, num_draws, false_alarm, notes)


def _euclidean(what: _Theory, watchers: list[PointsWatcher], false_alarm: float) -> Axiom:
    name = "Euclidean invariance"
    try:
        tests = euclidean_tests(what.elements, watchers, false_alarm)
    except _checks.InputError as error:
        return Axiom(name, {}, False, str(error), what.euclidean_note)
    reason = "" if tests else "the lattice has no symmetry that moves its points."
    return Axiom(name, tests, any(t.is_violated for t in tests.values()), reason, what.euclidean_note)


def _permutation(few: PointsWatcher) -> Axiom:
    spread = permutation_spread(few.fields.reshape(-1, few.fields.shape[2]))
    tests = {f"{n}-point": value for n, value in spread.items()}
    return Axiom("permutation invariance", tests, max(tests.values()) > ROUNDING, note="a check of the estimator")


def _positivity(what: _Theory, watchers: list[PositivityWatcher], false_alarm: float) -> Axiom:
    name = "reflection positivity"
    tests: dict[str, PositivityTest] = {}
    if not watchers:
        return Axiom(name, {}, False, "it needs three sites or more along t.")
    try:
        for watcher in watchers:
            share = false_alarm / sum(len(w.grams) for w in watchers)
            tests |= {f"{watcher.reflection.name}, {t.family}": t for t in watcher.tests(share, what.free)}
    except _checks.InputError as error:
        return Axiom(name, {}, False, str(error))
    return Axiom(name, tests, any(t.is_violated for t in tests.values()))


def _clustering(
    what: _Theory, clusters: ClusterWatcher, few: PointsWatcher, false_alarm: float, progress: Callable[[int], object]
) -> Axiom:
    name, places, num_draws = "cluster decomposition", clusters.separations, what.fields.draws_per_chain
    means = Correlators(tuple((i,) for i in range(few.fields.shape[2])))
    try:
        sign = symmetry_test_of_fields(SignFlip(), few.fields, -few.fields, means, _ASYMMETRIC)
        if sign.is_violated:
            return Axiom(name, {}, False, "the field has a mean, and its connected functions have odd moments.")
        if what.neurons is None or what.free is None:
            estimate, note = clusters.estimate(), ""
        else:
            neurons, note = iid_neurons(what.free), "connected functions from single neurons"
            drawn = williams(neurons, what.neurons, num_draws, clusters.tuples, places.points, progress=progress)
            estimate = drawn.cumulants
        variance = float(np.mean(few.fields**2))
        tests = {t.label: t for t in cluster_tests(places, estimate, variance, false_alarm / len(PARTS))}
    except _checks.InputError as error:
        return Axiom(name, {}, False, str(error))
    return Axiom(name, tests, any(t.is_violated for t in tests.values()), note=note)
