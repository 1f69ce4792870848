r"""The layers of a deep network above its first features h (N of them), lectures eqs. (101)-(105):

    z^(l)_i = N^{-a_l} sum_j W^(l)_ij h^(l-1)_j + b^(l)_i,    h^(l) = sigma(z^(l)),    l = 2 .. L-1
    phi     = (1 / gamma0 N^d) [ N^{-a_L} sum_j w_j h^(L-1)_j + b^(L) ],
    W^(l), w ~ N(0, sw^2 / N^{b_l}),    b^(l) ~ N(0, sb^2),

and the exponents that keep the theory finite. Constraints (121)-(125): 2a_1 + b_1 = 0 and 2a_l + b_l = 1 (finite
preactivations), 2a_1 + c = 0 and 2a_l + c = 1 (learning in finite time), d = 1/2 (features learn in finite time).

    parametrization   a_1    a_l   b_1   b_l    c     d
    ntk                0     1/2    0     0     0     0     features frozen
    standard           0      0     0     1     1     0     only the first layer violates 2a_1 + c = 0
    mean_field         0     1/2    0     0     0    1/2    eqs. (126)-(127) with a = 1/2
    maximal_update   -1/2     0     1     1     1    1/2    eqs. (126)-(127) with a = 0: learning rate O(1)

All four have finite preactivations and the same distribution of z^(l) at every width; they differ in how they learn,
and in the output scale: with d > 0 the field itself vanishes as N^{-d} at initialisation.
"""

from dataclasses import dataclass

import equinox as eqx
import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array, Float

from nnft_mcmc import _checks
from nnft_mcmc.architectures._base import Theta
from nnft_mcmc.architectures.activations import Activation
from nnft_mcmc.architectures.kernels import Gram, affine_gram, features_gram

_PRESETS = {  # a_1, a_l, b_1, b_l, c, d
    "ntk": (0.0, 0.5, 0.0, 0.0, 0.0, 0.0),
    "standard": (0.0, 0.0, 0.0, 1.0, 1.0, 0.0),
    "mean_field": (0.0, 0.5, 0.0, 0.0, 0.0, 0.5),
    "maximal_update": (-0.5, 0.0, 1.0, 1.0, 1.0, 0.5),
}
PARAMETRIZATIONS = tuple(_PRESETS)


@dataclass(frozen=True)
class Exponents:
    """a[l-1], b[l-1] belong to layer l = 1 .. L; the learning rate is eta_0 gamma0^2 N^{2d - c}, eq. (106)."""

    a: tuple[float, ...]
    b: tuple[float, ...]
    c: float
    d: float


def preset(parametrization: str, depth: int) -> Exponents:
    """The exponents of the table for a network of `depth` layers."""
    first_a, a, first_b, b, c, d = _PRESETS[parametrization]
    return Exponents((first_a, *[a] * (depth - 1)), (first_b, *[b] * (depth - 1)), c, d)


class Layers(eqx.Module):
    """Layers 2 .. L on N = `width` features; see the module's equations."""

    width: int = eqx.field(static=True)
    sigma: Activation = eqx.field(static=True)
    exponents: Exponents = eqx.field(static=True)
    weight_std: float = eqx.field(static=True)
    bias_std: float = eqx.field(static=True)
    gamma0: float = eqx.field(static=True)

    @property
    def depth(self) -> int:
        return len(self.exponents.a)

    def std(self, layer: int) -> float:
        """Standard deviation of the weights of a layer, sw N^{-b_l/2}, eq. (105)."""
        return self.weight_std * self.width ** (-self.exponents.b[layer - 1] / 2)

    def scale(self, layer: int) -> float:
        """N^{-a_l}."""
        return self.width ** -self.exponents.a[layer - 1]

    @property
    def output_scale(self) -> float:
        """1/(gamma0 N^d), eq. (101)."""
        return 1 / (self.gamma0 * self.width**self.exponents.d)

    def prior(self) -> dict[str, dist.Distribution]:
        hidden = range(2, self.depth)
        weights = {f"weights_{n}": normal(self.std(n), self.width, self.width) for n in hidden}
        amplitudes = {"amplitudes": normal(self.std(self.depth), self.width)}
        if self.bias_std == 0.0:
            return {**weights, **amplitudes}
        biases = {f"biases_{n}": normal(self.bias_std, self.width) for n in hidden}
        return {**weights, **biases, **amplitudes, f"biases_{self.depth}": normal(self.bias_std)}

    def bias(self, theta: Theta, layer: int) -> Array | float:
        return theta[f"biases_{layer}"] if self.bias_std > 0.0 else 0.0

    def __call__(self, theta: Theta, h: Float[Array, " width"]) -> Float[Array, ""]:
        """phi from the first features."""
        for n in range(2, self.depth):
            z = self.scale(n) * jnp.dot(theta[f"weights_{n}"], h) + self.bias(theta, n)  # eq. (103)
            h = self.sigma(z)
        output = self.scale(self.depth) * jnp.dot(theta["amplitudes"], h) + self.bias(theta, self.depth)  # eq. (102)
        return self.output_scale * output  # eq. (101)

    def kernel(self, features: Gram) -> Gram:
        """The kernel of phi when N is large, from that of the first features: eqs. (109)-(111), layer by layer."""
        gram = self._preactivations(2, features)
        for n in range(3, self.depth + 1):
            gram = self._preactivations(n, features_gram(self.sigma, gram))
        return Gram(*(self.output_scale**2 * k for k in gram))

    def _preactivations(self, layer: int, features: Gram) -> Gram:
        variance = self.width * (self.scale(layer) * self.std(layer)) ** 2
        return affine_gram(features, variance, self.bias_std)


def build(
    name: str,
    *,
    width: int,
    depth: int,
    sigma: Activation,
    parametrization: str,
    overrides: tuple[tuple[float, ...] | None, tuple[float, ...] | None, float | None, float | None],
    weight_std: float,
    bias_std: float,
    gamma0: float,
) -> Layers:
    """Layers with checked settings; `overrides` replace a, b, c, d of the preset where they are not None."""
    _checks.integer(f"{name}.width", width, minimum=1)
    _checks.integer(f"{name}.depth", depth, minimum=2)
    base = preset(_checks.one_of(f"{name}.parametrization", parametrization, PARAMETRIZATIONS), depth)
    a, b, c, d = overrides
    exponents = Exponents(
        base.a if a is None else _per_layer(f"{name}.a", a, depth),
        base.b if b is None else _per_layer(f"{name}.b", b, depth),
        base.c if c is None else _checks.real(f"{name}.c", c),
        base.d if d is None else _checks.real(f"{name}.d", d),
    )
    _checks.positive(f"{name}.weight_std", weight_std)
    _checks.non_negative(f"{name}.bias_std", bias_std)
    _checks.positive(f"{name}.gamma0", gamma0)
    return Layers(width, sigma, exponents, weight_std, bias_std, gamma0)


def as_tuple(value: object) -> object:
    """Lists, as configuration files have them, as tuples."""
    return tuple(value) if isinstance(value, list) else value


def _per_layer(name: str, values: tuple[float, ...], depth: int) -> tuple[float, ...]:
    if not isinstance(values, tuple) or len(values) != depth:
        raise _checks.InputError(f"{name} is {values!r}; it must be a list of {depth} numbers, one per layer (depth).")
    return tuple(_checks.real(name, value) for value in values)


def normal(std: float, *shape: int) -> dist.Distribution:
    """Independent N(0, std^2), an array of this shape."""
    return dist.Normal(0.0, std).expand(shape)
