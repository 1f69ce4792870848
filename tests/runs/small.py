"""Runs small enough for tests, and what to read in them."""

import contextlib
import io
import json
import math
import shutil

import numpy as np
import tomli_w
import zarr

from nnft_mcmc import cli
from nnft_mcmc.runs import config, driver

ARCHITECTURE = {"name": "scalar_net", "dim": 1, "width": 8, "mass": 1.0, "cutoff": math.inf}
LATTICE = {"shape": [5], "spacing": 0.5}
INSERTION = {"name": "phi_power", "degree": 4, "coupling": 0.5, "quadrature": "trapezoid"}
SAMPLER = {"name": "refresh", "num_chains": 2, "num_warmup": 20, "num_samples": 600}


def tables(**sections):
    """The small phi^4 configuration, with entries of its sections replaced; a section of None is left out."""
    whole = {"architecture": ARCHITECTURE, "lattice": LATTICE, "insertion": INSERTION, "sampler": SAMPLER, "run": {}}
    for name, entries in sections.items():
        new_kind = entries is not None and "name" in entries
        whole[name] = entries if entries is None or new_kind else {**whole[name], **entries}
    return {name: table for name, table in whole.items() if table is not None}


def write(path, **sections):
    """The configuration as a file."""
    path.write_text(tomli_w.dumps(tables(**sections)), encoding="utf-8")
    return path


def sampled(path, kind="sample", **sections):
    """A run of the configuration."""
    return driver.run(config.resolve(tables(**sections)), path, kind, quiet=True)


def resumed(run, kind="sample"):
    """The run, continued."""
    return driver.run(run.config(), run.path, kind, resume=True, quiet=True)


def stored(run):
    """Every array in the store, as it lies there, by name."""
    root = zarr.open_group(run.path / "data.zarr", mode="r")
    return {f"{group}/{name}": array[:] for group, members in root.groups() for name, array in members.arrays()}


def assert_same_bits(left, right):
    """The same arrays, to the last bit."""
    assert left.keys() == right.keys()
    different = [name for name in left if left[name].shape != right[name].shape or (left[name] != right[name]).any()]
    assert not different


def tampered(run, path, name, change):
    """A copy of the run in which change(array) is stored in place of one array."""
    shutil.copytree(run.path, path)
    array = zarr.open_group(path / "data.zarr", mode="a")[name]
    array[:] = change(np.array(array[:]))
    return type(run)(path)


def command(*arguments):
    """Exit code, stdout and stderr of a command, run in this process."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = cli.main([str(argument) for argument in arguments])
    return code, out.getvalue(), err.getvalue()


def answer(*arguments):
    """Exit code and parsed output of a command that prints JSON; NaN and Infinity are no JSON."""

    def refuse(token):
        raise AssertionError(f"{token} in JSON")

    code, out, _ = command(*arguments, "--json")
    return code, json.loads(out, parse_constant=refuse)


def refused(*arguments):
    """The one line with which the command line refuses its input."""
    code, _, err = command(*arguments)
    assert code == cli.EXIT_BAD_INPUT
    assert err.count("\n") == 1
    assert err.startswith("nnft: ")
    assert err.endswith((".\n", "?\n"))
    assert "Traceback" not in err
    return err
