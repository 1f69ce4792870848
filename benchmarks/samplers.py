"""Effective samples per second of every sampler against stock NUTS, side by side in one run.

Stock NUTS is NumPyro's with its own defaults on a model with the naive forward pass, cos(Wx + b) for every neuron and
site. The samplers take turns, a chunk of draws each, until each has had its share of time, so that a change in the
machine's speed falls on all of them alike. Compilation and warm-up are timed apart from sampling. Observables: phi^2 at
the middle of the box, the squared mean field M^2, and w^2/(1 + w^2) of the first component w of the first neuron's
momentum, a bounded function because the momentum itself has no moments on the Cauchy-cos-net. ESS by the Gamma-method.

Where stock NUTS is too slow for an ESS to be estimated, --bound gives a bound on it instead: it is warmed up by that
many transitions, in which its step size settles, and makes a few draws, of which only the time and the number of
gradients are kept. Every draw is counted as an effective one, 2 tau_int = 1, which only antithetic chains exceed.

    python benchmarks/samplers.py --targets cauchy_50,line_100 --samplers refresh,composite --seconds 20 [--json FILE]
"""

import argparse
import dataclasses
import json
import math
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from numpyro.infer import NUTS as NumpyroNUTS
from numpyro.infer.mcmc import MCMCKernel

from nnft_mcmc import HMC, NUTS, Composite, Ensemble, Lattice, PhiPower, Refresh, ScalarNet, gamma_method
from nnft_mcmc.sampling import Chains, Position, Sampler

QUARTIC = PhiPower(degree=4, coupling=0.5, quadrature="trapezoid")
TARGETS: dict[str, Ensemble] = {
    "cauchy_50": Ensemble(ScalarNet(1, 50, mass=1.0, cutoff=math.inf), Lattice((17,), 0.25), QUARTIC),
    "line_100": Ensemble(ScalarNet(1, 100, mass=1.0, cutoff=10.0, alpha=-1.0), Lattice((33,), 0.25), QUARTIC),
    "line_1000": Ensemble(ScalarNet(1, 1000, mass=1.0, cutoff=10.0, alpha=-1.0), Lattice((33,), 0.25), QUARTIC),
    "plane_1000": Ensemble(ScalarNet(2, 1000, mass=1.0, cutoff=4.0), Lattice((16, 16), 0.5), QUARTIC),
}
OBSERVABLES = ("phi2", "m2", "momentum")


@dataclass(frozen=True, kw_only=True)
class StockNUTS(NUTS):
    """NumPyro's NUTS as it comes, on the naive forward pass."""

    def kernel(self, ensemble: Ensemble) -> MCMCKernel:
        return NumpyroNUTS(naive_model(ensemble))


def naive_model(ensemble: Ensemble) -> Callable[[], None]:
    """What one writes down first: every cosine of every neuron at every site."""
    net, sites = ensemble.architecture, jnp.asarray(ensemble.lattice.sites.reshape(-1, ensemble.lattice.dim))

    def model() -> None:
        theta = {name: numpyro.sample(name, d.to_event()) for name, d in net.prior().items()}
        weights = theta["amplitudes"] * jax.vmap(net.form_factor)(theta["momenta"])
        field = weights @ jnp.cos(theta["momenta"] @ sites.T + theta["phases"][:, None])
        field = numpyro.deterministic("field", field.reshape(ensemble.lattice.shape))
        numpyro.factor("insertion", -ensemble.action(field))

    return model


SAMPLERS: dict[str, Sampler] = {
    "refresh": Refresh(num_warmup=200),
    "composite": Composite(num_warmup=200),
    "hmc": HMC(num_warmup=100, num_steps=50),
    "nuts": NUTS(num_warmup=100),
    "stock_nuts": StockNUTS(num_warmup=100),
}
CHUNK = {"refresh": 100, "composite": 100, "hmc": 5, "nuts": 2, "stock_nuts": 2}


class Contestant:
    """A sampler with its clocks; warm-up as long as the sampler has it, or `num_warmup` transitions."""

    def __init__(self, name: str, ensemble: Ensemble, num_warmup: int | None = None) -> None:
        self.name = name
        sampler = SAMPLERS[name] if num_warmup is None else dataclasses.replace(SAMPLERS[name], num_warmup=num_warmup)
        centre = ensemble.lattice.centre

        def observe(position: Position) -> dict[str, dict[str, jax.Array]]:
            w2 = position.theta["momenta"][0, 0] ** 2
            kept = {"phi2": position.field[centre] ** 2, "m2": position.field.mean() ** 2, "momentum": w2 / (1 + w2)}
            return {"observables": kept}

        began = time.perf_counter()
        self.chains = Chains(ensemble, sampler, jax.random.key(0), observe, CHUNK[name])
        self.chains.warm_up(0)
        self.compilation = time.perf_counter() - began
        began = time.perf_counter()
        self.chains.warm_up(sampler.num_warmup)
        self.warmup = time.perf_counter() - began
        self.seconds, self.chunks = 0.0, []

    def turn(self) -> None:
        """One chunk of draws."""
        began = time.perf_counter()
        self.chunks.append(self.chains.draw(CHUNK[self.name]))
        self.seconds += time.perf_counter() - began

    def row(self) -> dict[str, float | str]:
        """The figures."""
        series = {name: np.concatenate([c["observables"][name] for c in self.chunks], axis=1) for name in OBSERVABLES}
        statistics = [chunk["sample_stats"] for chunk in self.chunks]
        estimates = {name: gamma_method(values) for name, values in series.items()}
        phi2 = estimates["phi2"]
        return {
            "sampler": self.name,
            "draws": phi2.num_draws,
            "phi2_value": float(phi2.value),
            "phi2_error": float(phi2.error),
            "tau_int": float(phi2.tau_int),
            "acceptance": float(np.mean([s["acceptance_rate"].mean() for s in statistics])),
            "divergences": int(sum(s["diverging"].sum() for s in statistics if "diverging" in s)),
            "compilation_s": self.compilation,
            "warmup_s": self.warmup,
            "sampling_s": self.seconds,
            **{name: float(estimate.ess) / self.seconds for name, estimate in estimates.items()},
        }


def bound(target: str, num_warmup: int) -> None:
    """Draws per second of stock NUTS, an upper bound on its effective draws, after a warm-up of `num_warmup`."""
    stock = Contestant("stock_nuts", TARGETS[target], num_warmup)
    for _ in range(3):
        stock.turn()
    statistics = [chunk["sample_stats"] for chunk in stock.chunks]
    steps = np.concatenate([s["n_steps"] for s in statistics], axis=1)
    # Chains wait for the longest tree among them.
    gradients = steps.max(axis=0).sum()
    print(
        f"stock_nuts after {num_warmup} transitions of warm-up ({stock.warmup:.0f} s): {steps.size} draws in"
        f" {stock.seconds:.1f} s, {steps.mean():.0f} gradients each, step size"
        f" {np.median(statistics[-1]['step_size']):.2g}, acceptance"
        f" {np.mean([s['acceptance_rate'].mean() for s in statistics]):.2f},"
        f" {1e3 * stock.seconds / gradients:.1f} ms for a gradient of all chains;"
        f" at most {steps.size / stock.seconds:.3g} ESS/s",
        flush=True,
    )


def race(target: str, samplers: list[str], seconds: float) -> list[dict[str, float | str]]:
    """All samplers on one target, in turns."""
    contestants = [Contestant(name, TARGETS[target]) for name in samplers]
    while any(c.seconds < seconds for c in contestants):
        min(contestants, key=lambda c: c.seconds).turn()
    return [contestant.row() for contestant in contestants]


def report(target: str, rows: list[dict[str, float | str]]) -> None:
    """The table."""
    stock = next((row for row in rows if row["sampler"] == "stock_nuts"), None)
    net, lattice = TARGETS[target].architecture, TARGETS[target].lattice
    print(f"\n{target}: {net}, {lattice}; {platform.machine()}, {jax.devices()[0].device_kind}")
    print(
        f"{'sampler':10} {'draws':>8} {'phi2_mid':>18} {'tau_int':>8} {'accept':>7} {'diverging':>9} {'compile s':>9}"
        f" {'warm-up s':>9} " + " ".join(f"{name + ' ESS/s':>14} {'ratio':>8}" for name in OBSERVABLES)
    )
    for row in rows:
        ratios = [row[name] / stock[name] if stock is not None else math.nan for name in OBSERVABLES]
        print(
            f"{row['sampler']:10} {row['draws']:8d} {row['phi2_value']:9.5f} ± {row['phi2_error']:.5f}"
            f" {row['tau_int']:8.2f} {row['acceptance']:7.3f} {row['divergences']:9d} {row['compilation_s']:9.1f}"
            f" {row['warmup_s']:9.1f} "
            + " ".join(f"{row[n]:14.3g} {ratio:8.3g}" for n, ratio in zip(OBSERVABLES, ratios, strict=True)),
            flush=True,
        )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", default=",".join(TARGETS), help="names separated by commas")
    parser.add_argument("--samplers", default=",".join(SAMPLERS), help="names separated by commas")
    parser.add_argument("--seconds", type=float, default=20.0, help="sampling time of each sampler on each target")
    parser.add_argument("--bound", type=int, metavar="TRANSITIONS", help="a bound on stock NUTS after that warm-up")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    results = {}
    for target in options.targets.split(","):
        results[target] = race(target, options.samplers.split(","), options.seconds)
        report(target, results[target])
        if options.bound is not None:
            bound(target, options.bound)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
