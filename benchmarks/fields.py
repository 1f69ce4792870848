"""Fields and their gradients: every route against the naive cos(W x + b).

One evaluation is the value and the gradient of sum_x phi(x)^4 with respect to amplitudes, momenta and phases of

    phi(x) = sum_i a_i cos(w_i.x + b_i),    w, b of order 1, a of order N^-1/2,

in float64 on boxes of spacing 1/4. The naive form holds N x V angles, and the benchmark leaves it out where that takes
more than a tenth of the memory, or where a trial on fewer neurons says that it would take longer than --patience
seconds. All contestants are compiled first and then run in turns; times are medians. "chosen" is the route that
`field_evaluation.field` takes. The speed of the factorised route's matrix products, 12 N V flops, is held against the
peak, the best of products of 1024 x 4096 and 4096 x 1024 numbers between the cases; that route is left out where the
model of costs says more than a third of --patience. Errors are those of the chosen route, against the naive form or
else the factorised one.

    python benchmarks/fields.py [--quick] [--patience 30] [--json FILE]
"""

import argparse
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np

from nnft_mcmc import Lattice
from nnft_mcmc.field_evaluation import FACTORISED, NAIVE, NON_UNIFORM, Route, fastest, field_by, microseconds

Theta = tuple[jax.Array, jax.Array, jax.Array]
SHAPES = {1: [(64,), (1024,)], 2: [(16, 16), (64, 64), (128, 128)], 3: [(8, 8, 8), (32, 32, 32)], 4: [(8, 8, 8, 8)]}
WIDTHS = (1_000, 10_000, 100_000, 1_000_000)
QUICK = [((17,), 100), ((64,), 1_000), ((16, 16), 1_000), ((64, 64), 10_000), ((8, 8, 8), 1_000), ((8,) * 4, 1_000)]
ROUTES = {"naive waves": NAIVE, "factorised": FACTORISED, "non-uniform": NON_UNIFORM}


def naive_field(lattice: Lattice) -> Callable[[Theta], jax.Array]:
    """cos(W x + b)."""
    sites = jnp.asarray(lattice.sites.reshape(-1, lattice.dim))
    return lambda theta: theta[0] @ jnp.cos(theta[1] @ sites.T + theta[2][:, None])


def field_by_route(route: Route, lattice: Lattice) -> Callable[[Theta], jax.Array]:
    """The same from waves."""

    def field(theta: Theta) -> jax.Array:
        amplitudes, momenta, phases = theta
        return field_by(route, (momenta, amplitudes * jnp.cos(phases), -amplitudes * jnp.sin(phases)), lattice)

    return field


def value_and_gradient(field: Callable[[Theta], jax.Array]) -> Callable[[Theta], Any]:
    """Of sum phi^4."""
    return jax.jit(jax.value_and_grad(lambda theta: jnp.sum(field(theta) ** 4)))


def draw(lattice: Lattice, width: int) -> Theta:
    """A net."""
    keys = jax.random.split(jax.random.key(width), 3)
    amplitudes = jax.random.normal(keys[0], (width,)) / width**0.5
    momenta = jax.random.normal(keys[1], (width, lattice.dim))
    return amplitudes, momenta, jax.random.uniform(keys[2], (width,), minval=-math.pi, maxval=math.pi)


def seconds(function: Callable[[Theta], Any], theta: Theta) -> float:
    """Of one call."""
    began = time.perf_counter()
    jax.block_until_ready(function(theta))
    return time.perf_counter() - began


def memory() -> float:
    """Bytes of this machine, or of the accelerator."""
    if jax.default_backend() == "cpu":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return jax.devices()[0].memory_stats()["bytes_limit"]


def takes_too_long(lattice: Lattice, width: int, patience: float) -> str:
    """Why the naive form is left out, or nothing."""
    if 8 * width * lattice.num_sites > memory() / 10:
        return "memory"
    few = max(1, min(width, 2**20 // lattice.num_sites))
    function, theta = value_and_gradient(naive_field(lattice)), draw(lattice, few)
    seconds(function, theta)
    return "time" if seconds(function, theta) * width / few > patience else ""


def in_turns(contestants: dict[str, Callable[[Theta], Any]], theta: Theta, least: float) -> dict[str, float]:
    """Median seconds of each; turns go on for `least` seconds, and for three turns at least."""
    for function in contestants.values():
        seconds(function, theta)
    times: dict[str, list[float]] = {name: [] for name in contestants}
    began = time.perf_counter()
    while time.perf_counter() - began < least or len(next(iter(times.values()))) < 3:
        for name, function in contestants.items():
            times[name].append(seconds(function, theta))
    return {name: statistics.median(each) for name, each in times.items()}


def peak() -> float:
    """Flops per second of a matrix product."""
    a, b = jnp.ones((1024, 4096)), jnp.ones((4096, 1024))
    product = jax.jit(jnp.matmul)
    product(a, b).block_until_ready()
    best = math.inf
    for _ in range(10):
        began = time.perf_counter()
        product(a, b).block_until_ready()
        best = min(best, time.perf_counter() - began)
    return 2 * 1024 * 4096 * 1024 / best


def error(found: Any, expected: Any) -> float:
    """The largest, relative to the largest value of each array."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    return max(float(jnp.abs(a - b).max() / jnp.abs(b).max()) for a, b in pairs)


def case(shape: tuple[int, ...], width: int, patience: float, least: float) -> dict[str, Any]:
    """All contestants on one lattice and width."""
    lattice = Lattice(shape, 0.25)
    theta = draw(lattice, width)
    skipped = takes_too_long(lattice, width, patience)
    routes = dict(ROUTES)
    if skipped:
        routes.pop("naive waves")
    if len(shape) > 3 or jax.default_backend() != "cpu":
        routes.pop("non-uniform")
    elif microseconds(FACTORISED, width, shape) > 1e6 * patience / 3:
        routes.pop("factorised")
    contestants = {} if skipped else {"naive": value_and_gradient(naive_field(lattice))}
    contestants |= {name: value_and_gradient(field_by_route(route, lattice)) for name, route in routes.items()}
    times = in_turns(contestants, theta, least)
    chosen = fastest(width, shape, 8, jax.default_backend())
    (name,) = [name for name, route in ROUTES.items() if route == chosen]
    reference = next((contestants[n](theta) for n in ("naive", "factorised") if n in contestants and n != name), None)
    return {
        "shape": shape,
        "width": width,
        "seconds": times,
        "skipped": skipped,
        "chosen": name,
        "error": math.nan if reference is None else error(contestants[name](theta), reference),
        "flops": 12 * width * lattice.num_sites / times.get("factorised", math.nan),
        "peak": peak(),
    }


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    times = row["seconds"]
    cells = [f"{1e3 * times[n]:10.3f}" if n in times else f"{'-':>10}" for n in ("naive", *ROUTES)]
    cells[0] = cells[0] if not row["skipped"] else f"{row['skipped']:>10}"
    ratio = f"{times['naive'] / times[row['chosen']]:8.1f}" if "naive" in times else f"{'':8}"
    shape = "x".join(map(str, row["shape"]))
    wrong = f"{row['error']:9.1e}" if row["error"] == row["error"] else f"{'':9}"
    return (
        f"{shape:>12} {row['width']:8d} {' '.join(cells)} {row['chosen']:>12} {ratio} {wrong} {row['flops'] / 1e9:7.2f}"
    )


def summary(rows: list[dict[str, Any]]) -> str:
    """The least and the largest gain, and the fraction of the peak."""
    gains = [row["seconds"]["naive"] / row["seconds"][row["chosen"]] for row in rows if "naive" in row["seconds"]]
    best, flops = max(row["peak"] for row in rows), max(r["flops"] for r in rows if r["flops"] == r["flops"])
    return (
        f"naive / chosen: {min(gains):.2f} to {max(gains):.0f}; matrix products at best {best / 1e9:.0f} GF/s, of which"
        f" the factorised route reaches {100 * flops / best:.0f}%"
    )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="six cases in a minute")
    parser.add_argument("--patience", type=float, default=30.0, help="seconds that one naive evaluation may take")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    print(f"{jax.devices()[0].device_kind} ({jax.default_backend()}), {os.cpu_count()} cores, {platform.machine()}")
    versions = {"jax": jax, "jaxlib": jaxlib, "numpy": np}
    print(f"Python {platform.python_version()}", *(f"{name} {module.__version__}" for name, module in versions.items()))
    print(f"jax-finufft {version('jax-finufft')}")
    print(
        f"load of the machine at the start: {os.getloadavg()[0]:.1f}; matrix product {peak() / 1e9:.0f} GF/s in float64"
    )
    print("milliseconds of sum phi^4 with its gradient; ratio: naive / chosen; GF/s: of the factorised route")
    print(
        f"{'lattice':>12} {'N':>8} {'cos(Wx+b)':>10} {'naive':>10} {'factorised':>10} {'NUFFT':>10} {'chosen':>12}"
        f" {'ratio':>8} {'error':>9} {'GF/s':>7}"
    )
    cases = QUICK if options.quick else [(s, n) for d in SHAPES for s in SHAPES[d] for n in WIDTHS]
    rows = []
    for shape, width in cases:
        rows.append(case(shape, width, options.patience, 0.5 if options.quick else 1.0))
        print(line(rows[-1]), flush=True)
    print(summary(rows))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
