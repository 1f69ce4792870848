"""Architectures that live on one lattice: lattice field theory and the infinite-width limit.

    lattice modes    theta = amplitudes of real plane waves of the dual lattice, standard normal
                     phi(x) = V^-1/2 sum_p sqrt(lambda_p) theta_p cas(p.x),      cas z = cos z + sin z
    site field       theta = phi, the site values, with density exp(-S_free)
    infinite width   theta = whitened coefficients of a kernel on the sites, standard normal, phi = K^(1/2) theta

V is the number of sites, lambda_p = a^-d G(p). The Hartley waves V^-1/2 cas(p.x) are a real orthonormal basis, so that
phi has the covariance a^-d V^-1 sum_p G(p) cos p.(x - y). With the lattice dispersion p_hat = (2/a) sin(p a/2),
G = 1/(p_hat^2 + m^2), modes and site field are two parametrisations of the same theory: lattice field theory with
S_free = a^d sum_x [ sum_mu (phi(x + mu) - phi(x))^2/2a^2 + m^2 phi(x)^2/2 ].
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, ArrayLike, Float
from numpyro.distributions import constraints

from nnft_mcmc import _checks
from nnft_mcmc.architectures._base import (
    ExactCorrelators,
    InfiniteWidthKernel,
    KnownPropagator,
    Theta,
    points,
)
from nnft_mcmc.exact.gaussian_process import GaussianProcess
from nnft_mcmc.lattice import Lattice

DISPERSIONS = ("lattice", "continuum")
# A point this near to a site, in units of the spacing, is that site.
ON_SITE = 1e-6


class OnLattice(ExactCorrelators):
    """A field that exists on the sites of `lattice` only, and is Gaussian before an insertion."""

    lattice: eqx.AbstractVar[Lattice]

    @property  # type: ignore[misc] # a derived dim is a property
    def dim(self) -> int:  # type: ignore[override]
        """Dimension of the lattice."""
        return self.lattice.dim

    @abstractmethod
    def on_sites(self, theta: Theta) -> Float[Array, "*sites"]:
        """phi_theta at all sites, shape lattice.shape."""

    @abstractmethod
    def covariance(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """<phi(i) phi(j)> for site indices (..., dim)."""

    def forward(self, theta: Theta, x: Float[Array, " dim"]) -> Float[Array, ""]:
        """phi_theta at a site; NaN at a point that is none, where there is no field."""
        steps = (x - self.lattice.sites.reshape(-1, self.dim)[0]) / self.lattice.spacing
        index, shape = jnp.round(steps).astype(int), jnp.asarray(self.lattice.shape)
        exists = jnp.all(jnp.abs(steps - index) < ON_SITE)
        if self.lattice.geometry == "box":
            exists &= jnp.all((index >= 0) & (index < shape))
        return jnp.where(exists, self.on_sites(theta)[tuple(index % shape)], jnp.nan)

    def site_indices(self, x: np.ndarray) -> np.ndarray:
        """Index of each site (..., dim); refuses points that are none."""
        steps = (x - self.lattice.sites.reshape(-1, self.dim)[0]) / self.lattice.spacing
        index = np.rint(steps).astype(int)
        outside = self.lattice.geometry == "box" and ((index < 0) | (index >= self.lattice.shape)).any()
        if outside or np.abs(steps - index).max(initial=0.0) > ON_SITE:
            raise _checks.InputError(
                f"a point is not a site of the lattice on which {type(self).__name__} lives; give sites, such as"
                " lattice.sites[0]."
            )
        return index % np.asarray(self.lattice.shape)

    def n_point_connected(self, *xs: ArrayLike) -> np.ndarray:
        sites = [self.site_indices(x) for x in points(self.dim, *xs)]
        if len(sites) == 2:
            return self.covariance(*sites)
        return np.zeros(sites[0].shape[:-1])  # a Gaussian field

    def has_gaussian_tails(self) -> bool:
        return True


class OnTorus(OnLattice, KnownPropagator):
    """A translation invariant Gaussian field on a torus, given by its propagator G(p) on the dual lattice.

    Momenta that differ by 2 pi/a along an axis are the same there: G(p) is periodic.
    """

    def spectrum(self) -> np.ndarray:
        """lambda_p = a^-d G(p) on the dual lattice in the order of numpy's FFT, shape lattice.shape: the variances of
        the modes."""
        return self.propagator(dual_momenta(self.lattice)) / self.lattice.cell_volume

    def time_correlator(self) -> np.ndarray:
        """C(t) of the means over space without insertion, at the times 0, a, .. of the lattice, shape (times,)."""
        space = math.prod(self.lattice.shape[1:])
        return np.fft.ifft(self.spectrum().reshape(-1, space)[:, 0]).real / space

    def covariance(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        by_distance = np.fft.ifftn(self.spectrum()).real
        return by_distance[tuple(np.moveaxis((i - j) % np.asarray(self.lattice.shape), -1, 0))]


class LatticeModes(OnTorus):
    """Modes of a torus with the dispersion of the lattice or of the continuum, and an optional cut-off on |p|.

    Parameters: amplitudes, shape lattice.shape, standard normal; those of modes beyond the cut-off have no effect.
    """

    lattice: Lattice = eqx.field(static=True)
    mass: float = eqx.field(static=True)
    dispersion: str = eqx.field(static=True, default="lattice")
    cutoff: float = eqx.field(static=True, default=math.inf)

    def __check_init__(self) -> None:
        _check_torus("lattice_modes", self.lattice)
        _checks.positive("lattice_modes.mass", self.mass)
        _checks.one_of("lattice_modes.dispersion", self.dispersion, DISPERSIONS)
        if self.cutoff != math.inf:
            _checks.positive("lattice_modes.cutoff", self.cutoff)

    @property
    def is_nearest_neighbour(self) -> bool:
        """Whether the free action couples nearest neighbours only."""
        return self.dispersion == "lattice" and self.cutoff == math.inf

    def propagator(self, p: ArrayLike) -> np.ndarray:
        (p,) = points(self.dim, p)
        zone = 2 * math.pi / self.lattice.spacing
        continuum = np.sum((p - zone * np.rint(p / zone)) ** 2, axis=-1)
        squared = p_hat_squared(p, self.lattice.spacing) if self.dispersion == "lattice" else continuum
        return np.where(continuum <= self.cutoff**2, 1 / (squared + self.mass**2), 0.0)

    def prior(self) -> dict[str, dist.Distribution]:
        return {"amplitudes": dist.Normal(0.0, 1.0).expand(self.lattice.shape)}

    def on_sites(self, theta: Theta) -> Float[Array, "*sites"]:
        return hartley(jnp.sqrt(jnp.asarray(self.spectrum())) * theta["amplitudes"])


class SiteField(OnTorus):
    """The identity architecture: the parameters are the site values, their density exp(-S_free)."""

    lattice: Lattice = eqx.field(static=True)
    mass: float = eqx.field(static=True)

    def __check_init__(self) -> None:
        _check_torus("site_field", self.lattice)
        _checks.positive("site_field.mass", self.mass)

    def propagator(self, p: ArrayLike) -> np.ndarray:
        (p,) = points(self.dim, p)
        return 1 / (p_hat_squared(p, self.lattice.spacing) + self.mass**2)

    def prior(self) -> dict[str, dist.Distribution]:
        return {"phi": FreeField(self.spectrum())}

    def on_sites(self, theta: Theta) -> Float[Array, "*sites"]:
        return theta["phi"]


class InfiniteWidth(OnLattice):
    """The Gaussian process that `base` becomes at infinite width, on the sites of `lattice`: phi = K^(1/2) theta.

    K is the kernel of the limit; for a sum of i.i.d. neurons it is the two-point function at every width. Its
    factorisation keeps the eigenvalues above 1e-12 of the largest, so a kernel that is singular to machine precision
    does no harm. Parameters: coefficients (rank,), standard normal.
    """

    base: ExactCorrelators | InfiniteWidthKernel
    lattice: Lattice = eqx.field(static=True)
    process: GaussianProcess = eqx.field(static=True, init=False)

    def __post_init__(self) -> None:
        if self.base.dim != self.lattice.dim or self.lattice.geometry != "box":
            raise _checks.InputError(
                f"infinite_width has a base of dim = {self.base.dim} on a {self.lattice.geometry} of {self.lattice.dim}"
                " axes; it needs a box with as many axes as the base has dimensions."
            )
        sites = self.lattice.sites.reshape(-1, self.lattice.dim)
        base = self.base
        kernel_of = base.two_point if isinstance(base, ExactCorrelators) else base.infinite_width_kernel
        kernel = kernel_of(sites[:, None], sites[None, :])
        if not np.isfinite(kernel).all():
            raise _checks.InputError("infinite_width needs a finite G(0); give its base a finite cutoff.")
        self.process = GaussianProcess(kernel)

    def prior(self) -> dict[str, dist.Distribution]:
        return {"coefficients": dist.Normal(0.0, 1.0).expand((self.process.rank,))}

    def on_sites(self, theta: Theta) -> Float[Array, "*sites"]:
        return (jnp.asarray(self.process.whitening) @ theta["coefficients"]).reshape(self.lattice.shape)

    def covariance(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        flat = [np.ravel_multi_index(tuple(np.moveaxis(index, -1, 0)), self.lattice.shape) for index in (i, j)]
        return self.process.kernel[flat[0], flat[1]]


class FreeField(dist.Distribution):
    """The Gaussian field on a torus whose modes have the variances `spectrum`, as a density of the site values."""

    arg_constraints: ClassVar[dict] = {}

    def __init__(self, spectrum: np.ndarray) -> None:
        self.spectrum = jnp.asarray(spectrum)
        super().__init__(batch_shape=(), event_shape=spectrum.shape)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(constraints.real, len(self.event_shape))

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        white = jax.random.normal(key, (*sample_shape, *self.event_shape))
        return _over_sites(lambda theta: hartley(jnp.sqrt(self.spectrum) * theta), white, len(self.event_shape))

    def log_prob(self, value: Array) -> Array:
        modes = _over_sites(lambda phi: hartley(phi) / jnp.sqrt(self.spectrum), value, len(self.event_shape))
        axes = tuple(range(-len(self.event_shape), 0))
        return -0.5 * (jnp.sum(modes**2, axis=axes) + jnp.sum(jnp.log(2 * math.pi * self.spectrum)))


def _over_sites(function: Callable, values: Array, num_axes: int) -> Array:
    """`function` of the last `num_axes` axes, over all leading ones."""
    for _ in range(values.ndim - num_axes):
        function = jax.vmap(function)
    return function(values)


def hartley(field: Float[Array, "*sites"]) -> Float[Array, "*sites"]:
    """V^-1/2 sum_x field(x) cas(p.x): real, orthonormal, its own inverse."""
    transform = jnp.fft.fftn(field)
    return (transform.real - transform.imag) / math.sqrt(field.size)


def dual_momenta(lattice: Lattice) -> np.ndarray:
    """Momenta 2 pi k/(n a) of the dual lattice, |k| <= n/2, in the order of numpy's FFT; shape (*shape, dim)."""
    axes = [2 * math.pi * np.fft.fftfreq(n, lattice.spacing) for n in lattice.shape]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def p_hat_squared(p: np.ndarray, spacing: float) -> np.ndarray:
    """p_hat^2 = sum_mu (2/a)^2 sin^2(p_mu a/2) of momenta (..., dim)."""
    return np.sum((2 / spacing * np.sin(p * spacing / 2)) ** 2, axis=-1)


def _check_torus(name: str, lattice: Lattice) -> None:
    if lattice.geometry != "torus":
        raise _checks.InputError(f"{name} is a field on a torus and lattice.geometry is 'box'; set it to 'torus'.")
