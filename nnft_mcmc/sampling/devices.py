"""Where chains lie: a mesh chains x neurons of devices, on one host or on several.

Every array of a sampler's state has the chains first, and is cut along them. Chains do not depend on each other: each
device runs the program of its own chains, `shard_map`, and nothing passes between devices. Left to itself XLA would
gather all chains wherever it meets a call that it knows nothing of, such as a non-uniform FFT, and would let devices
wait for each other at every pass of every loop.

With `neuron_shards` > 1 an array whose next axis counts the neurons is cut along that as well. There XLA partitions the
program of all chains (GSPMD), which means the same whatever the mesh is: what passes among the neurons of one group of
devices is one operation of all devices, so that loops of different lengths in different groups would never meet.

Several processes each own some of the devices and run the same program in step. Process 0 alone touches files.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from nnft_mcmc import _checks

CHAINS, NEURONS = "chains", "neurons"
FORCE_DEVICES = "XLA_FLAGS=--xla_force_host_platform_device_count="

# What process 0 tells the others of a step that it alone makes.
_DONE, _REFUSED, _FAILED = 0, 1, 2


class Layout:
    """`num_devices` devices (all of them where several processes run, else 1) as a mesh chains x neurons."""

    def __init__(self, num_devices: int | None = None, neuron_shards: int = 1) -> None:
        if num_devices is None:
            num_devices = jax.device_count() if jax.process_count() > 1 else 1
        _checks.integer("--devices", num_devices, minimum=1)
        _checks.integer("--neuron-shards", neuron_shards, minimum=1)
        here = jax.devices()
        if num_devices > len(here):
            raise _checks.InputError(
                f"--devices is {num_devices} and there are {len(here)} ({here[0].platform}); give at most that, or make"
                f" the host's CPU look like more with {FORCE_DEVICES}{num_devices} in the environment."
            )
        if jax.process_count() > 1 and num_devices != len(here):
            raise _checks.InputError(
                f"--devices is {num_devices} and the {jax.process_count()} processes have {len(here)}; several"
                " processes use all of their devices, so leave --devices out."
            )
        if num_devices % neuron_shards:
            raise _checks.InputError(
                f"--neuron-shards is {neuron_shards}, which does not divide the number of devices, {num_devices};"
                " give a divisor of it."
            )
        shape = num_devices // neuron_shards, neuron_shards
        self.mesh = Mesh(np.array(here[:num_devices]).reshape(shape), (CHAINS, NEURONS))

    @property
    def chain_shards(self) -> int:
        """Number of parts in which the chains lie."""
        return self.mesh.shape[CHAINS]

    @property
    def neuron_shards(self) -> int:
        """Number of parts in which the neurons lie."""
        return self.mesh.shape[NEURONS]

    @property
    def compiler_options(self) -> dict[str, Any]:
        """Options under which a program rounds alike on one device and on many.

        For one CPU XLA hands sums to a library (YNN) that adds in another order than the program of several devices.
        """
        on_cpu = self.mesh.devices.flat[0].platform == "cpu"
        return {"xla_cpu_experimental_ynn_fusion_type": ""} if on_cpu else {}

    def check(self, num_chains: int, width: int | None) -> None:
        """Refuse chains or neurons that cannot be cut into equal parts."""
        if num_chains % self.chain_shards:
            raise _checks.InputError(
                f"sampler.num_chains is {num_chains}, which {self.chain_shards} groups of devices cannot share equally;"
                f" give a multiple of {self.chain_shards}, or other --devices."
            )
        if self.neuron_shards > 1 and width is None:
            raise _checks.InputError(
                f"--neuron-shards is {self.neuron_shards} and the architecture has no width; leave --neuron-shards out."
            )
        if width is not None and width % self.neuron_shards:
            raise _checks.InputError(
                f"architecture.width is {width}, which {self.neuron_shards} neuron shards cannot share equally; give a"
                f" multiple of {self.neuron_shards}, or another --neuron-shards."
            )

    def of_state(self, state: Any, num_chains: int, width: int | None) -> Any:
        """The sharding of every array of a state (or of the shapes of one)."""
        return jax.tree.map(lambda leaf: self._sharding(leaf.shape, num_chains, width), state)

    def _sharding(self, shape: tuple[int, ...], num_chains: int, width: int | None) -> NamedSharding:
        if not shape or shape[0] != num_chains:
            return NamedSharding(self.mesh, PartitionSpec())
        counts_neurons = self.neuron_shards > 1 and len(shape) > 1 and shape[1] == width
        return NamedSharding(self.mesh, PartitionSpec(CHAINS, NEURONS) if counts_neurons else PartitionSpec(CHAINS))

    def by_chains(self, run: Callable[..., tuple[Any, Any]], of_state: Any) -> Callable[..., tuple[Any, Any]]:
        """`run`(state, *numbers) -> (state, draws (draw, chain, ...)), each device with its own chains if it can."""
        if self.neuron_shards > 1:
            return run
        chains = jax.tree.map(lambda sharding: sharding.spec, of_state)

        def of_all(state: Any, *numbers: Array) -> tuple[Any, Any]:
            inputs, outputs = (chains, *[PartitionSpec()] * len(numbers)), (chains, PartitionSpec(None, CHAINS))
            return jax.shard_map(run, mesh=self.mesh, in_specs=inputs, out_specs=outputs, check_vma=False)(
                state, *numbers
            )

        return of_all

    def of_draws(self) -> NamedSharding:
        """The sharding of arrays (draw, chain, ...)."""
        return NamedSharding(self.mesh, PartitionSpec(None, CHAINS))

    def put(self, array: np.ndarray, sharding: NamedSharding) -> Array:
        """An array that all processes have, on the devices."""
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

    def __str__(self) -> str:
        d = self.mesh.devices
        neurons = f" x {self.neuron_shards} of neurons" if self.neuron_shards > 1 else ""
        hosts = f" of {jax.process_count()} processes" if jax.process_count() > 1 else ""
        return f"{d.size} ({d.flat[0].platform}){hosts}, {self.chain_shards} parts of the chains{neurons}"


def connect(coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None) -> None:
    """Join the other processes of a run: at a given coordinator, or, without arguments, as the cluster says (Slurm)."""
    if coordinator is not None:
        if num_processes is None or process_id is None:
            raise _checks.InputError("--coordinator needs --num-processes and --process-id; give all three.")
        host, _, port = coordinator.rpartition(":")
        if not host or not port.isdigit():
            raise _checks.InputError(f"--coordinator is {coordinator!r}; it must be HOST:PORT, such as node001:7654.")
        _checks.integer("--num-processes", num_processes, minimum=1)
        _checks.integer("--process-id", process_id, minimum=0, maximum=num_processes - 1)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM for itself
    try:
        jax.distributed.initialize(coordinator, num_processes, process_id)
    except (ValueError, RuntimeError) as error:
        raise _checks.InputError(
            f"the processes of this run did not find each other ({' '.join(str(error).split())}); under Slurm start"
            " them with srun and --distributed, elsewhere give --coordinator, --num-processes and --process-id."
        ) from None


def is_first() -> bool:
    """Whether this process reads, writes and prints."""
    return jax.process_index() == 0


def gather(array: Array) -> np.ndarray:
    """An array of the devices, whole, in every process."""
    if array.is_fully_addressable:
        return np.asarray(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))


def everyone(values: list[int]) -> np.ndarray:
    """What each process gives, in rows."""
    if jax.process_count() == 1:
        return np.array([values])
    return np.asarray(multihost_utils.process_allgather(np.array(values)))


def from_first(array: np.ndarray) -> np.ndarray:
    """The array of process 0, to the last bit, in every process; the others give one of its shape and type."""
    if jax.process_count() == 1:
        return array
    as_bytes = np.frombuffer(array.tobytes(), dtype=np.uint8)  # sums of numbers would lose the sign of -0.0
    received = np.asarray(multihost_utils.broadcast_one_to_all(as_bytes)).astype(np.uint8)
    return np.frombuffer(received.tobytes(), dtype=array.dtype).reshape(array.shape)


def by_first(step: Callable[[], Any]) -> Any:
    """Do in process 0 what concerns files; where it fails there, no process goes on. None in the others."""
    if jax.process_count() == 1:
        return step()
    result, code = None, _DONE
    failure: Exception | None = None
    if is_first():
        try:
            result = step()
        except _checks.InputError as error:
            failure, code = error, _REFUSED
        except OSError as error:
            failure, code = error, _FAILED
    code = int(everyone([code])[0, 0])
    if failure is not None:
        raise failure
    if code == _REFUSED:
        raise _checks.InputError("process 0 refused to go on; it says why.")
    if code == _FAILED:
        raise OSError("process 0 could not read or write; it says why")
    return result
