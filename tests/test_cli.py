"""The command line as a program: help at once, without JAX, and the exit codes of argparse."""

import subprocess
import sys

import pytest

from nnft_mcmc import cli

RUNS = ("sample", "draw", "sweep", "measure", "diagnose", "compare", "spectrum", "report", "export")
COMMANDS = (*RUNS, "extrapolate", "correlators", "reweight", "axioms", "convert")
HEAVY = ("jax", "jaxlib", "numpyro", "equinox", "xarray", "zarr", "arviz", "scipy", "matplotlib", "numpy")


def python(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", [["--help"], ["sample", "--help"], ["compare", "--help"]])
def test_help_loads_nothing_heavy(arguments):
    program = (
        "import sys\n"
        "from nnft_mcmc import cli\n"
        "try:\n"
        "    cli.main(sys.argv[1:])\n"
        "except SystemExit as ended:\n"
        f"    print(ended.code, [name for name in {HEAVY} if name in sys.modules])\n"
    )
    finished = python("-c", program, *arguments)
    assert finished.returncode == 0
    assert finished.stdout.splitlines()[0].startswith("usage: nnft")
    assert finished.stdout.splitlines()[-1] == "0 []"
    assert finished.stderr == ""


def test_module_runs_as_a_program():
    finished = python("-m", "nnft_mcmc", "--help")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert set(COMMANDS) <= set(finished.stdout.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: nnft {name} ")


@pytest.mark.parametrize(
    "arguments", [[], ["sampel"], ["sample"], ["sample", "c.toml"], ["measure"], ["measure", "r", "-x"]]
)
def test_bad_arguments(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == cli.EXIT_BAD_INPUT
    assert "nnft" in capsys.readouterr().err.splitlines()[-1]


def test_bad_input_as_a_program(tmp_path):
    finished = python("-m", "nnft_mcmc", "sample", str(tmp_path / "none.toml"), "--out", str(tmp_path / "run"))
    assert finished.returncode == cli.EXIT_BAD_INPUT
    assert finished.stdout == ""
    (line,) = finished.stderr.splitlines()
    assert line.startswith("nnft: cannot read the configuration")
    assert not list(tmp_path.iterdir())
