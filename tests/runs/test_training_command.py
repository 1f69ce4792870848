"""nnft train: what it prints and stores, resuming, and what it refuses; and the configurations of training."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tomli_w
import xarray as xr

from nnft_mcmc import InputError, cli
from nnft_mcmc.runs import dynamics_config
from nnft_mcmc.runs.dynamics_config import resolve

TABLES = {
    "architecture": {"name": "mlp", "dim": 1, "width": 16, "weight_std": 1.5, "bias_std": 0.3},
    "data": {"function": "sin", "interval": [-1.0, 1.0], "num_points": 3, "test_inputs": [-0.5, 0.25, 1.5]},
    "training": {"name": "gradient_descent", "learning_rate": 0.3, "times": [0, 5], "num_networks": 24},
    "run": {"seed": 2},
}


CONFIGS = Path(__file__).resolve().parents[2] / "configs"
TIMES_RECORDED = 6  # steps 0 to 5: those asked for, and all between for the curve of the loss


def changed(section, **entries):
    table = {key: value for key, value in {**TABLES.get(section, {}), **entries}.items() if value is not None}
    return {**TABLES, section: table}


def write(path, tables=TABLES):
    path.write_text(tomli_w.dumps(tables), encoding="utf-8")
    return str(path)


def nnft(*words):
    return cli.main(["train", *map(str, words)])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A training with its directory, and the file of its configuration."""
    folder = tmp_path_factory.mktemp("training")
    file = write(folder / "c.toml")
    assert nnft(file, "--out", folder / "run", "--quiet") == 0
    return folder / "run", file


def test_it_stores_what_it_prints(trained, capsys):
    run, file = trained
    assert nnft(file, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((run / "results.json").read_text())
    with xr.open_dataset(run / "trajectories.nc") as stored:
        fields = stored["field"].to_numpy()
        assert fields.shape == (24, 2, 3)
        np.testing.assert_allclose(printed["mean"]["value"], fields.mean(axis=0), atol=1e-12)
        np.testing.assert_allclose(stored["mean"], fields.mean(axis=0), atol=1e-12)
        np.testing.assert_allclose(printed["mean"]["exact"], stored["exact_mean"], atol=1e-12)
        np.testing.assert_allclose(np.sqrt(np.diagonal(stored["two_point_connected"][0])), stored["std"][0], rtol=0.1)
        value, error = (np.array(printed["mean"][name]) for name in ("value", "error"))
        np.testing.assert_allclose((value - stored["exact_mean"]) / error, printed["mean"]["z"], atol=1e-10)
    assert printed["std"]["exact"][0] == pytest.approx([1.0, 0.7, 1.3], abs=0.6)
    assert len(printed["tests"]["mean"]) == 2
    assert all((run / "plots" / name).stat().st_size > 10_000 for name in ("bands.png", "loss.png"))


def test_the_table_has_a_row_for_each_time_and_point(trained, capsys):
    run, file = trained
    assert nnft(file, "--out", run, "--resume", "--quiet") == 0  # trains nothing anew
    out = capsys.readouterr().out
    assert "24 networks mlp(dim = 1, width = 16" in out
    assert [line.split()[:2] for line in out.splitlines() if line.startswith(("0 ", "5 "))][:6] == [
        [t, x] for t in "05" for x in ("-0.5", "0.25", "1.5")
    ]
    assert "part of order 1/width" in out


def test_resuming_after_a_loss_gives_the_same(trained, tmp_path):
    run, file = trained
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    chunks = sorted((copy / "networks").iterdir())
    assert len(chunks) == 8
    for chunk in chunks[3:5]:
        chunk.unlink()
    (copy / "results.json").unlink()
    assert nnft(file, "--out", copy, "--resume", "--quiet") == 0
    with xr.open_dataset(run / "trajectories.nc") as one, xr.open_dataset(copy / "trajectories.nc") as other:
        np.testing.assert_array_equal(one["field"], other["field"])
    chunks[0].write_bytes(b"no archive")
    assert nnft(file, "--out", copy, "--resume", "--quiet") == 2


def test_a_training_grows_and_changes_in_nothing_else(trained, tmp_path, capsys):
    run, file = trained
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    assert nnft(file, "--out", copy, "--resume", "--quiet", "--set", "training.num_networks=30") == 0
    with xr.open_dataset(run / "trajectories.nc") as one, xr.open_dataset(copy / "trajectories.nc") as other:
        assert other.sizes["network"] == 30
        np.testing.assert_array_equal(one["field"], other["field"][:24])
    for words, message in (
        (["--out", run], "already holds a training; give --resume"),
        (["--out", copy, "--resume", "--set", "training.learning_rate=0.2"], "differs .* in training.learning_rate"),
        (["--out", tmp_path / "new", "--resume"], "no training to resume"),
        (["--resume"], "give --out DIR as well"),
    ):
        capsys.readouterr()
        assert nnft(file, *words, "--quiet") == 2
        assert message.split(" .* ")[-1] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (changed("training", learning_rate=30.0), "diverges from 2 (1 + momentum) |D|/lambda_max"),
        (changed("training", num_networks=3), "at least 16"),
        (changed("training", times=[0, 0.5]), "whole numbers"),
        (changed("training", momentun=0.5), "Did you mean 'momentum'?"),
        (changed("training", name="sgd"), "must be one of gradient_flow, gradient_descent"),
        (changed("training", store=["weights"]), "training.store"),
        (changed("training", store=["parameters"]), "give --out DIR as well"),
        (changed("data", test_inputs=None), "no test points"),
        (changed("data", file="there.csv"), "give one of inputs (with targets), file, function"),
        (changed("data", interval=None), "give interval = [from, to] and num_points, or [lattice]"),
        (changed("data", function="tan"), "data.function is 'tan'"),
        (changed("architecture", dim=2), "have 1 coordinates"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tables, message, tmp_path, capsys):
    assert nnft(write(tmp_path / "c.toml", tables), "--quiet") == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.slow
def test_without_a_solved_model_it_says_why(tmp_path, capsys):
    """Adam has no exact solution; features that learn have no frozen kernel."""
    for entries in ({"name": "adam"}, {}):
        tables = changed("training", **{"learning_rate": 0.01, **entries})
        if not entries:
            tables["architecture"] = {**TABLES["architecture"], "parametrization": "maximal_update"}
        assert nnft(write(tmp_path / "c.toml", tables), "--json") == 0
        found = json.loads(capsys.readouterr().out)
        assert "exact" not in found["mean"]
        assert "Nothing exact to compare with" in found["notes"][0]


def test_inline_data_files_and_lattices_are_read(tmp_path):
    inputs, targets = np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([1.0, -1.0])
    np.savez(tmp_path / "d.npz", inputs=inputs, targets=targets, test_inputs=inputs + 1)
    np.savetxt(tmp_path / "d.csv", np.column_stack([inputs, targets]), delimiter=",")
    plane = {"name": "mlp", "dim": 2, "width": 4}
    for table in ({"inputs": inputs.tolist(), "targets": [1, -1]}, {"file": "d.npz"}, {"file": "d.csv"}):
        data = resolve({"architecture": plane, "data": table}, tmp_path).data()
        np.testing.assert_array_equal(data.inputs, inputs)
        np.testing.assert_array_equal(data.targets, targets)
        assert (data.test_inputs is None) == (table.get("file") != "d.npz")
    lattice = {"shape": [3, 3], "spacing": 0.5}
    on_sites = resolve({"architecture": plane, "lattice": lattice, "data": {"function": "gaussian"}}).data()
    np.testing.assert_allclose(on_sites.targets, np.exp(-(on_sites.inputs.sum(axis=1) ** 2) / 4))
    for name, content in (("e.csv", "a,b\n"), ("e.txt", "1,2\n")):
        (tmp_path / name).write_text(content)
        with pytest.raises(InputError, match=r"data.file"):
            resolve({"architecture": plane, "data": {"file": name}}, tmp_path).data()


def test_the_example_is_read():
    config = dynamics_config.load(CONFIGS / "training_mlp.toml")
    assert len(config.data()) == 4
    assert config.data().test_inputs.shape == (10, 1)
    assert config.training().num_networks == 200


def test_parameters_are_stored_on_demand(tmp_path):
    tables = changed("training", store=["parameters"], num_networks=16)
    assert nnft(write(tmp_path / "c.toml", tables), "--out", tmp_path / "run", "--quiet") == 0
    with np.load(tmp_path / "run" / "networks" / "0000000.npz") as stored:
        assert stored["theta/weights_1"].shape[1:] == (TIMES_RECORDED, 16, 1)


def test_resolved_tables_are_the_same_configuration():
    config = resolve(TABLES)
    data, training = config.data(), config.training()
    again = resolve(config.tables)
    np.testing.assert_array_equal(again.data().inputs, data.inputs)
    assert again.training().optimizer == training.optimizer
    assert dynamics_config.resolve(again.tables).architecture == config.architecture


@pytest.mark.slow
def test_devices_share_the_networks(trained, tmp_path):
    run, file = trained
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    words = ["train", file, "--out", str(tmp_path / "run"), "--devices", "2", "--quiet"]
    command = [sys.executable, "-m", "nnft_mcmc", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with xr.open_dataset(run / "trajectories.nc") as one, xr.open_dataset(tmp_path / "run/trajectories.nc") as other:
        np.testing.assert_allclose(one["field"], other["field"], atol=1e-12)


def test_a_missing_package_is_one_sentence(tmp_path):
    code = (
        "import sys; sys.modules['optax'] = None\n"
        "from nnft_mcmc import cli\n"
        f"sys.exit(cli.main(['train', {write(tmp_path / 'c.toml')!r}, '--quiet']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert 'pip install "nnft_mcmc[dynamics]"' in done.stderr
    assert done.stderr.count("\n") == 1
