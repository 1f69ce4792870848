"""What the numbers of a run are held against."""

from nnft_mcmc.references.exact import Reference, exact_reference
from nnft_mcmc.references.perturbation import perturbative_reference
from nnft_mcmc.references.total_action import total_action

__all__ = ["Reference", "exact_reference", "perturbative_reference", "total_action"]
