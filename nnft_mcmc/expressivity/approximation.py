r"""What the constructions share: a modulus of continuity, and the one lemma that bounds them.

A modulus of continuity of f on a convex set K is a function w with

    |f(x) - f(y)| <= w(|x - y|)    for x, y in K,  |.| the Euclidean norm.

**Lemma.** Let p_k(x) >= 0 with sum_k p_k(x) = 1, let y_k lie in K, and let w be concave and not decreasing. Then

    | sum_k p_k(x) f(y_k) - f(x) |  <=  w( sum_k p_k(x) |x - y_k| ).

Proof: the left side is at most sum_k p_k(x) w(|x - y_k|), because the p_k sum to one; then Jensen's inequality.
A weighted mean of samples is therefore as good as its weights are narrow. `bumps` and `ridges` are two such means that
a network of sigmoids can carry out.

Hoelder: w(r) = C r^a with 0 < a <= 1; a = 1 is the Lipschitz constant. Every f has a concave modulus, because the least
concave function above its smallest modulus is below twice that.
"""

from collections.abc import Callable
from dataclasses import dataclass

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import ArrayLike, NDArray

from nnft_mcmc import _checks
from nnft_mcmc.architectures import Architecture
from nnft_mcmc.architectures._base import Theta

FloatArray = NDArray[np.float64]
# f(x): points (n, dim) -> values (n,)
Function = Callable[[FloatArray], ArrayLike]
# w(r): one distance -> a bound
Modulus = Callable[[float], float]

# Neurons times points of one evaluation.
CHUNK = 2**22


@dataclass(frozen=True)
class Hoelder:
    """w(r) = constant r^exponent."""

    constant: float
    exponent: float = 1.0

    def __post_init__(self) -> None:
        _checks.non_negative("constant", self.constant)
        if _checks.positive("exponent", self.exponent) > 1.0:
            raise _checks.InputError(
                f"exponent is {self.exponent!r}; it must be at most 1: only constants change slower than that."
            )

    def __call__(self, r: float) -> float:
        return self.constant * r**self.exponent


@dataclass(frozen=True, eq=False)
class Approximation:
    """A network with its parameters, and `bound`, above the sup-norm of its error on the set it was built for.

    The bound is that of exact arithmetic; `rounding` estimates what float64 adds.
    """

    network: Architecture
    theta: dict[str, FloatArray]
    bound: float
    rounding: float

    def __call__(self, x: ArrayLike) -> FloatArray:
        """Values (n,) at points (n, dim)."""
        return evaluate(self.network, self.theta, x)

    @property
    def width(self) -> int:
        """The number of neurons."""
        return len(self.theta["amplitudes"])


def evaluate(network: Architecture, theta: Theta | dict[str, FloatArray], x: ArrayLike) -> FloatArray:
    """phi_theta at points (n, dim), so many at a time that neurons times points stay below CHUNK."""
    points = np.asarray(x, dtype=np.float64)
    arrays = {name: jnp.asarray(values) for name, values in theta.items()}
    chunk = min(len(points), max(1, CHUNK // max(a.size for a in arrays.values())))
    padded = np.resize(points, (-(-len(points) // chunk) * chunk, points.shape[1]))  # one shape is compiled once
    parts = [np.asarray(_values(network, arrays, jnp.asarray(part))) for part in padded.reshape(-1, chunk, network.dim)]
    return np.concatenate(parts)[: len(points)].astype(np.float64)


@eqx.filter_jit
def _values(network: Architecture, theta: Theta, x: Array) -> Array:
    return network(theta, x)


def samples(f: Function, points: FloatArray) -> FloatArray:
    """f at points (n, dim), finite."""
    values = np.asarray(f(points), dtype=np.float64)
    if values.shape != points.shape[:1] or not np.isfinite(values).all():
        raise _checks.InputError(
            f"the function gives values of shape {values.shape} at points of shape {points.shape}; it must give one"
            " finite number for each point."
        )
    return values


def checked_modulus(modulus: Modulus, reach: float) -> Modulus:
    """`modulus`, refused where it decreases, is not concave, or is negative, on a grid of 0 < r <= reach."""
    r = reach * np.concatenate([np.geomspace(1e-6, 1e-2, 41), np.linspace(0.02, 1.0, 99)])
    w = np.array([float(modulus(at)) for at in r])
    slopes = np.diff(w) / np.diff(r)
    slack = 1e-9 * np.abs(w).max() / r[1:]
    if not np.isfinite(w).all() or (w < 0).any() or (slopes < -slack).any():
        raise _checks.InputError("the modulus of continuity must be finite, not negative and not decreasing.")
    if (np.diff(slopes) > slack[1:]).any():
        raise _checks.InputError(
            "the modulus of continuity must be concave; give Hoelder(constant, exponent), or the least concave function"
            " above yours, which is below twice yours."
        )
    return modulus


def refute(modulus: Modulus, points: FloatArray, values: FloatArray) -> None:
    """Refuse a modulus that neighbouring samples, points (n, dim) and values (n,), contradict."""
    steps, changes = np.linalg.norm(np.diff(points, axis=0), axis=1), np.abs(np.diff(values))
    for step, change in {round(step, 12): (step, changes[np.isclose(steps, step)].max()) for step in steps}.values():
        if change > float(modulus(step)) * (1 + 1e-9) + 1e-14 * np.abs(values).max():
            raise _checks.InputError(
                f"the function changes by {change:.4g} over a distance of {step:.4g}, and its modulus of continuity"
                f" allows {float(modulus(step)):.4g}; give a larger constant."
            )
