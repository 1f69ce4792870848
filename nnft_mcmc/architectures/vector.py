r"""Networks with vector outputs, phi : R^d -> R^D, lectures eqs. (52)-(58).

`VectorNet` gives a scalar network of i.i.d. neurons D output weights each, phi_a = sum_i A_ia f(theta_i, x), normal and
independent. Their density depends on |A_i| only, so O(D) acting on the outputs is absorbed into A and is a symmetry of
the ensemble. The components share their neurons: uncorrelated, they are not independent at finite width. With the G and
Gc4 of the scalar network and T = (1/3)(Gc4 + (1/N) sum_3 G G),

    <phi_a phi_b>               = delta_ab G
    <phi_a phi_b phi_c phi_d>_c = delta_ab delta_cd (T - G12 G34/N) + delta_ac delta_bd (T - G13 G24/N)
                                + delta_ad delta_bc (T - G14 G23/N),

at one point <1111>_c = 3 <1122>_c. `EquivariantNet` is equivariant network by network, eq. (53): rho_D(g) phi(x) =
phi(rho_d(g) x) for O(d) acting on inputs and outputs alike and every theta.
"""

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, ArrayLike, Float

from nnft_mcmc import _checks
from nnft_mcmc.architectures._base import Architecture, ExactCorrelators, IidNeurons, Network, Theta, points
from nnft_mcmc.architectures._missing import missing


class VectorArchitecture(Network):
    """A network with several outputs, phi_theta : R^dim -> R^components."""

    components: eqx.AbstractVar[int]

    @abstractmethod
    def forward(self, theta: Theta, x: Float[Array, " dim"]) -> Float[Array, " components"]:
        """phi_theta at one point."""


class VectorNet(VectorArchitecture):
    """The neurons of `base`, with D = `components` output weights each: `amplitudes` has shape (width, components)."""

    base: IidNeurons
    components: int = eqx.field(static=True)

    def __check_init__(self) -> None:
        _checks.integer("vector_net.components", self.components, minimum=1)
        if not isinstance(self.base, IidNeurons) or not isinstance(self._weight_prior(), dist.Normal):
            raise _checks.InputError(
                f"vector_net.base is a {type(self.base).__name__}; it must be a sum of i.i.d. neurons with one normal"
                " output weight each, such as cos_net or dense_net, for the density to be O(D)-invariant."
            )

    def _weight_prior(self) -> dist.Distribution:
        return self.base.neuron_prior()["amplitudes"]

    @property  # type: ignore[misc]
    def dim(self) -> int:  # type: ignore[override]
        return self.base.dim

    def prior(self) -> dict[str, dist.Distribution]:
        amplitudes = self._weight_prior().expand((self.base.width, self.components))
        return {**self.base.prior(), "amplitudes": amplitudes}

    def forward(self, theta: Theta, x: Float[Array, " dim"]) -> Float[Array, " components"]:
        neurons = {name: value for name, value in theta.items() if name != "amplitudes"}
        features = jax.vmap(self.base.feature, in_axes=(0, None))(neurons, x)
        return jnp.dot(features, theta["amplitudes"])

    def two_point(self, x: ArrayLike, y: ArrayLike) -> np.ndarray:
        """<phi_a(x) phi_b(y)>, shape (..., components, components)."""
        return np.asarray(_exact(self.base).two_point(x, y))[..., None, None] * np.eye(self.components)

    def four_point_connected(self, x1: ArrayLike, x2: ArrayLike, x3: ArrayLike, x4: ArrayLike) -> np.ndarray:
        """<phi_a(x1) phi_b(x2) phi_c(x3) phi_d(x4)>_c, four axes of components at the end."""
        base, xs = _exact(self.base), points(self.dim, x1, x2, x3, x4)
        pairings = {
            indices: base.two_point(xs[i], xs[j]) * base.two_point(xs[k], xs[m]) / self.base.width
            for indices, (i, j, k, m) in {"ab,cd": (0, 1, 2, 3), "ac,bd": (0, 2, 1, 3), "ad,bc": (0, 3, 1, 2)}.items()
        }
        t = (base.four_point_connected(*xs) + sum(pairings.values())) / 3
        delta = np.eye(self.components)
        return np.asarray(
            sum(
                np.multiply.outer(t - pairing, np.einsum(f"{indices}->abcd", delta, delta))
                for indices, pairing in pairings.items()
            )
        )


class EquivariantNet(VectorArchitecture):
    """phi(x) = x f(|x|^2), f a scalar network of one variable with any density; theta is that of f.

    R phi(x) = phi(R x) for every R in O(dim) and every theta, eq. (53).
    """

    dim: int = eqx.field(static=True)
    profile: Architecture

    def __check_init__(self) -> None:
        _checks.integer("equivariant_net.dim", self.dim, minimum=1)
        if self.profile.dim != 1:
            raise _checks.InputError(
                f"equivariant_net.profile has dim = {self.profile.dim}; it must have dim = 1, a function of |x|^2."
            )

    @property  # type: ignore[misc]
    def components(self) -> int:  # type: ignore[override]
        return self.dim

    def prior(self) -> dict[str, dist.Distribution]:
        return self.profile.prior()

    def forward(self, theta: Theta, x: Float[Array, " dim"]) -> Float[Array, " components"]:
        return x * self.profile.forward(theta, jnp.sum(x**2)[None])

    def two_point(self, x: ArrayLike, y: ArrayLike) -> np.ndarray:
        """<phi_a(x) phi_b(y)> = x_a y_b <f(|x|^2) f(|y|^2)>, shape (..., dim, dim)."""
        x, y = points(self.dim, x, y)
        profile = _exact(self.profile).two_point(*(np.sum(p**2, axis=-1, keepdims=True) for p in (x, y)))
        return np.asarray(profile)[..., None, None] * x[..., :, None] * y[..., None, :]


def _exact(base: Architecture) -> ExactCorrelators:
    if not isinstance(base, ExactCorrelators):
        raise missing(base, "n_point_connected")
    return base
