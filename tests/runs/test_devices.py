"""Chains and neurons shared among devices and among processes; the results are those of one device."""

import json
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from nnft_mcmc.runs import config
from nnft_mcmc.runs.store import RunDirectory
from tests.runs import small
from tests.runs.small import refused, resumed, sampled, stored, write
from tests.runs.test_resume import draws_of, environment

EIGHT = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
CHAINS = {"num_chains": 8, "num_warmup": 6, "num_samples": 40}
REFRESH = {
    "architecture": {"width": 8},
    "sampler": {"name": "refresh", **CHAINS},
    "run": {"seed": 3, "store": ["field", "parameters"]},
}

# Sums over sites of powers, which XLA may or may not contract into fused multiplications and additions.
ROUNDED = {"observables/phi2", "observables/phi4", "observables/action"}

SEVERAL = """
import json, sys
from pathlib import Path
import jax
jax.config.update("jax_enable_x64", True)
from nnft_mcmc.runs import config, driver
from nnft_mcmc.sampling.devices import Layout
for name, tables, devices, shards in json.loads(sys.argv[2]):
    driver.run(config.resolve(tables), Path(sys.argv[1]) / name, quiet=True, layout=Layout(devices, shards))
"""


def with_eight_devices(folder, runs):
    """Runs (name, tables, devices, neuron shards) made in one process that has eight devices; arrays by run."""
    environ = {**environment(), **EIGHT}
    subprocess.run([sys.executable, "-c", SEVERAL, str(folder), json.dumps(runs)], env=environ, check=True)
    return {name: stored(RunDirectory(folder / name)) for name, *_ in runs}


def assert_same(arrays, expected, rounded, rtol=1e-12):
    """The same bits, but for the arrays that may differ by rounding; identities are sums in which much cancels."""
    assert arrays.keys() == expected.keys()
    identities = {name for name in arrays if name.startswith("identities/")}
    assert {name for name in arrays if (arrays[name] != expected[name]).any()} <= rounded | identities
    for name in rounded:
        np.testing.assert_allclose(arrays[name], expected[name], rtol=rtol, atol=1e-13)
    for name in identities:
        np.testing.assert_allclose(arrays[name], expected[name], rtol=max(rtol, 1e-9), atol=max(rtol, 1e-9))


def test_results_do_not_depend_on_the_devices(tmp_path):
    whole = sampled(tmp_path / "whole", **REFRESH)
    tables = whole.config().tables
    runs = [("four", tables, 4, 1), ("eight", tables, 8, 1), ("neurons", tables, 8, 4)]
    found, expected = with_eight_devices(tmp_path, runs), stored(whole)
    assert_same(found["four"], expected, ROUNDED)
    # Sums over neurons are made by another routine where a device has a single chain, and in parts where neurons are
    # shared; the parameters are the same, for which proposals are accepted does not hang on the last bits.
    sums = {name for name in expected if name.startswith("observables/")} | {"posterior/field"}
    assert_same(found["eight"], expected, sums)
    assert_same(found["neurons"], expected, sums)
    assert not (expected["posterior/field"][0] == expected["posterior/field"][1]).all()  # chains are not copies


# Samplers whose parameters and fields are the same bits on any number of devices.
EXACT = {
    "tempering": {"name": "tempering", "base": "refresh", "num_replicas": 3, "num_samples": 20},
    "smc": {"name": "smc", "base": "refresh", "num_steps": 3, "num_particles": 2, "num_samples": 20},
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampler", "rtol"),
    [
        (EXACT["tempering"], 1e-12),
        (EXACT["smc"], 1e-12),
        ({"name": "composite", "num_samples": 20}, 1e-12),
        # A leapfrog step amplifies rounding, the more the stiffer the density is; two transitions are comparable.
        ({"name": "hmc", "num_warmup": 0, "num_samples": 2, "num_steps": 3}, 1e-9),
        ({"name": "nuts", "num_warmup": 0, "num_samples": 2, "max_tree_depth": 3}, 1e-9),
    ],
    ids=lambda value: value["name"] if isinstance(value, dict) else "",
)
def test_other_samplers_and_numbers_of_devices(sampler, rtol, tmp_path):
    tables = config.resolve({**small.tables(**REFRESH), "sampler": {**CHAINS, **sampler}}).tables
    runs = [("one", tables, 1, 1), ("two", tables, 2, 1), ("four", tables, 4, 1), ("neurons", tables, 8, 2)]
    found = with_eight_devices(tmp_path, runs)
    for name in ("two", "four", "neurons"):
        assert_same(found[name], found["one"], set(found["one"]), rtol)
    if sampler["name"] in EXACT:
        not_kept = {name for name in found["one"] if not name.startswith("posterior/")}
        for name in ("two", "four"):
            assert_same(found[name], found["one"], not_kept, rtol)


PROGRAMS = """
import re
import jax, jax.numpy as jnp
jax.config.update("jax_enable_x64", True)
from nnft_mcmc import Lattice
from nnft_mcmc.field_evaluation import NON_UNIFORM, field_by
from nnft_mcmc.sampling.devices import Layout

def run(waves):
    fields = jax.vmap(lambda one: field_by(NON_UNIFORM, one, Lattice((8, 8), 0.5)))(waves)
    until_small = jax.vmap(lambda x: jax.lax.while_loop(lambda y: y > 1, lambda y: y / 2, x))
    return waves, until_small(jnp.abs(fields).sum(axis=(1, 2)))[None]

layout = Layout(2)
waves = jnp.ones((4, 30, 2)), jnp.ones((4, 30)), jnp.ones((4, 30))
shardings = layout.of_state(waves, 4, None)
waves = jax.device_put(waves, shardings)
for function in (layout.by_chains(run, shardings), run):
    text = jax.jit(function, out_shardings=(shardings, layout.of_draws())).lower(waves).compile().as_text()
    chains = re.search("c128.([0-9]),1,8,8..* custom-call", text).group(1)
    print(chains, "all-gather(" in text, "all-reduce(" in text)
"""


def test_nothing_passes_between_devices():
    """Each transforms the fields of its two chains only; left to XLA both would do all four, in step."""
    environ = {**environment(), "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    done = subprocess.run([sys.executable, "-c", PROGRAMS], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["2 False False", "4 True True"]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def two_processes(file, run, *options):
    """`nnft sample` in two processes with two devices each, that meet on the loopback."""
    sample = [sys.executable, "-m", "nnft_mcmc", "sample", str(file), "--out", str(run.path), "--quiet", *options]
    meeting = ["--coordinator", f"127.0.0.1:{free_port()}", "--num-processes", "2"]
    two = {**environment(), "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    return [
        subprocess.Popen(
            [*sample, *meeting, "--process-id", str(number)],
            env=two,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]


def test_two_processes_stop_together_and_one_goes_on(tmp_path):
    """A signal to the second process stops both at the same chunk; one process alone finishes the run."""
    long = {**REFRESH, "sampler": {**REFRESH["sampler"], "num_samples": 6000}}
    file, run = write(tmp_path / "c.toml", **long), RunDirectory(tmp_path / "run")
    processes = two_processes(file, run)
    deadline = time.monotonic() + 120
    while draws_of(run) < 1 and all(p.poll() is None for p in processes) and time.monotonic() < deadline:
        time.sleep(0.005)
    processes[1].send_signal(signal.SIGTERM)
    errors = [p.communicate(timeout=120)[1] for p in processes]
    assert [p.returncode for p in processes] == [0, 0], errors
    assert 1 <= run.manifest()["draws"] < 6000
    assert not run.manifest()["complete"]
    assert_same(stored(resumed(run)), stored(sampled(tmp_path / "whole", **long)), ROUNDED)


def test_what_one_process_refuses_stops_both(tmp_path):
    run = sampled(tmp_path / "run", **REFRESH)
    processes = two_processes(write(tmp_path / "c.toml", **REFRESH), run)
    errors = [p.communicate(timeout=120)[1] for p in processes]
    assert [p.returncode for p in processes] == [2, 2]
    assert "already holds a run; continue it with --resume" in errors[0]
    assert "process 0 refused to go on" in errors[1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--devices", "2"], "--devices is 2 and there are 1 (cpu)"),
        (["--devices", "2"], "XLA_FLAGS=--xla_force_host_platform_device_count=2"),
        (["--devices", "0"], "--devices is 0; it must be a whole number"),
        (["--neuron-shards", "2"], "--neuron-shards is 2, which does not divide the number of devices, 1"),
        (["--coordinator", "here:1"], "--coordinator needs --num-processes and --process-id"),
        (
            ["--coordinator", "here", "--num-processes", "2", "--process-id", "0"],
            "--coordinator is 'here'; it must be HOST:PORT",
        ),
        (
            ["--coordinator", "here:1", "--num-processes", "2", "--process-id", "2"],
            "--process-id is 2; it must be a whole number of at least 0 and at most 1",
        ),
        (["--distributed", "--coordinator", "here:1"], "leave one of it and --coordinator out"),
    ],
)
def test_refusals(options, words, tmp_path):
    file = write(tmp_path / "c.toml", **REFRESH)
    assert words in refused("sample", file, "--out", tmp_path / "run", "--quiet", *options)
    assert not (tmp_path / "run").exists()


def test_chains_and_neurons_must_be_shared_equally(tmp_path):
    """In a process with eight devices, so the commands are made there."""
    file = write(tmp_path / "c.toml", **REFRESH)
    program = (
        "import sys\nfrom nnft_mcmc import cli\n"
        "for words in ('--devices=3', '--devices=8 --neuron-shards=3', '--devices=6 --neuron-shards=6'):\n"
        f"    print(cli.main(['sample', {str(file)!r}, '--out', {str(tmp_path / 'run')!r}, *words.split()]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env={**environment(), **EIGHT}, capture_output=True, text=True, check=True
    )
    chains, shards, width = done.stderr.splitlines()
    assert "sampler.num_chains is 8, which 3 groups of devices cannot share equally; give a multiple of 3" in chains
    assert "--neuron-shards is 3, which does not divide the number of devices, 8" in shards
    assert "architecture.width is 8, which 6 neuron shards cannot share equally; give a multiple of 6" in width
    assert not (tmp_path / "run").exists()
