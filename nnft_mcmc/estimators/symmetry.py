r"""Is a group element a symmetry of an ensemble? A test on draws, with a p-value and its power.

g is a symmetry if phi_g(x) = rho(g) phi(g x) has the law of phi, lectures eqs. (55)-(57). Every draw of the parameters
gives both fields, so the test is a paired one: with observables O_k of the fields at the points,

    D_k = O_k[phi_g] - O_k[phi],      H0: <D_k> = 0 for all k,

Hotelling's T^2 of the means of the D with their full covariance (`statistics.hotelling`, F-distributed p-value). The
more phi(g x) and phi(x) have in common, the smaller the errors: compare nearby points if the violation allows it.

Observables (`field_observables`). `Correlators` are products phi(x_i) phi(x_j) .. , the definition of the lectures at
the level of expectations. `CharacteristicFunction` is cos(J.phi) and sin(J.phi), that is Z[iJ]: bounded, so it also
serves fields whose products have no variance to speak of.

Heavy tails. The error of a four-point function is an eight-point function. Of one neuron of a gauss-net the squared
relative error at coincident points x is

    <psi^8>/<psi^4>^2 = (105/9) exp(16 sb^2 + 32 k x^2),   k = s0^2/2d,

so that with bias_std = 1 products of four are useless everywhere and with bias_std below 0.3 beyond |x| of about
0.7 sqrt(d)/s0. The p-value stays honest there (the test loses its power, not its level); keep points and g x inside, or
take the characteristic function.

Power. `detectable` of observable k is the smallest <D_k>, the others being zero, for which T^2 rejects at `false_alarm`
with probability POWER: with C the covariance of the means and lambda the non-centrality at which F(K, n - K) does,

    |<D_k>| = sqrt(lambda / (C^-1)_kk),

in units of the observable's scale: prod_i <phi_i^2>^(1/2) for a correlator, 1 for a characteristic function.

`symmetry_test` draws networks and evaluates them at x and g x; `symmetry_test_of_fields` takes the values of phi and
phi_g that Markov chains have left.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Array, ArrayLike
from numpy.typing import NDArray
from scipy.special import fdtri, ncfdtrinc

from nnft_mcmc import _checks
from nnft_mcmc.architectures._base import Architecture
from nnft_mcmc.architectures.vector import VectorArchitecture
from nnft_mcmc.estimators._draws import checked_points, fields_in_batches
from nnft_mcmc.estimators.field_observables import FieldObservable, default_correlators
from nnft_mcmc.estimators.group_actions import GroupElement, check_element
from nnft_mcmc.statistics import hotelling, hotelling_of_independent

FloatArray = NDArray[np.float64]

POWER = 0.95
_MEANS = 4096  # successive draws are averaged to about this many, so that memory does not grow with their number
_ROUNDING = 100.0  # in units of the rounding of the largest value: smaller differences are none


@dataclass(frozen=True, eq=False)
class SymmetryTest:
    """The outcome. Arrays have one entry for each observable: `value` <O[phi]>, `difference` <D> with its `error`.

    `chi2` is T^2 for `dof` differences and `p_value` its F-distributed probability. Differences that vanish draw by
    draw up to rounding are exact: they have error 0 and `detectable` NaN and do not count in `dof`; with dof = 0 every
    network is invariant and p_value is 1. `detectable` is defined in the module docstring.
    """

    element: GroupElement
    labels: tuple[str, ...]
    value: FloatArray
    difference: FloatArray
    error: FloatArray
    detectable: FloatArray
    chi2: float
    dof: int
    p_value: float
    num_draws: int
    false_alarm: float

    @property
    def is_violated(self) -> bool:
        """Whether the symmetry is rejected, at the rate `false_alarm` where it holds."""
        return self.p_value < self.false_alarm

    def __str__(self) -> str:
        verdict = "violated" if self.is_violated else "no violation seen"
        seen = self.detectable[np.isfinite(self.detectable)]
        power = f"; {POWER:.0%} power for {seen.min():.2g} to {seen.max():.2g} of the scale" if seen.size else ""
        return (
            f"{type(self.element).__name__}: {verdict}, p = {self.p_value:.3g} (T^2 = {self.chi2:.1f}, {self.dof}"
            f" differences, {self.num_draws} draws{power})"
        )


def symmetry_test(
    architecture: Architecture | VectorArchitecture,
    key: Array,
    element: GroupElement,
    points: ArrayLike,
    num_draws: int,
    observable: FieldObservable | None = None,
    false_alarm: float = 1e-3,
    progress: Callable[[int], object] | None = None,
) -> SymmetryTest:
    """Test of `element` on `num_draws` independent networks at `points` (P, dim); see the module docstring.

    `observable` is `default_correlators` unless given. Choose points, and tuples, at which the violation that you fear
    is visible: a two-point function at coincident points does not notice a rotation, one whose separation is along an
    axis of the cube notices a rotation by 45 degrees most. `progress` is told the number of new draws. Raises
    `TooFewDraws` where K observables need more draws.
    """
    check_element(architecture, element)
    _check_false_alarm(false_alarm)
    x = checked_points(architecture, points)
    num_sites = len(x) * max(1, getattr(architecture, "components", 1))
    observe = default_correlators(num_sites, element) if observable is None else observable
    observe.check(num_sites)
    means = _Means(observe, _checks.integer("num_draws", num_draws, 8))
    both = np.concatenate([x, element.on_points(x)])
    for fields in fields_in_batches(architecture, key, both, means.num_draws):
        means.update(fields[:, : len(x)], element.on_outputs(fields[:, len(x) :]))
        if progress is not None:
            progress(len(fields))
    return _tested([means], element, false_alarm, independent=True)


def symmetry_test_of_fields(
    element: GroupElement,
    fields: ArrayLike,
    transformed: ArrayLike,
    observable: FieldObservable | None = None,
    false_alarm: float = 1e-3,
) -> SymmetryTest:
    """Test of `element` on the values phi(x) and phi_g(x) at P points of the same draws, (chain, draw, P) both.

    Raises `TooFewDraws` where the chains are too short for K observables and their autocorrelation.
    """
    phi, phi_g = (np.asarray(f, dtype=np.float64) for f in (fields, transformed))
    _check_false_alarm(false_alarm)
    if phi.ndim != 3 or phi.shape != phi_g.shape:
        raise _checks.InputError(
            f"fields and transformed have shapes {phi.shape} and {phi_g.shape}; both must be (chain, draw, points)."
        )
    observe = default_correlators(phi.shape[2], element) if observable is None else observable
    observe.check(phi.shape[2])
    chains = [_Means(observe, phi.shape[1]) for _ in phi]
    for means, ours, moved in zip(chains, phi, phi_g, strict=True):
        means.update(ours[: means.num_draws], moved[: means.num_draws])
    return _tested(chains, element, false_alarm, independent=False)


def _check_false_alarm(false_alarm: float) -> None:
    if not 0.0 < false_alarm < 1.0:
        raise _checks.InputError(f"false_alarm is {false_alarm!r}; it must lie between 0 and 1.")


class _Means:
    """Averages over `length` successive draws of the observables and their differences, and their sizes."""

    def __init__(self, observe: FieldObservable, num_draws: int) -> None:
        self.observe = observe
        self.length = max(1, num_draws // _MEANS)
        self.count = num_draws // self.length
        self.num_draws = self.count * self.length
        self.done = 0
        num = len(observe.labels())
        self.differences = np.zeros((self.count, num))
        self.value, self.largest_value, self.largest_difference = np.zeros(num), np.zeros(num), np.zeros(num)
        self.square: FloatArray = np.zeros(())
        self.epsilon = 0.0

    def update(self, fields: np.ndarray, transformed: np.ndarray) -> None:
        """Add draws (draws, P) or (draws, P, components) of phi and phi_g."""
        self.epsilon = float(np.finfo(fields.dtype).eps)
        phi, phi_g = (f.reshape(len(f), -1).astype(np.float64) for f in (fields, transformed))
        value, value_g = self.observe(phi), self.observe(phi_g)
        row = (self.done + np.arange(len(phi))) // self.length
        np.add.at(self.differences, row, (value_g - value) / self.length)
        self.value += value.sum(axis=0) / self.num_draws
        self.square = self.square + (phi**2 + phi_g**2).sum(axis=0) / (2 * self.num_draws)
        self.largest_value = np.maximum(self.largest_value, np.abs(value).max(axis=0))
        self.largest_difference = np.maximum(self.largest_difference, np.abs(value_g - value).max(axis=0))
        self.done += len(phi)

    @property
    def moving(self) -> NDArray[np.bool_]:
        """Which differences are more than the rounding of invariant networks; NaN is more."""
        size = self.observe.scale(np.full_like(self.rms, self.rms.max()))
        return ~(self.largest_difference <= _ROUNDING * self.epsilon * np.maximum(self.largest_value, size))

    @property
    def rms(self) -> FloatArray:
        """Root mean square of the field at each site."""
        return np.sqrt(self.square)


def _tested(chains: Sequence[_Means], element: GroupElement, false_alarm: float, independent: bool) -> SymmetryTest:
    moving = np.any([means.moving for means in chains], axis=0)
    samples, observe = np.stack([means.differences for means in chains]), chains[0].observe
    difference, error = samples.mean(axis=(0, 1)), np.zeros(samples.shape[2])
    detectable = np.full(samples.shape[2], np.nan)
    chi2, dof, p_value = 0.0, 0, 1.0
    if moving.any():
        tested, zero = samples[..., moving], np.zeros(int(moving.sum()))
        result = hotelling_of_independent(tested[0], zero) if independent else hotelling(tested, zero)
        chi2, dof, p_value = result.chi2, result.dof, result.p_value
        covariance = _covariance(samples[..., moving], 1 if independent else result.block_length)
        rms = np.sqrt(np.mean([means.square for means in chains], axis=0))
        error[moving] = np.sqrt(np.diag(covariance))
        detectable[moving] = _detectable(covariance, dof, result.num_blocks, false_alarm) / observe.scale(rms)[moving]
    return SymmetryTest(
        element=element,
        labels=observe.labels(),
        value=np.mean([means.value for means in chains], axis=0),
        difference=difference,
        error=error,
        detectable=detectable,
        chi2=chi2,
        dof=dof,
        p_value=p_value,
        num_draws=sum(means.num_draws for means in chains),
        false_alarm=false_alarm,
    )


def _covariance(samples: FloatArray, block_length: int) -> FloatArray:
    """Covariance (K, K) of the means of samples (chain, draw, K) from the means of blocks."""
    num_chains, draws, num = samples.shape
    used = samples[:, draws % block_length :].reshape(num_chains, -1, block_length, num)
    blocks = used.mean(axis=2).reshape(-1, num)
    return np.atleast_2d(np.cov(blocks, rowvar=False)) / len(blocks)


def _detectable(covariance: FloatArray, dof: int, num_blocks: int, false_alarm: float) -> FloatArray:
    """|<D_k>| that is rejected with probability POWER, from the covariance (K, K) of the means."""
    critical = fdtri(dof, num_blocks - dof, 1 - false_alarm)
    noncentrality = ncfdtrinc(dof, num_blocks - dof, 1 - POWER, critical)
    size = np.sqrt(np.diag(covariance))
    precision = np.linalg.pinv(covariance / np.outer(size, size), rcond=1e-10, hermitian=True)
    return size * np.sqrt(noncentrality / np.diag(precision))
