r"""A sum of functions of one variable each: the lectures' eq. (21) to the letter,

    phi(x) = sum_i a_i sum_j sigma(w_ij x_j + b_i),
    w ~ N(0, sw^2/dim),  b ~ N(0, sb^2),  a ~ N(0, s1^2/N),   sw, sb, s1 = weight_std, bias_std, amplitude_std,

where the sum over the components of x stands outside of sigma. For dim > 1 such networks are dense in the functions
g_1(x_1) + .. + g_d(x_d) and in no larger space: they are not universal, unlike `DenseNet`, where the sum is inside.
`expressivity.floors` says how far a function is from them.

One neuron is a sum over components, and its moments are sums of moments of single sigmoids: with the index j_a of the
component at point a, the preactivations have the covariance S_ab = sb^2 + delta_{j_a j_b} sw^2 x_{a j_a} x_{b j_b}/dim.
"""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float

from nnft_mcmc import _checks
from nnft_mcmc.architectures._base import NeuronMoments, Theta
from nnft_mcmc.architectures.activations import Activation, activation


class AdditiveNet(NeuronMoments):
    """Parameters: weights (width, dim), amplitudes (width,), and biases (width,) if bias_std > 0.

    An n-point function takes dim^n expectations of `DenseNet`'s kind.
    """

    dim: int = eqx.field(static=True)
    width: int = eqx.field(static=True)
    activation: str | Activation = eqx.field(static=True, default="erf")
    weight_std: float = eqx.field(static=True, default=1.0)
    bias_std: float = eqx.field(static=True, default=0.0)
    amplitude_std: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        _checks.integer("additive_net.dim", self.dim, minimum=1)
        _checks.integer("additive_net.width", self.width, minimum=1)
        activation("additive_net.activation", self.activation)
        _checks.positive("additive_net.weight_std", self.weight_std)
        _checks.non_negative("additive_net.bias_std", self.bias_std)
        _checks.positive("additive_net.amplitude_std", self.amplitude_std)

    @property
    def sigma(self) -> Activation:
        return activation("additive_net.activation", self.activation)

    def neuron_prior(self) -> dict[str, dist.Distribution]:
        biases = {"biases": dist.Normal(0.0, self.bias_std)} if self.bias_std > 0.0 else {}
        return {
            "weights": dist.Normal(0.0, self.weight_std / math.sqrt(self.dim)).expand((self.dim,)).to_event(1),
            **biases,
            "amplitudes": dist.Normal(0.0, self.amplitude_std / math.sqrt(self.width)),
        }

    def feature(self, theta_i: Theta, x: Float[Array, " dim"]) -> Float[Array, ""]:
        bias = theta_i["biases"] if self.bias_std > 0.0 else 0.0
        return jnp.sum(self.sigma(theta_i["weights"] * x + bias))  # eq. (21)

    def neuron_moment(self, *xs: np.ndarray) -> np.ndarray:
        x = np.stack(xs, axis=-2)
        n = len(xs)
        scale = math.prod(range(1, n, 2)) * self.amplitude_std**n  # (n - 1)!! s1^n
        return scale * np.sum([self._moment(x, np.array(j)) for j in np.ndindex(*[self.dim] * n)], axis=0)

    def _moment(self, x: np.ndarray, j: np.ndarray) -> np.ndarray:
        """<sigma .. sigma> of component j_a at point a; x (..., n, dim)."""
        component = np.take_along_axis(x, j[:, None].reshape([1] * (x.ndim - 2) + [-1, 1]), axis=-1)[..., 0]
        same = (j[:, None] == j) * self.weight_std**2 / self.dim
        covariance = self.bias_std**2 + same * component[..., :, None] * component[..., None, :]
        if len(j) == 2:
            return self.sigma.expectation(covariance[..., 0, 0], covariance[..., 1, 1], covariance[..., 0, 1])
        return self.sigma.product(covariance)

    def has_gaussian_tails(self) -> bool:
        return self.sigma.sublinear
