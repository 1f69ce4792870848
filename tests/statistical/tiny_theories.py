"""Tiny deformed theories, exact by quadrature over all their parameters.

`single_neuron`: width 1, phi(x) = a f(x), S = coupling sum_x weight phi(x)^4; every integral is a trapezoidal sum,
which converges exponentially for analytic integrands that decay like a Gaussian or are periodic.

`one_site`: any width from 5 or so, by the characteristic function. Given its momentum and phase one neuron is normal
with variance F^2 cos^2 b/N, so E exp(i t phi) = (E_w [e^-q I_0(q)])^N with q = t^2 F^2/4N.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.polynomial.legendre import leggauss
from scipy.special import ive

from nnft_mcmc.architectures import CosNet, GaussNet, ScalarNet
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.insertions import PhiPower
from nnft_mcmc.lattice import Lattice


@dataclass(frozen=True)
class Exact:
    """Z/Z0, and <phi^2>, <phi^4> at one site."""

    ratio: float
    moments: np.ndarray


def normal(std: float, num_nodes: int) -> tuple[np.ndarray, np.ndarray]:
    z = np.linspace(-9, 9, num_nodes)
    weights = np.exp(-(z**2) / 2)
    return std * z, weights / weights.sum()


def circle(num_nodes: int) -> tuple[np.ndarray, np.ndarray]:
    return 2 * math.pi * np.arange(num_nodes) / num_nodes, np.full(num_nodes, 1 / num_nodes)


def single_neuron(features: np.ndarray, weights: np.ndarray, amplitude_std: float, couplings: np.ndarray, site: int):
    """features (nodes, sites), weights (nodes,), couplings (sites,) multiplying phi^4."""
    a, amplitude_weights = normal(amplitude_std, 1501)
    ratio, moments = 0.0, np.zeros(2)
    for chunk in np.array_split(np.arange(len(weights)), max(1, len(weights) // 1000)):
        f, w = features[chunk], weights[chunk]
        density = np.exp(-np.outer(f**4 @ couplings, a**4)) * amplitude_weights
        ratio += float(w @ density.sum(axis=1))
        moments += [w @ (density @ a**power * f[:, site] ** power) for power in (2, 4)]
    return Exact(ratio, moments / ratio)


def cos_net(coupling: float, site: int) -> Exact:
    """d = 1, all scales 1, sites -1, 0, 1."""
    (w, w_weights), (b, b_weights) = normal(1.0, 241), circle(256)
    features = np.cos(w[:, None, None] * np.array([-1.0, 0.0, 1.0]) + b[:, None]).reshape(-1, 3)
    return single_neuron(features, np.outer(w_weights, b_weights).ravel(), 1.0, np.full(3, coupling), site)


def gauss_net(coupling: float, site: int) -> Exact:
    """d = 1, sb = 1/2, sites -1/2, 0, 1/2."""
    (w, w_weights), (b, b_weights) = normal(1.0, 121), normal(0.5, 121)
    x = np.array([-0.5, 0.0, 0.5])
    features = np.exp(w[:, None, None] * x + b[:, None] - 0.25 - x**2).reshape(-1, 3)
    weights = np.outer(w_weights, b_weights).ravel()
    return single_neuron(features, weights, math.sqrt(0.5), np.full(3, 0.5 * coupling), site)


MASS, CUTOFF = 1.0, 3.0


def momenta() -> tuple[np.ndarray, np.ndarray]:
    """F^2 and weights of momenta uniform below the cut-off, eq. (72): F^2 = (2 V/2 pi)/(w^2 + m^2), V = 2 L."""
    u, weights = leggauss(48)
    return 2 * CUTOFF / math.pi / ((CUTOFF * u) ** 2 + MASS**2), weights / 2


def scalar_net_one_neuron(coupling: float) -> Exact:
    """One site, spacing 1/2, width 1."""
    (f2, f_weights), (b, b_weights) = momenta(), circle(512)
    features = np.outer(np.sqrt(f2), np.cos(b)).reshape(-1, 1)
    return single_neuron(features, np.outer(f_weights, b_weights).ravel(), 1.0, np.array([0.5 * coupling]), 0)


def scalar_net_one_site(coupling: float, width: int) -> Exact:
    """The same at larger width."""
    f2, weights = momenta()
    phi, t = np.linspace(-8, 8, 1601), np.linspace(-200, 200, 16001)
    characteristic = (ive(0, np.outer(t**2, f2) / (4 * width)) @ weights) ** width
    density = np.cos(np.outer(phi, t)) @ characteristic * (phi[1] - phi[0]) * (t[1] - t[0]) / (2 * math.pi)
    deformed = density * np.exp(-0.5 * coupling * phi**4)
    return Exact(deformed.sum(), np.array([deformed @ phi**2, deformed @ phi**4]) / deformed.sum())


@dataclass(frozen=True)
class Theory:
    """An ensemble at coupling 1, the site that is looked at, and its exact moments as a function of the coupling."""

    ensemble: Ensemble
    site: int
    exact: object


THEORIES = {
    "cos_net": Theory(Ensemble(CosNet(1, 1), Lattice((3,), 1.0), PhiPower(4, 1.0)), 0, lambda c: cos_net(c, 0)),
    "gauss_net": Theory(
        Ensemble(GaussNet(1, 1, bias_std=0.5), Lattice((3,), 0.5), PhiPower(4, 1.0)), 0, lambda c: gauss_net(c, 0)
    ),
    "scalar_net_1": Theory(
        Ensemble(ScalarNet(1, 1, MASS, CUTOFF, -1.0), Lattice((1,), 0.5), PhiPower(4, 1.0)), 0, scalar_net_one_neuron
    ),
    "scalar_net_10": Theory(
        Ensemble(ScalarNet(1, 10, MASS, CUTOFF, -1.0), Lattice((1,), 0.5), PhiPower(4, 1.0)),
        0,
        lambda c: scalar_net_one_site(c, 10),
    ),
}
