"""Which route evaluates a field, and the derivative that all routes share.

The route with the least estimated time of a field and its gradient is taken. In microseconds on a core of a present
CPU, in float64, for N neurons, V sites and two groups of offsets with S = V1 + V2 members (`_tables`),

    naive           10 + 0.025 N V
    factorised      20 + N (0.1 + 0.035 S + 0.0003 V)
    non-uniform     (350, 450, 1200) + N (0.22, 0.45, 9) + (0.1, 0.5, 0.3) V     in 1, 2, 3 dimensions

where 0.025 is a cosine, 0.035 the multiplications behind an entry of a table and 0.0003 twelve flops of a matrix
product. Arithmetic in float32 takes half of that but in the transforms. They need a CPU, whose library they call, and
three dimensions at most; on any other platform the factorised route is taken, which is matrix products throughout. The
numbers need not be accurate: a route that is taken wrongly near where two of them cross costs little. They do not
depend on the machine, so that equal runs take equal routes everywhere.

Every route knows two sums: the synthesis of the field from the waves, and the analysis sum_x g(x) (1, x) e^{i w.x} of a
cotangent g. With f(x) = sum_i a_i cos(w_i.x) + b_i sin(w_i.x) the backward pass is

    dL/da_i = sum_x g(x) cos(w_i.x)    dL/db_i = sum_x g(x) sin(w_i.x)
    dL/dw_i = sum_x g(x) x [b_i cos(w_i.x) - a_i sin(w_i.x)]
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
from jaxtyping import Array, Float

from nnft_mcmc.field_evaluation import factorised, naive, non_uniform
from nnft_mcmc.field_evaluation._tables import group_sizes, split_of
from nnft_mcmc.field_evaluation._types import Pair, Waves
from nnft_mcmc.lattice import Lattice


class Route(NamedTuple):
    """One way of evaluating plane waves on a box."""

    synthesis: Callable[[Waves, Lattice], Array]
    analysis: Callable[[Array, Array, Lattice], Pair]


NAIVE = Route(naive.synthesis, naive.analysis)
FACTORISED = Route(factorised.synthesis, factorised.analysis)
NON_UNIFORM = Route(non_uniform.synthesis, non_uniform.analysis)

# Microseconds of each call, each neuron and each site, by dimension.
_TRANSFORM = {1: (350, 0.22, 0.1), 2: (450, 0.45, 0.5), 3: (1200, 9.0, 0.3)}


# On a line of so few sites tables take longer than cosines, in a sweep of refresh: 17 sites 1.3 times, 33 sites 1.1.
_FEW_SITES = 36


def neuron_fields(waves: Waves, lattice: Lattice) -> Float[Array, "neurons num_sites"]:
    """a_i cos(w_i.x) + b_i sin(w_i.x) of each neuron at the sites of a box, in C order.

    waves: momenta (neurons, dim), cosines a and sines b (neurons,).
    """
    few = lattice.dim == 1 and lattice.num_sites <= _FEW_SITES
    return naive.neuron_fields(waves, lattice) if few else factorised.neuron_fields(waves, lattice)


def field(waves: Waves, lattice: Lattice) -> Float[Array, "*sites"]:
    """sum_i a_i cos(w_i.x) + b_i sin(w_i.x) at the sites of a box by the fastest route.

    waves: momenta (neurons, dim), cosines a and sines b (neurons,). In float64 the errors of the field and of its
    gradients, relative to the largest value, are below 1e-9, and below 1e-12 where no non-uniform FFT is taken.
    """
    momenta = waves[0]
    return field_by(fastest(len(momenta), lattice.shape, momenta.dtype.itemsize, jax.default_backend()), waves, lattice)


def fastest(num_neurons: int, shape: tuple[int, ...], itemsize: int, backend: str) -> Route:
    """The route with the least `microseconds`."""
    if backend != "cpu":
        return FACTORISED
    routes = [NAIVE, FACTORISED] + [NON_UNIFORM] * (len(shape) <= non_uniform.MAX_DIM)
    return min(routes, key=lambda route: microseconds(route, num_neurons, shape, itemsize))


def microseconds(route: Route, num_neurons: int, shape: tuple[int, ...], itemsize: int = 8) -> float:
    """Estimated time of a field and its gradient on a CPU."""
    num_sites = math.prod(shape)
    if route == NON_UNIFORM:
        fixed, per_neuron, per_site = _TRANSFORM[len(shape)]
        return fixed + per_neuron * num_neurons + per_site * num_sites
    if route == NAIVE:
        return 10 + 0.025 * num_neurons * num_sites * itemsize / 8
    entries = sum(group_sizes(shape, split_of(shape)))
    return 20 + num_neurons * (0.1 + 0.035 * entries + 0.0003 * num_sites) * itemsize / 8


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
