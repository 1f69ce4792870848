"""Which route evaluates a field, and the derivative that all routes share.

Every route knows two sums: the synthesis of the field from the waves, and the analysis sum_x g(x) (1, x) e^{i w.x} of a
cotangent g. With f(x) = sum_i a_i cos(w_i.x) + b_i sin(w_i.x) the backward pass is

    dL/da_i = sum_x g(x) cos(w_i.x)    dL/db_i = sum_x g(x) sin(w_i.x)
    dL/dw_i = sum_x g(x) x [b_i cos(w_i.x) - a_i sin(w_i.x)]
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
from jaxtyping import Array, Float

from nnft_mcmc.field_evaluation import factorised, naive, non_uniform
from nnft_mcmc.field_evaluation._types import Pair, Waves
from nnft_mcmc.lattice import Lattice


class Route(NamedTuple):
    """One way of evaluating plane waves on a box."""

    synthesis: Callable[[Waves, Lattice], Array]
    analysis: Callable[[Array, Array, Lattice], Pair]


NAIVE = Route(naive.synthesis, naive.analysis)
FACTORISED = Route(factorised.synthesis, factorised.analysis)
NON_UNIFORM = Route(non_uniform.synthesis, non_uniform.analysis)


def field_by(route: Route, waves: Waves, lattice: Lattice) -> Float[Array, "*sites"]:
    """sum_i a_i cos(w_i.x) + b_i sin(w_i.x) at the sites of a box; momenta (neurons, dim), a and b (neurons,)."""
    momenta, cosines, sines = waves
    return _field(route, lattice, momenta, cosines, sines)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _field(route: Route, lattice: Lattice, momenta: Array, cosines: Array, sines: Array) -> Array:
    return route.synthesis((momenta, cosines, sines), lattice)


def _forward(route: Route, lattice: Lattice, momenta: Array, cosines: Array, sines: Array) -> tuple[Array, Waves]:
    return _field(route, lattice, momenta, cosines, sines), (momenta, cosines, sines)


def _backward(route: Route, lattice: Lattice, waves: Waves, cotangent: Array) -> Waves:
    momenta, cosines, sines = waves
    re, im = route.analysis(momenta, cotangent, lattice)
    return sines[:, None] * re[:, 1:] - cosines[:, None] * im[:, 1:], re[:, 0], im[:, 0]


_field.defvjp(_forward, _backward)
