"""The learning rate at a width: eta = eta_0 gamma0^2 N^{2d - c}, lectures eq. (106)."""

from nnft_mcmc.architectures import MLP, Architecture, DeepEuclideanNet
from nnft_mcmc.dynamics.optimizers import (
    GradientDescent,
    GradientFlow,
    Optimizer,
    StochasticGradientDescent,
)


def learning_rate(architecture: Architecture, optimizer: Optimizer) -> float:
    """eta of eq. (77), from the setting `learning_rate`, which is eta_0.

    Only what follows the gradient in proportion has the factor, and only networks with width exponents; for every other
    network, and for Adam and energy-conserving descent, the setting is taken as it is.
    """
    eta_0 = float(optimizer.learning_rate)
    proportional = isinstance(optimizer, GradientFlow | GradientDescent | StochasticGradientDescent)
    if not proportional or not isinstance(architecture, MLP | DeepEuclideanNet):
        return eta_0
    layers = architecture.layers
    return eta_0 * layers.gamma0**2 * layers.width ** (2 * layers.exponents.d - layers.exponents.c)
