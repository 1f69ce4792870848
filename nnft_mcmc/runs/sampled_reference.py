"""References that are sampled: the infinite-width process of a network, and the lattice theory of the same action.

They are runs of their own, in RUN/references/NAME, made when they are first asked for and then kept: with the length of
the run itself, its insertion and a seed derived from its own.
"""

import copy
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from nnft_mcmc import _checks
from nnft_mcmc.architectures import LatticeModes, SiteField
from nnft_mcmc.runs import config as configuration
from nnft_mcmc.runs import driver
from nnft_mcmc.runs.store import RunDirectory

Tables = dict[str, Any]
INNER = "base"
MASSIVE = "scalar_net"


def run(of: RunDirectory, name: str) -> tuple[RunDirectory, str]:
    """The reference of a run, complete, and a sentence on what differs beside chance."""
    tables, remains = NAMES[name](of)
    original = of.config()
    chains, draws = original.sampler.num_chains, of.manifest()["draws"]
    if draws == 0:
        raise _checks.InputError(f"{of.path} has no draws yet; sample first.")
    warmup = max(500, original.sampler.num_warmup)
    tables["sampler"] = {"name": "gaussian_flow", "num_chains": chains, "num_warmup": warmup, "num_samples": draws}
    tables["run"] = {"seed": _derived_seed(original.run.seed, name), "store": []}
    directory = RunDirectory(of.path / "references" / name)
    kind = of.manifest()["kind"]
    complete = directory.exists and directory.manifest()["draws"] >= draws
    if not complete:
        driver.run(configuration.resolve(tables), directory.path, kind, resume=directory.exists, quiet=True)
    return directory, remains


def _infinite_width(of: RunDirectory) -> tuple[Tables, str]:
    tables = copy.deepcopy(of.config().tables)
    architecture = tables["architecture"]
    if "width" not in _innermost(architecture):
        raise _checks.InputError(
            f"infinite-width is the limit of a network, and the run is of {architecture['name']}, which has no width;"
            " compare with exact, perturbation or lattice."
        )
    tables["architecture"] = {"name": "infinite_width", INNER: architecture}
    width = _innermost(architecture)["width"]
    return tables, (
        f"The reference is the N = infinity process on the same sites with the same insertion; the run has N = {width},"
        " so a difference of order 1/N is expected and nothing else."
    )


def _lattice(of: RunDirectory) -> tuple[Tables, str]:
    config = of.config()
    tables, architecture = copy.deepcopy(config.tables), config.ensemble.architecture
    if isinstance(architecture, SiteField) or (
        isinstance(architecture, LatticeModes) and architecture.is_nearest_neighbour
    ):
        other = "lattice_modes" if isinstance(architecture, SiteField) else "site_field"
        tables["architecture"] = {"name": other, "mass": architecture.mass}
        return tables, "The reference is the same theory in other variables, so that no difference is expected at all."
    network = _innermost(tables["architecture"])
    if network["name"] != MASSIVE:
        raise _checks.InputError(
            f"lattice needs a free action 1/2 (d phi)^2 + m^2 phi^2/2 to match, and the run is of {network['name']}; it"
            f" is there for {MASSIVE}, infinite_width of it, lattice_modes and site_field."
        )
    tables["architecture"] = {"name": "lattice_modes", "mass": network["mass"]}
    tables["lattice"] = {**tables["lattice"], "geometry": "torus"}
    for table in tables["insertion"] if isinstance(tables.get("insertion"), list) else [tables.get("insertion", {})]:
        if "quadrature" in table:
            table["quadrature"] = "riemann"  # the same rule inside; a torus has no ends
    cutoff, spacing = network["cutoff"], config.ensemble.lattice.spacing
    width = f", its momenta end at {cutoff:g} and those of the lattice at pi/a = {3.14159265 / spacing:.3g}"
    return tables, (
        "The reference is nearest-neighbour lattice theory with the same mass, insertion and spacing on a torus of the"
        " same number of sites. Differences remain: periodic against a field on all of space with the interaction in a"
        f" box, of order exp(-gap T/2) in its middle; the dispersion of the lattice against that of the continuum, of"
        f" order a^2{width}; and order 1/N where N is finite."
    )


NAMES: Mapping[str, Callable[[RunDirectory], tuple[Tables, str]]] = {
    "infinite-width": _infinite_width,
    "lattice": _lattice,
}


def differences(run: RunDirectory, other: RunDirectory) -> str:
    """In which entries of theory and lattice two runs differ, as a sentence."""
    mine, theirs = (
        {section: table for section, table in each.config().tables.items() if section not in ("sampler", "run")}
        for each in (run, other)
    )
    keys = configuration.changed_keys(mine, theirs)
    kinds = run.manifest()["kind"], other.manifest()["kind"]
    drawn = (
        ""
        if kinds[0] == kinds[1]
        else f" One has the insertion, the other was drawn without it ({kinds[0]}, {kinds[1]})."
    )
    if not keys:
        return f"The two runs are of the same theory on the same lattice; only chance may tell them apart.{drawn}"
    return f"The two configurations differ in {', '.join(keys)}, whose effect is part of the difference.{drawn}"


def _innermost(table: Mapping[str, Any]) -> Mapping[str, Any]:
    """The architecture inside all wrappers."""
    while isinstance(table.get(INNER), Mapping):
        table = table[INNER]
    return table


def _derived_seed(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/references/{name}".encode()).digest()[:8], "big") >> 11
