"""Markov chains on the deformed density. The settings classes are the registry that `sampler.name` picks from."""

from nnft_mcmc.sampling._base import AnnealableKernel, MoveKernel, Position, Sampler
from nnft_mcmc.sampling.annealing import SMC, SMCKernel
from nnft_mcmc.sampling.cluster import Cluster, ClusterMove
from nnft_mcmc.sampling.composite import Composite
from nnft_mcmc.sampling.gaussian_flow import GaussianFlow
from nnft_mcmc.sampling.loop import Chains, Chunk, chunk_lengths, raw_key
from nnft_mcmc.sampling.model import HMC, NUTS, numpyro_model
from nnft_mcmc.sampling.prior import PriorDraws
from nnft_mcmc.sampling.refresh import Refresh, RefreshMove
from nnft_mcmc.sampling.tempering import Tempering, TemperingKernel

REGISTRY: dict[str, type[Sampler]] = {
    "composite": Composite,
    "refresh": Refresh,
    "gaussian_flow": GaussianFlow,
    "cluster": Cluster,
    "hmc": HMC,
    "nuts": NUTS,
    "tempering": Tempering,
    "smc": SMC,
}

__all__ = [
    "HMC",
    "NUTS",
    "REGISTRY",
    "SMC",
    "AnnealableKernel",
    "Chains",
    "Chunk",
    "Cluster",
    "ClusterMove",
    "Composite",
    "GaussianFlow",
    "MoveKernel",
    "Position",
    "PriorDraws",
    "Refresh",
    "RefreshMove",
    "SMCKernel",
    "Sampler",
    "Tempering",
    "TemperingKernel",
    "chunk_lengths",
    "numpyro_model",
    "raw_key",
]
