"""Tangent kernels: time and memory of one network's, against the plain contraction of Jacobians, and the recursion.

empirical   Theta at --points x --points points of a network with three layers of weights and of convolutional networks,
            by `tangent_kernel` (method auto), by its own method "jacobian", and by the usual three lines of JAX: the
            Jacobian at all points and a tensordot for each array. In turns, medians of --repeats after compilation;
            memory is what XLA sets aside for temporaries and the result in the compiled program
recursion   NNGP and tangent kernel of infinite width at --large points of a network with two hidden layers, erf and
            ReLU; beside it the time to write the two results once, which is the least that it can take

python benchmarks/ntk.py [--points 256] [--width 512] [--channels 64] [--large 10000] [--repeats 3] [--json FILE]
"""

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nnft_mcmc import MLP, ConvNet
from nnft_mcmc.architectures import Architecture
from nnft_mcmc.dynamics.empirical_kernel import tangent_kernel
from nnft_mcmc.dynamics.infinite_width import kernels

Kernel = Callable[[Mapping[str, jax.Array], jax.Array], jax.Array]


def plain(net: Architecture) -> Kernel:
    """Jacobians of all points at once, contracted array by array."""

    def kernel(theta: Mapping[str, jax.Array], x: jax.Array) -> jax.Array:
        derivatives = jax.vmap(jax.grad(net.forward), in_axes=(None, 0))(theta, x)
        return sum(jnp.tensordot(j, j, axes=[tuple(range(1, j.ndim))] * 2) for j in derivatives.values())

    return kernel


def empirical(name: str, net: Architecture, num_points: int, repeats: int) -> list[dict[str, Any]]:
    """The three ways at the same points, in turns."""
    theta = net.sample_parameters(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (num_points, net.dim))
    ways: dict[str, Kernel] = {
        "plain jacobians": plain(net),
        "method jacobian": lambda theta, x: tangent_kernel(net, theta, x, method="jacobian"),
        "method auto": lambda theta, x: tangent_kernel(net, theta, x),
    }
    compiled = {way: jax.jit(kernel).lower(theta, x).compile() for way, kernel in ways.items()}
    results = {way: np.asarray(run(theta, x)) for way, run in compiled.items()}
    scale = np.abs(results["plain jacobians"]).max()
    spent: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way, run in compiled.items():
            start = time.perf_counter()
            run(theta, x).block_until_ready()
            spent[way].append(time.perf_counter() - start)
    size = sum(int(value.size) for value in theta.values())
    print(f"{name}: {num_points} x {num_points} points, {size} parameters")
    rows = []
    for way, run in compiled.items():
        memory = run.memory_analysis()
        row = {
            "network": name,
            "way": way,
            "parameters": size,
            "seconds": statistics.median(spent[way]),
            "mebibytes": (memory.temp_size_in_bytes + memory.output_size_in_bytes) / 2**20,
            "difference": float(np.abs(results[way] - results["plain jacobians"]).max() / scale),
        }
        rows.append(row)
        faster = statistics.median(p / s for p, s in zip(spent["plain jacobians"], spent[way], strict=True))
        print(
            f"    {way:16}{1e3 * row['seconds']:10.1f} ms{row['mebibytes']:10.1f} MiB   {faster:6.1f} times as fast"
            f"   differs by {row['difference']:.1e}",
            flush=True,
        )
    return rows


def recursion(sigma: str, num_points: int) -> dict[str, Any]:
    """Kernels of infinite width at many points, and how long it takes to write as many numbers."""
    x = np.random.default_rng(0).normal(size=(num_points, 10))
    net = MLP(dim=10, width=1, depth=3, activation=sigma, weight_std=1.5, bias_std=0.1)
    kernels(net, x[:10])
    start = time.perf_counter()
    target = np.empty((2, num_points, num_points))
    target[:] = 1.0
    written = time.perf_counter() - start
    del target
    start = time.perf_counter()
    found = kernels(net, x)
    spent = time.perf_counter() - start
    result = 2 * 8 * num_points**2 / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    row = {
        "activation": sigma,
        "points": num_points,
        "seconds": spent,
        "writing_seconds": written,
        "result_mebibytes": result,
        "peak_mebibytes": peak,
        "trace": float(np.trace(found.ntk)),
    }
    print(
        f"recursion, {sigma}, {num_points} points: {row['seconds']:.1f} s ({row['writing_seconds']:.2f} s to write its"
        f" result); result {result:.0f} MiB, largest memory of the process {peak:.0f} MiB",
        flush=True,
    )
    return row


def main() -> None:
    """Everything, smallest memory first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=256)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--large", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    networks = {
        "mlp": MLP(dim=10, width=options.width, depth=3, activation="relu"),
        "conv_net": ConvNet(dim=16, width=options.channels, depth=3, activation="relu", image=(4, 4)),
        "conv_net, wide": ConvNet(dim=8, width=4 * options.channels, depth=2, activation="relu"),
    }
    found = {
        "recursion": [recursion(sigma, options.large) for sigma in ("erf", "relu")],
        "empirical": [
            row for name, net in networks.items() for row in empirical(name, net, options.points, options.repeats)
        ],
    }
    if options.json:
        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
