"""`nnft diagnose`: whether the numbers of a run can be believed, check by check.

Mixing is judged by fields and observables, never by single parameters: neurons can be permuted, so a parameter has no
meaning of its own. Whether the draws follow the stated density at all is judged by `certificate`. Every check states
its requirement; a run is converged where all of them hold.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnft_mcmc.runs import certificate, checks_of_moves
from nnft_mcmc.runs.certificate import Certificate
from nnft_mcmc.runs.checks import Check
from nnft_mcmc.runs.driver import theory
from nnft_mcmc.runs.measure import MINIMUM_TAU_INTS, bulk_and_tail_ess, plain, rhat
from nnft_mcmc.runs.store import RunDirectory
from nnft_mcmc.sampling import Chunk
from nnft_mcmc.statistics import Estimate, gamma_method

MAXIMUM_RHAT = 1.01  # Vehtari et al., arXiv:1903.08008
MINIMUM_ESS_PER_CHAIN = 100


@dataclass(frozen=True)
class Mixing:
    """How fast a watched quantity forgets, at its slowest entry: tau_int with its error and window, ESS and R-hat."""

    tau_int: float
    tau_int_error: float
    window: int
    bulk_ess: float
    tail_ess: float
    rhat: float


@dataclass(frozen=True)
class Diagnosis:
    """All checks, and the numbers behind them; no mixing and no certificate where they would mean nothing."""

    checks: list[Check]
    mixing: dict[str, Mixing]
    certificate: Certificate | None

    @property
    def converged(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def verdict(self) -> str:
        """The diagnosis in words."""
        failed = [check for check in self.checks if not check.passed]
        if not failed:
            uncertified = self.certificate.uncertified if self.certificate else ()
            limits = f" Not certified by any identity: {', '.join(uncertified)}." if uncertified else ""
            return f"The run is converged: every check passed.{limits}"
        reasons = "; ".join(f"{c.name}: {c.found}, required {c.required}; {c.remedy}" for c in failed)
        return f"The run is NOT converged. {reasons}."

    def as_json(self) -> dict[str, Any]:
        """What `nnft diagnose --json` prints."""
        numbers = {} if self.certificate is None else self.certificate.as_json()
        mixing = {name: {key: plain(value) for key, value in vars(m).items()} for name, m in self.mixing.items()}
        checks = [vars(check) for check in self.checks]
        return {"converged": self.converged, "checks": checks, "mixing": mixing, **numbers}


def diagnose(run: RunDirectory) -> Diagnosis:
    """Every check of the run's complete draws."""
    manifest, arrays, config = run.manifest(), run.arrays(), run.config()
    ensemble, sampler = theory(config, manifest["kind"])
    checks = [_complete(manifest), _finite(arrays), *_moving(arrays)]
    if not all(check.passed for check in checks[1:]):
        # Convergence of numbers that are not numbers, or of chains that do not move, means nothing.
        return Diagnosis(checks, {}, None)
    mixing = {name: _mixing_of(series) for name, series in watched(arrays).items()}
    checks += _mixing_checks(mixing, arrays["observables"]["phi2"].shape[:2])
    found = certificate.of_run(ensemble, arrays)
    checks += checks_of_moves.hamiltonian(arrays["sample_stats"], certified=found is not None and not found.uncertified)
    checks += [] if sampler.start == "prior" else checks_of_moves.starts(arrays["observables"])
    checks += [] if found is None else _certified(found)
    return Diagnosis(checks, mixing, found)


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
    measured = [*arrays["observables"].values(), *arrays.get("identities", {}).values()]
    values = sum(int((~np.isfinite(a)).sum()) for a in measured)
    return Check(
        "finite",
        f"{values} observables and {proposals} proposals not finite",
        "0",
        values + proposals == 0,
        "lower the coupling or the spread of the prior until the action does not overflow",
    )


def _moving(arrays: Chunk) -> Iterator[Check]:
    num_chains = len(arrays["observables"]["phi2"])
    stuck = {k for a in watched(arrays).values() for k in range(num_chains) if (a[k] == a[k, :1]).all(axis=0).any()}
    yield Check(
        "moving", f"{len(stuck)} of {num_chains} chains never move", "0", not stuck, checks_of_moves.REJECTS_EVERYTHING
    )
    yield from checks_of_moves.acceptance(arrays["sample_stats"])


def watched(arrays: Chunk) -> dict[str, np.ndarray]:
    """The series whose mixing is judged: every observable, and the field at every site where it is stored."""
    series = {name: a for name, a in arrays["observables"].items() if name != "virial"}
    field = arrays.get("posterior", {}).get("field")
    return series if field is None else {**series, "field": field.reshape(*field.shape[:2], -1)}


def _mixing_of(series: np.ndarray) -> Mixing:
    estimate = gamma_method(series)
    slowest = np.argmax(np.atleast_1d(estimate.tau_int).ravel())
    bulk, tail = (float(np.min(size)) for size in bulk_and_tail_ess(series))
    tau, error = (float(np.atleast_1d(x).ravel()[slowest]) for x in (estimate.tau_int, estimate.tau_int_error))
    return Mixing(tau, error, window_of(estimate, tau, error), bulk, tail, float(np.max(rhat(series))))


def window_of(estimate: Estimate, tau: float, error: float) -> int:
    """W of the Gamma-method, from the error of tau_int: error = 2 tau sqrt((W + 1/2 - tau)/N)."""
    if not np.isfinite([tau, error]).all():
        return 0
    return round(estimate.num_draws * (error / (2 * tau)) ** 2 + tau - 0.5)


def _mixing_checks(mixing: dict[str, Mixing], shape: tuple[int, ...]) -> Iterator[Check]:
    num_chains, num_draws = shape
    more = "draw more, or start from better places with a longer warm-up"
    worst = max(mixing, key=lambda name: mixing[name].rhat)
    found = mixing[worst].rhat
    yield Check("R-hat", f"{found:.4f} at worst ({worst})", f"<= {MAXIMUM_RHAT}", found <= MAXIMUM_RHAT, more)
    required = MINIMUM_ESS_PER_CHAIN * num_chains
    for kind in ("bulk", "tail"):
        sizes = {name: m.bulk_ess if kind == "bulk" else m.tail_ess for name, m in mixing.items()}
        worst = min(sizes, key=sizes.__getitem__)
        yield Check(
            f"{kind} ESS", f"{sizes[worst]:.0f} at worst ({worst})", f">= {required}", sizes[worst] >= required, more
        )
    worst = max(mixing, key=lambda name: mixing[name].tau_int)
    slow = mixing[worst]
    needed = MINIMUM_TAU_INTS * slow.tau_int
    missing = f"{needed - num_draws:.0f} more draws per chain are needed: " if num_draws < needed else ""
    yield Check(
        "chain length",
        f"{num_draws} draws, tau_int {slow.tau_int:.2f} +- {slow.tau_int_error:.2f} at worst ({worst}, window"
        f" {slow.window})",
        f">= {MINIMUM_TAU_INTS} tau_int = {needed:.0f}",
        num_draws >= needed,  # false where tau_int is undefined
        f"{missing}set sampler.num_samples to {needed:.0f} or more",
    )


def _certified(found: Certificate) -> Iterator[Check]:
    wrong = "the draws do not follow the stated density: check the sampler, or draw more if a chain is short"
    for block, tested in found.by_block().items():
        off = [t for t in tested if not t.holds]
        worst = max(off or tested, key=lambda t: abs(np.nan_to_num(t.z, nan=np.inf)))
        yield Check(
            f"identities of {block}",
            f"{len(off)} of {len(tested)} off, z = {worst.z:+.2f} at worst ({worst.name})",
            f"|z| <= {worst.bound:.2f}",
            not off,
            wrong,
        )
    for c in found.couplings:
        yield Check(
            f"coupling of phi^{c.degree}",
            f"{c.ratio:.4f} +- {c.error:.4f} of the stated one, z = {c.z:+.2f}; off by {100 * c.visible:.2g}% it would"
            " show",
            f"1 within {c.bound:.2f} errors",
            c.holds,
            wrong,
        )
