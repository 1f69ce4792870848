"""The command `nnft`: parse, call, print.

Exit codes: 0, done; 1, a check failed or a run could not go on; 2, bad input, with one line on stderr. Each file here
adds its commands to the parser.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence

from nnft_mcmc import _checks
from nnft_mcmc.cli import (
    axioms,
    compare,
    conventions,
    expressivity,
    extrapolate,
    free,
    ntk,
    report,
    runs,
    sampling,
    scaling,
    spectrum,
    training,
)
from nnft_mcmc.cli._base import EXIT_BAD_INPUT, EXIT_FAILED, EXIT_INTERRUPTED

__all__ = ["EXIT_BAD_INPUT", "EXIT_FAILED", "EXIT_INTERRUPTED", "main", "parser"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    options = parser().parse_args(arguments)
    options.began = time.monotonic()
    kept = "; what was sampled is kept, continue with --resume" if "resumable" in options else ""
    try:
        return options.command(options)
    except _checks.InputError as error:
        print(f"nnft: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except BrokenPipeError:  # the reader of our output, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        print(f"nnft: cannot write or read{where}: {error.strerror or error}{kept}.", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print(f"\nnnft: interrupted{kept}.", file=sys.stderr)
        return EXIT_INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    whole = argparse.ArgumentParser(
        prog="nnft",
        description="Neural-network field theory: ensembles of networks as field theories, sampled and held against"
        " exact answers.",
    )
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    field_theory = (sampling, runs, compare, spectrum, report, extrapolate, free, axioms, conventions)
    groups = (*field_theory, ntk, scaling, training, expressivity)
    for group in groups:
        group.add(commands)
    return whole
