r"""What a multilayer perceptron does inside: preactivations, feature kernels and gradient kernels, eqs. (112)-(119).

    Phi^(l)(x, y) = (1/N) sum_m sigma(z^(l)_m(x)) sigma(z^(l)_m(y)),   Phi^(0)(x, y) = x.y / D,    # eq. (112)
    g^(l)_i(x) = N^{1/2} dz^(L)(x)/dz^(l)_i,   G^(l)(x, y) = (1/N) sum_i g^(l)_i(x) g^(l)_i(y),    # eq. (117)

with z^(L) = gamma0 N^d phi. They give the tangent kernel layer by layer, at every width, eq. (116): with
kappa_l = N^{1 - 2a_l} for l > 1, kappa_1 = N^{-2a_1} and G^(L) = 1,

    gamma0^2 N^{2d} Theta(x, y) = sum_{l=1}^L [ kappa_l G^(l)(x, y) Phi^(l-1)(x, y)  +  G^(l)(x, y) ],

the second term for the biases of a layer where it has any. No array of the size of parameters times points is made.

Time derivatives at a point theta of the gradient flow dtheta/dt = -eta grad L are exact directional derivatives.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nnft_mcmc.architectures import MLP
from nnft_mcmc.architectures._base import Theta

Shifts = tuple[Array, ...]


class Trace(NamedTuple):
    """preactivations: z^(1) .. z^(L-1), each (points, width); output: phi (points,)."""

    preactivations: tuple[Array, ...]
    output: Float[Array, " points"]


class Kernels(NamedTuple):
    """features: Phi^(0) .. Phi^(L-1); gradients: G^(1) .. G^(L); tangent: the parts of Theta; (L, points, points)."""

    features: Float[Array, "layers points points"]
    gradients: Float[Array, "layers points points"]
    tangent: Float[Array, "layers points points"]


def trace(architecture: MLP, theta: Theta, x: Float[Array, "points dim"], shifts: Shifts | None = None) -> Trace:
    """All preactivations on the way to phi; `shifts` are added to z^(1) .. z^(L-1)."""
    layers = architecture.layers
    h, z = x / jnp.sqrt(x.shape[1]), []
    for n in range(1, layers.depth):
        bias = jnp.broadcast_to(layers.bias(theta, n), (len(x), layers.width))
        z.append(layers.scale(n) * jnp.dot(h, theta[f"weights_{n}"].T) + bias)  # eqs. (103)-(104)
        if shifts is not None:
            z[-1] = z[-1] + shifts[n - 1]
        h = layers.sigma(z[-1])
    last = layers.scale(layers.depth) * jnp.dot(h, theta["amplitudes"]) + layers.bias(theta, layers.depth)  # eq. (102)
    return Trace(tuple(z), layers.output_scale * last)


def rates(architecture: MLP, theta: Theta, x: Float[Array, "points dim"], velocity: Theta) -> Trace:
    """dz^(l)/dt and dphi/dt when theta moves with `velocity`."""
    _, derivative = jax.jvp(lambda parameters: trace(architecture, parameters, x), (dict(theta),), (dict(velocity),))
    return derivative


def gradients(architecture: MLP, theta: Theta, x: Float[Array, "points dim"]) -> tuple[Array, ...]:
    """g^(1) .. g^(L-1), each (points, width), eq. (117)."""
    layers = architecture.layers
    zeros = tuple(jnp.zeros((len(x), layers.width), x.dtype) for _ in range(1, layers.depth))
    # Every point has shifts of its own, so that the gradient of the sum holds the gradient of each.
    slopes = jax.grad(lambda shifts: trace(architecture, theta, x, shifts).output.sum())(zeros)
    return tuple(jnp.sqrt(layers.width) / layers.output_scale * slope for slope in slopes)


def kernels(architecture: MLP, theta: Theta, x: Float[Array, "points dim"]) -> Kernels:
    """Phi, G and the parts of the tangent kernel, eq. (116)."""
    layers = architecture.layers
    z = trace(architecture, theta, x).preactivations
    features = [jnp.dot(x, x.T) / x.shape[1], *(_gram(layers.sigma(z_l)) for z_l in z)]
    upward = [*(_gram(g) for g in gradients(architecture, theta, x)), jnp.ones((len(x), len(x)), x.dtype)]
    has_bias = float(layers.bias_std > 0.0)
    parts = [
        layers.output_scale**2 * (layers.scale(n) ** 2 * (layers.width if n > 1 else 1) * phi * g + has_bias * g)
        for n, (phi, g) in enumerate(zip(features, upward, strict=True), start=1)
    ]
    return Kernels(jnp.stack(features), jnp.stack(upward), jnp.stack(parts))


def _gram(vectors: Float[Array, "points width"]) -> Float[Array, "points points"]:
    return jnp.dot(vectors, vectors.T) / vectors.shape[1]
