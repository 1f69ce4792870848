r"""C(t) of an interacting field on a torus with the noise of the free field taken out.

The Schwinger-Dyson equation, used twice on a Gaussian field with an insertion S, whose modes have the variances
lambda_p without it, gives

    <|phi_p|^2>/V = lambda_p + lambda_p^2 < |J_p|^2 - sum_x S''(x) >/V,    J_p = sum_x S'(x) e^{-ip.x},

V the number of sites, S'(x) = dS/dphi(x). Both sides have the same mean; what fluctuates on the right is of second
order in the coupling, so its error falls with the coupling where that of the left does not, and lambda_p^2 leaves
little of the noise of large momenta. With n_s sites of space,

    C(t) = C_0(t) + 1/(T n_s) sum_{p_0} lambda_p^2 <|J_p|^2 - sum_x S''(x)>/V e^{i p_0 t},     p = (p_0, 0).

C_0 is the exact correlator without insertion. Modes with the dispersion of the continuum end at |p_0| = pi/a, where the
kink of lambda_p gives C_0 a tail that alternates in sign and falls as t^-2. It is exactly known, and taken out: C_0 is
then that of all p_0, cosh[m (T/2 - t)]/[2 m L sinh(m T/2)], L the volume of space, and C(t) decays with the masses of
the theory.
"""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nnft_mcmc.architectures import LatticeModes
from nnft_mcmc.architectures.on_lattice import OnTorus
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.lattice import Lattice


def has_improved_correlator(ensemble: Ensemble) -> bool:
    """Whether the field is Gaussian on a torus but for the insertion, and there is one."""
    return isinstance(ensemble.architecture, OnTorus) and not ensemble.local_action.is_free


def improved_correlator(ensemble: Ensemble, field: Float[Array, "*sites"]) -> Float[Array, " lags"]:
    """What one draw adds to C(t), at the separations t = 0, a, .. up to half the torus."""
    architecture = ensemble.architecture
    lattice, action = ensemble.lattice, ensemble.local_action
    lags = lattice.shape[0] // 2 + 1
    source = jnp.fft.fft(jnp.sum(action.force(field), axis=tuple(range(1, lattice.dim))))  # J_p
    change = (source.real**2 + source.imag**2 - jnp.sum(action.curvature(field))) / lattice.num_sites
    variance = jnp.asarray(zero_momentum_spectrum(architecture))
    space = lattice.num_sites // lattice.shape[0]
    return jnp.asarray(free_correlator(architecture))[:lags] + jnp.fft.ifft(variance**2 * change).real[:lags] / space


def zero_momentum_spectrum(architecture: OnTorus) -> np.ndarray:
    """lambda_p at p = (p_0, 0), shape (times,)."""
    return architecture.spectrum().reshape(architecture.lattice.shape[0], -1)[:, 0]


def free_correlator(architecture: OnTorus) -> np.ndarray:
    """C_0(t), shape (times,), of all p_0 where the modes have the dispersion of the continuum and no cut-off."""
    if not (isinstance(architecture, LatticeModes) and architecture.dispersion == "continuum"):
        return architecture.time_correlator()
    if math.isfinite(architecture.cutoff):
        return architecture.time_correlator()
    lattice, m = architecture.lattice, architecture.mass
    extent = lattice.shape[0] * lattice.spacing
    t = lattice.spacing * np.arange(lattice.shape[0])
    decay = (np.exp(-m * t) + np.exp(-m * (extent - t))) / (2 * m * -math.expm1(-m * extent))
    return decay / _volume_of_space(lattice)


def _volume_of_space(lattice: Lattice) -> float:
    return lattice.num_sites // lattice.shape[0] * lattice.spacing ** (lattice.dim - 1)
