"""The finite-width bias of an interacting theory, measured and predicted, and the rate at which it falls.

    bias(N) = <phi^2(mid)>_N - <phi^2(mid)>_infinity

of one base net with one quadrature per neuron, two, and two with stratified momenta, in a small box with a phi^4
insertion. In d = 1 the base is the Cauchy-cos-net, sampled by refresh, with errors of the Gamma-method; N = infinity is
exact, and so is the leading term of the bias (`width_shift`). With a cut-off (d = 2 and 3, and d = 1 with --cutoff)
free draws are reweighted, and N = infinity is the architecture `infinite_width`, reweighted too: its error is part of
every bias. There the net with alpha = -1 stands beside the others; without a cut-off its neurons have no fourth moment.
Last comes the width at which the bias is 1%, from a fit of c_1/N + c_2/N^2 for i.i.d. neurons, of a power for strata.

    python benchmarks/finite_width.py table --dim 1 [--cutoff 5] [--error 0.0004] [--json FILE]
    python benchmarks/finite_width.py rates [--json FILE]

`rates` is deterministic. It prints Var K(r)/G(0)^2, the variance that the momenta leave to the kernel of a net of two
quadratures, from the exact connected four-point function, and its local power of N.
"""

import argparse
import itertools
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from nnft_mcmc import (
    Ensemble,
    InfiniteWidth,
    Lattice,
    MaternNet,
    PhiPower,
    Refresh,
    ScalarNet,
    StratifiedNet,
    TransferMatrix,
    TwoQuadratureNet,
    gamma_method,
    width_shift,
)
from nnft_mcmc.architectures import Architecture, ExactCorrelators
from nnft_mcmc.sampling import Chains, Position

Rows = list[dict[str, Any]]
Net = Callable[[int], Any]

ALPHA = "alpha = -1"  # the lectures' own: uniform momenta, F^2 = 1/(w^2 + m^2)
NETS: dict[str, Callable[[Any], Any]] = {
    ALPHA: lambda base: ScalarNet(base.dim, base.width, base.mass, base.cutoff, alpha=-1.0),
    "one quadrature": lambda base: base,
    "two quadratures": TwoQuadratureNet,
    "two, stratified": lambda base: StratifiedNet(TwoQuadratureNet(base)),
    "two, in the radius": lambda base: StratifiedNet(TwoQuadratureNet(base), shells=base.width),
}
CUTOFF = {1: math.inf, 2: 3.0, 3: 3.0}
BOX = {1: Lattice((17,), 0.25), 2: Lattice((5, 5), 0.5), 3: Lattice((3, 3, 3), 0.75)}
COUPLING = {1: 0.5, 2: 2.0, 3: 5.0}
WIDTHS = (5, 10, 20)
WIDTHS_ALPHA = (20, 40, 80)  # its excess kurtosis is four times as large and more
TARGET = 0.01

# Laws of momenta, with the power of N that is expected of cells, and of cells in the radius alone.
LAWS: dict[str, tuple[Net, float, float]] = {
    "d = 1, cut-off 5": (lambda n: ScalarNet(1, n, 1.0, 5.0), -3.0, -3.0),
    "d = 1, Cauchy, a = 1": (lambda n: ScalarNet(1, n, 1.0, math.inf), -1.5, -1.5),
    "d = 1, Matern, a = 3": (lambda n: MaternNet(1, n, 1.0, 2.0), -1.75, -1.75),
    "d = 2, cut-off 5": (lambda n: ScalarNet(2, n, 1.0, 5.0), -2.0, -1.0),
    "d = 2, Matern, a = 1": (lambda n: MaternNet(2, n, 1.0, 1.5, 100.0), -4 / 3, -1.0),
    "d = 2, Matern, a = 2": (lambda n: MaternNet(2, n, 1.0, 2.0, 100.0), -1.5, -1.0),
    "d = 3, cut-off 5": (lambda n: ScalarNet(3, n, 1.0, 5.0), -5 / 3, -1.0),
    "d = 3, Matern, a = 1": (lambda n: MaternNet(3, n, 1.0, 2.0, 60.0), -1.25, -1.0),
    "d = 3, Matern, a = 3": (lambda n: MaternNet(3, n, 1.0, 3.0, 60.0), -1.5, -1.0),
}
DISTANCE = 1.0
DOUBLINGS = {1: 14, 2: 12, 3: 12}


def interacting(architecture: Architecture) -> Ensemble:
    """The ensemble in the box of its dimension."""
    dim = architecture.dim
    return Ensemble(architecture, BOX[dim], PhiPower(degree=4, coupling=COUPLING[dim], quadrature="trapezoid"))


def sampled(ensemble: Ensemble, key: jax.Array, error: float) -> tuple[float, float, str]:
    """<phi^2(mid)> with its error, from 512 chains of refresh that are drawn until the error is small enough."""
    centre = ensemble.lattice.centre

    def middle(position: Position) -> dict[str, dict[str, jax.Array]]:
        return {"observables": {"phi2": position.field[centre] ** 2}}

    chains = Chains(ensemble, Refresh(num_chains=512, num_warmup=200), key, middle, 500)
    chains.warm_up(200)
    drawn: list[np.ndarray] = []
    while True:
        drawn.append(chains.draw(500)["observables"]["phi2"])
        estimate = gamma_method(np.concatenate(drawn, axis=1))
        if estimate.error <= error:
            return float(estimate.value), float(estimate.error), f"tau_int {float(estimate.tau_int):.2f}"


def reweighted(ensemble: Ensemble, key: jax.Array, error: float) -> tuple[float, float, str]:
    """<phi^2(mid)> = <w phi^2>_0/<w>_0, w = exp(-S_int), over free draws, until the error is small enough."""
    centre, architecture = ensemble.lattice.centre, ensemble.architecture

    @jax.jit
    def batch(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        def one(key: jax.Array) -> tuple[jax.Array, jax.Array]:
            field = ensemble.field(architecture.sample_parameters(key))
            return jax.numpy.exp(-ensemble.action(field)), field[centre] ** 2

        return jax.lax.map(one, jax.random.split(key, 50_000), batch_size=2000)

    w, phi2 = np.zeros(0), np.zeros(0)
    for index in itertools.count():
        more = batch(jax.random.fold_in(key, index))
        w, phi2 = np.append(w, np.asarray(more[0])), np.append(phi2, np.asarray(more[1]))
        value = float(w @ phi2 / w.sum())
        its_error = float(np.linalg.norm(w * (phi2 - value)) / w.sum())  # of a ratio of means, to first order
        if its_error <= error:
            return value, its_error, f"ESS {w.sum() ** 2 / (w @ w) / w.size:.0%} of {w.size:.2g}"


def predictions(theory: TransferMatrix, name: str, widths: tuple[int, ...]) -> list[float]:
    """B/N at each width, for the Cauchy-cos-net."""
    lattice = BOX[1]
    (site,), distances = lattice.centre, lattice.axis(0) - lattice.axis(0)[0]
    quadratures = 1 if name == "one quadrature" else 2
    if "stratified" not in name:
        return [float(width_shift(theory, site, 0.0, quadratures).phi2[site]) / n for n in widths]
    cells = {n: StratifiedNet(ScalarNet(1, n, 1.0, math.inf)).cell_two_point(distances) for n in widths}
    return [float(width_shift(theory, site, 0.0, quadratures, cells[n]).phi2[site]) / n for n in widths]


@dataclass(frozen=True)
class Fit:
    """Of |bias|: either c_1/N + c_2/N^2 or exp(c_1) N^c_2, with the covariance of c."""

    is_power: bool
    coefficients: np.ndarray
    covariance: np.ndarray

    def width_for(self, bias: float) -> tuple[float, float]:
        """The N at which |bias| has fallen to this value, and its error by first-order propagation."""

        def solved(c: np.ndarray) -> float:
            if self.is_power:
                return float(np.exp((np.log(bias) - c[0]) / c[1]))
            return float((c[0] + np.sqrt(c[0] ** 2 + 4 * bias * c[1])) / (2 * bias))

        steps = 1e-4 * np.diag(np.sqrt(np.diag(self.covariance)))
        gradient = [(solved(self.coefficients + h) - solved(self.coefficients - h)) / (2 * h.sum()) for h in steps]
        return solved(self.coefficients), float(np.sqrt(gradient @ self.covariance @ np.array(gradient)))


def fitted(widths: tuple[int, ...], bias: list[float], errors: list[float], is_power: bool) -> Fit:
    """Weighted least squares of |bias|, or of its logarithm."""
    n, size = np.array(widths, dtype=float), np.abs(bias)
    rows = np.stack([np.ones_like(n), np.log(n)] if is_power else [1 / n, 1 / n**2], axis=1)
    y, y_error = (np.log(size), np.array(errors) / size) if is_power else (size, np.array(errors))
    covariance = np.linalg.inv((rows / y_error[:, None] ** 2).T @ rows)
    return Fit(is_power, covariance @ (rows.T @ (y / y_error**2)), covariance)


def infinite_width(dim: int, cutoff: float, key: jax.Array, error: float) -> tuple[float, float, str]:
    """<phi^2(mid)> at N = infinity, its error and a note."""
    if math.isinf(cutoff):
        return float(oscillator().moment(2)[BOX[1].centre[0]]), 0.0, "exact"
    return reweighted(interacting(InfiniteWidth(ScalarNet(dim, 1, 1.0, cutoff), BOX[dim])), key, error / 2)


def oscillator() -> TransferMatrix:
    """The d = 1 theory without cut-off at N = infinity."""
    coefficients = interacting(ScalarNet(1, 1, 1.0, math.inf)).local_action.coefficients
    return TransferMatrix(1.0, BOX[1].axis(0), coefficients)


def table(dim: int, cutoff: float, error: float, only: str = "") -> Rows:
    """Print and return the table of one dimension."""
    exact, keys = math.isinf(cutoff), iter(jax.random.split(jax.random.key(dim), 100))
    left_out = ("two, in the radius",) * (dim == 1) + (ALPHA,) * exact
    infinite, infinite_error, note = infinite_width(dim, cutoff, next(keys), error)
    print(f"d = {dim}, {BOX[dim].shape} sites at {BOX[dim].spacing}, cut-off {cutoff:g}, coupling {COUPLING[dim]:g}")
    print(f"N = infinity   <phi^2(mid)> = {infinite:.6f} +- {infinite_error:.6f}   {note}\n")
    rows: Rows = []
    for name in [name for name in NETS if name not in left_out and name.startswith(only)]:
        widths = WIDTHS_ALPHA if name == ALPHA else WIDTHS
        predicted = predictions(oscillator(), name, widths) if exact else [math.nan] * len(widths)
        bias, errors = [], []
        for n, expected in zip(widths, predicted, strict=True):
            began = time.perf_counter()
            ensemble = interacting(NETS[name](ScalarNet(dim, n, 1.0, cutoff)))
            value, value_error, note = (sampled if exact else reweighted)(ensemble, next(keys), error)
            bias.append(value - infinite)
            errors.append(math.hypot(value_error, infinite_error))
            leading = "" if math.isnan(expected) else f"   B/N {expected:+.5f}"
            seconds = time.perf_counter() - began
            print(
                f"{name:20} N = {n:3d}   bias {bias[-1]:+.5f} +- {errors[-1]:.5f}{leading}   {note}, {seconds:.0f} s",
                flush=True,
            )
            rows.append({"net": name, "width": n, "bias": bias[-1], "error": errors[-1], "leading": expected})
        if all(abs(b) > 3 * e for b, e in zip(bias, errors, strict=True)):
            power = fitted(widths, bias, errors, is_power=True)
            needed = fitted(widths, bias, errors, name == "two, stratified").width_for(TARGET * infinite)
            slope, slope_error = power.coefficients[1], math.sqrt(power.covariance[1, 1])
            print(
                f"{name:20} |bias| ~ N^({slope:.2f} +- {slope_error:.2f}); 1% at N = {needed[0]:.0f} +- {needed[1]:.0f}"
            )
            rows.append({"net": name, "power": slope, "error": slope_error, "width_for_1_percent": needed})
        print(flush=True)
    return rows


def variance(net: ExactCorrelators) -> float:
    """Var K(r)/G(0)^2 at r = DISTANCE: half of Gc4(0, 0, r, r)/G(0)^2 for two quadratures and constant F."""
    o, x = np.zeros(net.dim), DISTANCE * np.eye(net.dim)[0]
    return float(net.four_point_connected(o, o, x, x) / net.two_point(o, o) ** 2) / 2


def rates() -> Rows:
    """Print and return the variances and their local powers, log2 of the ratio at N and 2N."""
    rows: Rows = []
    for law, (base, of_cells, of_shells) in LAWS.items():
        dim = base(1).dim
        widths = [2**k for k in range(3, DOUBLINGS[dim] + 1)]
        kinds = {"two, stratified": of_cells} | ({"two, in the radius": of_shells} if dim > 1 else {})
        print(f"{law}   i.i.d.: N Var K = {variance(TwoQuadratureNet(base(1))):.4f}")
        for kind, expected in kinds.items():
            values = [variance(NETS[kind](base(n))) for n in widths]
            powers = np.diff(np.log2(values))
            print(f"   {kind:20} expected power {expected:.3f}")
            print("      N          " + " ".join(f"{n:8d}" for n in widths))
            print("      N Var K    " + " ".join(f"{n * v:8.5f}" for n, v in zip(widths, values, strict=True)))
            print("      power      " + " " * 9 + " ".join(f"{p:8.3f}" for p in powers), flush=True)
            half = len(widths) // 2
            power = float(np.polyfit(np.log(widths[half:]), np.log(values[half:]), 1)[0])
            print(f"      fitted power from N = {widths[half]}: {power:.3f}")
            rows.append({"law": law, "net": kind, "expected": expected, "fitted": power, "variance": values})
            if kind == "two, stratified":
                print(f"      one quadrature in these cells, N = 64: N kappa = {one_quadrature_kurtosis(base):.6f}")
        print()
    return rows


def one_quadrature_kurtosis(base: Net) -> float:
    """N kappa of phi(x) for stratified momenta and one quadrature."""
    net = StratifiedNet(base(64))
    return 64 * float(net.excess_kurtosis(np.zeros(net.dim)))


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("table", "rates"))
    parser.add_argument("--dim", type=int, choices=(1, 2, 3), default=1)
    parser.add_argument("--cutoff", type=float, help="of the momenta in d = 1 (default: none); 3 in d = 2 and 3")
    parser.add_argument("--only", default="", metavar="NAME", help="nets whose name begins so")
    parser.add_argument("--error", type=float, default=0.0004, help="of each <phi^2(mid)>")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    cutoff = CUTOFF[options.dim] if options.cutoff is None else options.cutoff
    rows = rates() if options.what == "rates" else table(options.dim, cutoff, options.error, options.only)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
