"""Effective samples per second of every sampler on the main job, side by side in one run.

The target is the Cauchy-cos-net of configs/phi4_1d.toml; the observable is phi^2 at the middle of the box, its ESS from
the Gamma-method. Compilation and warm-up are timed apart from sampling. Stock NUTS is the yardstick: NumPyro's NUTS on
the same model with the same forward pass. The samplers take turns, a chunk of draws each, until each has had its share
of time, so that a change in the machine's speed falls on all of them alike.

    python benchmarks/samplers.py --width 50 --seconds 20 [--json FILE]
"""

import argparse
import json
import math
import platform
import time
from pathlib import Path

import jax
import numpy as np

from nnft_mcmc import HMC, NUTS, Composite, Ensemble, Lattice, PhiPower, Refresh, ScalarNet, gamma_method
from nnft_mcmc.sampling import Chains, Position, Sampler

SAMPLERS: dict[str, Sampler] = {
    "refresh": Refresh(num_warmup=100),
    "composite": Composite(num_warmup=200),
    "hmc": HMC(num_warmup=100, num_steps=100),
    "nuts": NUTS(num_warmup=100),
}
CHUNK = {"refresh": 200, "composite": 100, "hmc": 5, "nuts": 2}


class Contestant:
    """A sampler with its clocks."""

    def __init__(self, name: str, ensemble: Ensemble) -> None:
        self.name = name
        centre = ensemble.lattice.centre

        def middle(position: Position) -> dict[str, dict[str, jax.Array]]:
            return {"observables": {"phi2": position.field[centre] ** 2}}

        began = time.perf_counter()
        self.chains = Chains(ensemble, SAMPLERS[name], jax.random.key(0), middle, CHUNK[name])
        self.chains.warm_up(1)
        jax.block_until_ready(self.chains.state)
        self.compilation = time.perf_counter() - began
        began = time.perf_counter()
        self.chains.warm_up(SAMPLERS[name].num_warmup - 1)
        jax.block_until_ready(self.chains.state)
        self.warmup = time.perf_counter() - began
        self.seconds, self.phi2, self.divergences, self.acceptance = 0.0, [], 0, []

    def turn(self) -> None:
        """One chunk of draws."""
        began = time.perf_counter()
        chunk = self.chains.draw(CHUNK[self.name])
        self.seconds += time.perf_counter() - began
        self.phi2.append(chunk["observables"]["phi2"])
        self.acceptance.append(chunk["sample_stats"]["acceptance_rate"].mean())
        self.divergences += int(chunk["sample_stats"].get("diverging", np.zeros(1)).sum())

    def row(self) -> dict[str, float | str]:
        """The figures."""
        estimate = gamma_method(np.concatenate(self.phi2, axis=1))
        return {
            "sampler": self.name,
            "draws": estimate.num_draws,
            "phi2_mid": float(estimate.value),
            "error": float(estimate.error),
            "tau_int": float(estimate.tau_int),
            "acceptance": float(np.mean(self.acceptance)),
            "divergences": self.divergences,
            "compilation_s": self.compilation,
            "warmup_s": self.warmup,
            "sampling_s": self.seconds,
            "ess_per_s": float(estimate.ess) / self.seconds,
        }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20.0, help="sampling time of each sampler")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    lattice, insertion = Lattice((17,), 0.25), PhiPower(degree=4, coupling=0.5, quadrature="trapezoid")
    ensemble = Ensemble(ScalarNet(1, options.width, mass=1.0, cutoff=math.inf), lattice, insertion)
    contestants = [Contestant(name, ensemble) for name in SAMPLERS]
    while any(c.seconds < options.seconds for c in contestants):
        least = min(contestants, key=lambda c: c.seconds)
        least.turn()
    rows = [contestant.row() for contestant in contestants]
    stock = next(row for row in rows if row["sampler"] == "nuts")["ess_per_s"]
    print(
        f"Cauchy-cos-net, width {options.width}, 17 sites, 4 chains;"
        f" {platform.machine()}, {jax.devices()[0].device_kind}"
    )
    print(
        f"{'sampler':10} {'draws':>8} {'phi2_mid':>18} {'tau_int':>8} {'accept':>7} {'diverging':>9} "
        f"{'compile s':>9} {'warm-up s':>9} {'ESS/s':>9} {'vs NUTS':>8}"
    )
    for row in rows:
        print(
            f"{row['sampler']:10} {row['draws']:8d} {row['phi2_mid']:9.5f} ± {row['error']:.5f} {row['tau_int']:8.2f} "
            f"{row['acceptance']:7.3f} {row['divergences']:9d} {row['compilation_s']:9.1f} {row['warmup_s']:9.1f} "
            f"{row['ess_per_s']:9.3g} {row['ess_per_s'] / stock:8.3g}"
        )
    if options.json:
        options.json.write_text(json.dumps({"width": options.width, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
