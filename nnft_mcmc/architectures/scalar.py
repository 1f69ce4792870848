"""Scalar-nets: free and generalised free fields with propagator (p^2 + m^2)^-s, lectures eqs. (72)-(74).

    density of w proportional to (w^2 + m^2)^-(s + alpha) on |w| < cutoff,    F proportional to (w^2 + m^2)^(alpha/2).

Only F^2 P is fixed by the propagator; alpha moves weight between the density of momenta and the form factor. With

    T_q(x) = int_{|p| < cutoff} d^dp/(2 pi)^d e^{ip.x} (p^2 + m^2)^-q

the form factor is F^2 = 2 T_{s+alpha}(0) (w^2 + m^2)^alpha for <a^2> = 1/N, the transforms of `plane_wave` are
M_n(x) = [2 T_{s+alpha}(0)]^(n/2) T_{s+alpha-n alpha/2}(x) / T_{s+alpha}(0), and G = T_s at every width.
"""

import functools
import math
from abc import abstractmethod

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nnft_mcmc import _checks
from nnft_mcmc.architectures.amplitudes import LAWS, AmplitudeLaw
from nnft_mcmc.architectures.plane_wave import IsotropicNet
from nnft_mcmc.architectures.radial import RadialLaw
from nnft_mcmc.exact.propagators import ball_transform, matern


class PropagatorNet(IsotropicNet):
    """What the nets of this file share: G(p) = (p^2 + mass^2)^-power below the cut-off."""

    mass: eqx.AbstractVar[float]
    cutoff: eqx.AbstractVar[float]
    alpha: eqx.AbstractVar[float]

    @property
    @abstractmethod
    def propagator_power(self) -> float:
        """s."""

    @property  # type: ignore[misc] # derived, hence a property
    def momentum_law(self) -> RadialLaw:  # type: ignore[override]
        """The law of |w|."""
        return _momentum_law(self.dim, self.mass, self.cutoff, self.propagator_power + self.alpha)

    @property
    def _normalisation(self) -> float:
        """T_{s + alpha}(0)."""
        return self.momentum_law.normalisation / (2 * math.pi) ** self.dim

    @property
    def amplitude_variance(self) -> float:
        return 1.0

    def form_factor(self, momentum: Float[Array, " dim"]) -> Float[Array, ""]:
        # eq. (72), corrected and made general: (2 pi)^d (mu2/2) F^2 P = (w^2 + m^2)^-s with mu2 = 1
        constant = math.sqrt(2 * self._normalisation)
        if self.alpha == 0:
            return jnp.full((), constant, dtype=momentum.dtype)
        return constant * (jnp.sum(momentum**2) + self.mass**2) ** (self.alpha / 2)

    def wave_moment(self, order: int, x: np.ndarray) -> np.ndarray:
        r, power = np.linalg.norm(x, axis=-1), self.propagator_power + self.alpha * (1 - order / 2)
        factor = 2 ** (order / 2) * self._normalisation ** (order / 2 - 1)
        if self.cutoff != math.inf:
            return factor * ball_transform(r, self.dim, self.cutoff, lambda p: (p**2 + self.mass**2) ** -power)
        if order > 2 and power <= self.dim / 2:
            name = {4: "four", 6: "six"}.get(order, str(order))
            raise _checks.InputError(
                f"the {name}-point function does not exist at alpha = {self.alpha} and no cutoff in dim = {self.dim},"
                f" because <phi^{order}> diverges; give a finite cutoff or a smaller alpha."
            )
        return factor * matern(r, self.mass, self.dim, power)

    def has_gaussian_tails(self) -> bool:
        return self.cutoff != math.inf or self.alpha <= 0


class ScalarNet(PropagatorNet):
    """The free scalar field of mass m with momenta below `cutoff`: G(p) = 1/(p^2 + m^2) at every width, eq. (74).

    alpha = -1, momenta uniform in the ball, is the lectures' eqs. (72)-(73); there the excess kurtosis of the field
    grows with the cut-off. alpha = 0 (the default) draws momenta from the propagator itself with constant F, and its
    excess kurtosis is 3/(2 width) whatever the cut-off (arXiv:2604.27050). The cut-off may be infinite where the
    momentum density normalises, alpha > dim/2 - 1; dim = 1, alpha = 0 is then the Cauchy-cos-net, G = exp(-m r)/2m.
    """

    dim: int = eqx.field(static=True)
    width: int = eqx.field(static=True)
    mass: float = eqx.field(static=True)
    cutoff: float = eqx.field(static=True)
    alpha: float = eqx.field(static=True, default=0.0)

    def __check_init__(self) -> None:
        _check("scalar_net", self)

    @property
    def propagator_power(self) -> float:
        return 1.0

    @property
    def law_of_amplitudes(self) -> AmplitudeLaw:
        return LAWS["normal"]


class MaternNet(PropagatorNet):
    """A generalised free field, G(p) = (p^2 + m^2)^-power below `cutoff`: at N = inf the field of Matern covariance.

    Its smoothness is power - dim/2; for power > dim/2 no cut-off is needed in any dimension. Reflection positivity
    holds for power <= 1 only. `amplitude_law` is normal, sign or rayleigh. At alpha = 0 their excess kurtosis is 3/2N,
    -3/2N and 0: one neuron of the rayleigh law is Gaussian at each point.
    """

    dim: int = eqx.field(static=True)
    width: int = eqx.field(static=True)
    mass: float = eqx.field(static=True)
    power: float = eqx.field(static=True)  # type: ignore[misc] # the fields of the base come first for mypy alone
    cutoff: float = eqx.field(static=True, default=math.inf)
    alpha: float = eqx.field(static=True, default=0.0)
    amplitude_law: str = eqx.field(static=True, default="normal")

    def __check_init__(self) -> None:
        _checks.positive("matern_net.power", self.power)
        _checks.one_of("matern_net.amplitude_law", self.amplitude_law, LAWS)
        _check("matern_net", self)

    @property
    def propagator_power(self) -> float:
        return self.power

    @property
    def law_of_amplitudes(self) -> AmplitudeLaw:
        return LAWS[self.amplitude_law]


def _check(name: str, net: PropagatorNet) -> None:
    _checks.integer(f"{name}.dim", net.dim, minimum=1, maximum=4)
    _checks.integer(f"{name}.width", net.width, minimum=1)
    _checks.positive(f"{name}.mass", net.mass)
    _checks.real(f"{name}.alpha", net.alpha)
    least = net.dim / 2 - net.propagator_power
    if isinstance(net.cutoff, str):
        raise _checks.InputError(
            f"{name}.cutoff is the text {net.cutoff!r}; it must be a positive number or inf (.inf in YAML), unquoted."
        )
    if net.cutoff != math.inf:
        _checks.positive(f"{name}.cutoff", net.cutoff)
    elif net.alpha <= least:
        raise _checks.InputError(
            f"{name}.cutoff is infinite with alpha = {net.alpha} in dim = {net.dim}, where the momentum density does"
            f" not normalise; give a finite cutoff or an alpha above {least:g}."
        )
    _ = net.momentum_law  # builds the table now: a tail that it cannot represent is refused here


@functools.lru_cache(maxsize=64)
def _momentum_law(dim: int, mass: float, cutoff: float, power: float) -> RadialLaw:
    return RadialLaw(dim, lambda k: (k**2 + mass**2) ** -power, scale=mass, cutoff=cutoff)
