"""Asked for an exact result that it does not know, an architecture says what it lacks and what to use instead."""

import numpy as np
import pytest

from nnft_mcmc import Ensemble, InputError, Lattice, exact_reference
from nnft_mcmc.architectures import MLP, Architecture, InfiniteWidth, MissingCapability
from tests.properties.architecture_examples import NAMES, example

CAPABILITIES = {
    "two_point": "ExactCorrelators",
    "four_point_connected": "ExactCorrelators",
    "six_point_connected": "ExactCorrelators",
    "n_point_connected": "ExactCorrelators",
    "excess_kurtosis": "ExactCorrelators",
    "infinite_width_kernel": "InfiniteWidthKernel",
    "propagator": "KnownPropagator",
}
# What an architecture may be told to use: functions of the package, or methods of its own.
REMEDIES = ("estimate_n_point", "estimate_momentum_n_point", "williams", "estimate_kernel", "infinite_width_kernel")


@pytest.mark.parametrize("name", NAMES)
def test_every_architecture_names_the_missing_capability_and_the_remedy(name):
    net = example(name)
    for method, capability in CAPABILITIES.items():
        if hasattr(net, method):
            continue
        with pytest.raises(MissingCapability) as refusal:
            getattr(net, method)
        message = str(refusal.value)
        assert isinstance(refusal.value, InputError)
        assert message.startswith(f"{type(net).__name__} does not know")
        assert f"it lacks {capability};" in message
        assert any(remedy in message for remedy in REMEDIES)
        if "infinite_width_kernel(x, y)" in message:
            assert hasattr(net, "infinite_width_kernel")


def test_which_architectures_lack_what():
    lacking = {method: {n for n in NAMES if not hasattr(example(n), method)} for method in CAPABILITIES}
    without_correlators = {"mlp", "deep_euclidean_net", "conv_net", "linear_attention", "softmax_attention"}
    networks_of_splines = {"kan", "kan of three layers"}
    others = {"callable_net", "vector_net", "equivariant_net"}
    assert lacking["n_point_connected"] == without_correlators | networks_of_splines | others
    assert {"softmax_attention", "callable_net"} < lacking["infinite_width_kernel"]
    assert not {"mlp", "cos_net", "gauss_net", "dense_net"} & lacking["infinite_width_kernel"]
    assert {"dense_net", "infinite_width", "mlp"} < lacking["propagator"]


def test_the_remedy_fits_the_architecture():
    def message(name, method):
        with pytest.raises(MissingCapability) as refusal:
            getattr(example(name), method)
        return str(refusal.value)

    assert "williams" in message("softmax_attention", "two_point")
    assert "williams" not in message("mlp", "two_point")
    assert "infinite_width_kernel(x, y)" in message("mlp", "two_point")
    assert "estimate_kernel" in message("softmax_attention", "infinite_width_kernel")


def test_other_attributes_are_ordinary_mistakes():
    with pytest.raises(AttributeError, match="'MLP' object has no attribute 'twopoint'") as mistake:
        MLP(1, 3).twopoint  # noqa: B018
    assert not isinstance(mistake.value, MissingCapability)


def test_infinite_width_of_a_network_without_a_kernel():
    with pytest.raises(InputError, match="estimate_kernel"):
        InfiniteWidth(example("softmax_attention"), Lattice((2, 2, 2, 2), 0.5))


class Even(Architecture):
    """phi(x) = x^2, no parameters of consequence and no correlators."""

    dim: int

    def prior(self):
        return example("mlp").prior()

    def forward(self, theta, x):
        return x @ x


def test_an_architecture_of_ones_own_is_told_too():
    with pytest.raises(MissingCapability, match="Even does not know its connected correlators"):
        Even(1).two_point  # noqa: B018
    with pytest.raises(InputError, match="free Even: it lacks ExactCorrelators"):
        exact_reference(Ensemble(Even(1), Lattice((3,), 1.0)))


@pytest.mark.parametrize("name", ["vector_net", "equivariant_net"])
def test_vectors_of_networks_without_correlators(name):
    from nnft_mcmc.architectures import EquivariantNet, VectorNet

    x = np.zeros((2, 2))
    made = {
        "vector_net": lambda: VectorNet(example("softmax_attention"), 2).two_point(np.zeros(4), np.zeros(4)),
        "equivariant_net": lambda: EquivariantNet(2, MLP(1, 3)).two_point(*x),
    }
    with pytest.raises(InputError, match=r"it lacks ExactCorrelators|one normal output weight"):
        made[name]()
