r"""Depth against width: the sawtooth of Telgarsky (arXiv:1602.04485), exact in both.

The tent g(x) = 2 x for x <= 1/2, 2 (1 - x) above, put k times into itself on [0, 1], is a sawtooth of 2^k straight
pieces between 0 and 1, with extrema at j/2^k. Because g(x) = 2 relu(x) - 4 relu(x - 1/2),

    deep      k hidden layers of 2 ReLU are g put into itself,                       6 k + 1 parameters;
    shallow   one hidden layer needs a ReLU for each kink and one for the slope at 0,    3 2^k + 1 parameters:

              2^k [ relu(x) + 2 sum_{j=1}^{2^k - 1} (-1)^j relu(x - j/2^k) ].

**Floor.** One hidden layer of N ReLU has at most N + 1 straight pieces. If 2 (N + 1) < 2^k + 1, one of them holds three
neighbouring extrema 0, 1, 0 or 1, 0, 1, and no straight line is nearer than 1/2 to all three:

    sup |phi - sawtooth| >= 1/2    for every phi of width N <= 2^{k-1} - 1,

which the constant 1/2 attains. At the parameters of the deep network, N = 2 k, this holds from k = 5 on.
"""

import numpy as np
from numpy.typing import NDArray

from nnft_mcmc import _checks
from nnft_mcmc.architectures import MLP, DenseNet

FloatArray = NDArray[np.float64]

LARGEST_DEPTH = 20


def tents(x: FloatArray, number: int) -> FloatArray:
    """The tent, put `number` times into itself, at x in [0, 1]."""
    for _ in range(number):
        x = 1 - np.abs(1 - 2 * x)
    return x


def deep(number: int) -> tuple[MLP, dict[str, FloatArray]]:
    """An MLP of `number` hidden layers of two ReLU that is the sawtooth on [0, 1], and its parameters."""
    _checks.integer("number", number, minimum=1, maximum=LARGEST_DEPTH)
    network = MLP(1, 2, number + 1, "relu", "standard", bias_std=1.0)
    tent, shifts = np.array([2.0, -4.0]), np.array([0.0, -0.5])
    theta = {"weights_1": np.ones((2, 1)), "biases_1": shifts}
    for layer in range(2, number + 1):
        theta |= {f"weights_{layer}": np.stack([tent, tent]), f"biases_{layer}": shifts}
    return network, {**theta, "amplitudes": tent, f"biases_{number + 1}": np.zeros(())}


def shallow(number: int) -> tuple[DenseNet, dict[str, FloatArray]]:
    """The same function by one hidden layer of 2^number ReLU."""
    pieces = 2 ** _checks.integer("number", number, minimum=1, maximum=LARGEST_DEPTH)
    signs = np.where(np.arange(pieces) % 2, -2.0, 2.0)
    signs[0] = 1.0
    theta = {
        "weights": np.ones((pieces, 1)),
        "biases": -np.arange(pieces, dtype=np.float64) / pieces,
        "amplitudes": pieces * signs,
    }
    return DenseNet(1, pieces, "relu", bias_std=1.0), theta


def shallow_floor(number: int, width: int) -> float:
    """What the sup-norm error of one hidden layer of `width` ReLU cannot fall below; 0 where nothing is known."""
    return 0.5 if 2 * (width + 1) < 2**number + 1 else 0.0
