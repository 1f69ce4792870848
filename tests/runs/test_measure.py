"""`nnft measure`: its schema, and its numbers against estimates made by hand from the stored field."""

import math
from pathlib import Path

import numpy as np
import pytest

from nnft_mcmc.runs.measure import measure
from tests.runs.small import answer, command, sampled, stored, tampered

SCALARS = ("phi2", "phi4", "abs_magnetization", "susceptibility", "binder", "action", "mass")
ARRAYS = ("two_point", "correlator", "effective_mass")
NUMBERS = {"value", "error", "tau_int", "ess", "rhat"}
SPACING, COUPLING = 0.5, 0.5


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Seven sites: separations 0 to 1.5, so a plateau of one effective mass."""
    return sampled(
        tmp_path_factory.mktemp("runs") / "line", lattice={"shape": [7]}, sampler={"num_samples": 4000}, run={"seed": 5}
    )


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    return sampled(
        tmp_path_factory.mktemp("runs") / "plane",
        architecture={"name": "cos_net", "dim": 2, "width": 6},
        lattice={"shape": [4, 3]},
        insertion={"quadrature": "riemann"},
        run={"seed": 6},
    )


@pytest.fixture(scope="module")
def phi(run):
    return stored(run)["posterior/field"]


def test_schema(run):
    code, printed = answer("measure", run.path)
    assert code == 0
    assert set(printed) == {"observables", "draws", "num_samples", "plot"}
    assert Path(printed["plot"]).read_bytes().startswith(b"\x89PNG")
    observables = printed["observables"]
    assert observables.keys() >= {*SCALARS, *ARRAYS}
    for name in SCALARS:
        assert observables[name].keys() - {"note"} == NUMBERS
        assert all(isinstance(observables[name][number], float) for number in NUMBERS)
    for name in ARRAYS:
        table = observables[name]
        assert table.keys() - {"note"} == NUMBERS | {"coords"}
        assert {len(table[number]) for number in NUMBERS} == {len(table["coords"])}
        assert all(isinstance(x, float) for number in NUMBERS for x in table[number])
    assert observables["two_point"]["coords"] == [0.0, 0.5, 1.0, 1.5]
    assert observables["correlator"]["coords"] == [0.0, 0.5, 1.0, 1.5]
    assert observables["effective_mass"]["coords"] == [0.25, 0.75, 1.25]


def test_schema_of_a_free_ensemble_of_one_site(tmp_path):
    """There is no action, no effective mass and no plateau; no field is kept; what is undefined is null and not NaN."""
    one_site = {"lattice": {"shape": [1]}, "insertion": None, "sampler": {"num_samples": 6}, "run": {"store": []}}
    run = sampled(tmp_path / "run", **one_site)
    assert "posterior" not in {name.split("/")[0] for name in stored(run)}
    code, printed = answer("measure", run.path)
    assert code == 0
    assert not {"action", "mass", "effective_mass"} & printed["observables"].keys()
    phi2 = printed["observables"]["phi2"]
    assert math.isfinite(phi2["value"])
    assert phi2["rhat"] is phi2["error"] is None
    assert "6 draws per chain are fewer than 50 tau_int" in phi2["reason"]
    assert "undefined, because 6 draws" in command("measure", run.path)[1]


def test_values_on_a_line(run, phi):
    value = {name: m.estimate.value for name, m in measure(run).items()}
    magnetization = phi.mean(axis=-1)
    trapezoid = SPACING * np.array([0.5, 1, 1, 1, 1, 1, 0.5])
    m2, m4 = np.mean(magnetization**2), np.mean(magnetization**4)
    pairs = [np.mean(phi[..., 3] * (phi[..., 3 - k] + phi[..., 3 + k]) / 2) for k in range(4)]
    expected = {
        "phi2": np.mean(phi**2),
        "phi4": np.mean(phi**4),
        "phi2_mid": np.mean(phi[..., 3] ** 2),
        "phi4_mid": np.mean(phi[..., 3] ** 4),
        "abs_magnetization": np.mean(np.abs(magnetization)),
        "magnetization": np.mean(magnetization),
        "susceptibility": 7 * SPACING * m2,
        "connected_susceptibility": 7 * SPACING * (m2 - np.mean(np.abs(magnetization)) ** 2),
        "binder": 1 - m4 / (3 * m2**2),
        "excess_kurtosis": np.mean(phi[..., 3] ** 4) / np.mean(phi[..., 3] ** 2) ** 2 - 3,
        "nearest_neighbour": np.mean(phi[..., 1:] * phi[..., :-1]),
        "action": COUPLING * np.mean(phi**4 @ trapezoid),
        "action_density": COUPLING * np.mean(phi**4 @ trapezoid) / (7 * SPACING),
        "two_point": pairs,
        "correlator": pairs,
        "effective_mass": np.log(np.divide(pairs[:-1], pairs[1:])) / SPACING,
        "mass": np.log(pairs[1] / pairs[2]) / SPACING,
    }
    assert value.keys() - {"virial"} == expected.keys()
    for name, number in expected.items():
        np.testing.assert_allclose(value[name], number, rtol=1e-12, err_msg=name)


def test_values_on_a_plane(plane):
    """Time is axis 0; of four times the centre is the third, so t = 2a has one pair and t = a two."""
    value = {name: m.estimate.value for name, m in measure(plane).items()}
    phi = stored(plane)["posterior/field"]
    line, slices = phi[..., :, 1], phi.mean(axis=-1)

    def from_centre(f):
        return [np.mean(f[..., 2] * other) for other in (f[..., 2], (f[..., 1] + f[..., 3]) / 2, f[..., 0])]

    np.testing.assert_allclose(value["two_point"], from_centre(line), rtol=1e-12)
    np.testing.assert_allclose(value["correlator"], from_centre(slices), rtol=1e-12)
    links = np.concatenate([(phi[..., 1:, :] * phi[..., :-1, :]).ravel(), (phi[..., 1:] * phi[..., :-1]).ravel()])
    np.testing.assert_allclose(value["nearest_neighbour"], links.mean(), rtol=1e-12)
    np.testing.assert_allclose(
        value["susceptibility"], 12 * SPACING**2 * np.mean(phi.mean(axis=(2, 3)) ** 2), rtol=1e-12
    )
    np.testing.assert_allclose(
        value["action"], COUPLING * SPACING**2 * np.mean(np.sum(phi**4, axis=(2, 3))), rtol=1e-12
    )


def jackknife(function, series, num_blocks=200):
    """Blocked jackknife error of function(mean of series), series (draw, K)."""
    blocks = series.reshape(num_blocks, -1, series.shape[-1]).mean(axis=1)
    left_out = (blocks.sum(axis=0) - blocks) / (num_blocks - 1)
    values = np.array([function(*mean) for mean in left_out])
    return np.sqrt((num_blocks - 1) * values.var())


def test_errors_of_derived_quantities_against_the_jackknife(run, phi):
    """200 blocks know an error to 5%, so 15% is three standard deviations; the draws are fixed by the seed."""
    found = measure(run)
    magnetization = phi.mean(axis=-1).reshape(-1)
    powers = np.stack([magnetization**2, magnetization**4], axis=-1)
    error = jackknife(lambda m2, m4: 1 - m4 / (3 * m2**2), powers)
    assert found["binder"].estimate.error == pytest.approx(error, rel=0.15)
    middle = phi[..., 3, None] * (phi[..., 3::-1] + phi[..., 3:]) / 2
    middle = middle.reshape(-1, 4)
    errors = [jackknife(lambda *c, k=k: math.log(c[k] / c[k + 1]) / SPACING, middle) for k in range(3)]
    np.testing.assert_allclose(found["effective_mass"].estimate.error, errors, rtol=0.15)
    assert found["mass"].estimate.error == pytest.approx(errors[1], rel=0.15)
    assert found["phi2"].estimate.error == pytest.approx(
        jackknife(lambda x: x, np.mean(phi**2, axis=-1).reshape(-1, 1)), rel=0.15
    )


def test_effective_mass_lost_in_noise_is_undefined(run, tmp_path):
    def noise(correlator):
        correlator[..., -1] = np.random.default_rng(1).normal(size=correlator.shape[:2])
        return correlator

    noisy = tampered(run, tmp_path / "noisy", "observables/correlator", noise)
    _, printed = answer("measure", noisy.path)
    assert printed["observables"]["correlator"]["value"][-1] is not None
    for number in NUMBERS:
        assert [x is None for x in printed["observables"]["effective_mass"][number]] == [False, False, True]
    assert isinstance(printed["observables"]["mass"]["value"], float)  # the plateau lies at smaller t
    assert "mass" not in {name for name, o in printed["observables"].items() if "reason" in o} - {"effective_mass"}
    reasons = printed["observables"]["effective_mass"]["reason"]
    assert reasons[:2] == [None, None]
    assert "lost in noise" in reasons[2]


def test_a_plateau_with_an_undefined_entry_is_undefined(run, tmp_path):
    """The window of seven sites is t = 0.75; nothing is averaged over what is left."""

    def noise(correlator):
        correlator[..., 1] = np.random.default_rng(2).normal(size=correlator.shape[:2])
        return correlator

    noisy = tampered(run, tmp_path / "noisy", "observables/correlator", noise)
    _, printed = answer("measure", noisy.path)
    mass = printed["observables"]["mass"]
    assert mass["value"] is None
    assert mass["error"] is None
    assert "t = 0.75" in mass["reason"]
    assert "mass: undefined, because effective_mass is undefined at t = 0.75" in command("measure", noisy.path)[1]


def test_errors_of_chains_that_are_too_short_are_undefined(run, tmp_path):
    """A random walk has no tau_int that its draws know; the value stays, the reason says how many draws are missing."""

    def walk(phi2):
        return np.random.default_rng(3).normal(size=phi2.shape).cumsum(axis=1)

    slow = tampered(run, tmp_path / "slow", "observables/phi2", walk)
    _, printed = answer("measure", slow.path)
    phi2 = printed["observables"]["phi2"]
    assert isinstance(phi2["value"], float)
    assert phi2["error"] is None
    needed = math.ceil(50 * phi2["tau_int"])
    assert f"4000 draws per chain are fewer than 50 tau_int = {needed}" in phi2["reason"]
    assert f"take {needed - 4000} draws more" in phi2["reason"]
    assert "reason" not in printed["observables"]["phi4"]


def test_table(run):
    code, out, _ = command("measure", run.path)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split() == ["observable", "value", "±", "error", "tau_int", "ESS", "R-hat"]
    rows = {line.split()[0]: line for line in lines[2:]}
    assert rows.keys() >= {*SCALARS, "two_point(0.5)", "effective_mass(0.25)"}
    estimate = measure(run)["phi2"].estimate
    value, _, error = rows["phi2"].split()[1:4]
    assert float(value) == pytest.approx(float(estimate.value), abs=float(estimate.error) / 10)
    assert float(error) == pytest.approx(float(estimate.error), rel=0.05)
