"""Moves by exact symmetries of the prior: phi -> -phi, and rigid motions of networks of plane waves.

Where phi -> -phi maps the prior to itself and the action is even, a sign is drawn for the whole field and nothing can
be refused: the two wells of a broken phase mix at once.

A network of plane waves in a box is a field on all of R^d whose law is invariant under translations, b_i -> b_i + w_i.s
or a rotation of both quadratures by w_i.s, and, where the momenta have an isotropic law, under rotations about the
origin, w_i -> R w_i. phi(x) -> phi(R^-1 x + s) is proposed with a random s and R and accepted with
min(1, exp(-dS_int)): the proposal is symmetric and the prior invariant, so no other factor occurs. Their size is
adapted in warm-up towards an acceptance of 0.4.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array

from nnft_mcmc.architectures import Architecture, OnLattice, PlaneWaves, SumOfNeurons
from nnft_mcmc.architectures.amplitudes import Signs
from nnft_mcmc.architectures.priors import IsotropicMomentum, UniformPhase
from nnft_mcmc.architectures.rotations import HaarRotation
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.insertions import LocalPolynomial
from nnft_mcmc.sampling._base import Move, Position
from nnft_mcmc.sampling.gaussian_flow import core

Theta = dict[str, Array]

TARGET_ACCEPTANCE = 0.4
FIRST_SIZE, LEAST_SIZE, LARGEST_SIZE = 0.2, 1e-3, 1.0


def is_even(action: LocalPolynomial) -> bool:
    """Whether S_int[-phi] = S_int[phi]: no odd power of the field occurs."""
    return not action.coefficients[1::2].any()


def sign_flip(architecture: Architecture) -> Callable[[Theta, Array], Theta] | None:
    """Parameters of sign * phi, the sign +1 or -1; None where the prior has no such symmetry that is known."""
    prior = architecture.prior()
    if isinstance(architecture, OnLattice):
        return lambda theta, sign: {name: sign * value for name, value in theta.items()}
    if not isinstance(architecture, SumOfNeurons):
        return None
    if isinstance(core(prior["amplitudes"]), (dist.Normal, Signs)):
        return lambda theta, sign: {**theta, "amplitudes": sign * theta["amplitudes"]}
    if "phases" in prior and isinstance(core(prior["phases"]), UniformPhase):
        return lambda theta, sign: {**theta, "phases": wrapped(theta["phases"] + jnp.where(sign < 0, math.pi, 0.0))}
    return None


def wrapped(angle: Array) -> Array:
    """The same angle in [-pi, pi)."""
    return jnp.remainder(angle + math.pi, 2 * math.pi) - math.pi


def translated(architecture: PlaneWaves, theta: Theta, shift: Array) -> Theta:
    """Parameters of phi(x + shift)."""
    angle = jnp.dot(architecture.waves(theta).momenta, shift)
    if "phases" in theta:
        return {**theta, "phases": wrapped(theta["phases"] + angle)}
    u, v = theta["amplitudes"][:, 0], theta["amplitudes"][:, 1]
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    return {**theta, "amplitudes": jnp.stack([u * cosine + v * sine, v * cosine - u * sine], axis=1)}


def knows_translations(architecture: PlaneWaves) -> bool:
    """Whether `translated` maps the prior to itself."""
    prior = architecture.prior()
    if "phases" in prior:
        return isinstance(core(prior["phases"]), UniformPhase)
    return isinstance(core(prior["amplitudes"]), dist.Normal)


def rotated_parameter(architecture: PlaneWaves) -> str | None:
    """The parameter that a rotation of the field turns: all momenta, or the rotation that they share."""
    prior = architecture.prior()
    if architecture.dim == 1:
        return None
    if isinstance(prior.get("rotation"), HaarRotation):
        return "rotation"
    return "momenta" if isinstance(core(prior["momenta"]), (IsotropicMomentum, dist.Normal)) else None


def rigid_motion(ensemble: Ensemble) -> "RigidMotion | None":
    """Rigid motions, where they map the prior to itself."""
    architecture = ensemble.architecture
    if not isinstance(architecture, PlaneWaves) or not knows_translations(architecture):
        return None
    return RigidMotion(ensemble, architecture)


class MotionTuning(NamedTuple):
    """`log_size` is adapted while `warmup_left` > 0."""

    log_size: Array
    num_done: Array
    warmup_left: Array
    acceptance_rate: Array

    def statistics(self) -> dict[str, Array]:
        """What the last motion says of itself."""
        return {"motion_acceptance_rate": self.acceptance_rate, "motion_size": jnp.exp(self.log_size)}


class RigidMotion(Move):
    """A random translation and rotation of a network of plane waves in a box, of a size relative to the box."""

    def __init__(self, ensemble: Ensemble, architecture: PlaneWaves) -> None:
        self.ensemble, self.architecture = ensemble, architecture
        self._half = max(ensemble.lattice.shape) * ensemble.lattice.spacing / 2
        self._rotated = rotated_parameter(architecture)

    def init(self, num_warmup: int) -> MotionTuning:
        count = jnp.zeros((), dtype=int)
        return MotionTuning(jnp.full((), math.log(FIRST_SIZE)), count, count + num_warmup, jnp.ones(()))

    def move(self, position: Position, tuning: MotionTuning, scale: Array, key: Array) -> tuple[Position, MotionTuning]:
        key_motion, key_accept = jax.random.split(key)
        theta, field = position
        moved = self.moved(theta, jnp.exp(tuning.log_size), key_motion)
        moved_field = self.ensemble.field(moved)
        log_ratio = scale * (self.ensemble.action(field) - self.ensemble.action(moved_field))
        accept = -jax.random.exponential(key_accept, dtype=field.dtype) < log_ratio  # false for NaN
        kept = jax.tree.map(lambda new, old: jnp.where(accept, new, old), Position(moved, moved_field), position)
        return kept, self._tuned(tuning, jnp.nan_to_num(jnp.exp(jnp.minimum(log_ratio, 0.0)), nan=0.0))

    def moves(
        self, position: Position, tuning: MotionTuning, scale: Array, key: Array, count: Array
    ) -> tuple[Position, MotionTuning]:
        """After `count` motions, which may be none."""

        def motion(number: Array, carry: tuple[Position, MotionTuning]) -> tuple[Position, MotionTuning]:
            return self.move(*carry, scale, jax.random.fold_in(key, number))

        return jax.lax.fori_loop(0, count, motion, (position, tuning))

    def moved(self, theta: Theta, size: Array, key: Array) -> Theta:
        """Parameters of the field after a random rigid motion."""
        key_shift, key_rotation = jax.random.split(key)
        dim = self.architecture.dim
        if self._rotated is not None:
            # exp of an antisymmetric matrix as likely as its negative: R is as likely as its inverse
            matrix = jax.random.normal(key_rotation, (dim, dim)) * size
            rotation = jax.scipy.linalg.expm(matrix - matrix.T)
            turned = theta[self._rotated]
            turned = jnp.dot(rotation, turned) if self._rotated == "rotation" else jnp.dot(turned, rotation.T)
            theta = {**theta, self._rotated: turned}
        return translated(self.architecture, theta, size * self._half * jax.random.normal(key_shift, (dim,)))

    def _tuned(self, tuning: MotionTuning, acceptance: Array) -> MotionTuning:
        moved = tuning.log_size + (acceptance - TARGET_ACCEPTANCE) / jnp.sqrt(tuning.num_done + 1.0)
        moved = jnp.clip(moved, math.log(LEAST_SIZE), math.log(LARGEST_SIZE)).astype(tuning.log_size.dtype)
        log_size = jnp.where(tuning.warmup_left > 0, moved, tuning.log_size)
        return MotionTuning(log_size, tuning.num_done + 1, jnp.maximum(tuning.warmup_left - 1, 0), acceptance)
