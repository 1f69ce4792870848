"""One requirement on a run, as `nnft diagnose` states it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """What was found, what is required, and what to do where it fails."""

    name: str
    found: str
    required: str
    passed: bool
    remedy: str
