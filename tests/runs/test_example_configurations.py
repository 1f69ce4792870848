"""Every configuration in configs/ is read, drawn from and measured, and held against its exact answer where one is."""

from pathlib import Path

import numpy as np
import pytest

from nnft_mcmc.runs import config, driver
from nnft_mcmc.runs.measure import measure
from nnft_mcmc.runs.store import RunDirectory

EVERY = sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.toml"))
# Those of the commands on training and expressivity have tests of their own.
OTHERS = {"data", "training", "scaling", "expressivity"}
CONFIGS = [path for path in EVERY if not OTHERS & config.read_tables(path).keys()]
SHORT = ["sampler.num_chains=2", "sampler.num_samples=300", "run.seed=3"]


def narrowed(path):
    """The configuration with few draws, and networks of at most 20 neurons."""
    tables = config.read_tables(path)
    architecture = tables["architecture"]
    for table in (architecture, architecture.get("base", {})):
        if "width" in table:
            table["width"] = min(table["width"], 20)
    tables.setdefault("sampler", {"name": "composite"})
    return config.resolve(config.override(tables, SHORT))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_it_is_read_as_it_stands_and_drawn_from(path, tmp_path):
    assert config.load(path).ensemble.lattice.num_sites > 1
    found = measure(RunDirectory(driver.run(narrowed(path), tmp_path / "run", "draw", quiet=True).path))
    phi2 = found["phi2"].estimate
    assert np.isfinite([phi2.value, phi2.error]).all()
    assert 0 < phi2.error < 0.5 * phi2.value
