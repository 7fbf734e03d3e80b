"""One run in several processes, on one machine or many: how they find and leave each other.

Every process runs the same program; the mesh of `sharding.py` spans the devices of all. Process
0 alone writes, evaluates and films. Under SLURM's `srun` nothing need be said; elsewhere
`--coordinator`, `--num-processes` and `--process-id` say it.
"""

import glob
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
from jax.experimental import multihost_utils

from mjxhand.config import ConfigError

HEARTBEAT_SECONDS = 60
"""After this long without a sign of life a process counts as dead, where its connections do
not tell sooner."""
CONNECT_SECONDS = 300
CACHE = "JAX_COMPILATION_CACHE_DIR"
"""Where compiled programs are kept; of several processes only where somebody names a place."""
LOST = 3
"""Exit code of a process whose run has lost another one."""

OPTIONS = ("--coordinator", "--num-processes", "--process-id")
_SLURM = (
    "SLURM_JOB_ID",
    "SLURM_PROCID",
    "SLURM_LOCALID",
    "SLURM_STEP_NUM_TASKS",
    "SLURM_STEP_NODELIST",
)
# What jaxlib says where a peer is gone: Gloo (CPU), NCCL (GPU), the coordination service.
_PEER_LOST = ("gloo", "nccl", "connection closed", "coordination", "heartbeat")


@dataclass(frozen=True)
class Cluster:
    """The processes of a run and this one's place among them."""

    coordinator: str  # HOST:PORT at which process 0 listens
    num_processes: int
    process_id: int
    local_devices: tuple[int, ...] | None = None  # None: every device of this machine


def find(
    coordinator: str | None,
    num_processes: int | None,
    process_id: int | None,
    environ: Mapping[str, str] = os.environ,
) -> Cluster | None:
    """The cluster that the options name, else SLURM's; None: one process alone.

    Raises:
        ConfigError: some options without the others, or numbers that make no sense.
    """
    given = (coordinator, num_processes, process_id)
    if given == (None, None, None):
        return _slurm(environ)
    if coordinator is None or num_processes is None or process_id is None:
        missing = [o for o, v in zip(OPTIONS, given, strict=True) if v is None]
        raise ConfigError(
            f"{' and '.join(missing)} missing: give {', '.join(OPTIONS)} together, or none"
        )
    host, colon, port = coordinator.rpartition(":")
    if not (host and colon and port.isdecimal()):
        raise ConfigError(
            f"--coordinator is {coordinator!r}: give process 0's HOST:PORT"
        )
    if not 0 <= process_id < num_processes:
        raise ConfigError(
            f"--process-id is {process_id} of --num-processes {num_processes}: count "
            "processes from 0"
        )
    return Cluster(coordinator, num_processes, process_id)


def _slurm(environ: Mapping[str, str]) -> Cluster | None:
    """The step that `srun` started; None in a batch script or shell, which is one process."""
    if any(name not in environ for name in _SLURM):
        return None
    tasks = int(environ["SLURM_STEP_NUM_TASKS"])
    if tasks < 2:
        return None
    # The same on every process, and seldom the same for two jobs on one machine.
    port = 61_440 + int(environ["SLURM_JOB_ID"]) % 4096
    return Cluster(
        coordinator=f"{first_host(environ['SLURM_STEP_NODELIST'])}:{port}",
        num_processes=tasks,
        process_id=int(environ["SLURM_PROCID"]),
        local_devices=_slurm_devices(environ, tasks),
    )


def first_host(nodes: str) -> str:
    """First machine of SLURM's list: `a[03-05,9],b` → `a03`."""
    prefix, bracket, rest = nodes.partition("[")
    if not bracket or "," in prefix:
        return prefix.split(",")[0]
    inside = rest.partition("]")[0]
    return prefix + inside.replace("-", ",").split(",")[0]


def _slurm_devices(environ: Mapping[str, str], tasks: int) -> tuple[int, ...] | None:
    """A process has all devices that it sees, unless it shares them with a neighbour."""
    nodes = int(environ.get("SLURM_STEP_NUM_NODES", "1"))
    told = environ.get("CUDA_VISIBLE_DEVICES")
    # A cluster that does not count GPUs tells of none, and every process sees all.
    visible = _gpus_here() if told is None else told.split(",")
    bound = "SLURM_GPUS_PER_TASK" in environ  # what a process sees is its own
    if bound or tasks <= nodes or len(visible) < 2:
        return None
    neighbours = -(-tasks // nodes)
    share, rest = divmod(len(visible), neighbours)
    if rest:
        raise ConfigError(
            f"{neighbours} processes of a machine cannot share its {len(visible)} GPUs "
            "evenly: give --ntasks-per-node a divisor of them"
        )
    first = int(environ["SLURM_LOCALID"]) * share
    return tuple(range(first, first + share))


def _gpus_here() -> list[str]:
    """NVIDIA GPUs of this machine, as Linux lists them."""
    return glob.glob("/dev/nvidia[0-9]*")


def start(cluster: Cluster | None) -> None:
    """Join the others, before JAX's back end starts; a process alone does nothing.

    Raises:
        ConfigError: the coordinator was not reached.
    """
    if cluster is None:
        return
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # Only process 0 writes what is compiled. If the others did not see its cache, they would
    # compile again what it reads, and XLA would wait a day for its share of timing GPU kernels.
    if CACHE not in os.environ:
        jax.config.update("jax_compilation_cache_dir", None)
    # Gloo pairs messages by their order, and programs that run at once have none.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    try:
        jax.distributed.initialize(
            cluster.coordinator,
            cluster.num_processes,
            cluster.process_id,
            local_device_ids=cluster.local_devices,
            cluster_detection_method="deactivate",
            initialization_timeout=CONNECT_SECONDS,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except jax.errors.JaxRuntimeError as error:
        raise ConfigError(
            f"process {cluster.process_id} of {cluster.num_processes} could not join the "
            f"others at {cluster.coordinator}: {_first_line(error)}"
        ) from error


def stop() -> None:
    """Part from the others; what follows is this process's alone."""
    if jax.process_count() > 1:
        jax.distributed.shutdown()


def is_main() -> bool:
    """Whether this process writes, evaluates and films."""
    return jax.process_index() == 0


def agree(flag: bool) -> bool:
    """Whether the flag is set in any process. All must call it."""
    if jax.process_count() == 1:
        return flag
    return bool(multihost_utils.process_allgather(flag).any())


def to_host(tree: Any) -> Any:
    """`tree` with whole arrays in this process's memory. All must call it."""
    if jax.process_count() == 1:
        return tree
    return multihost_utils.process_allgather(tree, tiled=True)


def from_main(tree: Any) -> Any:
    """Process 0's arrays in every process. All must call it, with equal shapes."""
    if jax.process_count() == 1:
        return tree
    return multihost_utils.broadcast_one_to_all(tree)


def on_main(action: Callable[[], Any]) -> None:
    """Let process 0 do it before any goes on; where it fails, all end. All must call it.

    Raises:
        ConfigError: process 0's own, there; elsewhere one that points to it.
    """
    error = None
    if is_main():
        try:
            action()
        except ConfigError as caught:
            error = caught
    if agree(error is not None):
        raise error or ConfigError("process 0 could not start: its message says why")


@contextmanager
def watch(advice: str, asked: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """End this process with one line, exit code 3, where another one is lost meanwhile.

    At once and without Python's clean-up, which would wait for the lost one.

    Args:
        asked: whether this process was asked to stop: then so was the other, which has only
            left before, and the exit code is 0 as its own.
    """
    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        # jaxlib raises ValueError where an array's computation has failed.
        text = _first_line(error)
        alone = jax.process_count() == 1
        if alone or not any(word in text.lower() for word in _PEER_LOST):
            raise
        kind = "stopped" if asked() else "error"
        print(f"{kind}: lost another process ({text}): {advice}", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0 if asked() else LOST)


def _first_line(error: Exception) -> str:
    lines: Sequence[str] = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
