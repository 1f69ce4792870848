r"""What each parameter array adds to the tangent kernel of a wide network, class by class.

For phi = sum_i a_i f(theta_i, x), <a_i^2> = mu2/N, the averages over i.i.d. neurons are exact at every width,

    amplitudes N <f f'>,      a neuron's own parameter mu2 <df/dtheta . df'/dtheta>.

With the layers of `layers.py` above features h of N units, <.>_l over Gaussian preactivations of layer l and
v_l = N (N^{-a_l} std_l)^2,

    B_L = 1,   B_l = v_{l+1} <s' s'>_l B_{l+1},
    weights_l  N N^{-2 a_l} <h h>_{l-1} B_l,    biases_l  B_l,    all times 1/(gamma0 N^d)^2,

which sums up to the recursion Theta_{l+1} = dz dz' + v_{l+1} <s' s'>_l Theta_l of Jacot et al. (arXiv:1806.07572), for
convolutions between pairs of pixels (Arora et al., arXiv:1904.11955). Powers of N are those of the architecture.
"""

from collections.abc import Mapping
from functools import singledispatch
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from nnft_mcmc import _checks
from nnft_mcmc.architectures import (
    MLP,
    Architecture,
    ConvNet,
    DeepEuclideanNet,
    DenseNet,
    GaussNet,
    LinearAttention,
    NeuronMoments,
    OnLattice,
    StratifiedNet,
    TwoQuadratureNet,
)
from nnft_mcmc.architectures.activations import Activation
from nnft_mcmc.architectures.kernels import Gram
from nnft_mcmc.architectures.layers import Layers
from nnft_mcmc.architectures.plane_wave import PlaneWaveNet, UnitWaves
from nnft_mcmc.architectures.scalar import PropagatorNet
from nnft_mcmc.dynamics.empirical_kernel import tangent_kernel_blocks

FloatArray = NDArray[np.float64]


class Blocks(NamedTuple):
    """K(x, y) and what each parameter adds to Theta(x, y): arrays (len(x), len(y)), or that broadcast to it."""

    nngp: FloatArray
    ntk: Mapping[str, FloatArray]


@singledispatch
def limit_blocks(architecture: Architecture, x: FloatArray, y: FloatArray) -> Blocks:
    """K and the blocks of Theta at points x (rows, dim) and y (columns, dim), in the architecture's parameters."""
    raise _checks.InputError(
        f"the infinite-width tangent kernel of {type(architecture).__name__} is not known; estimate it with"
        " estimate_kernels."
    )


def scalar_products(x: FloatArray, y: FloatArray) -> Gram:
    """x.x (rows, 1), y.y (1, columns) and x.y (rows, columns)."""
    return Gram(np.sum(x**2, axis=1)[:, None], np.sum(y**2, axis=1)[None], x @ y.T)


def _dual(sigma: Activation, gram: Gram) -> tuple[Gram, FloatArray]:
    """<s s> at (x, x), (y, y), (x, y) and <s' s'> at (x, y)."""
    (xx, yy, _), full = gram, np.broadcast_arrays(*gram)
    features = Gram(sigma.expectation(xx, xx, xx), sigma.expectation(yy, yy, yy), sigma.expectation(*full))
    return features, sigma.slope_expectation(*full)


@limit_blocks.register
def _(architecture: NeuronMoments, x: FloatArray, y: FloatArray) -> Blocks:
    with jax.ensure_compile_time_eval():
        variance = float(np.asarray(architecture.neuron_prior()["amplitudes"].variance, dtype=np.float64))
    k = architecture.infinite_width_kernel(x[:, None], y[None])
    return Blocks(k, {"amplitudes": k / variance})  # of any neurons with one output weight each


@limit_blocks.register
def _(architecture: MLP, x: FloatArray, y: FloatArray) -> Blocks:
    layers, overlap = architecture.layers, scalar_products(x, y)
    variance = (layers.scale(1) * layers.std(1)) ** 2
    features, slopes = _dual(
        layers.sigma, Gram(*(architecture.bias_std**2 + variance * k / architecture.dim for k in overlap))
    )
    nngp, above, of_features = _layers(layers, features)
    own = {"weights_1": layers.scale(1) ** 2 * overlap.xy / architecture.dim * slopes * of_features}
    if architecture.bias_std > 0.0:
        own["biases_1"] = slopes * of_features
    return Blocks(nngp, {**own, **above})


@limit_blocks.register
def _(architecture: DeepEuclideanNet, x: FloatArray, y: FloatArray) -> Blocks:
    _constant_form_factor(architecture.base)
    half = _waves(architecture.base, x, y) / 2
    at_zero = architecture.base.wave_moment(2, np.zeros((1, 1, architecture.dim))) / 2
    nngp, above, of_features = _layers(architecture.layers, Gram(at_zero, at_zero, half))
    own = {"momenta": scalar_products(x, y).xy * half * of_features, "phases": half * of_features}
    return Blocks(nngp, {**own, **above})


def _layers(layers: Layers, features: Gram) -> tuple[FloatArray, dict[str, FloatArray], FloatArray]:
    """K, the blocks of layers 2 .. L, and sum_i dphi/dh_i dphi'/dh_i of the first features h."""
    variance = {n: layers.width * (layers.scale(n) * layers.std(n)) ** 2 for n in range(2, layers.depth + 1)}
    below, slopes = {2: features.xy}, {}
    for n in range(2, layers.depth):
        features, slopes[n] = _dual(layers.sigma, Gram(*(layers.bias_std**2 + variance[n] * k for k in features)))
        below[n + 1] = features.xy
    blocks: dict[str, FloatArray] = {}
    backward = np.full((1, 1), layers.output_scale**2)
    nngp = backward * (layers.bias_std**2 + variance[layers.depth] * features.xy)
    for n in range(layers.depth, 1, -1):
        name = "amplitudes" if n == layers.depth else f"weights_{n}"
        blocks[name] = layers.width * layers.scale(n) ** 2 * below[n] * backward
        if layers.bias_std > 0.0:
            blocks[f"biases_{n}"] = backward
        backward = variance[n] * backward * slopes.get(n - 1, 1.0)
    return nngp, blocks, backward


@limit_blocks.register
def _(architecture: ConvNet, x: FloatArray, y: FloatArray) -> Blocks:
    around = architecture.neighbours()
    pool = architecture.readout == "pool"
    shifted = architecture.translations() if pool else np.arange(architecture.dim)[None]
    weight, bias = architecture.weight_std**2, architecture.bias_std**2

    def average(k: FloatArray) -> FloatArray:
        return k[..., around].mean(axis=-2)

    xx, yy = x[:, None, None] ** 2, y[None, :, shifted] ** 2  # pixels p and p + s on the last axes, s and p
    xy = x[:, None, None] * y[None, :, shifted]
    blocks: dict[str, FloatArray] = {}
    for n in range(1, architecture.depth + 1):
        blocks = {name: weight * average(block) for name, block in blocks.items()}
        averages = [average(k) for k in (xx, yy, xy)]
        blocks[f"filters_{n}"] = averages[2]
        if bias > 0.0:
            blocks[f"biases_{n}"] = np.ones((1, 1, 1, architecture.dim))
        gram = Gram(*(bias + weight * k for k in averages))
        features, slopes = _dual(architecture.sigma, gram)
        xx, yy, xy = features
        blocks = {name: slopes * block for name, block in blocks.items()}
    variance = architecture.amplitude_std**2
    readout = architecture.width * (1 if pool else architecture.dim) * xy.mean(axis=(-2, -1))
    own = {name: variance * block.mean(axis=(-2, -1)) for name, block in blocks.items()}
    return Blocks(variance * xy.mean(axis=(-2, -1)), {**own, "amplitudes": readout})


@limit_blocks.register
def _(architecture: DenseNet, x: FloatArray, y: FloatArray) -> Blocks:
    overlap, variance = scalar_products(x, y), architecture.amplitude_std**2
    scale = architecture.weight_std**2 / architecture.dim
    features, slopes = _dual(architecture.sigma, Gram(*(architecture.bias_std**2 + scale * k for k in overlap)))
    own = {"weights": variance * overlap.xy * slopes}
    if architecture.bias_std > 0.0:
        own["biases"] = variance * slopes
    return Blocks(variance * features.xy, {**own, "amplitudes": architecture.width * features.xy})


@limit_blocks.register
def _(architecture: GaussNet, x: FloatArray, y: FloatArray) -> Blocks:
    k = architecture.two_point(x[:, None], y[None])
    amplitudes = 2 * architecture.width / architecture.amplitude_std**2 * k
    return Blocks(k, {"weights": scalar_products(x, y).xy * k, "biases": k, "amplitudes": amplitudes})


@limit_blocks.register
def _(architecture: PlaneWaveNet, x: FloatArray, y: FloatArray) -> Blocks:
    k = architecture.two_point(x[:, None], y[None])
    readout = {"amplitudes": architecture.width / architecture.amplitude_variance * k}
    if not has_constant_form_factor(architecture):
        return Blocks(k, readout)
    return Blocks(k, {"momenta": scalar_products(x, y).xy * k, "phases": k, **readout})


@limit_blocks.register
def _(architecture: TwoQuadratureNet, x: FloatArray, y: FloatArray) -> Blocks:
    k = architecture.two_point(x[:, None], y[None])
    readout = {"amplitudes": 2 * architecture.width / architecture.base.amplitude_variance * k}
    if not has_constant_form_factor(architecture.base):
        return Blocks(k, readout)
    return Blocks(k, {"momenta": scalar_products(x, y).xy * k, **readout})


@limit_blocks.register
def _(architecture: StratifiedNet, x: FloatArray, y: FloatArray) -> Blocks:
    return limit_blocks(architecture.base, x, y)  # averages over cells are those over the law; R drops out of |df/dq|^2


@limit_blocks.register
def _(architecture: LinearAttention, x: FloatArray, y: FloatArray) -> Blocks:
    # phi is linear in each of the four arrays, which are normal: sum_i (dphi/dtheta_i)^2 averages to K/variance
    k = architecture.infinite_width_kernel(x[:, None], y[None])
    inner = dict.fromkeys(("queries", "keys", "values"), k / architecture.weight_std**2)
    amplitudes = architecture.width * architecture.head_dim / architecture.amplitude_std**2 * k
    return Blocks(k, {**inner, "amplitudes": amplitudes})


@limit_blocks.register
def _(architecture: OnLattice, x: FloatArray, y: FloatArray) -> Blocks:
    with jax.enable_x64(True):  # linear in its parameters: the kernel is the same at all of them
        theta = {name: jnp.zeros(d.batch_shape + d.event_shape) for name, d in architecture.prior().items()}
        blocks = tangent_kernel_blocks(architecture, theta, x, y)
    return Blocks(architecture.two_point(x[:, None], y[None]), {name: np.asarray(b) for name, b in blocks.items()})


def has_constant_form_factor(net: PlaneWaveNet) -> bool:
    """Whether F(w) is known to be the same for all momenta, so that its gradient is absent."""
    return isinstance(net, UnitWaves) or (isinstance(net, PropagatorNet) and net.alpha == 0)


def _constant_form_factor(net: PlaneWaveNet) -> None:
    if not has_constant_form_factor(net):
        raise _checks.InputError(
            f"{type(net).__name__} has a form factor that depends on the momentum, and the average of its gradient is"
            " not known; estimate the kernel with estimate_kernels, or take alpha = 0."
        )


def _waves(net: PlaneWaveNet, x: FloatArray, y: FloatArray) -> FloatArray:
    return net.wave_moment(2, x[:, None] - y[None])
