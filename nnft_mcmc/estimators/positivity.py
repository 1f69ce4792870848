r"""Reflection positivity, tested: is M_AB = <Theta[O_A] O_B> positive semi-definite? (Osterwalder and Schrader 1973.)

O_A are real functions of the field at points of positive time, Theta[O_A] the same functions at the reflected points.
The smallest eigenvalue of an estimated M is no test of it: where the truth is zero, and in a free theory most
eigenvalues are, it comes out negative in every run. The test here splits the draws. On one half it chooses

    v = argmin  v^T M v / v^T W v,      W = (<O O^T> + <Theta[O] Theta[O]^T>)/2,

the direction whose O = v.O has the most negative norm in units of <O^2>; on the other half, which knows nothing of v,

    y = Theta[O] O,      H0: <y> >= 0,

is tested by its mean over its error, Student's t (Gamma-method error, so that chains are served), one-sided. Then the
halves change places, and p = min(1, 2 min(p_1, p_2)). Where the axiom holds, p < a happens with a probability of at
most a. Families of real operators lose nothing: cos(J.phi) and sin(J.phi) span what exp(iJ.phi) does.

Power. `detectable` is the violation -<y>/<O^2> in the direction chosen that one half alone rejects at `false_alarm`
with probability POWER, (t_a + z_POWER) error: the two halves together reject smaller ones. Where M is known, `power` is
the probability with which the test, given the directions it chose, rejects.

What is kept are averages of the products over bins of successive draws, whatever the number of draws.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from nnft_mcmc import _checks
from nnft_mcmc.estimators.field_observables import FieldObservable
from nnft_mcmc.estimators.symmetry import POWER
from nnft_mcmc.statistics import TooFewDraws, gamma_method

FloatArray = NDArray[np.float64]

_BINS = 2048  # of each chain, so that memory does not grow with the number of draws
_NUMBERS_AT_ONCE = 1 << 22
_RIDGE = 1e-10  # of the unit diagonal of W: directions that the fields do not have to rounding are not chosen


@dataclass(frozen=True)
class Family:
    """Operators at positive time: `observables` of the fields at the points, and 1 with `constant`."""

    name: str
    observables: tuple[FieldObservable, ...]
    constant: bool = False

    def __call__(self, fields: FloatArray) -> FloatArray:
        """(..., points) -> (..., A)."""
        flat = fields.reshape(-1, fields.shape[-1])
        ones = [np.ones((len(flat), 1))] if self.constant else []
        values = np.concatenate([*ones, *(observe(flat) for observe in self.observables)], axis=1)
        return values.reshape(*fields.shape[:-1], -1)

    @property
    def labels(self) -> tuple[str, ...]:
        """A name for each operator."""
        named = [label.strip("<>") for observe in self.observables for label in observe.labels()]
        return (*(["1"] if self.constant else []), *named)


@dataclass(frozen=True, eq=False)
class PositivityTest:
    """The outcome for one family of A operators.

    gram: M estimated from all draws (A, A), and `eigenvalues` (A,) its own, increasing: shown, not judged. directions:
    (2, A), the v chosen on either half, <O^2> = 1. ratio: <Theta[O] O>/<O^2> on the halves that did not choose it,
    averaged, with its `error`; negative is a violation. `detectable` and `power` (NaN where M is not known) are those
    of the module docstring, and ess the smallest effective number of draws of a half.
    """

    family: str
    labels: tuple[str, ...]
    gram: FloatArray
    eigenvalues: FloatArray
    directions: FloatArray
    ratio: float
    error: float
    p_value: float
    detectable: float
    power: float
    num_draws: int
    ess: float
    false_alarm: float

    @property
    def is_violated(self) -> bool:
        """Whether reflection positivity is rejected, at most at the rate `false_alarm` where it holds."""
        return self.p_value < self.false_alarm

    def __str__(self) -> str:
        verdict = "violated" if self.is_violated else "no violation seen"
        return (
            f"{self.family}: {verdict}, p = {self.p_value:.3g}, <Theta[O] O>/<O^2> = {self.ratio:.2g} +-"
            f" {self.error:.2g}"
            f" ({len(self.labels)} operators, {self.num_draws} draws; {POWER:.0%} power for {self.detectable:.2g})"
        )


class GramMatrices:
    """Theta[O_A] O_B, symmetrised, and (O_A O_B + Theta[O_A] Theta[O_B])/2 of a family, averaged over bins of
    successive draws of each chain: arrays (chains, bins, A, A)."""

    def __init__(self, family: Family, draws_per_chain: int, num_chains: int = 1) -> None:
        size = len(family.labels)
        self.family = family
        self.length = max(1, draws_per_chain // _BINS)
        self.bins = draws_per_chain // self.length
        self.products = np.zeros((num_chains, self.bins, size, size))
        self.norms = np.zeros_like(self.products)
        self._done = [0] * num_chains

    @property
    def num_draws(self) -> int:
        """Draws that count, of all chains; those that do not fill a bin are left out."""
        return len(self.products) * self.bins * self.length

    def update(self, reflected: FloatArray, forward: FloatArray, chain: int = 0) -> None:
        """Add successive draws of the fields at the reflected and at the given points, (draws, copies, points).

        Copies of a draw, its translates on a torus for instance, are averaged over.
        """
        if not (np.isfinite(reflected).all() and np.isfinite(forward).all()):
            raise _checks.InputError("a field is not finite; reflection positivity needs finite fields.")
        size = len(self.family.labels)
        step = max(1, _NUMBERS_AT_ONCE // (size * (size + forward.shape[1])))
        for start in range(0, len(forward), step):
            self._add(reflected[start : start + step], forward[start : start + step], chain)

    def _add(self, reflected: FloatArray, forward: FloatArray, chain: int) -> None:
        counted = max(0, min(len(forward), self.bins * self.length - self._done[chain]))
        bins = (self._done[chain] + np.arange(counted)) // self.length
        self._done[chain] += counted
        if counted == 0:
            return
        r, f = (self.family(np.asarray(x[:counted], dtype=np.float64)) for x in (reflected, forward))
        r_t, f_t = np.swapaxes(r, 1, 2), np.swapaxes(f, 1, 2)
        which, starts = np.unique(bins, return_index=True)
        products = np.add.reduceat(r_t @ f, starts) / (self.length * f.shape[1])
        self.products[chain, which] += (products + np.swapaxes(products, 1, 2)) / 2
        self.norms[chain, which] += np.add.reduceat(r_t @ r + f_t @ f, starts) / (2 * self.length * f.shape[1])


def positivity_test(grams: GramMatrices, false_alarm: float = 1e-3, exact: FloatArray | None = None) -> PositivityTest:
    """The test of the module docstring; `exact` is M (A, A) where it is known, for `power`.

    Raises `TooFewDraws` where a half has fewer than 5 A + 5 effective draws.
    """
    if not 0.0 < false_alarm < 1.0:
        raise _checks.InputError(f"false_alarm is {false_alarm!r}; it must lie between 0 and 1.")
    least, middle = 5 * len(grams.family.labels) + 5, grams.bins // 2
    _require(grams.num_draws, len(grams.products) * middle, least)
    gram, norm = grams.products.mean(axis=(0, 1)), grams.norms.mean(axis=(0, 1))
    halves = (slice(None, middle), slice(middle, None))
    directions, tested = np.empty((2, len(norm))), []
    for k, (here, there) in enumerate((halves, halves[::-1])):
        v = _most_negative(grams.products[:, here].mean(axis=(0, 1)), grams.norms[:, here].mean(axis=(0, 1)))
        directions[k] = v / np.sqrt(v @ norm @ v)
        tested.append(gamma_method(grams.products[:, there] @ directions[k] @ directions[k]))
    value, error, ess, dof = (
        np.array([float(getattr(e, name)) for e in tested]) for name in ("value", "error", "ess", "error_dof")
    )
    _require(grams.num_draws, float(np.nan_to_num(ess).min()), least)
    critical = -stdtrit(dof, false_alarm / 2)
    misses = 1 - ndtr(-critical - _expected(directions, exact) / error)
    return PositivityTest(
        family=grams.family.name,
        labels=grams.family.labels,
        gram=gram,
        eigenvalues=np.linalg.eigvalsh(gram),
        directions=directions,
        ratio=float(value.mean()),
        error=float(np.hypot(*error) / 2),
        p_value=float(min(1.0, 2 * stdtr(dof, value / error).min())),
        detectable=float(((critical + ndtri(POWER)) * error).min()),
        power=float(1 - misses.prod()),
        num_draws=grams.num_draws,
        ess=float(ess.min()),
        false_alarm=false_alarm,
    )


def _require(num_draws: int, effective: float, least: int) -> None:
    """Refuse halves of fewer than `least` effective draws."""
    if effective < least:
        needed = int(np.ceil(num_draws * least / max(effective, 1.0)))
        raise TooFewDraws(num_draws, needed, f"each half needs {least} effective draws and has {effective:.0f}")


def _most_negative(gram: FloatArray, norm: FloatArray) -> FloatArray:
    """argmin v^T M v / v^T W v; an operator that vanishes in every draw is left out."""
    size = np.sqrt(np.diag(norm))
    scale = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0)
    unit = norm * np.outer(scale, scale) + np.diag(np.where(size > 0, _RIDGE, 1.0))
    # An operator that is left out has M = 0 and W = 1 here and must not be the least of non-negative ones.
    shifted = gram * np.outer(scale, scale) + np.diag(np.where(size > 0, 0.0, 2.0))
    return eigh(shifted, unit, subset_by_index=[0, 0])[1][:, 0] * scale


def _expected(directions: FloatArray, exact: FloatArray | None) -> FloatArray:
    """<Theta[O] O> of the directions, NaN where M is not known."""
    if exact is None:
        return np.full(len(directions), np.nan)
    return np.einsum("ka,ab,kb->k", directions, exact, directions)
