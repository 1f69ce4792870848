r"""How far one eigenmode of the tangent kernel has been trained, for every way of training that is solved.

With the residual r = y - phi(X), the flow dr/dt = -(eta/|D|) Theta r has r_t = p_t(Theta) r_0, and so has descent:

    gradient flow      p_t(l) = e^{-eta l t/|D|}
    gradient descent   p_n(l) = (1 - eta l/|D|)^n,    stable for eta < 2 |D|/lambda_max
    with momentum m    p_{n+1} = p_n + m (p_n - p_{n-1}) - (eta l/|D|) p_n,  for eta < 2 (1 + m) |D|/lambda_max.

What enters a prediction is g_t(l) = (1 - p_t(l))/l, which is finite for l -> 0: no kernel is inverted at finite t, and
a singular one can be trained on. g_n obeys the recursion of p_n with + eta/|D| added, a linear map of
(g_n, g_{n-1}, 1), whose n-th power is taken by repeated squaring.
"""

import math

import numpy as np
from numpy.typing import NDArray

from nnft_mcmc._checks import InputError
from nnft_mcmc.dynamics.optimizers import GradientDescent, GradientFlow, Optimizer

FloatArray = NDArray[np.float64]
Solvable = GradientFlow | GradientDescent


def solvable(optimizer: Optimizer) -> Solvable:
    """The optimiser, if its training of a linear model is solved here."""
    if isinstance(optimizer, GradientFlow | GradientDescent):
        return optimizer
    raise InputError(
        f"training.name is {optimizer.name!r}, for which there is no exact solution; gradient_flow and gradient_descent"
        " have one."
    )


def response(optimizer: Solvable, eigenvalues: FloatArray, rate: float, time: float) -> FloatArray:
    """g_t(l) for eigenvalues l >= 0, (D,); rate = eta/|D|; 1/l at t = infinity."""
    if math.isinf(time):
        with np.errstate(divide="ignore"):
            return 1 / eigenvalues
    if isinstance(optimizer, GradientFlow):
        x = eigenvalues * (rate * time)
        return rate * time * np.divide(-np.expm1(-x), x, out=np.ones_like(x), where=x > 0)
    return _descent(eigenvalues, rate, int(time), optimizer.momentum)


def _descent(eigenvalues: FloatArray, rate: float, steps: int, momentum: float) -> FloatArray:
    step = np.zeros((len(eigenvalues), 3, 3))
    step[:, 0, 0] = 1 + momentum - rate * eigenvalues
    step[:, 0, 1] = -momentum
    step[:, 0, 2] = rate
    step[:, 1, 0] = step[:, 2, 2] = 1
    return np.linalg.matrix_power(step, steps)[:, 0, 2]


def stability_bound(optimizer: Solvable, largest_eigenvalue: float, num_data: int) -> float:
    """The learning rate from which on descent diverges; infinite for a flow."""
    if isinstance(optimizer, GradientFlow):
        return math.inf
    return 2 * (1 + optimizer.momentum) * num_data / largest_eigenvalue


def check_stable(optimizer: Solvable, eta: float, largest_eigenvalue: float, num_data: int) -> None:
    """Refuse a learning rate of `stability_bound` or above."""
    bound = stability_bound(optimizer, largest_eigenvalue, num_data)
    if eta >= bound:
        raise InputError(
            f"the learning rate is {eta:.6g} and gradient descent diverges from 2 (1 + momentum) |D|/lambda_max ="
            f" {bound:.6g} on, lambda_max = {largest_eigenvalue:.6g} being the largest eigenvalue of the tangent"
            f" kernel on |D| = {num_data} points; divide training.learning_rate by {eta / bound:.4g} or more."
        )
