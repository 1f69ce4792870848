r"""Hamiltonian Monte Carlo with the exact flow of the Gaussian prior: Fourier-accelerated HMC.

Where all parameters are normal, whitened coordinates z ~ N(0, 1) have the density exp(-z^2/2 - S_int[phi(z)]), and with
momenta p ~ N(0, 1)

    H = (z^2 + p^2)/2 + S_int[phi(z)],

whose free part turns every pair (z, p) by the same angle, z' = z cos h + p sin h, p' = p cos h - z sin h. A step of
Strang splitting is a kick p -> p - (h/2) dS_int/dz, that exact rotation, and a second kick: no mode is stiff, and the
free theory is always accepted, with nothing left of z at a trajectory length of pi/2. The energy error dH of a
trajectory obeys <exp(-dH)> = 1; it is kept as `energy_error`, of the proposal, accepted or not, and H as `energy`.

Tuned in warm-up, with no random numbers and no clock: the step size by dual averaging towards `target_accept`; the
mean trajectory length T by trying each of `LENGTHS` in turn and taking the (nearly) best in effective draws of Q = M^2,
M the mean of the field, per gradient of the action. With D = <accept (Q' - Q)^2> and d = D/2 Var Q, a chain whose
correlation falls by the factor 1 - d from draw to draw has d/(2 - d) effective draws for each of them, and n steps
cost about n + 2 gradients. The lengths of single trajectories are spread evenly over T/2 .. 3T/2 by the sequence k g
modulo 1 with the golden ratio g, the same in all chains, lest a mode be caught at a multiple of its period.
References: Duane and Pendleton, Phys. Lett. B 206 (1988) 101 (acceleration); Hoffman and Gelman, JMLR 15 (2014) 1593
(dual averaging); Pasarica and Gelman, Statistica Sinica 20 (2010) 343 (tuning by squared jumps).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.flatten_util import ravel_pytree
from jaxtyping import Array
from numpyro.infer.hmc_util import dual_averaging

from nnft_mcmc import _checks
from nnft_mcmc.architectures.on_lattice import FreeField, hartley
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.sampling._base import Move, MoveSampler, Position

GOLDEN = (math.sqrt(5) - 1) / 2
DIVERGENT = 1000.0  # energy error of a trajectory that is called diverging, as in NumPyro
# Mean trajectory lengths to choose from. The least turns modes that the interaction hardly moves by a sizeable angle.
LENGTHS = (1.0, math.pi / 2, 2.5, 4.0, 6.3, 10.0)
DEFAULT = 1  # the choice where the warm-up is too short to make one
NEARLY_BEST = 0.75  # the shortest length with this share of the best efficiency is taken, because estimates are noisy
FIRST_STEP = 0.3

_start_averaging, _average = dual_averaging()


class Whitening(NamedTuple):
    """Maps of one parameter to standard normal coordinates and back."""

    to_white: Callable[[Array], Array]
    from_white: Callable[[Array], Array]


def whitening(distribution: dist.Distribution) -> Whitening | None:
    """The whitening of a Gaussian distribution, None of any other."""
    entry = core(distribution)
    if isinstance(entry, dist.Normal):
        mean, std = distribution.mean, jnp.sqrt(distribution.variance)
        return Whitening(lambda theta: (theta - mean) / std, lambda z: mean + std * z)
    if isinstance(entry, FreeField):
        root = jnp.sqrt(entry.spectrum)
        return Whitening(lambda phi: hartley(phi) / root, lambda z: hartley(root * z))
    return None


def core(distribution: dist.Distribution) -> dist.Distribution:
    """The distribution of one entry or event, without the wrappers that repeat it."""
    while isinstance(distribution, (dist.Independent, dist.ExpandedDistribution)):
        distribution = distribution.base_dist
    return distribution


class FlowTuning(NamedTuple):
    """Step size and trajectory length with their statistics, and what the last trajectory said of itself.

    `jump` and `cost` are D and n + 2 at each of LENGTHS; `mean` and `square` <Q> and <Q^2>.
    """

    step_size: Array
    trajectory_length: Array
    averaging: Any
    jump: Array
    cost: Array
    mean: Array
    square: Array
    num_done: Array
    warmup_left: Array
    acceptance_rate: Array
    energy_error: Array
    energy: Array
    diverging: Array
    num_not_finite: Array
    n_steps: Array

    def restarted(self) -> "FlowTuning":
        """At the start of a transition, which may have several trajectories: none has diverged and no step is made."""
        zero = jnp.zeros_like(self.n_steps)
        return self._replace(diverging=jnp.zeros_like(self.diverging), num_not_finite=zero, n_steps=zero)

    def statistics(self) -> dict[str, Array]:
        """What the last transition says of itself, of its last trajectory where there are several."""
        return {
            "acceptance_rate": self.acceptance_rate,
            "diverging": self.diverging,
            "energy_error": self.energy_error,
            "energy": self.energy,
            "n_steps": self.n_steps,
            "step_size": self.step_size,
            "trajectory_length": self.trajectory_length,
            "num_not_finite": self.num_not_finite,
        }

    @property
    def variance(self) -> Array:
        """Var Q."""
        return jnp.maximum(self.square - self.mean**2, jnp.finfo(self.mean.dtype).tiny)

    @property
    def effective_share(self) -> Array:
        """d/(2 - d) at each of LENGTHS."""
        d = jnp.clip(self.jump / (2 * self.variance), 0.0, 1.0)
        return d / (2 - d)

    @property
    def chosen(self) -> Array:
        """Number of the present length in LENGTHS."""
        return jnp.argmin(jnp.abs(jnp.asarray(LENGTHS) - self.trajectory_length))


class _Trajectory(NamedTuple):
    z: Array
    p: Array
    field: Array
    action: Array
    force: Array  # -dS/dz


@dataclass(frozen=True)
class Flow:
    """Trajectories with a target acceptance and at most `max_num_steps` steps."""

    ensemble: Ensemble
    max_num_steps: int
    target_accept: float

    def init(self, num_warmup: int) -> FlowTuning:
        """The tuning at the start of a chain."""
        zero, count = jnp.zeros(()), jnp.zeros((), dtype=int)
        averaging = _start_averaging(jnp.log(10 * FIRST_STEP + zero))
        length, each = zero + LENGTHS[DEFAULT], jnp.zeros(len(LENGTHS))
        return FlowTuning(
            step_size=zero + FIRST_STEP,
            trajectory_length=length,
            averaging=averaging,
            jump=each,
            cost=each,
            mean=zero,
            square=zero,
            num_done=count,
            warmup_left=count + num_warmup,
            acceptance_rate=zero + 1,
            energy_error=zero,
            energy=zero,
            diverging=count > 0,
            num_not_finite=count,
            n_steps=count,
        )

    def trajectory(
        self, field_of: Callable[[Array], Array], z: Array, tuning: FlowTuning, scale: Array, key: Array
    ) -> tuple[Array, Array, FlowTuning]:
        """(z, phi(z)) after one accepted or refused trajectory from the whitened coordinates z, and the tuning."""
        key_momentum, key_accept = jax.random.split(key)
        spread = 0.5 + jnp.remainder(tuning.num_done * GOLDEN, 1.0)
        length = jnp.minimum(tuning.trajectory_length * spread, self.max_num_steps * tuning.step_size)
        n_steps = jnp.ceil(length / tuning.step_size - 1e-9).astype(int)
        h = length / n_steps
        start = self._evaluated(field_of, z, jax.random.normal(key_momentum, z.shape, z.dtype), scale)
        end = self.integrate(field_of, start, h, n_steps, scale)
        energy = start.action + 0.5 * jnp.sum(start.z**2 + start.p**2)
        energy_error = end.action - start.action + 0.5 * jnp.sum(end.z**2 + end.p**2 - start.z**2 - start.p**2)
        acceptance = jnp.nan_to_num(jnp.exp(jnp.minimum(0.0, -energy_error)), nan=0.0)
        accept = -jax.random.exponential(key_accept, dtype=z.dtype) < -energy_error  # false for NaN
        tuning = self._tuned(tuning, start.field.mean() ** 2, end.field.mean() ** 2, acceptance, n_steps)
        tuning = tuning._replace(
            acceptance_rate=acceptance,
            energy_error=energy_error,
            energy=jnp.where(accept, energy + energy_error, energy),
            diverging=tuning.diverging | ~(energy_error <= DIVERGENT),
            num_not_finite=tuning.num_not_finite + jnp.isnan(energy_error),
            n_steps=tuning.n_steps + n_steps,
        )
        return jnp.where(accept, end.z, z), jnp.where(accept, end.field, start.field), tuning

    def _evaluated(self, field_of: Callable[[Array], Array], z: Array, p: Array, scale: Array) -> _Trajectory:
        def action(z: Array) -> tuple[Array, Array]:
            field = field_of(z)
            return scale * self.ensemble.action(field), field

        (value, field), gradient = jax.value_and_grad(action, has_aux=True)(z)
        return _Trajectory(z, p, field, value, -gradient)

    def integrate(
        self, field_of: Callable[[Array], Array], start: _Trajectory, h: Array, n_steps: Array, scale: Array
    ) -> _Trajectory:
        """`n_steps` of Strang splitting; neighbouring half kicks are one."""
        cosine, sine = jnp.cos(h), jnp.sin(h)

        def step(_: Array, at: _Trajectory) -> _Trajectory:
            z, p = at.z * cosine + at.p * sine, at.p * cosine - at.z * sine
            at = self._evaluated(field_of, z, p, scale)
            return at._replace(p=at.p + h * at.force)

        end = jax.lax.fori_loop(0, n_steps, step, start._replace(p=start.p + 0.5 * h * start.force))
        return end._replace(p=end.p - 0.5 * h * end.force)

    def _tuned(self, tuning: FlowTuning, old: Array, new: Array, acceptance: Array, n_steps: Array) -> FlowTuning:
        """The tuning after a trajectory that took Q from `old` to the proposal `new`, if the warm-up lasts."""
        number, turns = tuning.num_done % len(LENGTHS), tuning.num_done // len(LENGTHS)
        # Running averages in which the k-th trajectory has the weight k, so that the way from the start is forgotten.
        share = 2 / (tuning.num_done + 2.0)
        here = jnp.where(jnp.arange(len(LENGTHS)) == number, 2 / (turns + 2.0), 0.0)
        squared_jump = jnp.nan_to_num(acceptance * (new - old) ** 2, nan=0.0, posinf=0.0)
        # A step as long as the trajectory is not made longer.
        miss = self.target_accept - acceptance
        averaging = _average(jnp.where((n_steps == 1) & (miss < 0), 0.0, miss), tuning.averaging)
        last = tuning.warmup_left == 1
        moved = tuning._replace(
            step_size=jnp.clip(jnp.exp(jnp.where(last, averaging[1], averaging[0])), 1e-10, max(LENGTHS)),
            averaging=averaging,
            jump=tuning.jump + here * (squared_jump - tuning.jump),
            cost=tuning.cost + here * (n_steps + 2 - tuning.cost),
            mean=tuning.mean + share * (old - tuning.mean),
            square=tuning.square + share * (old**2 - tuning.square),
        )
        efficiency = moved.effective_share / jnp.maximum(moved.cost, 1.0)
        shortest_good = jnp.argmax(efficiency >= NEARLY_BEST * efficiency.max())
        best = jnp.where(turns > 2, shortest_good, DEFAULT)
        following = jnp.where(last, best, (tuning.num_done + 1) % len(LENGTHS))
        moved = moved._replace(trajectory_length=jnp.asarray(LENGTHS)[following])
        adapting = tuning.warmup_left > 0
        kept = jax.tree.map(lambda new, old: jnp.where(adapting, new, old).astype(jnp.result_type(old)), moved, tuning)
        return kept._replace(num_done=tuning.num_done + 1, warmup_left=jnp.maximum(tuning.warmup_left - 1, 0))


class GaussianFlowMove(Move):
    """One trajectory in all parameters."""

    def __init__(self, flow: Flow, maps: dict[str, Whitening]) -> None:
        self.flow, self.maps = flow, maps

    def init(self, num_warmup: int) -> FlowTuning:
        return self.flow.init(num_warmup)

    def move(self, position: Position, tuning: FlowTuning, scale: Array, key: Array) -> tuple[Position, FlowTuning]:
        tuning = tuning.restarted()
        z, unravel = ravel_pytree({name: self.maps[name].to_white(value) for name, value in position.theta.items()})

        def theta_of(z: Array) -> dict[str, Array]:
            return {name: self.maps[name].from_white(value) for name, value in unravel(z).items()}

        z, field, tuning = self.flow.trajectory(lambda z: self.flow.ensemble.field(theta_of(z)), z, tuning, scale, key)
        return Position(theta_of(z), field), tuning


def whitenings(ensemble: Ensemble) -> dict[str, Whitening] | None:
    """The whitening of every parameter, None if one of them is not Gaussian."""
    maps = {name: whitening(d) for name, d in ensemble.architecture.prior().items()}
    gaussian = {name: each for name, each in maps.items() if each is not None}
    return gaussian if len(gaussian) == len(maps) else None


@dataclass(frozen=True, kw_only=True)
class GaussianFlow(MoveSampler):
    """HMC with the exact flow of the prior, for architectures all of whose parameters are normal."""

    target_accept: float = 0.8
    max_num_steps: int = 64

    def check_settings(self) -> None:
        check_flow_settings(self.target_accept, self.max_num_steps)

    def move(self, ensemble: Ensemble) -> GaussianFlowMove:
        maps = whitenings(ensemble)
        if maps is None:
            raise _checks.InputError(
                "sampler.name is 'gaussian_flow', which needs normal parameters, and not all of those of"
                f" {type(ensemble.architecture).__name__} are; use 'composite', 'hmc' or 'nuts'."
            )
        return GaussianFlowMove(Flow(ensemble, self.max_num_steps, self.target_accept), maps)


def check_flow_settings(target_accept: float, max_num_steps: int) -> None:
    """Refuse settings of trajectories that cannot be."""
    _checks.fraction("sampler.target_accept", target_accept)
    _checks.integer("sampler.max_num_steps", max_num_steps, minimum=1)
