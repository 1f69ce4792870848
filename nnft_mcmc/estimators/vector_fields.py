r"""Vector fields on single parameters, with what they make of the prior: the single-neuron half of a Stein identity.

For a vector field X on the parameters of a density P, whose flux through the edge of the support vanishes,

    < rho O + X.grad O - O X.grad S > = 0,      rho = div X + X.grad ln P,

under P(theta) exp(-S) for every O. Each law has fields of its own:

    normal            X = theta - mean                          rho = n - |theta - mean|^2/s^2
    angles            X = sin b and cos b, on the circle         rho = cos b and -sin b
    momenta           X = (w/|w|) k(|w|), which vanishes at a cut-off, at the edges of a shell and at infinity
    rotations         X = sum_A tr(A^T R) R A over the generators A of rotations, invariant under Haar's measure
    any other         X = u du in the coordinate u of R^n that NumPyro maps onto the support
"""

from collections.abc import Callable
from types import EllipsisType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array
from numpyro.distributions import biject_to

from nnft_mcmc.architectures.priors import IsotropicMomentum, NoSmoothMap, UniformPhase
from nnft_mcmc.architectures.radial import RadialLaw
from nnft_mcmc.architectures.rotations import HaarRotation
from nnft_mcmc.architectures.stratified import StratifiedMomenta
from nnft_mcmc.estimators.tangent_kernel import core, moments

# Numbers of the rows of a parameter array that are looked at, or all of them.
Rows = np.ndarray | EllipsisType


class OwnField(NamedTuple):
    """A named field: parameters (rows, ...) to X of their shape and rho summed over everything but the rows."""

    name: str
    field: Callable[[Array], tuple[Array, Array]]


def own_fields(distribution: dist.Distribution, rows: Rows) -> list[OwnField]:
    """The fields of a parameter array, of which the given rows are looked at; none where the law has no known one."""
    entry = core(distribution)
    if isinstance(entry, dist.Normal):
        mean, variance = (moment[rows] for moment in moments(distribution))
        return [OwnField("scale", lambda theta: _normal(theta, mean, variance))]
    if isinstance(entry, UniformPhase):
        return [
            OwnField("sine", lambda b: (jnp.sin(b), _rows(jnp.cos(b)))),
            OwnField("cosine", lambda b: (jnp.cos(b), _rows(-jnp.sin(b)))),
        ]
    if isinstance(entry, IsotropicMomentum):
        return [OwnField("radius", lambda w: _radial(w, entry.law, 0.0, entry.law.cutoff))]
    if isinstance(entry, StratifiedMomenta):
        return [OwnField("radius", lambda w: _radial(w, entry.law, *_shell_edges(entry, rows)))]
    if isinstance(entry.support, NoSmoothMap) or (entry.batch_shape and rows is not ...):
        return []
    return [OwnField("scale", lambda theta: _unconstrained(theta, distribution, rows))]


def _rows(values: Array) -> Array:
    """Sum over everything but the rows."""
    return jnp.sum(values, axis=tuple(range(1, values.ndim)))


def _normal(theta: Array, mean: np.ndarray, variance: np.ndarray) -> tuple[Array, Array]:
    x = theta - jnp.asarray(mean)
    return x, _rows(1 - x**2 / jnp.asarray(variance))


def _radial(w: Array, law: RadialLaw, low: Array | float, high: Array | float) -> tuple[Array, Array]:
    """X = (w/|w|) k with k = (r - low) (1 - ((r - low)/(high - low))^2)/(1 + (r/scale)^2), and its rho."""
    tiny = jnp.finfo(w.dtype).tiny

    def strength(r: Array) -> Array:
        inside = 1 - ((r - low) / (high - low)) ** 2
        return (r - low) * inside / (1 + (r / law.scale) ** 2)

    r = jnp.sqrt(jnp.sum(w**2, axis=-1) + tiny)
    # d/dr of a function of each row's r alone
    k, slope = jax.jvp(strength, (r,), (jnp.ones_like(r),))
    _, log_slope = jax.jvp(law.log_density, (r,), (jnp.ones_like(r),))
    return w * (k / r)[:, None], slope + (law.dim - 1) * k / r + k * log_slope


def _shell_edges(momenta: StratifiedMomenta, rows: Rows) -> tuple[Array, Array]:
    cells = momenta.cells
    edges = np.append(momenta.law.quantile(cells.rho_edges[:-1]), momenta.law.cutoff)
    return jnp.asarray(edges[cells.shell[rows]]), jnp.asarray(edges[cells.shell[rows] + 1])


def _unconstrained(theta: Array, distribution: dist.Distribution, rows: Rows) -> tuple[Array, Array]:
    """X = (dtheta/du) u and rho = sum_i (1 + u_i d_i ln p(u))."""
    transform = biject_to(distribution.support)
    law = core(distribution)

    def log_density(u: Array) -> Array:
        image = transform(u)
        return jnp.sum(law.log_prob(image)) + jnp.sum(transform.log_abs_det_jacobian(u, image))

    u = transform.inv(theta)
    _, x = jax.jvp(transform, (u,), (u,))
    return x, _rows(1 + u * jax.grad(log_density)(u))


def rotation_field(rotation: Array) -> tuple[Array, Array]:
    """X = sum_A tr(A^T R) R A over the generators A = E_jk - E_kj, j < k, and rho = sum_A tr(A^T R A)."""
    x = jnp.dot(rotation, rotation - rotation.T)
    # sum_A A A^T = (d - 1) 1, with A^T = -A on the left: tr(A^T R A) = R_jj + R_kk
    return x, (len(rotation) - 1) * jnp.trace(rotation)


def is_rotation(distribution: dist.Distribution) -> bool:
    """Whether a parameter is a uniformly distributed rotation."""
    return isinstance(core(distribution), HaarRotation)
