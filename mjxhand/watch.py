"""A long run watched: its memory, how busy its GPUs are, and whether it still moves."""

import faulthandler
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Self

import jax

STACKS = "stalled.txt"


def memory() -> dict[str, float]:
    """Memory now, MiB: `memory/process` (resident), and where the device tells,
    `memory/device` and `memory/device_peak` of the first local one."""
    found = {"memory/process": _resident()}
    stats = jax.local_devices()[0].memory_stats() or {}
    names = {"device": "bytes_in_use", "device_peak": "peak_bytes_in_use"}
    for name, key in names.items():
        if key in stats:
            found[f"memory/{name}"] = stats[key] / 2**20
    return found


def _resident() -> float:
    """Resident memory of this process, MiB; its peak where there is no /proc."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 2**10
    except OSError:
        pass
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


class GpuUse:
    """How busy this process's NVIDIA GPUs are; nothing where there are none.

    A thread asks `nvidia-smi`, which training does not wait for. A GPU counts as busy while any
    kernel runs, however small.

    Args:
        seconds: between two questions.
    """

    def __init__(self, seconds: float = 5.0):
        self._seconds = seconds
        self._percent: float | None = None
        self._over = threading.Event()

    def __enter__(self) -> Self:
        program = shutil.which("nvidia-smi")
        if program and jax.default_backend() == "gpu":
            command = [
                program,
                "--query-gpu=utilization.gpu",
                "--format=csv,noheader,nounits",
            ]
            if visible := os.environ.get("CUDA_VISIBLE_DEVICES"):
                command += ["-i", visible]
            threading.Thread(
                target=self._watch, args=(command,), name="gpu use", daemon=True
            ).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def __call__(self) -> dict[str, float]:
        """`gpu/utilization`, percent of the last moments, mean over the GPUs; or nothing."""
        return {} if self._percent is None else {"gpu/utilization": self._percent}

    def _watch(self, command: list[str]) -> None:
        while not self._over.wait(self._seconds):
            try:
                said = subprocess.run(
                    command, capture_output=True, text=True, timeout=30, check=True
                ).stdout.split()
                self._percent = sum(map(float, said)) / len(said)
            # A driver that does not tell is no reason to stop, or to tell old numbers.
            except (OSError, subprocess.SubprocessError, ValueError, ZeroDivisionError):
                self._percent = None


class Watchdog:
    """Says on stderr when no update has ended for a while; stops nothing.

    The stacks of all threads go to `stalled.txt` in the run's folder, for whoever looks into
    it. Says so again after twice as long, and when the run moves again.

    Args:
        folder: of the run.
        seconds: without an update, after which to say so; 0: never.
    """

    def __init__(self, folder: Path, seconds: float):
        self._folder = folder
        self._seconds = seconds
        self._beat = time.monotonic()
        self._update = 0
        self._warned = False
        self._over = threading.Event()

    def __enter__(self) -> Self:
        if self._seconds > 0:
            threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def beat(self, update: int) -> None:
        """An update has ended."""
        if self._warned:
            silent = time.monotonic() - self._beat
            print(
                f"update {update} has ended, after {silent / 60:.1f} minutes",
                file=sys.stderr,
            )
        self._beat, self._update, self._warned = time.monotonic(), update, False

    def _watch(self) -> None:
        limit = self._seconds
        while not self._over.wait(min(1.0, self._seconds / 4)):
            silent = time.monotonic() - self._beat
            if silent < self._seconds:
                limit = self._seconds
            elif silent > limit:
                limit = 2 * silent
                self._warn(silent)

    def _warn(self, silent: float) -> None:
        where = f"since update {self._update}" if self._update else "yet (compiling?)"
        text = f"warning: no update {where} for {silent / 60:.1f} minutes"
        try:
            with (self._folder / STACKS).open("a") as file:
                faulthandler.dump_traceback(file, all_threads=True)
            text += f"; stacks of all threads: {self._folder / STACKS}"
        except OSError:
            pass
        self._warned = True
        print(f"{text}; see python -m mjxhand.doctor", file=sys.stderr, flush=True)
