r"""The powers of N that the exponents (a, b, c, d) imply for everything that a width sweep measures.

With the powers p_l, q_l, r_l of `constraints` (preactivations, learning, features of layer l, given the layers below)
and h^(l) ~ N^{H_l}, g^(l) ~ N^{S_l}, H_0 = S_L = 0:

    z^(l)            H_{l-1} + p_l
    eta Theta^(l)    q_l + 2 H_{l-1} + 2 S_l                  the part of layer l in the tangent kernel, eq. (116)
    dphi/dt          max_l of these + power of Delta          Delta = y - phi: max(0, power of phi_0)
    dz^(l)/dt        max of r_l + S_l + 2 H_{l-1} + power of Delta, and of dz^(l-1)/dt + p_l
    relative changes of Phi^(l), G^(l), Theta:  max(r - 1/2, 2 r), r the relative change of z^(l), or of g^(l)

The last line: to first order in the change the N neurons add up with random signs, to second order coherently; at
d - 1/2 = r that is the mixture of N^{d-1} and N^{2d-1}. All constraints met, every power is zero but that of phi_0, -d.

Changes have the powers of their rates at the first instant, if nothing grows beyond what it was there; where something
does, their powers are NaN, not known.

Where a layer's preactivations do not stay finite, what lies above depends on the activation: h^(l) ~ z^(l) if they die
and sigma is linear about zero, or if sigma is homogeneous, as ReLU is. Otherwise the powers above are NaN, not known.
"""

import math
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from nnft_mcmc.architectures import MLP
from nnft_mcmc.architectures.activations import Activation
from nnft_mcmc.dynamics.constraints import FEATURES, FINITE, LEARNING, desiderata, fractions

NEVER = -math.inf  # the power of what does not change at all


def predicted_powers(architecture: MLP) -> dict[str, float]:
    """Power of N by the name of the quantity, as `scaling` names them; NaN where the theory does not say."""
    depth, biased = architecture.depth, architecture.bias_std > 0.0
    values = fractions(architecture.exponents)
    own = {(w.name, w.layer): float(w.power(values)) for w in desiderata(depth)}
    c, d = float(values["c"]), float(values["d"])
    z, h, slope = _forward(own, architecture.layers.sigma, depth, biased)
    output = max(h[depth - 1] + own[FINITE, depth], 0.0 if biased else NEVER)
    g = _backward(own, slope, depth)
    parts = {
        n: _largest(own[LEARNING, n] + 2 * h[n - 1] + 2 * g[n], 2 * g[n] - c if biased else NEVER)
        for n in range(1, depth + 1)
    }
    delta = _largest(0.0, output - d)
    learned = _largest(*parts.values())
    dz, dg = _rates(own, h, g, delta, c, d, biased, depth)
    relative = [dz[n] - z[n] for n in range(1, depth)] + [dg[n] for n in range(1, depth)]
    explodes = _largest(delta + learned, *dz.values(), *relative) > 0  # what came first is soon forgotten
    powers = {"phi_0": output - d, "dphi/dt": delta + learned, "loss": math.nan if explodes else 2 * delta}
    changes = {}
    for n in range(1, depth):
        powers |= {f"z({n})": z[n], f"dz({n})/dt": dz[n], f"change of z({n})": math.nan if explodes else dz[n]}
        powers |= {f"Phi({n})": 2 * h[n], f"G({n})": 2 * g[n]}
        changes[f"Phi({n})"] = _kernel_change(dz[n] - z[n])
        changes[f"G({n})"] = _kernel_change(dg[n])
    powers |= {f"eta Theta({n})": parts[n] for n in parts}
    changes["Theta"] = _tangent_change(parts, changes, depth)
    return powers | {f"change of {name}": math.nan if explodes else power for name, power in changes.items()}


def _forward(
    own: Mapping[tuple[str, int], float], sigma: Activation, depth: int, biased: bool
) -> tuple[dict[int, float], dict[int, float], dict[int, float]]:
    """Powers of z^(l), h^(l) and sigma'(z^(l)), l = 1 .. L-1."""
    z, h, slope = {}, {0: 0.0}, {}
    linear, homogeneous = _linear_about_zero(sigma), _homogeneous(sigma)
    for n in range(1, depth):
        z[n] = _largest(h[n - 1] + own[FINITE, n], 0.0 if biased else NEVER)
        known = z[n] == 0.0 or homogeneous or (z[n] < 0.0 and linear)
        h[n] = z[n] if known else math.nan
        slope[n] = 0.0 if known else math.nan
    return z, h, slope


def _backward(own: Mapping[tuple[str, int], float], slope: Mapping[int, float], depth: int) -> dict[int, float]:
    """Powers of g^(l), l = 1 .. L."""
    g = {depth: 0.0}
    for n in range(depth - 1, 0, -1):
        g[n] = g[n + 1] + own[FINITE, n + 1] + slope[n]
    return g


def _rates(
    own: Mapping[tuple[str, int], float],
    h: Mapping[int, float],
    g: Mapping[int, float],
    delta: float,
    c: float,
    d: float,
    biased: bool,
    depth: int,
) -> tuple[dict[int, float], dict[int, float]]:
    """Powers of dz^(l)/dt, and of the relative rate of g^(l), l = 1 .. L-1."""
    dz, dg = {0: NEVER}, {depth: NEVER}
    for n in range(1, depth):
        bias = d - c - 0.5 + g[n] + delta if biased else NEVER
        dz[n] = _largest(own[FEATURES, n] + g[n] + 2 * h[n - 1] + delta, dz[n - 1] + own[FINITE, n], bias)
    for n in range(depth - 1, 0, -1):
        above = n + 1  # its weights change by an outer product of g^(n+1) and h^(n), which adds h^(n) G^(n+1) to g^(n)
        r = own[LEARNING, above] + d - 0.5
        dg[n] = _largest(dg[above], r + 2 * g[above] + h[n] - g[n] + delta, dz[n])
    return dz, dg


def _tangent_change(parts: Mapping[int, float], changes: Mapping[str, float], depth: int) -> float:
    """Relative change of Theta: of each layer's G and Phi, by the layer's share in Theta."""
    whole = _largest(*parts.values())
    inside = [changes[f"G({n})"] + parts[n] - whole for n in range(1, depth)]
    return _largest(*inside, *(changes[f"Phi({n - 1})"] + parts[n] - whole for n in range(2, depth + 1)))


def _kernel_change(r: float) -> float:
    return _largest(r - 0.5, 2 * r)


def _largest(*powers: float) -> float:
    """The largest power; NaN where one of them is not known."""
    return float(np.max(powers))


def _linear_about_zero(sigma: Activation) -> bool:
    """sigma(z) -> s z with s != 0 as z -> 0."""
    small = jnp.asarray([-1e-4, 0.0, 1e-4])
    below, at, above = np.asarray(sigma(small), dtype=np.float64)
    return bool(at == 0.0 and abs(above - below) > 1e-6)


def _homogeneous(sigma: Activation) -> bool:
    """sigma(k z) = k sigma(z) for k > 0."""
    z = np.array([-1.7, -0.3, 0.4, 2.1])
    once, thrice = (np.asarray(sigma(jnp.asarray(k * z)), dtype=np.float64) for k in (1.0, 3.0))
    return bool(np.allclose(thrice, 3 * once, rtol=1e-5, atol=0.0))
