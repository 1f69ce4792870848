"""Estimators against plain loops that give the same numbers, side by side.

    jackknife       errors of effective masses from chains of C(t): all leave-one-out means at once, against a
                    loop over blocks
    gamma           the Gamma-method of the same masses on all draws, against pyerrors where it is installed
    correlators     C_ab(t) of two operators, batched FFT, against a loop over separations and draws
    two-point       G(r) at every displacement of a torus, FFT, against a loop over displacements

Contestants take turns, --repeats times; medians in milliseconds. Results are compared before anything is timed.

    python benchmarks/estimators.py [--draws 4000] [--repeats 5] [--json FILE]
"""

import argparse
import importlib.util
import itertools
import json
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from nnft_mcmc import Lattice, gamma_method
from nnft_mcmc.estimators.effective_mass import effective_mass
from nnft_mcmc.estimators.operators import lagged_products
from nnft_mcmc.estimators.stored_fields import torus_two_point
from nnft_mcmc.statistics.resampling import jackknife

CHAINS, SEPARATIONS, BLOCKS, SIDE, TIMES = 4, 32, 400, 16, 64
T = np.arange(SEPARATIONS) * 0.25
Job = tuple[str, dict[str, Callable[[], np.ndarray]]]


def masses(c: np.ndarray) -> np.ndarray:
    """Logarithmic effective masses of C (..., t)."""
    return np.log(c[..., :-1] / c[..., 1:]) / T[1]


def loop_jackknife(chains: np.ndarray) -> np.ndarray:
    """The means without one block, one block after the other."""
    size = chains.shape[1] * CHAINS // BLOCKS
    blocks = [chain[first : first + size] for chain in chains for first in range(0, chains.shape[1], size)]
    total, number = chains.sum(axis=(0, 1)), CHAINS * chains.shape[1]
    values = [masses((total - block.sum(axis=0)) / (number - size)) for block in blocks]
    return np.sqrt((len(values) - 1) * np.var(values, axis=0))


def pyerrors_masses(chains: np.ndarray) -> np.ndarray:
    """The errors by pyerrors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pyerrors  # noqa: PLC0415 # optional

        names = [f"run|chain{k}" for k in range(CHAINS)]
        correlator = [pyerrors.Obs(list(chains[..., t]), names) for t in range(SEPARATIONS)]
        found = [np.log(a / b) / T[1] for a, b in itertools.pairwise(correlator)]
        for obs in found:
            obs.gamma_method(S=2.0)
        return np.array([obs.dvalue for obs in found])


def loop_products(slices: np.ndarray) -> np.ndarray:
    """C_ab(t) draw by draw and separation by separation."""
    total = np.zeros((2, 2, TIMES // 2 + 1))
    for draw in slices:
        for t in range(TIMES // 2 + 1):
            moved = np.roll(draw, -t, axis=1)
            product = draw @ moved.T / TIMES
            total[:, :, t] += (product + product.T) / 2
    return total / len(slices)


def loop_two_point(fields: np.ndarray) -> np.ndarray:
    """G(r) displacement by displacement, with errors of one Gamma-method each."""
    found = np.empty((SIDE, SIDE))
    for r in np.ndindex(SIDE, SIDE):
        moved = np.roll(fields, (-r[0], -r[1]), axis=(2, 3))
        found[r] = gamma_method((fields * moved).mean(axis=(2, 3))).error
    return found


def jobs(draws: int) -> list[Job]:
    """Each job with its contestants, ours first."""
    rng = np.random.default_rng(1)
    chains = np.exp(-0.1 * T) * (1 + 0.3 * rng.normal(size=(CHAINS, draws, SEPARATIONS)))
    slices = rng.normal(size=(draws // 8, 2, TIMES))
    torus = Lattice((SIDE, SIDE), 0.5, "torus")
    fields = rng.normal(size=(CHAINS, draws // 8, SIDE, SIDE))
    mean = jax.jit(lambda s: lagged_products(s, TIMES // 2 + 1, True).mean(axis=0))
    gamma = {"all at once": lambda: gamma_method(effective_mass(chains, T).series).error}
    if importlib.util.find_spec("pyerrors"):
        gamma["pyerrors"] = lambda: pyerrors_masses(chains)
    return [
        (
            "jackknife",
            {
                "all at once": lambda: jackknife(chains, BLOCKS).derived(masses).error,
                "loop": lambda: loop_jackknife(chains),
            },
        ),
        ("gamma", gamma),
        ("correlators", {"FFT": lambda: np.asarray(mean(slices)), "loop": lambda: loop_products(slices)}),
        ("two-point", {"FFT": lambda: torus_two_point(fields, torus).error, "loop": lambda: loop_two_point(fields)}),
    ]


def timed(contestants: dict[str, Callable[[], np.ndarray]], repeats: int, tolerance: float) -> dict[str, float]:
    """Median milliseconds of each, in turns, after the results have been compared."""
    results = [run() for run in contestants.values()]
    for other in results[1:]:
        np.testing.assert_allclose(results[0], other, rtol=tolerance, atol=1e-10)
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: 1e3 * statistics.median(s) for name, s in seconds.items()}


def main() -> None:
    """Print the table."""
    jax.config.update("jax_enable_x64", True)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=4000, help="draws per chain (default 4000, a multiple of 800)")
    parser.add_argument("--repeats", type=int, default=5, help="turns (default 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="file to write the numbers to")
    options = parser.parse_args()
    found = {}
    for name, contestants in jobs(options.draws):
        # pyerrors takes fluctuations about the mean of each chain.
        found[name] = timed(contestants, options.repeats, 0.05 if name == "gamma" else 1e-8)
        times = list(found[name].items())
        printed = "   ".join(f"{label} {ms:9.2f} ms" for label, ms in times)
        ratio = "" if len(times) < 2 else f"   ratio {times[1][1] / times[0][1]:.1f}"
        print(f"{name:12s} {printed}{ratio}")
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
