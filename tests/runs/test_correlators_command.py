"""`nnft correlators`: table and JSON, files of points, Williams' technique, and what it refuses."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from nnft_mcmc import CosNet, Lattice, cli
from nnft_mcmc.architectures import Waves
from nnft_mcmc.runs import correlators
from tests.runs.small import answer, command, refused, write

COS_NET = {"name": "cos_net", "dim": 1, "width": 3}
# Six-sigma: exceeded by a correct code less than once in 1e8 entries.
BOUND = 6.0


@pytest.fixture
def config(tmp_path):
    return write(tmp_path / "config.toml", architecture=COS_NET)


@pytest.fixture
def points(tmp_path):
    path = tmp_path / "points.txt"
    path.write_text("# order 2\n0; 0.5\n\n0; 0; 0.5; 0.5  # order 4\n-1; 0; 0; 1\n")
    return path


def test_json_against_the_exact_values(config, points):
    code, found = answer("correlators", config, "--num-draws", "5e4", "--points", points)
    assert (code, found["num_draws"], found["method"], found["symmetric"]) == (0, 50_000, "draws", True)
    rows = found["correlators"]
    assert [row["order"] for row in rows] == [2, 4, 4]
    assert rows[1]["points"] == [[0.0], [0.0], [0.5], [0.5]]
    net = CosNet(1, 3)
    for row in rows:
        at = np.array(row["points"])
        np.testing.assert_allclose(row["exact"], net.n_point_connected(*at), rtol=1e-10)
        np.testing.assert_allclose(row["z"], (row["value"] - row["exact"]) / row["error"], rtol=1e-10)
        assert abs(row["z"]) < BOUND
    assert rows[0]["error"] < 0.02 * rows[0]["value"]


def test_controls_wrong_width_and_order_by_williams(config, points):
    """Williams' errors resolve the width: the values of width 3 are not those of width 4."""
    arguments = ["--num-draws", "5e4", "--points", points, "--method", "williams", "--order", "4"]
    _, right = answer("correlators", config, *arguments)
    _, wrong = answer("correlators", config, *arguments, "--set", "architecture.width=4")
    assert [row["order"] for row in right["correlators"]] == [4, 4]
    for row, other in zip(right["correlators"], wrong["correlators"], strict=True):
        assert abs(row["z"]) < BOUND
        assert abs(other["value"] - row["exact"]) > 2 * BOUND * other["error"]


def test_table_progress_and_seed(config):
    arguments = ["correlators", config, "--num-draws", "2000", "--order", "2"]
    code, out, err = command(*arguments)
    lines = out.splitlines()
    assert code == 0
    assert lines[0].startswith("ensemble   cos_net(dim = 1, width = 3")
    assert lines[2].split() == ["order", "points", "value", "±", "error", "exact", "z"]
    assert "0  0.5" in out
    assert "MiB" in lines[-1]
    assert "2.00k/2.00k" in err
    assert "network/s" in err
    assert command(*arguments)[1] == out
    assert command(*arguments, "--seed", "7")[1] != out


def test_default_tuples_lie_on_the_time_axis():
    lattice = Lattice((5, 3), 0.5)
    tuples = correlators.default_tuples(lattice, (2, 4, 6))
    assert {len(t) for t in tuples} == {2, 4, 6}
    assert all((t[:, 1] == 0.0).all() for t in tuples)
    np.testing.assert_array_equal(tuples[1], [[0.0, 0.0], [0.5, 0.0]])
    np.testing.assert_array_equal(correlators.default_tuples(Lattice((1,), 1.0), (2,)), np.zeros((1, 2, 1)))


def test_no_exact_value_is_said(tmp_path):
    """alpha = 0.4 without a cut-off has no six-point function in d = 1; the other orders keep their exact values."""
    architecture = {"name": "scalar_net", "dim": 1, "width": 3, "mass": 1.0, "cutoff": float("inf"), "alpha": 0.4}
    config = write(tmp_path / "config.toml", architecture=architecture)
    code, out, _ = command("correlators", config, "--num-draws", "500", "--order", "2,6")
    assert code == 0
    assert "No exact value of order 6: the six-point function does not exist" in out


def test_fields_without_the_symmetry_fail(config, monkeypatch, capsys):
    """A field of mean 0.5, for which connected functions of even moments alone are wrong: exit code 1."""
    waves = CosNet.waves

    def with_a_constant(self, theta):
        momenta, cosines, sines = waves(self, theta)
        constant = jnp.zeros((1, self.dim)), jnp.full(1, 0.5), jnp.zeros(1)
        return Waves(*(jnp.concatenate(pair) for pair in zip((momenta, cosines, sines), constant, strict=True)))

    monkeypatch.setattr(CosNet, "waves", with_a_constant)
    code = cli.main(["correlators", str(config), "--num-draws", "3000", "--order", "2", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (code, found["symmetric"]) == (cli.EXIT_FAILED, False)
    assert "WRONG" in found["notes"][-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--num-draws", "many"], "--num-draws is 'many'"),
        (["--num-draws", "1.5"], "--num-draws is '1.5'"),
        (["--order", "3"], "--order is '3'"),
        (["--method", "guess"], "--method is 'guess'; it must be one of draws, williams"),
        (["--points", "nowhere.txt"], "cannot read the points nowhere.txt"),
        (["--seed", "-1"], "--seed is -1"),
        (["--set", "architecture.widht=3"], "unknown key 'widht'"),
    ],
)
def test_bad_input_is_one_sentence(config, arguments, message):
    assert message in refused("correlators", config, *arguments)


@pytest.mark.parametrize("line", ["0; 1; 2", "0 0; 1 1", "0; x", "0; inf", "0"])
def test_bad_lines_of_points(config, tmp_path, line):
    path = tmp_path / "points.txt"
    path.write_text(f"0; 1\n{line}\n")
    assert "line 2" in refused("correlators", config, "--points", path)


def test_a_file_without_a_tuple_of_the_order(config, points):
    assert "holds no tuple of 6 points" in refused("correlators", config, "--points", points, "--order", "6")


def test_williams_needs_iid_neurons(tmp_path):
    modes, lattice = {"name": "lattice_modes", "mass": 1.0}, {"shape": [4], "spacing": 1.0, "geometry": "torus"}
    sampler = {"name": "hmc"}
    config = write(tmp_path / "c.toml", architecture=modes, lattice=lattice, insertion=None, sampler=sampler)
    line = command("correlators", config, "--method", "williams", "--num-draws", "500")[2].splitlines()[-1]
    assert line.startswith("nnft: LatticeModes is not a sum of i.i.d. neurons")
    code, found = answer("correlators", config, "--num-draws", "5000")
    assert code == 0
    assert all(abs(row["z"]) < BOUND for row in found["correlators"])
