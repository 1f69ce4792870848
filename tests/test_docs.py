"""The documentation says what the package does: links, configuration tables, commands, and Python blocks that run."""

import argparse
import inspect
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from nnft_mcmc import architectures, cli, insertions, sampling
from nnft_mcmc.dynamics import optimizers
from nnft_mcmc.lattice import Lattice
from nnft_mcmc.runs.config import SECTIONS, RunSettings
from nnft_mcmc.runs.dynamics_config import DataSettings, TrainingSettings

ROOT = Path(__file__).resolve().parent.parent
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [*sorted(ROOT.glob("*.md")), *DOCS]
REGISTRIES: dict[str, Mapping[str, type]] = {
    "architecture": architectures.REGISTRY,
    "insertion": insertions.REGISTRY,
    "sampler": sampling.REGISTRY,
}
# The lattice of an architecture is that of [lattice]; a base that is an architecture has a table of its own.
GIVEN, TABLE = "lattice", "base"
TYPES = {int: "integer", float: "number", str: "string"}


def without_code(text):
    return re.sub(r"```.*?```", "", text, flags=re.S)


def anchors(text):
    """The anchors that headings get on GitHub and in MkDocs, for the characters that occur here."""
    headings = re.findall(r"^#+ (.*)$", without_code(text), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def sections(text, level):
    """Body by heading, for headings of one level."""
    pieces = re.split(rf"^{'#' * level} (.*)$", text, flags=re.M)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_resolve(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.is_file(), f"{page.name} links to {target}, which is not there"
        if fragment:
            assert fragment in anchors(linked.read_text(encoding="utf-8")), f"{page.name}: no heading for {target}"


def test_every_page_is_in_the_navigation():
    listed = set(re.findall(r"([\w-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), flags=re.M))
    assert listed == {page.name for page in DOCS}


def documented_keys(text):
    """key -> (type, default) as the tables of one section print them; a required key has the default `required`."""
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \| ([^|]*) \|", text, flags=re.M)
    return {key: (kind.strip(), default.strip()) for key, kind, default in rows}


def expected_keys(cls):
    """The same from the constructor."""
    signature = inspect.signature(cls, eval_str=True)
    found = {}
    for name, p in signature.parameters.items():
        default = list(p.default) if isinstance(p.default, tuple) else p.default
        kind = TYPES.get(p.annotation, "table" if name == TABLE else None)
        found[name] = (kind, "required" if p.default is p.empty else "none" if default is None else default)
    return {name: row for name, row in found.items() if issubclass(cls, Lattice) or name != GIVEN}


def assert_documented(where, text, cls):
    documented, expected = documented_keys(text), expected_keys(cls)
    assert documented.keys() == expected.keys(), where
    for key, (kind, default) in documented.items():
        expected_kind, expected_default = expected[key]
        assert expected_kind in (None, kind), f"{where}.{key} is documented as {kind}"
        value = default if default in ("required", "none") else tomllib.loads(f"value = {default}")["value"]
        assert value == expected_default, f"{where}.{key} is documented with the default {default}"


def configuration():
    """Body of docs/configuration.md by section name."""
    found = sections((ROOT / "docs" / "configuration.md").read_text(encoding="utf-8"), 2)
    return {re.sub(r"[`\[\]]", "", title): body for title, body in found.items() if title.startswith("`[")}


def test_every_section_is_documented():
    assert tuple(configuration()) == SECTIONS


@pytest.mark.parametrize(("section", "cls"), [("lattice", Lattice), ("run", RunSettings)])
def test_keys_of_plain_sections(section, cls):
    assert_documented(section, configuration()[section], cls)


@pytest.mark.parametrize("section", REGISTRIES)
def test_keys_of_registered_classes(section):
    registry, tables = REGISTRIES[section], sections(configuration()[section], 3)
    common = tables.pop("every sampler", "")
    documented = {title.strip("`"): body for title, body in tables.items()}
    assert documented.keys() == registry.keys()
    for name, body in documented.items():
        assert_documented(f"{section} {name}", common + body, registry[name])


def test_keys_of_training():
    page = sections((ROOT / "docs" / "training.md").read_text(encoding="utf-8"), 2)
    assert_documented("data", page["`[data]`"], DataSettings)
    common, *_ = page["`[training]`"].partition("\n### ")
    assert_documented("training", common, TrainingSettings)
    own = {title.strip("`"): body for title, body in sections(page["`[training]`"], 3).items()}
    assert own.keys() == optimizers.REGISTRY.keys()
    for name, body in own.items():
        assert_documented(name, body, optimizers.REGISTRY[name])


def test_settings_on_the_page_of_samplers():
    page = (ROOT / "docs" / "samplers.md").read_text(encoding="utf-8")
    own = {title.strip("`"): body for title, body in sections(page, 2).items() if title.startswith("`")}
    common = page.partition("\n## ")[0]
    assert own.keys() == sampling.REGISTRY.keys()
    for name, body in own.items():
        settings = re.findall(r'`(\w+)` = ([\d.]*\d|"\w+")', common + body)
        printed = {key: tomllib.loads(f"value = {value}")["value"] for key, value in settings}
        parameters = inspect.signature(sampling.REGISTRY[name]).parameters
        assert printed == {key: p.default for key, p in parameters.items()}, name


def subcommands():
    """The argument parser of every command."""
    (choices,) = (a.choices for a in cli.parser()._actions if isinstance(a, argparse._SubParsersAction))
    return choices


def test_every_command_and_option_is_documented():
    page = sections((ROOT / "docs" / "cli.md").read_text(encoding="utf-8"), 2)
    documented = {title.strip("`").removeprefix("nnft "): body for title, body in page.items()}
    assert documented.keys() == subcommands().keys()
    for name, parser in subcommands().items():
        options = {option for action in parser._actions for option in action.option_strings if option.startswith("--")}
        printed = set(re.findall(r"--[a-z-]+", documented[name]))
        assert printed == options - {"--help"}, name


def python_blocks(page):
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.M | re.S)


@pytest.mark.parametrize("page", [page for page in PAGES if python_blocks(page)], ids=lambda page: page.name)
def test_python_blocks_run(page):
    """The blocks of a page, one after the other in a fresh interpreter; a warning is an error."""
    code = "\n".join(python_blocks(page))
    ignored = "ignore::FutureWarning"  # ArviZ announces its own refactoring on import
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "-W", ignored, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_wrong_table_is_caught():
    wrong = (
        '| `degree` | integer | 3 | power |\n| `coupling` | number | 1.0 | |\n| `quadrature` | string | "riemann" | |'
    )
    with pytest.raises(AssertionError, match="degree"):
        assert_documented("insertion phi_power", wrong, insertions.PhiPower)
