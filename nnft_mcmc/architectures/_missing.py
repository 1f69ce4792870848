"""What to say where an architecture is asked for an exact result that it does not know."""

from nnft_mcmc import _checks


class MissingCapability(_checks.InputError, AttributeError):
    """The architecture has no such method: which capability it lacks, and what to use instead.

    It is an AttributeError as well, so that `hasattr` asks without an error.
    """


_CORRELATORS = ("ExactCorrelators", "its connected correlators at finite width")
_CAPABILITIES = {
    "two_point": _CORRELATORS,
    "four_point_connected": _CORRELATORS,
    "six_point_connected": _CORRELATORS,
    "n_point_connected": _CORRELATORS,
    "excess_kurtosis": _CORRELATORS,
    "has_gaussian_tails": _CORRELATORS,
    "infinite_width_kernel": ("InfiniteWidthKernel", "the kernel of its infinite-width limit in closed form"),
    "propagator": ("KnownPropagator", "its propagator G(p) in closed form"),
}


def missing(architecture: object, attribute: str) -> AttributeError:
    """The error for an attribute that is not there."""
    cls = type(architecture)
    if attribute not in _CAPABILITIES:
        return AttributeError(f"{cls.__name__!r} object has no attribute {attribute!r}")
    capability, what = _CAPABILITIES[attribute]
    return MissingCapability(f"{cls.__name__} does not know {what}: it lacks {capability}; {_instead(cls, attribute)}.")


def _instead(cls: type, attribute: str) -> str:
    if attribute == "propagator":
        return "estimate it on a lattice with estimate_momentum_n_point"
    if attribute == "infinite_width_kernel":
        if hasattr(cls, "estimate_kernel"):
            return "use estimate_kernel(key, x, y, num_draws)"
        return "estimate the two-point function of wide networks with estimate_n_point"
    known = "infinite_width_kernel(x, y) is their limit; " if hasattr(cls, "infinite_width_kernel") else ""
    single = " or, exact in the width, with williams" if hasattr(cls, "neuron_prior") else ""
    return f"{known}estimate them from draws with estimate_n_point{single}"
