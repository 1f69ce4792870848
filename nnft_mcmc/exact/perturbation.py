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

the free moments with joint cumulants of up to eight fields. The second order of the mean of any product A of fields is
the joint cumulant of the three composites A, S_z, S_w,

    1/2 sum_zw [ <A S_z S_w> - <A> <S_z S_w> - <A S_z> <S_w> - <A S_w> <S_z> + 2 <A> <S_z> <S_w> ],

which takes free moments of up to ten fields for A = phi_x phi_y and twelve for phi_x^4.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator
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


# Powers of the fields at some points -> their joint moment, or joint cumulant; arrays over the points that broadcast.
Powers = tuple[int, ...]
Joint = Callable[[Powers], Array]


def moments_of_cumulants(cumulant: Joint) -> Joint:
    """<X^a Z^b ..> from joint cumulants, of which the odd ones vanish: the sum over the block of the first field."""

    @functools.cache
    def moment(powers: Powers) -> Array:
        if not any(powers):
            return np.ones(())
        terms = (c * cumulant(block) * moment(others) for c, block, others in _blocks_of_the_first(powers))
        return np.asarray(sum(terms, start=np.zeros(())))

    return moment


def cumulants_of_moments(moment: Joint) -> Joint:
    """The inverse of `moments_of_cumulants`."""

    @functools.cache
    def cumulant(powers: Powers) -> Array:
        smaller = ((c, block, others) for c, block, others in _blocks_of_the_first(powers) if any(others))
        return np.asarray(moment(powers) - sum(c * cumulant(block) * moment(others) for c, block, others in smaller))

    return cumulant


def _blocks_of_the_first(powers: Powers) -> Iterator[tuple[int, Powers, Powers]]:
    """Blocks of even size that hold the first field, what remains, and in how many ways."""
    kind = next(k for k, power in enumerate(powers) if power)
    left = [power - (k == kind) for k, power in enumerate(powers)]
    for more in itertools.product(*(range(n + 1) for n in left)):
        if sum(more) % 2:
            ways = math.prod(math.comb(n, k) for n, k in zip(left, more, strict=True))
            block = tuple(k + (j == kind) for j, k in enumerate(more))
            yield ways, block, tuple(n - k for n, k in zip(left, more, strict=True))


def first_order_of_fourth_moment(cumulant: Joint, quadratic: Array, quartic: Array) -> float:
    """The first order of <phi_x^4>, `cumulant((i, j))` the connected function of i fields at x and j at z, (V,)."""
    moment = moments_of_cumulants(cumulant)

    def covariance(power: int) -> Array:
        return moment((4, power)) - moment((4, 0)) * moment((0, power))

    return float(-(covariance(4) @ quartic) - covariance(2) @ quadratic)


def second_order(moment: Joint, powers: Powers, quadratic: Array, quartic: Array) -> Array:
    """The second order of <A>, A the product with `powers`; moment((*powers, i, j)) has i fields at z and j at w.

    Its arrays broadcast to (..., V, V), the sites z and w last; the result has what is before them.
    """
    nothing = (0,) * len(powers)
    a, total = moment((*powers, 0, 0)), np.zeros(())
    couplings = {2: quadratic, 4: quartic}
    for (i, c_z), (j, c_w) in itertools.product(couplings.items(), repeat=2):
        z, w, both = moment((*nothing, i, 0)), moment((*nothing, 0, j)), moment((*nothing, i, j))
        apart = moment((*powers, i, 0)) * w + moment((*powers, 0, j)) * z + a * (both - 2 * z * w)
        total = total + np.sum((moment((*powers, i, j)) - apart) * c_z[:, None] * c_w, axis=(-2, -1)) / 2
    return total


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
