"""What an architecture is: a function of parameters theta, and a density P(theta) on them.

`Architecture` is all that the rest of the package needs. `SumOfNeurons` is the case phi = sum_i a_i . f(theta_i, x)
with independent neurons, which the refresh sampler uses; `IidNeurons` have one common density, which makes cumulants
known. What an architecture knows exactly are capabilities, abstract classes of their own: `ExactCorrelators` at this
width, `KnownPropagator` in momentum space, `InfiniteWidthKernel` in the limit. Asked for what it does not know, it says
which of them it lacks.

An architecture is a frozen equinox module. Its hyperparameters are static, so that it is hashable and compiled code is
specialised to it; `theta` is a dict of arrays.

The density is always that of the parameters themselves (momenta, phases, ...). How Hamiltonian samplers walk on a
bounded or periodic parameter is decided by the support of its distribution; see `priors.py`.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, ArrayLike, Float

from nnft_mcmc import _checks
from nnft_mcmc.architectures._missing import missing
from nnft_mcmc.exact.cumulants import sum_of_neurons_cumulant

Theta = Mapping[str, Array]


class Network(eqx.Module):
    """A network phi_theta : R^dim -> R, or R^D, with a density on its parameters."""

    dim: eqx.AbstractVar[int]

    @abstractmethod
    def prior(self) -> dict[str, dist.Distribution]:
        """Distribution of every parameter array, by name; batch and event shape together are the array's shape."""

    @abstractmethod
    def forward(self, theta: Theta, x: Float[Array, " dim"]) -> Float[Array, "*outputs"]:
        """phi_theta at one point."""

    def __call__(self, theta: Theta, x: Float[ArrayLike, "*points dim"]) -> Float[Array, "*values"]:
        """phi_theta at points x of shape (..., dim); shape (...), for a vector field (..., D)."""
        x = jnp.asarray(x)
        if x.ndim == 0 or x.shape[-1] != self.dim:
            raise _checks.InputError(
                f"x has shape {x.shape}; its last axis must have length dim = {self.dim}, the components of a point."
            )
        values = jax.vmap(lambda point: self.forward(theta, point))(x.reshape(-1, self.dim))
        return values.reshape(*x.shape[:-1], *values.shape[1:])

    def sample_parameters(self, key: Array) -> dict[str, Array]:
        """One draw theta ~ P(theta)."""
        prior = self.prior()
        keys = jax.random.split(key, len(prior))
        theta = {name: prior[name].sample(k) for name, k in zip(prior, keys, strict=True)}
        # Without the barrier XLA draws each parameter anew at every point where the network is evaluated.
        return jax.lax.optimization_barrier(theta)

    def log_prior(self, theta: Theta) -> Float[Array, ""]:
        """ln P(theta)."""
        return sum((d.log_prob(theta[name]).sum() for name, d in self.prior().items()), start=jnp.zeros(()))

    if not TYPE_CHECKING:  # a type checker reports attributes that are not there by itself

        def __getattr__(self, name: str) -> Any:
            raise missing(self, name)


class Architecture(Network):
    """A network with one output, phi_theta : R^d -> R."""

    @abstractmethod
    def forward(self, theta: Theta, x: Float[Array, " dim"]) -> Float[Array, ""]:
        """phi_theta at one point."""


class ExactCorrelators(Architecture):
    """Knows its correlators at this width. They are computed on the host in float64, whatever JAX's precision."""

    @abstractmethod
    def n_point_connected(self, *xs: ArrayLike) -> np.ndarray:
        """Connected n-point function at points of shape (..., dim), broadcast; zero for odd n.

        An order that is not known raises `InputError`.
        """

    def two_point(self, x: ArrayLike, y: ArrayLike) -> np.ndarray:
        """G(x, y) = <phi(x) phi(y)>; x, y of shape (..., dim), broadcast against each other."""
        return self.n_point_connected(x, y)

    def four_point_connected(self, x1: ArrayLike, x2: ArrayLike, x3: ArrayLike, x4: ArrayLike) -> np.ndarray:
        """Gc4 = <phi phi phi phi> - (G12 G34 + G13 G24 + G14 G23); points of shape (..., dim), broadcast."""
        return self.n_point_connected(x1, x2, x3, x4)

    def six_point_connected(self, *xs: ArrayLike) -> np.ndarray:
        """Connected six-point function at six arrays of points."""
        if len(xs) != 6:
            raise _checks.InputError(f"{len(xs)} points were given to a six-point function; give six.")
        return self.n_point_connected(*xs)

    def excess_kurtosis(self, x: ArrayLike) -> np.ndarray:
        """<phi^4>/<phi^2>^2 - 3 at points x of shape (..., dim)."""
        return self.four_point_connected(x, x, x, x) / self.two_point(x, x) ** 2

    @abstractmethod
    def has_gaussian_tails(self) -> bool:
        """Whether <exp(J phi(x))> is finite for every J, so that a source alone can be inserted."""


class KnownPropagator(ExactCorrelators):
    """A two-point function that depends on x - y only, with its Fourier transform."""

    @abstractmethod
    def propagator(self, p: ArrayLike) -> np.ndarray:
        """G(p) = int d^dx e^{-ip.x} G(x, 0) at momenta p (..., dim); on a torus, a^d times the sum over sites."""


class InfiniteWidthKernel(Architecture):
    """Knows the kernel of its infinite-width limit, computed on the host in float64."""

    @abstractmethod
    def infinite_width_kernel(self, x: ArrayLike, y: ArrayLike) -> np.ndarray:
        """K(x, y) with <phi(x) phi(y)> = K(x, y) (1 + O(1/width)); x, y (..., dim), broadcast against each other."""


class SumOfNeurons(Architecture):
    """phi(x) = sum_i a_i . f(theta_i, x), lectures eq. (44): `width` independent neurons f with output weights a_i.

    The first axis of every parameter array counts the neurons, but for those in `common`, which all neurons share. The
    output weights are the parameter `amplitudes`; f may have several components, and then so has a_i.
    """

    width: eqx.AbstractVar[int]

    @property
    def common(self) -> tuple[str, ...]:
        """Names of the parameters that all neurons share."""
        return ()

    @abstractmethod
    def feature(self, theta_i: Theta, x: Float[Array, " dim"]) -> Array:
        """f(theta_i, x): one neuron with unit output weight at one point."""

    def neuron(self, theta_i: Theta, x: Float[Array, " dim"]) -> Float[Array, ""]:
        """a_i . f(theta_i, x): what one neuron adds to the field at one point."""
        return jnp.sum(theta_i["amplitudes"] * self.feature(theta_i, x))

    def neurons(self, theta: Theta, x: Float[Array, "points dim"]) -> Float[Array, "neurons points"]:
        """What each neuron adds to the field at each point."""
        return jax.vmap(jax.vmap(self.neuron, in_axes=(None, 0)), in_axes=(self._axes(theta), None))(theta, x)

    def forward(self, theta: Theta, x: Float[Array, " dim"]) -> Float[Array, ""]:
        return jnp.sum(jax.vmap(self.neuron, in_axes=(self._axes(theta), None))(theta, x))

    def _axes(self, theta: Theta) -> dict[str, int | None]:
        """The axis of each parameter that counts the neurons."""
        return {name: None if name in self.common else 0 for name in theta}


class Waves(NamedTuple):
    """sum_i cosines_i cos(w_i.x) + sines_i sin(w_i.x): momenta (neurons, dim), cosines and sines (neurons,)."""

    momenta: Array
    cosines: Array
    sines: Array


class PlaneWaves(SumOfNeurons):
    """One plane wave for each neuron, so that the field on a lattice is a Fourier sum; see `field_evaluation`."""

    @abstractmethod
    def waves(self, theta: Theta) -> Waves:
        """The plane waves that the neurons are, output weights included."""


class IidNeurons(SumOfNeurons):
    """Neurons that are also identically distributed."""

    @abstractmethod
    def neuron_prior(self) -> dict[str, dist.Distribution]:
        """Distribution of the parameters of one neuron, `amplitudes` among them."""

    def prior(self) -> dict[str, dist.Distribution]:
        return {name: d.expand((self.width,)) for name, d in self.neuron_prior().items()}


class NeuronMoments(IidNeurons, ExactCorrelators, InfiniteWidthKernel):
    """Knows the joint moments of one neuron, and so every connected correlator at every width (lectures eqs. 44-51).

    phi = N^-1/2 sum_i psi_i has the cumulants kappa_n[phi] = N^(1 - n/2) kappa_n[psi]: the two-point function is the
    kernel of the limit at every width.
    """

    @abstractmethod
    def neuron_moment(self, *xs: np.ndarray) -> np.ndarray:
        """<psi(x1) ... psi(xn)> of one neuron, psi its contribution times N^1/2; n even, points already broadcast."""

    def n_point_connected(self, *xs: ArrayLike) -> np.ndarray:
        at = points(self.dim, *xs)
        if len(at) % 2:
            return np.zeros(at[0].shape[:-1])
        return sum_of_neurons_cumulant(
            lambda block: self.neuron_moment(*(at[k] for k in block)), len(at), self.width, even=True
        )

    def infinite_width_kernel(self, x: ArrayLike, y: ArrayLike) -> np.ndarray:
        return self.two_point(x, y)


def points(dim: int, *xs: ArrayLike) -> list[np.ndarray]:
    """Points for the exact correlators: float64, last axis of length dim, broadcast against each other."""
    arrays = [np.asarray(x, dtype=np.float64) for x in xs]
    for x in arrays:
        if x.ndim == 0 or x.shape[-1] != dim:
            raise _checks.InputError(
                f"a point has shape {x.shape}; its last axis must have length dim = {dim}, the components of the point."
            )
    return list(np.broadcast_arrays(*arrays))
