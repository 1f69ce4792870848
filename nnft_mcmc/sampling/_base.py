"""What a sampler is here: its settings, and a NumPyro kernel built from them for one ensemble.

Every kernel is a NumPyro `MCMCKernel`, so it also runs under `numpyro.infer.MCMC`. Given one key per chain, `init`
makes a batch of chains and `sample` advances the batch by one transition, as NumPyro's own kernels do.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array
from numpyro.distributions import biject_to
from numpyro.infer.mcmc import MCMCKernel

from nnft_mcmc import _checks
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.sampling.starts import HOT_AND_COLD, STARTS


class Position(NamedTuple):
    """Where a chain stands: the parameters, and the field they make on the lattice."""

    theta: dict[str, Array]
    field: Array


@dataclass(frozen=True, kw_only=True)
class Sampler(ABC):
    """Settings shared by all samplers: every `thinning`-th transition after `num_warmup` is kept as a draw.

    Chains start at draws from the prior; of `start` = "hot_and_cold" that is true of the even ones (hot, because the
    free field fluctuates more than the interacting one), and the odd ones start cold, at phi = 0 or near it.
    """

    num_chains: int = 4
    num_warmup: int = 500
    num_samples: int = 1000
    thinning: int = 1
    start: str = "prior"

    def __post_init__(self) -> None:
        _checks.integer("sampler.num_chains", self.num_chains, minimum=1)
        _checks.integer("sampler.num_warmup", self.num_warmup, minimum=0)
        _checks.integer("sampler.num_samples", self.num_samples, minimum=1)
        _checks.integer("sampler.thinning", self.thinning, minimum=1)
        _checks.one_of("sampler.start", self.start, STARTS)
        if self.start == HOT_AND_COLD and self.num_chains < 2:
            raise _checks.InputError(
                f"sampler.start is {HOT_AND_COLD!r} with {self.num_chains} chain; it needs two chains or more, of which"
                " the odd ones start cold."
            )
        self.check_settings()

    def check_settings(self) -> None:  # noqa: B027 - most samplers have nothing more to check
        """Refuse settings of this sampler that cannot be."""

    @abstractmethod
    def kernel(self, ensemble: Ensemble) -> MCMCKernel:
        """The NumPyro kernel whose stationary density is the ensemble's."""

    def initial(self, ensemble: Ensemble, theta: dict[str, Array]) -> dict[str, Array]:
        """Parameters of one chain in the coordinates in which the kernel takes its initial ones."""
        return theta

    @abstractmethod
    def position(self, ensemble: Ensemble, kernel: MCMCKernel) -> Callable[[Any], Position]:
        """Function from the state of one chain to its position."""

    @abstractmethod
    def statistics(self, state: Any) -> dict[str, Array]:
        """What one transition says of itself, by ArviZ's names: acceptance_rate always, then diverging, n_steps, ..."""


def require_smooth_map(distribution: dist.Distribution) -> None:
    """Raise `InputError` where Hamiltonian moves cannot reach a parameter's support, before anything is compiled."""
    biject_to(distribution.support)


class BatchedKernel(MCMCKernel):
    """A kernel written for one chain, `init_chain` and `step`, that also takes a batch of them."""

    @property
    def sample_field(self) -> str:
        return "z"

    @abstractmethod
    def init_chain(self, rng_key: Array, num_warmup: int, init_params: dict[str, Array] | None) -> Any:
        """State of one chain at its start."""

    @abstractmethod
    def step(self, state: Any) -> Any:
        """State of one chain after one transition."""

    def init(
        self,
        rng_key: Array,
        num_warmup: int,
        init_params: dict[str, Array] | None = None,
        model_args: tuple = (),
        model_kwargs: dict | None = None,
    ) -> Any:
        """Start at `init_params`, or at draws from the prior; one key, or a batch of them for a batch of chains."""
        if not _is_batch(rng_key):
            return self.init_chain(rng_key, num_warmup, init_params)
        return jax.vmap(lambda key, params: self.init_chain(key, num_warmup, params))(rng_key, init_params)

    def sample(self, state: Any, model_args: tuple = (), model_kwargs: dict | None = None) -> Any:
        """One transition."""
        return jax.vmap(self.step)(state) if _is_batch(state.rng_key) else self.step(state)


class AnnealableKernel(BatchedKernel):
    """A kernel for the whole family of densities P(theta) exp(-scale S_int), scale in [0, 1].

    The state is a named tuple of `z`, parameters and `field`, of `tuning` and of `rng_key`. Nothing in it is computed
    from the scale or, but for the field, from z, so that chains at different scales may exchange their z; step sizes
    and the like are tuning, which stays with the chain.
    """

    ensemble: Ensemble

    @abstractmethod
    def step_at(self, state: Any, scale: Array) -> Any:
        """State of one chain after one transition that leaves P(theta) exp(-scale S_int) invariant; scale may vary."""

    def step(self, state: Any) -> Any:
        return self.step_at(state, jnp.ones_like(self.action(state)))

    def at(self, state: Any, z: dict[str, Array]) -> Any:
        """`state` moved to `z`, parameters and field, with its own tuning and key."""
        return state._replace(z=z)

    def action(self, state: Any) -> Array:
        """S_int of one chain's field."""
        return self.ensemble.action(state.z["field"])


class Tuning(Protocol):
    """What a move has adapted, and what it last said of itself: a named tuple of arrays."""

    def statistics(self) -> dict[str, Array]:
        """What the last move says of itself."""
        ...


class Move(ABC):
    """A change of position that leaves P(theta) exp(-scale S_int) invariant, with tuning that it adapts in warm-up."""

    @abstractmethod
    def init(self, num_warmup: int) -> Any:
        """The tuning at the start of a chain; it is frozen after `num_warmup` moves."""

    @abstractmethod
    def move(self, position: Position, tuning: Any, scale: Array, key: Array) -> tuple[Position, Any]:
        """The next position, and the tuning."""


class MoveState(NamedTuple):
    """`z` is the position, parameters and `field`."""

    z: dict[str, Array]
    tuning: Any
    rng_key: Array


class MoveKernel(AnnealableKernel):
    """One transition is one move."""

    def __init__(self, ensemble: Ensemble, move: Move) -> None:
        self.ensemble, self.move = ensemble, move

    def init_chain(self, rng_key: Array, num_warmup: int, init_params: dict[str, Array] | None) -> MoveState:
        rng_key, key = jax.random.split(rng_key)
        theta = self.ensemble.architecture.sample_parameters(key) if init_params is None else init_params
        return MoveState({**theta, "field": self.ensemble.field(theta)}, self.move.init(num_warmup), rng_key)

    def step_at(self, state: MoveState, scale: Array) -> MoveState:
        rng_key, key = jax.random.split(state.rng_key)
        position, tuning = self.move.move(position_of_z(state), state.tuning, scale, key)
        return MoveState({**position.theta, "field": position.field}, tuning, rng_key)


@dataclass(frozen=True, kw_only=True)
class MoveSampler(Sampler):
    """A sampler whose transition is a move."""

    @abstractmethod
    def move(self, ensemble: Ensemble) -> Move:
        """The move on this ensemble."""

    def kernel(self, ensemble: Ensemble) -> MoveKernel:
        return MoveKernel(ensemble, self.move(ensemble))

    def position(self, ensemble: Ensemble, kernel: MCMCKernel) -> Callable[[MoveState], Position]:
        return position_of_z

    def statistics(self, state: MoveState) -> dict[str, Array]:
        return state.tuning.statistics()


def position_of_z(state: Any) -> Position:
    """The position of a kernel that keeps parameters and field together in `z`."""
    theta = {name: value for name, value in state.z.items() if name != "field"}
    return Position(theta, state.z["field"])


def _is_batch(rng_key: Array) -> bool:
    """Whether there is one key per chain, be they typed keys or pairs of integers."""
    typed = jax.dtypes.issubdtype(rng_key.dtype, jax.dtypes.prng_key)
    return rng_key.ndim > (0 if typed else 1)
