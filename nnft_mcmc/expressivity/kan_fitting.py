r"""Fitting a Kolmogorov-Arnold network to values of a function (Liu et al., arXiv:2404.19756, section 2).

    loss = mean_s (phi(x_s) - f(x_s))^2 + strength sum_l ( |Phi_l|_1 + entropy S(Phi_l) )
    |phi_ij|_1 = mean_s |phi_ij(z_j(x_s))|,  |Phi_l|_1 = sum_ij |phi_ij|_1,  S = - sum_ij p_ij ln p_ij,
    p_ij = |phi_ij|_1/|Phi_l|_1,

minimised with all points at once by L-BFGS. The grid of each node follows its values between the rounds: a mixture of
equal intervals and of quantiles, over the range of the values and a margin. A grid with more intervals takes over the
function of the coarser one by least squares; where it contains the old knots that is exact.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, ArrayLike
from numpy.typing import NDArray
from scipy.optimize import minimize

from nnft_mcmc import _checks
from nnft_mcmc.architectures._base import Theta
from nnft_mcmc.architectures.kan import KAN, edges
from nnft_mcmc.architectures.splines import extended, host_basis

FloatArray = NDArray[np.float64]

UNIFORM = 0.5  # share of equal intervals in a new grid
MARGIN = 0.05  # of the range of the values, on either side
MEMORY = 30  # of L-BFGS
POINTS_PER_INTERVAL = 8


@dataclass(frozen=True, eq=False)
class KanFit:
    """A network, its parameters, the points (n, dim) and values (n,) it was fitted to, and the RMSE there."""

    network: KAN
    theta: dict[str, Array]
    x: FloatArray
    y: FloatArray
    rms: float

    def __call__(self, x: ArrayLike) -> FloatArray:
        """Values at points (..., dim)."""
        return np.asarray(self.network(self.theta, jnp.asarray(x)))


@dataclass(frozen=True, eq=False)
class Edges:
    """What the edges of a layer do at the points of a fit: phi_ij(z_j), z (n, from), values (n, to, from)."""

    z: FloatArray
    values: FloatArray

    @property
    def norms(self) -> FloatArray:
        """|phi_ij|_1, (to, from)."""
        return np.abs(self.values).mean(axis=0)


def fit(
    network: KAN,
    x: ArrayLike,
    y: ArrayLike,
    key: Array,
    *,
    grids: Sequence[int] = (3, 3, 5, 10, 20),
    steps: int = 200,
    starts: int = 3,
    strength: float = 0.0,
    entropy: float = 1.0,
) -> KanFit:
    """A fit with the grids one after the other, `steps` steps of L-BFGS each; the best of `starts` draws goes on.

    x (n, dim), y (n,); strength and entropy: see the module's equation.
    """
    for name, value, least in (("steps", steps, 1), ("starts", starts, 1), *(("grids", g, 1) for g in grids)):
        _checks.integer(name, value, least)
    _checks.non_negative("strength", strength)
    _checks.non_negative("entropy", entropy)
    points, values = _samples(network, x, y)
    begun = [
        refit(_start(network, k, grids[0], points, values), steps, strength, entropy)
        for k in jax.random.split(key, starts)
    ]
    found = min(begun, key=lambda f: f.rms)
    for number in grids[1:]:
        found = refit(regrid(found, number), steps, strength, entropy)
    return found


def refit(start: KanFit, steps: int, strength: float = 0.0, entropy: float = 1.0) -> KanFit:
    """`steps` steps of L-BFGS on the grid of `start`."""
    net, data = start.network, (jnp.asarray(start.x), jnp.asarray(start.y))
    knots = [jnp.asarray(k) for k in net.knot_arrays]
    flat, unravel = ravel_pytree(start.theta)

    def loss(parameters: FloatArray) -> tuple[float, FloatArray]:
        value, gradient = _loss(unravel(jnp.asarray(parameters)), knots, net.degree, *data, strength, entropy)
        return float(value), np.asarray(ravel_pytree(gradient)[0])

    options = {"maxiter": steps, "maxcor": MEMORY, "maxfun": 2 * steps, "ftol": 1e-16, "gtol": 1e-12}
    found = minimize(loss, np.asarray(flat), jac=True, method="L-BFGS-B", options=options)
    return _fit(net, unravel(jnp.asarray(found.x)), start.x, start.y)


def regrid(start: KanFit, grid: int) -> KanFit:
    """The same function, as nearly as it can, on `grid` intervals that follow the values of each node at the points."""
    layers = layer_edges(start)
    points = [np.stack([adapted(z, grid) for z in layer.z.T]) for layer in layers]
    return with_knots(start, [np.stack([extended(p, start.network.degree) for p in layer]) for layer in points])


def with_knots(start: KanFit, knots: Sequence[FloatArray]) -> KanFit:
    """The same function, as nearly as it can, on other knots (n_{l-1}, knots) for each layer."""
    old, degree = start.network, start.network.degree
    theta = dict(start.theta)
    for layer, (before, after) in enumerate(zip(old.knot_arrays, knots, strict=True), 1):
        coefficients = np.asarray(theta[f"splines_{layer}"])
        rows = [_transfer(coefficients[:, j].T, before[j], after[j], degree) for j in range(len(after))]
        theta[f"splines_{layer}"] = jnp.asarray(np.stack(rows, axis=1))
    grid = knots[0].shape[1] - 1 - 2 * degree
    return _fit(_like(old, widths=old.widths, grid=grid, knots=tuple(knots)), theta, start.x, start.y)


def adapted(z: FloatArray, grid: int) -> FloatArray:
    """grid + 1 points over the range of the values z (n,) and a margin."""
    reach = max(float(np.ptp(z)), 1e-6)
    ends = z.min() - MARGIN * reach, z.max() + MARGIN * reach
    quantiles = np.quantile(z, np.linspace(0, 1, grid + 1))
    quantiles[0], quantiles[-1] = ends
    return UNIFORM * np.linspace(*ends, grid + 1) + (1 - UNIFORM) * quantiles


def layer_edges(found: KanFit, x: ArrayLike | None = None) -> list[Edges]:
    """Every layer's edges at points (n, dim), by default those of the fit."""
    points = jnp.asarray(found.x if x is None else x)
    knots = [jnp.asarray(k) for k in found.network.knot_arrays]
    values = [np.asarray(v) for v in _edges(found.theta, knots, found.network.degree, points)]
    nodes = [np.asarray(points), *(v.sum(axis=2) for v in values)]
    return [Edges(z, v) for z, v in zip(nodes, values, strict=False)]


def node_scores(found: KanFit) -> list[FloatArray]:
    """For each hidden layer, the smaller of the largest |phi|_1 that enters and that leaves each node."""
    norms = [layer.norms for layer in layer_edges(found)]
    return [np.minimum(a.max(axis=1), b.max(axis=0)) for a, b in itertools.pairwise(norms)]


def prune(found: KanFit, threshold: float = 1e-2) -> KanFit:
    """Without the hidden nodes whose score is below `threshold`; at least one remains in each layer."""
    _checks.non_negative("threshold", threshold)
    kept = [np.flatnonzero(s >= min(threshold, s.max())) for s in node_scores(found)]
    ends = [np.arange(found.network.dim), *kept, np.arange(1)]
    theta, knots = {}, []
    for layer, (j, i, k) in enumerate(zip(ends, ends[1:], found.network.knot_arrays, strict=False), 1):
        theta[f"base_{layer}"] = found.theta[f"base_{layer}"][i][:, j]
        theta[f"splines_{layer}"] = found.theta[f"splines_{layer}"][i][:, j]
        knots.append(k[j])
    smaller = _like(found.network, tuple(len(k) for k in kept), found.network.grid, tuple(knots))
    return _fit(smaller, theta, found.x, found.y)


def _start(network: KAN, key: Array, grid: int, x: FloatArray, y: FloatArray) -> KanFit:
    """A draw of the prior, on grids of the range of the data."""
    drawn = _like(network, network.widths, grid, None)
    return regrid(_fit(drawn, drawn.sample_parameters(key), x, y), grid)


def _like(network: KAN, widths: tuple[int, ...], grid: int, knots: Sequence[FloatArray] | None) -> KAN:
    old = network
    given = None if knots is None else tuple(tuple(tuple(row) for row in layer.tolist()) for layer in knots)
    return KAN(
        old.dim, widths, grid, old.degree, old.lower, old.upper, old.hidden_reach, old.base_std, old.spline_std, given
    )


def _fit(network: KAN, theta: Theta, x: FloatArray, y: FloatArray) -> KanFit:
    knots = [jnp.asarray(k) for k in network.knot_arrays]
    values = np.asarray(_edges(dict(theta), knots, network.degree, jnp.asarray(x))[-1]).sum(axis=(1, 2))
    return KanFit(network, dict(theta), x, y, float(np.sqrt(np.mean((values - y) ** 2))))


def _samples(network: KAN, x: ArrayLike, y: ArrayLike) -> tuple[FloatArray, FloatArray]:
    points, values = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != network.dim or values.shape != points.shape[:1] or len(points) < 2:
        raise _checks.InputError(
            f"x has shape {points.shape} and y {values.shape}; give points (n, {network.dim}) and values (n,), n > 1."
        )
    if not (np.isfinite(points).all() and np.isfinite(values).all()):
        raise _checks.InputError("x and y must be finite; leave out points where the function is not.")
    return points, values


def _transfer(coefficients: FloatArray, before: FloatArray, after: FloatArray, degree: int) -> FloatArray:
    """Coefficients (to, basis) on new knots that are nearest, in the mean over the new grid, to (old basis, to)."""
    points = after[degree:-degree]
    share = (np.arange(POINTS_PER_INTERVAL) + 0.5) / POINTS_PER_INTERVAL
    z = (points[:-1, None] + np.diff(points)[:, None] * share).ravel()
    values = host_basis(z, before, degree) @ coefficients
    return np.asarray(np.linalg.lstsq(host_basis(z, after, degree), values, rcond=None)[0].T, dtype=np.float64)


@eqx.filter_jit
def _edges(theta: Theta, knots: list[Array], degree: int, x: Array) -> list[Array]:
    return jax.vmap(lambda point: edges(theta, knots, degree, point))(x)


@eqx.filter_jit
def _loss(
    theta: dict[str, Array], knots: list[Array], degree: int, x: Array, y: Array, strength: float, entropy: float
) -> tuple[Array, dict[str, Array]]:
    def loss(parameters: dict[str, Array]) -> Array:
        layers = jax.vmap(lambda point: edges(parameters, knots, degree, point))(x)
        error = jnp.mean((jnp.sum(layers[-1], axis=(1, 2)) - y) ** 2)
        if strength == 0.0:
            return error
        norms = [jnp.mean(jnp.abs(values), axis=0) for values in layers]
        return error + strength * sum((_size(n, entropy) for n in norms), start=jnp.zeros(()))

    return jax.value_and_grad(loss)(theta)


def _size(norms: Array, entropy: float) -> Array:
    """|Phi|_1 + entropy S(Phi)."""
    total = jnp.sum(norms)
    p = norms / (total + 1e-12)
    return total - entropy * jnp.sum(p * jnp.log(p + 1e-12))
