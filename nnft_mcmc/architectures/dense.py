r"""Dense network of one hidden layer, lectures eqs. (32)-(39):

    phi(x) = sum_i a_i sigma(w_i . x + b_i),
    w ~ N(0, sw^2/dim),  b ~ N(0, sb^2),  a ~ N(0, s1^2/N),   sw, sb, s1 = weight_std, bias_std, amplitude_std.

The preactivations of one neuron at n points are normal with covariance S_ij = sb^2 + sw^2 x_i.x_j/dim, so that all
correlators are known at every width:

    G(x, y) = s1^2 <sigma sigma>_S
    Gc4     = (s1^4/N) [ 3 <sigma sigma sigma sigma>_S - sum_3 <sigma sigma>_S <sigma sigma>_S ].

ReLU without biases in dim = 1 has Gc4 = 15 G^2/N at points on one side: <phi^4> is 5/N above its Gaussian value.
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
from nnft_mcmc.architectures.kernels import input_gram


class DenseNet(NeuronMoments):
    """Parameters: weights (width, dim), amplitudes (width,), and biases (width,) if bias_std > 0.

    `activation` is a name of `activations.REGISTRY` or an `Activation`. The correlators are exact to 1e-12 of the
    product of the standard deviations of phi; `activations.SmoothActivation` tells what a four-point function of tanh
    and the like costs, `gaussian_integrals.planar_ramp_product` where the six-point function of ReLU is known.
    """

    dim: int = eqx.field(static=True)
    width: int = eqx.field(static=True)
    activation: str | Activation = eqx.field(static=True, default="erf")
    weight_std: float = eqx.field(static=True, default=1.0)
    bias_std: float = eqx.field(static=True, default=0.0)
    amplitude_std: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        _checks.integer("dense_net.dim", self.dim, minimum=1)
        _checks.integer("dense_net.width", self.width, minimum=1)
        activation("dense_net.activation", self.activation)
        _checks.positive("dense_net.weight_std", self.weight_std)
        _checks.non_negative("dense_net.bias_std", self.bias_std)
        _checks.positive("dense_net.amplitude_std", self.amplitude_std)

    @property
    def sigma(self) -> Activation:
        return activation("dense_net.activation", self.activation)

    def neuron_prior(self) -> dict[str, dist.Distribution]:
        biases = {"biases": dist.Normal(0.0, self.bias_std)} if self.bias_std > 0.0 else {}
        return {
            "weights": dist.Normal(0.0, self.weight_std / math.sqrt(self.dim)).expand((self.dim,)).to_event(1),
            **biases,
            "amplitudes": dist.Normal(0.0, self.amplitude_std / math.sqrt(self.width)),
        }

    def feature(self, theta_i: Theta, x: Float[Array, " dim"]) -> Float[Array, ""]:
        bias = theta_i["biases"] if self.bias_std > 0.0 else 0.0
        return self.sigma(jnp.dot(theta_i["weights"], x) + bias)

    def neuron_moment(self, *xs: np.ndarray) -> np.ndarray:
        n = len(xs)
        scale = math.prod(range(1, n, 2)) * self.amplitude_std**n  # (n - 1)!! s1^n
        if n == 2:
            return scale * self.sigma.expectation(*input_gram(xs[0], xs[1], self.weight_std, self.bias_std))
        x = np.stack(xs, axis=-2)
        covariance = self.bias_std**2 + self.weight_std**2 / self.dim * (x @ np.swapaxes(x, -1, -2))
        return scale * self.sigma.product(covariance)

    def has_gaussian_tails(self) -> bool:
        return self.sigma.sublinear
