"""An example of every architecture, by name, for the tests that hold for all of them."""

import functools
import math

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from nnft_mcmc.architectures import (
    KAN,
    AdditiveKAN,
    AdditiveNet,
    CosNet,
    CubeNet,
    EuclideanNet,
    GaussNet,
    InfiniteWidth,
    LatticeModes,
    MaternNet,
    OnLattice,
    ScalarNet,
    SiteField,
    StratifiedNet,
    TwoQuadratureNet,
)
from nnft_mcmc.architectures.attention import LinearAttention, SoftmaxAttention
from nnft_mcmc.architectures.callable import CallableNet
from nnft_mcmc.architectures.convolution import ConvNet
from nnft_mcmc.architectures.deep import MLP, DeepEuclideanNet
from nnft_mcmc.architectures.dense import DenseNet
from nnft_mcmc.architectures.vector import EquivariantNet, VectorNet
from nnft_mcmc.lattice import Lattice

WIDTH = 3
TORUS, BOX = Lattice((4, 3), 0.5, "torus"), Lattice((3, 2), 0.3)


def tanh_net(width):
    """A user's own architecture, the example of `callable.CallableNet`."""
    priors = {"w": dist.Normal(0, 1).expand((width, 2)), "a": dist.Normal(0, 1 / math.sqrt(width)).expand((width,))}
    return CallableNet(lambda theta, x: jnp.dot(theta["a"], jnp.tanh(jnp.dot(theta["w"], x))), priors, dim=2)


def boltzmann(k):
    return jnp.exp(-k)


def falling(k):
    return 1 / (1 + k)


# The architecture of each name at a width.
EXAMPLES = {
    "cos_net": lambda n: CosNet(2, n, weight_std=1.2, amplitude_std=0.8),
    "cube_net": lambda n: CubeNet(2, n, cutoff=2.0, amplitude_std=0.8),
    "gauss_net": lambda n: GaussNet(2, n, weight_std=0.8, bias_std=0.2, amplitude_std=0.9),
    "scalar_net": lambda n: ScalarNet(2, n, mass=0.9, cutoff=3.0),
    "scalar_net of the lectures": lambda n: ScalarNet(3, n, mass=0.9, cutoff=2.0, alpha=-1.0),
    "Cauchy-cos-net": lambda n: ScalarNet(1, n, mass=0.9, cutoff=math.inf),
    "matern_net": lambda n: MaternNet(2, n, mass=0.9, power=2.5),
    "matern_net of signs": lambda n: MaternNet(1, n, mass=0.9, power=1.5, amplitude_law="sign"),
    "matern_net of moduli": lambda n: MaternNet(2, n, mass=0.9, power=2.5, amplitude_law="rayleigh"),
    "euclidean_net": lambda n: EuclideanNet(2, n, boltzmann, falling, 5.0),
    "two_quadrature_net": lambda n: TwoQuadratureNet(ScalarNet(2, n, mass=0.9, cutoff=3.0, alpha=-0.5)),
    "stratified_net": lambda n: StratifiedNet(ScalarNet(2, n, mass=0.9, cutoff=3.0)),
    "stratified_net of two quadratures": lambda n: StratifiedNet(
        TwoQuadratureNet(ScalarNet(1, n, mass=0.9, cutoff=math.inf))
    ),
    "stratified_net of two in 3": lambda n: StratifiedNet(TwoQuadratureNet(ScalarNet(3, n, mass=0.9, cutoff=3.0)), 1),
    "stratified_net of shells": lambda n: StratifiedNet(ScalarNet(2, n, mass=0.9, cutoff=3.0, alpha=-0.5), shells=n),
    "dense_net": lambda n: DenseNet(2, n, "erf", bias_std=0.4),
    "dense_net of relu": lambda n: DenseNet(2, n, "relu"),
    "additive_net": lambda n: AdditiveNet(2, n, "erf", bias_std=0.4),
    "additive_kan": lambda n: AdditiveKAN(2, n, base_std=0.8),
    "kan": lambda n: KAN(2, (n,), grid=4, base_std=0.8),
    "kan of three layers": lambda n: KAN(2, (n, n), grid=3, degree=2),
    "mlp": lambda n: MLP(2, n, depth=3, activation="tanh", bias_std=0.3),
    "deep_euclidean_net": lambda n: DeepEuclideanNet(CosNet(2, n), depth=3, bias_std=0.3),
    "conv_net": lambda n: ConvNet(4, n, image=(2, 2), filter_size=2, bias_std=0.3),
    "linear_attention": lambda n: LinearAttention(2, 2, n, head_dim=2),
    "softmax_attention": lambda n: SoftmaxAttention(2, 2, n, head_dim=2),
    "callable_net": tanh_net,
    "vector_net": lambda n: VectorNet(CosNet(2, n), 2),
    "equivariant_net": lambda n: EquivariantNet(2, CosNet(1, n)),
}
ON_LATTICE = {
    "lattice_modes": lambda: LatticeModes(TORUS, 0.8),
    "lattice_modes below a cut-off": lambda: LatticeModes(TORUS, 0.8, dispersion="continuum", cutoff=5.0),
    "site_field": lambda: SiteField(TORUS, 0.8),
    "infinite_width": lambda: InfiniteWidth(CosNet(2, 1), BOX),
}
NAMES = (*EXAMPLES, *ON_LATTICE)


@functools.cache
def example(name, width=WIDTH):
    return ON_LATTICE[name]() if name in ON_LATTICE else EXAMPLES[name](width)


def some_points(net):
    """Three points next to one another and away from the origin, (3, dim)."""
    if isinstance(net, OnLattice):
        return net.lattice.sites.reshape(-1, net.dim)[[0, 1, 3]]
    first = np.linspace(0.3, 0.5, net.dim)
    axes = np.eye(net.dim)
    return np.stack([first, first + 0.25 * axes[0], first - 0.2 * axes[-1]])


def output_shape(net):
    return (net.components,) if isinstance(net, (VectorNet, EquivariantNet)) else ()
