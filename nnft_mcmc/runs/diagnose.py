"""`nnft diagnose`: whether the numbers of a run can be believed, check by check.

The checks look at fields and observables, never at single parameters: neurons can be permuted, so a parameter has no
meaning of its own. Every check states its requirement; a run is converged where all of them hold.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnft_mcmc.runs.measure import bulk_and_tail_ess, rhat
from nnft_mcmc.runs.store import RunDirectory
from nnft_mcmc.sampling import Chunk
from nnft_mcmc.statistics import bonferroni_bound, gamma_method

MAXIMUM_RHAT = 1.01  # Vehtari et al., arXiv:1903.08008
MINIMUM_ESS_PER_CHAIN = 100
MINIMUM_TAU_INTS = 50  # draws per chain in units of tau_int, below which tau_int itself is not known
MINIMUM_ACCEPTANCE = 0.05
MINIMUM_BFMI = 0.3  # Betancourt, arXiv:1604.00695
FALSE_ALARM = 1e-3


@dataclass(frozen=True)
class Check:
    """One requirement: what was found, what is required, and what to do where it fails."""

    name: str
    found: str
    required: str
    passed: bool
    remedy: str


def diagnose(run: RunDirectory) -> list[Check]:
    """Every check of the run's complete draws."""
    manifest, arrays = run.manifest(), run.arrays()
    checks = [_complete(manifest), _finite(arrays), *_moving(arrays)]
    if all(check.passed for check in checks[1:]):
        # Convergence of numbers that are not numbers, or of chains that do not move, means nothing.
        checks += [*_mixing(arrays), *_hamiltonian(arrays["sample_stats"]), *_identities(arrays["observables"])]
    return checks


def converged(checks: list[Check]) -> bool:
    """Whether every check passed."""
    return all(check.passed for check in checks)


def as_json(checks: list[Check]) -> dict[str, Any]:
    """What `nnft diagnose --json` prints."""
    return {"converged": converged(checks), "checks": [vars(check) for check in checks]}


def _complete(manifest: dict[str, Any]) -> Check:
    done, asked = manifest["draws"], manifest["num_samples"]
    return Check(
        "complete",
        f"{done} of {asked} draws per chain",
        f"{asked}",
        done == asked,
        "continue the run with nnft sample --resume",
    )


def _finite(arrays: Chunk) -> Check:
    proposals = int(arrays["sample_stats"]["num_not_finite"].sum())
    values = sum(int((~np.isfinite(a)).sum()) for a in arrays["observables"].values())
    return Check(
        "finite",
        f"{values} observables and {proposals} proposals not finite",
        "0",
        values + proposals == 0,
        "lower the coupling or the spread of the prior until the action does not overflow",
    )


def _moving(arrays: Chunk) -> Iterator[Check]:
    num_chains = len(arrays["observables"]["phi2"])
    stuck = {k for a in _watched(arrays).values() for k in range(num_chains) if (a[k] == a[k, :1]).all(axis=0).any()}
    remedy = "the sampler rejects everything there: try another sampler, a smaller step or a weaker coupling"
    yield Check("moving", f"{len(stuck)} of {num_chains} chains never move", "0", not stuck, remedy)
    for name, rate in arrays["sample_stats"].items():
        if name.endswith("acceptance_rate"):
            lowest = float(rate.mean(axis=1).min())
            yield Check(
                name.replace("_", " "),
                f"{lowest:.3f} in the worst chain",
                f">= {MINIMUM_ACCEPTANCE}",
                lowest >= MINIMUM_ACCEPTANCE,
                remedy,
            )


def _mixing(arrays: Chunk) -> Iterator[Check]:
    watched = _watched(arrays)
    num_chains, num_draws = next(iter(watched.values())).shape[:2]
    rhats = {name: float(np.max(rhat(series))) for name, series in watched.items()}
    worst = max(rhats, key=rhats.__getitem__)
    more = "draw more, or start from better places with a longer warm-up"
    yield Check(
        "R-hat", f"{rhats[worst]:.4f} at worst ({worst})", f"<= {MAXIMUM_RHAT}", rhats[worst] <= MAXIMUM_RHAT, more
    )
    required = MINIMUM_ESS_PER_CHAIN * num_chains
    for kind, which in (("bulk ESS", 0), ("tail ESS", 1)):
        sizes = {name: float(np.min(bulk_and_tail_ess(series)[which])) for name, series in watched.items()}
        worst = min(sizes, key=sizes.__getitem__)
        yield Check(kind, f"{sizes[worst]:.0f} at worst ({worst})", f">= {required}", sizes[worst] >= required, more)
    taus = {name: float(np.max(gamma_method(series).tau_int)) for name, series in watched.items()}
    worst = max(taus, key=taus.__getitem__)
    needed = MINIMUM_TAU_INTS * taus[worst]
    yield Check(
        "chain length",
        f"{num_draws} draws, tau_int {taus[worst]:.2f} at worst ({worst})",
        f">= {MINIMUM_TAU_INTS} tau_int = {needed:.0f}",
        num_draws >= needed,  # false where tau_int is undefined
        f"set sampler.num_samples to {needed:.0f} or more",
    )


def _watched(arrays: Chunk) -> dict[str, np.ndarray]:
    """The series whose mixing is judged: every observable, and the field at every site where it is stored."""
    series = {name: a for name, a in arrays["observables"].items() if name != "virial"}
    field = arrays.get("posterior", {}).get("field")
    return series if field is None else {**series, "field": field.reshape(*field.shape[:2], -1)}


def _hamiltonian(stats: dict[str, np.ndarray]) -> Iterator[Check]:
    if "diverging" in stats:
        number = int(stats["diverging"].sum())
        yield Check(
            "divergences",
            f"{number} of {stats['diverging'].size} trajectories",
            "0",
            number == 0,
            "raise sampler.target_accept, or use the refresh sampler, which takes no gradient steps",
        )
    if "energy" in stats:
        energy = stats["energy"]
        # E-BFMI = sum (E_i - E_{i-1})^2 / sum (E_i - mean)^2
        lowest = float((np.mean(np.diff(energy, axis=1) ** 2, axis=1) / energy.var(axis=1)).min())
        yield Check(
            "E-BFMI", f"{lowest:.2f} in the worst chain", f">= {MINIMUM_BFMI}", lowest >= MINIMUM_BFMI, "reparametrise"
        )


def _identities(observables: dict[str, np.ndarray]) -> Iterator[Check]:
    if "virial" not in observables:
        return
    estimate = gamma_method(observables["virial"])
    z = float((estimate.value - 1) / estimate.error)
    bound = float(bonferroni_bound(1, FALSE_ALARM, estimate.error_dof))
    yield Check(
        "virial identity",
        f"{float(estimate.value):.5f} +- {float(estimate.error):.5f}, z = {z:+.2f}",
        f"1 within {bound:.2f} errors",
        abs(z) <= bound,
        "the draws do not follow the stated density: check the sampler",
    )


def verdict(checks: list[Check]) -> str:
    """The diagnosis in words."""
    failed = [check for check in checks if not check.passed]
    if not failed:
        return "The run is converged: every check passed."
    reasons = "; ".join(f"{check.name}: {check.found}, required {check.required}; {check.remedy}" for check in failed)
    return f"The run is NOT converged. {reasons}."
