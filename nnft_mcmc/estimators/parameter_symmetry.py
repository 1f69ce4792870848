r"""What a group element does to the parameters of a network, lectures eqs. (58)-(59).

    rho(g) phi_theta(g x) = phi_{theta_g}(x)  for all x,      P(theta_g) |d theta_g/d theta| = P(theta)

makes g a symmetry of the ensemble at every width. `absorbed` is theta_g for the elements where such a map is known:

    plane waves          t: b -> b + w.t,   R: w -> R^T w,   -1: a -> -a            (isotropic density of w for R)
    two quadratures      t: (u, v) turns by the angle w.t
    gauss-net, dense     R: w -> R^T w about the origin only,   -1: a -> -a
    vector outputs       rho: A_i -> rho A_i, the density of the output weights depends on |A_i|
    convolution          cyclic shifts of the image: theta for "pool", a_ip -> a_i,p-s for "flatten"
    attention            permutations of the tokens: theta; rotations R of their features: Wq, Wk, Wv -> R^T W
    fields on a lattice  translations and rotations that map sites to sites and keep the covariance: phi moves along;
                         plane waves and whitened coefficients turn among modes of equal variance

All of them keep volumes, |d theta_g/d theta| = 1.
"""

import math
from collections.abc import Mapping
from functools import singledispatch
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array

from nnft_mcmc import _checks
from nnft_mcmc.architectures import (
    CosNet,
    CubeNet,
    GaussNet,
    InfiniteWidth,
    LatticeModes,
    OnLattice,
    SiteField,
    StratifiedNet,
    SumOfNeurons,
    TwoQuadratureNet,
)
from nnft_mcmc.architectures._base import Architecture
from nnft_mcmc.architectures.amplitudes import Rayleigh
from nnft_mcmc.architectures.attention import Attention
from nnft_mcmc.architectures.convolution import ConvNet
from nnft_mcmc.architectures.deep import MLP, DeepEuclideanNet
from nnft_mcmc.architectures.dense import DenseNet
from nnft_mcmc.architectures.on_lattice import OnTorus, hartley
from nnft_mcmc.architectures.plane_wave import IsotropicNet, PlaneWaveNet
from nnft_mcmc.architectures.vector import EquivariantNet, VectorArchitecture, VectorNet
from nnft_mcmc.estimators.group_actions import (
    ORTHOGONAL_TO,
    GroupElement,
    Joint,
    Orthogonal,
    OutputOrthogonal,
    SignFlip,
    Translation,
    check_element,
)

Theta = Mapping[str, Array]


def absorbed(architecture: Architecture | VectorArchitecture, element: GroupElement, theta: Theta) -> dict[str, Array]:
    """theta_g with rho(g) phi_theta(g x) = phi_{theta_g}(x) and P(theta_g) |d theta_g/d theta| = P(theta).

    Raises `InputError` where the ensemble has no such symmetry, or where no map of parameters is known.
    """
    check_element(architecture, element)
    return dict(_absorb(architecture, element, theta))


@singledispatch
def _absorb(architecture: Any, element: GroupElement, theta: Theta) -> Theta:
    raise _unknown(architecture, element)


@_absorb.register
def _(net: SumOfNeurons, element: GroupElement, theta: Theta) -> Theta:
    if isinstance(element, SignFlip) and _is_normal(net.prior()["amplitudes"]):
        return _flipped(theta)  # eq. (59)
    raise _unknown(net, element)


@_absorb.register
def _(net: PlaneWaveNet, element: GroupElement, theta: Theta) -> Theta:
    match element:
        case Translation():
            phases = theta["phases"] + jnp.dot(theta["momenta"], jnp.asarray(element.vector))
            return {**theta, "phases": _on_circle(phases)}
        case Orthogonal():
            _check_isotropic(net, element)
            return {**theta, "momenta": _turned(theta["momenta"], element)}
        case SignFlip() if isinstance(net.law_of_amplitudes, Rayleigh):
            return {**theta, "phases": _on_circle(theta["phases"] + math.pi)}  # the output weights are positive
        case SignFlip():
            return _flipped(theta)
    raise _unknown(net, element)


@_absorb.register
def _(net: TwoQuadratureNet, element: GroupElement, theta: Theta) -> Theta:
    if isinstance(element, Translation):
        # u cos(z + c) + v sin(z + c) = (u cos c + v sin c) cos z + (v cos c - u sin c) sin z
        c = jnp.dot(theta["momenta"], jnp.asarray(element.vector))
        u, v = theta["amplitudes"].T
        turned = [u * jnp.cos(c) + v * jnp.sin(c), v * jnp.cos(c) - u * jnp.sin(c)]
        return {**theta, "amplitudes": jnp.stack(turned, axis=-1)}
    if isinstance(element, Orthogonal):
        _check_isotropic(net.base, element)
        return {**theta, "momenta": _turned(theta["momenta"], element)}
    if isinstance(element, SignFlip):
        return _flipped(theta)
    raise _unknown(net, element)


@_absorb.register
def _(net: StratifiedNet, element: GroupElement, theta: Theta) -> Theta:
    if isinstance(element, Orthogonal) and net.common:
        return {**theta, "rotation": jnp.dot(jnp.asarray(element.matrix).T, theta["rotation"])}  # R^T w = R^T (R' q)
    # In d = 1 the cells are intervals of |w|, which no element changes.
    momenta = {name: theta[name] for name in ("momenta", *net.common)}
    moved = _absorb(net.base, element, net.turned(theta))
    return {**moved, **momenta} if net.common else moved


@_absorb.register(GaussNet)
@_absorb.register(DenseNet)
def _(net: GaussNet | DenseNet, element: GroupElement, theta: Theta) -> Theta:
    return _weights_from_the_origin(net, "weights", element, theta)


@_absorb.register
def _(net: MLP, element: GroupElement, theta: Theta) -> Theta:
    if isinstance(element, SignFlip):
        return _flipped(theta, f"biases_{net.depth}")
    return _weights_from_the_origin(net, "weights_1", element, theta)


@_absorb.register
def _(net: DeepEuclideanNet, element: GroupElement, theta: Theta) -> Theta:
    if isinstance(element, SignFlip):
        return _flipped(theta, f"biases_{net.depth}")
    return _absorb(net.base, element, theta)


@_absorb.register
def _(net: ConvNet, element: GroupElement, theta: Theta) -> Theta:
    match element:
        case SignFlip():
            return _flipped(theta)
        case Orthogonal():
            moved = np.asarray(element.matrix) @ np.arange(net.dim)  # pixel p shows what was at moved[p]
            if not (np.abs(net.translations() - moved) < ORTHOGONAL_TO).all(axis=1).any():
                raise _broken(net, element, "only cyclic shifts of the image are known to be one")
            if net.readout == "pool":
                return theta
            return {**theta, "amplitudes": theta["amplitudes"][:, np.argsort(moved)]}
    raise _unknown(net, element)


@_absorb.register
def _(net: Attention, element: GroupElement, theta: Theta) -> Theta:
    match element:
        case SignFlip():
            return _flipped(theta)
        case Orthogonal():
            blocks = np.asarray(element.matrix).reshape(net.tokens, net.features, net.tokens, net.features)
            source = np.abs(blocks).sum(axis=(1, 3)).argmax(axis=1)
            turn = blocks[0, :, source[0], :]
            if np.abs(np.kron(np.eye(net.tokens)[source], turn) - np.asarray(element.matrix)).max() > ORTHOGONAL_TO:
                raise _broken(net, element, "only permutations of tokens and rotations of their features alike are")
            turned = {name: jnp.einsum("fg,nfd->ngd", turn, theta[name]) for name in ("queries", "keys", "values")}
            return {**theta, **turned}
    raise _unknown(net, element)


@_absorb.register
def _(net: OnLattice, element: GroupElement, theta: Theta) -> Theta:
    match element:
        case SignFlip():
            return {name: -value for name, value in theta.items()}  # a linear map of centred normal parameters
        case Translation() | Orthogonal():
            return _moved(net, theta, _site_permutation(net, element))
    raise _unknown(net, element)


@singledispatch
def _moved(net: Any, theta: Theta, order: np.ndarray) -> Theta:
    """The parameters of the field phi(order[i]) at site i, sites numbered in C order."""
    raise _checks.InputError(f"no map of the parameters of {type(net).__name__} is known that moves its sites.")


@_moved.register
def _(net: SiteField, theta: Theta, order: np.ndarray) -> Theta:
    return {"phi": _permuted(theta["phi"], order)}


@_moved.register
def _(net: LatticeModes, theta: Theta, order: np.ndarray) -> Theta:
    # The variances of the modes are invariant, so they may be left out on both sides.
    return {"amplitudes": hartley(_permuted(hartley(theta["amplitudes"]), order))}


@_moved.register
def _(net: InfiniteWidth, theta: Theta, order: np.ndarray) -> Theta:
    modes = net.process.modes  # of equal eigenvalues where the permutation mixes them
    return {"coefficients": jnp.dot(modes.T @ modes[order], theta["coefficients"])}


def _permuted(field: Array, order: np.ndarray) -> Array:
    return field.reshape(-1)[order].reshape(field.shape)


def _site_permutation(net: OnLattice, element: Translation | Orthogonal) -> np.ndarray:
    """Number in C order of the site g x for each site x; refused where g is no symmetry of the covariance."""
    sites, index = net.lattice.sites.reshape(-1, net.dim), np.indices(net.lattice.shape).reshape(net.dim, -1).T
    try:
        moved = net.site_indices(element.on_points(sites))
    except _checks.InputError:
        raise _broken(net, element, "only what maps sites to sites is") from None
    first = slice(0, 1) if isinstance(net, OnTorus) else slice(None)  # a torus is translation invariant
    before, after = (net.covariance(i[first, None], i[None]) for i in (index, moved))
    if np.abs(after - before).max() > ORTHOGONAL_TO * np.abs(before).max():
        raise _broken(net, element, "it changes the covariance of the sites")
    return np.ravel_multi_index(tuple(moved.T), net.lattice.shape)


@_absorb.register
def _(net: VectorNet, element: GroupElement, theta: Theta) -> Theta:
    match element:
        case OutputOrthogonal():
            return {**theta, "amplitudes": jnp.dot(theta["amplitudes"], jnp.asarray(element.matrix).T)}
        case Joint():
            rotated = _absorb(net.base, Orthogonal(element.matrix), theta)
            return {**rotated, "amplitudes": jnp.dot(theta["amplitudes"], jnp.asarray(element.matrix))}
    return _absorb(net.base, element, theta)


@_absorb.register
def _(net: EquivariantNet, element: GroupElement, theta: Theta) -> Theta:
    match element:
        case Joint():
            return theta
        case SignFlip():
            return _absorb(net.profile, element, theta)
    raise _broken(net, element, "phi(x) points along x, so only rotations of inputs and outputs alike (Joint) are")


def _weights_from_the_origin(net: Any, name: str, element: GroupElement, theta: Theta) -> Theta:
    match element:
        case Orthogonal():
            return {**theta, name: _turned(theta[name], element)}
        case SignFlip():
            return _flipped(theta)
        case Translation():
            raise _broken(
                net, element, "its neurons single out the origin, so only rotations about it and phi -> -phi are"
            )
    raise _unknown(net, element)


def _turned(weights: Array, element: Orthogonal) -> Array:
    """R^T w for each w: w.(R x) = (R^T w).x."""
    return jnp.dot(weights, jnp.asarray(element.matrix))


def _flipped(theta: Theta, *others: str) -> Theta:
    """Output weights, and output biases where there are any, with the opposite sign."""
    return {name: -value if name in {"amplitudes", *others} else value for name, value in theta.items()}


def _on_circle(phases: Array) -> Array:
    return jnp.remainder(phases + math.pi, 2 * math.pi) - math.pi


def _check_isotropic(net: PlaneWaveNet, element: Orthogonal) -> None:
    if isinstance(net, (IsotropicNet, CosNet)):
        return
    if not isinstance(net, CubeNet):
        raise _unknown(net, element)
    entries = np.abs(np.asarray(element.matrix))
    if (np.minimum(entries, np.abs(entries - 1)) > ORTHOGONAL_TO).any():
        raise _broken(
            net, element, "only the permutations and reflections of the axes, which map the cube to itself, are"
        )


def _is_normal(prior: dist.Distribution) -> bool:
    while isinstance(prior, (dist.ExpandedDistribution, dist.Independent)):
        prior = prior.base_dist
    return isinstance(prior, dist.Normal) and not np.any(np.asarray(prior.loc))


def _broken(net: Any, element: GroupElement, symmetries: str) -> _checks.InputError:
    return _checks.InputError(
        f"{type(element).__name__} is no symmetry of {type(net).__name__} at finite width: {symmetries}."
    )


def _unknown(net: Any, element: GroupElement) -> _checks.InputError:
    return _checks.InputError(
        f"no map of the parameters of {type(net).__name__} is known that absorbs {type(element).__name__}; test the"
        " symmetry on draws with symmetry_test."
    )
