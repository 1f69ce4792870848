"""`nnft reweight`: the names of `nnft measure`, its verdict and exit codes."""

import json

import numpy as np
import pytest

from nnft_mcmc import cli
from tests.runs.small import answer, command, refused, sampled, write


@pytest.fixture
def config(tmp_path):
    return write(tmp_path / "config.toml")


def test_json_has_the_observables_of_measure(config, tmp_path):
    code, found = answer("reweight", config, "--num-draws", "2e4", "--seed", "3")
    assert (code, found["trusted"], found["num_draws"], found["num_not_finite"]) == (0, True, 20_000, 0)
    _, measured = answer("measure", sampled(tmp_path / "run").path)
    ratio = found["observables"].pop("log_partition_ratio")
    assert set(ratio) == {"value", "error", "bias"}
    assert found["observables"].keys() == measured["observables"].keys()
    for name, table in found["observables"].items():
        assert table.keys() - {"coords", "note"} == {"value", "error"}
        assert table.get("coords") == measured["observables"][name].get("coords")
    # Six errors: passed by a correct code but once in 1e9.
    for name in ("phi2", "phi4", "action", "virial"):
        both = found["observables"][name], measured["observables"][name]
        value, error = (np.array([table[key] for table in both]) for key in ("value", "error"))
        assert abs(value[0] - value[1]) < 6 * np.hypot(*error)
    assert found["ess_fraction"] == pytest.approx(found["ess"] / 20_000)
    assert 0 < found["largest_share"] < 0.01


def test_refusal_shows_the_values(config):
    arguments = ["reweight", config, "--num-draws", "1000", "--set", "insertion.coupling=1000"]
    code, out, _ = command(*arguments)
    assert code == cli.EXIT_FAILED
    assert "phi2 " in out
    assert "log_partition_ratio" in out
    assert "NOT to be trusted" in out
    code, out, err = command(*arguments, "--json")
    found = json.loads(out)
    assert (code, found["trusted"]) == (cli.EXIT_FAILED, False)
    assert "network" in err


def test_the_seed_matters_and_is_kept(config):
    arguments = ["reweight", config, "--num-draws", "1000", "--json"]
    first, again, other = (command(*arguments, "--seed", seed)[1] for seed in "112")
    assert first == again != other


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--num-draws", "10"], "--num-draws is 10"),
        (["--num-draws", "many"], "--num-draws"),
        (["--seed", "-1"], "--seed"),
    ],
)
def test_bad_input(config, arguments, complaint):
    assert complaint in refused("reweight", config, *arguments)
