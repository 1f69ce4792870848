r"""Stratified momenta: neuron i draws its momentum from the i-th of N cells of equal probability, see `cells`.

The average over neurons of any function of one momentum is then exactly its average over the law, so the two-point
function is that of the base at every width; the neurons differ in law, and the fluctuation of the average, which makes
the field non-Gaussian, is a sum of fluctuations inside small cells.

Fixed cells would break rotations. In d >= 2 the whole partition is turned by one uniformly distributed rotation R that
all neurons share, w_i = R q_i with q_i in the i-th cell: every Euclidean symmetry of the base is exact at every N. At
given R neurons are independent. Their two-point functions add up to G for every R, so R adds nothing to the second
cumulant, and by the law of total cumulance nothing but an average to the fourth either:

    Gc4 = N^-2 sum_i E_R kappa_4[psi_i | R]
        = (1/N) [ (mu4/8) sum_3 M_4(x1+x2-x3-x4) - (mu2^2/4) sum_3 (1/N) sum_i E_R c_i(R^T x12) c_i(R^T x34) ],

c_i(x) the average of F^2 cos w.x over cell i, and the rest as in `plane_wave`. (The sixth cumulant is such an average
too; from the eighth on there are covariances of lower ones over R.) In d = 1 there is nothing to turn, and

    kappa_n[phi] = N^(-n/2) sum_i kappa_n[psi_i]     for every n.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, ArrayLike, Float
from numpyro.distributions import constraints

from nnft_mcmc import _checks
from nnft_mcmc.architectures._base import InfiniteWidthKernel, KnownPropagator, PlaneWaves, Theta, Waves, points
from nnft_mcmc.architectures.cell_averages import CellAverages
from nnft_mcmc.architectures.cells import Cells, check_shells, direction, direction_coordinates, momentum_cells
from nnft_mcmc.architectures.euclidean import TwoQuadratureNet, on_host
from nnft_mcmc.architectures.plane_wave import IsotropicNet, differences_of_halves
from nnft_mcmc.architectures.priors import NoSmoothMap
from nnft_mcmc.architectures.radial import RadialLaw
from nnft_mcmc.architectures.rotations import HaarRotation
from nnft_mcmc.exact.cumulants import independent_neurons_cumulant


class StratifiedMomenta(dist.Distribution):
    """Independent momenta, the i-th with the law restricted to the i-th cell of a partition that is not turned."""

    arg_constraints: dict = {}  # noqa: RUF012 - as NumPyro spells it
    pytree_aux_fields = ("law", "cells")

    def __init__(self, law: RadialLaw, cells: Cells) -> None:
        self.law, self.cells = law, cells
        super().__init__(batch_shape=(cells.width,), event_shape=(law.dim,))

    @property
    def support(self) -> constraints.Constraint:
        return NoSmoothMap("stratified momenta live in cells", event_dim=1)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        key_radius, key_direction, key_side = jax.random.split(key, 3)
        cells, shape = self.cells, (*sample_shape, self.cells.width)
        low, high = (jnp.asarray(ends[cells.shell]) for ends in (cells.ends[:-1], cells.ends[1:]))
        k = self.law.quantile(-jnp.log1p(-_between(low, high, jax.random.uniform(key_radius, shape))))
        u = jax.random.uniform(key_direction, (*shape, self.law.dim - 1))
        e = direction(self.law.dim, _between(jnp.asarray(cells.low), jnp.asarray(cells.high), u))
        return (k * jax.random.rademacher(key_side, shape, dtype=k.dtype))[..., None] * e

    def log_prob(self, value: Array) -> Array:
        # A draw may leave its cell by rounding.
        slack = 64 * jnp.finfo(value.dtype).eps
        cells, k = self.cells, jnp.linalg.norm(value, axis=-1)
        ends = jnp.asarray(np.append(self.law.quantile(cells.rho_edges[:-1]), self.law.cutoff))
        c = direction_coordinates(value)
        low, high = (jnp.broadcast_to(end, k.shape) for end in (ends[cells.shell], ends[cells.shell + 1]))
        left, right = (jnp.broadcast_to(jnp.asarray(end), c.shape) for end in (cells.low, cells.high))
        inside = (k >= low * (1 - slack)) & (k <= high * (1 + slack))
        inside &= ((c >= left - slack) & (c <= right + slack)).all(axis=-1)
        return jnp.where(inside, self.law.log_density(k) + math.log(cells.width), -jnp.inf)


def _between(low: Array, high: Array, u: Array) -> Array:
    return jnp.broadcast_to(low, u.shape) + jnp.broadcast_to(high - low, u.shape) * u


class StratifiedNet(PlaneWaves, KnownPropagator, InfiniteWidthKernel):
    """`base` with stratified momenta: the same two-point function, less kurtosis; sampled by refresh and composite.

    `shells` is the number of shells of |w| in which the cells come, see `cells`; by default as many as make the sides
    of the cells equal. As many shells as neurons are cells in the radius alone. In d = 1 and 4 every cell is a shell.

    Parameters: those of the base, a net with an isotropic law of momenta (scalar_net, matern_net, euclidean_net) or the
    two-quadrature form of one; `momenta` are q_i, before the rotation. In d >= 2 also `rotation`, the orthogonal matrix
    R (dim, dim) shared by all neurons.
    """

    base: IsotropicNet | TwoQuadratureNet
    shells: int | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        check_shells(self._waves.momentum_law, self.width, self.shells)

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

    @property
    def cells(self) -> Cells:
        """The partition of momentum space."""
        return momentum_cells(self._waves.momentum_law, self.width, self.shells)

    @property
    def common(self) -> tuple[str, ...]:
        return ("rotation",) if self.dim > 1 else ()

    def prior(self) -> dict[str, dist.Distribution]:
        momenta = StratifiedMomenta(self._waves.momentum_law, self.cells)
        rotation = {name: HaarRotation(self.dim) for name in self.common}
        return {**self.base.prior(), "momenta": momenta, **rotation}

    def turned(self, theta: Theta) -> dict[str, Array]:
        """The parameters of the base: momenta w = R q, of one neuron or of all."""
        own = {name: value for name, value in theta.items() if name not in self.common}
        return own if self.dim == 1 else {**own, "momenta": jnp.dot(theta["momenta"], theta["rotation"].T)}

    def feature(self, theta_i: Theta, x: Float[Array, " dim"]) -> Array:
        return self.base.feature(self.turned(theta_i), x)

    def waves(self, theta: Theta) -> Waves:
        return self.base.waves(self.turned(theta))

    def two_point(self, x: ArrayLike, y: ArrayLike) -> np.ndarray:
        return self.base.two_point(x, y)

    def four_point_connected(self, x1: ArrayLike, x2: ArrayLike, x3: ArrayLike, x4: ArrayLike) -> np.ndarray:
        x1, x2, x3, x4 = points(self.dim, x1, x2, x3, x4)
        whole = np.sum([self.base.wave_moment(4, x) for x in differences_of_halves((x1, x2, x3, x4))], axis=0)
        pairings = ((x1 - x2, x3 - x4), (x1 - x3, x2 - x4), (x1 - x4, x2 - x3))
        products = sum(self._product(x, y) for x, y in pairings)
        mu2, mu4 = self.base.moment_factor(2), self.base.moment_factor(4)
        return (mu4 / 8 * whole - mu2**2 / 4 * products) / self.width

    def n_point_connected(self, *xs: ArrayLike) -> np.ndarray:
        """Connected n-point function at points of shape (..., dim), broadcast; exact at this width, zero for odd n.

        Every n in d = 1, and n up to five in d >= 2: beyond, it takes averages over rotations of three cells and more.
        """
        at = points(self.dim, *xs)
        if len(at) % 2:
            return np.zeros(at[0].shape[:-1])
        if len(at) == 2:
            return self.two_point(*at)
        if len(at) == 4:
            return self.four_point_connected(*at)
        if self.dim > 1:
            raise _checks.InputError(
                f"the {len(at)}-point function of StratifiedNet is not known in dim = {self.dim}, where all neurons"
                " share a rotation: two- and four-point functions are; estimate it with estimate_n_point."
            )

        def moments(block: tuple[int, ...]) -> np.ndarray:
            n, chosen = len(block), tuple(at[k] for k in block)
            waves = np.sum([self._cell_waves(n, y) for y in differences_of_halves(chosen)], axis=0)
            return self.base.moment_factor(n) * 2.0 ** (1 - n) * waves

        return independent_neurons_cumulant(moments, len(at), even=True)

    def cell_two_point(self, distances: ArrayLike) -> np.ndarray:
        """Two-point function of one neuron of each shell times N, averaged over rotations: (shells, m) at (m,)."""
        r = np.asarray(distances, dtype=np.float64)
        along_axis = np.zeros((*r.shape, self.dim))
        along_axis[..., 0] = r
        return self.base.moment_factor(2) / 2 * self._cell_waves(2, along_axis)

    def _averages(self, order: int) -> CellAverages:
        waves = self._waves
        form_factor = on_host(jax.vmap(lambda q: waves.form_factor(jnp.zeros(waves.dim).at[0].set(q))))
        return CellAverages(waves.momentum_law, self.cells, lambda k: form_factor(k) ** order)

    def _whole(self, order: int, distances: np.ndarray) -> np.ndarray:
        """<F^n cos w.x> over the whole law, at |x| = distances."""
        along_axis = np.zeros((distances.size, self.dim))
        along_axis[:, 0] = distances
        return self._waves.wave_moment(order, along_axis)

    def _cell_waves(self, order: int, x: np.ndarray) -> np.ndarray:
        """<F^n cos w.x> over each shell and all directions, shape (shells, ...)."""
        r = np.linalg.norm(x, axis=-1)
        distances, where = np.unique(r, return_inverse=True)
        values = self._averages(order).monopoles(distances, self._whole(order, distances))
        return values[:, where.reshape(r.shape)]

    def _product(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """(1/N) sum_i E_R c_i(R^T x) c_i(R^T y)."""
        first, second = (z.reshape(-1, self.dim) for z in (x, y))
        found = self._averages(2).product(first, second, lambda distances: self._whole(2, distances))
        return found.reshape(x.shape[:-1])

    def propagator(self, p: ArrayLike) -> np.ndarray:
        return self.base.propagator(p)

    def infinite_width_kernel(self, x: ArrayLike, y: ArrayLike) -> np.ndarray:
        return self.two_point(x, y)

    def has_gaussian_tails(self) -> bool:
        return self.base.has_gaussian_tails()
