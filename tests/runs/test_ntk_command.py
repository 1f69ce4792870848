"""`nnft ntk`: the table, the numbers, the verdict and what it refuses."""

import math
from pathlib import Path

import numpy as np
import pytest
import tomli_w

from nnft_mcmc.dynamics import infinite_width
from nnft_mcmc.dynamics._limit_blocks import Blocks, limit_blocks
from nnft_mcmc.dynamics.infinite_width import kernels
from nnft_mcmc.runs import dynamics_config, ntk
from tests.runs.small import answer, command, refused

NET = {"name": "dense_net", "dim": 1, "width": 40, "weight_std": 1.5, "bias_std": 0.5}
DATA = {"inputs": [-1.0, 0.2, 0.9], "targets": [0.0, 1.0, 0.0]}
FEW = ("--num-draws", "200")


@pytest.fixture
def config(tmp_path):
    """A configuration file of the sections given, by default the dense net at three points."""

    def written(**sections):
        path = tmp_path / "ntk.toml"
        tables = {"architecture": NET, "data": DATA, "run": {"seed": 3}, **sections}
        path.write_text(tomli_w.dumps({name: table for name, table in tables.items() if table}), encoding="utf-8")
        return path

    return written


def test_numbers(config, tmp_path):
    path = config()
    code, printed = answer("ntk", path, *FEW, "--coordinates", "standardised", "--out", tmp_path / "plot.png")
    assert code == 0
    assert printed["passed"]
    assert printed["points"] == [[-1.0], [0.2], [0.9]]
    net = dynamics_config.load(path).architecture
    limit = kernels(net, printed["points"], coordinates="standardised")
    for name in ("nngp", "ntk"):
        kernel = printed["kernels"][name]
        np.testing.assert_allclose(kernel["infinite_width"], getattr(limit, name), rtol=1e-12)
        assert kernel["largest_z_without_1_over_n"] < kernel["bound"]
        assert 0 < kernel["expected_from_errors"] < 0.1
    spectrum = np.linalg.eigvalsh(limit.ntk)
    np.testing.assert_allclose(printed["eigenvalues"]["infinite_width"], spectrum[::-1], rtol=1e-10)
    assert math.isclose(printed["condition_number"], spectrum[-1] / spectrum[0], rel_tol=1e-10)
    assert math.isclose(printed["largest_stable_learning_rate"], 6 / spectrum[-1], rel_tol=1e-12)
    assert (tmp_path / "plot.png").stat().st_size > 10_000


def test_the_example_configuration_is_read():
    example = dynamics_config.load(Path(__file__).resolve().parents[2] / "configs" / "ntk_mlp.toml")
    assert ntk.points_of(example).shape == (9, 1)
    assert np.linalg.cond(kernels(example.architecture, ntk.points_of(example)).ntk) < 1e4


def test_a_wrong_limit_fails(config, monkeypatch):
    """Control: a limit that is 5% off in one block is seen with 200 networks, where the errors are 1%."""

    def wrong(architecture, x, y):
        nngp, blocks = limit_blocks(architecture, x, y)
        return Blocks(nngp, {**blocks, "amplitudes": 1.2 * blocks["amplitudes"]})

    monkeypatch.setattr(infinite_width, "limit_blocks", wrong)
    code, printed = answer("ntk", config(), *FEW)
    assert code == 1
    assert not printed["kernels"]["ntk"]["agrees"]
    assert printed["kernels"]["nngp"]["agrees"]
    code, out, _ = command("ntk", config(), *FEW)
    assert code == 1
    assert "The NTK kernel disagrees with infinite width" in out


def test_sites_of_a_lattice_and_an_architecture_without_a_limit(config):
    net = {"name": "softmax_attention", "tokens": 2, "features": 1, "width": 4}
    path = config(architecture=net, data=None, lattice={"shape": [2, 2], "spacing": 0.5})
    code, out, _ = command("ntk", path, "--num-draws", "50")
    assert code == 0
    assert "at 4 points" in out
    assert "No limit to compare with: the infinite-width tangent kernel of SoftmaxAttention is not known" in out
    assert "Singular to rounding: Theta has no inverse." in out  # two of them are permutations of each other's tokens


def test_points_that_coincide_and_a_trained_readout(config):
    code, out, _ = command("ntk", config(data={**DATA, "inputs": [0.2, 0.2, 0.9]}), *FEW, "--trained", "readout")
    assert code == 0
    assert "trained the readout" in out
    assert "Singular to rounding: Theta has no inverse, because 1 of the points repeat others." in out


def test_refusals(config):
    assert "no points; add [data] with inputs, or [lattice]" in refused("ntk", config(data=None))
    assert "trained is 'most'; it must be one of all, readout" in refused("ntk", config(), "--trained", "most")
    assert "num_draws is 1; it must be a whole number of at least 10" in refused("ntk", config(), "--num-draws", "1")
    assert "--seed is -1" in refused("ntk", config(), "--seed", "-1")
    assert "unknown key 'witdh'" in refused("ntk", config(), "--set", "architecture.witdh=4")


def test_a_correction_is_removed_and_more_is_not():
    """D = C/N + E/N^2 of N and N/2: what is left is -2E/N^2 at the even width."""
    c, e, n, ones = 3.0, 40.0, 100, np.ones((1, 1))

    def deviating(width):
        return ntk.KernelEstimate((1 + c / width + e / width**2) * ones, 1e-4 * ones)

    found = ntk._compare(deviating(n), ones, (deviating(n // 2), ones), n, 1000)
    assert math.isclose(found.correction.value[0, 0], c + 3 * e / n, rel_tol=1e-9)
    assert math.isclose(found.z_corrected[0, 0], -2 * e / n**2 / (1e-4 * math.sqrt(5)), rel_tol=1e-6)
    assert math.isclose(found.z[0, 0], (c / n + e / n**2) / 1e-4, rel_tol=1e-6)
