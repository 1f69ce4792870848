r"""C(t) of an interacting field on a torus with the noise of the free field taken out.

The Schwinger-Dyson equation, used twice on a Gaussian field with an insertion S, whose modes have the variances
lambda_p without it, gives

    <|phi_p|^2>/V = lambda_p + lambda_p^2 < |J_p|^2 - sum_x S''(x) >/V,    J_p = sum_x S'(x) e^{-ip.x},

V the number of sites, S'(x) = dS/dphi(x). Both sides have the same mean; what fluctuates on the right is of second
order in the coupling, so its error falls with the coupling where that of the left does not, and lambda_p^2 leaves
little of the noise of large momenta. With n_s sites of space,

    C(t) = C_0(t) + 1/(T n_s) sum_{p_0} lambda_p^2 <|J_p|^2 - sum_x S''(x)>/V e^{i p_0 t},     p = (p_0, 0).

C_0 is the exact correlator without insertion. Modes with the dispersion of the continuum end at |p_0| = pi/a, where the
kinks of lambda_p and lambda_p^2 give C(t) tails that alternate in sign and fall as t^-2. They are taken out: both sums
are over all p_0, and the average <..>, a smooth and periodic function of p_0 that is flat at pi/a, has its value there
beyond it.
With G = 1/(p_0^2 + m^2), L the volume of space and T the length of the torus,

    C_0(t) = 1/(T L) sum_{p_0} G e^{i p_0 t} = cosh[m (T/2 - t)]/[2 m L sinh(m T/2)],

and sum G^2 e^{i p_0 t} is its derivative with respect to -m^2.
"""

import math
from typing import TypeGuard

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray

from nnft_mcmc import _checks
from nnft_mcmc.architectures import Architecture, LatticeModes
from nnft_mcmc.architectures.on_lattice import OnTorus
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.lattice import Lattice

FloatArray = NDArray[np.float64]


def has_improved_correlator(ensemble: Ensemble) -> bool:
    """Whether the field is Gaussian on a torus but for the insertion, and there is one."""
    return isinstance(ensemble.architecture, OnTorus) and not ensemble.local_action.is_free


def improved_correlator(ensemble: Ensemble, field: Float[Array, "*sites"]) -> Float[Array, " lags"]:
    """What one draw adds to C(t), at the separations t = 0, a, .. up to half the torus."""
    architecture, lattice, action = ensemble.architecture, ensemble.lattice, ensemble.local_action
    if not isinstance(architecture, OnTorus):
        raise _checks.InputError(
            f"the ensemble is a {type(architecture).__name__}; the improved correlator needs a Gaussian field on a"
            " torus, lattice_modes or site_field."
        )
    times = lattice.shape[0]
    source = jnp.fft.fft(jnp.sum(action.force(field), axis=tuple(range(1, lattice.dim))))  # J_p
    change = (source.real**2 + source.imag**2 - jnp.sum(action.curvature(field))) / lattice.num_sites
    variance = jnp.asarray(zero_momentum_spectrum(architecture))
    second = jnp.fft.ifft(variance**2 * change).real / (lattice.num_sites // times)
    first = jnp.asarray(free_correlator(architecture))
    if _is_continuum(architecture):
        second += change[times // 2] * jnp.asarray(_beyond_the_zone(architecture))
    return (first + second)[: times // 2 + 1]


def zero_momentum_spectrum(architecture: OnTorus) -> FloatArray:
    """lambda_p at p = (p_0, 0), shape (times,)."""
    return architecture.spectrum().reshape(architecture.lattice.shape[0], -1)[:, 0]


def free_correlator(architecture: OnTorus) -> FloatArray:
    """C_0(t), shape (times,), of all p_0 where the modes have the dispersion of the continuum and no cut-off."""
    if not _is_continuum(architecture):
        return architecture.time_correlator()
    return _sums_over_momenta(architecture)[0] / _volume_of_space(architecture.lattice)


def _is_continuum(architecture: Architecture) -> TypeGuard[LatticeModes]:
    if not isinstance(architecture, LatticeModes):
        return False
    return architecture.dispersion == "continuum" and math.isinf(architecture.cutoff)


def _beyond_the_zone(architecture: LatticeModes) -> FloatArray:
    """1/(times n_s) sum lambda_p^2 e^{i p_0 t} over the p_0 that the lattice does not have, (times,)."""
    lattice = architecture.lattice
    every = _sums_over_momenta(architecture)[1] / (_volume_of_space(lattice) * lattice.cell_volume)
    inside = np.fft.ifft(zero_momentum_spectrum(architecture) ** 2).real / (lattice.num_sites // lattice.shape[0])
    return every - inside


def _sums_over_momenta(architecture: LatticeModes) -> tuple[FloatArray, FloatArray]:
    """1/T sum_{p_0} G e^{i p_0 t} and 1/T sum_{p_0} G^2 e^{i p_0 t} over all p_0, at t = 0, a, ..; (times,) each."""
    lattice, m = architecture.lattice, architecture.mass
    extent = lattice.shape[0] * lattice.spacing
    t = lattice.spacing * np.arange(lattice.shape[0])
    near, far, full = np.exp(-m * t), np.exp(-m * (extent - t)), -math.expm1(-m * extent)
    cosh, sinh = (near + far) / full, (near - far) / full  # of m (T/2 - t), over sinh(m T/2)
    coth = (2 - full) / full  # of m T/2
    slope = (extent / 2 - t) * sinh - cosh / m - extent / 2 * coth * cosh  # 2 m d/dm of the first sum
    return cosh / (2 * m), -slope / (4 * m**2)


def _volume_of_space(lattice: Lattice) -> float:
    return lattice.num_sites // lattice.shape[0] * lattice.spacing ** (lattice.dim - 1)
