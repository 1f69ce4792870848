"""Gauss-net, lectures eqs. (60)-(64), with k = s0^2/2d:

    phi(x) = sum_i a_i exp(w_i . x + b_i) / exp(sb^2 + s0^2 x^2/d),
    w ~ N(0, s0^2/d),  a ~ N(0, s1^2/2N),  b ~ N(0, sb^2),    s0, sb, s1 = weight_std, bias_std, amplitude_std.

    G(x, y) = (s1^2/2) exp(-k |x - y|^2)
    Gc4 = (s1^4/4N) { 3 e^{4 sb^2} exp(-k [sum_i x_i^2 - 2 sum_{i<j} x_i.x_j]) - sum_3 exp(-k (x12^2 + x34^2)) }

which is eq. (64) with its bracket restored; both follow from the moments of one neuron. Translations are a symmetry of
G only. The field is heavy-tailed: its excess kurtosis is (3 e^{4 sb^2 + 4 s0^2 x^2/d} - 3)/N, so plain Monte Carlo of
its four-point function is useless beyond |x| of about 0.7 sqrt(d)/s0.
"""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, ArrayLike, Float

from nnft_mcmc import _checks
from nnft_mcmc.architectures._base import KnownPropagator, NeuronMoments, Theta, points


class GaussNet(NeuronMoments, KnownPropagator):
    """Parameters: weights (width, dim), biases (width,), amplitudes (width,); see the module's equations."""

    dim: int = eqx.field(static=True)
    width: int = eqx.field(static=True)
    weight_std: float = eqx.field(static=True, default=1.0)
    bias_std: float = eqx.field(static=True, default=1.0)
    amplitude_std: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        _checks.integer("gauss_net.dim", self.dim, minimum=1)
        _checks.integer("gauss_net.width", self.width, minimum=1)
        _checks.positive("gauss_net.weight_std", self.weight_std)
        _checks.positive("gauss_net.bias_std", self.bias_std)
        _checks.positive("gauss_net.amplitude_std", self.amplitude_std)

    @property
    def _k(self) -> float:
        return self.weight_std**2 / (2 * self.dim)

    def neuron_prior(self) -> dict[str, dist.Distribution]:
        return {
            "weights": dist.Normal(0.0, self.weight_std / math.sqrt(self.dim)).expand((self.dim,)).to_event(1),
            "biases": dist.Normal(0.0, self.bias_std),
            "amplitudes": dist.Normal(0.0, self.amplitude_std / math.sqrt(2 * self.width)),
        }

    def feature(self, theta_i: Theta, x: Float[Array, " dim"]) -> Float[Array, ""]:
        # eq. (60); one exponential, so that neither factor overflows alone
        return jnp.exp(
            jnp.dot(theta_i["weights"], x) + theta_i["biases"] - self.bias_std**2 - 2 * self._k * jnp.sum(x**2)
        )

    def neuron_moment(self, *xs: np.ndarray) -> np.ndarray:
        # <psi ... psi> = (n-1)!! (s1^2/2)^(n/2) <exp(w.S + n b)> / prod_i exp(sb^2 + 2k x_i^2), S = sum_i x_i
        n = len(xs)
        exponent = self._k * _square(np.sum(xs, axis=0)) - 2 * self._k * sum(_square(x) for x in xs)
        pairings = math.prod(range(1, n, 2))
        return pairings * (self.amplitude_std**2 / 2) ** (n / 2) * np.exp(exponent + (n**2 / 2 - n) * self.bias_std**2)

    def propagator(self, p: ArrayLike) -> np.ndarray:
        # the transform of (s1^2/2) exp(-k r^2)
        (p,) = points(self.dim, p)
        return self.amplitude_std**2 / 2 * (math.pi / self._k) ** (self.dim / 2) * np.exp(-_square(p) / (4 * self._k))

    def has_gaussian_tails(self) -> bool:
        return False


def _square(x: np.ndarray) -> np.ndarray:
    return np.sum(x**2, axis=-1)
