"""What a run leaves behind, and who may read and write it."""

import json

import arviz
import jax
import numpy as np
import pytest
import xarray as xr
import zarr

import nnft_mcmc
from nnft_mcmc.runs import config, driver
from nnft_mcmc.runs.store import RunDirectory
from tests.runs.small import (
    answer,
    assert_same_bits,
    command,
    refused,
    resumed,
    sampled,
    stored,
    tables,
    tampered,
    write,
)

PLANE = {
    "architecture": {"name": "cos_net", "dim": 2, "width": 6},
    "lattice": {"shape": [3, 4]},
    "insertion": {"quadrature": "riemann"},
    "sampler": {"num_samples": 60},
    "run": {"store": ["field", "parameters"]},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return sampled(tmp_path_factory.mktemp("runs") / "line", run={"seed": 7})


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    return sampled(tmp_path_factory.mktemp("runs") / "plane", **PLANE)


def test_contents(run):
    assert {entry.name for entry in run.path.iterdir()} >= {
        "config.toml",
        "manifest.json",
        "data.zarr",
        "checkpoint.npz",
    }
    assert [entry.name for entry in run.path.parent.iterdir()] == [run.path.name]


def test_manifest(run):
    manifest = json.loads((run.path / "manifest.json").read_text())
    assert manifest["kind"] == "sample"
    assert manifest["seed"] == 7
    assert manifest["num_chains"] == 2
    assert manifest["num_samples"] == manifest["draws"] == 600
    assert manifest["seconds"] > 0
    assert manifest["versions"]["jax"] == jax.__version__
    assert manifest["versions"]["nnft_mcmc"] == nnft_mcmc.__version__
    assert manifest["versions"].keys() >= {"python", "jaxlib", "numpyro", "numpy", "xarray", "arviz", "zarr"}


def test_configuration_of_a_run_resolves_to_itself(run):
    given = config.resolve(tables(run={"seed": 7})).tables
    assert run.config().tables == given
    assert config.load(run.path / "config.toml", ["architecture.width=8"]).tables == given


def test_results_are_labelled(run):
    results = run.results()
    assert set(results.children) == {"posterior", "sample_stats", "observables", "identities"}
    field = results["posterior"]["field"]
    assert field.dims == ("chain", "draw", "t")
    assert field.shape == (2, 600, 5)
    assert field["t"].values.tolist() == [-1.0, -0.5, 0.0, 0.5, 1.0]
    assert field["chain"].values.tolist() == [0, 1]
    assert field["draw"].values.tolist() == list(range(600))
    assert field.dtype == np.float64
    assert results["observables"]["two_point"].dims == ("chain", "draw", "separation")
    assert results["observables"]["separation"].values.tolist() == [0.0, 0.5, 1.0]
    assert results["sample_stats"]["acceptance_rate"].dims == ("chain", "draw")
    assert np.isfinite(field.values).all()


def test_results_of_a_plane_are_labelled(plane):
    results = plane.results()
    field = results["posterior"]["field"]
    assert field.dims == ("chain", "draw", "t", "x")
    assert field["t"].values.tolist() == [-0.5, 0.0, 0.5]
    assert field["x"].values.tolist() == [-0.75, -0.25, 0.25, 0.75]
    assert results["posterior"]["momenta"].shape == (2, 60, 6, 2)
    assert results["posterior"]["amplitudes"].shape == (2, 60, 6)


def test_stored_parameters_make_the_stored_field(plane):
    posterior, ensemble = plane.results()["posterior"], plane.config().ensemble
    theta = {name: posterior[name].values[1, 17] for name in ensemble.architecture.prior()}
    np.testing.assert_allclose(ensemble.field(theta), posterior["field"].values[1, 17], rtol=1e-12, atol=1e-13)


def test_what_is_stored_does_not_change_what_is_sampled(run, tmp_path):
    other = sampled(tmp_path / "run", run={"seed": 7, "store": ["parameters"]})
    arrays, expected = stored(other), stored(run)
    kept = {name for name in arrays if name.startswith("posterior/")}
    assert kept == {"posterior/momenta", "posterior/phases", "posterior/amplitudes"}
    for name in expected.keys() & arrays.keys():
        np.testing.assert_allclose(arrays[name], expected[name], rtol=1e-12, atol=1e-13)
    (_, left), (_, right) = (answer("measure", path) for path in (other.path, run.path))
    assert left["observables"].keys() == right["observables"].keys()
    for number in ("value", "error", "tau_int", "ess"):
        assert left["observables"]["mass"][number] == pytest.approx(right["observables"]["mass"][number], rel=1e-9)


def test_same_seed_same_bits_another_seed_other_draws(run, tmp_path):
    again = sampled(tmp_path / "again", run={"seed": 7})
    assert_same_bits(stored(again), stored(run))
    other = stored(sampled(tmp_path / "other", run={"seed": 8}))
    assert not (other["posterior/field"] == stored(run)["posterior/field"]).any()


def test_chains_differ(run):
    first, second = stored(run)["posterior/field"]
    assert not (first == second).any()


def test_readers_see_complete_draws_only(run, tmp_path):
    part = tampered(run, tmp_path / "part", "observables/phi2", lambda a: a)
    part.write_manifest({**part.manifest(), "draws": 90})
    assert part.results()["posterior"].sizes["draw"] == 90
    np.testing.assert_array_equal(part.arrays()["posterior"]["field"], stored(run)["posterior/field"][:, :90])


def test_draws_in_the_store_beyond_the_checkpoint_are_dropped(run, tmp_path):
    longer = tampered(run, tmp_path / "longer", "observables/phi2", lambda a: a)
    longer.append({"observables": {"phi2": np.zeros((2, 3))}}, longer.config().ensemble.lattice)
    assert stored(longer)["observables/phi2"].shape == (2, 603)
    assert longer.results()["observables"].sizes["draw"] == 600
    assert_same_bits(stored(resumed(longer)), stored(run))


def test_run_without_draws(tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.create(config.resolve(tables()), "sample")
    for name in ("measure", "diagnose"):
        assert "no complete draws yet" in refused(name, run.path)


def test_a_run_is_not_overwritten(run, tmp_path):
    file, before = write(tmp_path / "c.toml"), stored(run)
    line = refused("sample", file, "--out", run.path)
    assert "already holds a run" in line
    assert "--resume" in line
    assert_same_bits(stored(run), before)


def test_output_must_be_a_new_or_empty_directory(tmp_path):
    file = write(tmp_path / "c.toml")
    line = refused("sample", file, "--out", tmp_path)
    assert "not an empty directory" in line
    assert "another --out" in line
    assert "not an empty directory" in refused("draw", file, "--out", file)
    assert "Not a directory" in refused("draw", file, "--out", file / "run")
    assert [entry.name for entry in tmp_path.iterdir()] == ["c.toml"]


def test_empty_directory_is_taken_and_neighbours_are_left_alone(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run.new").mkdir()
    (tmp_path / "run.new" / "precious").touch()
    RunDirectory(tmp_path / "run").create(config.resolve(tables()), "sample")
    assert {entry.name for entry in (tmp_path / "run").iterdir()} == {"config.toml", "manifest.json"}
    assert {entry.name for entry in tmp_path.iterdir()} == {"run", "run.new"}
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.glob("*.new/*")} == {"run.new/precious"}


@pytest.mark.parametrize("words", [["measure"], ["diagnose"], ["compare", "exact"], ["export"]])
def test_commands_on_a_directory_without_run(words, tmp_path):
    name, *rest = words
    options = ["--to", "netcdf", "--out", tmp_path / "x.nc"] if name == "export" else rest
    assert f"{tmp_path} holds no run; give a directory written by nnft" in refused(name, tmp_path, *options)
    assert not list(tmp_path.iterdir())


def test_damaged_manifest(run, tmp_path):
    copy = tampered(run, tmp_path / "copy", "observables/phi2", lambda a: a)
    (copy.path / "manifest.json").write_text('{"format": 1,')
    assert "manifest.json is damaged" in refused("measure", copy.path)
    (copy.path / "manifest.json").write_text('{"format": 99, "versions": {"nnft_mcmc": "7.0"}}')
    assert "run format 99" in refused("measure", copy.path)


def test_resume_needs_a_run(tmp_path):
    file = write(tmp_path / "c.toml")
    assert "holds no run" in refused("sample", file, "--out", tmp_path / "run", "--resume")
    assert not (tmp_path / "run").exists()


def test_resume_needs_the_same_configuration(run, tmp_path):
    file, before = write(tmp_path / "c.toml", run={"seed": 7}), stored(run)
    resume = ["sample", file, "--out", run.path, "--resume"]
    line = refused(*resume, "--set", "insertion.coupling=0.6", "--set", "sampler.num_samples=700")
    assert "differs from that of the run" in line
    assert "in insertion.coupling; " in line
    line = refused(*resume, "--set", "sampler.num_samples=500")
    assert "sampler.num_samples is 500" in line
    assert "can grow but not shrink" in line
    assert "made by nnft sample" in refused("draw", file, "--out", run.path, "--resume")
    assert_same_bits(stored(run), before)
    assert run.config().sampler.num_samples == 600


def test_a_run_can_grow(run, tmp_path):
    """Resumed with more draws, a finished run is to the last bit the one that was asked for them at once."""
    longer = tampered(run, tmp_path / "longer", "observables/phi2", lambda a: a)
    grown = config.load(longer.path / "config.toml", ["sampler.num_samples=1000"])
    driver.run(grown, longer.path, resume=True, quiet=True)
    assert longer.manifest()["draws"] == longer.manifest()["num_samples"] == 1000
    assert longer.config().sampler.num_samples == 1000
    whole = sampled(tmp_path / "whole", run={"seed": 7}, sampler={"num_samples": 1000})
    assert_same_bits(stored(longer), stored(whole))


def test_damaged_data_is_noticed(run, tmp_path):
    """A file cut short, one with a wrong byte, one lost, and fewer draws than the checkpoint counts."""
    for number, damage in enumerate([lambda old: old[:-9], lambda old: old[:99] + b"x" + old[100:]]):
        copy = tampered(run, tmp_path / str(number), "observables/phi2", lambda a: a)
        file = copy.path / "data.zarr/observables/phi4/c/0/0"
        file.write_bytes(damage(file.read_bytes()))
        assert "phi4 is damaged" in refused("measure", copy.path)
        assert "phi4 is damaged" in refused(
            "sample", copy.path / "config.toml", "--out", copy.path, "--resume", "--quiet"
        )
    lost = tampered(run, tmp_path / "lost", "observables/phi2", lambda a: a)
    (lost.path / "data.zarr/observables/phi4/c/0/0").unlink()
    assert np.isnan(lost.arrays()["observables"]["phi4"]).all()
    short = tampered(run, tmp_path / "short", "observables/phi2", lambda a: a)
    array = zarr.open_group(short.path / "data.zarr", mode="a")["observables/phi4"]
    array.resize((2, 590))
    line = refused("sample", short.path / "config.toml", "--out", short.path, "--resume", "--quiet")
    assert "holds 590 draws of phi4 and the checkpoint counts 600" in line


def test_resuming_a_finished_run_changes_nothing(run, tmp_path):
    copy = tampered(run, tmp_path / "copy", "observables/phi2", lambda a: a)
    assert_same_bits(stored(resumed(copy)), stored(run))
    assert copy.manifest()["draws"] == 600


def test_one_process_at_a_time(run, tmp_path):
    file = write(tmp_path / "c.toml", run={"seed": 7})
    with run.lock():
        line = refused("sample", file, "--out", run.path, "--resume", "--quiet")
    assert "another process is writing the run" in line
    assert "wait for it to end" in line
    with run.lock():
        pass


def test_draw_leaves_the_insertion_out(tmp_path):
    deformed = sampled(tmp_path / "deformed", "draw")
    free = sampled(tmp_path / "free", "draw", insertion=None)
    assert deformed.manifest()["kind"] == "draw"
    assert deformed.config().tables["insertion"]["coupling"] == 0.5
    assert_same_bits(stored(deformed), stored(free))
    assert "observables/action" not in stored(deformed)
    field = stored(deformed)["posterior/field"]
    assert abs(np.corrcoef(field[0, :-1, 0], field[0, 1:, 0])[0, 1]) < 4 / np.sqrt(599)  # 6e-5 for independent draws


@pytest.mark.parametrize("which", ["run", "plane"])
def test_export_opens_with_arviz_and_xarray(which, request, tmp_path):
    run, file = request.getfixturevalue(which), tmp_path / "run.nc"
    export = ["export", run.path, "--to", "netcdf", "--out", file]
    assert command(*export)[0] == 0
    results = run.results()
    with xr.open_datatree(file, engine="h5netcdf") as tree:
        assert tree.attrs["seed"] == run.manifest()["seed"]
        for group in ("posterior", "sample_stats", "observables"):
            xr.testing.assert_identical(tree[group].to_dataset().load(), results[group].to_dataset())
    data = arviz.from_netcdf(str(file))
    xr.testing.assert_equal(data.posterior["field"].load(), results["posterior"]["field"])
    xr.testing.assert_equal(data.observables["two_point"].load(), results["observables"]["two_point"])
    assert "exists" in refused(*export)


def test_export_refuses_what_it_cannot_do(run, tmp_path):
    assert "it must be one of" in refused("export", run.path, "--to", "hdf", "--out", tmp_path / "x.nc")
    line = refused("export", run.path, "--to", "netcdf", "--out", tmp_path / "no" / "x.nc")
    assert "is not a directory; make it" in line
