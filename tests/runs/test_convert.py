"""`nnft convert`: couplings and observables, the split for a network, and the observables of a run."""

import tomllib

import pytest

from nnft_mcmc.runs.measure import measure
from tests.runs.small import answer, command, refused, sampled

ALBERGO = ("convert", "--from", "albergo", "--dim", "2")
COUPLINGS = ("m2=-4", "lam=6.975")


def test_couplings_and_observables():
    code, printed = answer(
        *ALBERGO, "--to", "continuum", *COUPLINGS, "susceptibility=1.063075", "phi2=0.1613866", "mass=0.6619"
    )
    assert code == 0
    assert printed["couplings"] == pytest.approx({"m2": -4.0, "coupling": 1.74375})
    assert printed["field_scale"] == pytest.approx(0.5**0.5)
    values = {name: table["value"] for name, table in printed["observables"].items()}
    assert values == pytest.approx({"susceptibility": 2.12615, "phi2": 0.3227732, "mass": 0.6619})
    _, text, _ = command(*ALBERGO, "--to", "hasenbusch", *COUPLINGS, "phi2=0.1613866")
    assert "beta = " in text
    assert "phi_albergo = " in text


def test_split_for_a_network_is_a_configuration():
    code, printed = answer(*ALBERGO, "--to", "network", "--mass", "1", *COUPLINGS)
    assert code == 0
    assert printed["network"] == pytest.approx({"mass": 1.0, "quadratic": -2.5, "coupling": 1.74375})
    _, text, _ = command(*ALBERGO, "--to", "network", "--mass", "1", *COUPLINGS)
    tables = tomllib.loads(text[text.index("[[insertion]]") :])["insertion"]
    assert [(t["degree"], t["coupling"]) for t in tables] == [(2, -2.5), (4, 1.74375)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*ALBERGO, "--to", "network", *COUPLINGS), "give a mass > 0 for the free part"),
        ((*ALBERGO, "--to", "continuum", "--mass", "1"), "with --to network only"),
        (("convert", "--to", "continuum", "m2=1"), "--from and --dim are missing"),
        ((*ALBERGO, "--to", "hoping", *COUPLINGS), "Did you mean 'hopping'"),
        ((*ALBERGO, "--to", "standard", *COUPLINGS, "lambda"), "not of the form NAME=VALUE"),
        ((*ALBERGO, "--to", "standard", *COUPLINGS, "g=2"), "g is no coupling of the convention albergo"),
        (("convert", "--from", "hopping", "--to", "albergo", "--dim", "2", "kappa=-1", "lam=1"), "must be positive"),
        (("convert", "--run", "x", "--to", "albergo", "m2=1"), "takes couplings and dimension from the run"),
    ],
)
def test_what_is_refused(arguments, message):
    assert message in refused(*arguments)


def test_observables_of_a_run(tmp_path):
    run = sampled(
        tmp_path / "run",
        architecture={"name": "site_field", "mass": 1.2},
        lattice={"shape": [3, 3], "spacing": 1.0, "geometry": "torus"},
        insertion={"name": "lattice_phi4", "convention": "albergo", "m2": -4.0, "lam": 6.975},
        sampler={"name": "gaussian_flow", "num_chains": 2, "num_warmup": 20, "num_samples": 200},
    )
    code, printed = answer("convert", "--run", run.path, "--to", "albergo")
    assert code == 0
    assert printed["couplings"] == pytest.approx({"m2": -4.0, "lam": 6.975})
    found = measure(run)["phi2"].estimate
    assert printed["observables"]["phi2"] == pytest.approx({"value": found.value / 2, "error": found.error / 2})
