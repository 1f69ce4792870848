"""Euclidean-invariant networks of plane waves, lectures eqs. (65)-(74):

    phi(x) = sum_i a_i F(w_i) cos(w_i . x + b_i),    b uniform on the circle, w isotropic, a ~ N(0, mu2/N).

Exact at every width N, with g(x) = <F^2 cos w.x>, K(x) = <F^4 cos w.x> over momenta and mu4 = 3 mu2^2 (PHYSICS.md 4):

    G(x, y) = (mu2/2) g(x - y)
    Gc4     = (1/N) [ (mu4/8) sum_3 K(x1+x2-x3-x4) - (mu2^2/4) sum_3 g(x12) g(x34) ].
"""

import functools
import math
from abc import abstractmethod

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, ArrayLike, Float

from nnft_mcmc import _checks
from nnft_mcmc.architectures._base import ExactCorrelators, IidNeurons, Theta, points
from nnft_mcmc.architectures.priors import IsotropicMomentum, UniformPhase
from nnft_mcmc.architectures.radial import RadialLaw
from nnft_mcmc.exact.propagators import ball_transform, matern


class PlaneWaveNet(IidNeurons, ExactCorrelators):
    """Parameters: momenta (width, dim), phases (width,), amplitudes (width,)."""

    @property
    @abstractmethod
    def amplitude_variance(self) -> float:
        """mu2 = width * Var(a_i)."""

    @abstractmethod
    def momentum_prior(self) -> dist.Distribution:
        """Density of one momentum, isotropic in R^dim."""

    @abstractmethod
    def form_factor(self, momentum: Float[Array, " dim"]) -> Float[Array, ""]:
        """F(w)."""

    @abstractmethod
    def squared_wave(self, r: np.ndarray) -> np.ndarray:
        """g(r) = <F^2 cos w.x> at |x| = r."""

    @abstractmethod
    def quartic_wave(self, r: np.ndarray) -> np.ndarray:
        """K(r) = <F^4 cos w.x> at |x| = r."""

    def neuron_prior(self) -> dict[str, dist.Distribution]:
        return {
            "momenta": self.momentum_prior(),
            "phases": UniformPhase(),
            "amplitudes": dist.Normal(0.0, math.sqrt(self.amplitude_variance / self.width)),
        }

    def feature(self, theta_i: Theta, x: Float[Array, " dim"]) -> Float[Array, ""]:
        w, b = theta_i["momenta"], theta_i["phases"]
        return self.form_factor(w) * jnp.cos(jnp.dot(w, x) + b)

    def two_point(self, x: ArrayLike, y: ArrayLike) -> np.ndarray:
        x, y = points(self.dim, x, y)
        return self.amplitude_variance / 2 * self.squared_wave(_norm(x - y))

    def four_point_connected(self, x1: ArrayLike, x2: ArrayLike, x3: ArrayLike, x4: ArrayLike) -> np.ndarray:
        x1, x2, x3, x4 = points(self.dim, x1, x2, x3, x4)
        mu2 = self.amplitude_variance
        mu4 = 3.0 * mu2**2
        waves = sum(self.quartic_wave(_norm(y)) for y in (x1 + x2 - x3 - x4, x1 + x3 - x2 - x4, x1 + x4 - x2 - x3))
        g = self.squared_wave
        pairings = (
            g(_norm(x1 - x2)) * g(_norm(x3 - x4))
            + g(_norm(x1 - x3)) * g(_norm(x2 - x4))
            + g(_norm(x1 - x4)) * g(_norm(x2 - x3))
        )
        return (mu4 / 8 * waves - mu2**2 / 4 * pairings) / self.width


class CosNet(PlaneWaveNet):
    """Cos-net, lectures eqs. (68)-(71): F = 1, w ~ N(0, weight_std^2/dim), a ~ N(0, amplitude_std^2/width).

    G(x, y) = (amplitude_std^2/2) exp(-weight_std^2 |x - y|^2 / 2 dim).
    """

    dim: int = eqx.field(static=True)
    width: int = eqx.field(static=True)
    weight_std: float = eqx.field(static=True, default=1.0)
    amplitude_std: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        _checks.integer("cos_net.dim", self.dim, minimum=1)
        _checks.integer("cos_net.width", self.width, minimum=1)
        _checks.positive("cos_net.weight_std", self.weight_std)
        _checks.positive("cos_net.amplitude_std", self.amplitude_std)

    @property
    def amplitude_variance(self) -> float:
        return self.amplitude_std**2

    def momentum_prior(self) -> dist.Distribution:
        return dist.Normal(0.0, self.weight_std / math.sqrt(self.dim)).expand((self.dim,)).to_event(1)

    def form_factor(self, momentum: Float[Array, " dim"]) -> Float[Array, ""]:
        return jnp.ones((), dtype=momentum.dtype)

    def squared_wave(self, r: np.ndarray) -> np.ndarray:
        return np.exp(-(self.weight_std**2) * r**2 / (2 * self.dim))

    def quartic_wave(self, r: np.ndarray) -> np.ndarray:
        return self.squared_wave(r)

    def has_gaussian_tails(self) -> bool:
        return True


class ScalarNet(PlaneWaveNet):
    """The free scalar field of mass m with momenta below `cutoff`: G(p) = 1/(p^2 + m^2) at every width, eq. (74).

    Momenta have density proportional to (w^2 + m^2)^-(1 + alpha) on |w| < cutoff, and F to (w^2 + m^2)^(alpha/2);
    only F^2 P is fixed by the propagator. alpha = -1, momenta uniform in the ball, is the lectures' eqs. (72)-(73);
    there the excess kurtosis of the field grows with the cut-off. alpha = 0 (the default) draws momenta from the
    propagator itself with constant F, and its excess kurtosis is 3/(2 width) whatever the cut-off (PHYSICS.md 3,
    arXiv:2604.27050). The cut-off may be infinite where the momentum density normalises, alpha > dim/2 - 1; dim = 1,
    alpha = 0 is then the Cauchy-cos-net, with G = exp(-m r)/2m.
    """

    dim: int = eqx.field(static=True)
    width: int = eqx.field(static=True)
    mass: float = eqx.field(static=True)
    cutoff: float = eqx.field(static=True)
    alpha: float = eqx.field(static=True, default=0.0)

    def __check_init__(self) -> None:
        _checks.integer("scalar_net.dim", self.dim, minimum=1, maximum=4)
        _checks.integer("scalar_net.width", self.width, minimum=1)
        _checks.positive("scalar_net.mass", self.mass)
        _checks.real("scalar_net.alpha", self.alpha)
        if self.cutoff != math.inf:
            _checks.positive("scalar_net.cutoff", self.cutoff)
        elif self.alpha <= self.dim / 2 - 1:
            raise _checks.InputError(
                f"scalar_net.cutoff is infinite with alpha = {self.alpha} in dim = {self.dim}, where the momentum"
                f" density does not normalise; give a finite cutoff or an alpha above {self.dim / 2 - 1:g}."
            )
        # Builds the table now: a tail that it cannot represent is refused here.
        _momentum_law(self.dim, self.mass, self.cutoff, self.alpha)

    @property
    def amplitude_variance(self) -> float:
        return 1.0

    @property
    def _momentum_volume(self) -> float:
        """int d^dw/(2 pi)^d (w^2 + m^2)^-(1 + alpha); its inverse normalises the density of momenta."""
        law = _momentum_law(self.dim, self.mass, self.cutoff, self.alpha)
        return law.normalisation / (2 * math.pi) ** self.dim

    def momentum_prior(self) -> dist.Distribution:
        return IsotropicMomentum(_momentum_law(self.dim, self.mass, self.cutoff, self.alpha))

    def form_factor(self, momentum: Float[Array, " dim"]) -> Float[Array, ""]:
        # eq. (72), corrected and made general: (2 pi)^d (mu2/2) F^2 P = 1/(w^2 + m^2) with mu2 = 1.
        if self.alpha == 0:
            return jnp.full((), math.sqrt(2 * self._momentum_volume), dtype=momentum.dtype)
        w2 = jnp.sum(momentum**2)
        return math.sqrt(2 * self._momentum_volume) * (w2 + self.mass**2) ** (self.alpha / 2)

    def squared_wave(self, r: np.ndarray) -> np.ndarray:
        return 2 * self._transform(r, 1.0)

    def quartic_wave(self, r: np.ndarray) -> np.ndarray:
        power = 1.0 - self.alpha
        if self.cutoff == math.inf and power <= self.dim / 2:
            raise _checks.InputError(
                f"the four-point function of a scalar_net with alpha = {self.alpha} and no cutoff in dim = {self.dim}"
                f" does not exist, because <phi^4> diverges; give a finite cutoff or an alpha below"
                f" {1 - self.dim / 2:g}."
            )
        return 4 * self._momentum_volume * self._transform(r, power)

    def _transform(self, r: np.ndarray, power: float) -> np.ndarray:
        """int_{|p| < cutoff} d^dp/(2 pi)^d e^{ip.x} (p^2 + m^2)^-power at |x| = r."""
        if self.cutoff == math.inf:
            return matern(r, self.mass, self.dim, power)
        return ball_transform(r, self.dim, self.cutoff, lambda p: (p**2 + self.mass**2) ** -power)

    def has_gaussian_tails(self) -> bool:
        return self.cutoff != math.inf or self.alpha <= 0


@functools.lru_cache(maxsize=64)
def _momentum_law(dim: int, mass: float, cutoff: float, alpha: float) -> RadialLaw:
    return RadialLaw(dim, lambda k: (k**2 + mass**2) ** -(1 + alpha), scale=mass, cutoff=cutoff)


def _norm(x: np.ndarray) -> np.ndarray:
    return np.linalg.norm(x, axis=-1)
