"""Where a number was measured: hardware, versions, commit, command.

python benchmarks/environment.py      # fails, with one line, if there is no accelerator
"""

import json
import multiprocessing
import os
import platform
import resource
import shlex
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# Before JAX: keeps XLA from telling of every program that it loads from its cache.
import mjxhand  # noqa: F401  # isort: skip
import jax

from mjxhand.storage import write_text_atomically

PACKAGES = (
    "jax",
    "jaxlib",
    "mujoco",
    "mujoco-mjx",
    "flax",
    "optax",
    "warp-lang",
    "numpy",
)


def describe() -> dict:
    """Hardware, versions and commit, for a results file."""
    return {
        "device": jax.devices()[0].device_kind,
        "num_devices": jax.device_count(),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "commit": _commit(),
    }


def no_accelerator() -> str:
    """What to say if JAX runs on a CPU; empty if not."""
    if jax.default_backend() != "cpu":
        return ""
    return (
        "no accelerator: JAX runs on the CPU, where this would take hours (on NVIDIA: pip "
        "install 'mjxhand[cuda]', or is JAX_PLATFORMS set?)"
    )


def command() -> str:
    """The command line that runs this, from the repository's root."""
    script = Path(sys.argv[0]).resolve()
    root = Path(__file__).resolve().parent.parent
    name = script.relative_to(root) if script.is_relative_to(root) else script.name
    return shlex.join(["python", str(name), *sys.argv[1:]])


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far, MB (10⁶ bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def _cpu() -> str:
    """Name, and the numbers that tell generations of one name apart."""
    known = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        known.setdefault(name.strip(), value.strip())
    if "model name" not in known:
        return platform.processor()
    return (
        f"{known['model name']} (family {known.get('cpu family')}, "
        f"model {known.get('model')})"
    )


def alone(function, *args):
    """Call it in a process of its own: in this one JAX would take a GPU's memory for itself."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *args).result()


def save(path: Path | None, facts: dict | None = None, **content) -> None:
    """Write results, with the command and `describe()`, to a file if one is named.

    Args:
        facts: what `describe` gave before.
    """
    if path:
        write(path, {"command": command(), **content, **(facts or describe())})


def write(path: Path, report: dict) -> None:
    """Write a results file whole: whoever is killed meanwhile leaves the one before."""
    write_text_atomically(path, json.dumps(report, indent=1) + "\n")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit checked out, marked if files differ from it; None outside git."""
    root = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(no_accelerator() or 0)
