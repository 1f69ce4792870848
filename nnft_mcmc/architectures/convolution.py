r"""Convolutional networks on periodic sequences and images; N = `width` channels.

A point x in R^dim is an image of P = dim pixels x_p, and the filters reach over the K pixels p + o around p:

    z^(1)_ip = K^{-1/2} sum_o W_io x_{p+o} + b_i
    z^(l)_ip = (N K)^{-1/2} sum_{j,o} W_ijo sigma(z^(l-1)_{j,p+o}) + b_i
    phi(x) = sum_i a_i (1/P) sum_p sigma(z_ip)   (readout "pool": invariant under translations of the image)
    phi(x) = sum_ip a_ip sigma(z_ip)             (readout "flatten")
    W ~ N(0, sw^2),  b ~ N(0, sb^2),  a ~ N(0, s1^2/N) or N(0, s1^2/(N P)).

As N grows phi becomes Gaussian. The kernel recurs over pairs of pixels (Novak et al., arXiv:1810.05148; Garriga-Alonso
et al., arXiv:1808.05587), K_1 being made from the pixels themselves, x_p y_q in place of <sigma sigma>:

    K_{l+1}(p, q) = sb^2 + sw^2 (1/K) sum_o <sigma sigma>_{K_l}(p + o, q + o)

and K(x, y) is s1^2 times the average of <sigma sigma>_{K_L} over all pairs (pool) or over p = q (flatten). A sum over o
moves both pixels, so each q - p recurs by itself, and "flatten" needs q = p only.
"""

import itertools
import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, ArrayLike, Float

from nnft_mcmc import _checks
from nnft_mcmc.architectures._base import InfiniteWidthKernel, Theta, points
from nnft_mcmc.architectures.activations import Activation, activation
from nnft_mcmc.architectures.layers import as_tuple, normal

READOUTS = ("pool", "flatten")


class ConvNet(InfiniteWidthKernel):
    """`depth` convolutions with filters of `filter_size` pixels in each direction, then the readout.

    `image`: shape of the image, one or two numbers whose product is dim; a sequence if not given. Parameters: filters_1
    (width, K), filters_l (width, width, K), amplitudes (width,) or (width, dim), biases_l (width,) if bias_std > 0.
    """

    dim: int = eqx.field(static=True)
    width: int = eqx.field(static=True)
    depth: int = eqx.field(static=True, default=1)
    filter_size: int = eqx.field(static=True, default=3)
    activation: str | Activation = eqx.field(static=True, default="relu")
    readout: str = eqx.field(static=True, default="pool")
    weight_std: float = eqx.field(static=True, default=1.0)
    bias_std: float = eqx.field(static=True, default=0.0)
    amplitude_std: float = eqx.field(static=True, default=1.0)
    image: tuple[int, ...] | None = eqx.field(static=True, default=None, converter=as_tuple)

    def __check_init__(self) -> None:
        for name in ("dim", "width", "depth"):
            _checks.integer(f"conv_net.{name}", getattr(self, name), minimum=1)
        sides = self.shape
        if not isinstance(sides, tuple) or not 1 <= len(sides) <= 2 or math.prod(sides) != self.dim:
            raise _checks.InputError(
                f"conv_net.image is {self.image!r}; it must be one or two numbers whose product is dim = {self.dim}."
            )
        _checks.integer("conv_net.filter_size", self.filter_size, minimum=1, maximum=min(sides))
        activation("conv_net.activation", self.activation)
        _checks.one_of("conv_net.readout", self.readout, READOUTS)
        _checks.positive("conv_net.weight_std", self.weight_std)
        _checks.non_negative("conv_net.bias_std", self.bias_std)
        _checks.positive("conv_net.amplitude_std", self.amplitude_std)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the image."""
        return (self.dim,) if self.image is None else self.image

    @property
    def sigma(self) -> Activation:
        return activation("conv_net.activation", self.activation)

    @property
    def _filter_pixels(self) -> int:
        return self.filter_size ** len(self.shape)

    def prior(self) -> dict[str, dist.Distribution]:
        n, k, layers = self.width, self._filter_pixels, range(1, self.depth + 1)
        filters = {f"filters_{m}": normal(self.weight_std, *((n, k) if m == 1 else (n, n, k))) for m in layers}
        biases = {f"biases_{m}": normal(self.bias_std, n) for m in layers} if self.bias_std > 0.0 else {}
        weights = (n,) if self.readout == "pool" else (n, self.dim)
        return {**filters, **biases, "amplitudes": normal(self.amplitude_std / math.sqrt(math.prod(weights)), *weights)}

    def forward(self, theta: Theta, x: Float[Array, " dim"]) -> Float[Array, ""]:
        around = jnp.asarray(self.neighbours())
        h = x[None]
        for m in range(1, self.depth + 1):
            filters = theta[f"filters_{m}"].reshape(self.width, -1, self._filter_pixels)
            z = jnp.einsum("nco,cop->np", filters, h[:, around]) / math.sqrt(h.shape[0] * self._filter_pixels)
            if self.bias_std > 0.0:
                z = z + theta[f"biases_{m}"][:, None]
            h = self.sigma(z)
        return jnp.sum(theta["amplitudes"] * (h.mean(axis=1) if self.readout == "pool" else h))

    def infinite_width_kernel(self, x: ArrayLike, y: ArrayLike) -> np.ndarray:
        x, y = points(self.dim, x, y)
        shifted = self.translations() if self.readout == "pool" else np.arange(self.dim)[None]
        xx, yy, xy = x**2, y**2, x[..., None, :] * y[..., shifted]  # xy[s, p] belongs to the pixels p and p + s
        for _ in range(self.depth):
            a, b, c = (self._average(k) for k in (xx, yy, xy))
            xx, yy = self.sigma.expectation(a, a, a), self.sigma.expectation(b, b, b)
            xy = self.sigma.expectation(np.broadcast_to(a[..., None, :], c.shape), b[..., shifted], c)
        return self.amplitude_std**2 * xy.mean(axis=(-2, -1))

    def _average(self, k: np.ndarray) -> np.ndarray:
        """sb^2 + sw^2 (1/K) sum_o k(p + o), pixels on the last axis."""
        return self.bias_std**2 + self.weight_std**2 * k[..., self.neighbours()].mean(axis=-2)

    def translations(self) -> np.ndarray:
        """Index of the pixel p + s, shape (s, p)."""
        table = np.arange(self.dim).reshape(self.shape)
        axes = tuple(range(len(self.shape)))
        return np.stack([np.roll(table, [-s for s in shift], axes).ravel() for shift in np.ndindex(*self.shape)])

    def neighbours(self) -> np.ndarray:
        """Index of the pixel p + o under the filter, shape (o, p)."""
        reach = range(-(self.filter_size // 2), self.filter_size - self.filter_size // 2)
        offsets = itertools.product(reach, repeat=len(self.shape))
        rows = [np.ravel_multi_index(o, self.shape, mode="wrap") for o in offsets]
        return self.translations()[rows]
