"""Architectures: one family per file, with prior, forward and exact results in one class."""

from nnft_mcmc.architectures._base import Architecture, ExactCorrelators, IidNeurons, NeuronMoments, SumOfNeurons
from nnft_mcmc.architectures.euclidean import CubeNet, EuclideanNet, TwoQuadratureNet
from nnft_mcmc.architectures.gauss import GaussNet
from nnft_mcmc.architectures.on_lattice import InfiniteWidth, LatticeModes, OnLattice, SiteField
from nnft_mcmc.architectures.plane_wave import CosNet, PlaneWaveNet
from nnft_mcmc.architectures.scalar import MaternNet, PropagatorNet, ScalarNet
from nnft_mcmc.architectures.stratified import StratifiedNet

# What `architecture.name` picks from; a constructor argument `lattice` is the one of [lattice], and `base` a table
# [architecture.base] with a name of its own.
REGISTRY: dict[str, type[Architecture]] = {
    "cos_net": CosNet,
    "cube_net": CubeNet,
    "gauss_net": GaussNet,
    "infinite_width": InfiniteWidth,
    "lattice_modes": LatticeModes,
    "matern_net": MaternNet,
    "scalar_net": ScalarNet,
    "site_field": SiteField,
    "stratified_net": StratifiedNet,
    "two_quadrature_net": TwoQuadratureNet,
}

__all__ = [
    "REGISTRY",
    "Architecture",
    "CosNet",
    "CubeNet",
    "EuclideanNet",
    "ExactCorrelators",
    "GaussNet",
    "IidNeurons",
    "InfiniteWidth",
    "LatticeModes",
    "MaternNet",
    "NeuronMoments",
    "OnLattice",
    "PlaneWaveNet",
    "PropagatorNet",
    "ScalarNet",
    "SiteField",
    "StratifiedNet",
    "SumOfNeurons",
    "TwoQuadratureNet",
]
