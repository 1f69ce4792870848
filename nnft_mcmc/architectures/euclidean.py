"""General plane-wave networks: any form factor, any isotropic density of momenta, one or two quadratures (eqs. 65-67).

Spectrum shaping: phi = sum_i a_i F(w_i) cos(w_i.x + b_i) has the propagator G(p) = (2 pi)^d (mu2/2) F(p)^2 P(p), so
for a given propagator one factor is free. `EuclideanNet.from_propagator` draws momenta from the propagator itself, with
constant F: of all choices it has the least kurtosis, because <F^4>/<F^2>^2 >= 1.
"""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, ArrayLike, Float

from nnft_mcmc import _checks
from nnft_mcmc.architectures._base import Theta, Waves
from nnft_mcmc.architectures.amplitudes import LAWS, AmplitudeLaw
from nnft_mcmc.architectures.plane_wave import IsotropicNet, PlaneWaveNet, UnitWaves, WaveNeurons
from nnft_mcmc.architectures.radial import RadialLaw
from nnft_mcmc.exact.propagators import ball_transform

Spectrum = Callable[[Any], Any]


class EuclideanNet(IsotropicNet):
    """phi = sum_i a_i F(|w_i|) cos(w_i.x + b_i), momenta of density proportional to density(|w|) on |w| < cutoff.

    `density` and `form_factor_of` are functions of |w|, arrays to arrays, written with jax.numpy; they vary on the
    scale `scale`. <a^2> = amplitude_variance/width with the law normal, sign or rayleigh.
    """

    dim: int = eqx.field(static=True)
    width: int = eqx.field(static=True)
    density: Spectrum = eqx.field(static=True)
    form_factor_of: Spectrum = eqx.field(static=True)
    cutoff: float = eqx.field(static=True)
    scale: float = eqx.field(static=True, default=1.0)
    variance: float = eqx.field(static=True, default=1.0)
    amplitude_law: str = eqx.field(static=True, default="normal")
    momentum_law: RadialLaw = eqx.field(static=True, init=False)

    def __post_init__(self) -> None:
        _checks.integer("euclidean_net.dim", self.dim, minimum=1, maximum=4)
        _checks.integer("euclidean_net.width", self.width, minimum=1)
        _checks.positive("euclidean_net.cutoff", self.cutoff)
        _checks.positive("euclidean_net.scale", self.scale)
        _checks.positive("euclidean_net.variance", self.variance)
        _checks.one_of("euclidean_net.amplitude_law", self.amplitude_law, LAWS)
        density = on_host(self.density)
        if not (density(np.linspace(0.0, self.cutoff, 1001)[1:-1]) >= 0).all():
            raise _checks.InputError(
                "euclidean_net.density is negative or not a number below the cutoff; it must be a density of momenta."
            )
        self.momentum_law = RadialLaw(self.dim, _either(self.density), self.scale, self.cutoff)

    @classmethod
    def from_propagator(
        cls,
        dim: int,
        width: int,
        propagator: Spectrum,
        cutoff: float,
        scale: float = 1.0,
        amplitude_law: str = "normal",
    ) -> "EuclideanNet":
        """The net with G(p) = propagator(|p|) for |p| < cutoff: momenta from the propagator, constant F."""
        law = RadialLaw(dim, _either(propagator), scale, cutoff)
        constant = math.sqrt(2 * law.normalisation / (2 * math.pi) ** dim)  # (2 pi)^d (1/2) F^2 P = G, P = G/Z
        return cls(dim, width, propagator, lambda k: constant + 0 * k, cutoff, scale, 1.0, amplitude_law)

    @property
    def amplitude_variance(self) -> float:
        return self.variance

    @property
    def law_of_amplitudes(self) -> AmplitudeLaw:
        return LAWS[self.amplitude_law]

    def form_factor(self, momentum: Float[Array, " dim"]) -> Float[Array, ""]:
        return self.form_factor_of(jnp.sqrt(jnp.sum(momentum**2) + jnp.finfo(momentum.dtype).tiny))

    def wave_moment(self, order: int, x: np.ndarray) -> np.ndarray:
        density, form_factor = on_host(self.density), on_host(self.form_factor_of)
        transform = ball_transform(
            np.linalg.norm(x, axis=-1), self.dim, self.cutoff, lambda p: density(p) * form_factor(p) ** order
        )
        return transform * (2 * math.pi) ** self.dim / self.momentum_law.normalisation

    def has_gaussian_tails(self) -> bool:
        return True  # F is bounded on the ball


def on_host(function: Spectrum) -> Callable[[np.ndarray], np.ndarray]:
    """A function written with jax.numpy, as numpy to numpy in float64 whatever JAX's precision."""

    def evaluate(k: np.ndarray) -> np.ndarray:
        with jax.enable_x64(True):
            return np.broadcast_to(np.asarray(function(jnp.asarray(k)), dtype=np.float64), np.shape(k))

    return evaluate


def _either(function: Spectrum) -> Spectrum:
    host = on_host(function)
    return lambda k: host(k) if isinstance(k, np.ndarray) else function(k)


class TwoQuadratureNet(WaveNeurons):
    """phi = sum_i F(w_i) [u_i cos(w_i.x) + v_i sin(w_i.x)], u and v normal: `base` with two quadratures per neuron.

    Given its momentum a neuron is a Gaussian field, so for constant F the excess kurtosis of phi vanishes. In law it is
    the base with amplitudes of the rayleigh law; here both quadratures are normal parameters. The two-point function is
    that of the base. Parameters: momenta (width, dim), amplitudes (width, 2).
    """

    base: PlaneWaveNet

    @property  # type: ignore[misc] # a derived dim is a property
    def dim(self) -> int:  # type: ignore[override]
        """Dimension of space, that of the base."""
        return self.base.dim

    @property  # type: ignore[misc] # a derived dim is a property
    def width(self) -> int:  # type: ignore[override]
        """Number of neurons, that of the base."""
        return self.base.width

    def neuron_prior(self) -> dict[str, dist.Distribution]:
        quadrature = dist.Normal(0.0, math.sqrt(self.base.amplitude_variance / (2 * self.width)))
        return {"momenta": self.base.momentum_prior(), "amplitudes": quadrature.expand((2,)).to_event(1)}

    def feature(self, theta_i: Theta, x: Float[Array, " dim"]) -> Float[Array, " two"]:
        z = jnp.dot(theta_i["momenta"], x)
        return self.base.form_factor(theta_i["momenta"]) * jnp.stack([jnp.cos(z), jnp.sin(z)])

    def waves(self, theta: Theta) -> Waves:
        quadratures = theta["amplitudes"] * jax.vmap(self.base.form_factor)(theta["momenta"])[:, None]
        return Waves(theta["momenta"], quadratures[:, 0], quadratures[:, 1])

    def wave_moment(self, order: int, x: np.ndarray) -> np.ndarray:
        return self.base.wave_moment(order, x)

    def propagator(self, p: ArrayLike) -> np.ndarray:
        return self.base.propagator(p)

    def moment_factor(self, order: int) -> float:
        return LAWS["rayleigh"].moment(order) * self.base.amplitude_variance ** (order / 2)

    def has_gaussian_tails(self) -> bool:
        return self.base.has_gaussian_tails()


class CubeNet(UnitWaves):
    """Momenta uniform in the cube |w_i| < cutoff, F = 1: translation invariant, but not rotation invariant.

    G(x, y) = (amplitude_std^2/2) prod_i sin(cutoff (x - y)_i)/(cutoff (x - y)_i). It is here as the counterexample that
    a test of rotations must catch.
    """

    dim: int = eqx.field(static=True)
    width: int = eqx.field(static=True)
    cutoff: float = eqx.field(static=True)  # type: ignore[misc] # the fields of the base come first for mypy alone
    amplitude_std: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        _checks.integer("cube_net.dim", self.dim, minimum=1)
        _checks.integer("cube_net.width", self.width, minimum=1)
        _checks.positive("cube_net.cutoff", self.cutoff)
        _checks.positive("cube_net.amplitude_std", self.amplitude_std)

    def momentum_prior(self) -> dist.Distribution:
        return dist.Uniform(-self.cutoff, self.cutoff).expand((self.dim,)).to_event(1)

    def wave_moment(self, order: int, x: np.ndarray) -> np.ndarray:
        return np.prod(np.sinc(self.cutoff * x / math.pi), axis=-1)
