"""Excited states from a matrix of correlators: the generalised eigenvalue problem.

    C(t) v_n = lambda_n(t, t0) C(t0) v_n,     C_ab(t) = sum_n psi_an psi_bn e^{-E_n t}

Where A operators see A states only, lambda_n(t, t0) = e^{-E_n (t - t0)} exactly; else states beyond them contaminate
E_n by terms that fall with t0. The vectors are taken once, at (t0, t1), from the mean, and every correlator and every
replica is projected on them,

    C_n(t) = v_n^T C(t) v_n,

which is linear in the data: C_n is a sum of exponentials with positive weights, or of hyperbolic cosines on a torus,
that of state n far in front, for fits to work on. Sources: C. Michael, Nucl. Phys. B 259 (1985) 58; M. Luescher and
U. Wolff, Nucl. Phys. B 339 (1990) 222; B. Blossier et al., arXiv:0902.1265.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from nnft_mcmc._checks import InputError
from nnft_mcmc.statistics.resampling import Jackknife

FloatArray = NDArray[np.float64]

# A smallest eigenvalue of the normalised C(t0) below this is no information.
_FLOOR = 1e-10


def generalised_eigenvalues(later: FloatArray, earlier: FloatArray) -> tuple[FloatArray, FloatArray]:
    """lambda (A,), the largest first, and v (A, A) in columns, v^T C(t0) v = 1, of C(t) = `later`, C(t0) = `earlier`.

    Raises `InputError` where C(t0) is not positive definite.
    """
    scale = np.sqrt(np.clip(np.diag(earlier), 0.0, None))
    outer = np.outer(scale, scale)
    if not (scale > 0).all() or not np.linalg.eigvalsh(earlier / outer)[0] > _FLOOR:
        raise InputError(
            "the matrix of correlators at t0 is not positive definite; draw more, or take operators that differ more."
        )
    values, vectors = eigh(later / outer, earlier / outer)
    return values[::-1], vectors[:, ::-1] / scale[:, None]


def principal_correlators(matrix: Jackknife, t0: int, t1: int) -> Jackknife:
    """C_n(t) of C_ab(t), value (A, A, lags): value (A, lags), the lowest state first; t0 < t1 are numbers of lags.

    C_n(t0) = 1.
    """
    lags = matrix.value.shape[-1]
    if not 0 <= t0 < t1 < lags:
        raise InputError(f"t0 = {t0} and t1 = {t1}; they must be 0 <= t0 < t1 < {lags}, the number of separations.")
    _, v = generalised_eigenvalues(matrix.value[..., t1], matrix.value[..., t0])
    return matrix.derived(lambda c: np.einsum("an,...abt,bn->...nt", v, c, v, optimize=True))
