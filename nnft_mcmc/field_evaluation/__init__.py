"""Fields of sums of plane waves on a lattice, at the speed of the hardware."""

from nnft_mcmc.field_evaluation.factorised import neuron_fields

__all__ = ["neuron_fields"]
