"""Exact answers, computed on the host in double precision whatever precision the networks run in."""

from nnft_mcmc.exact.cumulants import (
    independent_neurons_cumulant,
    independent_neurons_moment,
    normal_moment,
    one_point_cumulants,
    quadrature_moments,
    sum_of_neurons_cumulant,
    sum_of_neurons_moment,
    weighted_moments,
)
from nnft_mcmc.exact.edgeworth import EdgeworthAction, four_point_tensor, in_basis
from nnft_mcmc.exact.finite_width import WidthShift, width_shift
from nnft_mcmc.exact.gaussian_process import GaussianProcess
from nnft_mcmc.exact.perturbation import ConnectedFunctions, GaussianSeries
from nnft_mcmc.exact.propagators import ball_transform, ball_volume, matern
from nnft_mcmc.exact.torus import TorusTheory, mehler
from nnft_mcmc.exact.transfer_matrix import TransferMatrix
from nnft_mcmc.exact.wick import covariance_matrix, cumulants_from_moments, gaussian_n_point, moments_from_cumulants

__all__ = [
    "ConnectedFunctions",
    "EdgeworthAction",
    "GaussianProcess",
    "GaussianSeries",
    "TorusTheory",
    "TransferMatrix",
    "WidthShift",
    "ball_transform",
    "ball_volume",
    "covariance_matrix",
    "cumulants_from_moments",
    "four_point_tensor",
    "gaussian_n_point",
    "in_basis",
    "independent_neurons_cumulant",
    "independent_neurons_moment",
    "matern",
    "mehler",
    "moments_from_cumulants",
    "normal_moment",
    "one_point_cumulants",
    "quadrature_moments",
    "sum_of_neurons_cumulant",
    "sum_of_neurons_moment",
    "weighted_moments",
    "width_shift",
]
