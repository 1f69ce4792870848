"""What annealing and tempering are built on: kernels, by the names of their samplers, and exact draws of the prior."""

from jaxtyping import Array

from nnft_mcmc import _checks
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.sampling._base import AnnealableKernel, Sampler
from nnft_mcmc.sampling.cluster import Cluster
from nnft_mcmc.sampling.composite import Composite
from nnft_mcmc.sampling.gaussian_flow import GaussianFlow
from nnft_mcmc.sampling.refresh import Refresh

# One trajectory in each transition of composite: every move of a mover is then of one kind.
BASES: dict[str, Sampler] = {
    "composite": Composite(flows_per_sweep=1.0),
    "refresh": Refresh(),
    "gaussian_flow": GaussianFlow(),
    "cluster": Cluster(),
}


def base_kernel(name: str, ensemble: Ensemble) -> AnnealableKernel:
    """The kernel of the sampler `name`, with its default settings."""
    kernel = BASES[name].kernel(ensemble)
    if not isinstance(kernel, AnnealableKernel):
        raise _checks.InputError(f"sampler.base is {name!r}, whose moves know no scale of the interaction.")
    return kernel


def prior_position(ensemble: Ensemble, key: Array) -> dict[str, Array]:
    """A draw of P(theta) with its field."""
    theta = ensemble.architecture.sample_parameters(key)
    return {**theta, "field": ensemble.field(theta)}
