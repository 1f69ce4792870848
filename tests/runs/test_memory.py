"""Memory does not grow with the number of draws."""

import subprocess
import sys

import pytest

from tests.runs.small import write
from tests.runs.test_resume import environment

PROGRAM = """
import resource, sys
from nnft_mcmc import cli
code = cli.main(sys.argv[1:])
print(code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_peak_memory_is_flat(tmp_path):
    """Peak memory at 1e3 and at 1e5 draws of four chains on 8 x 8 sites, 200 MB of fields in the end, within 10%."""
    plane = {
        "architecture": {"name": "cos_net", "dim": 2, "width": 4},
        "lattice": {"shape": [8, 8]},
        "insertion": {"quadrature": "riemann"},
    }
    peak = {}
    for number in (1_000, 100_000):
        sampler = {"num_chains": 4, "num_samples": number}
        file = write(tmp_path / f"{number}.toml", **plane, sampler=sampler)
        command = ["sample", str(file), "--out", str(tmp_path / str(number)), "--quiet"]
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *command], env=environment(), capture_output=True, text=True, check=True
        )
        code, peak[number] = map(int, done.stdout.split())
        assert code == 0
    assert peak[100_000] < 1.1 * peak[1_000]
