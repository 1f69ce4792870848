"""A field theory: an architecture on a lattice, with or without an insertion.

The density on parameters is P~(theta) proportional to P(theta) exp(-S_int[phi_theta]), lectures eqs. (135)-(137).
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nnft_mcmc import _checks
from nnft_mcmc.architectures import Architecture, ExactCorrelators, OnLattice
from nnft_mcmc.architectures._base import PlaneWaves, Theta
from nnft_mcmc.field_evaluation import field as field_of_waves
from nnft_mcmc.insertions import Insertion, LocalPolynomial
from nnft_mcmc.lattice import Lattice
from nnft_mcmc.point_evaluation import at_points


class Ensemble(eqx.Module):
    """The fields of `architecture` on the sites of `lattice`, deformed by exp(-S_int) where an insertion is given."""

    architecture: Architecture
    lattice: Lattice = eqx.field(static=True)
    insertion: Insertion | None
    local_action: LocalPolynomial

    def __init__(self, architecture: Architecture, lattice: Lattice, insertion: Insertion | None = None) -> None:
        if architecture.dim != lattice.dim:
            raise _checks.InputError(
                f"lattice.shape {list(lattice.shape)} is of dimension {lattice.dim} and the architecture has dim ="
                f" {architecture.dim}; they must be equal."
            )
        if isinstance(architecture, OnLattice) and architecture.lattice != lattice:
            raise _checks.InputError(
                f"{type(architecture).__name__} lives on {architecture.lattice}, not on {lattice}; give both the same."
            )
        if lattice.geometry == "torus" and not isinstance(architecture, OnLattice):
            raise _checks.InputError(
                f"lattice.geometry is 'torus' and the fields of {type(architecture).__name__} are not periodic; use"
                " 'box'."
            )
        self.architecture, self.lattice, self.insertion = architecture, lattice, insertion
        free = LocalPolynomial(np.zeros((1, *lattice.shape)))
        self.local_action = free if insertion is None else insertion.on(architecture, lattice)
        self._check_normalisable()

    def _check_normalisable(self) -> None:
        degree, leading = self.local_action.leading()
        odd = degree[(degree % 2 == 1) & (degree > 1)]
        if odd.size:
            raise _checks.InputError(
                f"the insertion's highest power is phi^{int(odd.max())}, an odd one, so the action is unbounded"
                " below; add an even power of higher degree with a positive coupling."
            )
        if ((degree > 0) & (degree % 2 == 0) & (leading < 0)).any():
            raise _checks.InputError(
                f"the insertion's highest power, phi^{int(degree.max())}, has the negative coefficient"
                f" {float(leading.min()):g} (coupling times weight), so the action is unbounded below; its coupling"
                " must be positive."
            )
        gaussian = not isinstance(self.architecture, ExactCorrelators) or self.architecture.has_gaussian_tails()
        if (degree == 1).any() and not gaussian:
            raise _checks.InputError(
                f"a source alone cannot be inserted into {type(self.architecture).__name__}, because <exp(J phi)>"
                " diverges for its heavy-tailed field; add an even power with a positive coupling."
            )

    def undeformed(self) -> "Ensemble":
        """The same fields without the insertion."""
        return Ensemble(self.architecture, self.lattice)

    def field(self, theta: Theta) -> Float[Array, "*sites"]:
        """phi_theta on the sites, shape lattice.shape."""
        if isinstance(self.architecture, OnLattice):
            return self.architecture.on_sites(theta)
        if isinstance(self.architecture, PlaneWaves):
            return field_of_waves(self.architecture.waves(theta), self.lattice)
        sites = jnp.asarray(self.lattice.sites.reshape(-1, self.lattice.dim))
        return at_points(self.architecture, theta, sites).reshape(self.lattice.shape)

    def action(self, field: Float[Array, "*sites"]) -> Float[Array, ""]:
        """S_int[phi]."""
        return self.local_action(field)

    def log_density(self, theta: Theta) -> Float[Array, ""]:
        """ln P(theta) - S_int[phi_theta], the deformed density up to its normalisation Z/Z0."""
        return self.architecture.log_prior(theta) - self.action(self.field(theta))
