"""The factorised evaluation of plane waves on a box: angle addition over two groups of offsets (`_tables`).

With c_i = a_i - i b_i, neuron i is a_i cos(w_i.x) + b_i sin(w_i.x) = Re[c_i e^{i w_i.(x_0 + y1)} e^{i w_i.y2}] at the
site x = x_0 + y1 + y2. The sum over neurons is then a product of two real matrices, of inner dimension 2N and of about
sqrt(V) rows and columns, whatever the dimension of space; and so are the sums over sites of the backward pass.

Tables have the neurons in their last index, over which matrices are multiplied fastest.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from nnft_mcmc.field_evaluation._chunks import bytes_at_once, map_over, sum_over
from nnft_mcmc.field_evaluation._tables import Split, group_sizes, split_of, tables, times
from nnft_mcmc.field_evaluation._types import Pair, Waves
from nnft_mcmc.lattice import Lattice


def neuron_fields(waves: Waves, lattice: Lattice) -> Float[Array, "neurons num_sites"]:
    """a_i cos(w_i.x) + b_i sin(w_i.x) of each neuron at the sites of a box, in C order."""
    momenta, cosines, sines = waves
    split = split_of(lattice.shape)
    first, second = tables(momenta, (cosines, -sines), lattice, split)
    (re1, im1), (re2, im2) = jax.lax.optimization_barrier(jax.tree.map(lambda t: t.T, (first, second)))
    fields = re1[:, :, None] * re2[:, None] - im1[:, :, None] * im2[:, None]
    return _on_sites(fields, lattice.shape, split).reshape(len(momenta), lattice.num_sites)


def synthesis(waves: Waves, lattice: Lattice) -> Float[Array, "*sites"]:
    """sum_i a_i cos(w_i.x) + b_i sin(w_i.x) on a box."""
    split = split_of(lattice.shape)

    def of_some(some: Waves) -> Array:
        momenta, cosines, sines = some
        (re1, im1), (re2, im2) = tables(momenta, (cosines, -sines), lattice, split)
        return _product(re1, re2.T) - _product(im1, im2.T)

    return _on_sites(sum_over(of_some, waves, _at_once(waves[1], lattice)), lattice.shape, split)


def analysis(momenta: Float[Array, "neurons dim"], weights: Float[Array, "*sites"], lattice: Lattice) -> Pair:
    """Real and imaginary parts of sum_x g(x) (1, x) e^{i w.x} for weights g: what the gradients are made of."""
    split = split_of(lattice.shape)
    first_offsets, second_offsets = _offsets(lattice)
    matrix = _from_sites(weights, split)

    def of_some(some: Array) -> Pair:
        first, second = tables(some, (jnp.ones_like(some[:, 0]), jnp.zeros_like(some[:, 0])), lattice, split)
        # g e^{i w.x} summed over y2 for every y1, and over y1 for every y2.
        for_first = times(first, (_product(matrix, second[0]), _product(matrix, second[1])))
        for_second = times(second, (_product(matrix.T, first[0]), _product(matrix.T, first[1])))
        re, im = (
            _product(first_offsets, z) + _product(second_offsets, y) for z, y in zip(for_first, for_second, strict=True)
        )
        return re.T, im.T

    return map_over(of_some, momenta, _at_once(momenta, lattice))


def _product(left: ArrayLike, right: Array) -> Array:
    """Matrix product in the full precision of its factors, which accelerators do not use unasked."""
    return jnp.matmul(jnp.asarray(left, right.dtype), right, precision=jax.lax.Precision.HIGHEST)


def _at_once(like: Array, lattice: Lattice) -> int:
    """Neurons whose tables may be held together."""
    entries = sum(group_sizes(lattice.shape, split_of(lattice.shape)))
    return max(64, bytes_at_once() // (2 * entries * like.dtype.itemsize))


@functools.cache
def _offsets(lattice: Lattice) -> tuple[np.ndarray, np.ndarray]:
    """(1, x_0 + y1) and (0, y2), shapes (1 + dim, group): their sum over a pair of offsets is (1, x)."""
    axis, high, low = split_of(lattice.shape)
    before, after = lattice.shape[:axis], lattice.shape[axis + 1 :]
    size_of_first, size_of_second = group_sizes(lattice.shape, split_of(lattice.shape))
    first, second = np.zeros((1 + lattice.dim, size_of_first)), np.zeros((1 + lattice.dim, size_of_second))
    first[0] = 1
    first[1 : axis + 2] = np.indices((*before, high)).reshape(axis + 1, -1) * lattice.spacing
    first[axis + 1] *= low
    first[1:] += np.array([lattice.axis(k)[0] for k in range(lattice.dim)])[:, None]
    second[axis + 1 :] = np.indices((low, *after)).reshape(lattice.dim - axis, -1) * lattice.spacing
    return first, second


def _on_sites(
    fields: Float[Array, "*batch first second"], shape: tuple[int, ...], split: Split
) -> Float[Array, "*batch_and_sites"]:
    """Values at all sums of offsets, brought into the shape of the lattice."""
    batch, before, after = fields.shape[:-2], math.prod(shape[: split.axis]), math.prod(shape[split.axis + 1 :])
    cut = fields.reshape(*batch, before, split.high * split.low, after)
    return jax.lax.slice_in_dim(cut, 0, shape[split.axis], axis=len(batch) + 1).reshape(*batch, *shape)


def _from_sites(weights: Float[Array, "*sites"], split: Split) -> Float[Array, "first second"]:
    """The inverse of `_on_sites`, with zeros beyond the lattice."""
    shape = weights.shape
    beyond = [(0, split.high * split.low - n if axis == split.axis else 0) for axis, n in enumerate(shape)]
    return jnp.pad(weights, beyond).reshape(group_sizes(shape, split))
