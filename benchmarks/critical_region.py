"""Effective samples of M^2 per second against the coupling, from the symmetric phase through the critical region into
the broken phase.

Two theories, M the mean of the field:
  line    Cauchy-cos-net of width 50 in a box of length 8, d = 1, V = phi^4/2 - g phi^2: a double well, in whose broken
          phase kinks are rare;
  plane   lattice modes on a torus of 16 x 16, m^2 = 1, V = phi^4/4 - g phi^2, critical near g = 1.14 in infinite volume
          (W. Loinaz and R. S. Willey, Phys. Rev. D 58 (1998) 076003: mu^2 = 1 - 2 g = -1.27).

Samplers: neuron refresh; composite without its collective moves, that is without the sign of the field and rigid
motions; composite; replica exchange over composite. Time is the time of the processor, so that other programs on the
machine matter little. Samplers take turns. The ESS is that of the Gamma-method over 4 chains with their common mean; a
run of fewer than 50 tau_int per chain is marked with ?, because its tau_int is not known; so is one whose <M^2> is more
than 2.5 errors from that of replica exchange, because it has missed a part of the density, rare kinks for instance.

    python benchmarks/critical_region.py [--seconds 10] [--quick] [--theory line] [--coupling 3.5]
        [--figure docs/images/critical_region.png]
"""

import argparse
import math
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import matplotlib
import matplotlib.pyplot as plt
import numpy as np

from nnft_mcmc import (
    Composite,
    Ensemble,
    Lattice,
    LatticeModes,
    Polynomial,
    Refresh,
    ScalarNet,
    Tempering,
    gamma_method,
)
from nnft_mcmc.sampling import Chains, Position, Sampler
from nnft_mcmc.sampling.composite import CompositeMove

LEAST_LENGTH = 50  # draws of a chain in units of tau_int
MISSED = 2.5  # errors of <M^2> from that of replica exchange


@dataclass(frozen=True, kw_only=True)
class Local(Composite):
    """Composite without the sign of the field and without rigid motions."""

    def move(self, ensemble: Ensemble) -> CompositeMove:
        move = Composite.move(self, ensemble)
        move.motion = move.flip = None
        return move


@dataclass(frozen=True)
class Theory:
    """An ensemble for each coupling, the couplings, and the samplers that can do it."""

    title: str
    ensemble: Callable[[float], Ensemble]
    couplings: tuple[float, ...]
    samplers: dict[str, Sampler]


def line(g: float) -> Ensemble:
    """The double well."""
    potential = Polynomial([0.0, 0.0, -g, 0.0, 0.5], "trapezoid")
    return Ensemble(ScalarNet(1, 50, 1.0, math.inf), Lattice((33,), 0.25), potential)


def plane(g: float) -> Ensemble:
    """The lattice theory."""
    lattice = Lattice((16, 16), 1.0, "torus")
    return Ensemble(LatticeModes(lattice, 1.0), lattice, Polynomial([0.0, 0.0, -g, 0.0, 0.25]))


LOCAL, COLLECTIVE, EXCHANGE = "composite, local moves", "composite", "tempering"
THEORIES = {
    "line": Theory(
        r"line, N = 50: $V = \phi^4/2 - g\phi^2$, box of 8",
        line,
        (0.0, 1.0, 2.0, 2.5, 3.0, 3.5),
        {
            "refresh": Refresh(num_warmup=300),
            LOCAL: Local(num_warmup=300),
            COLLECTIVE: Composite(num_warmup=300),
            EXCHANGE: Tempering(num_warmup=248, num_replicas=10),
        },
    ),
    "plane": Theory(
        r"plane, 16 x 16 modes: $V = \phi^4/4 - g\phi^2$",
        plane,
        (0.8, 1.0, 1.1, 1.2, 1.4),
        {
            LOCAL: Local(num_warmup=300),
            COLLECTIVE: Composite(num_warmup=300),
            EXCHANGE: Tempering(num_warmup=248, num_replicas=10),
        },
    ),
}
CHUNK = {"refresh": 100, LOCAL: 50, COLLECTIVE: 50, EXCHANGE: 10}


class Contestant:
    """A sampler at one coupling, with its clock."""

    def __init__(self, name: str, sampler: Sampler, ensemble: Ensemble) -> None:
        self.name = name

        def square(position: Position) -> dict[str, dict[str, jax.Array]]:
            return {"observables": {"m2": position.field.mean() ** 2}}

        self.chains = Chains(ensemble, sampler, jax.random.key(0), square, CHUNK[name])
        self.chains.warm_up(sampler.num_warmup)
        jax.block_until_ready(self.chains.state)
        self.seconds, self.m2 = 0.0, []

    def turn(self) -> None:
        """One chunk of draws."""
        began = time.process_time()
        self.m2.append(self.chains.draw(CHUNK[self.name])["observables"]["m2"])
        self.seconds += time.process_time() - began

    def figures(self) -> tuple[float, float, float, float, bool]:
        """<M^2>, its error, tau_int, ESS per second, and whether the run is long enough."""
        series = np.concatenate(self.m2, axis=1)
        e = gamma_method(series)
        known = series.shape[1] >= LEAST_LENGTH * float(e.tau_int)
        return float(e.value), float(e.error), float(e.tau_int), float(e.ess) / self.seconds, known


def contest(ensemble: Ensemble, samplers: dict[str, Sampler], seconds: float) -> list[Contestant]:
    """All samplers on one ensemble, in turns."""
    contestants = [Contestant(name, sampler, ensemble) for name, sampler in samplers.items()]
    while any(c.seconds < seconds for c in contestants):
        min(contestants, key=lambda c: c.seconds).turn()
    return contestants


def draw_figure(results: dict[str, dict[str, list[tuple[float, float, bool]]]], path: Path) -> None:
    """ESS per second against g; open markers where tau_int is not known."""
    matplotlib.use("Agg")
    figure, axes = plt.subplots(1, len(results), figsize=(4.8 * len(results), 3.8), layout="constrained", squeeze=False)
    colours = {"refresh": "#777777", LOCAL: "#c4622d", COLLECTIVE: "#1f5fa8", EXCHANGE: "#2c8a4b"}
    markers = {"refresh": "s", LOCAL: "v", COLLECTIVE: "o", EXCHANGE: "D"}
    for axis, (name, by_sampler) in zip(axes[0], results.items(), strict=True):
        for sampler, points in by_sampler.items():
            g, speed, known = (np.array(column) for column in zip(*points, strict=True))
            axis.plot(g, speed, "-", lw=1, color=colours[sampler])
            for where, face in ((known, colours[sampler]), (~known, "white")):
                axis.plot(
                    g[where], speed[where], markers[sampler], ms=5, color=colours[sampler], mfc=face, linestyle="none"
                )
            axis.plot([], [], f"{markers[sampler]}-", ms=5, lw=1, color=colours[sampler], label=sampler)
        axis.set_yscale("log")
        axis.set_title(THEORIES[name].title, fontsize=10)
        axis.set_xlabel("$g$")
    axes[0][0].set_ylabel("effective samples of $M^2$ per second")
    axes[0][0].legend(frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Run, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="processor time of each sampler at each coupling")
    parser.add_argument("--theory", choices=THEORIES, help="this one only")
    parser.add_argument("--coupling", type=float, help="this one only")
    parser.add_argument("--quick", action="store_true", help="one coupling of the plane, 1 s each")
    parser.add_argument("--figure", type=Path, help="PNG file to write")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    print(f"4 chains; {platform.machine()}, {jax.devices()[0].device_kind}; ESS per second of processor time")
    print(f"{'theory':7} {'g':>5} {'sampler':24} {'<M^2>':>20} {'tau_int':>9} {'ESS/s':>10}")
    results: dict[str, dict[str, list[tuple[float, float, bool]]]] = {}
    if options.quick:
        options.theory, options.coupling, options.seconds = "plane", 1.1, 1.0
    for name in THEORIES if options.theory is None else (options.theory,):
        theory = THEORIES[name]
        for g in theory.couplings if options.coupling is None else (options.coupling,):
            contestants = contest(theory.ensemble(g), theory.samplers, options.seconds)
            right, its_error, *_ = next(c for c in contestants if c.name == EXCHANGE).figures()
            for c in contestants:
                value, error, tau, speed, long_enough = c.figures()
                known = long_enough and abs(value - right) <= MISSED * math.hypot(error, its_error)
                mark = "" if known else " ?"
                print(
                    f"{name:7} {g:5.2f} {c.name:24} {value:10.5f} ± {error:.5f} {tau:9.2f} {speed:10.3g}{mark}",
                    flush=True,
                )
                results.setdefault(name, {}).setdefault(c.name, []).append((g, speed, known))
            if options.figure:
                draw_figure(results, options.figure)


if __name__ == "__main__":
    main()
