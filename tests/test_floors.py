"""The order of the package, read from its sources: who may import whom, and what importing it loads."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import nnft_mcmc

ROOT = Path(nnft_mcmc.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# A file imports from lower lines and from its own package; estimators and samplers do not know each other.
FLOORS = (
    ("_checks",),
    ("statistics",),
    ("lattice", "exact", "conventions"),
    ("field_evaluation",),
    ("architectures",),
    ("insertions", "point_evaluation"),
    ("ensemble",),
    ("dynamics",),
    ("expressivity",),
    ("estimators", "sampling"),
    ("references",),
    ("runs",),
    ("cli",),
    ("__init__", "__main__"),
)
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
# Modules with a single importer.
HOMES = {
    "numpyro.infer": "sampling",
    "optax": "dynamics",
    "diffrax": "dynamics",
    **dict.fromkeys(("arviz", "zarr", "matplotlib", "h5netcdf"), "runs"),
}
NUMPY_ONLY = {"_checks", "statistics", "lattice", "exact", "conventions"}

by_file = pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(ROOT)) for file in FILES])


def room(file: Path) -> str:
    """Name of the top-level module or package that a file belongs to."""
    return Path(file.relative_to(ROOT).parts[0]).stem


def imported(tree: ast.AST) -> list[str]:
    """Dotted names of all imports, with names taken from a package spelled out: `from a import b` is a.b."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def breaches(source: str, own: str) -> list[str]:
    """Imports of `source`, a file of the room `own`, that its floor forbids."""
    inside = [name.split(".")[1] for name in imported(ast.parse(source)) if name.startswith("nnft_mcmc.")]
    return [name for name in inside if name != own and not FLOOR[name] < FLOOR[own]]


def strays(source: str, own: str) -> list[str]:
    """Imports of modules that have one home, elsewhere."""
    names = imported(ast.parse(source))
    return [
        name for name in names for module, home in HOMES.items() if f"{name}.".startswith(f"{module}.") and own != home
    ]


def deferred(source: str) -> list[str]:
    """Imports inside functions."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    inside = [function for function in ast.walk(ast.parse(source)) if isinstance(function, functions)]
    return [name for function in inside for name in imported(function)]


@by_file
def test_every_file_has_a_floor_and_imports_from_below(file):
    assert room(file) in FLOOR
    assert breaches(file.read_text(encoding="utf-8"), room(file)) == []


@by_file
def test_modules_with_one_home_are_imported_only_there(file):
    assert strays(file.read_text(encoding="utf-8"), room(file)) == []


@by_file
def test_only_the_command_line_imports_inside_functions(file):
    assert room(file) == "cli" or deferred(file.read_text(encoding="utf-8")) == []


@by_file
def test_the_lowest_floors_do_without_jax(file):
    roots = {name.split(".")[0] for name in imported(ast.parse(file.read_text(encoding="utf-8")))}
    assert room(file) not in NUMPY_ONLY or not roots & {"jax", "numpyro", "equinox"}


def test_breaches_are_noticed():
    """Control: what each of the checks above is there to catch."""
    assert breaches("from nnft_mcmc.sampling import Refresh", "ensemble") == ["sampling"]
    assert breaches("from nnft_mcmc import sampling", "estimators") == ["sampling"]
    assert breaches("from nnft_mcmc.estimators import per_draw", "sampling") == ["estimators"]
    assert breaches("import nnft_mcmc.runs.store", "sampling") == ["runs"]
    assert breaches("from nnft_mcmc.exact import wick", "architectures") == []
    assert strays("from numpyro.infer import MCMC", "runs") == ["numpyro.infer.MCMC"]
    assert strays("import arviz", "estimators") == ["arviz"]
    assert strays("from numpyro import infer", "runs") == ["numpyro.infer"]
    assert strays("import numpyro.distributions", "architectures") == []
    assert deferred("def f():\n    from a import b") == ["a.b"]
    assert deferred("class C:\n    def f(self):\n        import a") == ["a"]
    assert deferred("import a") == []


def in_a_fresh_interpreter(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("module", ["nnft_mcmc", "nnft_mcmc.cli", "nnft_mcmc.exact", "nnft_mcmc.statistics"])
def test_importing_loads_no_jax(module):
    heavy = ("jax", "jaxlib", "numpyro", "equinox", "arviz", "matplotlib", "zarr", "xarray")
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    assert in_a_fresh_interpreter(code) == "[]"


def test_importing_everything_leaves_jaxs_configuration_alone():
    code = (
        "import jax; before = dict(jax.config.values); import nnft_mcmc;"
        " [getattr(nnft_mcmc, name) for name in nnft_mcmc.__all__];"
        " after = dict(jax.config.values); print([k for k in before if before[k] != after[k]])"
    )
    assert in_a_fresh_interpreter(code) == "[]"
