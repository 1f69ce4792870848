"""A grid of configurations: its points, what is run and what is left alone, and what is refused."""

import json

import pytest

from nnft_mcmc.runs.store import RunDirectory
from tests.runs.small import answer, assert_same_bits, command, refused, stored, write

SMALL = {"sampler": {"num_samples": 40, "num_warmup": 4}, "run": {"seed": 5, "store": []}}
OVER = ["--over", "insertion.coupling=0.25,0.5", "--over", "lattice.shape=[3]"]
NAMES = ["coupling=0.25,shape=3", "coupling=0.5,shape=3"]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    sweep = ["sweep", write(folder / "c.toml", **SMALL), *OVER, "--out", folder / "out"]
    code, out, _ = command(*sweep)
    assert code == 0
    return sweep, folder / "out", out


def test_points(swept):
    _, folder, out = swept
    described = json.loads((folder / "sweep.json").read_text())
    assert [point["name"] for point in described["points"]] == NAMES
    assert described["over"] == [{"insertion.coupling": [0.25, 0.5]}, {"lattice.shape": [[3]]}]
    assert {entry.name for entry in folder.iterdir()} == {"sweep.json", *NAMES}
    for point in described["points"]:
        run = RunDirectory(folder / point["name"])
        tables = run.config().tables
        assert run.manifest()["complete"]
        assert tables["insertion"]["coupling"] == point["settings"]["insertion.coupling"]
        assert tables["lattice"]["shape"] == point["settings"]["lattice.shape"]
        assert tables["run"]["seed"] == point["seed"] == run.manifest()["seed"]
    assert out.count("40 of 40") == 2
    assert "susceptibility" in out


def test_points_are_independent(swept):
    """One seed for all would make neighbouring points move together, and the error of an extrapolation meaningless."""
    _, folder, _ = swept
    seeds = {RunDirectory(folder / name).manifest()["seed"] for name in NAMES}
    assert len(seeds) == 2
    assert 5 not in seeds


def test_grid(tmp_path):
    sweep = ["sweep", write(tmp_path / "c.toml", **SMALL), "--over", "insertion.coupling=0.25,0.5", "--out", tmp_path]
    found = answer(*sweep, "--over", "lattice.shape=[3],[5]", "--list")[1]
    assert [point["name"].partition(",")[2] for point in found["points"]] == ["shape=3", "shape=5"] * 2
    assert len({point["seed"] for point in found["points"]}) == 4
    assert not found["complete"]


def test_entries_that_vary_together(tmp_path):
    """A box of given size at two spacings, at two couplings."""
    box = "lattice.spacing=0.5,0.25; lattice.shape=[3],[5]"
    sweep = ["sweep", write(tmp_path / "c.toml", **SMALL), "--over", box, "--over", "insertion.coupling=1,2"]
    points = answer(*sweep, "--out", tmp_path, "--list")[1]["points"]
    assert [point["name"] for point in points] == [
        f"spacing={a},shape={n},coupling={c}" for a, n in ((0.5, 3), (0.25, 5)) for c in (1, 2)
    ]


def test_seeds_that_are_varied_are_taken(tmp_path):
    sweep = ["sweep", write(tmp_path / "c.toml", **SMALL), "--over", "run.seed=1,2", "--out", tmp_path / "out"]
    points = answer(*sweep, "--list")[1]["points"]
    assert [point["seed"] for point in points] == [1, 2]
    assert not (tmp_path / "out").exists()


def test_what_is_complete_is_left_alone(swept):
    sweep, folder, _ = swept
    before = {name: (folder / name / "manifest.json").stat().st_mtime_ns for name in NAMES}
    code, found = answer(*sweep)
    assert code == 0
    assert found["complete"]
    assert [point["name"] for point in found["points"]] == NAMES
    assert all(point["observables"]["phi2"]["value"] > 0 for point in found["points"])
    assert before == {name: (folder / name / "manifest.json").stat().st_mtime_ns for name in NAMES}


def test_elements_and_resuming(swept, tmp_path):
    """One element at a time, one of them stopped on its way, makes the same runs."""
    sweep, folder, _ = swept
    apart = [*sweep[:-1], tmp_path / "out"]
    assert command(*apart, "--element", "1", "--quiet") == (0, "", "")
    assert {entry.name for entry in (tmp_path / "out").iterdir()} == {"sweep.json", NAMES[1]}
    assert command(*apart, "--list")[1].count("0 of 40") == 2
    with pytest.MonkeyPatch.context() as patch:
        append = RunDirectory.append

        def stopped(self, *arguments):
            append(self, *arguments)
            raise KeyboardInterrupt

        patch.setattr(RunDirectory, "append", stopped)
        assert command(*apart, "--quiet")[0] == 130
    code, out, _ = command(*apart)
    assert code == 0
    assert out.count("40 of 40") == 2
    for name in NAMES:
        assert_same_bits(stored(RunDirectory(tmp_path / "out" / name)), stored(RunDirectory(folder / name)))


def test_a_sweep_can_grow(swept, tmp_path):
    sweep, _, _ = swept
    apart = [*sweep[:-1], tmp_path / "out", "--element", "0", "--quiet"]
    command(*apart)
    assert command(*apart, "--set", "sampler.num_samples=50") == (0, "", "")
    assert RunDirectory(tmp_path / "out" / NAMES[0]).manifest()["draws"] == 50


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            ["--over", "run.seed=1,2"],
            "holds another sweep (--over 'insertion.coupling=0.25,0.5' --over 'lattice.shape=[3]')",
        ),
        (["--set", "lattice.spacing=0.25"], "the configuration differs in lattice.spacing"),
        (["--over", "insertion.coupling=1"], "--over names one entry twice"),
        (["--over", "run.seed=1,2; architecture.width=4"], "equally many values of each"),
        (["--over", "run.seed=1,2; run.seed=3,4"], "give each once"),
        (["--over", "insertion=1"], "is not of the form section.key=v1,v2"),
        (["--over", "insertion.coupling"], "is not of the form section.key=v1,v2"),
        (["--over", "architecture.width=4,4"], "--over gives one value twice"),
        (["--over", "architecture.widht=4"], "Did you mean 'width'?"),
        (["--element", "2"], "--element is 2; it must be a whole number of at least 0 and at most 1"),
    ],
)
def test_refusals(swept, change, words):
    sweep, folder, _ = swept
    before = sorted(folder.iterdir())
    assert words in refused(*sweep, *change)
    assert sorted(folder.iterdir()) == before
