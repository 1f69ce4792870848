r"""The certificate of a run: whether its draws obey the identities of the density that it states.

Each identity is a z-score: its mean over the draws, which is zero for the right density, in units of the error with
autocorrelation. The couplings are tested by the best combinations of all identities. With S_k the term of degree k of
the action, draws of a coupling wrong by the factor 1 + delta move the mean of a combination t = sum_j c_j t_j by

    < t > = - delta Cov(t, S_k) + O(delta^2),

so among all combinations the regression c of S_k on the identities shows it best, and

    1 - < t >/Cov(t, S_k)

is the coupling that the draws obey in units of the stated one, if all others are right. Its error is not below the
Cramer-Rao bound 1/(std(S_k) sqrt(effective draws)), and close to it where the regression is good; `share` is the ratio
std(t)/std(S_k) of the two. The coefficients c are estimated from covariances of the same draws, which biases < t > by
order 1/draws, less than its error by the square root of their number.

The verdict has a false-alarm rate of FALSE_ALARM for the whole run: half for the couplings, half for all identities
(Bonferroni; Student's t with the degrees of freedom of each error).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.estimators import ACTION_TERMS, Identities, identities
from nnft_mcmc.runs.measure import plain
from nnft_mcmc.sampling import Chunk
from nnft_mcmc.statistics import Estimate, bonferroni_bound, gamma_method

FALSE_ALARM = 1e-3
DRAWS_AT_ONCE = 256  # draws of stored parameters whose identities are computed side by side


@dataclass(frozen=True)
class TestedIdentity:
    """One identity of one block of parameters."""

    block: str
    name: str
    estimate: Estimate
    bound: float

    @property
    def z(self) -> float:
        """The mean in units of its error."""
        return float(self.estimate.value / self.estimate.error)

    @property
    def holds(self) -> bool:
        """False where z is undefined."""
        return abs(self.z) <= self.bound


@dataclass(frozen=True)
class TestedCoupling:
    """The coupling of the action's term of one degree: `ratio` to the stated one, and the share of Cramer-Rao."""

    degree: int
    ratio: float
    error: float
    share: float
    bound: float

    @property
    def z(self) -> float:
        """The deviation in units of its error."""
        return (self.ratio - 1) / self.error

    @property
    def holds(self) -> bool:
        """False where z is undefined."""
        return abs(self.z) <= self.bound

    @property
    def visible(self) -> float:
        """The relative deviation that is noticed with probability 0.95."""
        return (self.bound + 1.645) * self.error


@dataclass(frozen=True)
class Certificate:
    """All identities and couplings of a run, and the blocks of parameters that have none."""

    identities: tuple[TestedIdentity, ...]
    couplings: tuple[TestedCoupling, ...]
    uncertified: tuple[str, ...]

    def by_block(self) -> dict[str, list[TestedIdentity]]:
        """The identities of each block of parameters."""
        blocks: dict[str, list[TestedIdentity]] = {}
        for identity in self.identities:
            blocks.setdefault(identity.block, []).append(identity)
        return blocks

    @property
    def holds(self) -> bool:
        """Whether no identity and no coupling is off."""
        return all(t.holds for t in self.identities) and all(c.holds for c in self.couplings)

    def as_json(self) -> dict[str, Any]:
        """Every number, by block and name."""
        return {
            "identities": {
                block: {t.name: _numbers(t.estimate, t.z, t.bound) for t in tested}
                for block, tested in self.by_block().items()
            },
            "couplings": {
                f"phi^{c.degree}": {
                    name: plain(getattr(c, name)) for name in ("ratio", "error", "z", "bound", "visible", "share")
                }
                for c in self.couplings
            },
            "uncertified": list(self.uncertified),
        }


def _numbers(estimate: Estimate, z: float, bound: float) -> dict[str, Any]:
    e = estimate
    numbers = {"value": e.value, "error": e.error, "tau_int": e.tau_int, "ess": e.ess, "z": z, "bound": bound}
    return {name: plain(value) for name, value in numbers.items()}


def certificate(ensemble: Ensemble, kept: Mapping[str, np.ndarray], virial: np.ndarray | None = None) -> Certificate:
    """The certificate of series (chain, draw, identities) by block, `action_terms` among them, of this ensemble's runs.

    `virial` is the series (chain, draw) of the parameter-space virial, whose mean is 1; it counts as an identity of the
    output weights.
    """
    known = identities(ensemble)
    series = {block: np.asarray(kept[block], dtype=np.float64) for block in known.names}
    number = sum(map(len, known.names.values())) + (virial is not None)
    tested = []
    for block, names in known.names.items():
        estimate = gamma_method(series[block])
        tested += [_tested(block, name, estimate[k], number) for k, name in enumerate(names)]
    if virial is not None:
        tested.append(_tested("amplitudes", "virial", gamma_method(virial - 1), number))
    columns = np.concatenate(list(series.values()), axis=-1) if series else None
    couplings = [] if columns is None else _couplings(columns, np.asarray(kept.get(ACTION_TERMS)), known.degrees)
    return Certificate(tuple(tested), tuple(couplings), known.uncertified)


def _tested(block: str, name: str, estimate: Estimate, number: int) -> TestedIdentity:
    return TestedIdentity(block, name, estimate, float(bonferroni_bound(number, FALSE_ALARM / 2, estimate.error_dof)))


def _couplings(columns: np.ndarray, terms: np.ndarray, degrees: tuple[int, ...]) -> list[TestedCoupling]:
    """The tests of all terms of the action, (chain, draw, terms)."""
    return [_coupling(columns, terms[..., k], degree, len(degrees)) for k, degree in enumerate(degrees)]


def _coupling(columns: np.ndarray, term: np.ndarray, degree: int, number: int) -> TestedCoupling:
    deviations = term - term.mean()
    centred = columns - columns.mean(axis=(0, 1))
    spread = centred.std(axis=(0, 1))
    moving = spread > 0
    design = (centred[..., moving] / spread[moving]).reshape(term.size, -1)
    coefficients = np.linalg.lstsq(design, deviations.reshape(-1), rcond=1e-10)[0]
    combination = (columns[..., moving] / spread[moving]) @ coefficients
    covariance = np.mean((combination - combination.mean()) * deviations)
    estimate = gamma_method(combination)
    return TestedCoupling(
        degree,
        ratio=float(1 - estimate.value / covariance),
        error=float(estimate.error / abs(covariance)),
        share=float(combination.std() / term.std()),
        bound=float(bonferroni_bound(number, FALSE_ALARM / 2, estimate.error_dof)),
    )


def of_parameters(ensemble: Ensemble, posterior: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The series of identities of stored parameters (chain, draw, ...), as the sampling loop would have kept them."""
    names = tuple(ensemble.architecture.prior())
    evaluate = _evaluator(ensemble, identities(ensemble))
    theta = {name: posterior[name] for name in names}
    chains, draws = next(iter(theta.values())).shape[:2]
    flat = {name: value.reshape(chains * draws, *value.shape[2:]) for name, value in theta.items()}
    pieces = []
    for start in range(0, chains * draws, DRAWS_AT_ONCE):
        piece = {name: value[start : start + DRAWS_AT_ONCE] for name, value in flat.items()}
        missing = DRAWS_AT_ONCE - len(next(iter(piece.values())))
        full = {name: np.pad(v, ((0, missing), *[(0, 0)] * (v.ndim - 1)), mode="edge") for name, v in piece.items()}
        pieces.append(jax.tree.map(lambda a, missing=missing: np.asarray(a)[: DRAWS_AT_ONCE - missing], evaluate(full)))
    return {name: np.concatenate([p[name] for p in pieces]).reshape(chains, draws, -1) for name in pieces[0]}


def _evaluator(ensemble: Ensemble, known: Identities) -> Callable[[dict[str, np.ndarray]], dict[str, jax.Array]]:
    def of_draw(theta: dict[str, jax.Array]) -> dict[str, jax.Array]:
        return known(theta, ensemble.field(theta))

    return jax.jit(lambda theta: jax.vmap(of_draw)(jax.tree.map(jnp.asarray, theta)))


def of_run(ensemble: Ensemble, arrays: Chunk) -> Certificate | None:
    """The certificate of a run's arrays; None where neither identities nor parameters were kept."""
    names = set(ensemble.architecture.prior())
    kept: Mapping[str, np.ndarray] | None = arrays.get("identities")
    if kept is None and names <= arrays.get("posterior", {}).keys():
        kept = of_parameters(ensemble, arrays["posterior"])
    return None if kept is None else certificate(ensemble, kept, arrays["observables"].get("virial"))
