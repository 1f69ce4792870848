"""Autocorrelation of M and M^2 and the cost of an independent M^2 for samplers of lattice phi^4, d = 2.

M is the mean of the field. Systems: the ensembles E1 to E5 of arXiv:1904.12072 (albergo, m2 = -4, m_p L = 4), and the
critical point mu2_c = -1.27251 at lam = 1 of arXiv:0902.0045 (schaich_loinaz) at L = 8, 16, 32, 64.

Samplers, all on the site field:
  hmc            leapfrog trajectories, for each system the number of steps with the least cost out of 5, 10, 20, 40
  gaussian_flow  Fourier-accelerated HMC, its length tuned in warm-up
  cluster        sign clusters and a trajectory of gaussian_flow
  composite      gaussian_flow and a random sign of the field

Costs are times of the processor, so that other programs on the machine matter little; tau_int counts transitions, 1/2
included. A series of fewer than 50 tau_int per chain is marked with ?. The dynamical exponents z of tau_int(M^2) ~ L^z
and z_cost of the cost per site ~ L^z are fitted to L = 8 .. 64.

    python benchmarks/lattice.py [--seconds 20] [--only critical] [--quick] [--figure FILE]
"""

import argparse
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from matplotlib.figure import Figure

from nnft_mcmc import HMC, Cluster, Composite, Ensemble, GaussianFlow, Lattice, LatticePhi4, SiteField, gamma_method
from nnft_mcmc.sampling import Chains, Position, Sampler

E_SERIES = {"E1": (6, 6.975), "E2": (8, 6.008), "E3": (10, 5.550), "E4": (12, 5.276), "E5": (14, 5.113)}
CRITICAL = (8, 16, 32, 64)
STEPS = (5, 10, 20, 40)
LEAST_LENGTH = 50  # draws of a chain in units of tau_int
CHAINS, WARMUP, CHUNK = 4, 300, 100


@dataclass(frozen=True)
class System:
    """A theory on an L x L torus."""

    name: str
    size: int
    insertion: LatticePhi4

    @property
    def ensemble(self) -> Ensemble:
        lattice = Lattice((self.size, self.size), 1.0, "torus")
        return Ensemble(SiteField(lattice, 4.0 / self.size), lattice, self.insertion)


@dataclass(frozen=True)
class Result:
    """tau_int of M and M^2 in transitions, and processor seconds of a transition of one chain."""

    tau_m: float
    tau_m2: float
    error: float
    seconds: float
    known: bool

    @property
    def cost(self) -> float:
        """Processor milliseconds of one independent M^2."""
        return 1e3 * 2 * self.tau_m2 * self.seconds


def systems(quick: bool) -> list[System]:
    """E1 to E5, then the critical point at growing L."""
    series = [System(n, size, LatticePhi4("albergo", m2=-4.0, lam=lam)) for n, (size, lam) in E_SERIES.items()]
    point = LatticePhi4("schaich_loinaz", mu2=-1.27251, lam=1.0)
    critical = [System(f"critical L={size}", size, point) for size in CRITICAL]
    return [series[0], critical[0]] if quick else [*series, *critical]


def magnetization(position: Position) -> dict[str, dict[str, jax.Array]]:
    """What is kept of a draw."""
    return {"observables": {"m": position.field.mean()}}


def measured(system: System, sampler: Sampler, seconds: float) -> Result:
    """A run of so many processor seconds after warm-up."""
    chains = Chains(system.ensemble, sampler, jax.random.key(system.size), magnetization, CHUNK)
    chains.warm_up(WARMUP)
    series, began = [chains.draw(CHUNK)["observables"]["m"]], time.process_time()
    while time.process_time() - began < seconds:
        series.append(chains.draw(CHUNK)["observables"]["m"])
    spent = time.process_time() - began
    m = np.concatenate(series[1:], axis=1)
    tau_m, square = gamma_method(m).tau_int, gamma_method(m**2)
    known = m.shape[1] > LEAST_LENGTH * square.tau_int
    transition = spent / m.size
    return Result(float(tau_m), float(square.tau_int), float(square.tau_int_error), transition, bool(known))


def tuned_hmc(system: System, seconds: float) -> tuple[int, Result]:
    """The number of steps with the least cost of M^2, and its result."""
    settings = {n: HMC(num_chains=CHAINS, num_warmup=WARMUP, num_samples=1, num_steps=n) for n in STEPS}
    tried = {n: measured(system, sampler, seconds / 4) for n, sampler in settings.items()}
    best = min(tried, key=lambda n: tried[n].cost)
    return best, measured(system, settings[best], seconds)


def exponent(sizes: list[int], values: list[float]) -> float:
    """z of values ~ L^z by least squares of the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def draw(results: dict[str, dict[int, Result]], path: Path) -> None:
    """tau_int and cost at the critical point against L."""
    figure = Figure(figsize=(9.0, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, by_size in results.items():
        sizes = sorted(by_size)
        tau, error = ([getattr(by_size[s], key) for s in sizes] for key in ("tau_m2", "error"))
        left.errorbar(sizes, tau, error, fmt="o-", ms=4, capsize=2, label=name)
        right.plot(sizes, [by_size[s].cost for s in sizes], "o-", ms=4, label=name)
    for axes, label in ((left, r"$\tau_\mathrm{int}(M^2)$  (transitions)"), (right, r"ms per independent $M^2$")):
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(CRITICAL, [str(size) for size in CRITICAL])
        axes.set_xlabel("$L$")
        axes.set_ylabel(label)
    left.legend(frameon=False)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="processor seconds of each run (default 20)")
    parser.add_argument("--only", default="", metavar="NAME", help="systems whose name begins so: E, E5, critical")
    parser.add_argument("--quick", action="store_true", help="two small systems, one second each")
    parser.add_argument("--figure", type=Path, help="PNG to write")
    options = parser.parse_args()
    seconds = 1.0 if options.quick else options.seconds
    jax.config.update("jax_enable_x64", True)
    print(f"{platform.machine()}, jax {jax.__version__}, {CHAINS} chains, {seconds:g} processor seconds a run\n")
    headers = f"{'tau_int(M)':>11} {'tau_int(M^2)':>15} {'us/transition':>14} {'ms/indep. M^2':>14}"
    print(f"{'system':<15} {'sampler':<14} {headers}")
    common = {"num_chains": CHAINS, "num_warmup": WARMUP, "num_samples": 1}
    samplers = {"gaussian_flow": GaussianFlow(**common), "cluster": Cluster(**common), "composite": Composite(**common)}
    critical: dict[str, dict[int, Result]] = {}
    for system in [s for s in systems(options.quick) if s.name.startswith(options.only)]:
        steps, hmc = tuned_hmc(system, seconds)
        found = {f"hmc ({steps} steps)": hmc, **{n: measured(system, s, seconds) for n, s in samplers.items()}}
        for name, r in found.items():
            mark = " " if r.known else "?"
            print(
                f"{system.name:<15} {name:<14} {r.tau_m:>11.2f} {r.tau_m2:>8.2f} ± {r.error:<4.2f}{mark}"
                f" {1e6 * r.seconds:>13.0f} {r.cost:>14.2f}",
                flush=True,
            )
            if system.name.startswith("critical"):
                critical.setdefault(name.partition(" ")[0], {})[system.size] = r
    if options.quick or not critical:
        return
    print("\nexponents at the critical point, L = 8 .. 64")
    for name, by_size in critical.items():
        sizes = sorted(by_size)
        z = exponent(sizes, [by_size[s].tau_m2 for s in sizes])
        z_cost = exponent(sizes, [by_size[s].cost / s**2 for s in sizes])
        print(f"{name:<15} z = {z:.2f}   z_cost = {z_cost:.2f}")
    if options.figure:
        draw(critical, options.figure)


if __name__ == "__main__":
    main()
