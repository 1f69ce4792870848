r"""Kolmogorov-Arnold networks (Liu et al., arXiv:2404.19756), lectures section 2.2: a function on every edge,

    z^(l)_i = sum_j phi^(l)_ij(z^(l-1)_j),    z^(0) = x,  phi(x) = z^(L),
    phi_ij(z) = w_ij silu(z) + sum_k c_ijk B_jk(z),

with the B-splines of `splines.py` on the grid of node j. The sizes n_l = (dim, widths .., 1) are those of eq. (25) for
widths = (2 dim + 1,). The density of the parameters is

    w^(l) ~ N(0, sw^2/n_{l-1}),    c^(l) ~ N(0, sc^2/n_{l-1}),    sw, sc = base_std, spline_std,

all independent, so that every node has a finite variance whatever the widths, and the field is Gaussian when they are
large, with the kernel

    K_1(x, y)     = (1/dim) sum_j [ sw^2 silu(x_j) silu(y_j) + sc^2 sum_k B_jk(x_j) B_jk(y_j) ]
    K_{l+1}(x, y) = sw^2 <silu(u) silu(v)> + sc^2 sum_k <B_k(u) B_k(v)>,    (u, v) ~ N(0, K_l).

With one hidden layer its nodes are exactly Gaussian and independent, and K_2 is the two-point function at every width.
Without a hidden layer the network is linear in its parameters and the field Gaussian: `AdditiveKAN`.
"""

import math
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, ArrayLike, Float
from numpy.typing import NDArray
from scipy.special import expit

from nnft_mcmc import _checks
from nnft_mcmc.architectures import activations
from nnft_mcmc.architectures._base import ExactCorrelators, InfiniteWidthKernel, Theta, points
from nnft_mcmc.architectures.kernels import Gram
from nnft_mcmc.architectures.layers import normal
from nnft_mcmc.architectures.splines import basis, host_basis, product_expectation, uniform_knots

FloatArray = NDArray[np.float64]
# By layer, by node that the edges leave from: its knots, those beyond the grid included.
Knots = tuple[tuple[tuple[float, ...], ...], ...]

LARGEST_DEGREE = 5


def as_knots(value: object) -> object:
    """Nested lists or arrays as nested tuples."""
    if isinstance(value, np.ndarray):
        return as_knots(value.tolist())
    return tuple(as_knots(v) for v in value) if isinstance(value, (list, tuple)) else value


class KAN(InfiniteWidthKernel):
    """A Kolmogorov-Arnold network with hidden layers of `widths` nodes.

    Parameters: base_l (n_l, n_{l-1}) and splines_l (n_l, n_{l-1}, grid + degree), l = 1 .. L. The grids have `grid`
    equal intervals: on [lower, upper] for the components of x, on [-hidden_reach, hidden_reach] for hidden nodes.
    Beyond a grid only silu remains. `knots`, one list for every node of every layer, replaces all of them.
    """

    dim: int = eqx.field(static=True)
    widths: tuple[int, ...] = eqx.field(static=True, converter=as_knots)
    grid: int = eqx.field(static=True, default=5)
    degree: int = eqx.field(static=True, default=3)
    lower: float = eqx.field(static=True, default=-1.0)
    upper: float = eqx.field(static=True, default=1.0)
    hidden_reach: float = eqx.field(static=True, default=2.0)
    base_std: float = eqx.field(static=True, default=1.0)
    spline_std: float = eqx.field(static=True, default=1.0)
    knots: Knots | None = eqx.field(static=True, default=None, converter=as_knots)

    def __check_init__(self) -> None:
        _check_edges("kan", self)
        _checks.positive("kan.hidden_reach", self.hidden_reach)
        if not isinstance(self.widths, tuple) or not self.widths:
            raise _checks.InputError(
                f"kan.widths is {self.widths!r}; it must be a list of the sizes of the hidden layers, at least one;"
                " without a hidden layer take additive_kan."
            )
        for width in self.widths:
            _checks.integer("kan.widths", width, minimum=1)
        if self.knots is not None:
            _check_knots(self.knots, self.sizes, self.grid + 1 + 2 * self.degree)

    @property
    def sizes(self) -> tuple[int, ...]:
        """n_0 = dim, the widths, n_L = 1."""
        return (self.dim, *self.widths, 1)

    @property
    def depth(self) -> int:
        """The number of layers of edges, L."""
        return len(self.sizes) - 1

    @property
    def knot_arrays(self) -> list[FloatArray]:
        """The knots of each layer of edges, (n_{l-1}, grid + 1 + 2 degree)."""
        if self.knots is not None:
            return [np.array(layer) for layer in self.knots]
        ends = [(self.lower, self.upper)] + [(-self.hidden_reach, self.hidden_reach)] * len(self.widths)
        each = [uniform_knots(*end, self.grid, self.degree) for end in ends]
        return [np.tile(row, (n, 1)) for n, row in zip(self.sizes, each, strict=False)]

    def prior(self) -> dict[str, dist.Distribution]:
        shapes = [
            (layer, n_in, n_out) for layer, (n_in, n_out) in enumerate(zip(self.sizes, self.sizes[1:], strict=False), 1)
        ]
        number = self.grid + self.degree
        base = {f"base_{n}": normal(self.base_std / math.sqrt(i), o, i) for n, i, o in shapes}
        splines = {f"splines_{n}": normal(self.spline_std / math.sqrt(i), o, i, number) for n, i, o in shapes}
        return {**base, **splines}

    def forward(self, theta: Theta, x: Float[Array, " dim"]) -> Float[Array, ""]:
        knots = [jnp.asarray(k, dtype=x.dtype) for k in self.knot_arrays]
        return jnp.sum(edges(theta, knots, self.degree, x)[-1])

    def infinite_width_kernel(self, x: ArrayLike, y: ArrayLike) -> np.ndarray:
        """K_L(x, y); where hidden nodes have grids of their own, the mean over them."""
        x, y = points(self.dim, x, y)
        first, *hidden = self.knot_arrays
        gram = Gram(*(self._first(first, u, v) for u, v in ((x, x), (y, y), (x, y))))
        for knots in hidden:
            gram = Gram(
                *(self._next(knots, *abc) for abc in ((gram.xx,) * 3, (gram.yy,) * 3, (gram.xx, gram.yy, gram.xy)))
            )
        return gram.xy

    def _first(self, knots: FloatArray, x: FloatArray, y: FloatArray) -> FloatArray:
        return linear_kernel(knots, self.degree, self.base_std, self.spline_std, x, y)

    def _next(self, knots: FloatArray, a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
        silu = activations.REGISTRY["silu"].expectation(a, b, c)
        rows, counts = np.unique(knots, axis=0, return_counts=True)
        splines = [product_expectation(a, b, c, row, self.degree) for row in rows]
        mean = np.tensordot(counts / len(knots), np.stack(splines), axes=1)
        return self.base_std**2 * silu + self.spline_std**2 * mean


class AdditiveKAN(ExactCorrelators, InfiniteWidthKernel):
    """phi(x) = sum_j [w_j silu(x_j) + sum_k c_jk B_k(x_j)]: one layer of edges, a Gaussian field with the kernel K_1.

    Parameters: base (dim,), splines (dim, grid + degree), of variance 1/dim times base_std^2 and spline_std^2.
    """

    dim: int = eqx.field(static=True)
    grid: int = eqx.field(static=True, default=5)
    degree: int = eqx.field(static=True, default=3)
    lower: float = eqx.field(static=True, default=-1.0)
    upper: float = eqx.field(static=True, default=1.0)
    base_std: float = eqx.field(static=True, default=1.0)
    spline_std: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        _check_edges("additive_kan", self)

    @property
    def _knots(self) -> FloatArray:
        return np.tile(uniform_knots(self.lower, self.upper, self.grid, self.degree), (self.dim, 1))

    def prior(self) -> dict[str, dist.Distribution]:
        root = math.sqrt(self.dim)
        return {
            "base": normal(self.base_std / root, self.dim),
            "splines": normal(self.spline_std / root, self.dim, self.grid + self.degree),
        }

    def forward(self, theta: Theta, x: Float[Array, " dim"]) -> Float[Array, ""]:
        knots = jnp.asarray(self._knots, dtype=x.dtype)
        splines = jnp.sum(theta["splines"] * basis(x, knots, self.degree))
        return jnp.dot(theta["base"], jax.nn.silu(x)) + splines

    def n_point_connected(self, *xs: ArrayLike) -> np.ndarray:
        at = points(self.dim, *xs)
        if len(at) != 2:
            return np.zeros(at[0].shape[:-1])
        return linear_kernel(self._knots, self.degree, self.base_std, self.spline_std, *at)

    def infinite_width_kernel(self, x: ArrayLike, y: ArrayLike) -> np.ndarray:
        return self.two_point(x, y)

    def has_gaussian_tails(self) -> bool:
        return True


def edges(theta: Theta, knots: Sequence[Array], degree: int, x: Float[Array, " dim"]) -> list[Array]:
    """phi^(l)_ij(z^(l-1)_j) of every layer at one point, (n_l, n_{l-1}); their sums over j are the nodes z^(l)."""
    found, z = [], x
    for layer, knots_of_layer in enumerate(knots, 1):
        base = theta[f"base_{layer}"] * jax.nn.silu(z)[None, :]
        found.append(base + jnp.einsum("oik,ik->oi", theta[f"splines_{layer}"], basis(z, knots_of_layer, degree)))
        z = jnp.sum(found[-1], axis=1)
    return found


def linear_kernel(
    knots: FloatArray, degree: int, base_std: float, spline_std: float, x: FloatArray, y: FloatArray
) -> FloatArray:
    """K_1(x, y) of the module docstring."""
    base = np.sum(x * expit(x) * y * expit(y), axis=-1)
    splines = [
        np.sum(host_basis(x[..., j], row, degree) * host_basis(y[..., j], row, degree), axis=-1)
        for j, row in enumerate(knots)
    ]
    return (base_std**2 * base + spline_std**2 * np.sum(splines, axis=0)) / x.shape[-1]


def _check_edges(name: str, net: KAN | AdditiveKAN) -> None:
    _checks.integer(f"{name}.dim", net.dim, minimum=1)
    _checks.integer(f"{name}.grid", net.grid, minimum=1)
    _checks.integer(f"{name}.degree", net.degree, minimum=1, maximum=LARGEST_DEGREE)
    if not _checks.real(f"{name}.lower", net.lower) < _checks.real(f"{name}.upper", net.upper):
        raise _checks.InputError(f"{name}.lower is {net.lower!r} and upper {net.upper!r}; lower must be below upper.")
    _checks.non_negative(f"{name}.base_std", net.base_std)
    _checks.positive(f"{name}.spline_std", net.spline_std)


def _check_knots(knots: object, sizes: tuple[int, ...], number: int) -> None:
    layers = knots if isinstance(knots, tuple) else ()
    rows = [row for layer in layers for row in (layer if isinstance(layer, tuple) else ())]
    shapes = [len(layer) if isinstance(layer, tuple) else 0 for layer in layers]
    if shapes != list(sizes[:-1]) or not all(isinstance(row, tuple) and len(row) == number for row in rows):
        raise _checks.InputError(
            f"kan.knots has the wrong shape; it must be a list of {number} knots (grid + 1 + 2 degree) for each of"
            f" {list(sizes[:-1])} nodes by layer."
        )
    for row in rows:
        values = [_checks.real("a knot of kan.knots", t) for t in row]
        if (np.diff(values) <= 0).any():
            raise _checks.InputError("kan.knots must increase along each list; leave out equal knots.")
