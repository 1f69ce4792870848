"""Laws of an output weight a with <a^2> = variance, and their moments <a^n> in units of variance^(n/2)."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array

from nnft_mcmc.architectures.priors import NoSmoothMap


class Signs(dist.Distribution):
    """+scale or -scale with equal probability."""

    arg_constraints: ClassVar[dict] = {}
    support = NoSmoothMap("output weights of the sign law take two values", event_dim=0)
    pytree_aux_fields = ("scale",)

    def __init__(self, scale: float) -> None:
        self.scale = scale
        super().__init__(batch_shape=(), event_shape=())

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        return self.scale * jax.random.rademacher(key, sample_shape, dtype=jnp.result_type(float))

    def log_prob(self, value: Array) -> Array:
        return jnp.where(jnp.abs(value) == self.scale, -math.log(2), -jnp.inf)

    @property
    def variance(self) -> Array:
        return jnp.asarray(self.scale**2)


class AmplitudeLaw(ABC):
    """A law of output weights, even moments only: with a uniform phase the odd ones never contribute."""

    @abstractmethod
    def distribution(self, variance: float) -> dist.Distribution:
        """The law with <a^2> = variance."""

    @abstractmethod
    def moment(self, order: int) -> float:
        """<a^order>/<a^2>^(order/2), order even."""


class Normal(AmplitudeLaw):
    """a ~ N(0, variance)."""

    def distribution(self, variance: float) -> dist.Distribution:
        return dist.Normal(0.0, math.sqrt(variance))

    def moment(self, order: int) -> float:
        return math.prod(range(1, order, 2))  # (n - 1)!!


class Sign(AmplitudeLaw):
    """a = +-sqrt(variance)."""

    def distribution(self, variance: float) -> dist.Distribution:
        return Signs(math.sqrt(variance))

    def moment(self, order: int) -> float:
        return 1.0


class Rayleigh(AmplitudeLaw):
    """The modulus of two normal quadratures: with a uniform phase, a cos(z + b) is a normal variable."""

    def distribution(self, variance: float) -> dist.Distribution:
        return dist.Weibull(math.sqrt(variance), 2.0)  # density 2a/v exp(-a^2/v)

    def moment(self, order: int) -> float:
        return math.factorial(order // 2)


LAWS: Mapping[str, AmplitudeLaw] = {"normal": Normal(), "sign": Sign(), "rayleigh": Rayleigh()}
