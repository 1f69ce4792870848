"""Checks of what the sampler says of its own moves, and of the agreement of chains that started in different places."""

from collections.abc import Iterator, Mapping

import numpy as np

from nnft_mcmc.runs.checks import Check
from nnft_mcmc.statistics import bonferroni_bound, gamma_method, z_score

MINIMUM_ACCEPTANCE = 0.05
MINIMUM_BFMI = 0.3  # Betancourt, arXiv:1604.00695
MAXIMUM_DIVERGENCES = 1e-3  # share of the trajectories of a chain
FALSE_ALARM = 1e-3

REJECTS_EVERYTHING = "the sampler rejects everything there: try another sampler, a smaller step or a weaker coupling"

Series = Mapping[str, np.ndarray]


def acceptance(stats: Series) -> Iterator[Check]:
    """Every acceptance rate that the sampler keeps, of blocks, trajectories, motions and swaps, in the worst chain."""
    for name, rate in stats.items():
        if name.endswith("acceptance_rate"):
            by_chain = rate.mean(axis=1)
            lowest = float(by_chain.min())
            yield Check(
                name.replace("_", " "),
                f"{float(by_chain.mean()):.3f}, {lowest:.3f} in the worst chain",
                f">= {MINIMUM_ACCEPTANCE}",
                lowest >= MINIMUM_ACCEPTANCE,
                REJECTS_EVERYTHING,
            )


def hamiltonian(stats: Series, certified: bool) -> Iterator[Check]:
    """Divergences, energies and energy errors, each where the sampler keeps it.

    A trajectory that diverges is rejected, and so a Metropolis chain stays exact; what divergences can point to is a
    region that no trajectory enters. Where identities test the whole density (`certified`), a small share of them is
    left to that test; where nothing else would notice, there must be none.
    """
    if "diverging" in stats:
        yield _divergences(stats["diverging"], MAXIMUM_DIVERGENCES if certified else 0.0)
    if "energy" in stats:
        energy = stats["energy"]
        # E-BFMI = sum (E_i - E_{i-1})^2 / sum (E_i - mean)^2
        lowest = float((np.mean(np.diff(energy, axis=1) ** 2, axis=1) / energy.var(axis=1)).min())
        yield Check(
            "E-BFMI", f"{lowest:.2f} in the worst chain", f">= {MINIMUM_BFMI}", lowest >= MINIMUM_BFMI, "reparametrise"
        )
    if "energy_error" in stats:
        yield _energy_error(stats["energy_error"])


def _divergences(diverging: np.ndarray, allowed: float) -> Check:
    share = float(diverging.mean(axis=1).max())
    return Check(
        "divergences",
        f"{int(diverging.sum())} of {diverging.size} trajectories, {share:.2g} of them in the worst chain",
        f"<= {allowed:g} in each chain",
        share <= allowed,
        "raise sampler.target_accept, or use the refresh sampler, which takes no gradient steps",
    )


def _energy_error(energy_error: np.ndarray) -> Check:
    """<exp(-dH)> = 1 over proposals, for every volume-preserving reversible integrator (Creutz, PRD 38 (1988) 1228)."""
    # A trajectory that ran off has dH = infinity or no number, and contributes nothing.
    weight = np.exp(-np.where(np.isnan(energy_error), np.inf, energy_error))
    estimate = gamma_method(weight)
    exact = bool((np.abs(energy_error) < 1e-10).all())  # a free theory, whose flow is exact
    z = 0.0 if exact else float(z_score(estimate.value, estimate.error, 1.0))
    bound = (
        float(bonferroni_bound(1, FALSE_ALARM))
        if exact
        else float(bonferroni_bound(1, FALSE_ALARM, estimate.error_dof))
    )
    error = 0.0 if exact else float(estimate.error)
    return Check(
        "energy error",
        f"<exp(-dH)> = {float(estimate.value):.5f} +- {error:.5f}, z = {z:+.2f}",
        f"1 within {bound:.2f} errors",
        abs(z) <= bound,
        "trajectories are not reversible or do not preserve volume, or the chains are too short",
    )


def starts(observables: Series) -> Iterator[Check]:
    """Whether the even chains, started hot, and the odd ones, started cold, agree on every observable."""
    names, values = [], []
    for name, series in observables.items():
        entries = series.reshape(*series.shape[:2], -1)
        hot, cold = gamma_method(entries[::2]), gamma_method(entries[1::2])
        z = z_score(hot.value, hot.error, cold.value, cold.error)
        dof = np.minimum(hot.error_dof, cold.error_dof)
        names += [name] * len(z)
        values += list(zip(z, dof, strict=True))
    scores, dofs = (np.array(column) for column in zip(*values, strict=True))
    bounds = bonferroni_bound(len(scores), FALSE_ALARM, dofs)
    worst = int(np.argmax(np.nan_to_num(np.abs(scores) / bounds, nan=np.inf)))
    yield Check(
        "hot and cold starts",
        f"z = {scores[worst]:+.2f} at worst ({names[worst]}) of {len(scores)} differences",
        f"|z| <= {float(bounds[worst]):.2f}",
        bool((np.abs(scores) <= bounds).all()),  # false where an error is undefined
        "the chains have not forgotten where they started: lengthen sampler.num_warmup, or use tempering",
    )
