"""The certificate of `nnft diagnose`: what it costs, and which wrong coupling it shows.

Cost: CPU time of a draw with its identities over that without, by turns, medians; the draws of a chain are made as
`nnft sample` makes them. Power: the error of the coupling that the identities read off, at 1e5 effective draws, beside
the Cramer-Rao bound 1/(std(S) sqrt(1e5)), which no test can beat; and the deviation that is noticed with probability
0.95.

    python benchmarks/certificate.py [--part cost|power] [--only WORD]
"""

import argparse
import math
import time
from collections.abc import Callable

import jax
import numpy as np

from nnft_mcmc.architectures import Architecture, DenseNet, InfiniteWidth, LatticeModes, ScalarNet
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.estimators import identities, per_draw
from nnft_mcmc.insertions import PhiPower
from nnft_mcmc.lattice import Lattice
from nnft_mcmc.runs.certificate import certificate
from nnft_mcmc.sampling import Chains, Composite, GaussianFlow, Position, Refresh, Sampler
from nnft_mcmc.statistics import gamma_method

LINE, BOX, TORUS = Lattice((17,), 0.25), Lattice((16, 16), 0.25), Lattice((32, 32), 0.5, "torus")
CAUCHY = {width: ScalarNet(1, width, 1.0, math.inf) for width in (1, 100, 1000)}
FOUR = {"num_chains": 4, "num_warmup": 100}
Case = tuple[Architecture, Lattice, Sampler, int]

COST: dict[str, Case] = {
    "main job, N = 1000, refresh": (CAUCHY[1000], LINE, Refresh(**FOUR), 40),
    "N = 100, refresh": (CAUCHY[100], LINE, Refresh(**FOUR), 300),
    "N = 100, composite": (CAUCHY[100], LINE, Composite(**FOUR), 200),
    "N = 1000, composite": (CAUCHY[1000], LINE, Composite(**FOUR), 20),
    "dense net, N = 100, composite": (DenseNet(1, 100, "tanh", 1.5, 0.5), LINE, Composite(**FOUR), 100),
    "16 x 16, N = 200, composite": (ScalarNet(2, 200, 1.0, 5.0), BOX, Composite(**FOUR), 10),
    "32 x 32 modes, gaussian_flow": (LatticeModes(TORUS, 1.0), TORUS, GaussianFlow(**FOUR), 50),
    "infinite width, gaussian_flow": (InfiniteWidth(CAUCHY[1], LINE), LINE, GaussianFlow(**FOUR), 1000),
}
TURNS = 7

LONG, BOX_16 = Lattice((41,), 0.25), Lattice((33,), 0.5)
MANY = GaussianFlow(num_chains=128, num_warmup=200, num_samples=400)
POWER: dict[str, tuple[Architecture, Lattice, float, Sampler]] = {
    "17 sites, spacing 0.25, coupling 0.5": (InfiniteWidth(CAUCHY[1], LINE), LINE, 0.5, MANY),
    "41 sites, spacing 0.25, coupling 1": (InfiniteWidth(CAUCHY[1], LONG), LONG, 1.0, MANY),
    "33 sites, spacing 0.5, coupling 1": (InfiniteWidth(CAUCHY[1], BOX_16), BOX_16, 1.0, MANY),
    "17 sites, N = 10, coupling 0.5": (
        ScalarNet(1, 10, 1.0, math.inf),
        LINE,
        0.5,
        Composite(num_chains=32, num_warmup=100, num_samples=400),
    ),
}
EFFECTIVE = 1e5


def cost(architecture: Architecture, lattice: Lattice, sampler: Sampler, number: int) -> tuple[float, float]:
    """Microseconds of a draw without identities, and the ratio of times with and without."""
    ensemble = Ensemble(architecture, lattice, PhiPower(4, 0.5))
    observe, known = per_draw(ensemble), identities(ensemble)

    def without(position: Position) -> dict:
        return {"observables": observe(position.theta, position.field)}

    def with_them(position: Position) -> dict:
        return {**without(position), "identities": known(position.theta, position.field)}

    both = [started(ensemble, sampler, collect, number) for collect in (without, with_them)]
    seconds = np.array([[timed(chains, number) for chains in both] for _ in range(TURNS)])
    return 1e6 * float(np.median(seconds[:, 0])) / number, float(np.median(seconds[:, 1] / seconds[:, 0]))


def started(ensemble: Ensemble, sampler: Sampler, collect: Callable, number: int) -> Chains:
    chains = Chains(ensemble, sampler, jax.random.key(1), collect, number)
    chains.warm_up(sampler.num_warmup)
    return chains


def timed(chains: Chains, number: int) -> float:
    start = time.process_time()
    chains.draw(number)
    return time.process_time() - start


def power(architecture: Architecture, lattice: Lattice, coupling: float, sampler: Sampler) -> list[float]:
    """std(S), tau_int, error of the coupling and noticed deviation at EFFECTIVE effective draws, share of the bound."""
    ensemble = Ensemble(architecture, lattice, PhiPower(4, coupling))
    known = identities(ensemble)

    def collect(position: Position) -> dict:
        return {"identities": known(position.theta, position.field)}

    kept = started(ensemble, sampler, collect, sampler.num_samples).draw(sampler.num_samples)["identities"]
    (found,) = certificate(ensemble, kept).couplings
    deviation = float(kept["action_terms"].std())
    error = 1 / (deviation * found.share * math.sqrt(EFFECTIVE))
    tau = float(gamma_method(kept["amplitudes" if "amplitudes" in kept else "coefficients"]).tau_int[1])
    return [deviation, tau, error, (found.bound + 1.645) * error, found.share, found.ratio, found.error]


def main() -> None:
    """Tables of both parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=("cost", "power"))
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    if options.part != "power":
        print("case                                us/draw, 4 chains   with identities/without")
        for name, case in COST.items():
            if options.only in name:
                microseconds, ratio = cost(*case)
                print(f"{name:36} {microseconds:16.0f}   {ratio:23.2f}", flush=True)
    if options.part != "cost":
        print("theory                                std(S)  tau_int  error at 1e5  noticed from  share  measured here")
        for name, theory in POWER.items():
            if options.only in name:
                deviation, tau, error, noticed, share, ratio, now = power(*theory)
                print(
                    f"{name:36} {deviation:8.3f} {tau:8.2f} {100 * error:12.2f}% {100 * noticed:12.2f}% {share:6.3f}"
                    f"  {ratio:.4f} +- {now:.4f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
