"""Operator insertions: the interaction part of the action, density x exp(-S_int[phi]), lectures eqs. (135)-(137).

Every insertion here is a local potential, S_int = sum_x weight(x) V_x(phi(x)), with V_x a polynomial and weight(x) the
quadrature weights of the lattice (`riemann`: spacing^d at every site; `trapezoid`: halved at the ends of a box). Put on
a lattice, any sum of insertions is one array of coefficients,

    S_int = sum_x sum_k coefficients[k, x] phi(x)^k,

which is all that samplers and exact references see. Couplings are those of the continuum, without 1/n!.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nnft_mcmc import _checks
from nnft_mcmc.architectures import Architecture, ExactCorrelators, LatticeModes, SiteField
from nnft_mcmc.conventions import CONVENTIONS, LatticeAction, in_convention, lattice_action
from nnft_mcmc.lattice import QUADRATURES, Lattice

MAX_DEGREE = 16


class LocalPolynomial(eqx.Module):
    """S_int = sum_x sum_k coefficients[k, x] phi(x)^k; coefficients (degree + 1, *sites) include the weights."""

    coefficients: np.ndarray

    def __hash__(self) -> int:
        """By value, so that `jax.jit(ensemble.log_density)` can tell ensembles apart."""
        return hash((self.coefficients.shape, self.coefficients.tobytes()))

    def per_site(self, field: Float[Array, "*sites"]) -> Float[Array, "*sites"]:
        """What each site adds to the action."""
        total = jnp.zeros_like(field)
        for c in self.coefficients[::-1]:  # Horner
            total = total * field + jnp.asarray(c, dtype=field.dtype)
        return total

    def __call__(self, field: Float[Array, "*sites"]) -> Float[Array, ""]:
        """S_int[phi]."""
        return jnp.sum(self.per_site(field))

    def force(self, field: Float[Array, "*sites"]) -> Float[Array, "*sites"]:
        """dS_int/dphi(x) at every site."""
        return self._derivative().per_site(field)

    def curvature(self, field: Float[Array, "*sites"]) -> Float[Array, "*sites"]:
        """d^2 S_int/dphi(x)^2 at every site."""
        return self._derivative()._derivative().per_site(field)

    def _derivative(self) -> "LocalPolynomial":
        orders = np.arange(1, len(self.coefficients)).reshape(-1, *[1] * (self.coefficients.ndim - 1))
        return LocalPolynomial(orders * self.coefficients[1:])

    @property
    def is_free(self) -> bool:
        """Whether there is no interaction at all."""
        return not self.coefficients.any()

    @property
    def degree(self) -> int:
        """Highest power of the field that occurs; 0 for the free theory."""
        present = self.coefficients.reshape(len(self.coefficients), -1).any(axis=1)
        return int(np.max(np.nonzero(present)[0], initial=0))

    def leading(self) -> tuple[np.ndarray, np.ndarray]:
        """Degree and coefficient of the highest power at each site (0, 0 where nothing is inserted)."""
        present = self.coefficients != 0
        degree = np.where(present.any(axis=0), len(present) - 1 - np.argmax(present[::-1], axis=0), 0)
        return degree, np.take_along_axis(self.coefficients, degree[None], axis=0)[0]


class Insertion(eqx.Module):
    """A term of the interaction. `a + b` inserts both."""

    @abstractmethod
    def on(self, architecture: Architecture, lattice: Lattice) -> LocalPolynomial:
        """The insertion on the sites of `lattice`, for the fields of `architecture`."""

    def __add__(self, other: "Insertion") -> "Insertion":
        return Sum((self, other))


class Sum(Insertion):
    """Several insertions at once."""

    terms: tuple[Insertion, ...]

    def on(self, architecture: Architecture, lattice: Lattice) -> LocalPolynomial:
        parts = [term.on(architecture, lattice).coefficients for term in self.terms]
        total = np.zeros((max(map(len, parts)), *lattice.shape))
        for part in parts:
            total[: len(part)] += part
        return LocalPolynomial(total)


class Polynomial(Insertion):
    """S_int = sum_x weight(x) sum_k coefficients[k] phi(x)^k, k = 0, 1, 2, ..."""

    coefficients: tuple[float, ...]
    quadrature: str = "riemann"

    def __init__(self, coefficients: Sequence[float], quadrature: str = "riemann") -> None:
        if not isinstance(coefficients, (list, tuple)) or not 1 <= len(coefficients) <= MAX_DEGREE + 1:
            raise _checks.InputError(
                f"polynomial.coefficients is {coefficients!r}; it must be a list of 1 to {MAX_DEGREE + 1} numbers,"
                " coefficients[k] multiplying phi^k."
            )
        self.coefficients = tuple(_checks.real("polynomial.coefficients", c) for c in coefficients)
        self.quadrature = _checks.one_of("polynomial.quadrature", quadrature, QUADRATURES)

    def on(self, architecture: Architecture, lattice: Lattice) -> LocalPolynomial:
        weights = lattice.quadrature_weights(self.quadrature)
        return LocalPolynomial(np.multiply.outer(np.array(self.coefficients), weights))


class PhiPower(Insertion):
    """S_int = coupling sum_x weight(x) phi(x)^degree."""

    degree: int = 4
    coupling: float = 1.0
    quadrature: str = "riemann"

    def __check_init__(self) -> None:
        _check_power("phi_power", self.degree, self.coupling, self.quadrature)

    def on(self, architecture: Architecture, lattice: Lattice) -> LocalPolynomial:
        monomial = (*[0.0] * self.degree, self.coupling)
        return Polynomial(monomial, self.quadrature).on(architecture, lattice)


class Source(Insertion):
    """S_int = - sum_x weight(x) J(x) phi(x), so that the density carries exp(+ int J phi), lectures eq. (28).

    `strength` is J: one number, or nested lists of the lattice's shape.
    """

    strength: tuple | float
    quadrature: str = "riemann"

    def __init__(self, strength: float | Sequence, quadrature: str = "riemann") -> None:
        try:
            array = np.asarray(strength, dtype=np.float64)
        except (TypeError, ValueError):
            array = np.array(np.nan)
        if not np.isfinite(array).all():
            raise _checks.InputError(
                f"source.strength is {strength!r}; it must be a finite number or a nested list of them, one per site."
            )
        self.strength = _nested_tuple(array.tolist())
        self.quadrature = _checks.one_of("source.quadrature", quadrature, QUADRATURES)

    def on(self, architecture: Architecture, lattice: Lattice) -> LocalPolynomial:
        strength = np.asarray(self.strength)
        if strength.size != 1 and strength.shape != lattice.shape:
            raise _checks.InputError(
                f"source.strength has shape {list(strength.shape)} on a lattice of shape {list(lattice.shape)}; give"
                " one number, or one per site."
            )
        linear = -strength * lattice.quadrature_weights(self.quadrature)
        return LocalPolynomial(np.stack([np.zeros(lattice.shape), linear]))


class WickPower(Insertion):
    """S_int = coupling sum_x weight(x) :phi(x)^degree:, Wick-ordered with the ensemble's own exact G(x, x).

    :phi^n: = sum_j (-1)^j n!/(j! (n - 2j)! 2^j) G(x, x)^j phi^(n - 2j), so :phi^4: = phi^4 - 6 G phi^2 + 3 G^2. In
    d = 2 it takes out every ultraviolet divergence.
    """

    degree: int = 4
    coupling: float = 1.0
    quadrature: str = "riemann"

    def __check_init__(self) -> None:
        _check_power("wick_power", self.degree, self.coupling, self.quadrature)

    def on(self, architecture: Architecture, lattice: Lattice) -> LocalPolynomial:
        if not isinstance(architecture, ExactCorrelators):
            raise _checks.InputError(
                "wick_power needs the exact two-point function at coincident points, which"
                f" {type(architecture).__name__} does not have; use phi_power or polynomial with the counterterm"
                " written out."
            )
        variance = architecture.two_point(lattice.sites, lattice.sites)
        if not np.isfinite(variance).all():
            raise _checks.InputError(
                "wick_power needs a finite G(0), which this architecture has only with a finite cutoff; give one."
            )
        weights = lattice.quadrature_weights(self.quadrature)
        n, coefficients = self.degree, np.zeros((self.degree + 1, *lattice.shape))
        for j in range(n // 2 + 1):
            hermite = (-1) ** j * math.factorial(n) / (math.factorial(j) * math.factorial(n - 2 * j) * 2**j)
            coefficients[n - 2 * j] = self.coupling * weights * hermite * variance**j
        return LocalPolynomial(coefficients)


class LatticePhi4(Insertion):
    """What makes the total action of a lattice ensemble the phi^4 theory of a named convention.

    The field of an ensemble has the kinetic term a^d (d phi)^2/2 in every convention, so the stated action is rescaled
    to it, phi_stated = s phi (`conventions`), and the free action of the architecture is taken off it:

        S_int = sum_x [ (A - d a^(d-2) - a^d mass^2/2) phi^2 + B phi^4 + e ],

    A, B and e the coefficients of the rescaled action. So the architecture's mass drops out of the theory.
    """

    convention: str
    couplings: tuple[tuple[str, float], ...]

    def __init__(
        self,
        convention: str,
        m2: float | None = None,
        mu2: float | None = None,
        lam: float | None = None,
        g: float | None = None,
        coupling: float | None = None,
        kappa: float | None = None,
        beta: float | None = None,
    ) -> None:
        named = {"m2": m2, "mu2": mu2, "lam": lam, "g": g, "coupling": coupling, "kappa": kappa, "beta": beta}
        self.convention = _checks.one_of("lattice_phi4.convention", convention, CONVENTIONS)
        given = {name: value for name, value in named.items() if value is not None}
        lattice_action(convention, given, dim=1)
        self.couplings = tuple(given.items())

    def on(self, architecture: Architecture, lattice: Lattice) -> LocalPolynomial:
        free, stated = free_lattice_action(architecture), self.action(lattice)
        coefficients = np.zeros((5, *lattice.shape))
        coefficients[0] = stated.constant
        coefficients[2] = stated.quadratic - free.quadratic
        coefficients[4] = stated.quartic
        return LocalPolynomial(coefficients)

    def action(self, lattice: Lattice) -> LatticeAction:
        """The total action in the field of the ensemble."""
        stated = lattice_action(self.convention, dict(self.couplings), lattice.dim)
        return stated.rescaled(
            in_convention(self.convention, stated, "continuum", lattice.dim, 1.0, lattice.spacing).field_scale
        )


def free_lattice_action(architecture: Architecture) -> LatticeAction:
    """S_free = sum_x [-a^(d-2) sum_mu phi phi_mu + (d a^(d-2) + a^d mass^2/2) phi^2] of a nearest-neighbour field."""
    other_modes = isinstance(architecture, LatticeModes) and not architecture.is_nearest_neighbour
    if other_modes or not isinstance(architecture, (LatticeModes, SiteField)):
        raise _checks.InputError(
            f"the free action of this {type(architecture).__name__} does not couple nearest neighbours only; use"
            " site_field, or lattice_modes with dispersion = 'lattice' and without cutoff."
        )
    couplings = {"m2": architecture.mass**2, "coupling": 0.0}
    return lattice_action("continuum", couplings, architecture.dim, architecture.lattice.spacing)


def _check_power(name: str, degree: int, coupling: float, quadrature: str) -> None:
    _checks.integer(f"{name}.degree", degree, minimum=1, maximum=MAX_DEGREE)
    _checks.real(f"{name}.coupling", coupling)
    _checks.one_of(f"{name}.quadrature", quadrature, QUADRATURES)


def _nested_tuple(value: list | float) -> tuple | float:
    return tuple(map(_nested_tuple, value)) if isinstance(value, list) else value


REGISTRY: dict[str, type[Insertion]] = {
    "lattice_phi4": LatticePhi4,
    "phi_power": PhiPower,
    "polynomial": Polynomial,
    "source": Source,
    "wick_power": WickPower,
}
