r"""Stein (Schwinger-Dyson) identities of a deformed density: numbers of each draw whose mean is exactly zero.

For P~(theta) = P(theta) exp(-S[phi_theta]) and a vector field u on the parameters, < div u + u.grad ln P~ > = 0.

**The parameters in which phi is linear**, phi = sum_i a_i f_i, a_i ~ N(0, s_i^2) (output weights; modes, sites or
coefficients of a Gaussian field). u_i = s_i^2 dh/da_i with a functional h[phi] gives the Schwinger-Dyson equations of
the field, with the kernel K of `tangent_kernel` and the force F = dS/dphi. For h = phi(g)^k/k, phi(g) = sum_x g(x)
phi(x),

    < (k - 1) K(g, g) phi(g)^(k-2) - phi(g)^k - phi(g)^(k-1) (K F)(g) > = 0.

Averaged over all points, g = delta_x, and k = 1 ... 4 they are named `phi` ... `phi4`; k = 2 at the central site is
`middle2`, for the volume average `zero_mode2`, and for the first odd mode in time `first_mode2`. (k = 4 of a single
smeared field has such tails that its z-score is no normal number before 1e4 effective draws.) The equations hold at
fixed values of all other parameters, so all of them are multiplied by 4/(1 + kappa)^2, kappa the mean of K(x, x) in
units of its expectation, which keeps the moments finite in heavy-tailed networks.

Why these: a coupling wrong by the factor 1 + delta moves the mean of an identity by -delta Cov(identity, S), so the
best identity is the one most correlated with S. In the free theory with h of degree 2 and 4 some combination of `phi2`
and `phi4` *is* S - <S>; in one-dimensional phi^4 theory `phi2` alone has a correlation of 0.95 with S, where 1 is the
Cramer-Rao bound. `action_terms` are the S_k of S = sum_k S_k, of degree k, with which `certificate` finds the best
combination.

**Every other parameter.** With the vector fields X of `vector_fields`, u = O X,

    < rho O + X.grad O - O X.grad S > = 0,     O = 1 and O = (v - 1)/(v + 1), named `... field`,

v the volume average of phi^2 in units of its expectation. They are averaged over up to 16 neurons, evenly spaced.
A parameter whose law has no known field is in `uncertified`.

Sources: A. Gonzalez-Arroyo and M. Okawa, Phys. Rev. Lett. 58 (1987) 2165, for couplings from Schwinger-Dyson equations;
J. Gorham and L. Mackey, NeurIPS 2015, arXiv:1506.03039, for Stein's method as a test of samples.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nnft_mcmc.architectures import ExactCorrelators, InfiniteWidthKernel, OnLattice, SumOfNeurons
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.estimators.tangent_kernel import Kernel, KernelOf, kernel_of, linear_block
from nnft_mcmc.estimators.vector_fields import OwnField, Rows, is_rotation, own_fields, rotation_field
from nnft_mcmc.lattice import Lattice

Theta = Mapping[str, Array]

ACTION_TERMS = "action_terms"
LOCAL_POWERS = (1, 2, 3, 4)
NEURONS = 16  # of which the identities of other parameters are averages


@dataclass(frozen=True, eq=False)
class Identities:
    """`names` of the identities by parameter, `degrees` of the terms of the action, parameters without identities.

    Called with parameters and field it gives, by parameter, an array of the identities' values on one draw, and the
    action's terms as `action_terms`.
    """

    names: dict[str, tuple[str, ...]]
    degrees: tuple[int, ...]
    uncertified: tuple[str, ...]
    evaluate: Callable[[Theta, Array], dict[str, Array]]

    def __call__(self, theta: Theta, field: Float[Array, "*sites"]) -> dict[str, Float[Array, " identities"]]:
        return self.evaluate(theta, field)


def identities(ensemble: Ensemble) -> Identities:
    """The identities of the ensemble's density."""
    parts = [_Linear(ensemble, name) for name in [linear_block(ensemble.architecture)] if name is not None]
    own = _Own(ensemble, tuple(part.name for part in parts))
    degrees = action_degrees(ensemble)
    names = {**{part.name: part.names for part in parts}, **own.names}

    def evaluate(theta: Theta, field: Array) -> dict[str, Array]:
        phi = field.reshape(-1)
        force = ensemble.local_action.force(field).reshape(-1)
        found = {part.name: part(theta, phi, force) for part in parts}
        found.update(own(theta, phi, force))
        if degrees:
            found[ACTION_TERMS] = _action_terms(ensemble, degrees, field)
        return found

    missing = tuple(name for name in ensemble.architecture.prior() if name not in names)
    return Identities(names, degrees, missing, evaluate)


def action_degrees(ensemble: Ensemble) -> tuple[int, ...]:
    """The powers of the field that the action has, the constant left out."""
    coefficients = ensemble.local_action.coefficients
    return tuple(k for k in range(1, len(coefficients)) if coefficients[k].any())


def _action_terms(ensemble: Ensemble, degrees: tuple[int, ...], field: Array) -> Array:
    """S_k = sum_x coefficient_k(x) phi(x)^k."""
    coefficients = ensemble.local_action.coefficients
    return jnp.stack([jnp.sum(jnp.asarray(coefficients[k], field.dtype) * field**k) for k in degrees])


def expected_variance(ensemble: Ensemble) -> float | None:
    """The volume average of <phi^2> before the insertion, at this or infinite width; None if neither is known."""
    architecture, sites = ensemble.architecture, ensemble.lattice.sites
    if isinstance(architecture, ExactCorrelators):
        variance = architecture.two_point(sites, sites)
    elif isinstance(architecture, InfiniteWidthKernel):
        variance = architecture.infinite_width_kernel(sites, sites)
    else:
        return None
    mean = float(np.mean(variance))
    return mean if np.isfinite(mean) and mean > 0 else None


def smearings(lattice: Lattice) -> dict[str, np.ndarray]:
    """Weights (sites,) of the volume average and, of three times or more, of the first odd mode in time."""
    volume = lattice.num_sites
    found = {"zero_mode": np.full(volume, 1 / volume)}
    times = lattice.shape[0]
    if times > 2:
        steps = np.arange(times) - (times - 1) / 2
        wave = np.sin((2 if lattice.geometry == "torus" else 1) * np.pi * steps / times)
        found["first_mode"] = (
            np.broadcast_to(wave.reshape(-1, *[1] * (lattice.dim - 1)), lattice.shape).reshape(-1) / volume
        )
    return found


def langevin(k: int, phi: Array, variance: Array, pulled: Array) -> Array:
    """(k - 1) K phi^(k-2) - phi^k - phi^(k-1) (K F), for phi = phi(g), K = K(g, g) and (K F)(g)."""
    spread = (k - 1) * variance * phi ** (k - 2) if k > 1 else jnp.zeros_like(phi)
    return spread - phi**k - phi ** (k - 1) * pulled


class _Linear:
    """The identities of the parameters in which the field is linear."""

    def __init__(self, ensemble: Ensemble, name: str) -> None:
        self.name, lattice = name, ensemble.lattice
        weights = smearings(lattice)
        self.has_sites = isinstance(ensemble.architecture, (SumOfNeurons, OnLattice))
        self.centre = int(np.ravel_multi_index(lattice.centre, lattice.shape))
        if not self.has_sites:
            middle = np.zeros(lattice.num_sites)
            middle[self.centre] = 1.0
            weights["middle"] = middle
        self.weights = np.stack(list(weights.values()))
        self.kernel: KernelOf = kernel_of(ensemble, self.weights)
        # rows of the smearings and powers of their fields
        self.smeared = [(row, 2) for row in range(len(weights))] + ([] if self.has_sites else [(0, 1)])
        of_smeared = tuple(f"{list(weights)[row]}{k if k > 1 else ''}" for row, k in self.smeared)
        of_sites = tuple(f"phi{k if k > 1 else ''}" for k in LOCAL_POWERS)
        self.names = (*of_sites, "middle2", *of_smeared) if self.has_sites else of_smeared
        self.scale = expected_variance(ensemble)

    def __call__(self, theta: Theta, phi: Array, force: Array) -> Array:
        kernel = self.kernel(theta, force)
        values = [*self._of_sites(kernel, phi), *self._of_smearings(kernel, phi)]
        return self._damping(kernel) * jnp.stack(values)

    def _of_sites(self, kernel: Kernel, phi: Array) -> list[Array]:
        if kernel.diagonal is None or kernel.pulled is None:
            return []
        local = [jnp.mean(langevin(k, phi, kernel.diagonal, kernel.pulled)) for k in LOCAL_POWERS]
        at = self.centre
        return [*local, langevin(2, phi[at], kernel.diagonal[at], kernel.pulled[at])]

    def _of_smearings(self, kernel: Kernel, phi: Array) -> list[Array]:
        fields = jnp.dot(jnp.asarray(self.weights, phi.dtype), phi)
        return [langevin(k, fields[j], kernel.smeared[j], kernel.smeared_pull[j]) for j, k in self.smeared]

    def _damping(self, kernel: Kernel) -> Array:
        if self.scale is None or kernel.diagonal is None:
            return jnp.ones(())
        return 4 / (1 + jnp.mean(kernel.diagonal) / self.scale) ** 2


class _Own:
    """The identities of all other parameters."""

    def __init__(self, ensemble: Ensemble, done: tuple[str, ...]) -> None:
        architecture = ensemble.architecture
        self.ensemble, self.scale = ensemble, expected_variance(ensemble) or 1.0
        prior = {name: d for name, d in architecture.prior().items() if name not in done}
        self.neurons = architecture if isinstance(architecture, SumOfNeurons) else None
        width = self.neurons.width if self.neurons is not None else 0
        self.rows: Rows = np.unique(np.linspace(0, width - 1, min(width, NEURONS)).astype(int)) if width else ...
        common = self.neurons.common if self.neurons is not None else ()
        self.fields: dict[str, list[OwnField]] = {
            name: own_fields(d, self.rows) for name, d in prior.items() if name not in common
        }
        self.rotations = tuple(name for name in common if is_rotation(prior[name]))
        self.names = {
            name: tuple(f"{field.name}{suffix}" for field in fields for suffix in ("", " field"))
            for name, fields in self.fields.items()
            if fields
        }
        self.names.update(dict.fromkeys(self.rotations, ("turn", "turn field")))

    def __call__(self, theta: Theta, phi: Array, force: Array) -> dict[str, Array]:
        v = jnp.mean(phi**2) / self.scale
        bounded = (v - 1) / (v + 1)
        slope = 4 / (v + 1) ** 2 * phi / (phi.size * self.scale)  # dO/dphi(x)
        found: dict[str, Array] = {}
        if any(self.fields.values()):
            of_force, of_slope, looked_at = self._gradients(theta, force, slope)
            for name, fields in self.fields.items():
                values = [
                    value
                    for field in fields
                    for value in _pair(field.field(looked_at[name]), of_force[name], of_slope[name], bounded)
                ]
                if values:
                    found[name] = jnp.stack(values)
        if self.rotations:
            shared = {name: theta[name] for name in self.rotations}
            of_force, of_slope = self._pulled(theta, shared, force, slope)
            for name in self.rotations:
                pair = _pair(rotation_field(shared[name]), of_force[name], of_slope[name], bounded)
                found[name] = jnp.stack(pair)
        return found

    def _gradients(self, theta: Theta, force: Array, slope: Array) -> tuple[Any, Any, dict[str, Array]]:
        """Gradients of S and of O in the parameters that are looked at, and those parameters."""
        if self.neurons is None:
            chosen = {name: theta[name] for name in self.fields}
            return *self._pulled(theta, chosen, force, slope), chosen
        architecture, lattice = self.neurons, self.ensemble.lattice
        common = {name: theta[name] for name in architecture.common}
        own = {name: value[self.rows] for name, value in theta.items() if name not in common}
        sites = jnp.asarray(lattice.sites.reshape(-1, lattice.dim))
        varied = {name: own[name] for name in self.fields}

        def fields_of(varied: dict[str, Array]) -> Array:
            return jnp.sum(architecture.neurons({**own, **varied, **common}, sites), axis=0)

        _, pull = jax.vjp(fields_of, varied)
        return pull(force)[0], pull(slope)[0], varied

    def _pulled(self, theta: Theta, varied: dict[str, Array], force: Array, slope: Array) -> tuple[Any, Any]:
        """The same for parameters on which the field depends in any way."""
        _, pull = jax.vjp(lambda v: self.ensemble.field({**theta, **v}).reshape(-1), varied)
        return pull(force)[0], pull(slope)[0]


def _pair(field: tuple[Array, Array], of_force: Array, of_slope: Array, bounded: Array) -> list[Array]:
    """rho O + X.grad O - O X.grad S for O = 1 and for the bounded O, averaged over rows."""
    x, rho = field
    number = max(1, rho.size)
    plain = jnp.sum(rho) - jnp.sum(x * of_force)
    return [plain / number, (plain * bounded + jnp.sum(x * of_slope)) / number]
