"""Correlation functions of the stored fields of a run, labelled."""

import numpy as np
import xarray as xr

from nnft_mcmc import _checks
from nnft_mcmc.estimators.stored_fields import pair_matrix, torus_propagator, torus_two_point
from nnft_mcmc.lattice import Lattice
from nnft_mcmc.statistics import Estimate

# G(x, y) of more sites than this is a matrix nobody looks at.
MOST_SITES = 1024


def field_correlators(results: xr.DataTree, lattice: Lattice) -> xr.Dataset:
    """G(r) and G(p) on a torus, G(x, y) in a box, with errors, of results that hold `posterior/field`.

    Torus: `two_point` over displacements t, x, y, z and `propagator` over momenta p_t, p_x, .. Box: `two_point` over
    the coordinates of both points, t, x, .. and t_2, x_2, .. Errors are in `two_point_error` and `propagator_error`.
    """
    if "posterior" not in results.children or "field" not in results["posterior"].data_vars:
        raise _checks.InputError('the results hold no field; sample with [run] store = ["field"].')
    fields = results["posterior"].to_dataset()["field"].to_numpy()
    if lattice.geometry == "torus":
        return _of_torus(fields, lattice)
    if lattice.num_sites > MOST_SITES:
        raise _checks.InputError(
            f"the box has {lattice.num_sites} sites and G(x, y) is made for {MOST_SITES} at most; choose sites with"
            " nnft_mcmc.estimators.stored_fields.pair_matrix."
        )
    names = lattice.axis_names
    second = [f"{name}_2" for name in names]
    coordinates = {**lattice.coordinates, **{f"{name}_2": c for name, c in lattice.coordinates.items()}}
    matrix = pair_matrix(fields, lattice)
    return xr.Dataset(_variables("two_point", (*names, *second), matrix, lattice.shape * 2), coords=coordinates)


def _of_torus(fields: np.ndarray, lattice: Lattice) -> xr.Dataset:
    names = lattice.axis_names
    momenta = [f"p_{name}" for name in names]
    dual = [2 * np.pi * np.fft.fftfreq(n, lattice.spacing) for n in lattice.shape]
    two_point, propagator = torus_two_point(fields, lattice), torus_propagator(fields, lattice)
    return xr.Dataset(
        {
            **_variables("two_point", names, two_point, lattice.shape),
            **_variables("propagator", momenta, propagator, lattice.shape),
        },
        coords={**lattice.coordinates, **dict(zip(momenta, dual, strict=True))},
    )


def _variables(name: str, dims: tuple[str, ...] | list[str], e: Estimate, shape: tuple[int, ...]) -> dict[str, tuple]:
    return {name: (dims, e.value.reshape(shape)), f"{name}_error": (dims, e.error.reshape(shape))}
