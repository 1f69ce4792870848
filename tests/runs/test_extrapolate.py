"""The limit of a sweep, by its command: an exact one, what is left out, and what is refused."""

import math

import pytest

from nnft_mcmc import cli
from tests.runs.small import answer, command, refused, write

pytestmark = pytest.mark.slow  # a sweep compiles every width anew; tests/exact/test_extrapolation.py has the limits

FREE = {"insertion": None, "lattice": {"shape": [3]}, "run": {"seed": 3, "store": []}}
SAMPLER = {"num_chains": 64, "num_warmup": 0, "num_samples": 1600}


@pytest.fixture(scope="module")
def widths(tmp_path_factory):
    """Free Cauchy-cos-nets of amplitude 1, whose <phi^4> is (3/4)(1 + 1/2N)."""
    folder = tmp_path_factory.mktemp("widths")
    file = write(folder / "c.toml", sampler=SAMPLER, **FREE)
    sweep = ["sweep", file, "--over", "architecture.width=1,2,8,32", "--out", folder / "out", "--quiet"]
    assert command(*sweep)[0] == 0
    return folder / "out"


def test_the_gaussian_limit(widths):
    """Within 4 errors, below 2%; the bias at each width is known, and N = 1, of kurtosis 3/2, is left out.

    Control: the narrowest network that is kept is more than 6 errors away from the limit.
    """
    code, found = answer("extrapolate", widths, "--observable", "phi4", "--powers", "1")
    (series,) = found["series"]
    assert code == 0
    assert (series["entry"], series["x"], series["powers"]) == ("architecture.width", "1/N", [1.0])
    assert [point["setting"] for point in series["points"]] == [2, 8, 32]
    assert "excess kurtosis is 1.5" in series["left_out"][0]
    (phi4,) = series["observables"]
    assert abs(phi4["limit"] - 0.75) < 4 * phi4["error"] < 0.04
    for point, bias, error in zip(series["points"], phi4["bias"], phi4["bias_error"], strict=True):
        assert abs(bias - 0.375 / point["setting"]) < 4 * error
    assert phi4["values"][0] - 0.75 > 6 * phi4["errors"][0]
    assert abs(1 / phi4["x_of_one_percent_bias"] - 50) < 20
    assert math.isclose(sum(model["weight"] for model in phi4["models"]), 1.0)


def test_the_table_and_the_plot(widths, tmp_path):
    code, out, _ = command("extrapolate", widths, "--plot", tmp_path / "limits.png")
    assert code == 0
    assert "Series in architecture.width: x = 1/N -> 0" in out
    assert "Left out: width=1" in out
    assert "phi2_mid" in out
    assert (tmp_path / "limits.png").stat().st_size > 10_000


def test_entries_of_arrays(widths):
    (series,) = answer("extrapolate", widths, "--observable", "two_point")[1]["series"]
    assert [outcome["coordinate"] for outcome in series["observables"]] == [0.0, 0.5]


def test_powers_that_do_not_fit_are_refused(widths):
    """N^-1 is not N^-4: exit code 1, with the reason and no number."""
    code, found = answer("extrapolate", widths, "--observable", "phi4", "--powers", "4")
    (phi4,) = found["series"][0]["observables"]
    assert code == cli.EXIT_FAILED
    assert "no sum of the powers 4 of x fits" in phi4["refused"]
    assert "limit" not in phi4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--observable", "phi3"], "--observable is 'phi3'"),
        (["--in", "lattice.spacing"], "--in is 'lattice.spacing'; it must be one of architecture.width"),
        (["--powers", "1,x"], "--powers is '1,x'"),
        (["--powers", "2,1"], "they must be positive and increase"),
        (["--rate", "1"], "--rate is 1 and the series is in architecture.width"),
    ],
)
def test_refusals(widths, options, words):
    assert words in refused("extrapolate", widths, *options)


def test_not_a_sweep(tmp_path):
    assert "give the directory of a sweep" in refused("extrapolate", tmp_path)


def test_volumes_need_a_rate(tmp_path):
    file = write(tmp_path / "c.toml", sampler=SAMPLER, **FREE)
    sweep = ["sweep", file, "--over", "lattice.shape=[3],[5],[9]", "--set", "sampler.num_samples=60"]
    assert command(*sweep, "--out", tmp_path / "out", "--quiet")[0] == 0
    assert "--rate is missing" in refused("extrapolate", tmp_path / "out")
    found = answer("extrapolate", tmp_path / "out", "--rate", "1")[1]["series"][0]
    assert [point["x"] for point in found["points"]] == [math.exp(-0.5 * n) for n in (3, 5, 9)]
