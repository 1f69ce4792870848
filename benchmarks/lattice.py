"""Autocorrelation of M and M^2 and the cost of an independent M^2 for samplers of lattice phi^4, d = 2.

M is the mean of the field. Systems: the ensembles E1 to E5 of arXiv:1904.12072 (albergo, m2 = -4, m_p L = 4), and the
critical point mu2_c = -1.27251 at lam = 1 of arXiv:0902.0045 (schaich_loinaz) at L = 8, 16, 32, 64.

Samplers of the site field:
  hmc            leapfrog trajectories, for each system the number of steps with the least cost out of 5, 10, 20, 40
  gaussian_flow  Fourier-accelerated HMC, its length tuned in warm-up
  cluster        sign clusters and a trajectory of gaussian_flow
  composite      gaussian_flow and a random sign of the field
and those of networks, on the same theory as a network of V neurons, one for each plane wave of the torus:
  modes, flow    gaussian_flow in the output weights
  modes, refresh neurons redrawn from the prior one by one or in blocks

Costs are times of the processor, so that other programs on the machine matter little; tau_int counts transitions, 1/2
included. A run goes on until its chains are 50 tau_int(M^2) long, for PATIENCE times --seconds at the most. A series
that is still shorter has no known tau_int: its row gives its length and what its tau_int is at least. The dynamical
exponents z of tau_int(M^2) ~ L^z and z_cost of the cost per site ~ L^z are fitted, with errors, where three sizes or
more are known.

    python benchmarks/lattice.py [--seconds 20] [--only critical] [--samplers "hmc; cluster"] [--quick] [--figure FILE]
"""

import argparse
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from matplotlib.figure import Figure

from nnft_mcmc import (
    HMC,
    Cluster,
    Composite,
    Ensemble,
    GaussianFlow,
    Lattice,
    LatticeModes,
    LatticePhi4,
    Polynomial,
    Refresh,
    SiteField,
    gamma_method,
)
from nnft_mcmc.architectures import PlaneWaves
from nnft_mcmc.architectures._base import Theta, Waves
from nnft_mcmc.sampling import Chains, Position, Sampler

E_SERIES = {"E1": (6, 6.975), "E2": (8, 6.008), "E3": (10, 5.550), "E4": (12, 5.276), "E5": (14, 5.113)}
CRITICAL = (8, 16, 32, 64)
STEPS = (5, 10, 20, 40)
LEAST_LENGTH = 50  # draws of a chain in units of tau_int
CHAINS, WARMUP, CHUNK = 4, 300, 100
PATIENCE = 8
SAMPLERS = ("hmc", "gaussian_flow", "cluster", "composite", "modes, flow", "modes, refresh")
LARGEST_FOR_REFRESH = 16  # a sweep evaluates V waves at V sites


class WavesOfTorus(PlaneWaves):
    """phi(x) = sum_p a_p (lambda_p/V)^1/2 [cos p.x + sin p.x], a neuron for each p: the field of LatticeModes.

    Its neurons are not identical: `modes` is the number of each one's p.
    """

    dim: int = eqx.field(static=True)
    width: int = eqx.field(static=True)
    lattice: Lattice = eqx.field(static=True)
    mass: float = eqx.field(static=True)

    def prior(self) -> dict[str, dist.Distribution]:
        modes = dist.Delta(jnp.arange(self.width, dtype=float))
        return {"amplitudes": dist.Normal(0.0, 1.0).expand((self.width,)), "modes": modes}

    def waves(self, theta: Theta) -> Waves:
        spectrum = LatticeModes(self.lattice, self.mass).spectrum().reshape(-1)
        k = np.stack(np.unravel_index(np.arange(self.width), self.lattice.shape), axis=-1)
        momenta = jnp.asarray(2 * np.pi * k / np.array(self.lattice.shape))
        which = theta["modes"].astype(int)
        size = theta["amplitudes"] * jnp.sqrt(jnp.asarray(spectrum) / self.width)[which]
        return Waves(momenta[which], size, size)

    def feature(self, theta_i: Theta, x: jax.Array) -> jax.Array:
        one = {"amplitudes": jnp.ones((1,)), "modes": theta_i["modes"][None]}
        w, c, s = self.waves(one)
        return c[0] * jnp.cos(jnp.dot(w[0], x)) + s[0] * jnp.sin(jnp.dot(w[0], x))


@dataclass(frozen=True)
class System:
    """A theory on an L x L torus."""

    name: str
    size: int
    insertion: LatticePhi4

    @property
    def lattice(self) -> Lattice:
        return Lattice((self.size, self.size), 1.0, "torus")

    @property
    def mass(self) -> float:
        return 4.0 / self.size

    @property
    def sites(self) -> Ensemble:
        return Ensemble(SiteField(self.lattice, self.mass), self.lattice, self.insertion)

    @property
    def modes(self) -> Ensemble:
        return Ensemble(LatticeModes(self.lattice, self.mass), self.lattice, self.insertion)

    @property
    def network(self) -> Ensemble:
        """The same density: on the sites of a box, since networks are not periodic by nature, and these waves are."""
        potential = self.sites.local_action.coefficients.reshape(-1, self.size**2)[:, 0]
        net = WavesOfTorus(2, self.size**2, self.lattice, self.mass)
        return Ensemble(net, Lattice((self.size, self.size), 1.0), Polynomial([0.0, *potential[1:]]))


@dataclass(frozen=True)
class Result:
    """tau_int of M and M^2 in transitions, processor seconds of a transition of one chain, and a chain's length."""

    tau_m: float
    tau_m2: float
    error: float
    seconds: float
    length: int

    @property
    def known(self) -> bool:
        """Whether the chains are long enough for their tau_int to be known."""
        return self.length > LEAST_LENGTH * self.tau_m2

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


def measured(ensemble: Ensemble, sampler: Sampler, seconds: float, patience: int = PATIENCE) -> Result:
    """A run of so many processor seconds after warm-up, and of up to `patience` times as many if it is too short."""
    chains = Chains(ensemble, sampler, jax.random.key(ensemble.lattice.num_sites), magnetization, CHUNK)
    chains.warm_up(WARMUP)
    chains.draw(CHUNK)
    series: list[np.ndarray] = []
    began = time.process_time()
    for _ in range(patience):
        stage = time.process_time()
        while not series or time.process_time() - stage < seconds:
            series.append(chains.draw(CHUNK)["observables"]["m"])
        found = result(np.concatenate(series, axis=1), time.process_time() - began)
        if found.known:
            break
    return found


def result(m: np.ndarray, spent: float) -> Result:
    """Of a series of M (chain, draw)."""
    square = gamma_method(m**2)
    of_m = float(gamma_method(m).tau_int)
    return Result(of_m, float(square.tau_int), float(square.tau_int_error), spent / m.size, m.shape[1])


def tuned_hmc(system: System, seconds: float) -> tuple[int, Result]:
    """The number of steps with the least cost of M^2, and its result."""
    settings = {n: HMC(num_chains=CHAINS, num_warmup=WARMUP, num_samples=1, num_steps=n) for n in STEPS}
    tried = {n: measured(system.sites, sampler, seconds / 4, 1) for n, sampler in settings.items()}
    best = min(tried, key=lambda n: tried[n].cost)
    return best, measured(system.sites, settings[best], seconds)


def exponent(sizes: list[int], values: list[float], relative: list[float]) -> str:
    """z of values ~ L^z by weighted least squares of the logarithms; the error is scaled up where no power fits."""
    if len(sizes) < 3:
        return f"cannot tell from {len(sizes)} size{'' if len(sizes) == 1 else 's'}"
    x, y, weight = np.log(sizes), np.log(values), np.array(relative) ** -2
    x = x - weight @ x / weight.sum()
    z = weight * x @ y / (weight @ x**2)
    chi2 = weight @ (y - weight @ y / weight.sum() - z * x) ** 2
    error = (weight @ x**2) ** -0.5 * max(1.0, chi2 / (len(sizes) - 2)) ** 0.5
    return f"{z:.2f} +- {error:.2f}"


def rows(system: System, seconds: float, chosen: Sequence[str]) -> Iterator[tuple[str, Result]]:
    """The chosen samplers by name, each when it is done."""
    common = {"num_chains": CHAINS, "num_warmup": WARMUP, "num_samples": 1}
    if "hmc" in chosen:
        steps, hmc = tuned_hmc(system, seconds)
        yield f"hmc ({steps} steps)", hmc
    others: dict[str, tuple[Ensemble, Sampler]] = {
        "gaussian_flow": (system.sites, GaussianFlow(**common)),
        "cluster": (system.sites, Cluster(**common)),
        "composite": (system.sites, Composite(**common)),
        "modes, flow": (system.modes, GaussianFlow(**common)),
        "modes, refresh": (system.network, Refresh(**common)),
    }
    for name, (ensemble, sampler) in others.items():
        if name in chosen and (name != "modes, refresh" or system.size <= LARGEST_FOR_REFRESH):
            yield name, measured(ensemble, sampler, seconds)


def in_words(r: Result) -> str:
    """A row of the table."""
    if not r.known:
        least = r.length / LEAST_LENGTH
        return (
            f"tau_int(M^2) unknown: above {least:.0f}, {r.length} draws of a chain; {1e6 * r.seconds:.0f} us/transition"
        )
    return f"{r.tau_m:>11.2f} {r.tau_m2:>8.2f} +- {r.error:<4.2f} {1e6 * r.seconds:>13.0f} {r.cost:>14.2f}"


def draw(results: dict[str, dict[int, Result]], path: Path) -> None:
    """tau_int and cost at the critical point against L."""
    figure = Figure(figsize=(9.0, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, by_size in results.items():
        sizes = sorted(size for size in by_size if by_size[size].known)
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
    parser.add_argument("--samplers", default="; ".join(SAMPLERS), metavar="A; B", help="all unless given")
    parser.add_argument("--quick", action="store_true", help="two small systems, one second each")
    parser.add_argument("--figure", type=Path, help="PNG to write")
    options = parser.parse_args()
    seconds = 1.0 if options.quick else options.seconds
    jax.config.update("jax_enable_x64", True)
    print(f"{platform.machine()}, jax {jax.__version__}, {CHAINS} chains, {seconds:g} processor seconds a run\n")
    headers = f"{'tau_int(M)':>11} {'tau_int(M^2)':>16} {'us/transition':>14} {'ms/indep. M^2':>14}"
    print(f"{'system':<15} {'sampler':<15} {headers}")
    critical: dict[str, dict[int, Result]] = {}
    for system in [s for s in systems(options.quick) if s.name.startswith(options.only)]:
        for name, r in rows(system, seconds, options.samplers.split("; ")):
            print(f"{system.name:<15} {name:<15} {in_words(r)}", flush=True)
            if system.name.startswith("critical"):
                critical.setdefault(name.partition(" (")[0], {})[system.size] = r
    if options.quick or not critical:
        return
    print("\nexponents at the critical point, of the sizes that are known")
    for name, by_size in critical.items():
        sizes = sorted(size for size in by_size if by_size[size].known)
        relative = [by_size[s].error / by_size[s].tau_m2 for s in sizes]
        z = exponent(sizes, [by_size[s].tau_m2 for s in sizes], relative)
        z_cost = exponent(sizes, [by_size[s].cost / s**2 for s in sizes], relative)
        print(f"{name:<15} L = {', '.join(map(str, sizes)):<14} z {z};   z_cost {z_cost}")
    if options.figure:
        draw(critical, options.figure)


if __name__ == "__main__":
    main()
