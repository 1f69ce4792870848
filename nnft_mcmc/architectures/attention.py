r"""One layer of attention; N = `width` heads of fixed size, so the heads are i.i.d. neurons.

A point x in R^dim holds T tokens X_t of F features, dim = T F. With D = head_dim,

    q_t = Wq X_t/F^{1/2},   k_t = Wk X_t/F^{1/2},   v_t = Wv X_t/F^{1/2}   in R^D,   Wq, Wk, Wv ~ N(0, sw^2)
    A_ts = softmax_s(q_t . k_s/D^{1/2})   or   A_ts = (1/T) q_t . k_s/D^{1/2}   (linear attention)
    phi(x) = sum_heads a . (1/T) sum_ts A_ts v_s,   a ~ N(0, s1^2/(N D)).

phi becomes Gaussian as the heads become many (Hron et al., arXiv:2006.10540); being a sum of i.i.d. heads its two-point
function is the same at every number of them. With C_ts = X_t . Y_s/F and mean weights p_s = (1/T) sum_t A_ts,

    K(x, y) = s1^2 sw^2 <p(x) . C p(y)> = s1^2 sw^6 [mean_ts C_ts] [mean_ts C_ts^2]   (linear attention).

With softmax the average over Wq, Wk has no closed form: `estimate_kernel` takes it by Monte Carlo over a single head.
"""

import math
from abc import abstractmethod
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, ArrayLike, Float

from nnft_mcmc import _checks
from nnft_mcmc.architectures._base import IidNeurons, InfiniteWidthKernel, Theta, points
from nnft_mcmc.architectures.layers import normal

_HEADS_AT_ONCE = 256


class KernelEstimate(NamedTuple):
    """A kernel with one standard error."""

    value: np.ndarray
    error: np.ndarray


class Attention(IidNeurons):
    """Parameters of each head: queries, keys, values (features, head_dim), amplitudes (head_dim,)."""

    tokens: eqx.AbstractVar[int]
    features: eqx.AbstractVar[int]
    head_dim: eqx.AbstractVar[int]
    weight_std: eqx.AbstractVar[float]
    amplitude_std: eqx.AbstractVar[float]

    @abstractmethod
    def attend(self, scores: Float[Array, "tokens tokens"]) -> Float[Array, "tokens tokens"]:
        """A_ts from q_t . k_s/D^{1/2}."""

    @property  # type: ignore[misc]
    def dim(self) -> int:  # type: ignore[override]
        return self.tokens * self.features

    def neuron_prior(self) -> dict[str, dist.Distribution]:
        matrix = normal(self.weight_std, self.features, self.head_dim).to_event(2)
        readout = normal(self.amplitude_std / math.sqrt(self.width * self.head_dim), self.head_dim).to_event(1)
        return {"queries": matrix, "keys": matrix, "values": matrix, "amplitudes": readout}

    def mean_weights(self, theta_i: Theta, x: Float[Array, " dim"]) -> Float[Array, " tokens"]:
        """p_s = (1/T) sum_t A_ts."""
        tokens = x.reshape(self.tokens, self.features) / math.sqrt(self.features)
        q, k = jnp.dot(tokens, theta_i["queries"]), jnp.dot(tokens, theta_i["keys"])
        return self.attend(jnp.dot(q, k.T) / math.sqrt(self.head_dim)).mean(axis=0)

    def feature(self, theta_i: Theta, x: Float[Array, " dim"]) -> Float[Array, " head_dim"]:
        tokens = x.reshape(self.tokens, self.features) / math.sqrt(self.features)
        return jnp.dot(self.mean_weights(theta_i, x), jnp.dot(tokens, theta_i["values"]))

    def check(self, name: str) -> None:
        """Refuse hyperparameters that cannot be."""
        for field in ("tokens", "features", "width", "head_dim"):
            _checks.integer(f"{name}.{field}", getattr(self, field), minimum=1)
        _checks.positive(f"{name}.weight_std", self.weight_std)
        _checks.positive(f"{name}.amplitude_std", self.amplitude_std)

    def overlaps(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """C_ts = X_t . Y_s/F for points (..., dim): shape (..., tokens, tokens)."""
        first, second = (p.reshape(*p.shape[:-1], self.tokens, self.features) for p in (x, y))
        return first @ np.swapaxes(second, -1, -2) / self.features


class LinearAttention(Attention, InfiniteWidthKernel):
    """Attention without softmax; its kernel is exact at every number of heads."""

    tokens: int = eqx.field(static=True)
    features: int = eqx.field(static=True)
    width: int = eqx.field(static=True)
    head_dim: int = eqx.field(static=True, default=1)
    weight_std: float = eqx.field(static=True, default=1.0)
    amplitude_std: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        self.check("linear_attention")

    def attend(self, scores: Float[Array, "tokens tokens"]) -> Float[Array, "tokens tokens"]:
        return scores / self.tokens

    def infinite_width_kernel(self, x: ArrayLike, y: ArrayLike) -> np.ndarray:
        c = self.overlaps(*points(self.dim, x, y))
        scale = self.amplitude_std**2 * self.weight_std**6
        return scale * c.mean(axis=(-2, -1)) * np.mean(c**2, axis=(-2, -1))


class SoftmaxAttention(Attention):
    """Attention with softmax; its kernel is known by `estimate_kernel` only."""

    tokens: int = eqx.field(static=True)
    features: int = eqx.field(static=True)
    width: int = eqx.field(static=True)
    head_dim: int = eqx.field(static=True, default=1)
    weight_std: float = eqx.field(static=True, default=1.0)
    amplitude_std: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        self.check("softmax_attention")

    def attend(self, scores: Float[Array, "tokens tokens"]) -> Float[Array, "tokens tokens"]:
        return jax.nn.softmax(scores, axis=-1)

    def estimate_kernel(self, key: Array, x: ArrayLike, y: ArrayLike, num_draws: int) -> KernelEstimate:
        """K(x, y) from `num_draws` independent heads, values and readout averaged exactly; points (..., dim).

        The same heads serve all points, so errors of different points are correlated. In JAX's precision.
        """
        _checks.integer("num_draws", num_draws, minimum=2)
        x, y = points(self.dim, x, y)
        scale = self.amplitude_std**2 * self.weight_std**2
        overlaps = jnp.asarray(scale * self.overlaps(x, y).reshape(-1, self.tokens, self.tokens))
        pairs = jnp.asarray(x.reshape(-1, self.dim)), jnp.asarray(y.reshape(-1, self.dim))
        prior = normal(self.weight_std, self.features, self.head_dim)

        def one_head(head_key: Array) -> Float[Array, " pairs"]:
            key_queries, key_keys = jax.random.split(head_key)
            theta = {"queries": prior.sample(key_queries), "keys": prior.sample(key_keys)}
            p, q = (jax.vmap(lambda point: self.mean_weights(theta, point))(each) for each in pairs)
            return jnp.einsum("it,its,is->i", p, overlaps, q)

        keys = jax.random.split(key, num_draws)
        heads = np.asarray(jax.lax.map(one_head, keys, batch_size=_HEADS_AT_ONCE), dtype=np.float64)
        error = heads.std(axis=0, ddof=1) / math.sqrt(num_draws)
        return KernelEstimate(heads.mean(axis=0).reshape(x.shape[:-1]), error.reshape(x.shape[:-1]))
