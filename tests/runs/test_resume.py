"""A run that was stopped anywhere and resumed is, to the last bit, the run that was not stopped."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from nnft_mcmc import cli
from nnft_mcmc.runs.store import RunDirectory
from tests.runs.small import assert_same_bits, command, refused, resumed, sampled, stored, write

SAMPLERS = {
    "refresh": {"name": "refresh", "thinning": 2},
    "composite": {"name": "composite"},
    "nuts": {"name": "nuts", "max_tree_depth": 4},
}
SHAPE = {"num_chains": 2, "num_warmup": 24, "num_samples": 38}
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def sections(sampler):
    return {
        "architecture": {"width": 4},
        "sampler": {**SAMPLERS[sampler], **SHAPE},
        "run": {"seed": 3, "store": ["field", "parameters"]},
    }


def stops(number, error, part=None):
    """A method that works `number` times, then does `part` of its work and fails with `error`."""

    def wrap(method):
        calls = iter(range(number))

        def stopping(self, *arguments):
            if next(calls, None) is not None:
                return method(self, *arguments)
            if part is not None:
                part(method, self, *arguments)
            raise error

        return stopping

    return wrap


def half_a_chunk(append, run, chunk, lattice):
    """Only the observables are written, and of them only the first half of the draws."""
    half = {name: values[:, : values.shape[1] // 2] for name, values in chunk["observables"].items()}
    append(run, {"observables": half}, lattice)


def half_a_file(write_checkpoint, run, checkpoint):
    """The new file is beside the old one, and is not whole."""
    (run.path / "checkpoint.npz.new").write_bytes(b"PK")


# What stops, in which call, by what; with chunks of 8 draws there are 3 + 5 checkpoints and 5 appended chunks.
INTERRUPTIONS = {
    "in warm-up": ("write_checkpoint", stops(2, KeyboardInterrupt())),
    "while the first chunk is written": ("append", stops(0, FULL, half_a_chunk)),
    "while the third chunk is written": ("append", stops(2, FULL, half_a_chunk)),
    "between the third chunk and its checkpoint": ("write_checkpoint", stops(0, KeyboardInterrupt())),
    "while a checkpoint is written": ("write_checkpoint", stops(0, FULL, half_a_file)),
    "between the checkpoint and the manifest": ("write_manifest", stops(0, KeyboardInterrupt())),
    "in the last chunk": ("append", stops(1, KeyboardInterrupt(), half_a_chunk)),
    "before the last manifest": ("write_manifest", stops(0, KeyboardInterrupt())),
}


# A sampler is traced anew at every resumption, which takes long where there is more to it than a sweep.
FEW = ("in warm-up", "while the third chunk is written")


@pytest.mark.parametrize(("sampler", "places"), [("refresh", INTERRUPTIONS), ("composite", FEW), ("nuts", FEW[1:])])
def test_interrupted_and_resumed(sampler, places, tmp_path):
    whole = sampled(tmp_path / "whole", **sections(sampler))
    expected = stored(whole)
    # The chains do move: with frozen ones every resumption would pass.
    assert all(np.unique(chain).size > 5 for chain in expected["posterior/field"][:, :, 0])

    def begin():
        return sampled(tmp_path / "run", **sections(sampler))

    run = RunDirectory(tmp_path / "run")
    for where in places:
        method, stop = INTERRUPTIONS[where]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(RunDirectory, method, stop(getattr(RunDirectory, method)))
            with pytest.raises((KeyboardInterrupt, OSError)):
                resumed(run) if run.exists else begin()
        draws = run.manifest()["draws"]
        assert draws < 38, where
        if draws:
            for name, values in run.arrays()["observables"].items():
                np.testing.assert_array_equal(values, expected[f"observables/{name}"][:, :draws], err_msg=where)
    resumed(run)
    assert run.manifest()["draws"] == 38
    assert_same_bits(stored(run), expected)
    left = {entry.name for entry in run.path.iterdir()} - {"checkpoint.npz.new"}
    assert left == {entry.name for entry in whole.path.iterdir()}


def test_chunk_length_does_not_matter(tmp_path, monkeypatch):
    whole = sampled(tmp_path / "whole", **sections("refresh"))
    monkeypatch.setattr("nnft_mcmc.runs.results.CHUNKS_PER_RUN", 11)
    assert_same_bits(stored(sampled(tmp_path / "run", **sections("refresh"))), stored(whole))


def test_independent_draws_resume(tmp_path):
    whole = sampled(tmp_path / "whole", "draw", **sections("refresh"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunDirectory, "append", stops(2, KeyboardInterrupt(), half_a_chunk)(RunDirectory.append))
        with pytest.raises(KeyboardInterrupt):
            sampled(tmp_path / "run", "draw", **sections("refresh"))
    assert_same_bits(stored(resumed(RunDirectory(tmp_path / "run"), "draw")), stored(whole))


def test_a_state_of_another_shape_is_refused(tmp_path):
    run = sampled(tmp_path / "run", **sections("refresh"))
    checkpoint = run.checkpoint()
    run.write_checkpoint(type(checkpoint)(checkpoint.warmup, 8, [leaf[..., :1] for leaf in checkpoint.leaves]))
    line = refused("sample", run.path / "config.toml", "--out", run.path, "--resume", "--quiet")
    assert "does not fit this configuration; resume with" in line


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (FULL, cli.EXIT_FAILED, "nnft: cannot write or read: No space left on device; what was sampled is kept"),
        (KeyboardInterrupt(), cli.EXIT_INTERRUPTED, "nnft: interrupted; what was sampled is kept, continue with --res"),
    ],
)
def test_what_the_command_says_when_stopped(error, code, line, tmp_path):
    file, run = write(tmp_path / "c.toml", **sections("refresh")), RunDirectory(tmp_path / "run")
    sample = ["sample", file, "--out", run.path, "--quiet"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunDirectory, "append", stops(2, error, half_a_chunk)(RunDirectory.append))
        stopped, _, err = command(*sample)
    assert stopped == code
    assert err.strip().startswith(line)
    assert err.strip().count("\n") == 0
    assert command(*sample, "--resume") == (0, "", "")
    assert_same_bits(stored(run), stored(sampled(tmp_path / "whole", **sections("refresh"))))


def environment():
    """Of processes that share the compiled code of these tests."""
    return {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }


LONG = {"architecture": {"width": 16}, "sampler": {"num_warmup": 200, "num_samples": 20000}, "run": {"seed": 11}}


def draws_of(run):
    return json.loads((run.path / "manifest.json").read_text())["draws"] if run.exists else -1


def test_killed_and_resumed(tmp_path):
    """kill -9 at three moments: as sampling begins, in the middle, and soon after; no draw is lost or doubled."""
    file, run = write(tmp_path / "c.toml", **LONG), RunDirectory(tmp_path / "run")
    sample = [sys.executable, "-m", "nnft_mcmc", "sample", str(file), "--out", str(run.path), "--quiet"]
    whole = sampled(tmp_path / "whole", **LONG)
    seen = []
    for minimum, delay in ((0, 0.02), (6000, 0.013), (10000, 0.031)):
        process = subprocess.Popen([*sample, *(["--resume"] if run.exists else [])], env=environment())
        deadline = time.monotonic() + 120
        while draws_of(run) < minimum and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(delay)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        seen.append(draws_of(run))
    assert seen == sorted(seen)
    assert seen[-1] < 20000
    finished = subprocess.run([*sample, "--resume"], env=environment(), capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert draws_of(run) == 20000
    assert_same_bits(stored(run), stored(whole))


def test_disk_that_is_full(tmp_path):
    """No file may grow beyond 6 kB: the checkpoints of the warm-up fit, a chunk of fields does not."""
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))"
    bulk = {"sampler": {"num_samples": 3000}}
    file, run = write(tmp_path / "c.toml", **bulk), RunDirectory(tmp_path / "run")
    program = [sys.executable, "-c", f"{limit}; from nnft_mcmc import cli; sys.exit(cli.main())"]
    stopped = subprocess.run(
        [*program, "sample", str(file), "--out", str(run.path), "--quiet"],
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert stopped.returncode == cli.EXIT_FAILED
    assert re.fullmatch(r"nnft: cannot write or read.*: File too large; what was sampled is kept.*\n", stopped.stderr)
    assert run.checkpoint().warmup == 20
    assert run.manifest()["draws"] == 0
    assert_same_bits(stored(resumed(run)), stored(sampled(tmp_path / "whole", **bulk)))
