r"""The best output weights for given features: phi is linear in its last layer, phi(x) = r . h(x) + g(x), and

    r = argmin sum_k w_k (phi(x_k) - f(x_k))^2

by singular values. Random features are those of a draw of the architecture from its prior; trained ones do as well.
They are nearly dependent, the more the smoother the activation, so singular values below `CUTOFF` of the largest are
left out, and what is reported is how many remain (`rank`) and the ratio of the largest to the smallest of all
(`condition`).
"""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array
from numpy.typing import NDArray

from nnft_mcmc.architectures import Architecture
from nnft_mcmc.architectures._base import Theta
from nnft_mcmc.dynamics.parameters import trained_blocks
from nnft_mcmc.expressivity.nodes import Nodes

FloatArray = NDArray[np.float64]

CUTOFF = 1e-13


@dataclass(frozen=True, eq=False)
class Fit:
    """Parameters with the best output weights; `rms` is the error at the nodes of the fit."""

    theta: dict[str, Array]
    rms: float
    rank: int
    condition: float


def least_squares(network: Architecture, theta: Theta, nodes: Nodes, values: FloatArray) -> Fit:
    """The output weights for which phi is nearest to values (n,) at the nodes, the other parameters being `theta`."""
    readout = {name: theta[name] for name in trained_blocks(network, "readout")}
    matrix, offset = (np.asarray(a, dtype=np.float64) for a in _linear(network, theta, jnp.asarray(nodes.points)))
    root = np.sqrt(nodes.weights)
    solution, _, rank, singular = np.linalg.lstsq(root[:, None] * matrix, root * (values - offset), rcond=CUTOFF)
    _, unravel = ravel_pytree(readout)
    flat = jnp.asarray(solution, dtype=next(iter(readout.values())).dtype)
    smallest = float(singular[-1]) if len(singular) == matrix.shape[1] else 0.0  # more weights than points
    return Fit(
        theta={**theta, **unravel(flat)},
        rms=nodes.rms(matrix @ solution + offset - values),
        rank=int(rank),
        condition=float(singular[0]) / smallest if smallest > 0 else np.inf,
    )


@eqx.filter_jit
def _linear(network: Architecture, theta: Theta, points: Array) -> tuple[Array, Array]:
    """h (n, weights) and g (n,): derivatives with respect to the output weights, and the value where these are zero."""
    zero, unravel = ravel_pytree({name: jnp.zeros_like(theta[name]) for name in trained_blocks(network, "readout")})

    def phi(flat: Array, x: Array) -> Array:
        return network.forward({**theta, **unravel(flat)}, x)

    value, slope = jax.vmap(jax.value_and_grad(phi), in_axes=(None, 0))(zero, points)
    return slope, value
