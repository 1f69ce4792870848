r"""Kernels of infinitely wide networks, NNGP and tangent kernel, in float64 on the host.

    K(x, y) = <phi(x) phi(y)>,     Theta(x, y) = sum_i s_i^2 <dphi(x)/dtheta_i dphi(y)/dtheta_i>,

lectures eqs. (85)-(93) and (107)-(112); blocks and recursions are in `_limit_blocks`. By default s_i = 1 and theta are
the architecture's own parameters, as gradient descent on them needs it: weights of variance sw^2 have no factor sw^2 in
their kernel, and powers of N that the architecture's parametrisation implies are kept. Output weights of variance s^2/N
add N K/s^2, the rest of such a network adds O(1): for all of it to move at one rate, train in coordinates

    "standardised":  theta = s omega, omega of variance one, for every normal parameter; others as they are.

Then the readout alone has Theta = K for every architecture, and dense layers obey

    Theta_{l+1} = K_{l+1} + sw^2 <sigma' sigma'>_l Theta_l,     Theta_1 = K_1.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnft_mcmc import _checks
from nnft_mcmc.architectures import Architecture, ConvNet
from nnft_mcmc.dynamics._limit_blocks import limit_blocks
from nnft_mcmc.dynamics.parameters import trained_blocks, weights_of_blocks

FloatArray = NDArray[np.float64]

_PAIRS_AT_ONCE = 2**18  # of points, or of pixels: arrays that stay in a cache


class Kernels(NamedTuple):
    """K and Theta between two sets of points, arrays (len(x), len(y))."""

    nngp: FloatArray
    ntk: FloatArray


def kernels(
    architecture: Architecture,
    x: ArrayLike,
    y: ArrayLike | None = None,
    trained: str = "all",
    coordinates: str = "parameters",
) -> Kernels:
    """K and Theta at points x (rows, dim) and y (columns, dim), by default the same; `trained` is all or readout.

    Raises `InputError` where a trained parameter's part is not known; `estimate_kernels` then has it with an error.
    """
    names = trained_blocks(architecture, trained)
    weights = weights_of_blocks(architecture, names, coordinates)
    x = points_2d("x", architecture, x)
    symmetric = y is None
    y = x if y is None else points_2d("y", architecture, y)
    found = Kernels(np.empty((len(x), len(y))), np.empty((len(x), len(y))))
    rows = max(1, _PAIRS_AT_ONCE // (len(y) * _pixel_pairs(architecture)))

    def fill(start: int) -> None:
        part, others = slice(start, start + rows), slice(start if symmetric else 0, None)
        nngp, blocks = limit_blocks(architecture, x[part], y[others])
        unknown = [name for name in names if name not in blocks]
        if unknown:
            raise _checks.InputError(
                f"the part of the infinite-width tangent kernel of {type(architecture).__name__} that"
                f" {', '.join(unknown)} adds is not known in closed form; estimate it with estimate_kernels, or train"
                " the readout only."
            )
        ntk = sum(float(weights[name]) * blocks[name] for name in names)
        for whole, values in zip(found, (nngp, ntk), strict=True):
            whole[part, others] = values
            if symmetric:  # what lies below the diagonal is mirrored
                whole[others, part] = whole[part, others].T

    fill(0)  # what cannot be is refused before threads start
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(fill, range(rows, len(x), rows)))
    return found


def _pixel_pairs(architecture: Architecture) -> int:
    if not isinstance(architecture, ConvNet):
        return 1
    return architecture.dim ** (2 if architecture.readout == "pool" else 1)


def points_2d(name: str, architecture: Architecture, points: ArrayLike) -> FloatArray:
    """Points (points, dim) in float64."""
    array = np.asarray(points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != architecture.dim or not len(array):
        raise _checks.InputError(
            f"{name} has shape {array.shape}; kernels are made at points of shape (points, dim) with dim ="
            f" {architecture.dim}; give at least one."
        )
    return array
