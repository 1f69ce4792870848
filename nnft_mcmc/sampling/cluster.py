"""Sign clusters and the Gaussian flow: lattice field theory through its critical point.

At fixed magnitudes |phi(x)| the signs of a field with nearest-neighbour coupling c are an Ising model,

    exp(c sum_links phi phi') = exp(sum_links J s s'),     s = sign phi,     J = c |phi phi'|,

if all the rest of the action is even in each phi(x). Swendsen and Wang's update of it (the embedding is Brower and
Tamayo's): every link whose ends have the same sign is made a bond with probability 1 - exp(-2 J), and every cluster of
sites that bonds connect gets a new sign, either with probability 1/2. Nothing is refused, and the long waves of the
sign, on which all local updates slow down near the critical point, are renewed at once. A trajectory of `gaussian_flow`
follows in each transition and moves the magnitudes, and everything else that the clusters leave.

The free action of a lattice ensemble is the only one that couples sites, with c = a^(d-2), and an insertion is local:
so the same update leaves P(theta) exp(-scale S_int) invariant at every scale. Modes are transformed to sites and back.

Clusters are found by hooking and pointer jumping. The label of a site is the number of a site in its cluster; where a
bond joins two labels, the site that the greater one names is hooked onto the lesser, and every label is replaced twice
by the label of the site that it names, until nothing changes. That takes about as many rounds as the logarithm of the
size of the largest cluster. References: Brower and Tamayo, Phys. Rev. Lett. 62 (1989) 1087; Swendsen and Wang, Phys.
Rev. Lett. 58 (1987) 86.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from nnft_mcmc import _checks
from nnft_mcmc.architectures import Architecture, LatticeModes
from nnft_mcmc.architectures.on_lattice import hartley
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.insertions import free_lattice_action
from nnft_mcmc.sampling._base import Move, MoveSampler, Position
from nnft_mcmc.sampling.gaussian_flow import FlowTuning, GaussianFlow, GaussianFlowMove, check_flow_settings
from nnft_mcmc.sampling.symmetry_moves import is_even


class ClusterTuning(NamedTuple):
    """Tuning of the trajectories, and how many clusters the last transition had."""

    flow: FlowTuning
    num_clusters: Array

    def statistics(self) -> dict[str, Array]:
        """What the last transition says of itself; the acceptance is that of its trajectory."""
        return {**self.flow.statistics(), "num_clusters": self.num_clusters}


class ClusterMove(Move):
    """An update of all clusters, then a trajectory in all parameters."""

    def __init__(self, ensemble: Ensemble, flow: GaussianFlowMove) -> None:
        self.ensemble, self.flow = ensemble, flow
        self.hopping = free_lattice_action(ensemble.architecture).hopping

    def init(self, num_warmup: int) -> ClusterTuning:
        return ClusterTuning(self.flow.init(num_warmup), jnp.zeros((), dtype=int))

    def move(
        self, position: Position, tuning: ClusterTuning, scale: Array, key: Array
    ) -> tuple[Position, ClusterTuning]:
        key_bonds, key_signs, key_flow = jax.random.split(key, 3)
        labels = connected(sign_bonds(position.field, self.hopping, key_bonds))
        signs = jax.random.rademacher(key_signs, (labels.size,), dtype=position.field.dtype)
        field = position.field * signs[labels]
        flipped = Position(parameters_of(self.ensemble.architecture, field), field)
        position, flow = self.flow.move(flipped, tuning.flow, scale, key_flow)
        roots = labels.ravel() == jnp.arange(labels.size)
        return position, ClusterTuning(flow, jnp.sum(roots))


def sign_bonds(field: Float[Array, "*sites"], hopping: float, key: Array) -> list[Bool[Array, "*sites"]]:
    """For each direction, whether the link from a site to its next neighbour is a bond."""
    keys = jax.random.split(key, field.ndim)

    def along(axis: int) -> Array:
        coupling = hopping * field * jnp.roll(field, -1, axis)
        # 1 - exp(-2 J) where the signs are equal: an exponential variable of mean 1 is below 2 J
        return jax.random.exponential(keys[axis], field.shape, field.dtype) < 2 * coupling

    return [along(axis) for axis in range(field.ndim)]


def connected(bonds: list[Bool[Array, "*sites"]]) -> Int[Array, "*sites"]:
    """The least site number of each site's cluster, sites numbered in C order."""
    shape, numbers = bonds[0].shape, jnp.arange(bonds[0].size)
    start = jnp.tile(numbers, len(shape))
    end = jnp.concatenate([jnp.roll(numbers.reshape(shape), -1, axis).ravel() for axis in range(len(shape))])
    bond = jnp.concatenate([b.ravel() for b in bonds])

    def step(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        labels, _ = carry
        one, other = labels[start], labels[end]
        least = jnp.where(bond, jnp.minimum(one, other), one)
        new = labels.at[jnp.where(bond, jnp.maximum(one, other), one)].min(least)
        new = new[new]
        new = new[new]
        return new, jnp.any(new != labels)

    return jax.lax.while_loop(lambda carry: carry[1], step, (numbers, jnp.array(True)))[0].reshape(shape)


def parameters_of(architecture: Architecture, field: Float[Array, "*sites"]) -> dict[str, Array]:
    """The parameters of a field: its modes, or itself."""
    if isinstance(architecture, LatticeModes):
        return {"amplitudes": hartley(field) / jnp.sqrt(jnp.asarray(architecture.spectrum()))}
    return {"phi": field}


@dataclass(frozen=True, kw_only=True)
class Cluster(MoveSampler):
    """Sign clusters and a trajectory of the Gaussian flow, for lattice modes and site fields with an even insertion."""

    target_accept: float = 0.8
    max_num_steps: int = 64

    def check_settings(self) -> None:
        check_flow_settings(self.target_accept, self.max_num_steps)

    def move(self, ensemble: Ensemble) -> ClusterMove:
        free_lattice_action(ensemble.architecture)  # refuses what couples more than nearest neighbours
        if not is_even(ensemble.local_action):
            raise _checks.InputError(
                "sampler.name is 'cluster', which flips signs of the field site by site, and the insertion has an odd"
                " power; use 'gaussian_flow' or 'hmc'."
            )
        flow = GaussianFlow(target_accept=self.target_accept, max_num_steps=self.max_num_steps)
        return ClusterMove(ensemble, flow.move(ensemble))
