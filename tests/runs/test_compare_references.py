"""`nnft compare` with lattice theories, sampled references, perturbation theory and other runs."""

import numpy as np
import pytest
import tomli_w

from nnft_mcmc import cli
from nnft_mcmc.runs.compare import compare
from tests.runs.small import answer, command, refused, sampled, tampered

TORUS = {"shape": [3, 3], "spacing": 1.0, "geometry": "torus"}
ALBERGO = {"name": "lattice_phi4", "convention": "albergo", "m2": -4.0, "lam": 6.975}
BOX = {"shape": [5], "spacing": 0.5}


def chains(name, num_samples):
    return {"name": name, "num_chains": 4, "num_warmup": 100, "num_samples": num_samples}


@pytest.fixture(scope="module")
def modes(tmp_path_factory):
    return sampled(
        tmp_path_factory.mktemp("runs") / "modes",
        architecture={"name": "lattice_modes", "mass": 1.5},
        lattice=TORUS,
        insertion=ALBERGO,
        sampler=chains("cluster", 1500),
    )


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return sampled(
        tmp_path_factory.mktemp("runs") / "network",
        architecture={"width": 100},
        lattice=BOX,
        sampler=chains("refresh", 1500),
    )


def test_a_lattice_run_agrees_with_the_contraction(modes):
    """False alarm 1e-3. phi2 and chi are those of the ensemble's field, twice the published ones."""
    code, printed = answer("compare", modes.path, "exact")
    assert (code, printed["agrees"]) == (0, True)
    assert printed["observables"].keys() == {
        "phi2", "phi4", "nearest_neighbour", "susceptibility", "two_point", "correlator",
    }  # fmt: skip
    assert printed["observables"]["phi2"]["reference"] == pytest.approx(2 * 0.176157908802, rel=1e-9)
    assert printed["observables"]["susceptibility"]["reference"] == pytest.approx(2 * 0.782872411670, rel=1e-9)
    assert printed["observables"]["correlator"]["coords"] == [0.0, 1.0]
    assert "contracted exactly" in printed["reference"]


def test_the_other_parametrisation_agrees(modes):
    """Two routes to one theory, both sampled; the reference is kept beside the run and used again."""
    code, printed = answer("compare", modes.path, "lattice")
    assert (code, printed["agrees"]) == (0, True)
    assert "same theory in other variables" in printed["verdict"]
    kept = modes.path / "references" / "lattice"
    assert "site_field" in (kept / "config.toml").read_text(encoding="utf-8")
    table = printed["observables"]["phi2"]
    combined = np.hypot(table["error"], table["reference_error"])
    assert table["z"] == pytest.approx((table["value"] - table["reference"]) / combined)
    before = (kept / "manifest.json").stat().st_mtime_ns
    _, text, _ = command("compare", modes.path, "lattice")
    assert (kept / "manifest.json").stat().st_mtime_ns == before
    assert "G(t) against the reference" in text


def test_another_theory_is_told_apart(modes, tmp_path):
    """Control: the same draws with phi^2 off by five per cent, against the sampled reference and as a run."""
    wrong = tampered(modes, tmp_path / "wrong", "observables/phi2", lambda phi2: 1.05 * phi2)
    for reference in ("exact", modes.path):
        code, printed = answer("compare", wrong.path, reference)
        assert (code, printed["agrees"]) == (cli.EXIT_FAILED, False)
        assert printed["p_value"] < 1e-6


def test_a_network_against_its_infinite_width(network):
    """The 1/N shift of <phi^2> at N = 100 is a third of the errors here."""
    code, printed = answer("compare", network.path, "infinite-width")
    assert (code, printed["agrees"]) == (0, True)
    assert "N = 100, so a difference of order 1/N is expected" in printed["verdict"]
    assert printed["observables"].keys() == {"phi2_mid", "phi4_mid", "two_point"}


@pytest.mark.slow
def test_a_network_against_a_lattice_says_what_remains(network):
    """A periodic lattice of length 2.5 is another theory than a box of length 2, visibly so."""
    code, printed = answer("compare", network.path, "lattice")
    for words in ("periodic against a field on all of space", "dispersion of the lattice", "order 1/N"):
        assert words in printed["verdict"]
    assert code == (0 if printed["agrees"] else cli.EXIT_FAILED)


def test_perturbation_theory_fails_at_strong_coupling_and_says_how_large_its_orders_are(network):
    code, printed = answer("compare", network.path, "perturbation")
    assert (code, printed["agrees"]) == (cli.EXIT_FAILED, False)
    assert "its orders are -" in printed["verdict"]
    assert "third is left out" in printed["verdict"]


@pytest.mark.slow
def test_perturbation_theory_holds_at_weak_coupling(tmp_path):
    """coupling 0.01: the orders are 6% and 0.6%, the error 2%."""
    run = sampled(
        tmp_path / "weak",
        architecture={"width": 20},
        lattice=BOX,
        insertion={"coupling": 0.01},
        sampler=chains("refresh", 1500),
    )
    code, printed = answer("compare", run.path, "perturbation")
    assert (code, printed["agrees"]) == (0, True)
    assert "first at width 20" in printed["verdict"]


@pytest.mark.slow
def test_another_run(network, tmp_path):
    """A network of other width, named in the verdict; its own copy has the same means but is not independent."""
    other = sampled(
        tmp_path / "other", architecture={"width": 60}, lattice=BOX, sampler=chains("refresh", 1000), run={"seed": 9}
    )
    comparison = compare(network, str(other.path))
    assert comparison.agrees
    assert "differ in architecture.width" in comparison.reference.remains


def test_what_is_refused(modes, network):
    assert "exact, perturbation, infinite-width, lattice or the directory" in refused("compare", modes.path, "nowhere")
    assert "Did you mean 'lattice'?" in refused("compare", modes.path, "latice")
    assert "which has no width" in refused("compare", modes.path, "infinite-width")
    tables = {**network.config().tables, "architecture": {"name": "cos_net", "dim": 1, "width": 4}}
    before = (network.path / "config.toml").read_text(encoding="utf-8")
    try:
        (network.path / "config.toml").write_text(tomli_w.dumps(tables), encoding="utf-8")
        assert "lattice needs a free action" in refused("compare", network.path, "lattice")
    finally:
        (network.path / "config.toml").write_text(before, encoding="utf-8")
