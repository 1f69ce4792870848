"""Architectures: one family per file, with prior, forward and exact results in one class."""

from nnft_mcmc.architectures._base import (
    Architecture,
    ExactCorrelators,
    IidNeurons,
    InfiniteWidthKernel,
    KnownPropagator,
    Network,
    NeuronMoments,
    PlaneWaves,
    SumOfNeurons,
    Waves,
)
from nnft_mcmc.architectures._missing import MissingCapability
from nnft_mcmc.architectures.additive import AdditiveNet
from nnft_mcmc.architectures.attention import LinearAttention, SoftmaxAttention
from nnft_mcmc.architectures.callable import CallableNet
from nnft_mcmc.architectures.convolution import ConvNet
from nnft_mcmc.architectures.deep import MLP, DeepEuclideanNet
from nnft_mcmc.architectures.dense import DenseNet
from nnft_mcmc.architectures.euclidean import CubeNet, EuclideanNet, TwoQuadratureNet
from nnft_mcmc.architectures.gauss import GaussNet
from nnft_mcmc.architectures.kan import KAN, AdditiveKAN
from nnft_mcmc.architectures.on_lattice import InfiniteWidth, LatticeModes, OnLattice, SiteField
from nnft_mcmc.architectures.plane_wave import CosNet, PlaneWaveNet
from nnft_mcmc.architectures.scalar import MaternNet, PropagatorNet, ScalarNet
from nnft_mcmc.architectures.stratified import StratifiedNet
from nnft_mcmc.architectures.vector import EquivariantNet, VectorArchitecture, VectorNet

# What `architecture.name` picks from; a constructor argument `lattice` is the one of [lattice], and `base` a table
# [architecture.base] with a name of its own.
REGISTRY: dict[str, type[Architecture]] = {
    "additive_kan": AdditiveKAN,
    "additive_net": AdditiveNet,
    "conv_net": ConvNet,
    "cos_net": CosNet,
    "cube_net": CubeNet,
    "deep_euclidean_net": DeepEuclideanNet,
    "dense_net": DenseNet,
    "gauss_net": GaussNet,
    "infinite_width": InfiniteWidth,
    "kan": KAN,
    "lattice_modes": LatticeModes,
    "linear_attention": LinearAttention,
    "matern_net": MaternNet,
    "mlp": MLP,
    "scalar_net": ScalarNet,
    "site_field": SiteField,
    "softmax_attention": SoftmaxAttention,
    "stratified_net": StratifiedNet,
    "two_quadrature_net": TwoQuadratureNet,
}

__all__ = [
    "KAN",
    "MLP",
    "REGISTRY",
    "AdditiveKAN",
    "AdditiveNet",
    "Architecture",
    "CallableNet",
    "ConvNet",
    "CosNet",
    "CubeNet",
    "DeepEuclideanNet",
    "DenseNet",
    "EquivariantNet",
    "EuclideanNet",
    "ExactCorrelators",
    "GaussNet",
    "IidNeurons",
    "InfiniteWidth",
    "InfiniteWidthKernel",
    "KnownPropagator",
    "LatticeModes",
    "LinearAttention",
    "MaternNet",
    "MissingCapability",
    "Network",
    "NeuronMoments",
    "OnLattice",
    "PlaneWaveNet",
    "PlaneWaves",
    "PropagatorNet",
    "ScalarNet",
    "SiteField",
    "SoftmaxAttention",
    "StratifiedNet",
    "SumOfNeurons",
    "TwoQuadratureNet",
    "VectorArchitecture",
    "VectorNet",
    "Waves",
]
