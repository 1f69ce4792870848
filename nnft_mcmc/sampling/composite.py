"""Composite: a refresh sweep, trajectories in the output weights, and moves by symmetries of the prior.

phi is linear in the output weights a, and they are normal: at fixed neurons the Gaussian flow (`gaussian_flow`) moves
all of the field along their smooth conditional density, which refresh, one neuron at a time, does not; refresh moves
everything else, whatever its density. One transition is

    a refresh sweep,   nu trajectories in the output weights and a rigid motion,   a random sign,

each where the architecture and the action allow it. An architecture all of whose parameters are normal, but which is no
sum of neurons, has trajectories in all of them instead. Output weights that are not normal are left to refresh.

nu is chosen in warm-up from `PACES`, a fraction for a trajectory every 1/nu transitions. The choice maximises effective
draws of Q = M^2, M the mean of the field, for the work of a transition: if a sweep leaves a share r of the correlation
of Q and a trajectory a share s, as measured by squared jumps, then a transition leaves rho = r s^nu and makes
(1 - rho)/(1 + rho) effective draws. Of paces within a fifth of the best the largest is taken. Work is counted by a
formula, not by a clock, so that runs can be repeated.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from nnft_mcmc import _checks
from nnft_mcmc.architectures import SumOfNeurons
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.sampling._base import Move, MoveSampler, Position
from nnft_mcmc.sampling.gaussian_flow import (
    Flow,
    FlowTuning,
    GaussianFlowMove,
    Whitening,
    check_flow_settings,
    whitening,
    whitenings,
)
from nnft_mcmc.sampling.refresh import (
    AUTO,
    RefreshMove,
    RefreshTuning,
    check_block_size,
    fixed_size,
    neuron_fields_of,
)
from nnft_mcmc.sampling.symmetry_moves import MotionTuning, is_even, rigid_motion, sign_flip

PACES = (1 / 4, 1 / 2, 1.0, 2.0, 4.0)
# The largest pace with this share of the best efficiency is taken: squared jumps see the fast part of Q's relaxation
# better than the slow one, which trajectories are there for.
NEARLY_BEST = 0.8
# Up to so many numbers the fields of neurons with unit weights are held while their weights move.
LARGEST_FEATURES = 2**22


class PaceTuning(NamedTuple):
    """nu, and the mean squared jump of Q in a sweep."""

    pace: Array
    jump: Array
    num_done: Array
    warmup_left: Array

    @property
    def trajectories(self) -> Array:
        """Their number in this transition: floor((k + 1) nu) - floor(k nu) in the k-th."""
        k = self.num_done
        return (jnp.floor((k + 1) * self.pace) - jnp.floor(k * self.pace)).astype(int)


class CompositeTuning(NamedTuple):
    """The tuning of each move; None for one that is not made."""

    refresh: RefreshTuning | None
    flow: FlowTuning | None
    motion: MotionTuning | None
    pace: PaceTuning | None

    def statistics(self) -> dict[str, Array]:
        """What the last transition says of itself."""
        flow = {} if self.flow is None else self.flow.statistics()
        motion = {} if self.motion is None else self.motion.statistics()
        if self.refresh is None:
            return {**flow, **motion}
        refresh = self.refresh.statistics()
        if self.flow is None or self.pace is None:
            return {**refresh, **motion}
        flow["flow_acceptance_rate"] = flow.pop("acceptance_rate")
        # Not every transition has a trajectory, and the sweep changes the energy too: no E-BFMI can be made of it.
        del flow["energy"]
        lost = {"num_not_finite": refresh["num_not_finite"] + flow.pop("num_not_finite")}
        return {**refresh, **flow, **lost, **motion, "flows_per_sweep": self.pace.pace}


class WeightsFlow(Move):
    """`count` trajectories in the normal output weights of a sum of neurons."""

    def __init__(self, flow: Flow, architecture: SumOfNeurons, weights: Whitening) -> None:
        self.flow, self.architecture, self.weights = flow, architecture, weights
        self.ensemble = flow.ensemble
        shape = architecture.prior()["amplitudes"].shape()
        self.holds_features = math.prod(shape) * self.ensemble.lattice.num_sites <= LARGEST_FEATURES

    def init(self, num_warmup: int) -> FlowTuning:
        return self.flow.init(num_warmup)

    def move(self, position: Position, tuning: FlowTuning, scale: Array, key: Array) -> tuple[Position, FlowTuning]:
        return self.moves(position, tuning, scale, key, jnp.ones((), dtype=int))

    def moves(
        self, position: Position, tuning: FlowTuning, scale: Array, key: Array, count: Array
    ) -> tuple[Position, FlowTuning]:
        """After `count` trajectories, which may be none."""

        def with_features(first: Array, carry: tuple[Array, Array, FlowTuning]) -> tuple[Array, Array, FlowTuning]:
            # What does not depend on the loop would be computed before it, even if there is no pass.
            _, theta = jax.lax.optimization_barrier((first, position.theta))
            features = self.features(theta)

            def field_of(z: Array) -> Array:
                return self.field(theta, features, z)

            def trajectory(number: Array, carry: tuple[Array, Array, FlowTuning]) -> tuple[Array, Array, FlowTuning]:
                z, _, tuning = carry
                return self.flow.trajectory(field_of, z, tuning, scale, jax.random.fold_in(key, number))

            return jax.lax.fori_loop(0, count, trajectory, carry)

        start = self.weights.to_white(position.theta["amplitudes"]), position.field, tuning.restarted()
        # A loop of at most one pass: unlike a condition it stays one when chains are batched, and costs nothing if no
        # chain makes it.
        z, field, tuning = jax.lax.fori_loop(0, jnp.minimum(count, 1), with_features, start)
        weights = jnp.where(count > 0, self.weights.from_white(z), position.theta["amplitudes"])
        return Position({**position.theta, "amplitudes": weights}, field), tuning

    def features(self, theta: dict[str, Array]) -> Array | None:
        """Fields of the neurons with one component of the weights 1 and the others 0, (components * neurons, sites)."""
        if not self.holds_features:
            return None
        components = math.prod(theta["amplitudes"].shape[1:])

        def of_component(unit: Array) -> Array:
            weights = jnp.broadcast_to(unit.reshape(theta["amplitudes"].shape[1:]), theta["amplitudes"].shape)
            return neuron_fields_of(self.architecture, self.ensemble, {**theta, "amplitudes": weights})

        return jax.lax.map(of_component, jnp.eye(components)).reshape(-1, self.ensemble.lattice.num_sites)

    def field(self, theta: dict[str, Array], features: Array | None, z: Array) -> Array:
        """phi at white weights z."""
        weights = self.weights.from_white(z)
        if features is None:
            return self.ensemble.field({**theta, "amplitudes": weights})
        by_component = jnp.moveaxis(weights.reshape(len(weights), -1), 1, 0).reshape(-1)
        return jnp.dot(by_component, features).reshape(self.ensemble.lattice.shape)


@dataclass(frozen=True)
class Work:
    """Microseconds of the moves on one core, roughly; what counts is their ratio."""

    width: int
    num_sites: int

    @property
    def sweep(self) -> float:
        """Old and new fields of all neurons, and a proposal for each."""
        return 20 + self.width * (0.2 + 0.03 * self.num_sites)

    @property
    def features(self) -> float:
        """Fields of neurons with unit weights."""
        return 5 + 0.015 * self.width * self.num_sites

    @property
    def gradient(self) -> float:
        """One step of a trajectory."""
        return 5 + 0.002 * self.width * self.num_sites


class CompositeMove(Move):
    """Sweep, trajectories, rigid motion and sign, each where it is given; `pace` None is a tuned one."""

    def __init__(
        self,
        ensemble: Ensemble,
        refresh: RefreshMove | None,
        flow: WeightsFlow | GaussianFlowMove | None,
        pace: float | None,
    ) -> None:
        self.ensemble, self.refresh, self.flow, self.pace = ensemble, refresh, flow, pace
        architecture = ensemble.architecture
        self.motion = rigid_motion(ensemble)
        self.flip = sign_flip(architecture) if is_even(ensemble.local_action) else None
        self.work = Work(getattr(architecture, "width", 1), ensemble.lattice.num_sites)

    def init(self, num_warmup: int) -> CompositeTuning:
        zero, count = jnp.zeros(()), jnp.zeros((), dtype=int)
        # Warm-up has one trajectory and one motion in each transition, so that they are tuned when it ends.
        first = 1.0 if self.pace is None or num_warmup > 0 else self.pace
        pace = PaceTuning(zero + first, zero, count, count + num_warmup)
        return CompositeTuning(
            None if self.refresh is None else self.refresh.init(num_warmup),
            None if self.flow is None else self.flow.init(num_warmup),
            None if self.motion is None else self.motion.init(num_warmup),
            pace if self.refresh is not None and self.flow is not None else None,
        )

    def move(
        self, position: Position, tuning: CompositeTuning, scale: Array, key: Array
    ) -> tuple[Position, CompositeTuning]:
        key_refresh, key_flow, key_motion, key_sign = jax.random.split(key, 4)
        count = jnp.ones((), dtype=int) if tuning.pace is None else tuning.pace.trajectories
        before = position.field.mean() ** 2
        if self.refresh is not None and tuning.refresh is not None:
            position, refreshed = self.refresh.move(position, tuning.refresh, scale, key_refresh)
            tuning = tuning._replace(refresh=refreshed)
        after = position.field.mean() ** 2
        if isinstance(self.flow, GaussianFlowMove) and tuning.flow is not None:
            position, flowed = self.flow.move(position, tuning.flow, scale, key_flow)
            tuning = tuning._replace(flow=flowed)
        if isinstance(self.flow, WeightsFlow) and tuning.flow is not None and tuning.pace is not None:
            position, flowed = self.flow.moves(position, tuning.flow, scale, key_flow, count)
            tuning = tuning._replace(flow=flowed, pace=self.paced(tuning.pace, flowed, before, after))
        if self.motion is not None and tuning.motion is not None:
            position, moved = self.motion.moves(position, tuning.motion, scale, key_motion, jnp.minimum(count, 1))
            tuning = tuning._replace(motion=moved)
        if self.flip is not None:
            sign = jax.random.rademacher(key_sign, (), dtype=position.field.dtype)
            position = Position(self.flip(position.theta, sign), sign * position.field)
        return position, tuning

    def paced(self, tuning: PaceTuning, flow: FlowTuning, before: Array, after: Array) -> PaceTuning:
        """nu after a transition in whose sweep Q went from `before` to `after`; chosen at the end of warm-up."""
        # A running average in which the k-th sweep has the weight k.
        jump = tuning.jump + 2 / (tuning.num_done + 2.0) * ((after - before) ** 2 - tuning.jump)
        here = flow.chosen
        left_by_sweep = 1 - jnp.clip(jump / (2 * flow.variance), 0.0, 1.0)
        left_by_flow = 1 - jnp.clip(flow.jump[here] / (2 * flow.variance), 0.0, 1.0)
        paces = jnp.asarray(PACES, dtype=jump.dtype)
        rho = left_by_sweep * left_by_flow**paces
        fields = self.work.features * (1 if self.motion is None else 2)
        work = self.work.sweep + jnp.minimum(paces, 1.0) * fields + paces * flow.cost[here] * self.work.gradient
        efficiency = (1 - rho) / (1 + rho) / work
        best = jnp.max(jnp.where(efficiency >= NEARLY_BEST * efficiency.max(), paces, 0.0))
        pace = jnp.where(tuning.warmup_left == 1, best if self.pace is None else self.pace, tuning.pace)
        adapting = tuning.warmup_left > 0
        return PaceTuning(
            pace.astype(tuning.pace.dtype),
            jnp.where(adapting, jump, tuning.jump).astype(tuning.jump.dtype),
            tuning.num_done + 1,
            jnp.maximum(tuning.warmup_left - 1, 0),
        )


@dataclass(frozen=True, kw_only=True)
class Composite(MoveSampler):
    """Refresh, the Gaussian flow in the output weights, rigid motions and the sign of the field, where they exist."""

    block_size: int | str = AUTO
    flows_per_sweep: float | str = AUTO
    target_accept: float = 0.9
    max_num_steps: int = 64

    def check_settings(self) -> None:
        check_block_size(self.block_size)
        if self.flows_per_sweep != AUTO:
            _checks.non_negative("sampler.flows_per_sweep", self.flows_per_sweep)
        check_flow_settings(self.target_accept, self.max_num_steps)

    def move(self, ensemble: Ensemble) -> CompositeMove:
        architecture, flow = ensemble.architecture, Flow(ensemble, self.max_num_steps, self.target_accept)
        pace = None if isinstance(self.flows_per_sweep, str) else float(self.flows_per_sweep)
        if isinstance(architecture, SumOfNeurons):
            refresh = RefreshMove(ensemble, architecture, fixed_size(self.block_size))
            weights = whitening(architecture.prior()["amplitudes"])
            weights_flow = None if weights is None else WeightsFlow(flow, architecture, weights)
            return CompositeMove(ensemble, refresh, weights_flow, pace)
        maps = whitenings(ensemble)
        if maps is None:
            raise _checks.InputError(
                f"sampler.name is 'composite', and {type(architecture).__name__} is neither a sum of independent"
                " neurons nor normal in all its parameters; use 'nuts' or 'hmc'."
            )
        return CompositeMove(ensemble, None, GaussianFlowMove(flow, maps), None)
