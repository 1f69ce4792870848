"""Correlators of one neuron by quadrature over its parameters, written from the definitions of the lectures alone.

A `Neuron` is a set of nodes theta_k with weights that add up to one, and its features f(theta_k, x) as a function of
the points. For i.i.d. neurons with output weights a of moments <a^2>, <a^4>,

    G   = N <a^2> E[f f],     Gc4 = N (<a^4> E[f f f f] - <a^2>^2 sum_3 E[f f] E[f f]).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.polynomial.legendre import leggauss

Rule = tuple[np.ndarray, np.ndarray]  # nodes (k, ...), weights (k,)
PAIRINGS = ((0, 1, 2, 3), (0, 2, 1, 3), (0, 3, 1, 2))


@dataclass(frozen=True)
class Neuron:
    """`features` maps points (n, dim) to (n, nodes)."""

    width: int
    amplitude_variance: float
    weights: np.ndarray
    features: Callable[[np.ndarray], np.ndarray]

    def two_point(self, x: np.ndarray, y: np.ndarray) -> float:
        fx, fy = self.features(np.stack([x, y]))
        return self.width * self.amplitude_variance * float(self.weights @ (fx * fy))

    def four_point_connected(self, xs: np.ndarray) -> float:
        f = self.features(xs)
        second = np.einsum("k,ik,jk->ij", self.weights, f, f, optimize=True)
        pairs = sum(second[i, j] * second[k, m] for i, j, k, m in PAIRINGS)
        fourth = float(self.weights @ f.prod(axis=0))
        return self.width * self.amplitude_variance**2 * (3 * fourth - float(pairs))


def normal_rule(std: float, num_nodes: int) -> Rule:
    nodes, weights = hermegauss(num_nodes)
    return std * nodes, weights / weights.sum()


def phase_rule(num_nodes: int = 16) -> Rule:
    """Trapezoid on the circle: exact for harmonics below `num_nodes`, and a product of four cosines has four."""
    return 2 * math.pi * np.arange(num_nodes) / num_nodes, np.full(num_nodes, 1 / num_nodes)


def product(*rules: Rule) -> tuple[list[np.ndarray], np.ndarray]:
    """Nodes of every factor on the tensor grid, flattened, and the product weights."""
    grids = np.meshgrid(*[np.arange(len(w)) for _, w in rules], indexing="ij")
    index = [grid.ravel() for grid in grids]
    weights = np.prod([w[i] for (_, w), i in zip(rules, index, strict=True)], axis=0)
    return [nodes[i] for (nodes, _), i in zip(rules, index, strict=True)], weights


def ball_rule(dim: int, cutoff: float, radial_density: Callable, num_nodes: int = 48) -> Rule:
    """Momenta with density proportional to radial_density(|w|) in the ball; d = 1, 2, 3."""
    u, radial_weights = leggauss(num_nodes)
    k = cutoff * (1 + u) / 2
    radial = k, radial_weights * k ** (dim - 1) * radial_density(k)
    if dim == 1:
        directions = np.array([[-1.0], [1.0]]), np.full(2, 0.5)
    else:
        azimuth, weights = phase_rule(2 * num_nodes)
        directions = np.stack([np.cos(azimuth), np.sin(azimuth)], axis=-1), weights
    if dim == 3:
        cosine, polar_weights = leggauss(num_nodes)
        (circle, c), weights = product(directions, (cosine, polar_weights / 2))
        directions = np.concatenate([np.sqrt(1 - c**2)[:, None] * circle, c[:, None]], axis=-1), weights
    (k, direction), weights = product(radial, directions)
    return k[:, None] * direction, weights / weights.sum()


def cos_net(dim: int, width: int, weight_std: float, amplitude_std: float) -> Neuron:
    """Eq. (68)-(69): f = cos(w.x + b)."""
    component = normal_rule(weight_std / math.sqrt(dim), 32)
    (*w, b), weights = product(*[component] * dim, phase_rule(8))
    momenta = np.stack(w, axis=-1)
    return Neuron(width, amplitude_std**2 / width, weights, lambda x: np.cos(x @ momenta.T + b))


def gauss_net(dim: int, width: int, weight_std: float, bias_std: float, amplitude_std: float) -> Neuron:
    """Eq. (60)-(61): f = exp(w.x + b) / exp(sb^2 + s0^2 x^2/d)."""
    component = normal_rule(weight_std / math.sqrt(dim), 24)
    (*w, b), weights = product(*[component] * dim, normal_rule(bias_std, 24))
    slopes = np.stack(w, axis=-1)

    def features(x: np.ndarray) -> np.ndarray:
        norm = np.exp(bias_std**2 + weight_std**2 * np.sum(x**2, axis=-1, keepdims=True) / dim)
        return np.exp(x @ slopes.T + b) / norm

    return Neuron(width, amplitude_std**2 / (2 * width), weights, features)


def scalar_net(dim: int, width: int, mass: float, cutoff: float, alpha: float) -> Neuron:
    """Eq. (72)-(74): f = F cos(w.x + b) with (2 pi)^d (1/2) F^2 P = 1/(w^2 + m^2), P = (w^2 + m^2)^-(1 + alpha)/Z."""
    momenta, momentum_weights = ball_rule(dim, cutoff, lambda k: (k**2 + mass**2) ** -(1 + alpha))
    (w, b), weights = product((momenta, momentum_weights), phase_rule(8))
    k, k_weights = leggauss(60)
    k = cutoff * (1 + k) / 2
    sphere = {1: 2.0, 2: 2 * math.pi, 3: 4 * math.pi}[dim]
    z = sphere * cutoff / 2 * float(k_weights @ (k ** (dim - 1) * (k**2 + mass**2) ** -(1 + alpha)))
    w2 = np.sum(w**2, axis=-1) + mass**2
    form_factor = np.sqrt(2 * z * w2 ** (1 + alpha) / ((2 * math.pi) ** dim * w2))
    return Neuron(width, 1 / width, weights, lambda x: form_factor * np.cos(x @ w.T + b))
