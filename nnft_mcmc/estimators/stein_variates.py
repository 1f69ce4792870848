r"""Control variates of observables in a box: numbers of each draw whose mean is exactly zero, at every width.

The field is linear in normal parameters a_i, phi = sum_i a_i f_i with a_i ~ N(0, s_i^2), and K(x, y) = sum_i s_i^2
f_i(x) f_i(y) is its kernel at given momenta, phases, ... . Stein's identity for the vector field u_i = s_i^2 f_i(x) P
is, with F = dS_int/dphi,

    < sum_z K(x, z) dP/dphi(z) - phi(x) P - (K F)(x) P > = 0,

the Schwinger-Dyson equation, in which F is exact in the coupling and K that of the draw. With P = phi(y) and P =
(K F)(y), F' = d^2 S_int/dphi^2, these are, for all pairs of sites,

    Z_1(x, y) = K(x, y) - phi(x) phi(y) - (K F)(x) phi(y)
    Z_2(x, y) = sum_z K(x, z) F'(z) K(z, y) - phi(x) (K F)(y) - (K F)(x) (K F)(y).

phi(x) phi(y) + Z_1(x, y) - Z_2(y, x) is the estimator of `improved_correlator`, without the noise of the free field.
The combination of all of them that fluctuates like the observable takes away much more (`statistics.control_variates`):
the mean of O - sum_j beta_j Z_j is that of O for every beta. Averages over the reflection of the box are taken.
Sources: R. Assaraf and M. Caffarel, Phys. Rev. Lett. 83 (1999) 4682; A. Mira, R. Solgi and D. Imparato, Stat. Comput.
23 (2013) 653.
"""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nnft_mcmc import _checks
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.estimators.tangent_kernel import kernel_matrix_of

MOST_SITES = 81


def stein_variates(ensemble: Ensemble) -> Callable[[Mapping[str, Array], Array], Float[Array, " variates"]]:
    """The function (theta, field) -> Z of one draw, Z_1 and then Z_2 over the pairs of sites."""
    lattice = ensemble.lattice
    if lattice.geometry != "box" or lattice.num_sites > MOST_SITES:
        raise _checks.InputError(
            f"the lattice is a {lattice.geometry} of {lattice.num_sites} sites; control variates are made for all pairs"
            f" of sites of a box, at most {MOST_SITES}. On a torus use improved_correlator."
        )
    kernel, pairs, mirrored = kernel_matrix_of(ensemble), *_pairs_and_mirror_images(lattice.num_sites)

    def variates(theta: Mapping[str, Array], field: Array) -> Array:
        k, phi = kernel(theta), field.reshape(-1)
        force = ensemble.local_action.force(field).reshape(-1)
        curvature = ensemble.local_action.curvature(field).reshape(-1)
        pulled = jnp.dot(k, force)
        first = k - jnp.outer(phi + pulled, phi)
        second = jnp.dot(k * curvature[None], k) - jnp.outer(phi + pulled, pulled)
        both = jnp.stack([first.reshape(-1), second.reshape(-1)])
        return (0.5 * (both[:, pairs] + both[:, mirrored])).reshape(-1)

    return variates


def _pairs_and_mirror_images(sites: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers x * sites + y of pairs, one of each two that the reflection of the box exchanges, and of its image."""
    pairs = np.arange(sites**2)
    images = sites**2 - 1 - pairs
    return pairs[pairs <= images], images[pairs <= images]
