"""`nnft diagnose` passes a good run and names what is wrong with a bad one, of every kind."""

import shutil

import numpy as np
import pytest

from nnft_mcmc import cli
from nnft_mcmc.runs import checks_of_moves
from nnft_mcmc.runs.config import resolve
from nnft_mcmc.sampling import Refresh
from nnft_mcmc.statistics import gamma_method
from tests.runs.small import answer, command, refused, sampled, tables, tampered, write


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return sampled(tmp_path_factory.mktemp("runs") / "good", sampler={"num_samples": 2000})


@pytest.fixture(scope="module")
def composite(tmp_path_factory):
    settings = {"name": "composite", "num_chains": 2, "num_warmup": 500, "num_samples": 2000, "start": "hot_and_cold"}
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
        "identities of amplitudes",
        "identities of momenta",
        "identities of phases",
        "coupling of phi^4",
    }
    assert printed["plot"] == str(run.plots / "diagnosis.png")
    assert (run.plots / "diagnosis.png").read_bytes().startswith(b"\x89PNG")
    assert (run.plots / "diagnosis.png").stat().st_size > 40_000


def test_every_number_is_in_the_json(run):
    _, printed = answer("diagnose", run.path)
    kept = run.arrays("observables", "identities")
    for name in kept["observables"].keys() - {"virial"}:
        slowest = gamma_method(kept["observables"][name])
        found = printed["mixing"][name]
        assert found["tau_int"] == pytest.approx(float(np.max(slowest.tau_int)), rel=1e-12)
        assert found["tau_int_error"] in np.atleast_1d(slowest.tau_int_error)
        assert found["window"] >= 1
    assert printed["identities"].keys() == {"amplitudes", "momenta", "phases"}
    for block, numbers in printed["identities"].items():
        estimate = gamma_method(kept["identities"][block])
        z = [number["z"] for name, number in numbers.items() if name != "virial"]
        np.testing.assert_allclose(z, estimate.value / estimate.error, rtol=1e-12)
    assert printed["identities"]["amplitudes"]["virial"]["value"] == pytest.approx(
        float(kept["observables"]["virial"].mean() - 1), rel=1e-9
    )
    assert abs(printed["couplings"]["phi^4"]["ratio"] - 1) < 5 * printed["couplings"]["phi^4"]["error"]
    assert printed["uncertified"] == []


def test_good_composite_run(composite):
    assert failures(composite) == []
    names = {check["name"] for check in answer("diagnose", composite.path)[1]["checks"]}
    assert {"divergences", "energy error", "hot and cold starts", "flow acceptance rate"} <= names
    assert "E-BFMI" not in names


def test_a_run_without_identities_is_certified_by_its_parameters(tmp_path):
    """The same numbers as those kept while sampling."""
    kept = sampled(tmp_path / "run", sampler={"num_samples": 300}, run={"store": ["parameters"]})
    _, with_identities = answer("diagnose", kept.path)
    shutil.rmtree(kept.path / "data.zarr" / "identities")
    _, without = answer("diagnose", kept.path)
    for block, numbers in with_identities["identities"].items():
        for name, number in numbers.items():
            assert without["identities"][block][name]["z"] == pytest.approx(number["z"], rel=1e-6, abs=1e-9)


def test_one_chain_cannot_start_hot_and_cold(tmp_path):
    file = write(tmp_path / "one.toml", sampler={"num_chains": 1, "start": "hot_and_cold"})
    assert "two chains or more" in refused("sample", file, "--out", tmp_path / "run")
    file = write(tmp_path / "lukewarm.toml", sampler={"start": "lukewarm"})
    assert "hot_and_cold" in refused("sample", file, "--out", tmp_path / "run")


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
    (length,) = (c for c in answer("diagnose", short.path)[1]["checks"] if c["name"] == "chain length")
    needed = float(length["required"].rpartition("= ")[2])
    assert f"{needed - 20:.0f} more draws per chain are needed" in length["remedy"]


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
    ("observables/virial", put(ALL, 1.01), "identities of amplitudes"),
    ("identities/phases", put((0, 5, 1), np.nan), "finite"),
    ("identities/phases", lambda a: a + 0.15 * a.std(axis=(0, 1)), "identities of phases"),
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
    """One or two of 2000 are left to the certificate, 3 are too many; with a block that has none, one is."""
    few = tampered(composite, tmp_path / "few", "sample_stats/diverging", put((1, np.s_[:2]), True))
    assert failures(few) == []
    many = tampered(composite, tmp_path / "many", "sample_stats/diverging", put((1, np.s_[:3]), True))
    assert failures(many) == ["divergences"]
    stats = {"diverging": few.arrays("sample_stats")["sample_stats"]["diverging"]}
    for certified in (True, False):
        (check,) = checks_of_moves.hamiltonian(stats, certified)
        assert check.passed == certified


def test_energy_that_is_hardly_explored():
    energy = np.random.default_rng(4).normal(size=(2, 2000))
    for values, passed in ((energy, True), (random_walk(energy), False)):
        (check,) = checks_of_moves.hamiltonian({"energy": values}, certified=True)
        assert (check.name, check.passed) == ("E-BFMI", passed)


def test_energy_errors():
    """dH ~ N(s^2/2, s^2) has <exp(-dH)> = 1; an integrator that gains 0.05 on average does not, 14 errors here."""
    s, normal = 0.5, np.random.default_rng(5).normal(size=(4, 5000))
    right = s**2 / 2 + s * normal
    ran_off = np.where(normal > 3.2, np.inf, right)
    lost = np.where(normal > 3.2, np.nan, right)  # a trajectory that overflowed
    free = 1e-15 * normal
    for energy_error, passed in ((right, True), (right + 0.05, False), (ran_off, True), (lost, True), (free, True)):
        (check,) = checks_of_moves.hamiltonian({"energy_error": energy_error}, certified=True)
        assert (check.name, check.passed) == ("energy error", passed)


def test_starts_that_are_remembered(composite, tmp_path):
    """The cold chain is 0.3 standard deviations off: 9 errors."""

    def cold(array):
        array[1] += 0.3 * array.std()
        return array

    off = tampered(composite, tmp_path / "remembered", "observables/phi2_mid", cold)
    assert "hot and cold starts" in failures(off)


def test_wrong_coupling(tmp_path, monkeypatch):
    """The kernel samples at 1.3 times the coupling that the run states: 9 errors here, where the bound is 3.5."""
    sections = {"architecture": {"width": 4}, "sampler": {"num_samples": 10000}}
    truth = resolve(tables(**sections, insertion={"coupling": 0.5 * 1.3})).ensemble
    kernel = Refresh().kernel
    monkeypatch.setattr(Refresh, "kernel", lambda self, ensemble: kernel(truth))
    wrong = sampled(tmp_path / "run", **sections)
    assert failures(wrong) == ["identities of amplitudes", "coupling of phi^4"]
    coupling = answer("diagnose", wrong.path)[1]["couplings"]["phi^4"]
    assert abs(coupling["ratio"] - 1.3) < 4 * coupling["error"] + 0.1
