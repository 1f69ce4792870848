"""Architectures: one family per file, with prior, forward and exact results in one class."""

from nnft_mcmc.architectures._base import Architecture, ExactCorrelators, IidNeurons, NeuronMoments, SumOfNeurons
from nnft_mcmc.architectures.gauss import GaussNet
from nnft_mcmc.architectures.plane_wave import CosNet, PlaneWaveNet
from nnft_mcmc.architectures.scalar import MaternNet, PropagatorNet, ScalarNet

REGISTRY: dict[str, type[Architecture]] = {
    "cos_net": CosNet,
    "gauss_net": GaussNet,
    "matern_net": MaternNet,
    "scalar_net": ScalarNet,
}

__all__ = [
    "REGISTRY",
    "Architecture",
    "CosNet",
    "ExactCorrelators",
    "GaussNet",
    "IidNeurons",
    "MaternNet",
    "NeuronMoments",
    "PlaneWaveNet",
    "PropagatorNet",
    "ScalarNet",
    "SumOfNeurons",
]
