r"""Deep fully-connected networks, lectures eqs. (100)-(105), and the larger Euclidean nets of eqs. (65)-(67).

`MLP`: first features h = sigma(z^(1)), z^(1) = N^{-a_1} dim^{-1/2} W^(1) x + b^(1). `DeepEuclideanNet`: first features
h_i = F(w_i) cos(w_i.x + b_i), the input layer of a `PlaneWaveNet`; whatever is built on it is Euclidean-invariant at
every width, because translations and rotations are absorbed into phases and momenta. The layers above, the width
exponents and their presets are in `layers.py`.

The kernels are those of the lectures' eqs. (109)-(111): <h h> = <sigma sigma>_{K_1}, or (1/2) g(x - y) with
g(x) = <F^2 cos w.x>, and then layer by layer.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, ArrayLike, Float

from nnft_mcmc import _checks
from nnft_mcmc.architectures._base import InfiniteWidthKernel, Theta, points
from nnft_mcmc.architectures.activations import Activation, activation
from nnft_mcmc.architectures.kernels import Gram, features_gram, input_gram
from nnft_mcmc.architectures.layers import Exponents, Layers, as_tuple, build, normal
from nnft_mcmc.architectures.plane_wave import PlaneWaveNet


class MLP(InfiniteWidthKernel):
    """A network of `depth` layers of weights, L in the lectures: depth - 1 hidden layers of `width` units.

    Parameters: weights_1 (width, dim), weights_l (width, width), amplitudes (width,); with bias_std > 0 also biases_l
    (width,) and the output's, (). `parametrization` picks the exponents of `layers.py`; a and b (lists of `depth`
    numbers), c and d replace them one by one. c only enters the learning rate.
    """

    dim: int = eqx.field(static=True)
    width: int = eqx.field(static=True)
    depth: int = eqx.field(static=True, default=2)
    activation: str | Activation = eqx.field(static=True, default="erf")
    parametrization: str = eqx.field(static=True, default="ntk")
    weight_std: float = eqx.field(static=True, default=1.0)
    bias_std: float = eqx.field(static=True, default=0.0)
    gamma0: float = eqx.field(static=True, default=1.0)
    a: tuple[float, ...] | None = eqx.field(static=True, default=None, converter=as_tuple)
    b: tuple[float, ...] | None = eqx.field(static=True, default=None, converter=as_tuple)
    c: float | None = eqx.field(static=True, default=None)
    d: float | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        _checks.integer("mlp.dim", self.dim, minimum=1)
        self.layers  # noqa: B018  refuses what cannot be

    @property
    def layers(self) -> Layers:
        """The layers above the first."""
        sigma = activation("mlp.activation", self.activation)
        return build(
            "mlp",
            width=self.width,
            depth=self.depth,
            sigma=sigma,
            parametrization=self.parametrization,
            overrides=(self.a, self.b, self.c, self.d),
            weight_std=self.weight_std,
            bias_std=self.bias_std,
            gamma0=self.gamma0,
        )

    @property
    def exponents(self) -> Exponents:
        return self.layers.exponents

    def prior(self) -> dict[str, dist.Distribution]:
        layers = self.layers
        first = {"weights_1": normal(layers.std(1), self.width, self.dim)}
        if self.bias_std > 0.0:
            first["biases_1"] = normal(self.bias_std, self.width)
        return {**first, **layers.prior()}

    def forward(self, theta: Theta, x: Float[Array, " dim"]) -> Float[Array, ""]:
        layers = self.layers
        scale = layers.scale(1) / math.sqrt(self.dim)
        z = scale * jnp.dot(theta["weights_1"], x) + layers.bias(theta, 1)  # eq. (104)
        return layers(theta, layers.sigma(z))

    def infinite_width_kernel(self, x: ArrayLike, y: ArrayLike) -> np.ndarray:
        """K(x, y) of phi at large width, with the factor 1/(gamma0 N^d)^2: for d > 0 it is that of N^d phi which has a
        limit. Where a and b break the constraints (121)-(122), the powers of N that they leave are kept."""
        x, y = points(self.dim, x, y)
        layers = self.layers
        first = input_gram(x, y, layers.scale(1) * layers.std(1), self.bias_std)
        return layers.kernel(features_gram(layers.sigma, first)).xy


class DeepEuclideanNet(InfiniteWidthKernel):
    """A deep network on the input layer of a `PlaneWaveNet`, whose momentum density and form factor it takes over.

    `depth` counts the input layer, hidden layers and the readout: depth = 2 is the plane-wave net itself. The width is
    that of `base`, whose amplitude law is not used. Parameters: momenta (width, dim), phases (width,), and those of
    `layers.py`.
    """

    base: PlaneWaveNet
    depth: int = eqx.field(static=True, default=3)
    activation: str | Activation = eqx.field(static=True, default="erf")
    parametrization: str = eqx.field(static=True, default="ntk")
    weight_std: float = eqx.field(static=True, default=1.0)
    bias_std: float = eqx.field(static=True, default=0.0)
    gamma0: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        if not isinstance(self.base, PlaneWaveNet):
            raise _checks.InputError(
                f"deep_euclidean_net.base is {self.base!r}; it must be a plane-wave net such as CosNet(dim,"
                " width), whose input layer is then used."
            )
        self.layers  # noqa: B018  refuses what cannot be

    @property  # type: ignore[misc]
    def dim(self) -> int:  # type: ignore[override]
        return self.base.dim

    @property
    def width(self) -> int:
        return self.base.width

    @property
    def layers(self) -> Layers:
        sigma = activation("deep_euclidean_net.activation", self.activation)
        return build(
            "deep_euclidean_net",
            width=self.width,
            depth=self.depth,
            sigma=sigma,
            parametrization=self.parametrization,
            overrides=(None, None, None, None),
            weight_std=self.weight_std,
            bias_std=self.bias_std,
            gamma0=self.gamma0,
        )

    def prior(self) -> dict[str, dist.Distribution]:
        neuron = self.base.neuron_prior()
        first = {name: neuron[name].expand((self.width,)) for name in ("momenta", "phases")}
        return {**first, **self.layers.prior()}

    def forward(self, theta: Theta, x: Float[Array, " dim"]) -> Float[Array, ""]:
        first = {name: theta[name] for name in ("momenta", "phases")}
        return self.layers(theta, jax.vmap(self.base.feature, in_axes=(0, None))(first, x))  # eq. (65)

    def infinite_width_kernel(self, x: ArrayLike, y: ArrayLike) -> np.ndarray:
        """K(x, y), a function of |x - y|; see `MLP.infinite_width_kernel` for d > 0."""
        x, y = points(self.dim, x, y)
        at_zero, apart = (self.base.wave_moment(2, r) / 2 for r in (np.zeros(x.shape), x - y))
        return self.layers.kernel(Gram(at_zero, at_zero, apart)).xy
