"""Runs that are asked to stop, and the length of chunks in seconds."""

import itertools
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from nnft_mcmc import cli
from nnft_mcmc.runs import stopping
from nnft_mcmc.runs.store import RunDirectory
from tests.runs.small import answer, assert_same_bits, command, refused, resumed, sampled, stored, write
from tests.runs.test_resume import LONG, draws_of, environment

REAL_PACE = stopping.Pace.transitions  # before the tests' own chunks, all of one length, take its place
SHAPE = {"sampler": {"num_samples": 200}, "run": {"seed": 5}}


@pytest.fixture
def paced(monkeypatch):
    monkeypatch.setattr(stopping.Pace, "transitions", REAL_PACE)


def test_chunks_grow_to_ten_seconds(paced):
    pace = stopping.Pace(deadline=np.inf)
    assert pace.transitions() == 1
    pace.record(1, 0.05)
    assert pace.transitions() == 10  # ten times the last
    pace.record(10, 0.1)
    assert pace.transitions() == 100
    pace.record(100, 1.0)
    assert pace.transitions() == 1000
    pace.record(1000, 20.0)
    assert pace.transitions() == 500
    pace.record(1, 60.0)
    assert pace.transitions() == 1  # a draw is never cut


def test_chunks_fit_into_the_time_left(paced):
    pace = stopping.Pace(deadline=time.monotonic() + 5)
    assert pace.transitions() == 1
    pace.record(100, 2.0)
    assert 100 <= pace.transitions() <= 167  # 5 s at 20 ms, with a margin of a half
    pace.record(1, 4.0)
    assert pace.transitions() == 0
    assert stopping.Pace(deadline=time.monotonic() - 1).transitions() == 0


def test_uneven_chunks_do_not_matter(monkeypatch, tmp_path):
    whole = sampled(tmp_path / "whole", **SHAPE)
    lengths = itertools.cycle([1, 17, 33])
    monkeypatch.setattr(stopping.Pace, "transitions", lambda self: next(lengths))
    assert_same_bits(stored(sampled(tmp_path / "run", **SHAPE)), stored(whole))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_the_run_after_its_chunk(number, tmp_path, monkeypatch):
    file, run = write(tmp_path / "c.toml", **SHAPE), RunDirectory(tmp_path / "run")
    append, calls = RunDirectory.append, []

    def signalled(self, *arguments):
        calls.append(None)
        if len(calls) == 2:
            os.kill(os.getpid(), number)
        append(self, *arguments)

    before = signal.getsignal(number)
    monkeypatch.setattr(RunDirectory, "append", signalled)
    code, out, err = command("sample", file, "--out", run.path, "--set", "run.seed=5")
    monkeypatch.setattr(RunDirectory, "append", append)
    assert code == 0
    again = f"nnft sample {file} --out {run.path} --set run.seed=5 --resume"
    assert out.splitlines()[-1] == (f"Stopped by {number.name} after 80 of 200 draws per chain; go on with: {again}")
    assert "Traceback" not in err
    assert signal.getsignal(number) is before
    manifest = run.manifest()
    assert (manifest["draws"], manifest["complete"], manifest["stopped_by"]) == (80, False, number.name)
    assert "80 of 200 draws per chain" in command("measure", run.path)[1]
    assert answer("measure", run.path)[1]["draws"] == 80
    code, out, _ = command("diagnose", run.path)
    assert code == cli.EXIT_FAILED
    assert "80 of 200 draws per chain" in out
    assert command("sample", file, "--out", run.path, "--resume", "--quiet") == (0, "", "")
    assert run.manifest()["complete"]
    assert run.manifest()["stopped_by"] is None
    assert "draws per chain" not in command("measure", run.path)[1]
    assert_same_bits(stored(run), stored(sampled(tmp_path / "whole", **SHAPE)))


def test_time_limit(paced, tmp_path):
    file, run = write(tmp_path / "c.toml", **SHAPE), RunDirectory(tmp_path / "run")
    sample = ["sample", file, "--out", run.path]
    code, out, _ = command(*sample, "--time-limit", "1e-6")
    assert code == 0
    assert "Stopped by the time limit after warm-up; go on with: nnft sample" in out.splitlines()[-1]
    assert run.manifest()["draws"] == 0
    assert command(*sample, "--resume", "--quiet", "--time-limit", "1e3") == (0, "", "")
    assert_same_bits(stored(run), stored(sampled(tmp_path / "whole", **SHAPE)))
    assert "--time-limit is -1.0; it must be positive" in refused(*sample, "--resume", "--time-limit", "-1")


@pytest.mark.slow
def test_killed_at_twenty_random_times(tmp_path):
    """kill -9 within seconds of the start, twenty times; the bits are those of the run that was left alone."""
    moments = random.Random(20)
    file, run = write(tmp_path / "c.toml", **LONG), RunDirectory(tmp_path / "run")
    sample = [sys.executable, "-m", "nnft_mcmc", "sample", str(file), "--out", str(run.path), "--quiet"]
    seen = []
    for _ in range(20):
        begun = draws_of(run)
        process = subprocess.Popen([*sample, *(["--resume"] if run.exists else [])], env=environment())
        deadline = time.monotonic() + 120
        # Half of the kills come at any moment of the start, half once draws are being made.
        while moments.random() < 0.999 and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.01)
            if draws_of(run) > max(begun, 0):
                time.sleep(moments.uniform(0, 0.5))
                break
        process.kill()
        process.wait()
        seen.append(draws_of(run))
    assert seen == sorted(seen)
    assert seen[-1] > 0
    assert run.manifest()["draws"] == draws_of(run)
    assert_same_bits(stored(resumed(run)), stored(sampled(tmp_path / "whole", **LONG)))
