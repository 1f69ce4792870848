"""Weak-coupling series of a free field with S_int = sum_x [ c2(x) phi(x)^2 + c4(x) phi(x)^4 ], both of first order.

With t_z = 12 c4_z G_zz + 2 c2_z, tadpole and mass, and a sum over every repeated site, a Gaussian field has

    <phi_x phi_y> = G_xy - G_xz t_z G_zy
                  + G_xz [ t_z G_zw t_w + 12 c4_z (G_zw^2 t_w) delta_zw + 96 c4_z G_zw^3 c4_w ] G_wy + ...
    <phi_x^4>_c   = -24 c4_z G_xz^4 + 864 c4_z c4_w G_xz^2 G_zw^2 G_xw^2 + 96 c4_z G_xz^3 (G_xw t_w G_wz) + ...

(chain, tadpole on a tadpole, and sunset; then bubbles and corrected legs). A field with connected functions k4 and k6,
such as that of N neurons, has to first order, exactly in N,

    <phi_x phi_y> = G_xy - c4_z [ 12 G_xz G_yz G_zz + 6 G_zz k4(x,y,z,z) + 4 G_xz k4(y,z,z,z) + 4 G_yz k4(x,z,z,z)
                                  + k6(x,y,z,z,z,z) ] - c2_z [ 2 G_xz G_yz + k4(x,y,z,z) ]
    <phi_x^4>     = 3 G_xx^2 + k4(x,x,x,x) - c4_z [ <phi_x^4 phi_z^4> - <phi_x^4> <phi_z^4> ]
                                           - c2_z [ <phi_x^4 phi_z^2> - <phi_x^4> <phi_z^2> ],

the free moments with joint cumulants of up to eight fields.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class GaussianSeries:
    """The series of a Gaussian field with covariance `kernel` (V, V); `quadratic` c2 and `quartic` c4 are (V,)."""

    kernel: Array
    quadratic: Array
    quartic: Array

    @property
    def _tadpole(self) -> Array:
        return 12 * self.quartic * np.diagonal(self.kernel) + 2 * self.quadratic

    def two_point(self, site: int) -> Array:
        """<phi_site phi_y> by order 0, 1, 2 at every y, (3, V)."""
        g, row, t = self.kernel, self.kernel[site], self._tadpole
        first = -(row * t) @ g
        chain = -(first * t) @ g
        tadpoles = (row * 12 * self.quartic * (g**2 @ t)) @ g
        sunset = 96 * ((row * self.quartic) @ g**3 * self.quartic) @ g
        return np.stack([row, first, chain + tadpoles + sunset])

    def fourth_moment(self, site: int) -> Array:
        """<phi_site^4> by order 0, 1, 2, (3,)."""
        g, row, c4 = self.kernel, self.kernel[site], self.quartic
        two_point = self.two_point(site)
        g0, d1, d2 = two_point[:, site]
        first = -24 * c4 @ row**4
        bubbles = 864 * (c4 * row**2) @ g**2 @ (c4 * row**2)
        legs = -96 * (c4 * row**3) @ two_point[1]
        return np.array([3 * g0**2, 6 * g0 * d1 + first, 3 * d1**2 + 6 * g0 * d2 + bubbles + legs])


def joint_moment(cumulant: Callable[[int, int], Array], first: int, second: int) -> Array:
    """<X^first Z^second> from the joint cumulants (i, j) of i fields X and j fields Z, of which the odd ones vanish.

    The block of the first field takes i others of its kind and j of the other kind.
    """
    if first == second == 0:
        return np.ones(())
    a, b, of = (first, second, cumulant) if first else (second, first, lambda i, j: cumulant(j, i))
    terms = (
        math.comb(a - 1, i) * math.comb(b, j) * of(i + 1, j) * joint_moment(of, a - 1 - i, b - j)
        for i in range(a)
        for j in range(b + 1)
        if (i + 1 + j) % 2 == 0
    )
    return np.asarray(sum(terms, start=np.zeros(())))


def first_order_of_fourth_moment(cumulant: Callable[[int, int], Array], quadratic: Array, quartic: Array) -> float:
    """The first order of <phi_x^4>, `cumulant(i, j)` the connected function of i fields at x and j at z, (V,)."""

    def covariance(power: int) -> Array:
        apart = joint_moment(cumulant, 4, 0) * joint_moment(cumulant, 0, power)
        return joint_moment(cumulant, 4, power) - apart

    return float(-(covariance(4) @ quartic) - covariance(2) @ quadratic)


@dataclass(frozen=True)
class ConnectedFunctions:
    """Of points x and y_j and sites z: G_xz (V,), G_yz (J, V), G_zz (V,), k4 and k6 with the arguments of the names."""

    xz: Array
    yz: Array
    zz: Array
    xyzz: Array
    yzzz: Array
    xzzz: Array
    xyzzzz: Array

    def first_order(self, quadratic: Array, quartic: Array) -> Array:
        """The first order of <phi_x phi_y> at every y, (J,)."""
        quartic_part = (
            12 * self.xz * self.yz * self.zz
            + 6 * self.zz * self.xyzz
            + 4 * self.xz * self.yzzz
            + 4 * self.yz * self.xzzz
            + self.xyzzzz
        )
        return -quartic_part @ quartic - (2 * self.xz * self.yz + self.xyzz) @ quadratic
