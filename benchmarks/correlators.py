"""Four-point functions from draws of networks: streamed, against drawing all and einsum, and Williams' technique.

The job is the connected four-point function of cos-nets of width 1000 at 1024 tuples of 256 points x_i on a line, c the
middle one: (c, c, i, i), (c, c, c, i), (c, i, i, i) and (c, c, i, 255 - i) for every i. Every contestant runs in a
process of its own, in turn; memory is the peak of the resident set above what the process held when JAX was loaded.
"draw all" draws every network first and contracts the fields with einsum; it gives no errors. The efficiency of
Williams' technique counts 1/(error^2 x seconds), the median over the tuples, against that of streaming.

Memory against the number of draws is shown for a net of width 10 at 4 points up to 1e7 draws, which takes a minute on
two cores, and for the job itself at small numbers; --full shows it for the job at 1e5, 1e6 and 1e7 draws, which takes
a night on two cores and wants an accelerator.

    python benchmarks/correlators.py [--draws 2048] [--repeats 3] [--full] [--json FILE]
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nnft_mcmc import CosNet
from nnft_mcmc.estimators.n_point import estimate_n_point
from nnft_mcmc.estimators.single_neuron import williams

NUM_POINTS, WIDTH = 256, 1000
NUM_BLOCKS = 32
NET = CosNet(dim=1, width=WIDTH)
POINTS = np.linspace(-4.0, 4.0, NUM_POINTS)[:, None]
C = NUM_POINTS // 2
TUPLES = [
    t for i in range(NUM_POINTS) for t in ((C, C, i, i), (C, C, C, i), (C, i, i, i), (C, C, i, NUM_POINTS - 1 - i))
]
NEURONS_PER_NETWORK = 64


def streamed(num_draws: int, seed: int) -> np.ndarray:
    """Errors of all tuples."""
    found = estimate_n_point(NET, jax.random.key(seed), num_draws, TUPLES, POINTS, num_blocks=NUM_BLOCKS)
    return found.cumulants.error


def by_williams(num_draws: int, seed: int) -> np.ndarray:
    """Errors of all tuples, from NEURONS_PER_NETWORK times as many neurons as there are networks elsewhere."""
    neurons = NEURONS_PER_NETWORK * num_draws
    return williams(NET, jax.random.key(seed), neurons, TUPLES, POINTS, num_blocks=NUM_BLOCKS).error


@jax.jit
def _connected(keys: jax.Array) -> jax.Array:
    theta = jax.vmap(NET.sample_parameters)(keys)
    phi = jax.vmap(NET, in_axes=(0, None))(theta, jnp.asarray(POINTS))
    at = [phi[:, index] for index in jnp.asarray(TUPLES).T]
    full = jnp.einsum("nk,nk,nk,nk->k", *at) / len(keys)
    pair = {(a, b): jnp.einsum("nk,nk->k", at[a], at[b]) / len(keys) for a in range(4) for b in range(a)}
    return full - pair[1, 0] * pair[3, 2] - pair[2, 0] * pair[3, 1] - pair[3, 0] * pair[2, 1]


def draw_all(num_draws: int, seed: int) -> np.ndarray:
    """The correlators, without errors."""
    return np.asarray(_connected(jax.random.split(jax.random.key(seed), num_draws)))


def small_streamed(num_draws: int, seed: int) -> np.ndarray:
    """Width 10, 4 points."""
    net, points = CosNet(dim=1, width=10), np.array([[0.0], [0.7], [1.5], [-0.4]])
    return estimate_n_point(net, jax.random.key(seed), num_draws, [(0, 1, 2, 3), (0, 1)], points).cumulants.error


CONTESTANTS = {"streamed": streamed, "draw all": draw_all, "williams": by_williams, "small": small_streamed}


def megabytes() -> float:
    """Peak of the resident set."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def one(name: str, num_draws: int) -> dict[str, Any]:
    """One contestant in this process: compiled first (on another seed), then timed."""
    jax.config.update("jax_enable_x64", True)
    jax.block_until_ready(jax.jit(jnp.cos)(jnp.zeros(8)))
    before = megabytes()
    contestant = CONTESTANTS[name]
    began = time.perf_counter()
    contestant(num_draws if name == "draw all" else min(num_draws, 2 * NUM_BLOCKS * 4), 1)
    compilation = time.perf_counter() - began
    began = time.perf_counter()
    error = contestant(num_draws, 0)
    seconds = time.perf_counter() - began
    row = {"name": name, "draws": num_draws, "seconds": seconds, "first_s": compilation, "mb": megabytes() - before}
    return {**row, "total_mb": megabytes(), "error": float(np.median(error))}


def in_a_process(name: str, num_draws: int) -> dict[str, Any]:
    """`one` in a fresh interpreter."""
    command = [sys.executable, __file__, "--one", name, "--draws", str(num_draws)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def median_of(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of the numbers of several runs."""
    numbers = {key: statistics.median(row[key] for row in rows) for key in rows[0] if key != "name"}
    return {"name": rows[0]["name"], **numbers}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--full", action="store_true", help="flat memory of the job itself up to 1e7 draws")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", choices=CONTESTANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one, options.draws)))
        return
    names = ("streamed", "draw all", "williams")
    turns = [[in_a_process(name, options.draws) for name in names] for _ in range(options.repeats)]
    rows = [median_of([turn[k] for turn in turns]) for k in range(len(names))]
    print_contest(rows, options.draws)
    job = (100_000, 1_000_000, 10_000_000) if options.full else (options.draws // 4, options.draws, 4 * options.draws)
    flat = [in_a_process("small", n) for n in (100_000, 1_000_000, 10_000_000)]
    flat += [in_a_process("streamed", n) for n in job]
    print("\nstreamed: peak memory against the number of draws")
    for row in flat:
        what = "width 10, 4 points" if row["name"] == "small" else f"width {WIDTH}, {NUM_POINTS} points"
        print(f"{what:24} {row['draws']:9d} draws {row['seconds']:8.1f} s {row['mb']:7.0f} MB")
    if options.json:
        options.json.write_text(json.dumps({"rows": rows, "flat": flat}, indent=2))


def print_contest(rows: list[dict[str, Any]], num_draws: int) -> None:
    """The table and the ratios."""
    by_streaming, by_einsum, by_neurons = rows
    print(
        f"Gc4 at {len(TUPLES)} tuples of {NUM_POINTS} points, cos-net of width {WIDTH}, {num_draws} networks;"
        f" {platform.machine()}, {jax.devices()[0].device_kind}"
    )
    print(f"{'contestant':12} {'networks/s':>10} {'peak MB':>8} {'in all MB':>9} {'first call s':>12} {'error':>9}")
    for row in rows:
        speed = "" if row["name"] == "williams" else f"{num_draws / row['seconds']:.0f}"
        error = "none" if row["name"] == "draw all" else f"{row['error']:.2e}"
        print(f"{row['name']:12} {speed:>10} {row['mb']:8.0f} {row['total_mb']:9.0f} {row['first_s']:12.1f} {error:>9}")
    speed, memory = by_einsum["seconds"] / by_streaming["seconds"], by_einsum["mb"] / by_streaming["mb"]
    print(f"streamed against draw all: {speed:.2g} times the speed, {memory:.0f} times less memory")
    cost = [row["error"] ** 2 * row["seconds"] for row in (by_streaming, by_neurons)]
    print(
        f"williams: {NEURONS_PER_NETWORK * num_draws} neurons in {by_neurons['seconds']:.2g} s;"
        f" {cost[0] / cost[1]:.2g} times the efficiency of streaming networks"
    )


if __name__ == "__main__":
    main()
