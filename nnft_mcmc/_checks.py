"""Bad input, said in one sentence: what was given, what is required, what to do.

Every constructor checks its arguments with these functions, so a wrong value is refused where it enters and not
where it first hurts. The command line turns an `InputError` into one line on stderr and exit code 2.
"""

import difflib
import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any


class InputError(ValueError):
    """The user asked for something that cannot be; the message is one clear sentence with the remedy."""


def real(name: str, value: Any) -> float:
    """`value` as a finite float."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise InputError(f"{name} is {value!r}; it must be a finite number.")
    return float(value)


def positive(name: str, value: Any) -> float:
    """`value` as a finite float > 0."""
    if real(name, value) <= 0.0:
        raise InputError(f"{name} is {value!r}; it must be positive.")
    return float(value)


def non_negative(name: str, value: Any) -> float:
    """`value` as a finite float >= 0."""
    if real(name, value) < 0.0:
        raise InputError(f"{name} is {value!r}; it must not be negative.")
    return float(value)


def fraction(name: str, value: Any) -> float:
    """`value` as a float strictly between 0 and 1."""
    if not 0.0 < real(name, value) < 1.0:
        raise InputError(f"{name} is {value!r}; it must lie between 0 and 1.")
    return float(value)


# The sizes of arrays are counted with 32 bits.
LARGEST_SIZE = 2**31 - 1


def integer(name: str, value: Any, minimum: int, maximum: int = LARGEST_SIZE) -> int:
    """`value` as an int with minimum <= value <= maximum."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    number = int(value) if whole else minimum - 1
    if not minimum <= number <= maximum:
        upper = f" and at most {maximum}" if maximum != LARGEST_SIZE or number > maximum else ""
        raise InputError(f"{name} is {value!r}; it must be a whole number of at least {minimum}{upper}.")
    return number


def one_of(name: str, value: Any, choices: Iterable[str]) -> str:
    """`value` if it is one of `choices`; the error names the nearest."""
    choices = tuple(choices)
    if value not in choices:
        raise InputError(f"{name} is {value!r}; it must be one of {', '.join(choices)}.{nearest(value, choices)}")
    return value


def nearest(value: Any, choices: Iterable[str]) -> str:
    """' Did you mean 'x'?' where a choice is close enough to be a misspelling, else ''."""
    close = difflib.get_close_matches(str(value), list(choices), n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""
