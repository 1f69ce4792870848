"""Replica exchange and SMC in a double well of which all is known: effective draws, and ln Z/Z0, for the same work.

The theory is V = phi^4/2 - g phi^2 (and phi^2/2, the mass term) in a box of length 8 with 33 sites, at infinite width.
The base of all samplers is gaussian_flow, which moves the whole field but knows no phi -> -phi. Work is counted in
moves, one trajectory of one network, so that the load of the machine does not matter; draws from the prior are not
counted. tau_int is in units of draws, M the mean of the field; errors by the Gamma-method.

    python benchmarks/annealing.py [--g 2.5] [--samplers tempering_8,smc_4x16] [--draws 1.0]
"""

import argparse
import math
import platform

import jax
import jax.numpy as jnp
import numpy as np

from nnft_mcmc import (
    SMC,
    Ensemble,
    GaussianFlow,
    InfiniteWidth,
    Lattice,
    Polynomial,
    ScalarNet,
    Tempering,
    TransferMatrix,
    gamma_method,
)
from nnft_mcmc.estimators.partition_function import log_partition_ratio
from nnft_mcmc.sampling import Chains, Position, Sampler
from nnft_mcmc.statistics import Estimate

CHAINS = {"num_chains": 8, "num_warmup": 300}


def tempering(num_replicas: int) -> tuple[Sampler, int]:
    """Replica exchange and its moves per draw."""
    return Tempering(num_replicas=num_replicas, base="gaussian_flow", num_samples=3000, **CHAINS), num_replicas - 1


def annealing(particles: int, steps: int) -> tuple[Sampler, int]:
    """SMC and its moves per draw."""
    sampler = SMC(num_particles=particles, num_steps=steps, base="gaussian_flow", num_samples=1500, **CHAINS)
    return sampler, particles * steps


SAMPLERS: dict[str, tuple[Sampler, int]] = {
    "gaussian_flow": (GaussianFlow(num_samples=20_000, **CHAINS), 1),
    **{f"tempering_{n}": tempering(n) for n in (6, 8, 12)},
    **{f"smc_{p}x{t}": annealing(p, t) for p, t in ((4, 8), (4, 16), (1, 64), (4, 32))},
}


def double_well(g: float) -> Ensemble:
    """The ensemble."""
    lattice = Lattice((33,), 0.25)
    free = InfiniteWidth(ScalarNet(1, 1, 1.0, math.inf), lattice)
    return Ensemble(free, lattice, Polynomial([0.0, 0.0, -g, 0.0, 0.5], "trapezoid"))


def observe(position: Position) -> dict[str, dict[str, jax.Array]]:
    """M^2 and M."""
    mean = position.field.mean()
    return {"observables": {"both": jnp.stack([mean**2, mean])}}


def with_error(value: float, error: float) -> str:
    """value(error), the error to two digits."""
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f}({round(error * 10**digits)})" if digits else f"{value:.0f}({error:.0f})"


def tau(estimate: Estimate) -> list[str]:
    """tau_int of each entry with its error."""
    return [with_error(float(t), float(e)) for t, e in zip(estimate.tau_int, estimate.tau_int_error, strict=True)]


def row(ensemble: Ensemble, name: str, share: float) -> list[str]:
    """The figures of one sampler."""
    sampler, moves = SAMPLERS[name]
    num_draws = max(1, round(sampler.num_samples * share))
    chains = Chains(ensemble, sampler, jax.random.key(1), observe, num_draws)
    chains.warm_up(sampler.num_warmup)
    chunk = chains.draw(num_draws)
    statistics = chunk["sample_stats"]
    both = gamma_method(chunk["observables"]["both"])
    ess = both.ess / (both.num_draws * moves) * 1000
    rate = statistics.get("swap_acceptance_rate", statistics["acceptance_rate"]).mean()
    found = log_partition_ratio(statistics)
    log_z, work = "", ""
    if found is not None:
        estimate = gamma_method(found.series)
        log_z = with_error(float(estimate.value), float(estimate.error)) + found.note
        work = f"{float(estimate.error) * math.sqrt(both.num_draws * moves):.2g}"
    m2 = with_error(float(both.value[0]), float(both.error[0]))
    return [name, str(moves), f"{rate:.2f}", m2, *tau(both), *(f"{e:.3g}" for e in np.asarray(ess)), log_z, work]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--g", type=float, default=2.5)
    parser.add_argument("--samplers", default=",".join(SAMPLERS), help="names separated by commas")
    parser.add_argument("--draws", type=float, default=1.0, help="share of the usual number of draws")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    ensemble = double_well(options.g)
    exact = TransferMatrix(1.0, ensemble.lattice.axis(0), ensemble.local_action.coefficients)
    print(f"{platform.machine()}, {jax.devices()[0].device_kind}; V = phi^4/2 - {options.g:g} phi^2")
    print(f"exact: <M^2> = {exact.two_point().mean():.5f}, ln Z/Z0 = {exact.log_partition_ratio:.5f}")
    print(
        "sampler | moves per draw | acceptance | <M^2> | tau_int of M^2 | of M | effective M^2 per 1000 moves | M"
        " | ln Z/Z0 | its error x (all moves)^(1/2)"
    )
    for name in options.samplers.split(","):
        print(" | ".join(row(ensemble, name, options.draws)), flush=True)


if __name__ == "__main__":
    main()
