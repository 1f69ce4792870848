"""Parameter densities that NumPyro lacks, each with the map by which Hamiltonian Monte Carlo walks on its support.

HMC and NUTS move in R^n. What they need is a smooth map onto the support of a density, without walls (a boundary at
finite distance, where a leapfrog step jumps out), seams (two far ends that are the same point) or singular points
(where the map or the density is not smooth). NumPyro finds that map through the support of a distribution, so the
choice is made here once and holds for every sampler, while P(theta) stays the density of the parameters themselves.

Phases, uniform on the circle: the walker z moves on the real line, the circle unrolled, b = z modulo 2 pi. Every field
is a periodic function of z. A flat density on the line would not do: a walker would diffuse along it without limit,
mass adaptation would take the way for a width, and a NUTS trajectory would never turn back. So z has the density

    P(b) h(z),    h(z) = Phi(z + pi) - Phi(z - pi),    sum_n h(z + 2 pi n) = 1,

Phi the normal distribution function: h is the probability of the turn of the circle on which z lies, given b, so that b
keeps exactly its density P(b), and z, about as broad as one turn, passes from one turn to the next without noticing.
(A logistic or normal-score map to (-pi, pi) has a seam, an angle of a vector in the plane a singular point.)

Momenta, isotropic in R^d: the walker z has a standard normal density in R^d, and |w| is the quantile of |z|'s
probability: w = z/|z| k(|z|), Pr(|w'| > k) = Pr(chi_d > |z|). It is smooth at the origin too, since k is proportional
to |z| there. A ball has no wall, a Cauchy tail no stiffness in its own density.
"""

import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import gammainc, gammaincc, log_ndtr
from jaxtyping import Array, Float
from numpyro.distributions import constraints
from numpyro.distributions.transforms import ParameterFreeTransform, Transform, biject_to

from nnft_mcmc import _checks
from nnft_mcmc.architectures.radial import RHO_MAX, RadialLaw


class _Circle(constraints.ParameterFreeConstraint):
    """Angles modulo 2 pi."""

    def __call__(self, x: Array) -> Array:
        return jnp.isfinite(x)

    def feasible_like(self, prototype: Array) -> Array:
        return jnp.zeros_like(prototype)


circle = _Circle()


class _Unroll(ParameterFreeTransform):
    """z on the real line to the circle; its 'Jacobian' is the share h(z) of b's density that z has."""

    domain = constraints.real
    codomain = circle

    def __call__(self, x: Array) -> Array:
        return jnp.remainder(x + math.pi, 2 * math.pi) - math.pi

    def _inverse(self, y: Array) -> Array:
        return y  # the turn around zero

    def log_abs_det_jacobian(self, x: Array, y: Array, intermediates: None = None) -> Array:
        r = jnp.abs(x)  # h is even; in logarithms, so that it does not underflow far out
        near, far = log_ndtr(math.pi - r), log_ndtr(-math.pi - r)
        return near + jnp.log1p(-jnp.exp(far - near))


@biject_to.register(_Circle)
def _unroll(constraint: _Circle) -> Transform:
    return _Unroll()


class NoSmoothMap(constraints.Constraint):
    """A support that no smooth map from R^n covers: parameters on it can be redrawn, but not moved by HMC or NUTS."""

    def __init__(self, what: str, event_dim: int) -> None:
        self.what, self.event_dim = what, event_dim

    def __call__(self, x: Array) -> Array:
        return jnp.isfinite(x).all(axis=tuple(range(-self.event_dim, 0)))

    def feasible_like(self, prototype: Array) -> Array:
        return jnp.zeros_like(prototype)

    def tree_flatten(self) -> tuple:
        return (), ((), {"what": self.what, "event_dim": self.event_dim})


@biject_to.register(NoSmoothMap)
def _refuse(constraint: NoSmoothMap) -> Transform:
    raise _checks.InputError(
        f"{constraint.what}, which no smooth map from R^n covers, so that Hamiltonian trajectories cannot move them;"
        " use the refresh sampler."
    )


class UniformPhase(dist.Distribution):
    """Uniform on the circle, lectures eq. (66)."""

    arg_constraints: ClassVar[dict] = {}
    support = circle

    def __init__(self) -> None:
        super().__init__(batch_shape=(), event_shape=())

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        return jax.random.uniform(key, sample_shape, minval=-math.pi, maxval=math.pi)

    def log_prob(self, value: Array) -> Array:
        return jnp.full(jnp.shape(value), -math.log(2 * math.pi))


class _Momenta(constraints.Constraint):
    """Where an isotropic momentum density lives: R^d or a ball."""

    event_dim = 1

    def __init__(self, law: RadialLaw) -> None:
        self.law = law

    def __call__(self, x: Array) -> Array:
        return _inside(self.law, jnp.linalg.norm(x, axis=-1))

    def feasible_like(self, prototype: Array) -> Array:
        return jnp.zeros_like(prototype)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Momenta) and self.law is other.law

    def __hash__(self) -> int:
        return hash(id(self.law))

    def tree_flatten(self) -> tuple:
        return (), ((), {"law": self.law})


class _NormalScore(Transform):
    """z in R^d to w = z k(|z|)/|z| with Pr(|w'| > k) = Pr(chi_d > |z|)."""

    domain = constraints.real_vector

    def __init__(self, law: RadialLaw) -> None:
        self.law = law

    @property
    def codomain(self) -> constraints.Constraint:
        return _Momenta(self.law)

    def _radial(self, r: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
        a, s = self.law.dim / 2, r * r / 2
        below, above = gammainc(a, s), gammaincc(a, s)
        rho = jnp.where(below < 0.5, -jnp.log1p(-jnp.minimum(below, 0.75)), -jnp.log(jnp.minimum(above, 0.75)))
        return self.law.quantile(jnp.minimum(rho, RHO_MAX))

    def __call__(self, x: Float[Array, "*batch dim"]) -> Float[Array, "*batch dim"]:
        # k(r)/r is a smooth function of r^2, and no derivative on the way to it overflows at r = 1e-8.
        r = jnp.sqrt(jnp.sum(x * x, axis=-1, keepdims=True) + 1e-16)
        return x * (self._radial(r) / r)

    def _inverse(self, y: Float[Array, "*batch dim"]) -> Float[Array, "*batch dim"]:
        k = jnp.sqrt(jnp.sum(y * y, axis=-1, keepdims=True) + jnp.finfo(y.dtype).tiny)

        def halve(_: int, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = bracket
            middle = (low + high) / 2
            too_small = self._radial(middle) < k
            return jnp.where(too_small, middle, low), jnp.where(too_small, high, middle)

        low, high = jax.lax.fori_loop(0, 60, halve, (jnp.zeros_like(k), jnp.full_like(k, 10.0)))
        return y * ((low + high) / 2 / k)

    def log_abs_det_jacobian(self, x: Array, y: Array, intermediates: None = None) -> Array:
        # The densities are equal by construction: N(z) = p(w) |dw/dz|.
        normal = -0.5 * jnp.sum(x * x, axis=-1) - 0.5 * self.law.dim * math.log(2 * math.pi)
        return normal - self.law.log_density(_length(y))

    def tree_flatten(self) -> tuple:
        return (), ((), {"law": self.law})


@biject_to.register(_Momenta)
def _normal_score(constraint: _Momenta) -> Transform:
    return _NormalScore(constraint.law)


class IsotropicMomentum(dist.Distribution):
    """A momentum w in R^d with an isotropic density; see `radial.RadialLaw`."""

    arg_constraints: ClassVar[dict] = {}
    pytree_aux_fields = ("law",)

    def __init__(self, law: RadialLaw) -> None:
        self.law = law
        super().__init__(batch_shape=(), event_shape=(law.dim,))

    @property
    def support(self) -> constraints.Constraint:
        return _Momenta(self.law)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        key_radius, key_direction = jax.random.split(key)
        k = self.law.quantile(jax.random.exponential(key_radius, sample_shape))
        direction = jax.random.normal(key_direction, (*sample_shape, self.law.dim))
        return k[..., None] * direction / jnp.linalg.norm(direction, axis=-1, keepdims=True)

    def log_prob(self, value: Array) -> Array:
        k = _length(value)
        return jnp.where(_inside(self.law, k), self.law.log_density(k), -jnp.inf)


def _length(w: Float[Array, "*batch dim"]) -> Float[Array, "*batch"]:
    """|w|, with the derivative 0 at the origin, where that of a norm is NaN."""
    return jnp.sqrt(jnp.sum(w * w, axis=-1) + jnp.finfo(w.dtype).tiny)


def _inside(law: RadialLaw, k: Array) -> Array:
    """Whether |w| = k is within the cut-off, but for the rounding of a draw next to it."""
    return k <= law.cutoff * (1 + 8 * jnp.finfo(k.dtype).eps)
