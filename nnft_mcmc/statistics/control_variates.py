r"""Control variates: numbers Z_j of each draw with mean zero, subtracted from an observable to take noise out of it.

    O' = O - sum_j beta_j Z_j,      <O'> = <O>  for every beta that does not depend on the draws it is applied to.

beta = <Z Z>^{-1} <Z (O - <O>)> minimises the variance of independent draws. It is fitted to draws of its own, a pilot,
and then used on others: fitted to the same draws it would bias the mean by O(variates/draws) of the error's square.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnft_mcmc._checks import InputError

FloatArray = NDArray[np.float64]

# Combinations of variates whose variance is below this part of the largest are numerically the same as others.
_RANK = 1e-10
_DRAWS_PER_VARIATE = 4


def control_coefficients(variates: ArrayLike, observables: ArrayLike) -> FloatArray:
    """beta (variates, observables) from the draws of a pilot, (draws, variates) and (draws, observables)."""
    z, o = (np.asarray(a, dtype=np.float64) for a in (variates, observables))
    if z.ndim != 2 or o.ndim != 2 or len(z) != len(o):
        raise InputError(
            f"variates and observables have shapes {z.shape} and {o.shape}; they must be (draws, variates) and (draws,"
            f" observables)."
        )
    if len(z) < _DRAWS_PER_VARIATE * z.shape[1]:
        raise InputError(
            f"the pilot has {len(z)} draws for {z.shape[1]} control variates; it needs {_DRAWS_PER_VARIATE} for each,"
            f" {_DRAWS_PER_VARIATE * z.shape[1]} or more."
        )
    if not (np.isfinite(z).all() and np.isfinite(o).all()):
        raise InputError("a draw of the pilot is not finite; see the sampler's num_not_finite.")
    size = np.sqrt(np.mean(z**2, axis=0))
    scaled = z / np.where(size > 0, size, 1.0)
    inverse = np.linalg.pinv(scaled.T @ scaled, rcond=_RANK, hermitian=True)
    return inverse @ (scaled.T @ (o - o.mean(axis=0))) / np.where(size > 0, size, 1.0)[:, None]
