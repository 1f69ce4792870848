"""Bad input: one clear line, exit code 2, and nothing written; through the library and through the command line."""

import copy
import math

import jax.numpy as jnp
import numpyro.distributions as dist
import pytest
import tomli_w
import yaml

from nnft_mcmc import architectures, insertions
from nnft_mcmc._checks import InputError
from nnft_mcmc.architectures import Architecture
from nnft_mcmc.runs import config
from tests.runs.small import refused

PHI4 = {
    "architecture": {"name": "scalar_net", "dim": 1, "width": 8, "mass": 1.0, "cutoff": math.inf},
    "lattice": {"shape": [5], "spacing": 0.5},
    "insertion": {"name": "phi_power", "degree": 4, "coupling": 0.5, "quadrature": "trapezoid"},
    "sampler": {"name": "refresh", "num_chains": 2, "num_warmup": 10, "num_samples": 40},
    "run": {"seed": 1},
}
MISSING = object()


def phi4(**entries):
    """PHI4 with entries section__key put in, or taken out where they are MISSING."""
    tables = copy.deepcopy(PHI4)
    for name, value in entries.items():
        section, *keys = name.split("__")
        target, key = (tables.setdefault(section, {}), keys[0]) if keys else (tables, section)
        if value is MISSING:
            del target[key]
        else:
            target[key] = value
    return tables


COSINE_2D = {"name": "cos_net", "dim": 2, "width": 8}
SCALAR_2D = {"name": "scalar_net", "dim": 2, "width": 8, "mass": 1.0, "cutoff": math.inf}
POLYNOMIAL = {"name": "polynomial", "coefficients": [0.0, 0.0, 1.0, 0.5]}
SOURCE = {"name": "source", "strength": [1.0, 2.0]}

BAD = {
    # what is wrong: (tables, what the error must name)
    "unknown key": (phi4(architecture__widht=8), ("[architecture]", "'widht'", "width, mass", "Did you mean 'width'?")),
    "unknown lattice key": (phi4(lattice__spaceing=0.5), ("[lattice]", "'spaceing'", "Did you mean 'spacing'?")),
    "unknown run key": (phi4(run__sede=1), ("[run]", "'sede'", "Did you mean 'seed'?")),
    "key of another sampler": (phi4(sampler__num_steps=3), ("[sampler]", "'num_steps'", "num_chains, num_warmup")),
    "unknown section": (
        phi4(architectur={}),
        ("'architectur'", "architecture, lattice", "Did you mean 'architecture'?"),
    ),
    "unknown architecture": (
        phi4(architecture__name="scalarnet"),
        ("architecture.name", "'scalarnet'", "must be one of", "Did you mean 'scalar_net'?"),
    ),
    "unknown insertion": (phi4(insertion__name="phi_powr"), ("'phi_powr'", "Did you mean 'phi_power'?")),
    "unknown sampler": (
        phi4(sampler__name="gibbs"),
        ("sampler.name", "'gibbs'", "composite, refresh, gaussian_flow"),
    ),
    "unknown geometry": (phi4(lattice__geometry="tours"), ("lattice.geometry", "'tours'", "Did you mean 'torus'?")),
    "unknown quadrature": (phi4(insertion__quadrature="simpson"), ("quadrature", "'simpson'", "riemann, trapezoid")),
    "name is a list": (phi4(sampler__name=["nuts"]), ("sampler.name", "['nuts']", "composite, refresh")),
    "width is a word": (phi4(architecture__width="fifty"), ("width", "'fifty'", "whole number of at least 1")),
    "width is a fraction": (phi4(architecture__width=2.5), ("width", "2.5", "whole number of at least 1")),
    "width is a truth value": (phi4(architecture__width=True), ("width", "True", "whole number of at least 1")),
    "width 0": (phi4(architecture__width=0), ("width", "is 0", "whole number of at least 1")),
    "negative mass": (phi4(architecture__mass=-1.0), ("mass", "-1.0", "must be positive")),
    "mass 0": (phi4(architecture__mass=0), ("mass", "is 0", "must be positive")),
    "mass is a word": (phi4(architecture__mass="heavy"), ("mass", "'heavy'", "must be a finite number")),
    "mass is not a number": (phi4(architecture__mass=math.nan), ("mass", "nan", "must be a finite number")),
    "dim 5": (phi4(architecture__dim=5), ("dim", "is 5", "at least 1 and at most 4")),
    "negative cut-off": (phi4(architecture__cutoff=-3.0), ("cutoff", "-3.0", "positive")),
    "no cut-off given": (phi4(architecture__cutoff=MISSING), ("[architecture]", "lacks cutoff", "add it")),
    "no cut-off where it must be finite, d = 2": (
        phi4(architecture=SCALAR_2D, lattice__shape=[3, 3]),
        ("cutoff is infinite", "dim = 2", "does not normalise", "give a finite cutoff or an alpha above 0"),
    ),
    "no cut-off where it must be finite, alpha = -1": (
        phi4(architecture__alpha=-1.0),
        ("cutoff is infinite", "alpha = -1.0", "does not normalise", "alpha above -0.5"),
    ),
    "odd degree": (phi4(insertion__degree=3), ("phi^3", "unbounded below", "add an even power")),
    "odd polynomial": (phi4(insertion=POLYNOMIAL), ("phi^3", "unbounded below", "add an even power")),
    "negative coupling": (phi4(insertion__coupling=-0.5), ("phi^4", "negative", "must be positive")),
    "infinite coupling": (phi4(insertion__coupling=math.inf), ("coupling", "inf", "finite number")),
    "degree 0": (phi4(insertion__degree=0), ("degree", "is 0", "at least 1 and at most 16")),
    "source of another shape": (phi4(insertion=SOURCE), ("source.strength", "[2]", "[5]", "give one number")),
    "Wick order without G(0)": (
        phi4(
            architecture={**SCALAR_2D, "alpha": 0.5},
            lattice__shape=[3, 3],
            insertion={"name": "wick_power", "degree": 4, "coupling": 0.1},
        ),
        ("wick_power", "finite G(0)", "cutoff"),
    ),
    "shape of another dim": (
        phi4(lattice__shape=[5, 5]),
        ("lattice.shape [5, 5] is of dimension 2", "dim = 1", "must be equal"),
    ),
    "dim of another shape": (phi4(architecture=COSINE_2D), ("lattice.shape [5] is of dimension 1", "dim = 2")),
    "no sites": (phi4(lattice__shape=[0]), ("lattice.shape", "is 0", "at least 1")),
    "five axes": (phi4(lattice__shape=[2] * 5), ("lattice.shape", "[2, 2, 2, 2, 2]", "1 to 4 numbers")),
    "shape is a word": (phi4(lattice__shape="many"), ("lattice.shape", "'many'", "such as [17]")),
    "spacing 0": (phi4(lattice__spacing=0.0), ("lattice.spacing", "0.0", "must be positive")),
    "trapezoid on one site": (phi4(lattice__shape=[1]), ("'trapezoid'", "[1]", "two sites", "use 'riemann'")),
    "torus": (phi4(lattice__geometry="torus"), ("'torus'", "ScalarNet", "not periodic", "use 'box'")),
    "no chains": (phi4(sampler__num_chains=0), ("sampler.num_chains", "is 0", "at least 1")),
    "negative warm-up": (phi4(sampler__num_warmup=-1), ("sampler.num_warmup", "-1", "at least 0")),
    "no samples": (phi4(sampler__num_samples=0), ("sampler.num_samples", "is 0", "at least 1")),
    "target above 1": (
        phi4(sampler={"name": "nuts", "target_accept": 1.5}),
        ("sampler.target_accept", "1.5", "between 0 and 1"),
    ),
    "negative seed": (phi4(run__seed=-1), ("run.seed", "-1", "at least 0")),
    "unknown thing to store": (phi4(run__store=["fields"]), ("run.store", "'fields'", "Did you mean 'field'?")),
    "store is a word": (phi4(run__store="field"), ("run.store", "'field'", "must be a list")),
    "no architecture": (phi4(architecture=MISSING), ("no section [architecture]", "add one")),
    "no lattice": (phi4(lattice=MISSING), ("no section [lattice]", "add one")),
    "no name": (phi4(architecture__name=MISSING), ("[architecture] has no name", "scalar_net")),
    "no width": (phi4(architecture__width=MISSING), ("[architecture] lacks width", "add it")),
    "section is a number": (phi4(run=3), ("[run] is 3", "table of keys and values")),
    "insertion is a number": (phi4(insertion=3), ("[insertion] has no name", "phi_power")),
}


@pytest.mark.parametrize("wrong", BAD)
def test_bad_configuration(wrong, tmp_path):
    tables, words = BAD[wrong]
    with pytest.raises(InputError) as error:
        config.resolve(tables)
    file = tmp_path / "config.toml"
    file.write_text(tomli_w.dumps(tables), encoding="utf-8")
    line = refused("sample", file, "--out", tmp_path / "run")
    assert line == f"nnft: {error.value}\n"
    assert not [word for word in words if word not in line], line
    assert list(tmp_path.iterdir()) == [file]


def test_the_good_configuration_is_good():
    assert config.resolve(PHI4).ensemble.lattice.num_sites == 5


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.toml", None, ("cannot read", "missing.toml", "No such file", "give a readable file")),
        ("broken.toml", b"[architecture\n", ("broken.toml", "not a valid configuration", "line 1", "correct it")),
        ("broken.yaml", b"lattice: [5\n", ("broken.yaml", "not a valid configuration", "line 2", "correct it")),
        ("binary.toml", b"\xff\xfe\x00", ("binary.toml", "not a valid configuration", "correct it")),
        ("list.yaml", b"- 1\n- 2\n", ("list.yaml", "holds no tables", "architecture, lattice")),
        ("empty.toml", b"", ("the configuration has no section [", "add one")),
    ],
)
def test_unreadable_configuration(name, content, words, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    line = refused("sample", tmp_path / name, "--out", tmp_path / "run")
    assert not [word for word in words if word not in line], line
    assert not (tmp_path / "run").exists()


def test_a_directory_is_no_configuration(tmp_path):
    assert "Is a directory" in refused("draw", tmp_path, "--out", tmp_path / "run")


def test_yaml_and_toml_are_read_alike(tmp_path):
    tables = phi4(architecture__cutoff=20.0, insertion=[PHI4["insertion"], {"name": "source", "strength": 0.1}])
    (tmp_path / "c.toml").write_text(tomli_w.dumps(tables), encoding="utf-8")
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(tables), encoding="utf-8")
    (tmp_path / "c.yml").write_text(yaml.safe_dump(phi4()), encoding="utf-8")
    assert config.load(tmp_path / "c.yaml").tables == config.load(tmp_path / "c.toml").tables
    assert config.load(tmp_path / "c.yml").ensemble.architecture.cutoff == math.inf


def test_resolved_tables_hold_the_defaults_and_resolve_to_themselves():
    tables = phi4(insertion=[PHI4["insertion"], {"name": "source", "strength": [0.1] * 5}], run=MISSING)
    resolved = config.resolve(tables).tables
    assert resolved["architecture"]["alpha"] == 0.0
    assert resolved["lattice"]["geometry"] == "box"
    assert resolved["sampler"]["thinning"] == 1
    assert resolved["run"] == {"seed": 0, "store": ["field"]}
    assert config.resolve(resolved).tables == resolved
    assert set(config.resolve(phi4(insertion=MISSING)).tables) == {"architecture", "lattice", "sampler", "run"}


def test_several_insertions_add_up():
    terms = [PHI4["insertion"], {"name": "phi_power", "degree": 2, "coupling": 0.25, "quadrature": "trapezoid"}]
    action = config.resolve(phi4(insertion=terms)).ensemble.local_action.coefficients
    polynomial = {"name": "polynomial", "coefficients": [0.0, 0.0, 0.25, 0.0, 0.5], "quadrature": "trapezoid"}
    assert (action == config.resolve(phi4(insertion=polynomial)).ensemble.local_action.coefficients).all()


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("architecture.width=50", ("architecture", "width"), 50),
        ("lattice.spacing=0.1", ("lattice", "spacing"), 0.1),
        ("lattice.spacing = 1e-1", ("lattice", "spacing"), 0.1),
        ("architecture.cutoff=inf", ("architecture", "cutoff"), math.inf),
        ("sampler.name=nuts", ("sampler", "name"), "nuts"),
        ('sampler.name="nuts"', ("sampler", "name"), "nuts"),
        ("lattice.shape=[3, 3]", ("lattice", "shape"), [3, 3]),
        ('run.store=["field", "parameters"]', ("run", "store"), ["field", "parameters"]),
        ("run.store=[]", ("run", "store"), []),
        ("insertion.coupling=2", ("insertion", "coupling"), 2),
        ("architecture.new=true", ("architecture", "new"), True),
        ("architecture.new=a=b", ("architecture", "new"), "a=b"),
        ("architecture.mass=1\nwidth=3", ("architecture", "mass"), "1\nwidth=3"),
    ],
)
def test_set(setting, path, value):
    before = copy.deepcopy(PHI4)
    section, key = path
    changed = config.override(PHI4, [setting])
    assert changed[section][key] == value
    assert type(changed[section][key]) is type(value)
    assert before == PHI4
    changed[section][key] = before[section].get(key, value)
    assert {name: table for name, table in changed.items() if name != section} == {
        name: table for name, table in before.items() if name != section
    }


def test_set_of_one_insertion_among_several():
    terms = [PHI4["insertion"], {"name": "source", "strength": 1.0}]
    changed = config.override({"insertion": terms}, ["insertion.1.strength=2", "insertion.0.coupling=3"])
    assert changed["insertion"] == [{**PHI4["insertion"], "coupling": 3}, {"name": "source", "strength": 2}]


def test_set_opens_a_section_and_the_last_setting_counts():
    assert config.override({}, ["run.seed=1", "run.seed=2"]) == {"run": {"seed": 2}}


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("width=3", ("'width=3'", "section.key=value", "lattice.spacing=0.1")),
        ("architecture.width", ("'architecture.width'", "section.key=value")),
        ("architecture=3", ("'architecture=3'", "section.key=value")),
        ("", ("''", "section.key=value")),
        ("architectur.width=3", ("'architectur'", "Did you mean 'architecture'?")),
        (".width=3", ("section of --set", "architecture, lattice")),
        ("architecture.width.deep=3", ("names no entry", "section.key=value")),
        ("insertion.0.coupling=2", ("names no entry", "with several insertions")),
        ("architecture.widht=3", ("'widht'", "Did you mean 'width'?")),
        ("architecture.width=fifty", ("'fifty'", "whole number")),
    ],
)
def test_bad_setting(setting, words, tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(tomli_w.dumps(PHI4), encoding="utf-8")
    line = refused("sample", file, "--out", tmp_path / "run", "--set", setting)
    assert not [word for word in words if word not in line], line
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("setting", ["insertion.2.coupling=1", "insertion.x.coupling=1", "insertion.coupling=1"])
def test_setting_of_an_insertion_that_is_not_there(setting):
    with pytest.raises(InputError, match=r"names no entry .* insertion\.0\.key=value for the first"):
        config.override({"insertion": [PHI4["insertion"]] * 2}, [setting])


class Line(Architecture):
    """phi(x) = slope . x, which is no sum of neurons."""

    dim: int

    def prior(self):
        return {"slope": dist.Laplace(0.0, 1.0).expand((self.dim,))}

    def forward(self, theta, x):
        return jnp.dot(theta["slope"], x)


CANNOT = {
    "refresh": "Line is not a sum of independent neurons; use 'nuts' or 'hmc'",
    "composite": "Line is neither a sum of independent neurons nor normal in all its parameters; use 'nuts' or 'hmc'",
    "gaussian_flow": "not all of those of Line are; use 'composite', 'hmc' or 'nuts'",
}


@pytest.mark.parametrize("sampler", CANNOT)
def test_sampler_that_cannot_do_the_ensemble(sampler, monkeypatch):
    monkeypatch.setitem(architectures.REGISTRY, "line", Line)
    tables = phi4(architecture={"name": "line", "dim": 1}, sampler={"name": sampler})
    with pytest.raises(InputError, match=f"'{sampler}'.*{CANNOT[sampler]}"):
        config.resolve(tables)
    assert (
        config.resolve(phi4(architecture={"name": "line", "dim": 1}, sampler={"name": "nuts"})).sampler.num_chains == 4
    )


def test_wick_order_needs_an_exact_two_point_function(monkeypatch):
    monkeypatch.setitem(architectures.REGISTRY, "line", Line)
    wick = {"name": "wick_power", "degree": 4, "coupling": 1.0}
    tables = phi4(architecture={"name": "line", "dim": 1}, insertion=wick, sampler={"name": "nuts"})
    with pytest.raises(InputError, match="Line does not have; use phi_power or polynomial"):
        config.resolve(tables)


def test_the_registries_are_those_of_the_documented_names():
    assert set(architectures.REGISTRY) >= {"scalar_net", "cos_net", "gauss_net"}
    assert set(insertions.REGISTRY) >= {"phi_power", "polynomial", "source", "wick_power"}
