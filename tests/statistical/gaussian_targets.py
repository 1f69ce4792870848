"""Deformed Gaussian fields whose moments are known: Gaussian modes, the infinite-width line, a strongly coupled torus.

Each is an ensemble and its exact <phi^2>, <phi^4> at one site and <M^2>, M the mean of the field, as functions of a
factor that multiplies the action. Each exists twice: as the Gaussian field itself, for samplers that move all of its
parameters, and as a sum of neurons that are Gaussian fields, for samplers that move neurons.
"""

import functools
import itertools
import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from nnft_mcmc.architectures import InfiniteWidth, LatticeModes, ScalarNet, SiteField
from nnft_mcmc.architectures._base import Architecture, SumOfNeurons
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.exact import TransferMatrix
from nnft_mcmc.insertions import PhiPower, Polynomial
from nnft_mcmc.lattice import Lattice


class GaussianNeurons(SumOfNeurons):
    """Each neuron is a Gaussian field with 1/width of the covariance of `gaussian`; their sum has all of it.

    Between the sites a neuron has the value of the nearest one. The sites are those of a box, and covariances on a
    torus are no less covariances.
    """

    gaussian: Architecture = eqx.field(static=True)
    lattice: Lattice = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    width: int = eqx.field(static=True)

    def prior(self):
        shape = self.width, self.lattice.num_sites
        return {"amplitudes": dist.Normal(0.0, self.width**-0.5).expand(shape)}

    def feature(self, theta_i, x):
        sites, root = square_root(self.gaussian, self.lattice)
        return jnp.asarray(root)[jnp.argmin(((sites - x[None]) ** 2).sum(axis=1))]


@functools.cache
def square_root(gaussian, lattice):
    """The sites of the box, and the Cholesky factor of the covariance, (sites, sites)."""
    sites = gaussian.lattice.sites.reshape(-1, lattice.dim)
    covariance = gaussian.two_point(sites[:, None], sites[None])
    return lattice.sites.reshape(-1, lattice.dim), np.linalg.cholesky(covariance)


def by_neurons(target, width=4):
    """The same field as a sum of neurons."""
    ensemble, exact = target
    box = Lattice(ensemble.lattice.shape, ensemble.lattice.spacing)
    net = GaussianNeurons(ensemble.architecture, box, box.dim, width)
    return Ensemble(net, box, ensemble.insertion), exact


def gaussian_plane(architecture):
    """A torus of 4 x 4 with 0.6 phi^2 inserted, which shifts the squared mass by 1.2."""
    lattice, coupling = Lattice((4, 4), 1.0, "torus"), 0.6

    def exact(factor):
        spectrum = LatticeModes(lattice, math.sqrt(0.5 + 2 * factor * coupling)).spectrum()
        return np.array([spectrum.mean(), 3 * spectrum.mean() ** 2, spectrum.flat[0] / 16])

    return Ensemble(architecture(lattice, math.sqrt(0.5)), lattice, PhiPower(2, coupling)), exact


def quartic_line():
    """The free scalar of mass 1 at infinite width, phi^4/2 in a box of 9 sites; by its transfer matrix."""
    lattice = Lattice((9,), 0.5)
    base = InfiniteWidth(ScalarNet(1, 1, 1.0, math.inf), lattice)
    ensemble = Ensemble(base, lattice, PhiPower(4, 0.5, "trapezoid"))

    def exact(factor):
        theory = TransferMatrix(1.0, lattice.axis(0), factor * ensemble.local_action.coefficients)
        return np.array([theory.moment(2)[4], theory.moment(4)[4], theory.two_point().mean()])

    return ensemble, exact


QUADRATIC, QUARTIC = -2.0 - 0.5, 6.975 / 4


@functools.cache
def strong_plane_by_rows(factor, num_nodes=14, largest=2.0):
    """Moments and ln Z/Z0 of the strong plane, by trapezoidal sums over the three fields of a row.

    S = sum_x [(d phi)^2/2 + phi^2/2 + factor (QUADRATIC phi^2 + QUARTIC phi^4)], Z = tr T^3 with T the step from row
    to row, the product of a matrix for each column and of what a row has by itself. With 14 nodes the sums are known to
    about one part in a thousand of themselves.
    """
    nodes, h = np.linspace(-largest, largest, num_nodes, retstep=True)
    rows = np.array(list(itertools.product(nodes, repeat=3)))
    local = 0.5 * rows**2 + factor * (QUADRATIC * rows**2 + QUARTIC * rows**4)
    along = 0.5 * (rows - np.roll(rows, 1, axis=1)) ** 2
    half = np.exp(-0.5 * (local + along).sum(axis=1)) * h**1.5
    step = np.exp(-0.5 * (nodes[:, None] - nodes) ** 2)
    transfer = half[:, None] * np.kron(np.kron(step, step), step) * half
    grid = (half[:, None] * transfer).reshape(*[num_nodes] * 3, -1)
    twice = half[:, None] * np.einsum("ai,bj,ck,ijkr->abcr", step, step, step, grid, optimize=True).reshape(
        transfer.shape
    )
    joint = transfer * twice  # the joint density of two rows, times Z
    density, z = joint.sum(axis=1), joint.sum()
    mean = rows.mean(axis=1)
    squared_mean = (density @ mean**2 + 2 * mean @ joint @ mean) / 3
    momentum = 2 - 2 * np.cos(2 * math.pi * np.arange(3) / 3)
    log_z0 = 4.5 * math.log(2 * math.pi) - 0.5 * np.log(1 + momentum[:, None] + momentum).sum()
    moments = np.array([density @ rows[:, 0] ** 2, density @ rows[:, 0] ** 4, squared_mean]) / z
    return moments, math.log(z) - log_z0


def strong_plane():
    """sum (d phi)^2 - 4 phi^2 + 6.975 phi^4 on a torus of 3 x 3, here phi times 2^1/2."""
    lattice = Lattice((3, 3), 1.0, "torus")
    potential = Polynomial([0.0, 0.0, QUADRATIC, 0.0, QUARTIC])
    return Ensemble(LatticeModes(lattice, 1.0), lattice, potential), lambda factor: strong_plane_by_rows(factor)[0]


TARGETS = {
    "modes": gaussian_plane(LatticeModes),
    "sites": gaussian_plane(SiteField),
    "line": quartic_line(),
    "strong": strong_plane(),
}
TARGETS |= {f"{name} by neurons": by_neurons(TARGETS[name]) for name in ("modes", "line", "strong")}
SCALES = np.array([1.0, 2.0, 1.0])
