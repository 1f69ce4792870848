"""Sites and quadrature weights."""

import itertools
import math

import numpy as np
import pytest

from nnft_mcmc._checks import InputError
from nnft_mcmc.lattice import Lattice

SHAPES = [(1,), (4,), (17,), (3, 4), (2, 3, 5), (2, 2, 2, 3)]


@pytest.mark.parametrize("shape", SHAPES)
def test_box_is_centred_and_equally_spaced(shape):
    lattice = Lattice(shape, 0.3)
    assert lattice.sites.shape == (*shape, len(shape))
    assert lattice.num_sites == math.prod(shape)
    np.testing.assert_allclose(lattice.sites.reshape(-1, lattice.dim).mean(axis=0), 0, atol=1e-15)
    for index in np.ndindex(shape):
        expected = [(i - (n - 1) / 2) * 0.3 for i, n in zip(index, shape, strict=True)]
        np.testing.assert_allclose(lattice.sites[index], expected, rtol=1e-15, atol=1e-16)


def test_box_of_the_design_runs_from_minus_two_to_two():
    lattice = Lattice((17,), 0.25)
    assert lattice.axis(0)[0] == -2.0
    assert lattice.axis(0)[-1] == 2.0
    assert lattice.sites[lattice.centre] == 0.0
    assert lattice.axis_names == ("t",)


def test_torus_starts_at_the_origin():
    lattice = Lattice((4, 3), 0.5, "torus")
    np.testing.assert_array_equal(lattice.axis(0), [0.0, 0.5, 1.0, 1.5])
    np.testing.assert_array_equal(lattice.sites[2, 1], [1.0, 0.5])
    assert list(lattice.coordinates) == ["t", "x"]
    np.testing.assert_array_equal(lattice.quadrature_weights("riemann"), np.full((4, 3), 0.25))


def test_centre_of_an_even_axis_is_the_later_of_two():
    assert Lattice((4, 5), 1.0).centre == (2, 2)


def test_shape_may_be_a_list_or_one_number():
    assert Lattice([3, 4], 1).shape == (3, 4)
    assert Lattice(5, 1.0) == Lattice((5,), 1.0)
    assert hash(Lattice([3, 4], 1)) == hash(Lattice((3, 4), 1.0))


@pytest.mark.parametrize("shape", SHAPES)
def test_riemann_weights_are_one_cell_each(shape):
    lattice = Lattice(shape, 0.3)
    np.testing.assert_allclose(lattice.quadrature_weights("riemann"), np.full(shape, 0.3 ** len(shape)), rtol=1e-15)


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if min(shape) > 1])
def test_trapezoid_weights_integrate_multilinear_functions_exactly(shape):
    """Over the box from its first to its last site; products of (1 + c x) along the axes span them."""
    lattice, dim = Lattice(shape, 0.3), len(shape)
    weights = lattice.quadrature_weights("trapezoid")
    lengths = 0.3 * (np.array(shape) - 1)
    assert weights.sum() == pytest.approx(lengths.prod(), rel=1e-14)
    shifted = lattice.sites + np.linspace(0.2, 1.1, dim)  # so that no integral vanishes by symmetry
    exact = (lengths * np.linspace(0.2, 1.1, dim)).prod()
    assert (weights * shifted.prod(axis=-1)).sum() == pytest.approx(exact, rel=1e-13)


def test_trapezoid_weights_of_two_axes():
    weights = Lattice((3, 4), 0.5).quadrature_weights("trapezoid") / 0.25
    np.testing.assert_array_equal(weights, [[0.25, 0.5, 0.5, 0.25], [0.5, 1.0, 1.0, 0.5], [0.25, 0.5, 0.5, 0.25]])


def test_trapezoid_weights_halve_once_for_every_face_a_site_lies_on():
    shape = (3, 2, 4)
    weights = Lattice(shape, 1.0).quadrature_weights("trapezoid")
    for index in itertools.product(*map(range, shape)):
        faces = sum(i in (0, n - 1) for i, n in zip(index, shape, strict=True))
        assert weights[index] == 0.5**faces


REFUSALS = [
    (lambda: Lattice((), 1.0), "lattice.shape is ()"),
    (lambda: Lattice((1, 1, 1, 1, 1), 1.0), "lattice.shape is (1, 1, 1, 1, 1)"),
    (lambda: Lattice((0,), 1.0), "lattice.shape is 0"),
    (lambda: Lattice((2.5,), 1.0), "lattice.shape is 2.5"),
    (lambda: Lattice("17", 1.0), "lattice.shape is '17'"),
    (lambda: Lattice(True, 1.0), "lattice.shape is True"),
    (lambda: Lattice((4,), 0.0), "lattice.spacing is 0.0"),
    (lambda: Lattice((4,), "a"), "lattice.spacing is 'a'"),
    (lambda: Lattice((4,), 1.0, "tours"), "lattice.geometry is 'tours'"),
    (lambda: Lattice((4,), 1.0).quadrature_weights("trapezoid rule"), "quadrature is 'trapezoid rule'"),
    (lambda: Lattice((4,), 1.0, "torus").quadrature_weights("trapezoid"), "quadrature is 'trapezoid' on a torus"),
    (lambda: Lattice((4, 1), 1.0).quadrature_weights("trapezoid"), "quadrature is 'trapezoid' on a lattice of shape"),
]


@pytest.mark.parametrize(("call", "start"), REFUSALS)
def test_bad_input_is_refused_in_one_line(call, start):
    with pytest.raises(InputError) as refusal:
        call()
    assert str(refusal.value).startswith(start)
    assert "\n" not in str(refusal.value)
