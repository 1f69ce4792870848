"""`nnft axioms`: configurations and runs of every kind, what is rejected and what is not, and what is refused."""

import shutil

import numpy as np
import pytest

from nnft_mcmc import cli
from nnft_mcmc.runs import axiom_report, axioms
from nnft_mcmc.runs.axiom_fields import StoredFields
from nnft_mcmc.runs.store import RunDirectory
from tests.runs.small import answer, command, refused, sampled, write

COS_NET = {"name": "cos_net", "dim": 1, "width": 4}
BOX = {"shape": [9], "spacing": 0.5}
MODES = {"name": "lattice_modes", "mass": 1.0}
TORUS = {"shape": [8], "spacing": 0.5, "geometry": "torus"}
HMC = {"name": "hmc", "num_chains": 2, "num_warmup": 10, "num_samples": 400}
# The rate at which each test below that expects no violation may fail.
FALSE_ALARM = ["--false-alarm", "1e-5"]


def outcome(found):
    return {axiom["name"]: axiom for axiom in found["axioms"]}


def test_a_cos_net_is_invariant_and_neither_positive_nor_clustering(tmp_path):
    """The Gaussian kernel violates reflection positivity, the width clustering; the insertion is left out."""
    path = write(tmp_path / "c.toml", architecture=COS_NET, lattice=BOX)
    picture = tmp_path / "a.png"
    code, found = answer("axioms", path, "--num-draws", "4000", *FALSE_ALARM, "--plot", picture)
    assert (code, found["rejected"], found["num_draws"]) == (cli.EXIT_FAILED, True, 4000)
    by_name = outcome(found)
    rejected = [name for name, axiom in by_name.items() if axiom["rejected"]]
    assert rejected == ["reflection positivity", "cluster decomposition"]
    assert "insertion is left out" in found["notes"][0]
    positivity = {test["name"]: test for test in by_name["reflection positivity"]["tests"]}
    assert positivity["site reflection, fields"]["p_value"] < 1e-6
    assert positivity["site reflection, fields"]["power"] > 0.99
    assert positivity["site reflection, exponentials"]["power"] is None
    floor = next(t for t in by_name["cluster decomposition"]["tests"] if t["name"] == "<phi^2 phi^2>")
    assert floor["outcome"] == "floor"
    assert abs(floor["floor"] - 1 / 8) < 5 * floor["floor_error"]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_free_lattice_field_obeys_all_axioms(tmp_path):
    path = write(tmp_path / "c.toml", architecture=MODES, lattice=TORUS, insertion=None, sampler=HMC)
    code, out, err = command("axioms", path, "--num-draws", "2000", *FALSE_ALARM)
    assert code == 0
    assert "2.00k/2.00k" in err
    lines = out.splitlines()
    verdicts = [line for line in lines if line.endswith(("no violation seen.", "exact up to rounding."))]
    assert len(verdicts) >= 3
    assert "link reflection, exponentials" in out
    assert "translation along t, characteristic function" in out
    assert "decays with mass" in out or "cannot tell" in out
    assert "Plot" not in out


@pytest.mark.slow
def test_a_network_that_singles_out_the_origin_is_caught(tmp_path):
    """Gauss-net: translations, by the characteristic function. Cube-net: rotations by 45 degrees."""
    gauss = {"name": "gauss_net", "dim": 1, "width": 2, "bias_std": 1.0}
    path = write(tmp_path / "g.toml", architecture=gauss, lattice={"shape": [9], "spacing": 0.5}, insertion=None)
    code, found = answer("axioms", path, "--num-draws", "4000", *FALSE_ALARM)
    assert code == cli.EXIT_FAILED
    caught = {t["name"]: t["rejected"] for t in outcome(found)["Euclidean invariance"]["tests"]}
    assert caught["translation, characteristic function"]
    cube = {"name": "cube_net", "dim": 2, "width": 3, "cutoff": 2.0}
    path = write(tmp_path / "q.toml", architecture=cube, lattice={"shape": [7, 7], "spacing": 1.0}, insertion=None)
    code, found = answer("axioms", path, "--num-draws", "8000", *FALSE_ALARM)
    caught = {t["name"]: t["rejected"] for t in outcome(found)["Euclidean invariance"]["tests"]}
    assert any(caught[name] for name in caught if name.startswith("rotation of t and x, 45 degrees"))
    assert not any(caught[name] for name in caught if name.startswith("translation"))


@pytest.fixture(scope="module")
def interacting(tmp_path_factory):
    """phi^4 in the box, 2 x 1000 draws."""
    lattice, sampler = {"shape": [9], "spacing": 0.5}, {"num_samples": 1000}
    architecture = {"width": 50}
    return sampled(tmp_path_factory.mktemp("run") / "phi4", architecture=architecture, lattice=lattice, sampler=sampler)


def test_an_interacting_run(interacting):
    """Its box has the reflection only, and says why; exit code 0, and a plot in the run."""
    code, found = answer("axioms", interacting.path, *FALSE_ALARM)
    assert (code, found["num_draws"]) == (0, 2000)
    assert found["plot"] == str(interacting.path / "plots" / "axioms.png")
    assert (interacting.path / "plots" / "axioms.png").exists()
    by_name = outcome(found)
    assert {t["name"].partition(",")[0] for t in by_name["Euclidean invariance"]["tests"]} == {"reflection of t"}
    assert "because the interaction ends with the box" in command("axioms", interacting.path, *FALSE_ALARM)[1]
    two = by_name["cluster decomposition"]["tests"][0]
    assert two["outcome"] in ("decays", "undecided")
    assert all(t["power"] is None for t in by_name["reflection positivity"]["tests"])


def test_a_violation_in_stored_fields_is_found(interacting):
    """Control: the same run with its fields tilted in time is not symmetric under reflections."""
    stored = interacting.arrays("posterior")["posterior"]["field"]
    tilted = stored * np.linspace(0.8, 1.2, stored.shape[2])
    ensemble = interacting.config().ensemble
    elements = axioms.of_lattice(ensemble.lattice, translations=False)
    fields = StoredFields(tilted, ensemble.lattice)
    found = axioms._tested(axioms._Theory(fields, fields, elements, False, None, None), 1e-5, ())
    assert found.axioms[0].rejected
    assert "REJECTED" in axiom_report.verdict(found.axioms[0], 1e-5)


def without(run, path, *names):
    """A copy of the run that has not stored these."""
    shutil.copytree(run.path, path)
    for name in names:
        shutil.rmtree(path / "data.zarr" / "posterior" / name)
    return RunDirectory(path)


def test_a_free_run_with_parameters_is_tested_anywhere(tmp_path):
    """Translations by any vector on the stored networks; fields made of the parameters are the stored ones."""
    store = {"store": ["field", "parameters"]}
    run = sampled(
        tmp_path / "run",
        "draw",
        architecture=COS_NET,
        lattice=BOX,
        insertion=None,
        sampler={"num_samples": 400},
        run=store,
    )
    first, second = (axiom_report.as_json(axioms.of_run(r, 1e-5)) for r in (run, without(run, tmp_path / "b", "field")))
    assert outcome(first)["Euclidean invariance"]["tests"][0]["name"] == "translation, 2- and 4-point"
    assert not outcome(first)["Euclidean invariance"]["rejected"]
    ratios = [[t["ratio"] for t in outcome(found)["reflection positivity"]["tests"]] for found in (first, second)]
    np.testing.assert_allclose(*ratios, rtol=1e-6)


def test_a_field_with_a_mean_has_no_connected_functions(interacting):
    stored = interacting.arrays("posterior")["posterior"]["field"]
    fields = StoredFields(stored + 0.5, interacting.config().ensemble.lattice)
    found = axioms._tested(axioms._Theory(fields, fields, [], False, None, None), 1e-5, ())
    assert "the field has a mean" in found.axioms[-1].reason
    assert "NOT TESTED: the field has a mean" in axiom_report.text(found)
    assert not found.axioms[-1].rejected


def test_few_draws_say_so(tmp_path):
    """And a lattice of two sites has no reflection."""
    for shape, reason in (
        ([8], "40 draws were given and the test needs"),
        ([2], "it needs three sites or more along t."),
    ):
        lattice = {**TORUS, "shape": shape}
        path = write(tmp_path / "c.toml", architecture=MODES, lattice=lattice, insertion=None, sampler=HMC)
        code, out, _ = command("axioms", path, "--num-draws", "40")
        assert code == 0
        assert f"reflection positivity: NOT TESTED: {reason}" in out


def test_refusals(tmp_path, interacting):
    path = write(tmp_path / "c.toml", architecture=COS_NET, lattice=BOX)
    for arguments, message in (
        (["--num-draws", "many"], "--num-draws is 'many'"),
        (["--false-alarm", "2"], "--false-alarm is 2.0"),
        (["--seed", "-1"], "--seed is -1"),
        (["--set", "architecture.widht=3"], "unknown key 'widht'"),
    ):
        assert message in refused("axioms", path, *arguments)
    assert "are for a CONFIG" in refused("axioms", interacting.path, "--num-draws", "100")
    assert "holds no run" in refused("axioms", tmp_path)
    bare = without(interacting, tmp_path / "bare", "field")
    assert "stores neither fields nor parameters" in refused("axioms", bare.path)
    assert "cannot read the configuration" in refused("axioms", tmp_path / "nowhere.toml")
