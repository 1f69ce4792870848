"""`nnft expressivity`: tables, numbers, files, theorems that are checked, and what it refuses."""

import csv

import numpy as np
import pytest
import tomli_w

from nnft_mcmc.architectures import KAN, AdditiveKAN
from nnft_mcmc.expressivity.floors import additive_floor
from nnft_mcmc.expressivity.targets import target
from nnft_mcmc.runs import expressivity
from nnft_mcmc.runs.config import read_tables
from tests.runs.small import answer, command, refused
from tests.runs.test_example_configurations import EVERY

DENSE = {"name": "dense_net", "activation": "tanh", "weight_std": 3.0, "bias_std": 2.0}
ADDITIVE = {**DENSE, "name": "additive_net"}
SETTINGS = {"widths": [4, 8, 16, 32], "num_draws": 4, "num_points": 24}
SHIPPED = [path for path in EVERY if "expressivity" in read_tables(path)]


@pytest.fixture
def config(tmp_path):
    """A configuration file of these sections, by default two networks that approximate x y."""

    def written(**sections):
        tables = {"target": {"name": "product"}, "expressivity": SETTINGS, "approximant": [DENSE, ADDITIVE], **sections}
        path = tmp_path / "expressivity.toml"
        path.write_text(tomli_w.dumps({name: table for name, table in tables.items() if table}), encoding="utf-8")
        return path

    return written


def test_numbers_and_files(config, tmp_path):
    code, found = answer("expressivity", config(), "--out", tmp_path / "out", "--set", "expressivity.num_draws=3")
    assert code == 0
    assert found["breaches"] == []
    dense, additive = found["curves"]
    of = target("product")
    np.testing.assert_allclose(additive["floor"], additive_floor(of.f, of.lower, of.upper), rtol=1e-12)
    assert dense["floor"] is None
    assert [point["num_parameters"] for point in dense["points"]] == [16, 32, 64, 128]
    np.testing.assert_allclose(additive["points"][-1]["rms"]["value"], 1 / 3, rtol=1e-3)  # it stalls
    assert dense["points"][-1]["rms"]["value"] < 0.1
    with (tmp_path / "out" / "errors.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 2 * 4 * 3
    logs = [np.log(float(row["rms"])) for row in rows if row["label"] == "dense_net" and row["width"] == "8"]
    np.testing.assert_allclose(np.exp(np.mean(logs)), dense["points"][1]["rms"]["value"], rtol=1e-12)
    assert (tmp_path / "out" / "expressivity.png").read_bytes()[:4] == b"\x89PNG"


def test_bounds_predictions_and_the_table(config):
    methods = {**SETTINGS, "methods": ["construction", "fourier_sampling"]}
    path = config(target={"name": "gaussian"}, expressivity=methods, approximant=None)
    code, out, _ = command("expressivity", path)
    assert code == 0
    assert out.count("sup <= ") == 4 == out.count("rms = ")
    code, found = answer("expressivity", path)
    assert all(point["sup"]["value"] <= point["bound"] for point in found["curves"][0]["points"])
    points = found["curves"][0]["points"]
    logs = [np.log([point["width"], point["sup"]["value"]]) for point in points]
    slope, covariance = np.polyfit(*np.transpose(logs), 1, cov=True)
    rate = found["curves"][0]["rates"]["sup"]
    np.testing.assert_allclose([rate["value"], rate["error"]], [slope[0], covariance[0, 0] ** 0.5], rtol=1e-9)


def test_training_beats_the_draw_it_starts_from(config):
    methods = {
        "widths": [4],
        "num_draws": 3,
        "num_points": 64,
        "steps": 300,
        "methods": ["random_features", "training"],
    }
    code, found = answer("expressivity", config(target={"name": "sin"}, expressivity=methods, approximant=[DENSE]))
    assert code == 0
    drawn, trained = (curve["points"][0]["rms"]["value"] for curve in found["curves"])
    assert trained < drawn
    assert "the exponent needs 4" in found["curves"][0]["rates"]["rms"]["reason"]


def test_the_width_of_kolmogorov_arnold_networks(tmp_path):
    """Nodes of one hidden layer, or intervals where the layers are given; on a box that holds [-1, 2] x [0, 5]."""
    tables = {
        "target": {"name": "product", "lower": [-1.0, 0.0], "upper": [2.0, 5.0]},
        "expressivity": {"widths": [2, 6]},
        "approximant": [
            {"name": "kan", "grid": 4, "label": "nodes"},
            {"name": "kan", "widths": [3, 2], "label": "intervals"},
            {"name": "additive_kan", "degree": 1, "lower": -3.0},
        ],
    }
    nodes, intervals, additive = (family.networks for family in expressivity.resolve(tables).approximants)
    assert nodes == {n: KAN(2, (n,), 4, lower=-1.0, upper=5.0) for n in (2, 6)}
    assert intervals == {n: KAN(2, (3, 2), n, lower=-1.0, upper=5.0) for n in (2, 6)}
    assert additive == {n: AdditiveKAN(2, n, 1, lower=-3.0, upper=5.0) for n in (2, 6)}


def test_kolmogorov_arnold_networks(config):
    """Of sin on [-pi, pi]: splines of the fourth order on N intervals; training improves a chain of two edges."""
    methods = {"widths": [4, 8, 16], "num_draws": 2, "num_points": 128, "steps": 30}
    both = {**methods, "methods": ["random_features", "training"]}
    chain = {"name": "kan", "widths": [1]}
    path = config(target={"name": "sin"}, expressivity=both, approximant=[{"name": "additive_kan"}])
    code, found = answer("expressivity", path)
    assert code == 0
    drawn, trained = found["curves"]
    assert drawn["points"] == trained["points"]  # linear: neither draws nor training matter
    assert [point["num_parameters"] for point in drawn["points"]] == [8, 12, 20]
    logs = np.log([[point["width"], point["rms"]["value"]] for point in drawn["points"]])
    np.testing.assert_allclose(drawn["rates"]["rms"]["value"], np.polyfit(*logs.T, 1)[0], rtol=1e-9)
    assert drawn["rates"]["rms"]["value"] < -3.5
    path = config(target={"name": "sin"}, expressivity={**both, "widths": [4], "num_draws": 1}, approximant=[chain])
    _, found = answer("expressivity", path)
    drawn, trained = (curve["points"][0] for curve in found["curves"])
    assert drawn["num_parameters"] == 16 == trained["num_parameters"]
    assert trained["rms"]["value"] < 0.1 * drawn["rms"]["value"]


def test_a_violated_theorem_is_exit_code_1(config, monkeypatch):
    """Control: with floors three times too high every network of the additive kind is below its own."""
    monkeypatch.setattr(expressivity, "floor_of", lambda network, f, lower, upper: 1.0)
    code, found = answer("expressivity", config(expressivity={**SETTINGS, "widths": [4, 8]}))
    assert code == 1
    assert len(found["breaches"]) == 4
    assert "below its floor 1" in found["breaches"][0]


def test_samples(config, tmp_path):
    x = np.random.default_rng(0).uniform(-1, 1, (200, 2))
    np.savetxt(tmp_path / "samples.csv", np.column_stack([x, np.sin(x[:, 0] + x[:, 1])]), delimiter=",")
    np.savez(tmp_path / "samples.npz", inputs=x, targets=np.sin(x[:, 0] + x[:, 1]))
    settings = {"widths": [8, 32], "num_draws": 2}
    values = []
    for name in ("samples.csv", "samples.npz"):
        code, found = answer("expressivity", config(target={"file": name}, expressivity=settings, approximant=[DENSE]))
        assert code == 0
        values.append([point["rms"]["value"] for point in found["curves"][0]["points"]])
    np.testing.assert_allclose(values[0], values[1], rtol=1e-6)
    assert values[0][1] < 0.3 * values[0][0]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_configurations_are_read(path):
    assert expressivity.load(path).problem.target is not None


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"target": {"name": "sine"}}, "target.name is 'sine'"),
        ({"target": {"name": "sin", "file": "a.csv"}}, "one of name and file"),
        ({"target": {"file": "a.csv"}, "expressivity": {"widths": [4]}}, "cannot read target.file"),
        ({"target": {"file": "a.txt"}, "expressivity": {"widths": [4]}}, "ending of target.file"),
        ({"target": None}, "no section [target]"),
        ({"expressivity": {"widths": [8, 4]}}, "the widths must increase"),
        ({"expressivity": {"widths": 4}}, "must be a list"),
        ({"expressivity": {"widths": [4], "methods": ["lucky_guess"]}}, "must be one of random_features, training"),
        ({"expressivity": {"widths": [400], "num_points": 8}}, "twice as many points"),
        ({"expressivity": {"widths": [400], "methods": ["fourier_sampling"]}}, "the spectrum of product is not known"),
        ({"expressivity": {"widths": [4], "methods": ["construction"]}}, "takes 155 neurons"),
        ({"approximant": None}, "add an [[approximant]]"),
        ({"approximant": [{**DENSE, "width": 4}]}, "[[approximant]] has width"),
        ({"approximant": [{"name": "kan", "widths": [2], "grid": 3}]}, "leave one of them out"),
        ({"approximant": [{"name": "kan", "dim": 2}]}, "[[approximant]] has dim"),
        ({"approximant": [{"name": "kan"}], "expressivity": {"widths": [200]}}, "has 1800 output weights"),
        ({"approximant": [{**DENSE, "activation": "tan"}]}, "Did you mean 'tanh'"),
        ({"approximant": [DENSE, DENSE]}, "give each a `label`"),
        ({"target": {"name": "product", "lower": [0.0], "upper": [1.0]}}, "1 dimensions and product takes 2"),
        ({"lattice": {"shape": [4]}}, "unknown key 'lattice'"),
    ],
)
def test_refusals(config, sections, message):
    assert message in refused("expressivity", config(**sections))
