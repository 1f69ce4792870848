"""What is measured on every draw, in the sampling loop: small arrays from which all expectation values are made.

A torus is translation invariant, and every average is taken over all its sites. Averages over a box mix its middle,
where the field is near the vacuum, with its edges, where it is nearly free. So `phi2` and `phi4` are volume averages,
while `phi2_mid` and `phi4_mid` belong to the central site, and in a box two-point functions start from the central
time: of (c, c + t) and (c, c - t) the pairs that exist are averaged.

    time_slice(t)  = mean of phi over space at time t
    two_point(t)   = phi(c) phi(c +- t) along the time axis through the central site c
    correlator(t)  = time_slice(c) time_slice(c +- t), the zero-momentum correlator C(t)
    nearest_neighbour = mean of phi(x) phi(x + a e_mu) over all links, the Ising energy E without its sign
    propagator(mu, k) = (a^d/V) |sum_x phi(x) e^{-ip.x}|^2 at p = 2 pi k/(n_mu a) along axis mu, k = 0 .. 3, on a torus
    improved_correlator = correlator without the noise of the free field (`improved_correlator`)
    virial         = [ sum_i a_i^2/Var(a_i) + sum_x phi(x) dS_int/dphi(x) ] / (number of output weights)

<virial> = 1 exactly, at every width, for normal output weights: the Schwinger-Dyson equation of a
rescaling of the output weights.
"""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float

from nnft_mcmc.architectures import SumOfNeurons
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.estimators.improved_correlator import has_improved_correlator, improved_correlator
from nnft_mcmc.lattice import Lattice

# Modes k = 0 .. MODES - 1 along each axis are kept of every draw; all others are in the field.
MODES = 4


def per_draw(ensemble: Ensemble) -> Callable[[Mapping[str, Array], Float[Array, "*sites"]], dict[str, Array]]:
    """The function (theta, field) -> observables of one draw."""
    lattice = ensemble.lattice
    space, pair_products = tuple(range(1, lattice.dim)), _torus_pairs if lattice.geometry == "torus" else _box_pairs

    def observe(theta: Mapping[str, Array], field: Float[Array, "*sites"]) -> dict[str, Array]:
        two_point, correlator = pair_products(lattice, field, field.mean(axis=space))
        phi2, phi4 = jnp.mean(field**2), jnp.mean(field**4)
        periodic, middle = lattice.geometry == "torus", field[lattice.centre]
        observables = {
            "phi2": phi2,
            "phi4": phi4,
            "phi2_mid": phi2 if periodic else middle**2,
            "phi4_mid": phi4 if periodic else middle**4,
            "magnetization": jnp.mean(field),
            "two_point": two_point,
            "correlator": correlator,
        }
        if has_links(lattice):
            observables["nearest_neighbour"] = nearest_neighbour(lattice, field)
        if periodic:
            observables["propagator"] = axis_propagator(lattice, field)
        if not ensemble.local_action.is_free:
            observables["action"] = ensemble.action(field)
        if has_improved_correlator(ensemble):
            observables["improved_correlator"] = improved_correlator(ensemble, field)
        if has_virial(ensemble):
            observables["virial"] = virial(ensemble, theta, field)
        return observables

    return observe


def _box_pairs(lattice: Lattice, field: Array, time_slice: Array) -> tuple[Array, Array]:
    """two_point and correlator of one draw, from the central time."""
    pairs, centre = jnp.asarray(pair_weights(lattice)), lattice.centre
    line = field[(slice(None), *centre[1:])]
    return pairs @ (field[centre] * line), pairs @ (time_slice[centre[0]] * time_slice)


def _torus_pairs(lattice: Lattice, field: Array, time_slice: Array) -> tuple[Array, Array]:
    """two_point and correlator of one draw, averaged over translations."""
    steps = range(len(pair_weights(lattice)))
    two_point = jnp.stack([jnp.mean(field * jnp.roll(field, -k, axis=0)) for k in steps])
    correlator = jnp.stack([jnp.mean(time_slice * jnp.roll(time_slice, -k)) for k in steps])
    return two_point, correlator


def has_links(lattice: Lattice) -> bool:
    """Whether there are pairs of neighbours."""
    return lattice.geometry == "torus" or lattice.num_sites > 1


def nearest_neighbour(lattice: Lattice, field: Float[Array, "*sites"]) -> Float[Array, ""]:
    """Mean over the links of the product at their ends.

    Every site of a torus has a link in every direction; where the torus has two sites, they have two links.
    """
    if lattice.geometry == "torus":
        return jnp.mean(field * sum(jnp.roll(field, -1, axis=mu) for mu in range(lattice.dim))) / lattice.dim
    ends = [jnp.moveaxis(field, mu, 0) for mu in range(lattice.dim)]
    products = [along[:-1] * along[1:] for along in ends]
    return sum((jnp.sum(p) for p in products), jnp.zeros(())) / sum(p.size for p in products)


def axis_propagator(lattice: Lattice, field: Float[Array, "*sites"]) -> Float[Array, "dim modes"]:
    """(a^d/V) |f_p|^2 at the modes along each axis, from the means over the other axes."""
    rows = []
    for mu, n in enumerate(lattice.shape):
        others = tuple(nu for nu in range(lattice.dim) if nu != mu)
        waves = np.exp(-2j * np.pi / n * np.outer(modes(lattice), np.arange(n)))
        rows.append(jnp.abs(jnp.asarray(waves) @ field.mean(axis=others)) ** 2 / n**2)
    return lattice.num_sites * lattice.cell_volume * jnp.stack(rows)


def modes(lattice: Lattice) -> np.ndarray:
    """The mode numbers k of `propagator`: 0 .. 3, and no more than the longest axis has."""
    return np.arange(min(MODES, max(lattice.shape) // 2 + 1))


def longest_axes(lattice: Lattice) -> tuple[int, ...]:
    """The axes with most sites: along them lies the smallest momentum that is not zero."""
    return tuple(mu for mu, n in enumerate(lattice.shape) if n == max(lattice.shape))


def axis_momenta(lattice: Lattice) -> np.ndarray:
    """2 pi k/(n a) of `modes` along the longest axes, in 1/length."""
    return 2 * np.pi * modes(lattice) / (max(lattice.shape) * lattice.spacing)


def pair_weights(lattice: Lattice) -> np.ndarray:
    """w[k, j] with two_point(k a) = sum_j w[k, j] phi(c) phi(j), c the central time; shape (separations, times)."""
    n, c = lattice.shape[0], lattice.centre[0]
    weights = np.zeros((max(c, n - 1 - c) + 1, n))
    for j in range(n):
        weights[abs(j - c), j] = 1.0
    return weights / weights.sum(axis=1, keepdims=True)


def separations(lattice: Lattice) -> np.ndarray:
    """The t of two_point(t) and correlator(t), in units of length."""
    return np.arange(len(pair_weights(lattice))) * lattice.spacing


def has_virial(ensemble: Ensemble) -> bool:
    """Whether the virial identity holds: the field is linear in output weights that are normal."""
    if not isinstance(ensemble.architecture, SumOfNeurons):
        return False
    prior = ensemble.architecture.prior()["amplitudes"]
    while isinstance(prior, (dist.ExpandedDistribution, dist.Independent)):
        prior = prior.base_dist
    return isinstance(prior, dist.Normal)


def virial(ensemble: Ensemble, theta: Mapping[str, Array], field: Float[Array, "*sites"]) -> Float[Array, ""]:
    """The left-hand side of <virial> = 1 on one draw."""
    amplitudes = theta["amplitudes"]
    variance = ensemble.architecture.prior()["amplitudes"].variance
    from_prior = jnp.sum(amplitudes**2 / variance)
    return (from_prior + jnp.sum(field * ensemble.local_action.force(field))) / amplitudes.size
