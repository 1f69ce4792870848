"""Stratified momenta: neuron i draws |w| from the i-th of N cells of equal probability, directions stay uniform.

The average over neurons of any function of one momentum is then exactly its average over the law, so the two-point
function is that of the base at every width; but the neurons differ in law, and the fluctuation of that average, which
makes the field non-Gaussian, is a sum of fluctuations inside narrow cells:

    kappa_n[phi] = N^(-n/2) sum_i kappa_n[psi_i],     <psi_i ... psi_i> as for the base, averages taken over cell i.

Cells are intervals of sigma, sigma^d = -ln Pr(|w'| > |w|) (see `radial`), at Pr = 1 - i/N.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, ArrayLike, Float
from numpy.polynomial.legendre import leggauss
from numpyro.distributions import constraints
from scipy.special import j0, j1

from nnft_mcmc import _checks
from nnft_mcmc.architectures._base import ExactCorrelators, PlaneWaves, Theta, Waves, points
from nnft_mcmc.architectures.euclidean import TwoQuadratureNet, on_host
from nnft_mcmc.architectures.plane_wave import IsotropicNet, differences_of_halves
from nnft_mcmc.architectures.priors import NoSmoothMap
from nnft_mcmc.architectures.radial import RadialLaw
from nnft_mcmc.exact.cumulants import independent_neurons_cumulant

_NODES, _WEIGHTS = leggauss(16)
# A panel of quadrature nodes spans at most this phase k r, so that 16 nodes resolve it to rounding.
_PHASE_PER_PANEL = 8.0


class StratifiedMomenta(dist.Distribution):
    """Independent momenta, the i-th with the law restricted to the i-th of `width` cells of equal probability."""

    arg_constraints: dict = {}  # noqa: RUF012 - as NumPyro spells it
    pytree_aux_fields = ("law", "width")

    def __init__(self, law: RadialLaw, width: int) -> None:
        self.law, self.width = law, width
        super().__init__(batch_shape=(width,), event_shape=(law.dim,))

    @property
    def support(self) -> constraints.Constraint:
        return NoSmoothMap("stratified momenta live on spherical shells", event_dim=1)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        key_radius, key_direction = jax.random.split(key)
        shape = (*sample_shape, self.width)
        u = (jnp.arange(self.width) + jax.random.uniform(key_radius, shape)) / self.width
        k = self.law.quantile(-jnp.log1p(-u))
        direction = jax.random.normal(key_direction, (*shape, self.law.dim))
        return k[..., None] * direction / jnp.linalg.norm(direction, axis=-1, keepdims=True)

    def log_prob(self, value: Array) -> Array:
        k = jnp.linalg.norm(value, axis=-1)
        edges = jnp.asarray(np.append(self.law.quantile(cell_edges(self.width)[:-1]), self.law.cutoff))
        inside = (k >= edges[:-1]) & (k <= edges[1:])
        return jnp.where(inside, self.law.log_density(k) + math.log(self.width), -jnp.inf)


def cell_edges(width: int) -> np.ndarray:
    """rho at the ends of the cells, rho_i = -ln(1 - i/width), the last infinite; shape (width + 1,)."""
    with np.errstate(divide="ignore"):
        return -np.log1p(-np.arange(width + 1) / width)


class StratifiedNet(PlaneWaves, ExactCorrelators):
    """`base` with stratified momenta: the same two-point function, less kurtosis; sampled by refresh and composite.

    Parameters: those of the base, a net with an isotropic law of momenta (scalar_net, matern_net, euclidean_net) or the
    two-quadrature form of one.
    """

    base: IsotropicNet | TwoQuadratureNet

    def __check_init__(self) -> None:
        _ = self._waves

    @property
    def _waves(self) -> IsotropicNet:
        plane_waves = self.base.base if isinstance(self.base, TwoQuadratureNet) else self.base
        if not isinstance(plane_waves, IsotropicNet):
            raise _checks.InputError(
                f"stratified_net.base is {type(self.base).__name__}; it must have a radial law of momenta: a"
                " scalar_net, matern_net or euclidean_net, or two_quadrature_net of one."
            )
        return plane_waves

    @property  # type: ignore[misc] # a derived dim is a property
    def dim(self) -> int:  # type: ignore[override]
        """Dimension of space, that of the base."""
        return self.base.dim

    @property  # type: ignore[misc] # a derived dim is a property
    def width(self) -> int:  # type: ignore[override]
        """Number of neurons, that of the base."""
        return self.base.width

    def prior(self) -> dict[str, dist.Distribution]:
        momenta = StratifiedMomenta(self._waves.momentum_law, self.width)
        return {**self.base.prior(), "momenta": momenta}

    def feature(self, theta_i: Theta, x: Float[Array, " dim"]) -> Array:
        return self.base.feature(theta_i, x)

    def waves(self, theta: Theta) -> Waves:
        return self.base.waves(theta)

    def two_point(self, x: ArrayLike, y: ArrayLike) -> np.ndarray:
        return self.base.two_point(x, y)

    def four_point_connected(self, x1: ArrayLike, x2: ArrayLike, x3: ArrayLike, x4: ArrayLike) -> np.ndarray:
        return self.n_point_connected(x1, x2, x3, x4)

    def n_point_connected(self, *xs: ArrayLike) -> np.ndarray:
        """Connected n-point function at points of shape (..., dim), broadcast; exact at this width, zero for odd n."""
        at = points(self.dim, *xs)
        if len(at) % 2:
            return np.zeros(at[0].shape[:-1])

        def moments(block: tuple[int, ...]) -> np.ndarray:
            n, chosen = len(block), tuple(at[k] for k in block)
            waves = np.sum([self._cell_averages(n, y) for y in differences_of_halves(chosen)], axis=0)
            return self.base.moment_factor(n) * 2.0 ** (1 - n) * waves

        return independent_neurons_cumulant(moments, len(at), even=True)

    def _cell_averages(self, order: int, x: np.ndarray) -> np.ndarray:
        """<F^n cos w.x> over each cell, shape (width, ...); the last is what is missing to the whole law's average."""
        r = np.linalg.norm(x, axis=-1)
        distances, where = np.unique(r, return_inverse=True)
        k, weights, cell = self._nodes(float(distances[-1]))
        values = weights * self._form_factor(k) ** order
        sums = np.zeros((self.width, distances.size))
        for column, distance in enumerate(distances):
            waves = values * spherical_wave(self.dim, k * distance)
            sums[:-1, column] = np.bincount(cell, weights=waves, minlength=self.width - 1)[: self.width - 1]
        along_axis = np.zeros((distances.size, self.dim))
        along_axis[:, 0] = distances
        sums[-1] = self.width * self._waves.wave_moment(order, along_axis) - sums[:-1].sum(axis=0)
        return sums[:, where.reshape(r.shape)]

    def _form_factor(self, k: np.ndarray) -> np.ndarray:
        waves = self._waves
        along_axis = on_host(jax.vmap(lambda q: waves.form_factor(jnp.zeros(waves.dim).at[0].set(q))))
        return along_axis(k)

    def _nodes(self, reach: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Momenta, weights and cell numbers of a quadrature of all cells but the last, fine enough for |x| <= reach."""
        law, d = self._waves.momentum_law, self.dim
        rho = cell_edges(self.width)[:-1]
        edges = rho ** (1 / d)
        panels = np.ceil(np.diff(law.quantile(rho)) * reach / _PHASE_PER_PANEL).astype(int) + 1
        bounds = [np.linspace(a, b, n + 1) for a, b, n in zip(edges[:-1], edges[1:], panels, strict=True)]
        left = np.concatenate([b[:-1] for b in bounds]) if bounds else np.zeros(0)
        half = np.concatenate([np.diff(b) / 2 for b in bounds]) if bounds else np.zeros(0)
        sigma = left[:, None] + half[:, None] * (1 + _NODES)
        # dPr = d sigma^(d-1) exp(-sigma^d) d sigma, and a cell holds 1/width of it
        weights = self.width * half[:, None] * _WEIGHTS * d * sigma ** (d - 1) * np.exp(-(sigma**d))
        cell = np.repeat(np.arange(self.width - 1), panels)
        return law.quantile((sigma**d).ravel()), weights.ravel(), np.repeat(cell, _NODES.size)

    def has_gaussian_tails(self) -> bool:
        return self.base.has_gaussian_tails()


def spherical_wave(dim: int, z: np.ndarray) -> np.ndarray:
    """Average of cos(w.x) over the directions of w at |w||x| = z: cos z, J0(z), sin z/z, 2 J1(z)/z in d = 1 to 4."""
    if dim == 1:
        return np.cos(z)
    if dim == 2:
        return j0(z)
    if dim == 3:
        return np.sinc(z / math.pi)
    return np.where(z == 0, 1.0, 2 * j1(z) / np.where(z == 0, 1.0, z))
