"""`nnft compare RUN exact`: agreement, disagreement with its cause, and runs that cannot be judged."""

import math
import shutil

import numpy as np
import pytest
import tomli_w

from nnft_mcmc import cli
from nnft_mcmc.runs.compare import FALSE_ALARM, compare
from nnft_mcmc.runs.config import resolve
from nnft_mcmc.runs.measure import measure
from nnft_mcmc.runs.store import RunDirectory
from tests.runs.small import answer, command, refused, sampled, tables, tampered

# The main job of the package, configs/phi4_1d.toml, at other widths and numbers of draws.
BOX = {"shape": [17], "spacing": 0.25}


def chains(num_samples):
    return {"name": "refresh", "num_chains": 4, "num_warmup": 50, "num_samples": num_samples}


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """1/N shift of <phi^2> mid-box 0.0013, a third of its error."""
    return sampled(
        tmp_path_factory.mktemp("runs") / "wide", architecture={"width": 300}, lattice=BOX, sampler=chains(2000)
    )


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """1/N shift 0.04, some thirty errors."""
    return sampled(
        tmp_path_factory.mktemp("runs") / "narrow", architecture={"width": 10}, lattice=BOX, sampler=chains(8000)
    )


@pytest.fixture(scope="module")
def free(tmp_path_factory):
    """Six neurons, with an insertion that `draw` leaves out."""
    return sampled(
        tmp_path_factory.mktemp("runs") / "free",
        "draw",
        architecture={"name": "cos_net", "dim": 1, "width": 6},
        lattice={"shape": [6]},
        sampler=chains(20000),
    )


def verdict(run):
    """Exit code and JSON of the comparison, having seen that the text says the same."""
    code, printed = answer("compare", run.path, "exact")
    again, text, _ = command("compare", run.path, "exact")
    assert again == code
    assert printed["verdict"] == " ".join(text[text.index("Compared with") : text.rindex("G(t) against")].splitlines())
    return code, printed


@pytest.fixture(scope="module")
def wide_verdict(wide):
    return verdict(wide)


def test_wide_network_agrees(wide_verdict):
    """False alarm 1e-3."""
    code, printed = wide_verdict
    assert code == 0
    assert printed["agrees"] is True
    assert printed["p_value"] > printed["false_alarm"] == FALSE_ALARM == 1e-3
    assert "The run agrees with it" in printed["verdict"]
    assert "transfer matrix" in printed["reference"]
    assert printed["observables"]["phi2_mid"]["reference"] == pytest.approx(0.3033222698, abs=5.1e-11)
    assert printed["observables"]["phi2_mid"]["error"] < 0.02 * 0.3033


def test_schema(wide_verdict):
    _, printed = wide_verdict
    numbers = {"value", "error", "reference", "z", "tau_int", "ess", "rhat", "width_shift"}
    observables = printed["observables"]
    assert observables.keys() == {"phi2_mid", "phi4_mid", "two_point"}
    for name in ("phi2_mid", "phi4_mid"):
        table = observables[name]
        assert table.keys() == numbers
        assert table["z"] == pytest.approx((table["value"] - table["reference"]) / table["error"])
    assert observables["two_point"].keys() == numbers | {"coords"}
    assert observables["two_point"]["coords"] == [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]
    assert {len(column) for column in observables["two_point"].values()} == {8}
    assert printed["dof"] == 10
    assert printed["excess_kurtosis"] == pytest.approx(3 / (2 * 300))
    assert 0 <= printed["p_value"] <= 1
    assert printed["chi2"] > 0


def test_estimates_are_those_of_measure(wide, wide_verdict):
    _, printed = wide_verdict
    found = measure(wide)
    for name in ("phi2_mid", "phi4_mid"):
        assert printed["observables"][name]["value"] == float(found[name].estimate.value)
        assert printed["observables"][name]["error"] == float(found[name].estimate.error)
    assert printed["observables"]["two_point"]["error"] == found["two_point"].estimate.error[1:].tolist()


def test_narrow_network_fails_for_the_right_reason(narrow):
    code, printed = verdict(narrow)
    assert code == cli.EXIT_FAILED
    assert printed["agrees"] is False
    assert printed["p_value"] < 1e-12
    assert printed["observables"]["phi2_mid"]["z"] < -10
    assert printed["observables"]["phi2_mid"]["width_shift"] == pytest.approx(-0.04, abs=0.01)
    for words in (
        "The run DISAGREES with it",
        "width 10 shifts phi2_mid by -0.0",
        "finite width accounts for most of the difference, and bad sampling does not",
        "Use a larger architecture.width",
    ):
        assert words in printed["verdict"]


def test_disagreement_that_is_not_of_the_width(wide, tmp_path):
    wrong = tampered(wide, tmp_path / "wrong", "observables/phi2_mid", lambda phi2: 1.1 * phi2)
    code, printed = answer("compare", wrong.path, "exact")
    assert code == cli.EXIT_FAILED
    assert "finite width is not the cause" in printed["verdict"]
    assert "nnft diagnose" in printed["verdict"]


def test_plots(wide, wide_verdict):
    _, printed = wide_verdict
    assert printed["plot"] == str(wide.path / "plots" / "compare_exact.png")
    content = (wide.path / "plots" / "compare_exact.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(content) > 20_000


def test_independent_draws_against_their_own_width(free):
    """The excess kurtosis at six neurons is 1/4; a Gaussian field would be rejected. False alarm 1e-3."""
    code, printed = verdict(free)
    assert code == 0
    assert "the free ensemble, exact at its own width" in printed["reference"]
    assert printed["excess_kurtosis"] == pytest.approx(1 / 4)
    phi4 = printed["observables"]["phi4_mid"]
    assert "width_shift" not in phi4
    assert phi4["reference"] == pytest.approx((3 + 1 / 4) * 0.5**2)
    assert abs(phi4["value"] - 3 * 0.5**2) > 3 * phi4["error"]


def test_draws_against_a_wrong_width_or_amplitude(free, tmp_path):
    """The negative control: the same draws, said to be of another ensemble."""
    for key, value in (("width", 60), ("amplitude_std", 1.05), ("weight_std", 1.1)):
        copy = tmp_path / key
        shutil.copytree(free.path, copy)
        claimed = free.config().tables
        claimed["architecture"][key] = value
        (copy / "config.toml").write_text(tomli_w.dumps(claimed), encoding="utf-8")
        code, printed = answer("compare", copy, "exact")
        assert (code, printed["agrees"]) == (cli.EXIT_FAILED, False), key


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.25])
def test_series_that_cannot_be_judged(value, free, tmp_path):
    def change(phi2):
        index = np.s_[:] if value == 0.25 else (0, 5)
        phi2[index] = value
        return phi2

    code, printed = verdict(tampered(free, tmp_path / "broken", "observables/phi2_mid", change))
    assert code == cli.EXIT_FAILED
    assert "CANNOT BE JUDGED" in printed["verdict"]
    assert printed["agrees"] is False
    assert printed["p_value"] is printed["chi2"] is None
    assert printed["observables"]["phi2_mid"]["error"] is None


def test_too_few_draws(free, tmp_path):
    few = tampered(free, tmp_path / "few", "observables/phi2", lambda a: a)
    few.write_manifest({**few.manifest(), "draws": 5})
    code, printed = answer("compare", few.path, "exact")
    assert code == cli.EXIT_FAILED
    assert "CANNOT BE JUDGED: 20 draws were given and the test needs about" in printed["verdict"]


def test_unknown_reference(free):
    line = refused("compare", free.path, "exakt")
    assert "'exakt'" in line
    assert "Did you mean 'exact'?" in line


def test_ensemble_without_exact_answer(tmp_path):
    network = {"name": "cos_net", "dim": 1, "width": 3}
    run = RunDirectory(tmp_path / "run")
    run.create(resolve(tables(architecture=network)), "sample")
    line = refused("compare", run.path, "exact")
    assert "no exact answer is known for an interacting CosNet" in line
    assert "scalar_net with dim = 1 and cutoff = inf" in line


def test_comparison_in_python(free):
    comparison = compare(free, "exact")
    assert comparison.agrees
    assert np.abs(comparison.z).max() < 5
