"""Exact cumulants and correlators of a sum of independent neurons at any width (lectures (44)-(51)).

    phi = N^{-1/2} sum_i psi_i,     kappa_r[phi] = N^{-r/2} sum_i kappa_r[psi_i] = N^{1-r/2} kappa_r[psi]  (i.i.d.)

for joint cumulants of every order r; the correlators <phi .. phi> follow from them. What is known of a neuron are its
joint moments <psi(x_a) psi(x_b) ..>, functions of index tuples as in `wick`. For psi = a f they are mu_r E[f .. f] with
mu_r = <a^r>. A neuron of the architectures, whose output weight holds the 1/sqrt(N), is psi/sqrt(N).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnft_mcmc._checks import InputError, integer, non_negative
from nnft_mcmc.exact.wick import JointMoments, cumulants_from_moments, moments_from_cumulants
from nnft_mcmc.statistics.partitions import Block

Array = NDArray[np.float64]


def sum_of_neurons_cumulant(single_moments: JointMoments, order: int, width: int, even: bool = False) -> Array:
    """Connected n-point function kappa(phi_0, .., phi_{order-1}) of `width` i.i.d. neurons of moments <psi .. psi>.

    `even`: the odd moments vanish, as for every symmetric output weight, and are never asked for.
    """
    width = integer("width", width, 1)
    return width ** (1 - order / 2) * cumulants_from_moments(single_moments, order, even)


def sum_of_neurons_moment(single_moments: JointMoments, order: int, width: int, even: bool = False) -> Array:
    """Full n-point function <phi_0 .. phi_{order-1}> of `width` i.i.d. neurons of moments <psi .. psi>."""

    def cumulant(block: Block) -> Array:
        return sum_of_neurons_cumulant(_at(single_moments, block), len(block), width, even)

    return moments_from_cumulants(cumulant, order, even)


def independent_neurons_cumulant(neuron_moments: JointMoments, order: int, even: bool = False) -> Array:
    """The connected n-point function where every neuron has a law of its own (stratified momenta, say).

    The moments are arrays (N, ...), one row for each of the N neurons; shape (...).
    """
    cumulants = cumulants_from_moments(neuron_moments, order, even)
    if cumulants.ndim == 0:
        raise InputError("neuron_moments gave single numbers; the moments must be arrays with one row for each neuron.")
    return cumulants.shape[0] ** (-order / 2) * cumulants.sum(axis=0)


def independent_neurons_moment(neuron_moments: JointMoments, order: int, even: bool = False) -> Array:
    """The full n-point function where every neuron has a law of its own; moments (N, ...), shape (...)."""

    def cumulant(block: Block) -> Array:
        return independent_neurons_cumulant(_at(neuron_moments, block), len(block), even)

    return moments_from_cumulants(cumulant, order, even)


def one_point_cumulants(mu2: ArrayLike, mu4: ArrayLike, mu6: ArrayLike, width: int) -> tuple[Array, Array, Array]:
    """kappa_2, kappa_4, kappa_6 of phi(x) from the moments <psi^2>, <psi^4>, <psi^6> of one symmetric neuron.

    kappa_4/kappa_2^2 is the excess kurtosis of the field.
    """
    n = integer("width", width, 1)
    m2, m4, m6 = (np.asarray(mu, dtype=np.float64) for mu in (mu2, mu4, mu6))
    return m2, (m4 - 3 * m2**2) / n, (m6 - 15 * m4 * m2 + 30 * m2**3) / n**2


def weighted_moments(amplitude_moment: Callable[[int], float], feature_moments: JointMoments) -> JointMoments:
    """<psi .. psi> = mu_r E[f .. f] of a neuron psi = a f; `amplitude_moment(r)` is mu_r = <a^r>."""
    return lambda block: amplitude_moment(len(block)) * np.asarray(feature_moments(block), dtype=np.float64)


def normal_moment(std: float = 1.0) -> Callable[[int], float]:
    """r -> <a^r> of a ~ N(0, std^2): (r-1)!! std^r, 0 for odd r."""
    scale = non_negative("std", std)
    return lambda order: 0.0 if order % 2 else float(np.prod(np.arange(1.0, order, 2.0))) * scale**order


def quadrature_moments(features: ArrayLike, weights: ArrayLike) -> JointMoments:
    """E[f .. f] from the values (n, ..., nodes) of a neuron at n points and the nodes' weights (nodes,) of sum 1.

    Nodes are parameters of one neuron: a quadrature rule, or draws with equal weights (then with a statistical error).
    """
    f, w = np.asarray(features, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    if f.ndim < 2 or w.shape != f.shape[-1:] or abs(w.sum() - 1) > 1e-9:
        raise InputError(
            f"features and weights have shapes {f.shape} and {w.shape} with weights of sum {w.sum():g}; they must be "
            f"(n, ..., nodes) and (nodes,) with weights of sum 1."
        )
    return lambda block: np.prod(f[list(block)], axis=0) @ w


def _at(moments: JointMoments, block: Block) -> JointMoments:
    """The moments of the fields of one block, counted from 0."""
    return lambda indices: moments(tuple(block[i] for i in indices))
