"""Networks of plane waves, lectures eqs. (65)-(67):

    phi(x) = sum_i a_i F(w_i) cos(w_i . x + b_i),    b uniform on the circle, <a^2> = mu2/N.

The uniform phase makes every one of them translation invariant, an isotropic density of w and F(|w|) Euclidean
invariant, at every width N. Of one neuron, psi = N^1/2 a F cos(w.x + b), all moments are known from the transforms
M_n(x) = <F^n cos w.x> over momenta: a product of n cosines averaged over the phase leaves the splits of the points into
two halves of equal size,

    <psi(x1) ... psi(xn)> = mu_n 2^(1-n) sum_{splits} M_n(sum of one half - sum of the other),   n even,

so that G(x, y) = (mu2/2) M_2(x - y) and, with one sum over 3 splits and one over 3 pairings,

    Gc4 = (1/N) [ (mu4/8) sum_3 M_4(x1+x2-x3-x4) - (mu2^2/4) sum_3 M_2(x12) M_2(x34) ].
"""

import itertools
import math
from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, ArrayLike, Float

from nnft_mcmc import _checks
from nnft_mcmc.architectures._base import KnownPropagator, NeuronMoments, PlaneWaves, Theta, Waves, points
from nnft_mcmc.architectures.amplitudes import LAWS, AmplitudeLaw
from nnft_mcmc.architectures.priors import IsotropicMomentum, UniformPhase
from nnft_mcmc.architectures.radial import RadialLaw


class WaveNeurons(NeuronMoments, PlaneWaves, KnownPropagator):
    """Neurons made of plane waves with the transforms M_n, up to the factor that the output weights bring."""

    @abstractmethod
    def wave_moment(self, order: int, x: np.ndarray) -> np.ndarray:
        """M_n(x) = <F^n cos w.x> over momenta, x of shape (..., dim)."""

    @abstractmethod
    def moment_factor(self, order: int) -> float:
        """mu_n = <(N^1/2 a)^n> of the output weight, or of the modulus of two quadratures."""

    def neuron_moment(self, *xs: np.ndarray) -> np.ndarray:
        n = len(xs)
        waves = np.sum([self.wave_moment(n, x) for x in differences_of_halves(xs)], axis=0)
        return self.moment_factor(n) * 2.0 ** (1 - n) * waves


class PlaneWaveNet(WaveNeurons):
    """Parameters: momenta (width, dim), phases (width,), amplitudes (width,)."""

    @property
    @abstractmethod
    def amplitude_variance(self) -> float:
        """mu2 = width * <a_i^2>."""

    @property
    @abstractmethod
    def law_of_amplitudes(self) -> AmplitudeLaw:
        """The law of the output weights, up to their variance."""

    @abstractmethod
    def momentum_prior(self) -> dist.Distribution:
        """Density of one momentum in R^dim."""

    @abstractmethod
    def form_factor(self, momentum: Float[Array, " dim"]) -> Float[Array, ""]:
        """F(w)."""

    def neuron_prior(self) -> dict[str, dist.Distribution]:
        return {
            "momenta": self.momentum_prior(),
            "phases": UniformPhase(),
            "amplitudes": self.law_of_amplitudes.distribution(self.amplitude_variance / self.width),
        }

    def feature(self, theta_i: Theta, x: Float[Array, " dim"]) -> Float[Array, ""]:
        w, b = theta_i["momenta"], theta_i["phases"]
        return self.form_factor(w) * jnp.cos(jnp.dot(w, x) + b)

    def waves(self, theta: Theta) -> Waves:
        w, b = theta["momenta"], theta["phases"]
        weight = theta["amplitudes"] * jax.vmap(self.form_factor)(w)
        return Waves(w, weight * jnp.cos(b), -weight * jnp.sin(b))

    def moment_factor(self, order: int) -> float:
        return self.law_of_amplitudes.moment(order) * self.amplitude_variance ** (order / 2)

    def propagator(self, p: ArrayLike) -> np.ndarray:
        # (2 pi)^d (mu2/2) F(p)^2 P(p), "spectrum shaping" after eq. (66); P is even
        (p,) = points(self.dim, p)
        with jax.enable_x64(True):
            density = self.momentum_prior()
            inside, power = np.asarray(density.support(jnp.asarray(p))), np.zeros(p.shape[:-1])
            w = jnp.asarray(p[inside])
            power[inside] = jax.vmap(self.form_factor)(w) ** 2 * jnp.exp(density.log_prob(w))
        return (2 * math.pi) ** self.dim * self.amplitude_variance / 2 * power


class IsotropicNet(PlaneWaveNet):
    """Plane waves whose momenta have a tabulated law of |w|."""

    momentum_law: eqx.AbstractVar[RadialLaw]

    def momentum_prior(self) -> dist.Distribution:
        return IsotropicMomentum(self.momentum_law)


def differences_of_halves(xs: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    """Sum of one half minus sum of the other, for every split of an even number of points into two halves.

    The first point stays in the first half: a split and its mirror image have the same cosine.
    """
    n, total = len(xs), np.sum(xs, axis=0)
    halves = itertools.combinations(range(1, n), n // 2 - 1)
    return [2 * (xs[0] + sum(xs[k] for k in half)) - total for half in halves]


class UnitWaves(PlaneWaveNet):
    """F = 1 and normal output weights of variance amplitude_std^2/width."""

    amplitude_std: eqx.AbstractVar[float]

    @property
    def amplitude_variance(self) -> float:
        return self.amplitude_std**2

    @property
    def law_of_amplitudes(self) -> AmplitudeLaw:
        return LAWS["normal"]

    def form_factor(self, momentum: Float[Array, " dim"]) -> Float[Array, ""]:
        return jnp.ones((), dtype=momentum.dtype)

    def has_gaussian_tails(self) -> bool:
        return True


class CosNet(UnitWaves):
    """Cos-net, lectures eqs. (68)-(71): F = 1, w ~ N(0, weight_std^2/dim), a ~ N(0, amplitude_std^2/width).

    G(x, y) = (amplitude_std^2/2) exp(-weight_std^2 |x - y|^2 / 2 dim), and the excess kurtosis is 3/(2 width).
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

    def momentum_prior(self) -> dist.Distribution:
        return dist.Normal(0.0, self.weight_std / math.sqrt(self.dim)).expand((self.dim,)).to_event(1)

    def wave_moment(self, order: int, x: np.ndarray) -> np.ndarray:
        return np.exp(-(self.weight_std**2) * np.sum(x**2, axis=-1) / (2 * self.dim))
