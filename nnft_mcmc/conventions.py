"""Conventions of lattice phi^4: couplings, the field and observables from any one to any other.

Every convention is a way to write one action, on a hypercubic lattice of V sites in d dimensions,

    S = sum_x [ -c sum_mu phi(x) phi(x + mu) + a phi(x)^2 + b phi(x)^4 + e ],           e a constant,

and all conversions go through its numbers (c, a, b, e):

    albergo          (d phi)^2 + m2 phi^2 + lam phi^4                           arXiv:1904.12072, no factor 1/2
    schaich_loinaz   (d phi)^2/2 + mu2 phi^2/2 + (lam/4) phi^4                  arXiv:0902.0045
    standard         (d phi)^2/2 + m2 phi^2/2 + (g/4!) phi^4
    continuum        (d phi)^2/2 + m2 phi^2/2 + coupling phi^4                  of this package
    hopping          -2 kappa sum_mu phi phi_mu + phi^2 + lam (phi^2 - 1)^2
    hasenbusch       -beta sum_mu phi phi_mu + phi^2 + lam (phi^2 - 1)^2        arXiv:cond-mat/9902026

The first four are a^d sum_x with (d phi)^2 = sum_mu (phi(x + mu) - phi(x))^2/a^2 on a lattice of spacing a; the last
two know no spacing. A rescaling phi = s phi' takes (c, a, b, e) to (s^2 c, s^2 a, s^4 b, e), and s is what gives the
hopping term the form that the new convention wants: s^2 = c'/c in the first four, the positive root of
2 b s^4 + a s^2 = 1 in the last two. Observables follow from phi' = phi/s and from lengths x' = x a'/a.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from nnft_mcmc import _checks


@dataclass(frozen=True)
class LatticeAction:
    """S = sum_x [ -hopping sum_mu phi phi_mu + quadratic phi^2 + quartic phi^4 + constant ]: c, a, b and e."""

    hopping: float
    quadratic: float
    quartic: float
    constant: float = 0.0

    def rescaled(self, scale: float) -> "LatticeAction":
        """The action of phi' where phi = scale phi'."""
        square = scale**2
        return LatticeAction(square * self.hopping, square * self.quadratic, square**2 * self.quartic, self.constant)

    def require_normalisable(self, dim: int) -> None:
        """Raise `InputError` where exp(-S) has no finite integral on every lattice."""
        if self.quartic < 0.0 or (self.quartic == 0.0 and self.quadratic <= dim * abs(self.hopping)):
            raise _checks.InputError(
                f"the action has the quartic coefficient {self.quartic:g} and the squared mass"
                f" {2 * (self.quadratic - dim * self.hopping):g}, so it is unbounded below or flat; the quartic"
                " coupling must be positive, or zero beside a positive squared mass."
            )


@dataclass(frozen=True)
class Convention(ABC):
    """One way to write the action, by named couplings; `spacing` is a."""

    parameters: tuple[str, str]

    @abstractmethod
    def action(self, dim: int, values: tuple[float, float], spacing: float) -> LatticeAction:
        """The action with these couplings."""

    @abstractmethod
    def field_scale(self, action: LatticeAction, dim: int, spacing: float) -> float:
        """s, with phi = s phi' and phi' the field of this convention."""

    @abstractmethod
    def couplings(self, action: LatticeAction, dim: int, spacing: float) -> tuple[float, float]:
        """The couplings of an action whose hopping term has the form of this convention."""


@dataclass(frozen=True)
class Derivative(Convention):
    """a^d sum_x [ (hopping/2)(d phi)^2 + mass_factor m2 phi^2 + quartic_factor lam phi^4 ]."""

    hopping: float
    mass_factor: float
    quartic_factor: float

    def action(self, dim: int, values: tuple[float, float], spacing: float) -> LatticeAction:
        squared_mass, coupling = values
        volume, c = spacing**dim, self._hopping(dim, spacing)
        return LatticeAction(
            c, dim * c + volume * self.mass_factor * squared_mass, volume * self.quartic_factor * coupling
        )

    def field_scale(self, action: LatticeAction, dim: int, spacing: float) -> float:
        return math.sqrt(self._hopping(dim, spacing) / action.hopping)

    def couplings(self, action: LatticeAction, dim: int, spacing: float) -> tuple[float, float]:
        volume = spacing**dim
        squared_mass = (action.quadratic - dim * action.hopping) / (volume * self.mass_factor)
        return squared_mass, action.quartic / (volume * self.quartic_factor)

    def _hopping(self, dim: int, spacing: float) -> float:
        return self.hopping * spacing ** (dim - 2)


@dataclass(frozen=True)
class Hopping(Convention):
    """sum_x [ -factor k sum_mu phi phi_mu + phi^2 + lam (phi^2 - 1)^2 ], k the first coupling."""

    factor: float

    def action(self, dim: int, values: tuple[float, float], spacing: float) -> LatticeAction:
        hopping, coupling = values
        self._require_no_spacing(spacing)
        _checks.positive(self.parameters[0], hopping)
        return LatticeAction(self.factor * hopping, 1 - 2 * coupling, coupling, coupling)

    def field_scale(self, action: LatticeAction, dim: int, spacing: float) -> float:
        self._require_no_spacing(spacing)
        a, root = action.quadratic, math.sqrt(action.quadratic**2 + 8 * action.quartic)
        # Two forms of the positive root of 2 b u^2 + a u = 1, each without cancellation for its sign of a.
        return math.sqrt(2 / (a + root) if a > 0 else (root - a) / (4 * action.quartic))

    def couplings(self, action: LatticeAction, dim: int, spacing: float) -> tuple[float, float]:
        return action.hopping / self.factor, action.quartic

    def _require_no_spacing(self, spacing: float) -> None:
        if spacing != 1.0:
            raise _checks.InputError(
                f"spacing is {spacing:g} and couplings {' and '.join(self.parameters)} are of a lattice of spacing 1;"
                " leave the spacing out, or use the convention 'continuum'."
            )


CONVENTIONS: dict[str, Convention] = {
    "albergo": Derivative(("m2", "lam"), hopping=2.0, mass_factor=1.0, quartic_factor=1.0),
    "schaich_loinaz": Derivative(("mu2", "lam"), hopping=1.0, mass_factor=0.5, quartic_factor=1 / 4),
    "standard": Derivative(("m2", "g"), hopping=1.0, mass_factor=0.5, quartic_factor=1 / 24),
    "continuum": Derivative(("m2", "coupling"), hopping=1.0, mass_factor=0.5, quartic_factor=1.0),
    "hopping": Hopping(("kappa", "lam"), factor=2.0),
    "hasenbusch": Hopping(("beta", "lam"), factor=1.0),
}


@dataclass(frozen=True)
class Dimension:
    """O' = O s^-field (a'/a)^(length + volume d): powers of the field, of lengths and of volumes in an observable."""

    field: int
    length: int = 0
    volume: int = 0


# What an observable is made of; those of the first two groups are per pair of fields, summed over sites a^d sum_x.
OBSERVABLES: dict[str, Dimension] = {
    "phi2": Dimension(2),
    "phi4": Dimension(4),
    "abs_magnetization": Dimension(1),
    "nearest_neighbour": Dimension(2),
    "two_point": Dimension(2),
    "correlator": Dimension(2),
    "susceptibility": Dimension(2, volume=1),
    "binder": Dimension(0),
    "mass": Dimension(0, length=-1),
    "correlation_length": Dimension(0, length=1),
}
# Per site: <S>/V shifts by the constants, ln Z/V by them and by the Jacobian ln s of the rescaling.
PER_SITE = ("action_density", "log_z_density")


@dataclass(frozen=True)
class Conversion:
    """The same theory in another convention: its couplings, and how to take over what was measured.

    phi_source = field_scale phi_target. `constant_shift` is the constant of the source's action per site less that of
    the target's.
    """

    source: str
    target: str
    dim: int
    couplings: dict[str, float]
    field_scale: float
    constant_shift: float
    action: LatticeAction
    spacing_ratio: float

    def observable(self, name: str, value: float) -> float:
        """The value that an observable of the source has in the target's convention."""
        _checks.one_of("observable", name, (*OBSERVABLES, *PER_SITE))
        if name == "action_density":
            return value - self.constant_shift
        if name == "log_z_density":
            return value - math.log(self.field_scale) + self.constant_shift
        return value * self.factor(name)

    def factor(self, name: str) -> float:
        """What multiplies an observable and its error."""
        if name in PER_SITE:
            return 1.0
        made_of = OBSERVABLES[_checks.one_of("observable", name, OBSERVABLES)]
        lengths = made_of.length + made_of.volume * self.dim
        return self.spacing_ratio**lengths / self.field_scale**made_of.field


def convert(
    source: str,
    target: str,
    couplings: Mapping[str, float],
    dim: int,
    source_spacing: float = 1.0,
    target_spacing: float = 1.0,
) -> Conversion:
    """`couplings` of the convention `source`, on a lattice of spacing `source_spacing`, in the convention `target`."""
    action = lattice_action(source, couplings, dim, source_spacing)
    return in_convention(source, action, target, dim, source_spacing, target_spacing)


def in_convention(
    source: str, action: LatticeAction, target: str, dim: int, source_spacing: float, target_spacing: float
) -> Conversion:
    """An action in the convention `target`."""
    to = CONVENTIONS[_checks.one_of("convention", target, CONVENTIONS)]
    if action.hopping <= 0.0:
        raise _checks.InputError(
            f"the coefficient of -sum phi phi_mu is {action.hopping:g}, and {target} needs a positive one; flip the"
            " sign of the field on every second site first."
        )
    scale = to.field_scale(action, dim, _checks.positive("spacing", target_spacing))
    converted = action.rescaled(scale)
    values = to.couplings(converted, dim, target_spacing)
    constant = to.action(dim, values, target_spacing).constant
    return Conversion(
        source=source,
        target=target,
        dim=dim,
        couplings=dict(zip(to.parameters, values, strict=True)),
        field_scale=scale,
        constant_shift=action.constant - constant,
        action=LatticeAction(converted.hopping, converted.quadratic, converted.quartic, constant),
        spacing_ratio=target_spacing / source_spacing,
    )


def lattice_action(name: str, couplings: Mapping[str, float], dim: int, spacing: float = 1.0) -> LatticeAction:
    """The action of named couplings: {"m2": -4.0, "lam": 6.975} of "albergo", for example."""
    convention = CONVENTIONS[_checks.one_of("convention", name, CONVENTIONS)]
    _checks.integer("dim", dim, minimum=1, maximum=4)
    _checks.positive("spacing", spacing)
    for key in couplings:
        if key not in convention.parameters:
            raise _checks.InputError(
                f"{key} is no coupling of the convention {name}; its couplings are"
                f" {' and '.join(convention.parameters)}.{_checks.nearest(key, convention.parameters)}"
            )
    missing = [key for key in convention.parameters if key not in couplings]
    if missing:
        raise _checks.InputError(f"the convention {name} needs {' and '.join(missing)} as well; give it.")
    first, second = (_checks.real(key, couplings[key]) for key in convention.parameters)
    action = convention.action(dim, (first, second), spacing)
    action.require_normalisable(dim)
    return action


@dataclass(frozen=True)
class FreePart:
    """(d phi)^2/2 + m2 phi^2/2 + coupling phi^4 as a free field of `mass` with two insertions:

    m2/2 = mass^2/2 + quadratic, so `quadratic` is the coupling of PhiPower(2) and `coupling` that of PhiPower(4).
    """

    mass: float
    quadratic: float
    coupling: float


def free_part(m2: float, coupling: float, mass: float | None = None) -> FreePart:
    """The split of a "continuum" action for a network or lattice ensemble; without `mass` m2 must be positive."""
    if mass is None:
        if m2 <= 0.0:
            raise _checks.InputError(
                f"m2 is {m2:g}, and no free field has this squared mass; give a mass > 0 for the free part, the"
                " rest becomes a phi^2 insertion."
            )
        return FreePart(math.sqrt(m2), 0.0, coupling)
    return FreePart(_checks.positive("mass", mass), (m2 - mass**2) / 2, coupling)
