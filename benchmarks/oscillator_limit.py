r"""The anharmonic oscillator from neural networks: the limit N -> infinity against the transfer matrix.

The theory of configs/oscillator_limit.toml: the Cauchy-cos-net, S_int = (1/2) int phi^4 in a box of length 6 on 25
sites. For each width N refresh draws independent chains. A pilot fits control variates (`stein_variates`), whose mean
is zero at this very N, and the draws that follow give, with errors of the Gamma-method,

    <phi^2> in the middle,      E = ln[G(t1)/G(t2)]/(t2 - t1),  G(t) = <phi(0) phi(t)>,  t1 = 1/2, t2 = 1.

At N = infinity, on the same sites with the same weights, E is the gap E_1 - E_0 of the transfer matrix to 1e-4: beyond
t1 higher levels, and before t2 the ends of the box, matter less than that. Both are known (`TransferMatrix`), and so is
the leading term B/N of the bias at finite N, exact in the coupling (`width_shift`). Asked of the data:

1. Is the limit N -> infinity of the measured series that of the transfer matrix, and how well is it known?
2. Has the bias at every N the sign of B? Is the slope at N = infinity of fits that know nothing of B equal to B? And is
   the size of the bias B/N: with N = infinity and B exact, do one or two further orders describe all that is measured?

    python benchmarks/oscillator_limit.py [--draws 400000] [--widths 40,80,160,320,640] [--json FILE] [--figure FILE]

Exit code 1 where an answer is no.
"""

import argparse
import json
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from scipy.special import gammaincc, ndtr

from nnft_mcmc import Ensemble, Refresh, TransferMatrix, width_shift
from nnft_mcmc.estimators import pair_weights, stein_variates
from nnft_mcmc.runs import config
from nnft_mcmc.sampling import Chains, Position
from nnft_mcmc.statistics import Estimate, control_coefficients, derived
from nnft_mcmc.statistics.extrapolation import Limit, design, extrapolate

CONFIG = Path(__file__).parents[1] / "configs" / "oscillator_limit.toml"
WIDTHS = (40, 80, 160, 320, 640)
CHAINS, CHUNK, PILOT_CHUNKS = 64, 100, 3
EARLY, LATE = 0.5, 1.0
NAMES = {"phi2_mid": "<phi^2(mid)>", "gap": "E"}
WITHIN = {"phi2_mid": 0.003, "gap": 0.01}
FALSE_ALARM = 0.01
LONG = 161  # sites of a box whose middle knows nothing of its ends


@dataclass(frozen=True)
class Theory:
    """The numbers at N = infinity, the coefficients B of 1/N, and the gap of the transfer matrix in a long box."""

    exact: dict[str, float]
    leading: dict[str, float]
    gap: float


@dataclass(frozen=True)
class Point:
    """What one width gave; `gain` is how many times more draws the plain estimators would need."""

    width: int
    draws: int
    estimates: dict[str, Estimate]
    gain: dict[str, float]
    seconds: float


def ensemble_at(width: int) -> Ensemble:
    """The ensemble of the configuration, at another width."""
    tables = config.override(config.read_tables(CONFIG), [f"architecture.width={width}"])
    return config.resolve(tables).ensemble


def rows_of_g(ensemble: Ensemble) -> np.ndarray:
    """Weights that make G(0), G(t1), G(t2) of phi(0) phi(y): (3, sites)."""
    at = [0, round(EARLY / ensemble.lattice.spacing), round(LATE / ensemble.lattice.spacing)]
    return pair_weights(ensemble.lattice)[at]


def numbers(g: np.ndarray) -> dict[str, float]:
    """<phi^2> and E from G(0), G(t1), G(t2)."""
    return {"phi2_mid": float(g[0]), "gap": math.log(g[1] / g[2]) / (LATE - EARLY)}


def gradients(g: np.ndarray) -> dict[str, np.ndarray]:
    """Derivatives of `numbers` with respect to G(0), G(t1), G(t2)."""
    return {
        "phi2_mid": np.array([1.0, 0.0, 0.0]),
        "gap": np.array([0.0, 1 / g[1], -1 / g[2]]) / (LATE - EARLY),
    }


def theory() -> Theory:
    """All that is known exactly, of the mass and the insertion of the configuration."""
    ensemble = ensemble_at(WIDTHS[0])
    lattice, (site,), rows = ensemble.lattice, ensemble.lattice.centre, rows_of_g(ensemble)
    matrix = TransferMatrix(ensemble.architecture.mass, lattice.axis(0), ensemble.local_action.coefficients)
    g, shift = rows @ matrix.two_point()[site], rows @ width_shift(matrix, site).two_point
    leading = {name: float(gradient @ shift) for name, gradient in gradients(g).items()}
    inside = np.repeat(matrix.coefficients[:, [site]], LONG, axis=1)
    far = TransferMatrix(matrix.mass, lattice.spacing * np.arange(LONG), inside).two_point()[LONG // 2]
    k = LONG // 2 + round(5 / lattice.spacing)
    return Theory(numbers(g), leading, float(np.log(far[k] / far[k + 1]) / lattice.spacing))


def estimates(g: np.ndarray) -> dict[str, Estimate]:
    """<phi^2> and E, with errors, from series (chain, draw, 3)."""
    mean = g.mean(axis=(0, 1))
    return {name: derived(g, numbers(mean)[name], gradient) for name, gradient in gradients(mean).items()}


def measured(width: int, draws: int) -> Point:
    """The run of one width."""
    ensemble = ensemble_at(width)
    variates, rows, centre = stein_variates(ensemble), jnp.asarray(rows_of_g(ensemble)), ensemble.lattice.centre

    def collect(position: Position) -> dict[str, dict[str, jax.Array]]:
        g = rows @ (position.field[centre] * position.field)
        return {"observables": {"g": g, "z": variates(position.theta, position.field)}}

    began = time.perf_counter()
    sampler = Refresh(num_chains=CHAINS, num_warmup=200)
    chains = Chains(ensemble, sampler, jax.random.fold_in(jax.random.key(1), width), collect, CHUNK)
    chains.warm_up(200)
    pilot = [chains.draw(CHUNK)["observables"] for _ in range(PILOT_CHUNKS)]
    z, g = (np.concatenate([c[name].reshape(-1, c[name].shape[-1]) for c in pilot]) for name in ("z", "g"))
    beta = control_coefficients(z, g)
    plain, improved = [], []
    for _ in range(math.ceil(draws / (CHAINS * CHUNK))):
        chunk = chains.draw(CHUNK)["observables"]
        plain.append(chunk["g"])
        improved.append(chunk["g"] - chunk["z"] @ beta)
    better, worse = estimates(np.concatenate(improved, axis=1)), estimates(np.concatenate(plain, axis=1))
    gain = {name: float((worse[name].error / better[name].error) ** 2) for name in NAMES}
    return Point(width, CHAINS * CHUNK * len(plain), better, gain, time.perf_counter() - began)


def show(points: list[Point], known: Theory) -> None:
    """The table of what was measured."""
    for name, label in NAMES.items():
        print(f"\n{label}: N = infinity {known.exact[name]:.6f}, B = {known.leading[name]:.5f}")
        headers = f"{'value':>10} {'error':>8} {'tau_int':>8} {'bias':>9} {'B/N':>9} {'bias/(B/N)':>12} gain"
        print(f"{'N':>5} {'draws':>8} {headers}")
        for p in points:
            e, leading = p.estimates[name], known.leading[name] / p.width
            bias = float(e.value) - known.exact[name]
            ratio = f"{bias / leading:.3f}({float(e.error) / abs(leading):.3f})"
            print(
                f"{p.width:>5} {p.draws:>8} {float(e.value):>10.6f} {float(e.error):>8.6f} {float(e.tau_int):>8.2f}"
                f" {bias:>+9.5f} {leading:>+9.5f} {ratio:>12} {p.gain[name]:4.0f}"
            )


def slope(limit: Limit) -> tuple[float, float]:
    """The coefficient of 1/N, averaged over the fits as the limit is, and its error."""
    weights = np.array([fit.weight for fit in limit.fits])
    values = np.array([fit.coefficients[1] for fit in limit.fits])
    variances = np.array([fit.covariance[1, 1] for fit in limit.fits])
    mean = weights @ values
    return float(mean), float(np.sqrt(weights @ variances + weights @ (values - mean) ** 2))


def constrained(x: np.ndarray, value: np.ndarray, error: np.ndarray, exact: float, leading: float) -> tuple[int, float]:
    """The smallest number of orders beyond B/N that describe all points, of one and two, and the p-value."""
    rest = (value - exact - leading * x) / error
    p = 0.0
    for orders in (1, 2):
        matrix = design(x, [2.0, 3.0][:orders])[:, 1:] / error[:, None]
        chi2 = float(np.sum((rest - matrix @ np.linalg.lstsq(matrix, rest)[0]) ** 2))
        p = float(gammaincc((len(x) - orders) / 2, chi2 / 2))
        if p >= FALSE_ALARM:
            return orders, p
    return 0, p


def judge(points: list[Point], known: Theory, name: str) -> tuple[dict[str, object], bool]:
    """The limit and the answers of one number."""
    x = np.array([1 / p.width for p in points])
    value, error = (np.array([float(getattr(p.estimates[name], key)) for p in points]) for key in ("value", "error"))
    exact, leading = known.exact[name], known.leading[name]
    limit = extrapolate(x, value, error)
    deviation, z = limit.value / exact - 1, (limit.value - exact) / limit.error
    p_agree = 2 * float(ndtr(-abs(z)))
    found, found_error = slope(limit)
    orders, p_orders = constrained(x, value, error, exact, leading)
    significance = np.sign(leading) * (value - exact) / error
    p_slope = 2 * float(ndtr(-abs(found - leading) / found_error))
    answers = {
        "agrees": abs(deviation) < WITHIN[name] and p_agree > FALSE_ALARM,
        "sharp": limit.error < WITHIN[name] / 2 * abs(exact),
        "direction": bool((significance > 2).all()),
        "slope": p_slope > FALSE_ALARM,
        "size": orders > 0,
    }
    print(
        f"\n{NAMES[name]} at N = infinity: {limit.value:.6f} +- {limit.error:.6f}, of it model {limit.model_error:.6f}"
    )
    print(f"  transfer matrix {exact:.6f}: {deviation:+.2%} +- {limit.error / exact:.2%}, p = {p_agree:.2g}", end="")
    print(f"; likeliest fit p = {limit.best.p_value:.2g}; within {WITHIN[name]:.1%}: {answers['agrees']}")
    print(f"  bias at every N of the sign of B, by {significance.min():.1f} errors or more: {answers['direction']}")
    print(f"  slope of the fits {found:.3f} +- {found_error:.3f}, B = {leading:.3f}: p = {p_slope:.2g}")
    print(f"  N = infinity and B given, {orders or 2} further order(s) describe all widths: p = {p_orders:.2g}")
    record = {"limit": limit.value, "error": limit.error, "model_error": limit.model_error, "exact": exact}
    record |= {"p_agree": p_agree, "p_fit": limit.best.p_value, "slope": found, "slope_error": found_error}
    return {**record, "leading": leading, "p_slope": p_slope, "p_size": p_orders, **answers}, all(answers.values())


def draw(points: list[Point], known: Theory, path: Path) -> None:
    """Both series with the limits of the fits, and what is known."""
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    for axes, (name, label) in zip(
        figure.subplots(1, 2), {"phi2_mid": r"$\langle\phi^2\rangle$", "gap": "$E$"}.items(), strict=True
    ):
        x = np.array([1 / p.width for p in points])
        value, error = (np.array([getattr(p.estimates[name], key) for p in points]) for key in ("value", "error"))
        limit, fine = extrapolate(x, value, error), np.linspace(0, 1.05 * x.max(), 100)
        axes.plot(fine, limit.value + limit.bias(fine)[0], "-", lw=1, label="average of fits")
        axes.plot(fine, known.exact[name] + known.leading[name] * fine, "k--", lw=1, label="transfer matrix + $B/N$")
        axes.errorbar(x, value, error, fmt="o", ms=4, capsize=2, label="networks")
        axes.errorbar(0, limit.value, limit.error, fmt="s", ms=5, capsize=3, label="limit")
        axes.set_xlabel("$1/N$")
        axes.set_ylabel(label)
        axes.legend(frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main() -> int:
    """Run, print, and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=400_000, help="at N = 40 (default 400,000)")
    parser.add_argument("--widths", default=",".join(map(str, WIDTHS)))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path, help="PNG to write")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    known = theory()
    print(f"gap of the transfer matrix in a long box {known.gap:.6f}, E in this box {known.exact['gap']:.6f}")
    points = []
    for width in map(int, options.widths.split(",")):
        # what control variates leave of the noise falls with the width: the kernel of a draw fluctuates as N^-1/2
        points.append(measured(width, math.ceil(options.draws * math.sqrt(WIDTHS[0] / width))))
        print(f"N = {width}: {points[-1].draws} draws in {points[-1].seconds:.0f} s", flush=True)
    show(points, known)
    judged = {name: judge(points, known, name) for name in NAMES}
    if options.json:
        options.json.write_text(json.dumps({name: record for name, (record, _) in judged.items()}, indent=2))
    if options.figure:
        draw(points, known, options.figure)
    return int(not all(good for _, good in judged.values()))


if __name__ == "__main__":
    sys.exit(main())
