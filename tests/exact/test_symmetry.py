"""Absorbed group elements: rho phi_theta(g x) = phi_{theta_g}(x) and P(theta_g) |d theta_g/d theta| = P(theta)."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.flatten_util import ravel_pytree

from nnft_mcmc._checks import InputError
from nnft_mcmc.architectures import (
    CosNet,
    CubeNet,
    EuclideanNet,
    GaussNet,
    InfiniteWidth,
    LatticeModes,
    MaternNet,
    ScalarNet,
    SiteField,
    StratifiedNet,
    TwoQuadratureNet,
)
from nnft_mcmc.architectures.attention import LinearAttention, SoftmaxAttention
from nnft_mcmc.architectures.callable import CallableNet
from nnft_mcmc.architectures.convolution import ConvNet
from nnft_mcmc.architectures.deep import MLP, DeepEuclideanNet
from nnft_mcmc.architectures.dense import DenseNet
from nnft_mcmc.architectures.vector import EquivariantNet, VectorNet
from nnft_mcmc.estimators.group_actions import (
    Joint,
    Orthogonal,
    OutputOrthogonal,
    SignFlip,
    Translation,
    components,
    pixel_shift,
    reflection,
    rotation,
    token_permutation,
)
from nnft_mcmc.estimators.parameter_symmetry import absorbed
from nnft_mcmc.lattice import Lattice

INF = math.inf
TORUS, BOX = Lattice((4, 3), 0.5, "torus"), Lattice((3, 2), 0.5)
SHIFT, TURN, MIRROR, FLIP = Translation((0.7, -1.3)), rotation(2, 0.8), reflection([1.0, 2.0]), SignFlip()
SHIFT_3 = Translation((0.7, -1.3, 0.2))
TURN_3 = Orthogonal(rotation(3, 0.8, (2, 0)).on_points(rotation(3, -1.9, (1, 2)).on_points(np.eye(3))))
IN_OUT, OUT = Joint(TURN.matrix), OutputOrthogonal(rotation(3, 1.1, (0, 2)).matrix)
OUT_MIRROR = OutputOrthogonal(reflection([1.0, 0.5, -2.0]).matrix)

SHIFTS = (pixel_shift((3, 2), (1, 0)), pixel_shift((3, 2), (-1, 1)))
TOKENS, FEATURES = token_permutation((2, 0, 1), 2), Orthogonal(np.kron(np.eye(3), TURN.matrix))
BOTH = Orthogonal(np.asarray(TOKENS.matrix) @ np.asarray(FEATURES.matrix))
SQUARE = Lattice((4, 4), 0.5, "torus")
SITES, QUARTER, TIME = Translation((0.5, -1.0)), rotation(2, math.pi / 2), reflection([1.0, 0.0])

EUCLIDEAN = (SHIFT, TURN, MIRROR, FLIP)
ABOUT_THE_ORIGIN = (TURN, MIRROR, FLIP)
KNOWN = {
    "cos_net": (CosNet(2, 4, 1.3, 0.7), EUCLIDEAN),
    "cos_net in 3": (CosNet(3, 4, 1.3, 0.7), (SHIFT_3, TURN_3, FLIP)),
    "cos_net in 1": (CosNet(1, 4), (Translation((2.0,)), reflection([1.0]), FLIP)),
    "scalar_net": (ScalarNet(2, 4, 0.9, 4.0), EUCLIDEAN),
    "lectures' scalar_net": (ScalarNet(3, 4, 0.9, 4.0, -1.0), (SHIFT_3, TURN_3, FLIP)),
    "Cauchy-cos-net": (ScalarNet(1, 4, 0.9, INF), (Translation((2.0,)), reflection([1.0]), FLIP)),
    "matern_net of signs": (MaternNet(2, 4, 0.9, 2.5, amplitude_law="sign"), EUCLIDEAN),
    "matern_net of moduli": (MaternNet(2, 4, 0.9, 2.5, amplitude_law="rayleigh"), EUCLIDEAN),
    "euclidean_net": (EuclideanNet(2, 4, lambda k: jnp.exp(-k), lambda k: 1 / (1 + k), 5.0), EUCLIDEAN),
    "two_quadrature_net": (TwoQuadratureNet(ScalarNet(2, 4, 0.9, 4.0)), EUCLIDEAN),
    "stratified_net": (StratifiedNet(ScalarNet(2, 4, 0.9, 4.0)), EUCLIDEAN),
    "stratified_net of two": (StratifiedNet(TwoQuadratureNet(ScalarNet(2, 4, 0.9, 4.0))), EUCLIDEAN),
    "cube_net": (CubeNet(2, 4, 3.0), (SHIFT, rotation(2, math.pi / 2), reflection([1.0, -1.0]), FLIP)),
    "gauss_net": (GaussNet(2, 4, 1.1, 0.6, 0.8), ABOUT_THE_ORIGIN),
    "dense_net": (DenseNet(2, 4, "erf", bias_std=0.3), ABOUT_THE_ORIGIN),
    "mlp": (MLP(2, 4, depth=3, bias_std=0.3), ABOUT_THE_ORIGIN),
    "deep_euclidean_net": (DeepEuclideanNet(CosNet(2, 4), depth=3, bias_std=0.3), EUCLIDEAN),
    "conv_net": (ConvNet(6, 3, depth=2, image=(3, 2), filter_size=2), (FLIP, *SHIFTS)),
    "conv_net, flattened": (ConvNet(6, 3, depth=2, image=(3, 2), filter_size=2, readout="flatten"), (FLIP, *SHIFTS)),
    "linear_attention": (LinearAttention(3, 2, 3, head_dim=2), (FLIP, TOKENS, FEATURES, BOTH)),
    "softmax_attention": (SoftmaxAttention(3, 2, 3, head_dim=2), (FLIP, TOKENS, FEATURES, BOTH)),
    "lattice_modes": (LatticeModes(TORUS, 0.8), (FLIP, SITES, TIME)),
    "lattice_modes below a cut-off": (LatticeModes(SQUARE, 0.8, "continuum", 5.0), (SITES, QUARTER, TIME)),
    "site_field": (SiteField(TORUS, 0.8), (FLIP, SITES, TIME)),
    "site_field on a square": (SiteField(SQUARE, 0.8), (SITES, QUARTER, TIME)),
    "infinite_width": (InfiniteWidth(CosNet(2, 1), BOX), (FLIP, TIME)),
    "infinite_width on a square": (InfiniteWidth(CosNet(2, 1), Lattice((4, 4), 0.3)), (FLIP, TIME, QUARTER)),
    "vector_net": (VectorNet(CosNet(2, 4), 3), (*EUCLIDEAN, OUT, OUT_MIRROR)),
    "vector_net of 2": (VectorNet(GaussNet(2, 4), 2), (*ABOUT_THE_ORIGIN, IN_OUT)),
    "equivariant_net": (EquivariantNet(2, CosNet(1, 4)), (IN_OUT, Joint(MIRROR.matrix), FLIP)),
}
KNOWN_PAIRS = [
    pytest.param(net, element, id=f"{name}-{type(element).__name__}-{i}")
    for name, (net, elements) in KNOWN.items()
    for i, element in enumerate(elements)
]


def drawn(net):
    return net.sample_parameters(jax.random.key(0))


def some_points(net):
    if hasattr(net, "lattice"):
        return net.lattice.sites.reshape(-1, net.dim)
    return np.random.default_rng(1).uniform(-1.5, 1.5, (5, net.dim))


def defects(net, element, theta, theta_g):
    """Largest violation of the two identities; the first in units of the largest field."""
    x = some_points(net)
    transformed = element.on_outputs(np.asarray(net(theta, element.on_points(x))))
    field = np.abs(transformed - net(theta_g, x)).max() / np.abs(transformed).max()
    return field, float(net.log_prior(theta_g) - net.log_prior(theta))


@pytest.mark.parametrize(("net", "element"), KNOWN_PAIRS)
def test_absorbed_parameters_give_the_transformed_field_with_the_same_density(net, element):
    theta = drawn(net)
    theta_g = absorbed(net, element, theta)
    assert {k: v.shape for k, v in theta_g.items()} == {k: v.shape for k, v in theta.items()}
    field, log_prior = defects(net, element, theta, theta_g)
    assert field < 1e-10
    assert abs(log_prior) < 1e-10


@pytest.mark.parametrize(("net", "element"), KNOWN_PAIRS)
def test_volumes_are_kept(net, element):
    flat, unravel = ravel_pytree(drawn(net))
    jacobian = jax.jacfwd(lambda values: ravel_pytree(absorbed(net, element, unravel(values)))[0])(flat)
    assert abs(np.linalg.slogdet(jacobian)[1]) < 1e-10


# Networks that are invariant one by one.
INVARIANT = {
    EquivariantNet: Joint,
    ConvNet: Orthogonal,
    LinearAttention: Orthogonal,
    SoftmaxAttention: Orthogonal,
}


@pytest.mark.parametrize(("net", "element"), KNOWN_PAIRS)
def test_unchanged_parameters_are_seen(net, element):
    """Control: theta in place of theta_g, except where theta_g is theta."""
    theta = drawn(net)
    theta_g = absorbed(net, element, theta)
    if all(np.array_equal(theta_g[name], value) for name, value in theta.items()):
        assert INVARIANT[type(net)] is type(element)
        assert defects(net, element, theta, theta)[0] < 1e-10
    else:
        assert defects(net, element, theta, theta)[0] > 1e-3


def test_a_wrong_density_is_seen():
    """Control: w -> R^T w always gives the transformed field, but in a cube not the same density."""
    net, theta = CubeNet(2, 40, 3.0), drawn(CubeNet(2, 40, 3.0))
    turned = {**theta, "momenta": theta["momenta"] @ np.asarray(TURN.matrix)}
    with pytest.warns(UserWarning, match="Out-of-support"):
        field, log_prior = defects(net, TURN, theta, turned)
    assert field < 1e-10
    assert log_prior == -INF


def test_gauss_net_absorbs_a_translation_up_to_the_density():
    """exp(w.(x+t) + b)/exp(2k (x+t)^2): w -> w - 4k t, b -> b + w.t - 2k t^2 is the field, with another density."""
    net = GaussNet(2, 4, 1.1, 0.6, 0.8)
    theta, t, k = drawn(net), np.array(SHIFT.vector), 1.1**2 / 4
    moved = {
        **theta,
        "weights": theta["weights"] - 4 * k * t[None],
        "biases": theta["biases"] + theta["weights"] @ t - 2 * k * (t @ t),
    }
    field, log_prior = defects(net, SHIFT, theta, moved)
    assert field < 1e-10
    assert abs(log_prior) > 1.0


def noise(theta, x):
    return jnp.sum(theta["a"] * jnp.cos(x[0] * theta["a"]))


SOME_CALLABLE = CallableNet(noise, {"a": dist.Normal(0.0, 1.0).expand((3,))}, dim=2)

REFUSED = [
    (GaussNet(2, 4), SHIFT, "Translation is no symmetry of GaussNet"),
    (DenseNet(2, 4), SHIFT, "Translation is no symmetry of DenseNet"),
    (MLP(2, 4), SHIFT, "Translation is no symmetry of MLP"),
    (CubeNet(2, 4, 3.0), TURN, "Orthogonal is no symmetry of CubeNet"),
    (CubeNet(2, 4, 3.0), MIRROR, "Orthogonal is no symmetry of CubeNet"),
    (TwoQuadratureNet(CubeNet(2, 4, 3.0)), TURN, "Orthogonal is no symmetry of CubeNet"),
    (DeepEuclideanNet(CubeNet(2, 4, 3.0)), TURN, "Orthogonal is no symmetry of CubeNet"),
    (VectorNet(GaussNet(2, 4), 3), SHIFT, "Translation is no symmetry of GaussNet"),
    (EquivariantNet(2, CosNet(1, 4)), TURN, "Orthogonal is no symmetry of EquivariantNet"),
    (EquivariantNet(2, CosNet(1, 4)), SHIFT, "Translation is no symmetry of EquivariantNet"),
    (ConvNet(2, 3, filter_size=1), TURN, "Orthogonal is no symmetry of ConvNet"),
    (ConvNet(3, 3), Orthogonal(np.eye(3)[[1, 0, 2]]), "Orthogonal is no symmetry of ConvNet"),
    (LinearAttention(2, 2, 3), Orthogonal(np.eye(4)[[1, 0, 2, 3]]), "Orthogonal is no symmetry of LinearAttention"),
    (SiteField(SQUARE, 0.8), TURN, "Orthogonal is no symmetry of SiteField"),
    (LatticeModes(TORUS, 0.8), SHIFT, "Translation is no symmetry of LatticeModes"),
    (InfiniteWidth(CosNet(2, 1), BOX), SITES, "Translation is no symmetry of InfiniteWidth"),
    (InfiniteWidth(GaussNet(2, 1), Lattice((3, 3), 0.5)), SITES, "Translation is no symmetry of InfiniteWidth"),
    (LinearAttention(2, 1, 3), SHIFT, "no map of the parameters of LinearAttention"),
    (SiteField(TORUS, 0.8), SHIFT, "Translation is no symmetry of SiteField"),
    (SOME_CALLABLE, FLIP, "no map of the parameters of CallableNet"),
    (CosNet(3, 4), SHIFT, "Translation acts on dim = 2 and CosNet has dim = 3"),
    (CosNet(3, 4), TURN, "Orthogonal acts on dim = 2 and CosNet has dim = 3"),
    (CosNet(2, 4), OUT, "OutputOrthogonal acts on components = 3 and CosNet has components = 0"),
    (VectorNet(CosNet(2, 4), 3), IN_OUT, "Joint acts on components = 2 and VectorNet has components = 3"),
]


@pytest.mark.parametrize(("net", "element", "start"), REFUSED)
def test_what_is_no_symmetry_or_not_known_is_refused_in_one_line(net, element, start):
    with pytest.raises(InputError) as refusal:
        absorbed(net, element, drawn(net))
    message = str(refusal.value)
    assert message.startswith(start)
    assert "\n" not in message
    assert message.endswith(".")


BAD_ELEMENTS = [
    (lambda: Translation((math.nan,)), "translation.vector is nan"),
    (lambda: Translation(("a",)), "translation.vector is 'a'"),
    (lambda: Orthogonal(((1.0, 0.1), (0.0, 1.0))), "orthogonal.matrix is not"),
    (lambda: OutputOrthogonal(((1.0, 0.0),)), "output_orthogonal.matrix is not"),
    (lambda: Joint(((math.nan,),)), "joint.matrix is not"),
    (lambda: rotation(1, 0.5), "rotation.dim is 1"),
    (lambda: rotation(2, 0.5, (0, 0)), "rotation.plane is (0, 0)"),
    (lambda: rotation(2, 0.5, (0, 2)), "rotation.plane is 2"),
    (lambda: rotation(2, INF), "rotation.angle is inf"),
    (lambda: reflection([0.0, 0.0]), "reflection.normal is"),
    (lambda: pixel_shift((3, 2), (1,)), "pixel_shift.shift is"),
    (lambda: pixel_shift((3, 2), (0.5, 1)), "pixel_shift.shift is"),
    (lambda: token_permutation((0, 0), 2), "token_permutation.order is"),
    (lambda: token_permutation((0, 2), 2), "token_permutation.order is"),
]


@pytest.mark.parametrize(("construct", "start"), BAD_ELEMENTS)
def test_bad_elements_are_refused(construct, start):
    with pytest.raises(InputError) as refusal:
        construct()
    assert str(refusal.value).startswith(start)


def test_what_the_elements_do():
    np.testing.assert_allclose(rotation(2, math.pi / 2).on_points([1.0, 0.0]), [0.0, 1.0], atol=1e-15)
    np.testing.assert_allclose(reflection([0.0, 2.0]).on_points([[1.0, 3.0]]), [[1.0, -3.0]], atol=1e-15)
    np.testing.assert_allclose(SHIFT.on_points([[1.0, 3.0]]), [[1.7, 1.7]])
    np.testing.assert_allclose(OutputOrthogonal(TURN.matrix).on_outputs(np.eye(2)), np.asarray(TURN.matrix).T)
    assert hash(rotation(2, 0.3)) == hash(rotation(2, 0.3))
    assert components(CosNet(2, 1)) == 0
    assert components(VectorNet(CosNet(2, 4), 3)) == 3
