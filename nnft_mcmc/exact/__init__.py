"""Exact answers, computed on the host in double precision whatever precision the networks run in."""

from nnft_mcmc.exact.finite_width import WidthShift, width_shift
from nnft_mcmc.exact.propagators import ball_transform, ball_volume, matern
from nnft_mcmc.exact.transfer_matrix import TransferMatrix

__all__ = ["TransferMatrix", "WidthShift", "ball_transform", "ball_volume", "matern", "width_shift"]
