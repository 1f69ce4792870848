"""The factorised evaluation of plane waves on a box: angle addition over two groups of offsets (`_tables`).

With c_i = a_i - i b_i, neuron i is a_i cos(w_i.x) + b_i sin(w_i.x) = Re[c_i e^{i w_i.(x_0 + y1)} e^{i w_i.y2}] at the
site x = x_0 + y1 + y2.
"""

import math

import jax
from jaxtyping import Array, Float

from nnft_mcmc.field_evaluation._tables import Split, split_of, tables
from nnft_mcmc.lattice import Lattice


def neuron_fields(waves: tuple[Array, Array, Array], lattice: Lattice) -> Float[Array, "neurons num_sites"]:
    """a_i cos(w_i.x) + b_i sin(w_i.x) of each neuron at the sites of a box, in C order.

    waves: momenta (neurons, dim), cosines a and sines b (neurons,).
    """
    momenta, cosines, sines = waves
    split = split_of(lattice.shape)
    first, second = tables(momenta, (cosines, -sines), lattice, split)
    (re1, im1), (re2, im2) = jax.lax.optimization_barrier(jax.tree.map(lambda t: t.T, (first, second)))
    fields = re1[:, :, None] * re2[:, None] - im1[:, :, None] * im2[:, None]
    return on_sites(fields, lattice.shape, split).reshape(len(momenta), lattice.num_sites)


def on_sites(
    fields: Float[Array, "*batch first second"], shape: tuple[int, ...], split: Split
) -> Float[Array, "*batch_and_sites"]:
    """Values at all sums of offsets, brought into the shape of the lattice."""
    batch, before, after = fields.shape[:-2], math.prod(shape[: split.axis]), math.prod(shape[split.axis + 1 :])
    cut = fields.reshape(*batch, before, split.high * split.low, after)
    return jax.lax.slice_in_dim(cut, 0, shape[split.axis], axis=len(batch) + 1).reshape(*batch, *shape)
