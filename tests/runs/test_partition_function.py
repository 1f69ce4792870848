"""ln Z/Z0 in `nnft measure`: reported by the samplers that know it, and equal to that of reweighting."""

import numpy as np
import pytest

from tests.runs.small import answer, command, sampled, write

SETTINGS = {
    "smc": {"name": "smc", "base": "refresh", "num_steps": 3, "num_particles": 2},
    "tempering": {"name": "tempering", "base": "refresh", "num_replicas": 3},
}


@pytest.mark.parametrize("name", ["smc", pytest.param("tempering", marks=pytest.mark.slow)])
def test_it_is_that_of_reweighting(name, tmp_path):
    """Six errors are passed by a correct code once in 1e9. Control: twice the coupling."""
    sampler = {**SETTINGS[name], "num_chains": 4, "num_warmup": 60, "num_samples": 400}
    run = sampled(tmp_path / "run", sampler=sampler)
    _, measured = answer("measure", run.path)
    found = measured["observables"]["log_partition_ratio"]
    assert found.keys() == {"value", "error", "tau_int", "ess", "rhat"}
    assert "log_partition_ratio" in command("measure", run.path)[1]
    for coupling, agrees in ((0.5, True), (1.0, False)):
        config = write(tmp_path / "config.toml", insertion={"coupling": coupling})
        _, reweighted = answer("reweight", config, "--num-draws", "4e4")
        exact = reweighted["observables"]["log_partition_ratio"]
        deviation = abs(found["value"] - exact["value"]) / np.hypot(found["error"], exact["error"])
        assert (deviation < 6) == agrees


def test_other_samplers_do_not_know_it(tmp_path):
    _, measured = answer("measure", sampled(tmp_path / "run", sampler={"num_samples": 50}).path)
    assert "log_partition_ratio" not in measured["observables"]
