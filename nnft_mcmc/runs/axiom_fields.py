"""Where `nnft axioms` takes fields from: networks drawn anew, fields drawn on a lattice, or what a run has stored."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from nnft_mcmc import _checks
from nnft_mcmc.architectures import Architecture
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.estimators._draws import fields_in_batches
from nnft_mcmc.estimators.euclidean import sites_of
from nnft_mcmc.estimators.reflections import fields_at
from nnft_mcmc.lattice import Lattice
from nnft_mcmc.point_evaluation import FieldAt
from nnft_mcmc.runs.store import RunDirectory

FloatArray = NDArray[np.float64]

_DRAWS_AT_ONCE = 1024


class Fields(ABC):
    """Draws of a field, in chains; points are sites where the field lives on a lattice."""

    lattice: Lattice
    num_chains: int
    draws_per_chain: int

    @abstractmethod
    def at(self, points: FloatArray) -> Iterator[tuple[int, FloatArray]]:
        """Chain by chain, successive draws at points (P, dim): number of the chain, fields (draws, copies, P)."""


@dataclass(frozen=True)
class NetworkFields(Fields):
    """Independent networks, evaluated anywhere."""

    architecture: Architecture
    lattice: Lattice
    key: jax.Array
    draws_per_chain: int
    num_chains: int = 1

    def at(self, points: FloatArray) -> Iterator[tuple[int, FloatArray]]:
        for fields in fields_in_batches(self.architecture, self.key, points, self.draws_per_chain):
            yield 0, fields[:, None, :].astype(np.float64)


@dataclass(frozen=True)
class LatticeDraws(Fields):
    """Independent fields of an architecture that lives on the lattice."""

    architecture: Architecture
    lattice: Lattice
    key: jax.Array
    draws_per_chain: int
    num_chains: int = 1

    def at(self, points: FloatArray) -> Iterator[tuple[int, FloatArray]]:
        every = self.lattice.sites.reshape(-1, self.lattice.dim)
        for flat in fields_in_batches(self.architecture, self.key, every, self.draws_per_chain):
            fields = flat.reshape(-1, *self.lattice.shape).astype(np.float64)
            for start in range(0, len(fields), _DRAWS_AT_ONCE):
                yield 0, fields_at(fields[start : start + _DRAWS_AT_ONCE], self.lattice, sites_of(self.lattice, points))


@dataclass(frozen=True, eq=False)
class StoredFields(Fields):
    """Fields (chain, draw, *shape) of a run."""

    fields: FloatArray
    lattice: Lattice

    @property
    def num_chains(self) -> int:  # type: ignore[override]
        """Chains of the run."""
        return self.fields.shape[0]

    @property
    def draws_per_chain(self) -> int:  # type: ignore[override]
        """Complete draws of each."""
        return self.fields.shape[1]

    def at(self, points: FloatArray) -> Iterator[tuple[int, FloatArray]]:
        for number, chain in enumerate(self.fields):
            for start in range(0, len(chain), _DRAWS_AT_ONCE):
                yield (
                    number,
                    fields_at(chain[start : start + _DRAWS_AT_ONCE], self.lattice, sites_of(self.lattice, points)),
                )


@dataclass(frozen=True, eq=False)
class StoredNetworks(Fields):
    """Networks of the parameters (chain, draw, ...) of a run, evaluated anywhere."""

    parameters: dict[str, np.ndarray]
    architecture: Architecture
    lattice: Lattice

    @property
    def num_chains(self) -> int:  # type: ignore[override]
        """Chains of the run."""
        return next(iter(self.parameters.values())).shape[0]

    @property
    def draws_per_chain(self) -> int:  # type: ignore[override]
        """Complete draws of each."""
        return next(iter(self.parameters.values())).shape[1]

    def at(self, points: FloatArray) -> Iterator[tuple[int, FloatArray]]:
        for chain, fields in evaluated(self.parameters, FieldAt(self.architecture, points)):
            yield chain, fields[:, None, :]


def evaluated(parameters: dict[str, np.ndarray], field: Callable) -> Iterator[tuple[int, FloatArray]]:
    """field(theta) of parameters (chain, draw, ...), chain by chain in pieces."""
    of_some = jax.jit(jax.vmap(field))
    chains, draws = next(iter(parameters.values())).shape[:2]
    for chain in range(chains):
        for start in range(0, draws, _DRAWS_AT_ONCE):
            theta = {name: jnp.asarray(a[chain, start : start + _DRAWS_AT_ONCE]) for name, a in parameters.items()}
            yield chain, np.asarray(of_some(theta), dtype=np.float64)


def stored(run: RunDirectory, ensemble: Ensemble) -> tuple[StoredFields, StoredNetworks | None]:
    """The fields of a run, stored or made of the stored parameters; and the networks, where their parameters are."""
    posterior = run.arrays("posterior").get("posterior", {})
    if not posterior:
        raise _checks.InputError(
            f"{run.path} stores neither fields nor parameters, on which the axioms are tested; sample it again with"
            ' run.store = ["field"].'
        )
    parameters = {name: a for name, a in posterior.items() if name != "field"}
    networks = StoredNetworks(parameters, ensemble.architecture, ensemble.lattice) if parameters else None
    if "field" in posterior:
        return StoredFields(posterior["field"].astype(np.float64), ensemble.lattice), networks
    pieces: list[list[FloatArray]] = [[] for _ in next(iter(parameters.values()))]
    for chain, fields in evaluated(parameters, ensemble.field):
        pieces[chain].append(fields)
    return StoredFields(np.stack([np.concatenate(chain) for chain in pieces]), ensemble.lattice), networks
