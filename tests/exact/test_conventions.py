"""Conventions: every action written out on random fields, there and back, and published conversions."""

import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest

from nnft_mcmc import Ensemble, InputError, Lattice, LatticeModes, LatticePhi4, ScalarNet, SiteField
from nnft_mcmc.conventions import CONVENTIONS, OBSERVABLES, convert, free_part, lattice_action

COUPLINGS = {
    "albergo": {"m2": -4.0, "lam": 6.975},
    "schaich_loinaz": {"mu2": -0.7, "lam": 0.5},
    "standard": {"m2": 0.3, "g": 2.2},
    "continuum": {"m2": -0.2, "coupling": 0.15},
    "hopping": {"kappa": 0.19, "lam": 1.3},
    "hasenbusch": {"beta": 0.3750966, "lam": 1.1},
}
SHAPES = {1: (5,), 2: (3, 4), 3: (3, 2, 4)}
PAIRS = list(itertools.product(COUPLINGS, repeat=2))
HAVE_SPACING = ("albergo", "schaich_loinaz", "standard", "continuum")


def written_out(name, couplings, phi, spacing=1.0):
    """The action as its paper writes it."""
    gradient = sum((np.roll(phi, -1, mu) - phi) ** 2 for mu in range(phi.ndim)) / spacing**2
    bonds = sum(phi * np.roll(phi, -1, mu) for mu in range(phi.ndim))
    first, second = couplings.values()
    density = {
        "albergo": gradient + first * phi**2 + second * phi**4,
        "schaich_loinaz": gradient / 2 + first * phi**2 / 2 + second / 4 * phi**4,
        "standard": gradient / 2 + first * phi**2 / 2 + second / 24 * phi**4,
        "continuum": gradient / 2 + first * phi**2 / 2 + second * phi**4,
        "hopping": -2 * first * bonds + phi**2 + second * (phi**2 - 1) ** 2,
        "hasenbusch": -first * bonds + phi**2 + second * (phi**2 - 1) ** 2,
    }[name]
    return spacing**phi.ndim * density.sum()


def field(dim, seed=0):
    return np.random.default_rng(seed).normal(size=SHAPES[dim])


def test_all_conventions_are_tested():
    assert COUPLINGS.keys() == CONVENTIONS.keys()


@pytest.mark.parametrize("dim", SHAPES)
@pytest.mark.parametrize("name", COUPLINGS)
def test_canonical_form_is_the_action_of_the_paper(name, dim):
    phi, s = field(dim), lattice_action(name, COUPLINGS[name], dim)
    bonds = sum(phi * np.roll(phi, -1, mu) for mu in range(dim))
    canonical = (-s.hopping * bonds + s.quadratic * phi**2 + s.quartic * phi**4 + s.constant).sum()
    assert canonical == pytest.approx(written_out(name, COUPLINGS[name], phi), rel=1e-12)


@pytest.mark.parametrize("dim", SHAPES)
@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_conversions_leave_the_action_alone(source, target, dim):
    """S_source[phi] = S_target[phi/s] + V (e_source - e_target) for every field; and back again."""
    phi, to = field(dim), convert(source, target, COUPLINGS[source], dim)
    before = written_out(source, COUPLINGS[source], phi)
    after = written_out(target, to.couplings, phi / to.field_scale) + phi.size * to.constant_shift
    assert before == pytest.approx(after, rel=1e-12)
    back = convert(target, source, to.couplings, dim)
    assert back.couplings == pytest.approx(COUPLINGS[source], rel=1e-12)
    assert back.field_scale * to.field_scale == pytest.approx(1, rel=1e-13)
    for name in (*OBSERVABLES, "action_density", "log_z_density"):
        assert back.observable(name, to.observable(name, 0.7)) == pytest.approx(0.7, rel=1e-12)


@pytest.mark.parametrize(("source", "target"), list(itertools.product(HAVE_SPACING, repeat=2)))
@pytest.mark.parametrize("dim", SHAPES)
def test_conversions_between_spacings(source, target, dim):
    phi, to = field(dim), convert(source, target, COUPLINGS[source], dim, 0.5, 0.3)
    before = written_out(source, COUPLINGS[source], phi, spacing=0.5)
    after = written_out(target, to.couplings, phi / to.field_scale, spacing=0.3)
    assert before == pytest.approx(after, rel=1e-12)
    back = convert(target, source, to.couplings, dim, 0.3, 0.5)
    assert back.couplings == pytest.approx(COUPLINGS[source], rel=1e-12)
    assert to.observable("mass", 1.0) == pytest.approx(0.5 / 0.3)
    assert to.observable("correlation_length", 1.0) == pytest.approx(0.3 / 0.5)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_observables_of_a_field(source, target):
    """Measured on phi and on phi/s."""
    phi, to = field(2), convert(source, target, COUPLINGS[source], 2)

    def measured(phi):
        pairs = np.mean([phi * np.roll(phi, -1, mu) for mu in range(2)])
        return {
            "phi2": np.mean(phi**2),
            "phi4": np.mean(phi**4),
            "abs_magnetization": abs(phi.mean()),
            "nearest_neighbour": pairs,
            "susceptibility": phi.size * phi.mean() ** 2,
            "binder": 1 - phi.mean() ** 4 / (3 * phi.mean() ** 4),
        }

    after = measured(phi / to.field_scale)
    for name, value in measured(phi).items():
        assert to.observable(name, value) == pytest.approx(after[name], rel=1e-12), name


def test_published_conversions():
    """albergo to schaich_loinaz: the same numbers, phi -> sqrt 2 phi. hopping to schaich_loinaz: phi -> sqrt(2 kappa)
    phi, mu2 = (1 - 2 lam)/kappa - 2 d, lam -> lam/kappa^2. hasenbusch is hopping with kappa = beta/2."""
    to = convert("albergo", "schaich_loinaz", {"m2": -4.0, "lam": 6.975}, 2)
    assert to.couplings == pytest.approx({"mu2": -4.0, "lam": 6.975}, rel=1e-14)
    assert to.observable("susceptibility", 1.0) == pytest.approx(2.0, rel=1e-14)
    kappa, lam, dim = 0.19, 1.3, 3
    to = convert("hopping", "schaich_loinaz", {"kappa": kappa, "lam": lam}, dim)
    expected = {"mu2": (1 - 2 * lam) / kappa - 2 * dim, "lam": lam / kappa**2}
    assert to.couplings == pytest.approx(expected, rel=1e-12)
    assert to.observable("abs_magnetization", 1.0) == pytest.approx(math.sqrt(2 * kappa), rel=1e-14)
    to = convert("hasenbusch", "hopping", COUPLINGS["hasenbusch"], 3)
    assert to.couplings == pytest.approx({"kappa": 0.3750966 / 2, "lam": 1.1}, rel=1e-14)


def test_log_z_of_one_free_site():
    """Z = sqrt(pi/(a - c d)) for one site on the torus, its own neighbour: a Gaussian integral in both conventions."""
    to = convert("continuum", "hopping", {"m2": 1.7, "coupling": 0.0}, 1)
    source = lattice_action("continuum", {"m2": 1.7, "coupling": 0.0}, 1)
    log_z = [0.5 * math.log(math.pi / (s.quadratic - s.hopping)) for s in (source, to.action)]
    assert to.observable("log_z_density", log_z[0]) == pytest.approx(log_z[1], rel=1e-12)


@pytest.mark.parametrize(("name", "dim"), list(itertools.product(COUPLINGS, SHAPES)))
def test_lattice_phi4_makes_the_total_action_the_stated_one(name, dim):
    """ln density of the site field = -S_stated[s phi] + const, at two fields; the mass of the free part drops out."""
    spacing, mass = 0.6, {1: 0.5, 2: 1.4, 3: 1.0}[dim]
    lattice = Lattice(SHAPES[dim], spacing, "torus")
    insertion = LatticePhi4(name, **COUPLINGS[name])
    scale = convert(name, "continuum", COUPLINGS[name], dim, 1.0, spacing).field_scale
    one, other = field(dim, 1), field(dim, 2)
    stated = written_out(name, COUPLINGS[name], scale * one) - written_out(name, COUPLINGS[name], scale * other)
    ensemble = Ensemble(SiteField(lattice, mass), lattice, insertion)
    found = [float(ensemble.log_density({"phi": jnp.asarray(phi)})) for phi in (one, other)]
    assert found[1] - found[0] == pytest.approx(stated, rel=1e-10)


def test_lattice_phi4_is_for_nearest_neighbour_ensembles():
    lattice, stated = Lattice((4,), 0.5, "torus"), LatticePhi4("albergo", m2=-1.0, lam=1.0)
    for other in (LatticeModes(lattice, 1.0, "continuum"), LatticeModes(lattice, 1.0, "lattice", cutoff=3.0)):
        with pytest.raises(InputError, match="nearest neighbours only; use site_field, or lattice_modes"):
            Ensemble(other, lattice, stated)
    box = Lattice((4,), 0.5)
    with pytest.raises(InputError, match="this ScalarNet does not couple"):
        Ensemble(ScalarNet(1, 3, 1.0, 4.0), box, stated)


def test_split_of_a_negative_squared_mass():
    part = free_part(-4.0, 1.7, mass=1.0)
    assert (part.mass, part.quadratic, part.coupling) == (1.0, -2.5, 1.7)
    assert free_part(4.0, 1.7).mass == 2.0
    with pytest.raises(InputError, match="give a mass > 0 for the free part"):
        free_part(-4.0, 1.7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("albergoo", "continuum", {"m2": 1.0, "lam": 1.0}, 2), "Did you mean 'albergo'"),
        (("albergo", "continuum", {"m2": 1.0, "lambda": 1.0}, 2), "lambda is no coupling of the convention albergo"),
        (("albergo", "continuum", {"m2": 1.0}, 2), "needs lam as well"),
        (("hopping", "continuum", {"kappa": 0.0, "lam": 1.0}, 2), "kappa is 0.0; it must be positive"),
        (("albergo", "continuum", {"m2": -1.0, "lam": 0.0}, 2), "unbounded below or flat"),
        (("albergo", "continuum", {"m2": 1.0, "lam": -1.0}, 2), "unbounded below or flat"),
        (("continuum", "hopping", {"m2": 1.0, "coupling": 1.0}, 2, 0.5, 0.5), "lattice of spacing 1"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        convert(*arguments)
