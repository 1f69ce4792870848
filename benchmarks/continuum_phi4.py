"""The mass M(g) of the continuum phi^4 theory in two dimensions, extrapolated in spacing and volume.

Plane waves of a torus with the dispersion of the continuum, |p_mu| < pi/a, and the interaction g m^2 :phi^4: on its
sites. M is fitted to the improved correlator, a -> 0 by fits in a^2 and a^4, and held against Borel resummation. The
error of the plain correlator from the same draws is printed beside that of the improved one.

    python benchmarks/continuum_phi4.py [--draws 64000] [--coupling 0.2 0.5 1.0] [--figure FILE]
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from matplotlib.figure import Figure

from nnft_mcmc.architectures import LatticeModes
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.estimators.correlator_fits import Energy, fit_energy
from nnft_mcmc.estimators.per_draw import per_draw
from nnft_mcmc.exact.phi4_2d import LARGEST_COUPLING, mass_ratio
from nnft_mcmc.insertions import WickPower
from nnft_mcmc.lattice import Lattice
from nnft_mcmc.sampling import Chains, GaussianFlow
from nnft_mcmc.statistics import gamma_method
from nnft_mcmc.statistics.extrapolation import extrapolate
from nnft_mcmc.statistics.resampling import blocks_for, jackknife

EXTENT, SITES = 10.0, (20, 28, 40, 56)
LARGER_EXTENT, LARGER_SITES = 14.0, 28  # at the first spacing
NUM_CHAINS, CHUNK = 16, 250


@dataclass(frozen=True)
class Masses:
    """At one coupling, spacing and volume: from the improved and from the plain correlator, and seconds of sampling."""

    improved: Energy
    plain: Energy
    seconds: float


def masses(g: float, sites: int, extent: float, num_draws: int, seed: int = 0) -> Masses:
    """M at coupling g, m = 1, on a torus of sites^2."""
    torus = Lattice((sites, sites), extent / sites, "torus")
    ensemble = Ensemble(LatticeModes(torus, 1.0, "continuum"), torus, WickPower(4, g))
    observe = per_draw(ensemble)

    def collect(position: object) -> dict[str, dict[str, jax.Array]]:
        found = observe(position.theta, position.field)  # type: ignore[attr-defined]
        return {"observables": {name: found[name] for name in ("correlator", "improved_correlator")}}

    settings = GaussianFlow(num_chains=NUM_CHAINS, num_warmup=300, num_samples=num_draws // NUM_CHAINS)
    chains = Chains(ensemble, settings, jax.random.key(seed), collect, CHUNK)
    chains.warm_up(250)
    chains.warm_up(50)
    began = time.perf_counter()
    pieces = [chains.draw(CHUNK)["observables"] for _ in range(num_draws // NUM_CHAINS // CHUNK)]
    seconds = time.perf_counter() - began
    t = torus.spacing * np.arange(sites // 2 + 1)

    def fitted(name: str) -> Energy:
        series = np.concatenate([piece[name] for piece in pieces], axis=1)
        tau = float(np.max(gamma_method(series).tau_int))
        return fit_energy(jackknife(series, blocks_for(*series.shape[:2], tau)), t, extent)

    return Masses(fitted("improved_correlator"), fitted("correlator"), seconds)


def show(g: float, sites: int, extent: float, m: Masses) -> None:
    """One line."""
    print(
        f"{g:5.2f} {sites:6d} {extent / sites:8.4f} {extent:5.0f}   {m.improved.value:.5f} +- {m.improved.error:.5f}"
        f"   {m.plain.value:.4f} +- {m.plain.error:.4f}  {m.seconds:8.0f}",
        flush=True,
    )


def plot(limits: dict[float, tuple[float, float]], path: Path) -> None:
    """M(g)/m against the resummed curve."""
    figure = Figure(figsize=(5.6, 4.0), layout="constrained")
    axes = figure.subplots()
    g = np.linspace(0.0, LARGEST_COUPLING, 61)
    curve = np.array([mass_ratio(float(x)) for x in g])
    axes.fill_between(g, curve[:, 0] - curve[:, 1], curve[:, 0] + curve[:, 1], color="0.8", lw=0)
    axes.plot(g, curve[:, 0], "-", color="0.2", lw=1.0, label="Borel resummation, $g^8$")
    axes.plot(g, 1 - 0.75 * g**2, ":", color="0.4", lw=1.0, label="order $g^2$")
    x = np.array(sorted(limits))
    y = np.array([limits[k] for k in sorted(limits)])
    axes.errorbar(x, y[:, 0], y[:, 1], fmt="o", ms=5, capsize=3, color="#1f5fa8", label=r"sampled, $a \to 0$")
    axes.set_xlabel(r"$g = \lambda/m^2$")
    axes.set_ylabel("$M/m$")
    axes.set_ylim(0.6, 1.02)
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Run and print."""
    jax.config.update("jax_enable_x64", True)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=64_000)
    parser.add_argument("--coupling", type=float, nargs="+", default=[0.2, 0.5, 1.0])
    parser.add_argument("--figure", type=Path, help="PNG to write")
    options = parser.parse_args()
    limits = {}
    print(f"{options.draws} draws each, twice as many in the larger volume; M/m from the improved and from the plain")
    print("correlator, one standard error")
    print("    g  sites  spacing     L     improved               plain               seconds")
    for g in options.coupling:
        points = []
        for sites in SITES:
            points.append(masses(g, sites, EXTENT, options.draws))
            show(g, sites, EXTENT, points[-1])
        larger = masses(g, LARGER_SITES, LARGER_EXTENT, 2 * options.draws)  # its correlator is long and noisy
        show(g, LARGER_SITES, LARGER_EXTENT, larger)
        of_volume = points[0].improved.value - larger.improved.value
        error = np.hypot(points[0].improved.error, larger.improved.error)
        limit = extrapolate(
            EXTENT / np.array(SITES), [m.improved.value for m in points], [m.improved.error for m in points], (2.0, 4.0)
        )
        limits[g] = (limit.value, limit.error)
        exact, spread = mass_ratio(g)
        print(
            f"g = {g}: a -> 0 {limit.value:.4f} +- {limit.error:.4f} (chi^2 {limit.best.chi2:.1f} for"
            f" {limit.best.dof}); L = {EXTENT:.0f} less {LARGER_EXTENT:.0f}: {of_volume:+.4f} +- {error:.4f};"
            f" Borel {exact:.4f} +- {spread:.4f}; difference {100 * (limit.value / exact - 1):+.2f}%",
            flush=True,
        )
    if options.figure is not None:
        plot(limits, options.figure)


if __name__ == "__main__":
    main()
