"""`nnft spectrum` and `nnft export --to pyerrors`: what they print and write, and what they refuse."""

import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from nnft_mcmc.runs.measure import measure
from tests.runs.small import answer, command, refused, sampled, stored

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import pyerrors

OSCILLATOR = {
    "architecture": {"name": "lattice_modes", "mass": 1.0},
    "lattice": {"shape": [16], "spacing": 0.5, "geometry": "torus"},
    "sampler": {"name": "hmc", "num_chains": 4, "num_warmup": 0, "num_samples": 1000},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Independent draws of the harmonic oscillator, of which operators and fields are kept."""
    store = {"store": ["operators", "field"]}
    return sampled(tmp_path_factory.mktemp("runs") / "torus", "draw", insertion=None, run=store, **OSCILLATOR)


def test_operators_are_powers_of_the_field_averaged_over_space(run):
    arrays = stored(run)
    phi, operators = arrays["posterior/field"], arrays["posterior/operators"]
    np.testing.assert_allclose(operators, np.stack([phi, phi**2, phi**3, phi**4], axis=2), rtol=1e-12)
    labelled = run.results()["posterior/operators"]
    assert labelled.dims == ("chain", "draw", "operator", "t")
    assert labelled.operator.values.tolist() == ["phi", "phi2", "phi3", "phi4"]


def test_spectrum(run):
    """The gap of the lattice, 2 sinh(E a/2) = m a, within 4 errors; the levels and their windows in JSON and table."""
    code, printed = answer("spectrum", run.path)
    assert code == 0
    assert printed.keys() == {"gap", "levels", "times", "num_blocks", "tau_int", "plot"}
    assert [(level["sector"], level["level"]) for level in printed["levels"]] == [
        ("odd", 0),
        ("odd", 1),
        ("even", 0),
        ("even", 1),
    ]
    gap = printed["gap"]
    assert gap == printed["levels"][0]
    assert abs(gap["value"] - 4 * np.arcsinh(0.25)) < 4 * gap["error"]
    assert gap["error"] < 0.15
    window = gap["best_window"]
    assert 0 < window["t_min"] < window["t_max"] <= 4.0
    assert window["p_value"] > 0.01
    assert Path(printed["plot"]).read_bytes().startswith(b"\x89PNG")
    code, out, _ = command("spectrum", run.path, "--plot", run.path / "other.png")
    assert code == 0
    assert (run.path / "other.png").exists()
    rows = {" ".join(line.split()[:2]): line for line in out.splitlines()}
    assert rows.keys() >= {"odd 0", "odd 1", "even 0", "even 1"}


def test_spectrum_refuses_runs_without_operators_and_edges_of_a_torus(run, tmp_path):
    assert "edge" in refused("spectrum", run.path, "--edge", "1.0")
    bare = tmp_path / "bare"
    shutil.copytree(run.path, bare)
    shutil.rmtree(bare / "data.zarr" / "posterior")
    assert 'store = ["operators"]' in refused("spectrum", bare)


def test_export_to_pyerrors(run, tmp_path):
    """Values to rounding; errors by pyerrors' own Gamma-method, about the mean of each chain of 1000 draws, to 6%."""
    file = tmp_path / "run.json.gz"
    assert command("export", run.path, "--to", "pyerrors", "--out", file)[0] == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = pyerrors.input.json.load_json_dict(str(file), verbose=False)
    measured = measure(run)
    for name in ("phi2", "susceptibility", "binder", "correlation_length"):
        obs, estimate = read[name], measured[name].estimate
        obs.gamma_method(S=2.0)
        assert obs.names == [f"torus|chain{k}" for k in range(4)]
        assert obs.value == pytest.approx(float(estimate.value), rel=1e-10)
        assert obs.dvalue == pytest.approx(float(estimate.error), rel=0.06)
    correlator = read["correlator"]
    assert isinstance(correlator, pyerrors.Corr)
    assert correlator.T == 9
    mass = np.log(correlator[1] / correlator[2])
    mass.gamma_method(S=2.0)
    ours = measured["log_effective_mass"].estimate
    assert mass.value / 0.5 == pytest.approx(float(ours.value[1]), rel=1e-8)
    assert mass.dvalue / 0.5 == pytest.approx(float(ours.error[1]), rel=0.06)


def test_export_to_pyerrors_refuses_other_names_of_files(run, tmp_path):
    assert ".json.gz" in refused("export", run.path, "--to", "pyerrors", "--out", tmp_path / "run.txt")


def test_export_without_pyerrors_names_the_extra(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyerrors", None)
    monkeypatch.delitem(sys.modules, "nnft_mcmc.runs.pyerrors_file", raising=False)
    message = refused("export", run.path, "--to", "pyerrors", "--out", tmp_path / "run.json.gz")
    assert "nnft_mcmc[lattice]" in message
    assert not (tmp_path / "run.json.gz").exists()
