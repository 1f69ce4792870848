r"""Which parameters are trained, and in which coordinates gradients with respect to them are taken.

The tangent kernel Theta(x, y) = sum_i dphi(x)/dtheta_i dphi(y)/dtheta_i depends on how a network is parametrised. Here

    "parameters"     theta_i are the numbers that the architecture calls its parameters;
    "standardised"   a normal parameter is measured in units of its standard deviation s_i in the prior, so that the
                     term carries s_i^2, any other parameter as it is.

Gradient descent on the parameters goes with the first. The second is the usual NTK parametrisation w = s omega, omega
of variance one, of Jacot et al. (arXiv:1806.07572) and of neural-tangents; there a large-width limit exists for output
weights of variance s^2/N as well, whose kernel with the first choice grows as N.
"""

import jax
import numpy as np
import numpyro.distributions as dist

from nnft_mcmc import _checks
from nnft_mcmc.architectures import KAN, MLP, AdditiveKAN, Architecture, DeepEuclideanNet, OnLattice

TRAINED = ("all", "readout")
COORDINATES = ("parameters", "standardised")


def trained_blocks(architecture: Architecture, trained: str) -> tuple[str, ...]:
    """Names of the trained parameter arrays: all, or those of the last layer, in which phi is linear."""
    _checks.one_of("trained", trained, TRAINED)
    names = tuple(architecture.prior())
    if trained == "all" or isinstance(architecture, (OnLattice, AdditiveKAN)):
        return names
    if isinstance(architecture, KAN):
        return f"base_{architecture.depth}", f"splines_{architecture.depth}"
    output_bias = [f"biases_{architecture.depth}"] if isinstance(architecture, (MLP, DeepEuclideanNet)) else []
    readout = tuple(name for name in names if name in ("amplitudes", *output_bias))
    if "amplitudes" not in readout:
        raise _checks.InputError(
            f"trained is 'readout' and {type(architecture).__name__} has no parameter `amplitudes`, its output weights;"
            " train all parameters."
        )
    return readout


def normal_core(distribution: dist.Distribution) -> dist.Normal | None:
    """The normal distribution of the entries, without the wrappers that repeat it; None for any other law."""
    while isinstance(distribution, (dist.Independent, dist.ExpandedDistribution)):
        distribution = distribution.base_dist
    return distribution if isinstance(distribution, dist.Normal) else None


def prior_variance(distribution: dist.Distribution) -> np.ndarray:
    """s^2 of a normal parameter, of the shape of the array or (); 1 for any other law."""
    core = normal_core(distribution)
    if core is None:
        return np.ones(())
    with jax.ensure_compile_time_eval():
        scale = np.asarray(core.scale, dtype=np.float64)
    shape = distribution.batch_shape + distribution.event_shape
    return np.asarray(scale**2) if scale.size == 1 else np.broadcast_to(scale**2, shape)


def weights_of_blocks(architecture: Architecture, names: tuple[str, ...], coordinates: str) -> dict[str, np.ndarray]:
    """The factor of each block's terms: 1, or the variances s_i^2; numbers where all entries have the same."""
    _checks.one_of("coordinates", coordinates, COORDINATES)
    if coordinates == "parameters":
        return {name: np.ones(()) for name in names}
    prior = architecture.prior()
    return {name: _one_number(prior_variance(prior[name])) for name in names}


def _one_number(variance: np.ndarray) -> np.ndarray:
    return variance.ravel()[0] if variance.size and np.ptp(variance) == 0.0 else variance
