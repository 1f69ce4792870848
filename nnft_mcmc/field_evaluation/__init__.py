"""Fields of sums of plane waves on a lattice, at the speed of the hardware."""

from nnft_mcmc.field_evaluation._chunks import bytes_at_once, bytes_in, bytes_of, map_over, sum_over
from nnft_mcmc.field_evaluation.routes import (
    FACTORISED,
    NAIVE,
    NON_UNIFORM,
    Route,
    fastest,
    field,
    field_by,
    microseconds,
    neuron_fields,
)

__all__ = [
    "FACTORISED",
    "NAIVE",
    "NON_UNIFORM",
    "Route",
    "bytes_at_once",
    "bytes_in",
    "bytes_of",
    "fastest",
    "field",
    "field_by",
    "map_over",
    "microseconds",
    "neuron_fields",
    "sum_over",
]
