"""A user's own architecture: a function and the distributions of its parameters.

    def wave(theta, x):                                        # one point x of shape (dim,) -> a number
        return jnp.dot(theta["a"], jnp.tanh(theta["w"] @ x)) / 8

    net = CallableNet(wave, {"w": dist.Normal(0, 1).expand((64, 2)), "a": dist.Normal(0, 1).expand((64,))}, dim=2)

A class derived from `Architecture` or, for i.i.d. neurons, from `IidNeurons` says more about itself: the refresh
sampler needs to know neurons, `compare RUN exact` the correlators.
"""

from collections.abc import Callable, Mapping

import equinox as eqx
import numpyro.distributions as dist
from jaxtyping import Array, Float

from nnft_mcmc import _checks
from nnft_mcmc.architectures._base import Architecture, Theta

Function = Callable[[Theta, Array], Array]


class _Definition:
    """Function and distributions, held by identity: distributions themselves cannot be hashed."""

    def __init__(self, function: Function, distributions: Mapping[str, dist.Distribution]) -> None:
        self.function, self.distributions = function, dict(distributions)


class CallableNet(Architecture):
    """phi_theta(x) = function(theta, x) with theta[name] ~ distributions[name], independent of one another."""

    dim: int = eqx.field(static=True)
    _definition: _Definition = eqx.field(static=True)

    def __init__(self, function: Function, distributions: Mapping[str, dist.Distribution], dim: int) -> None:
        if not callable(function):
            raise _checks.InputError(f"function is {function!r}; it must be callable as function(theta, x).")
        wrong = [name for name, d in distributions.items() if not isinstance(d, dist.Distribution)]
        if wrong or not distributions:
            raise _checks.InputError(
                f"distributions has no NumPyro distribution for {', '.join(map(repr, wrong)) or 'any parameter'}; give"
                " one for each, such as numpyro.distributions.Normal(0, 1).expand((64, 2))."
            )
        self.dim = _checks.integer("dim", dim, minimum=1)
        self._definition = _Definition(function, distributions)

    def prior(self) -> dict[str, dist.Distribution]:
        return dict(self._definition.distributions)

    def forward(self, theta: Theta, x: Float[Array, " dim"]) -> Float[Array, ""]:
        return self._definition.function(theta, x)
