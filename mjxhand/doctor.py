"""`python -m mjxhand.doctor`: what this machine is, what is known to go wrong on it, a test.

Exit code 0: everything that training needs works; 1: something does not.
"""

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jax
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mjxhand import __version__, cli, selftest
from mjxhand.config import ConfigError, Impl
from mjxhand.mjx_steps import WARP_DRIVER
from mjxhand.native import usable_cores

PACKAGES = ("jax", "jaxlib", "mujoco", "mujoco-mjx", "flax", "optax", "numpy")
EXTRAS = ("warp-lang", "gymnasium", "siibra", "matplotlib")
PLUGINS = {"jax-cuda13-plugin": 580, "jax-cuda12-plugin": 525}
"""JAX's packages for NVIDIA GPUs, and the driver that each needs, at least."""
WARP = "1.19.0"
"""The only version of warp-lang that the warp back end is tested with."""
POOL = 8
"""Threads from which on jaxlib 0.10's batched Cholesky was not seen to wait for itself."""
ROOM = 2**30
"""Bytes that a run with its checkpoints, events and film may take."""


@dataclass(frozen=True)
class Machine:
    """What decides which problems are to be expected."""

    backend: str  # cpu, gpu or tpu
    cores: int
    threads: int  # of XLA's pool on the CPU
    versions: dict[str, str]  # of the packages that are installed
    driver: str  # NVIDIA's; empty: none
    free: int  # bytes of disk in the working folder


def look() -> Machine:
    """This machine."""
    cores = usable_cores()
    found = {name: _version(name) for name in (*PACKAGES, *EXTRAS, *PLUGINS)}
    threads = os.environ.get("NPROC", "")
    return Machine(
        backend=jax.default_backend(),
        cores=cores,
        threads=int(threads) if threads.isdecimal() else cores,
        versions={name: number for name, number in found.items() if number},
        driver=_driver(),
        free=shutil.disk_usage(".").free,
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.split("\n")[0].strip() if not done.returncode else ""


def choice(machine: Machine) -> tuple[Impl, str]:
    """The back end that `--physics.impl auto` takes here, and why."""
    if machine.backend == "cpu":
        return "native", "no accelerator, and C MuJoCo is the fastest on a CPU"
    return "jax", f"MJX keeps everything on the {machine.backend}"


def problems(machine: Machine) -> list[str]:
    """What is known to go wrong in this combination: each a line, with what to do."""
    found = []
    numbers = machine.versions
    old = tuple(int(x) for x in numbers["jaxlib"].split(".")[:2]) < (0, 10)
    if machine.backend == "cpu" and not old and machine.threads < POOL:
        found.append(
            f"jaxlib {numbers['jaxlib']} on {machine.threads} threads: MJX (--physics.impl "
            "jax) may wait for ever in a batched Cholesky; keep to native, or set NPROC=16 "
            "before Python starts, or install jaxlib 0.9"
        )
    if machine.driver and machine.backend == "cpu":
        found.append(_unused_gpu(machine))
    if numbers["mujoco"] != numbers["mujoco-mjx"]:
        found.append(
            f"mujoco {numbers['mujoco']} and mujoco-mjx {numbers['mujoco-mjx']} must be of "
            "the same version: install both anew"
        )
    if numbers.get("warp-lang", WARP) != WARP:
        found.append(
            f"warp-lang {numbers['warp-lang']}: the warp back end is tested with {WARP}"
        )
    first = machine.driver.split(".")[0]
    old = first.isdecimal() and int(first) < WARP_DRIVER
    if machine.backend == "gpu" and old and "warp-lang" in numbers:
        found.append(
            f"driver {machine.driver}: Warp needs {WARP_DRIVER} or newer, so --physics.impl "
            "warp and camera frames (--env.vision) are not to be had; update the driver"
        )
    if machine.free < ROOM:
        found.append(
            f"{machine.free / 2**20:.0f} MiB are free here: a run may take more; use --out"
        )
    return found


def _unused_gpu(machine: Machine) -> str:
    """Why JAX does not use the NVIDIA GPU that is there, as far as that can be told."""
    numbers = machine.versions
    plugins = [name for name in PLUGINS if name in numbers]
    if not plugins:
        return (
            "there is an NVIDIA driver, but JAX does not use it: pip install "
            "'mjxhand[cuda]', or is JAX_PLATFORMS set?"
        )
    plugin = plugins[0]
    cuda = plugin.removeprefix("jax-").removesuffix("-plugin")
    said = f"there is an NVIDIA driver, but JAX does not use it: {plugin}"
    if numbers[plugin] != numbers["jaxlib"]:
        return (
            f"{said} {numbers[plugin]} does not go with jaxlib {numbers['jaxlib']}: pip "
            f"install 'jax[{cuda}]=={numbers['jax']}'"
        )
    first = machine.driver.split(".")[0]
    if first.isdecimal() and int(first) < PLUGINS[plugin]:
        older = [name for name, least in PLUGINS.items() if least <= int(first)]
        advice = "a newer driver"
        if older:
            cuda = older[0].removeprefix("jax-").removesuffix("-plugin")
            advice += f", or pip uninstall {plugin} and install 'jax[{cuda}]"
            advice += f"=={numbers['jax']}'"
        return (
            f"{said} needs driver {PLUGINS[plugin]} or newer, not {machine.driver}: "
            f"{advice}"
        )
    return (
        f"{said} {numbers[plugin]} does not start: is JAX_PLATFORMS or "
        "CUDA_VISIBLE_DEVICES set? What JAX says at its start tells more"
    )


def _facts(machine: Machine) -> list[tuple[str, str]]:
    impl, why = choice(machine)
    devices = jax.devices()
    kinds = ", ".join(sorted({d.device_kind for d in devices}))
    extras = [
        f"{n} {machine.versions[n]}"
        for n in (*PLUGINS, *EXTRAS)
        if n in machine.versions
    ]
    driver = f", driver {machine.driver}" if machine.driver else ""
    cache = jax.config.jax_compilation_cache_dir or "none"
    return [
        ("mjxhand", f"{__version__}, {Path(__file__).resolve().parent}"),
        ("machine", f"{platform.platform()}, {platform.machine()}"),
        ("processor", f"{machine.cores} cores for this process"),
        ("devices", f"{len(devices)} × {machine.backend} ({kinds}){driver}"),
        ("physics", f"{impl}: {why}"),
        ("python", platform.python_version()),
        (
            "packages",
            ", ".join(f"{n} {machine.versions.get(n, '–')}" for n in PACKAGES),
        ),
        ("extras", ", ".join(extras) or "none"),
        ("renderer", os.environ.get("MUJOCO_GL", "MuJoCo's own choice")),
        ("compiled", f"kept in {cache}"),
        ("disk", f"{machine.free / 2**30:.1f} GiB free in {Path.cwd()}"),
    ]


def _test(console: Console, impl: Impl) -> bool:
    """Run the self-test; whether everything passed."""
    well = True
    try:
        env = selftest.environment(impl)
    except ConfigError as error:
        console.print(Text(f"  ✗ environment  {error}", "red"), soft_wrap=True)
        return False
    for name, test in selftest.TESTS.items():
        began = time.monotonic()
        try:
            mark, style, words = "✓", "green", test(env)
        # Whatever it is, a doctor's patient hears it in one line.
        except Exception as error:
            kind = (
                ""
                if isinstance(error, selftest.Failed | ConfigError)
                else (f"{type(error).__name__}: ")
            )
            mark, style, words = "✗", "red", kind + " ".join(str(error).split())
            well = False
        line = Text.assemble(
            (f"  {mark} ", style),
            f"{name:<10}",
            (f"{time.monotonic() - began:5.1f} s  ", "dim"),
            words,
        )
        console.print(line, soft_wrap=True)
    return well


@cli.main_guard
def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    argv = sys.argv[1:] if argv is None else argv
    if cli.only_help(argv, "python -m mjxhand.doctor", __doc__):
        return 0
    console = Console(highlight=False)
    machine = look()
    table = Table.grid(padding=(0, 2))
    for name, text in _facts(machine):
        table.add_row(Text(f"  {name}", "dim"), Text(text))
    console.print(table)
    found = problems(machine)
    console.print(Text("\nknown problems of this combination", "bold"))
    for text in found or ["none"]:
        console.print(
            Text(f"  {'!' if found else '✓'} {text}", "yellow" if found else "")
        )
    console.print(Text("\nself-test", "bold"))
    well = _test(console, choice(machine)[0])
    words = ("all well", "bold green") if well else ("not fit for training", "bold red")
    console.print(Text(f"\n{words[0]}", words[1]))
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
