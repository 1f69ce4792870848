r"""How far a function is from what an architecture can represent, whatever its width; norms are root mean squares.

**Additive functions** g_1(x_1) + .. + g_d(x_d), all that `AdditiveNet` and `AdditiveKAN` can be. The
nearest to f in L2 of a box is

    f_0 + sum_j (f_j - f_0),    f_0 = <f>,  f_j(x_j) = <f | x_j>    (means over the box, over the other coordinates),

and the distance is the norm of the rest, the interactions of the analysis of variance; for x y on a centred square it
is that of x y itself. In the sup-norm, d = 2, additive functions have vanishing alternating sums over the corners of
rectangles, so that

    sup |phi - f|  >=  (1/4) max | f(a, b) - f(a, b') - f(a', b) + f(a', b') |.

**Polynomials** of total degree p, all that a hidden layer with a polynomial activation of degree p can be, and L - 1 of
them with p^{L-1}: the nearest is the projection on products of Legendre polynomials. Non-polynomial activations have no
such floor (Leshno, Lin, Pinkus and Schocken 1993).
"""

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nnft_mcmc import _checks
from nnft_mcmc.architectures import MLP, AdditiveKAN, AdditiveNet, Architecture, DenseNet
from nnft_mcmc.architectures.activations import Activation, Identity, Square
from nnft_mcmc.expressivity.approximation import Function, samples
from nnft_mcmc.expressivity.nodes import gauss_legendre, grid

FloatArray = NDArray[np.float64]

ORDER = 64
CORNERS = 33


def additive_floor(f: Function, lower: Sequence[float], upper: Sequence[float], order: int = ORDER) -> float:
    """The distance in L2 to the additive functions, by Gauss-Legendre quadrature with `order` nodes a coordinate."""
    nodes, dim = gauss_legendre(lower, upper, order), len(lower)
    weights = gauss_legendre([0.0], [1.0], order).weights
    values = samples(f, nodes.points).reshape([order] * dim)
    mean = float(nodes.weights @ values.ravel())
    rest = values - mean
    for axis in range(dim):
        of_one = values
        for other in reversed([k for k in range(dim) if k != axis]):
            of_one = np.tensordot(of_one, weights, (other, 0))
        rest = rest - np.expand_dims(of_one - mean, [k for k in range(dim) if k != axis])
    return nodes.rms(rest.ravel())


def additive_sup_floor(f: Function, lower: Sequence[float], upper: Sequence[float], number: int = CORNERS) -> float:
    """What the sup-norm distance to additive functions of two variables exceeds, by the rectangles of a grid."""
    if len(lower) != 2:
        raise _checks.InputError(f"the box has {len(lower)} dimensions; rectangles need two.")
    values = samples(f, grid(lower, upper, number)).reshape(number, number)
    rows = values[:, None, :] - values[None, :, :]  # f(a, .) - f(a', .)
    return float(np.ptp(rows, axis=2).max()) / 4


def polynomial_floor(
    f: Function, lower: Sequence[float], upper: Sequence[float], degree: int, order: int = ORDER
) -> float:
    """The distance in L2 to polynomials of total degree at most `degree` < order."""
    _checks.integer("degree", degree, minimum=0, maximum=order - 1)
    nodes, dim = gauss_legendre(lower, upper, order), len(lower)
    rest = values = samples(f, nodes.points)
    one = np.polynomial.legendre.legvander(gauss_legendre([-1.0], [1.0], order).points[:, 0], degree)
    one = one * np.sqrt(2 * np.arange(degree + 1) + 1)  # of mean square one
    for powers in itertools.product(range(degree + 1), repeat=dim):
        if sum(powers) <= degree:
            mesh = np.meshgrid(*[one[:, p] for p in powers], indexing="ij")
            polynomial = np.stack(mesh, axis=-1).reshape(-1, dim).prod(axis=1)
            rest = rest - float(nodes.weights @ (values * polynomial)) * polynomial
    return nodes.rms(rest)


def polynomial_degree(network: Architecture) -> int | None:
    """The degree of the polynomials that `network` is made of; None where it is not."""
    if isinstance(network, (DenseNet, AdditiveNet)):
        return _degree(network.sigma)
    if isinstance(network, MLP):
        degree = _degree(network.layers.sigma)
        return None if degree is None else degree ** (network.depth - 1)
    return None


def _degree(sigma: Activation) -> int | None:
    return 1 if isinstance(sigma, Identity) else 2 if isinstance(sigma, Square) else None


def floor_of(network: Architecture, f: Function, lower: Sequence[float], upper: Sequence[float]) -> float:
    """What the L2 error of `network` cannot fall below at any width; 0 where nothing is known."""
    additive = isinstance(network, (AdditiveNet, AdditiveKAN)) and network.dim > 1
    degree = polynomial_degree(network)
    return max(
        additive_floor(f, lower, upper) if additive else 0.0,
        0.0 if degree is None or degree >= ORDER else polynomial_floor(f, lower, upper, degree),
    )
