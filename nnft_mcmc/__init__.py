"""Neural-network field theory: ensembles of networks as field theories, sampled and held against exact answers.

A field theory is a pair (phi_theta, P(theta)): an architecture, which is a function of parameters, and a density on the
parameters. An operator insertion exp(-S_int[phi]) deforms the density; Markov chains sample it; estimators, diagnostics
and exact references say what came out and whether to believe it.

Names are imported from here; JAX is loaded when the first of them is. Computations follow JAX's precision: switch on
float64 with `jax.config.update("jax_enable_x64", True)`, as the command line does.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnft_mcmc._checks import InputError as InputError
    from nnft_mcmc.architectures import KAN as KAN
    from nnft_mcmc.architectures import MLP as MLP
    from nnft_mcmc.architectures import AdditiveNet as AdditiveNet
    from nnft_mcmc.architectures import Architecture as Architecture
    from nnft_mcmc.architectures import CallableNet as CallableNet
    from nnft_mcmc.architectures import ConvNet as ConvNet
    from nnft_mcmc.architectures import CosNet as CosNet
    from nnft_mcmc.architectures import CubeNet as CubeNet
    from nnft_mcmc.architectures import DeepEuclideanNet as DeepEuclideanNet
    from nnft_mcmc.architectures import DenseNet as DenseNet
    from nnft_mcmc.architectures import EquivariantNet as EquivariantNet
    from nnft_mcmc.architectures import EuclideanNet as EuclideanNet
    from nnft_mcmc.architectures import ExactCorrelators as ExactCorrelators
    from nnft_mcmc.architectures import GaussNet as GaussNet
    from nnft_mcmc.architectures import IidNeurons as IidNeurons
    from nnft_mcmc.architectures import InfiniteWidth as InfiniteWidth
    from nnft_mcmc.architectures import LatticeModes as LatticeModes
    from nnft_mcmc.architectures import LinearAttention as LinearAttention
    from nnft_mcmc.architectures import MaternNet as MaternNet
    from nnft_mcmc.architectures import PlaneWaveNet as PlaneWaveNet
    from nnft_mcmc.architectures import ScalarNet as ScalarNet
    from nnft_mcmc.architectures import SiteField as SiteField
    from nnft_mcmc.architectures import SoftmaxAttention as SoftmaxAttention
    from nnft_mcmc.architectures import StratifiedNet as StratifiedNet
    from nnft_mcmc.architectures import SumOfNeurons as SumOfNeurons
    from nnft_mcmc.architectures import TwoQuadratureNet as TwoQuadratureNet
    from nnft_mcmc.architectures import VectorNet as VectorNet
    from nnft_mcmc.conventions import convert as convert
    from nnft_mcmc.ensemble import Ensemble as Ensemble
    from nnft_mcmc.estimators import absorbed as absorbed
    from nnft_mcmc.estimators import cumulant_scaling as cumulant_scaling
    from nnft_mcmc.estimators import estimate_momentum_n_point as estimate_momentum_n_point
    from nnft_mcmc.estimators import estimate_n_point as estimate_n_point
    from nnft_mcmc.estimators import generating_functional as generating_functional
    from nnft_mcmc.estimators import log_partition_ratio as log_partition_ratio
    from nnft_mcmc.estimators import momentum_two_point as momentum_two_point
    from nnft_mcmc.estimators import reweight as reweight
    from nnft_mcmc.estimators import symmetry_test as symmetry_test
    from nnft_mcmc.estimators import williams as williams
    from nnft_mcmc.exact import EdgeworthAction as EdgeworthAction
    from nnft_mcmc.exact import GaussianProcess as GaussianProcess
    from nnft_mcmc.exact import TorusTheory as TorusTheory
    from nnft_mcmc.exact import TransferMatrix as TransferMatrix
    from nnft_mcmc.exact import width_shift as width_shift
    from nnft_mcmc.insertions import Insertion as Insertion
    from nnft_mcmc.insertions import LatticePhi4 as LatticePhi4
    from nnft_mcmc.insertions import PhiPower as PhiPower
    from nnft_mcmc.insertions import Polynomial as Polynomial
    from nnft_mcmc.insertions import Source as Source
    from nnft_mcmc.insertions import WickPower as WickPower
    from nnft_mcmc.lattice import Lattice as Lattice
    from nnft_mcmc.references import exact_reference as exact_reference
    from nnft_mcmc.runs.results import draw as draw
    from nnft_mcmc.runs.results import sample as sample
    from nnft_mcmc.sampling import HMC as HMC
    from nnft_mcmc.sampling import NUTS as NUTS
    from nnft_mcmc.sampling import SMC as SMC
    from nnft_mcmc.sampling import Cluster as Cluster
    from nnft_mcmc.sampling import Composite as Composite
    from nnft_mcmc.sampling import GaussianFlow as GaussianFlow
    from nnft_mcmc.sampling import Refresh as Refresh
    from nnft_mcmc.sampling import Tempering as Tempering
    from nnft_mcmc.statistics import gamma_method as gamma_method

__version__ = "0.1.0"

_HOMES = {
    "nnft_mcmc._checks": ("InputError",),
    "nnft_mcmc.architectures": (
        "KAN",
        "MLP",
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
        "LatticeModes",
        "LinearAttention",
        "MaternNet",
        "PlaneWaveNet",
        "ScalarNet",
        "SiteField",
        "SoftmaxAttention",
        "StratifiedNet",
        "SumOfNeurons",
        "TwoQuadratureNet",
        "VectorNet",
    ),
    "nnft_mcmc.conventions": ("convert",),
    "nnft_mcmc.ensemble": ("Ensemble",),
    "nnft_mcmc.estimators": (
        "absorbed",
        "cumulant_scaling",
        "estimate_momentum_n_point",
        "estimate_n_point",
        "generating_functional",
        "log_partition_ratio",
        "momentum_two_point",
        "reweight",
        "symmetry_test",
        "williams",
    ),
    "nnft_mcmc.exact": ("EdgeworthAction", "GaussianProcess", "TorusTheory", "TransferMatrix", "width_shift"),
    "nnft_mcmc.insertions": ("Insertion", "LatticePhi4", "PhiPower", "Polynomial", "Source", "WickPower"),
    "nnft_mcmc.lattice": ("Lattice",),
    "nnft_mcmc.references": ("exact_reference",),
    "nnft_mcmc.runs.results": ("draw", "sample"),
    "nnft_mcmc.sampling": ("HMC", "NUTS", "SMC", "Cluster", "Composite", "GaussianFlow", "Refresh", "Tempering"),
    "nnft_mcmc.statistics": ("gamma_method",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'nnft_mcmc' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
