r"""The action from the correlators, to first order in the non-Gaussianity (Edgeworth).

For fields phi_a on n points with two-point function G and connected four-point function Gc4 = O(1/N), h = G^{-1} phi,

    p(phi) = p_G(phi) [1 + (1/4!) Gc4^{abcd} H_abcd(phi)] + O(1/N^2),
    H_abcd = h_a h_b h_c h_d - (G^{-1}_ab h_c h_d + 5 perms) + (G^{-1}_ab G^{-1}_cd + 2 perms).

Minus the logarithm of it is, up to a constant,

    S(phi) = (1/2) phi (G^{-1} + Q/2) phi + (1/4!) lambda4^{abcd} phi_a phi_b phi_c phi_d,
    lambda4^{abcd} = - G^{-1}_ae G^{-1}_bf G^{-1}_cg G^{-1}_dh Gc4^{efgh},
    Q_cd = Gc4^{abef} G^{-1}_ab G^{-1}_ec G^{-1}_fd = - lambda4^{abcd} G_ab.

The density is proportional to exp(-S). Both terms are of order 1/N: without Q the two-point function would be wrong
at that order. A positive kurtosis has lambda4 < 0: exp(-S) then has no finite integral, and S is an asymptotic
statement about typical fields, phi G^{-1} phi much less than N. The bracket of p, by contrast, has the correlators G
and Gc4 exactly, but can be negative. Source: Demirtas et al., arXiv:2307.03223.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnft_mcmc._checks import InputError
from nnft_mcmc.exact.wick import TwoPoint, covariance_matrix

Array = NDArray[np.float64]
FourPoint = Callable[[Array, Array, Array, Array], ArrayLike]

# On typical fields the rounding of Gc4 moves N times the interaction, itself 10 to 100, by some 15 eps condition^2.
LARGEST_CONDITION = 1e6
_SYMMETRY = 1e-8


class FirstOrderCorrelators(NamedTuple):
    """<phi_a phi_b> (n, n), its connected four-point function (n, n, n, n), and ln Z/Z0 of exp(-S) to first order."""

    two_point: Array
    four_point_connected: Array
    log_partition_ratio: float


@dataclass(frozen=True, eq=False)
class EdgeworthAction:
    """S = (1/2) phi (G^{-1} + Q/2) phi + (1/4!) lambda4 phi phi phi phi on n points.

    covariance: G (n, n); quadratic: Q (n, n); lambda4: (n, n, n, n), symmetric in all indices. Raises `InputError` for
    a covariance with a condition number above 1e6, which cannot be inverted for this purpose.
    """

    covariance: Array
    quadratic: Array
    lambda4: Array

    def __post_init__(self) -> None:
        g = _symmetric("covariance", self.covariance, 2)
        for name, rank in (("quadratic", 2), ("lambda4", 4)):
            object.__setattr__(self, name, _symmetric(name, getattr(self, name), rank, len(g)))
        object.__setattr__(self, "covariance", g)
        _require_invertible(g)

    @classmethod
    def from_correlators(cls, covariance: ArrayLike, four_point_connected: ArrayLike) -> "EdgeworthAction":
        """The action of G (n, n) and Gc4 (n, n, n, n)."""
        g = _symmetric("covariance", covariance, 2)
        gc4 = _symmetric("four_point_connected", four_point_connected, 4, len(g))
        _require_invertible(g)
        lambda4 = -_symmetrised(_contracted(gc4, _inverse(g)))
        return cls(g, -np.einsum("abcd,ab->cd", lambda4, g), lambda4)

    @classmethod
    def from_functions(
        cls, two_point: TwoPoint, four_point_connected: FourPoint, points: ArrayLike
    ) -> "EdgeworthAction":
        """The action on the points (n, dim) from functions that broadcast, like the methods of an architecture."""
        return cls.from_correlators(
            covariance_matrix(two_point, points), four_point_tensor(four_point_connected, points)
        )

    @cached_property
    def precision(self) -> Array:
        """G^{-1}, (n, n)."""
        return _inverse(self.covariance)

    def free_action(self, phi: ArrayLike) -> Array:
        """(1/2) phi G^{-1} phi of fields (..., n): shape (...)."""
        field = self._field(phi)
        return 0.5 * np.einsum("...a,ab,...b->...", field, self.precision, field, optimize=True)

    def interaction(self, phi: ArrayLike) -> Array:
        """(1/4) phi Q phi + (1/4!) lambda4 phi phi phi phi of fields (..., n): shape (...)."""
        field = self._field(phi)
        pairs = np.einsum("...a,...b->...ab", field, field)
        quartic = np.einsum("...ab,abcd,...cd->...", pairs, self.lambda4, pairs, optimize=True)
        return np.einsum("...ab,ab->...", pairs, self.quadratic) / 4 + quartic / 24

    def action(self, phi: ArrayLike) -> Array:
        """S of fields (..., n): shape (...)."""
        return self.free_action(phi) + self.interaction(phi)

    def density_ratio(self, phi: ArrayLike) -> Array:
        """p/p_G = 1 + (1/4!) Gc4 H(phi) of fields (..., n): mean 1 under p_G, negative where the series fails."""
        return 1.0 - self.interaction(phi) - self._constant

    def correlators_to_first_order(self) -> FirstOrderCorrelators:
        """Those of exp(-S) to first order in Q and lambda4, by Wick's theorem; for any Q and lambda4.

        <phi phi> = G - (1/2) G (Q + lambda4 G) G,   Gc4 = - lambda4 G G G G,
        ln Z/Z0   = - (1/4) tr Q G - (1/8) lambda4 G G.
        """
        g = self.covariance
        tadpole = np.einsum("abcd,ab->cd", self.lambda4, g)
        return FirstOrderCorrelators(
            g - 0.5 * g @ (self.quadratic + tadpole) @ g, -_contracted(self.lambda4, g), self._constant
        )

    @property
    def _constant(self) -> float:
        """Minus the Gaussian mean of the interaction."""
        g = self.covariance
        return float(-np.sum(self.quadratic * g) / 4 - np.einsum("abcd,ab,cd->", self.lambda4, g, g) / 8)

    def _field(self, phi: ArrayLike) -> Array:
        field = np.asarray(phi, dtype=np.float64)
        if field.ndim == 0 or field.shape[-1] != len(self.covariance):
            raise InputError(
                f"phi has shape {field.shape}; its last axis must have length {len(self.covariance)}, one value for "
                f"each point."
            )
        return field


def four_point_tensor(four_point_connected: FourPoint, points: ArrayLike) -> Array:
    """Gc4(x_a, x_b, x_c, x_d) of the points (n, dim): shape (n, n, n, n)."""
    x = np.asarray(points, dtype=np.float64)
    if x.ndim != 2:
        raise InputError(f"points has shape {x.shape}; it must be (n, dim), n points with dim components each.")
    a, b, c, d = np.ix_(*[np.arange(len(x))] * 4)
    return np.asarray(four_point_connected(x[a], x[b], x[c], x[d]), dtype=np.float64)


def in_basis(modes: ArrayLike, covariance: ArrayLike, four_point_connected: ArrayLike) -> tuple[Array, Array]:
    """G and Gc4 of the coefficients c = modes^T phi, for orthonormal modes (n, r): shapes (r, r) and (r, r, r, r).

    With the leading modes of the covariance (`GaussianProcess(covariance, threshold=1e-6).modes`) the action exists
    also on points that are too close for an inverse.
    """
    u = np.asarray(modes, dtype=np.float64)
    g = _symmetric("covariance", covariance, 2, len(u))
    return u.T @ g @ u, _contracted(_symmetric("four_point_connected", four_point_connected, 4, len(u)), u)


def _inverse(matrix: Array) -> Array:
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def _contracted(tensor: Array, matrix: Array) -> Array:
    """tensor^{efgh} matrix_ea matrix_fb matrix_gc matrix_hd: every index, one after the other."""
    for _ in range(4):
        tensor = np.tensordot(tensor, matrix, axes=(0, 0))
    return tensor


def _symmetrised(tensor: Array) -> Array:
    orders = list(permutations(range(tensor.ndim)))
    return sum((tensor.transpose(order) for order in orders), start=np.zeros(())) / len(orders)


def _symmetric(name: str, values: ArrayLike, rank: int, size: int | None = None) -> Array:
    """A finite tensor of equal sides that does not depend on the order of its indices, rounding apart."""
    tensor = np.asarray(values, dtype=np.float64)
    n = size or max(1, *tensor.shape[:1])
    if tensor.shape != (n,) * rank or not np.all(np.isfinite(tensor)):
        raise InputError(f"{name} has shape {tensor.shape} or values that are not finite; it must be {(n,) * rank}.")
    transposed = (np.moveaxis(tensor, 0, k) for k in range(1, rank))
    if any(np.abs(tensor - other).max() > _SYMMETRY * np.abs(tensor).max() for other in transposed):
        raise InputError(f"{name} changes when its indices are exchanged; correlators are symmetric: symmetrise it.")
    return tensor


def _require_invertible(covariance: Array) -> None:
    eigenvalues = np.linalg.eigvalsh(covariance)
    if not eigenvalues[-1] < LARGEST_CONDITION * eigenvalues[0]:
        condition = eigenvalues[-1] / eigenvalues[0] if eigenvalues[0] > 0 else np.inf
        raise InputError(
            f"the covariance of the {len(covariance)} points has the condition number {condition:.3g} (lowest "
            f"eigenvalue {eigenvalues[0]:.3g}), above {LARGEST_CONDITION:g}, and its inverse would be rounding noise; "
            f"take fewer or more distant points, or the leading modes of the covariance as a basis (`in_basis`)."
        )
