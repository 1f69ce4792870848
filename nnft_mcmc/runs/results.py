"""The results schema: groups `posterior`, `sample_stats`, `observables` and `identities` of labelled arrays.

Their dimensions are chain, draw, t, x, y, z. A sampler gives plain arrays (chain, draw, ...) by group and name; here
they get their dimensions and coordinates. The same names are used in memory, in the Zarr store and in exported netCDF,
which `arviz.from_netcdf` opens.
"""

from collections.abc import Callable, Mapping

import jax
import numpy as np
import xarray as xr

from nnft_mcmc import _checks
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.estimators import identities, modes, per_draw, separations
from nnft_mcmc.estimators.operators import POWERS, time_slices
from nnft_mcmc.lattice import Lattice
from nnft_mcmc.sampling import Chains, Chunk, Position, PriorDraws, Sampler, chunk_lengths

SEPARATION, AXIS, MODE, OPERATOR = "separation", "axis", "mode", "operator"

# Buffers of a chunk, on the device and on their way to a file, stay below this.
CHUNK_BYTES = 8 * 2**20
CHUNKS_PER_RUN = 20

# Independent draws need no order, so `draw` makes this many side by side.
DRAWS_AT_ONCE = 64


def dims_of(group: str, name: str, ndim: int, lattice: Lattice) -> tuple[str, ...]:
    """Names of the dimensions of an array (chain, draw, ...) of the schema."""
    if (group, name) == ("posterior", "field"):
        rest = lattice.axis_names
    elif (group, name) == ("posterior", "operators"):
        rest = (OPERATOR, lattice.axis_names[0])
    elif name in ("two_point", "correlator", "improved_correlator"):
        rest = (SEPARATION,)
    elif name == "propagator":
        rest = (AXIS, MODE)
    else:
        rest = tuple(f"{name}_dim_{k}" for k in range(ndim - 2))
    return ("chain", "draw", *rest)


def label(arrays: Mapping[str, Mapping[str, np.ndarray]], lattice: Lattice) -> xr.DataTree:
    """Arrays by group and name as a labelled tree."""
    powers = np.array([f"phi{k}" if k > 1 else "phi" for k in POWERS])
    axes = {AXIS: np.array(lattice.axis_names), MODE: modes(lattice), OPERATOR: powers}
    coordinates = {**lattice.coordinates, SEPARATION: separations(lattice), **axes}
    groups = {}
    for group, members in arrays.items():
        variables = {name: (dims_of(group, name, np.ndim(a), lattice), a) for name, a in members.items()}
        used = {dim for dims, _ in variables.values() for dim in dims}
        dataset = xr.Dataset(variables, coords={dim: c for dim, c in coordinates.items() if dim in used})
        sizes = {dim: np.arange(dataset.sizes[dim]) for dim in ("chain", "draw")}
        groups[group] = dataset.assign_coords(sizes)
    return xr.DataTree.from_dict(groups)


def collector(ensemble: Ensemble, store: tuple[str, ...]) -> Callable[[Position], dict[str, dict[str, jax.Array]]]:
    """What is kept of each draw: observables, identities, and of `field`, `parameters`, `operators` those asked for."""
    observe, certify = per_draw(ensemble), identities(ensemble)

    def collect(position: Position) -> dict[str, dict[str, jax.Array]]:
        posterior = dict(position.theta) if "parameters" in store else {}
        if "field" in store:
            posterior["field"] = position.field
        if "operators" in store:
            posterior["operators"] = time_slices(position.field)
        kept = {
            "posterior": posterior,
            "observables": observe(position.theta, position.field),
            "identities": certify(position.theta, position.field),
        }
        return {group: arrays for group, arrays in kept.items() if arrays}

    return collect


def chunk_length(ensemble: Ensemble, sampler: Sampler, store: tuple[str, ...]) -> int:
    """Draws per compiled chunk: a twentieth of the run, or what fits in the buffers."""
    per_draw_bytes = 8 * sampler.num_chains * 32
    if "field" in store:
        per_draw_bytes += 8 * sampler.num_chains * ensemble.lattice.num_sites
    if "operators" in store:
        per_draw_bytes += 8 * sampler.num_chains * len(POWERS) * ensemble.lattice.shape[0]
    if "parameters" in store:
        sizes = [np.prod((*d.batch_shape, *d.event_shape)) for d in ensemble.architecture.prior().values()]
        per_draw_bytes += 8 * sampler.num_chains * int(sum(sizes))
    return max(1, min(-(-sampler.num_samples // CHUNKS_PER_RUN), CHUNK_BYTES // per_draw_bytes))


def sample(
    ensemble: Ensemble, key: jax.Array, settings: Sampler, store: tuple[str, ...] = ("field", "parameters")
) -> xr.DataTree:
    """MCMC of the deformed density P(theta) exp(-S_int[phi_theta]).

    `settings` is `Refresh(...)`, `Composite(...)`, `HMC(...)` or `NUTS(...)`. Returns groups `posterior` (field with
    dims chain, draw, t, x, y, z, and the parameters), `sample_stats` and `observables`. Everything is in memory: for
    long runs use `nnft sample`, which writes as it goes.
    """
    if not isinstance(settings, Sampler):
        raise _checks.InputError(f"settings is {settings!r}; it must be a sampler, such as Refresh(num_samples=1000).")
    return label(_in_memory(ensemble, key, settings, store), ensemble.lattice)


def draw(
    ensemble: Ensemble, key: jax.Array, num_draws: int, store: tuple[str, ...] = ("field", "parameters")
) -> xr.DataTree:
    """Independent draws theta ~ P(theta) of the undeformed ensemble; one chain, same schema as `sample`."""
    num_draws = _checks.integer("num_draws", num_draws, minimum=1)
    rows = min(num_draws, DRAWS_AT_ONCE)
    settings = PriorDraws(num_chains=rows, num_warmup=0, num_samples=-(-num_draws // rows))
    arrays = _in_memory(ensemble.undeformed(), key, settings, store)
    one_chain = jax.tree.map(lambda a: a.reshape(1, -1, *a.shape[2:])[:, :num_draws], arrays)
    return label(one_chain, ensemble.lattice)


def _in_memory(ensemble: Ensemble, key: jax.Array, settings: Sampler, store: tuple[str, ...]) -> Chunk:
    length = chunk_length(ensemble, settings, store)
    chains = Chains(ensemble, settings, key, collector(ensemble, store), length)
    for number in chunk_lengths(settings.num_warmup, length):
        chains.warm_up(number)
    return joined([chains.draw(number) for number in chunk_lengths(settings.num_samples, length)])


def joined(chunks: list[Chunk]) -> Chunk:
    """Chunks one after the other along the draws."""
    return {
        group: {name: np.concatenate([chunk[group][name] for chunk in chunks], axis=1) for name in members}
        for group, members in chunks[0].items()
    }
