"""The solved model on many training points, and the training of ensembles against a plain loop over networks.

model       kernels, one factorisation, then mean and covariance at --times times and 100 test points, of a network
            with two hidden layers in d = 10; by eigenvectors for any time, by Cholesky for t = infinity alone;
            seconds of each, and the largest memory the process has had
ensemble    networks trained by gradient descent: all of a chunk in one compiled loop, against a loop over networks
            and steps in Python, with the same update compiled; compilation is left out of both. In turns, medians

python benchmarks/solved_model.py [--points 2000] [--width 512] [--networks 64] [--steps 50] [--json FILE]
"""

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nnft_mcmc import MLP
from nnft_mcmc.dynamics.data import Data
from nnft_mcmc.dynamics.infinite_width import kernels
from nnft_mcmc.dynamics.optimizers import GradientDescent, GradientFlow
from nnft_mcmc.dynamics.solved_model import KernelsAt, SolvedModel
from nnft_mcmc.dynamics.task import Nonlinear
from nnft_mcmc.dynamics.training import Training, train

DIM, NUM_TEST = 10, 100
ETA = 0.3


def seconds(run: Callable[[], Any]) -> tuple[Any, float]:
    """What it gives, and how long it took."""
    start = time.perf_counter()
    result = run()
    return result, time.perf_counter() - start


def model(num_points: int, num_times: int) -> dict[str, float]:
    """The solved model on random inputs."""
    rng = np.random.default_rng(1)
    x, at = rng.normal(size=(num_points, DIM)), rng.normal(size=(NUM_TEST, DIM))
    targets = np.sin(x.sum(axis=1))
    net = MLP(dim=DIM, width=1, depth=3, weight_std=1.5, bias_std=0.1)
    on_data, kernel_seconds = seconds(lambda: kernels(net, x))
    cross, among = kernels(net, at, x), kernels(net, at)
    test = KernelsAt(cross.ntk, cross.nngp, among.nngp)
    solved = SolvedModel(targets, on_data.ntk, GradientFlow(1.0), 1.0, on_data.nngp)
    _, eigen_seconds = seconds(lambda: solved.spectrum)
    times = np.append(np.geomspace(1.0, 1e4, num_times - 1), np.inf)
    found, prediction_seconds = seconds(lambda: solved.predict(test, times))
    alone, cholesky_seconds = seconds(lambda: solved.predict(test, np.inf))
    difference = float(np.abs(alone.mean[0] - found.mean[-1]).max())
    assert difference < 1e-6 * np.abs(targets).max(), difference
    return {
        "points": num_points,
        "kernels_seconds": kernel_seconds,
        "eigenvectors_seconds": eigen_seconds,
        "seconds_for_each_time": prediction_seconds / num_times,
        "cholesky_seconds": cholesky_seconds,
        "condition": float(found.condition[-1]),
        "difference_of_the_two": difference,
        "largest_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def ensemble(width: int, num_networks: int, steps: int, repeats: int) -> dict[str, float]:
    """Our loop and the plain one, in turns."""
    x = np.linspace(-1, 1, 8)[:, None]
    data, points = Data(x, np.sin(2 * x[:, 0])), np.linspace(-1.5, 1.5, 10)[:, None]
    net, key = MLP(dim=1, width=width, depth=3, weight_std=1.5, bias_std=0.3), jax.random.key(0)
    training = Training(Nonlinear(net), data, GradientDescent(ETA), [steps], points, num_networks)

    @jax.jit
    def step(theta: dict[str, jax.Array]) -> dict[str, jax.Array]:
        slope = jax.grad(lambda t: 0.5 * jnp.mean((net(t, x) - data.targets) ** 2))(theta)
        return jax.tree.map(lambda t, g: t - ETA * g, theta, slope)

    start, at = jax.jit(net.sample_parameters), jax.jit(lambda theta: net(theta, points))

    def plain() -> np.ndarray:
        fields = []
        for number in range(num_networks):
            theta = start(jax.random.split(jax.random.fold_in(key, number))[0])
            for _ in range(steps):
                theta = step(theta)
            fields.append(np.asarray(at(theta)))
        return np.array(fields)

    def ours() -> np.ndarray:
        return train(training, key).fields[:, 0]

    np.testing.assert_allclose(ours(), plain(), atol=1e-9)
    found: dict[str, list[float]] = {"ours": [], "plain": []}
    for _ in range(repeats):
        for name, run in (("ours", ours), ("plain", plain)):
            found[name].append(seconds(run)[1])
    medians = {f"{name}_seconds": statistics.median(s) for name, s in found.items()}
    return {
        "width": width,
        "networks": num_networks,
        "steps": steps,
        "chunk": training.chunk,
        **medians,
        "ratio": medians["plain_seconds"] / medians["ours_seconds"],
        "steps_per_second": num_networks * steps / medians["ours_seconds"],
    }


def main() -> None:
    """Print both."""
    jax.config.update("jax_enable_x64", True)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=2000, help="training points (default 2000)")
    parser.add_argument("--times", type=int, default=5, help="times, infinity among them (default 5)")
    parser.add_argument("--width", type=int, default=128, help="of the trained networks (default 128)")
    parser.add_argument("--networks", type=int, default=64, help="trained networks (default 64)")
    parser.add_argument("--steps", type=int, default=50, help="of gradient descent (default 50)")
    parser.add_argument("--repeats", type=int, default=3, help="turns (default 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="file to write the numbers to")
    options = parser.parse_args()
    found = {
        "model": model(options.points, options.times),
        "ensemble": ensemble(options.width, options.networks, options.steps, options.repeats),
    }
    for name, numbers in found.items():
        print(f"{name:10s} " + "  ".join(f"{key} {value:.4g}" for key, value in numbers.items()))
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
