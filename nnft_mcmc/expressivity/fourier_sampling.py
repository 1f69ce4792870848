r"""The rate N^{-1/2} of Maurey, Jones and Barron, with its constant: neurons drawn from the function's own spectrum.

Let f(x) = C <F(w) cos(w.x)>, w with the density P(w) of a plane-wave net. Then

    phi(x) = (C/N) sum_i F(w_i) cos(w_i.x),    w_i ~ P independent,

is a plane-wave net of equal output weights C/N and phases zero, its mean over draws is f, and exactly, at every N,

    <(phi(x) - f(x))^2> = (1/N) [ (C^2/2)(M_2(0) + M_2(2x)) - f(x)^2 ],    M_n(x) = <F^n cos(w.x)>,

because the neurons are independent and cos^2 = (1 + cos 2)/2. The mean over a box is (C^2 <|g|^2> - |f|^2)/N, |g|^2
the mean square of one neuron: Maurey's lemma. Some draw is at least as good as the mean, so that N neurons reach an L2
error below C |g| N^{-1/2} in any dimension. For F = 1 the constant C is the integral of the modulus of f's Fourier
transform; for sigmoids it is replaced by Barron's norm, the integral of |w| times that (Barron 1993).
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray

from nnft_mcmc import _checks
from nnft_mcmc.architectures import CosNet, PlaneWaveNet
from nnft_mcmc.expressivity.nodes import Nodes, gauss_legendre

FloatArray = NDArray[np.float64]

ORDER = 64


def function_of(spectrum: PlaneWaveNet, x: FloatArray) -> FloatArray:
    """<F cos(w.x)> at points (n, dim), C = 1."""
    return spectrum.wave_moment(1, x)


def mean_square_error(spectrum: PlaneWaveNet, x: FloatArray, width: int) -> FloatArray:
    """<(phi - f)^2> at points (n, dim), C = 1; see the module docstring."""
    _checks.integer("width", width, minimum=1)
    neuron = (spectrum.wave_moment(2, np.zeros_like(x)) + spectrum.wave_moment(2, 2 * x)) / 2
    return (neuron - function_of(spectrum, x) ** 2) / width


def rms_error(spectrum: PlaneWaveNet, lower: Sequence[float], upper: Sequence[float], width: int) -> float:
    """The root of the mean of `mean_square_error` over a box."""
    nodes: Nodes = gauss_legendre(lower, upper, ORDER)
    return float(np.sqrt(nodes.weights @ mean_square_error(spectrum, nodes.points, width)))


def draw(spectrum: PlaneWaveNet, width: int, key: Array) -> tuple[CosNet, dict[str, Float[Array, "..."]]]:
    """phi of `width` neurons as a cos-net, which has any momenta and output weights C F(w_i)/N."""
    _checks.integer("width", width, minimum=1)
    momenta = spectrum.momentum_prior().sample(key, (width,))
    factors = jax.vmap(spectrum.form_factor)(momenta)
    theta = {"momenta": momenta, "phases": jnp.zeros(width), "amplitudes": factors / width}
    return CosNet(spectrum.dim, width), theta
