"""Compiling for a GPU that is not there.

XLA needs a description of a GPU, not the GPU, to make its program: JAX's CUDA plugin compiles for
one on a machine without GPU and driver. What such a program is made of and the memory it needs
can be told; what cannot be are its seconds, and which of several kernels XLA would have chosen by
trying them (a GPU's own compilation does).
"""

from typing import Any

import environment  # noqa: F401  # isort: skip
import jax
from jax.experimental import topologies

# Streaming multiprocessors, memory and its bandwidth: NVIDIA's data sheet of the H200 SXM.
# Limits per block and core: those of compute capability 9.0, CUDA C++ Programming Guide.
H200 = """
gpu_device_info {
  core_count: 132
  fpus_per_core: 128
  clock_rate_ghz: 1.98
  memory_bandwidth: 4800000000000
  device_memory_size: 141000000000
  l2_cache_size: 52428800
  cuda_compute_capability { major: 9 }
  threads_per_warp: 32
  threads_per_block_limit: 1024
  threads_per_core_limit: 2048
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472
  registers_per_block_limit: 65536
  registers_per_core_limit: 65536
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
}
platform_name: "CUDA"
runtime_version { major: 13 }
dnn_version_info { major: 9 minor: 12 }
device_description_str: "NVIDIA H200"
"""
GPUS = {"h200": H200}
BANDWIDTH = {"h200": 4.8e12}
"""Bytes per second between a GPU and its memory."""


def device(name: str) -> Any:
    """A device to compile for, of a kind in GPUS. Nothing can be put on it.

    To be called before anything runs: from then on this process runs on the CPU.
    """
    # Else JAX would look for a GPU, and leave its plugin out for want of one.
    jax.config.update("jax_platforms", "cpu")
    # A cached program cannot be read without the GPU.
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        made = topologies.get_topology_desc(
            platform="cuda",
            topology_name="1x1x1",
            topology="1x1x1",
            target_config=GPUS[name],
        )
    except NotImplementedError as error:  # JAX knows of no such plugin
        raise SystemExit(
            f"compiling for {name} needs JAX's CUDA plugin (no GPU, no driver): pip install"
            f" 'jax[cuda13]=={jax.__version__}' ({str(error).splitlines()[0]})"
        ) from None
    return made.devices[0]
