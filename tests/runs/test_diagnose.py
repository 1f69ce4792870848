"""`nnft diagnose` passes a good run and names what is wrong with a bad one, of every kind."""

import numpy as np
import pytest

from nnft_mcmc import cli
from nnft_mcmc.runs import diagnose
from nnft_mcmc.runs.config import resolve
from nnft_mcmc.sampling import Refresh
from tests.runs.small import answer, command, sampled, tables, tampered


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return sampled(tmp_path_factory.mktemp("runs") / "good", sampler={"num_samples": 2000})


@pytest.fixture(scope="module")
def composite(tmp_path_factory):
    settings = {"name": "composite", "num_chains": 2, "num_warmup": 500, "num_samples": 2000}
    return sampled(tmp_path_factory.mktemp("runs") / "composite", sampler=settings)


def failures(run):
    """Names of the checks that failed; the exit code says whether there are any."""
    code, printed = answer("diagnose", run.path)
    failed = [check["name"] for check in printed["checks"] if not check["passed"]]
    assert code == (cli.EXIT_FAILED if failed else 0)
    assert printed["converged"] == (not failed)
    return failed


def assert_text_tells_the_same(run):
    """The table and the verdict say what the JSON says."""
    code, printed = answer("diagnose", run.path)
    text = command("diagnose", run.path)
    assert text[0] == code
    verdict = next(line for line in text[1].splitlines() if line.startswith("The run is"))
    assert ("NOT converged" in verdict) == (code != 0)
    for check in printed["checks"]:
        row = next(line for line in text[1].splitlines() if line.startswith(check["name"] + "  "))
        assert row.endswith("ok" if check["passed"] else "FAILED")
        reason = f"{check['name']}: {check['found']}, required {check['required']}; {check['remedy']}"
        assert (reason in verdict) == (not check["passed"])


def test_good_run(run):
    assert failures(run) == []
    assert_text_tells_the_same(run)
    _, printed = answer("diagnose", run.path)
    assert {check["name"] for check in printed["checks"]} == {
        "complete",
        "finite",
        "moving",
        "acceptance rate",
        "R-hat",
        "bulk ESS",
        "tail ESS",
        "chain length",
        "virial identity",
    }
    assert (run.plots / "chains.png").read_bytes().startswith(b"\x89PNG")
    assert (run.plots / "chains.png").stat().st_size > 20_000


def test_good_composite_run(composite):
    assert failures(composite) == []


def test_incomplete_run(run, tmp_path):
    part = tampered(run, tmp_path / "part", "observables/phi2", lambda a: a)
    part.write_manifest({**part.manifest(), "draws": 1600})
    assert failures(part) == ["complete"]


def test_too_short(run, tmp_path):
    """20 draws per chain: neither 100 effective ones, nor 50 tau_int."""
    short = tampered(run, tmp_path / "short", "observables/phi2", lambda a: a)
    short.write_manifest({**short.manifest(), "draws": 20, "num_samples": 20})
    assert {"bulk ESS", "tail ESS", "chain length"} <= set(failures(short))
    assert_text_tells_the_same(short)


def put(index, value):
    def change(array):
        array[index] = value
        return array

    return change


ALL = np.s_[:]


BROKEN = [
    ("observables/phi2", put(1, 0.25), "moving"),
    ("observables/phi2", put(ALL, 0.25), "moving"),
    ("observables/magnetization", put(ALL, 0.0), "moving"),
    ("observables/two_point", put(np.s_[0, :, 2], 0.1), "moving"),
    ("posterior/field", put(np.s_[1, :, 4], 0.1), "moving"),
    ("observables/phi4", put((0, 3), np.nan), "finite"),
    ("observables/phi2_mid", put((1, 1999), np.inf), "finite"),
    ("observables/virial", put((0, 0), -np.inf), "finite"),
    ("sample_stats/num_not_finite", put((0, 77), 1), "finite"),
    ("sample_stats/acceptance_rate", put(1, 0.01), "acceptance rate"),
    ("sample_stats/acceptance_rate", put((0, 0), np.nan), "acceptance rate"),
    ("observables/virial", put(ALL, 1.01), "virial identity"),
]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken[0])
def test_broken_run(broken, run, tmp_path):
    name, change, failed = broken
    assert failures(tampered(run, tmp_path / "broken", name, change)) == [failed]


def shifted(array):
    """One chain of two sits 0.4 standard deviations away: R-hat is about sqrt(1 + 0.04) = 1.02."""
    array[1] += 0.4 * array.std()
    return array


def test_chains_that_disagree(run, tmp_path):
    assert "R-hat" in failures(tampered(run, tmp_path / "shifted", "observables/magnetization", shifted))


def random_walk(array):
    """tau_int of the order of the run."""
    steps = np.random.default_rng(3).normal(size=array.shape)
    return np.cumsum(steps, axis=1)


def test_slow_chains(run, tmp_path):
    slow = tampered(run, tmp_path / "slow", "observables/magnetization", random_walk)
    assert {"bulk ESS", "chain length"} <= set(failures(slow))


def test_divergences(composite, tmp_path):
    diverging = tampered(composite, tmp_path / "diverging", "sample_stats/diverging", put((1, 5), True))
    assert failures(diverging) == ["divergences"]


def test_energy_that_is_hardly_explored(run):
    arrays = run.arrays()
    energy = np.random.default_rng(4).normal(size=(2, 2000))
    for values, passed in ((energy, True), (random_walk(energy), False)):
        (check,) = diagnose._hamiltonian({**arrays["sample_stats"], "energy": values})
        assert (check.name, check.passed) == ("E-BFMI", passed)


def test_wrong_coupling(tmp_path, monkeypatch):
    """The kernel samples at 1.3 times the coupling that the run states: 9 errors here, where the bound is 3.3."""
    sections = {"architecture": {"width": 4}, "sampler": {"num_samples": 10000}}
    truth = resolve(tables(**sections, insertion={"coupling": 0.5 * 1.3})).ensemble
    kernel = Refresh().kernel
    monkeypatch.setattr(Refresh, "kernel", lambda self, ensemble: kernel(truth))
    assert failures(sampled(tmp_path / "run", **sections)) == ["virial identity"]
