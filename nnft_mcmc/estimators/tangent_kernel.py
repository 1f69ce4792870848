r"""What the normal parameters in which a field is linear say about it: K_theta(x, y) = sum_i s_i^2 f_i(x) f_i(y).

phi(x) = sum_i a_i f_i(x) with a_i ~ N(0, s_i^2): output weights of a network, or all parameters of a Gaussian field on
a lattice, for which K is its covariance. Of K there is needed, at a force F = dS_int/dphi and smearings g,

    K(x, x),    (K F)(x) = sum_y K(x, y) F(y),    K(g, g) = sum_xy g(x) K(x, y) g(y).

No array of neurons by sites by sites is made: the projections sum_x f_i(x) F(x) and sum_x f_i(x) g(x) suffice. On few
sites `kernel_matrix_of` gives all of K(x, y).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float

from nnft_mcmc import _checks
from nnft_mcmc.architectures import (
    MLP,
    Architecture,
    ConvNet,
    DeepEuclideanNet,
    InfiniteWidth,
    OnLattice,
    PlaneWaves,
    SumOfNeurons,
)
from nnft_mcmc.architectures._base import Theta, Waves
from nnft_mcmc.architectures.on_lattice import OnTorus
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.field_evaluation import field as field_of_waves
from nnft_mcmc.field_evaluation import neuron_fields, sum_over

# Fields of plane waves are added up by the fastest route where there are more numbers neurons x sites than these, and
# evaluated wave by wave on this many sites or fewer.
MANY_NUMBERS = 2**22
FEW_SITES = 32
NEURONS_AT_ONCE = 2**17  # numbers neurons x sites that are held at once


class Kernel(NamedTuple):
    """K(x, x) and (K F)(x), shape (sites,), and K(g, g) and (K F)(g), shape (smearings,).

    The first two are None where they would cost more than the field itself.
    """

    diagonal: Array | None
    pulled: Array | None
    smeared: Array
    smeared_pull: Array


# (theta, F (sites,)) -> Kernel
KernelOf = Callable[[Theta, Array], Kernel]


def core(distribution: dist.Distribution) -> dist.Distribution:
    """The distribution of one entry or event, without the wrappers that repeat it."""
    while isinstance(distribution, (dist.Independent, dist.ExpandedDistribution)):
        distribution = distribution.base_dist
    return distribution


def linear_block(architecture: Architecture) -> str | None:
    """The parameter in which the field is linear and which is normal with mean zero, None if there is none."""
    prior = architecture.prior()
    if isinstance(architecture, OnLattice):
        (name,) = prior
        return name
    if not isinstance(architecture, (SumOfNeurons, MLP, DeepEuclideanNet, ConvNet)):
        return None
    amplitudes = prior["amplitudes"]
    normal = isinstance(core(amplitudes), dist.Normal) and not moments(amplitudes)[0].any()
    return "amplitudes" if normal else None


def moments(distribution: dist.Distribution) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance as arrays of numbers, even where a function is being traced."""
    with jax.ensure_compile_time_eval():
        return np.asarray(distribution.mean), np.asarray(distribution.variance)


def kernel_of(ensemble: Ensemble, smearings: Float[np.ndarray, "smearings sites"]) -> KernelOf:
    """K of the ensemble's linear block."""
    architecture = ensemble.architecture
    if isinstance(architecture, OnLattice):
        return _of_gaussian_field(architecture, smearings)
    if not isinstance(architecture, SumOfNeurons):
        return _of_readout(ensemble, smearings)
    deviations = np.sqrt(moments(architecture.prior()["amplitudes"])[1])
    if isinstance(architecture, PlaneWaves) and deviations.size * ensemble.lattice.num_sites > MANY_NUMBERS:
        return _of_many_waves(ensemble, architecture, deviations, smearings)
    return _of_neurons(ensemble, architecture, deviations, smearings)


def kernel_matrix_of(ensemble: Ensemble) -> Callable[[Theta], Float[Array, "sites sites"]]:
    """K(x, y) between all sites, of a sum of neurons with normal output weights or of a Gaussian field."""
    architecture, lattice = ensemble.architecture, ensemble.lattice
    if isinstance(architecture, OnLattice):
        indices = np.indices(lattice.shape).reshape(lattice.dim, -1).T
        constant = architecture.covariance(indices[:, None], indices[None])
        return lambda theta: jnp.asarray(constant)
    if not isinstance(architecture, SumOfNeurons) or linear_block(architecture) is None:
        raise _checks.InputError(
            f"the kernel between all sites needs a sum of neurons with normal output weights, or a Gaussian field; this"
            f" {type(architecture).__name__} is neither."
        )
    neurons = architecture
    deviations = np.sqrt(moments(neurons.prior()["amplitudes"])[1])
    components = deviations.shape[1:]
    units = np.eye(int(np.prod(components))).reshape(-1, *components)
    sites = jnp.asarray(lattice.sites.reshape(-1, lattice.dim))

    def kernel(theta: Theta) -> Array:
        scaled = {**theta, "amplitudes": jnp.asarray(deviations)}
        features = [_fields(neurons, ensemble, scaled, jnp.asarray(unit), sites) for unit in units]
        return sum((jnp.dot(f.T, f) for f in features), jnp.zeros((lattice.num_sites, lattice.num_sites)))

    return kernel


def _of_gaussian_field(architecture: OnLattice, smearings: np.ndarray) -> KernelOf:
    shape = architecture.lattice.shape
    sites = np.indices(shape).reshape(len(shape), -1).T
    diagonal = jnp.asarray(architecture.covariance(sites, sites))

    def apply(values: Array) -> Array:
        if isinstance(architecture, InfiniteWidth):
            root = jnp.asarray(architecture.process.whitening)
            return jnp.dot(root, jnp.dot(root.T, values))
        transform = jnp.fft.fftn(values.reshape(shape)) * jnp.asarray(spectrum)
        return jnp.fft.ifftn(transform).real.reshape(-1)

    spectrum = architecture.spectrum() if isinstance(architecture, OnTorus) else np.zeros(0)
    smeared = jnp.stack([jnp.dot(jnp.asarray(g), apply(jnp.asarray(g))) for g in smearings])

    def kernel(theta: Theta, force: Array) -> Kernel:
        pulled = apply(force)
        return Kernel(diagonal, pulled, smeared, jnp.dot(jnp.asarray(smearings), pulled))

    return kernel


def _of_neurons(
    ensemble: Ensemble, architecture: SumOfNeurons, deviations: np.ndarray, smearings: np.ndarray
) -> KernelOf:
    lattice, components = ensemble.lattice, deviations.shape[1:]
    at_once = max(1, NEURONS_AT_ONCE // lattice.num_sites)
    sites = jnp.asarray(lattice.sites.reshape(-1, lattice.dim))
    units = np.eye(int(np.prod(components))).reshape(-1, *components)

    def kernel(theta: Theta, force: Array) -> Kernel:
        common = {name: theta[name] for name in architecture.common}
        own = {name: theta[name] for name in theta if name not in common}
        vectors = jnp.concatenate([force[None], jnp.asarray(smearings)])

        def of_some(neurons: dict[str, Array]) -> Array:
            total = jnp.zeros(2 * lattice.num_sites + len(smearings), force.dtype)
            for unit in units:
                # unit output weights times their standard deviations
                features = _fields(architecture, ensemble, {**neurons, **common}, jnp.asarray(unit), sites)
                features = jax.lax.optimization_barrier(features)  # else each of the sums below computes them anew
                projections = jnp.dot(features, vectors.T)
                sums = jnp.sum(features**2, axis=0), jnp.dot(projections[:, 0], features)
                total = total + jnp.concatenate([*sums, jnp.sum(projections[:, 1:] ** 2, axis=0)])
            return total

        own["amplitudes"] = jnp.asarray(deviations, force.dtype)
        diagonal, pulled, smeared = jnp.split(sum_over(of_some, own, at_once), np.arange(1, 3) * lattice.num_sites)
        return Kernel(diagonal, pulled, smeared, jnp.dot(jnp.asarray(smearings), pulled))

    return kernel


def _fields(
    architecture: SumOfNeurons, ensemble: Ensemble, theta: dict[str, Array], unit: Array, sites: Array
) -> Float[Array, "neurons sites"]:
    """s_i f_i(x) of one component of the output weights; `amplitudes` hold the standard deviations."""
    theta = {**theta, "amplitudes": theta["amplitudes"] * jnp.broadcast_to(unit, theta["amplitudes"].shape)}
    if isinstance(architecture, PlaneWaves) and len(sites) > FEW_SITES:
        return neuron_fields(architecture.waves(theta), ensemble.lattice)
    return architecture.neurons(theta, sites)


def _of_many_waves(
    ensemble: Ensemble, architecture: PlaneWaves, deviations: np.ndarray, smearings: np.ndarray
) -> KernelOf:
    """K through the fast sums over plane waves: f^2 is a wave of twice the momentum and a constant."""
    lattice, components = ensemble.lattice, deviations.shape[1:]
    units = np.eye(int(np.prod(components))).reshape(-1, *components)

    def kernel(theta: Theta, force: Array) -> Kernel:
        vectors = jnp.concatenate([force[None], jnp.asarray(smearings)])
        shape = (lattice.num_sites,)
        diagonal, pulled, smeared = jnp.zeros(shape), jnp.zeros(shape), jnp.zeros(len(smearings))
        for unit in units:
            weights = jnp.asarray(deviations) * jnp.broadcast_to(jnp.asarray(unit), deviations.shape)
            w, c, s = architecture.waves({**theta, "amplitudes": weights})

            def wave_sum(amplitudes: Array, w: Array = w, c: Array = c, s: Array = s) -> Array:
                return field_of_waves(Waves(w, amplitudes * c, amplitudes * s), lattice).reshape(-1)

            _, pull = jax.vjp(wave_sum, jnp.ones_like(c))
            projections = jnp.stack([pull(v)[0] for v in vectors])
            doubled = field_of_waves(Waves(2 * w, (c**2 - s**2) / 2, c * s), lattice).reshape(-1)
            diagonal = diagonal + jnp.sum(c**2 + s**2) / 2 + doubled
            pulled = pulled + wave_sum(projections[0])
            smeared = smeared + jnp.sum(projections[1:] ** 2, axis=1)
        return Kernel(diagonal, pulled, smeared, jnp.dot(jnp.asarray(smearings), pulled))

    return kernel


def _of_readout(ensemble: Ensemble, smearings: np.ndarray) -> KernelOf:
    """Of the last layer of a deep network only what gradients of the field give.

    The field is this layer's part and an output bias. The latter is taken off K F, because in the identities
    phi(g)^(k-1) multiplies the sum of K F and of the layer's part.
    """
    _, variance = moments(ensemble.architecture.prior()["amplitudes"])

    def kernel(theta: Theta, force: Array) -> Kernel:
        def linear(amplitudes: Array) -> Array:
            return ensemble.field({**theta, "amplitudes": amplitudes}).reshape(-1)

        field, pull = jax.vjp(linear, theta["amplitudes"])
        along = [pull(jnp.asarray(g, force.dtype))[0] for g in smearings]
        of_force = jnp.asarray(variance) * pull(force)[0]
        smeared = jnp.stack([jnp.sum(jnp.asarray(variance) * p**2) for p in along])
        biases = jnp.dot(jnp.asarray(smearings), field) - jnp.stack([jnp.sum(p * theta["amplitudes"]) for p in along])
        return Kernel(None, None, smeared, jnp.stack([jnp.sum(p * of_force) for p in along]) - biases)

    return kernel
