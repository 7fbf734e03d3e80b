"""Where the time of one update goes.

    python benchmarks/breakdown.py [PRESET] [--impl IMPL] [--num-envs N] [--json FILE]

Traces a warm update with JAX's profiler and adds up the time that each operation itself
took, by the source it was traced from. Times are core-seconds on a CPU and stream-seconds on
an accelerator; `idle` is what was left of all cores, or of a stream per device. C MuJoCo's share is
the processor time of its threads, split by its own timers. The trace times an operation on the
thread that runs it; what XLA's pool computes for it on others is a row of its own. With Warp, what
ran on a device and is told of no operation of XLA's is counted as Warp's: its kernels, and graphs
of them, which it launches itself. XLA's own graphs are left out on a GPU (`UNGRAPHED`): of kernels
in them the trace tells no operation. So launching takes longer here than in training, which
`idle` shows.
"""

import argparse
import collections
import os
import sys
import tempfile
import time
from pathlib import Path

import environment
import hlo
import jax
import programs
from jax.profiler import ProfileData

from mjxhand import native

# The first whose file is among an operation's frames, innermost frame first.
SOURCES = (
    ("MJX: collision", "mjx/_src/collision"),
    ("MJX: collision", "mjx/_src/mesh"),
    ("MJX: collision", "mjxhand/contacts"),
    ("MJX: constraint", "mjx/_src/constraint"),
    ("MJX: constraint", "mjxhand/constraints"),
    ("MJX: solver", "mjx/_src/solver"),
    ("MJX: solver", "mjxhand/newton"),
    ("MJX: sensors", "mjx/_src/sensor"),
    ("MJX: the rest", "mujoco/mjx/"),
    ("MJX: the rest", "mjxhand/smooth"),
    ("MJX: the rest", "mjxhand/mjx_steps"),
    ("C MuJoCo", "mjxhand/foreign"),
    ("environment", "mjxhand/env.py"),
    ("environment", "mjxhand/tasks/"),
)
# They work for whoever called them: the next frame tells.
SERVANTS = ("mjx/_src/math", "mjx/_src/scan", "mjx/_src/support")
WARP = "MJX: all of Warp"
UNGRAPHED = {"xla_gpu_enable_command_buffer": ""}
"""For XLA's compiler: no CUDA graphs (github.com/openxla/xprof, issue 3070)."""
HELPERS = "other threads of large operations"
NETWORK = ("FPN", "Baseline", "policy_head", "value_head", "recurrent")


def category(origin: hlo.Origin | None) -> str:
    """The row of the table that an operation belongs to."""
    if origin is None:
        return "other"
    name = origin.op_name
    if "warp" in name.lower():
        return WARP
    if name.endswith("/ffi_call"):
        of_mjx = any("mujoco/mjx/" in file for file in origin.files)
        return WARP if of_mjx else "C MuJoCo"
    masters = [f for f in origin.files if not any(part in f for part in SERVANTS)]
    for file in masters:
        for row, part in SOURCES:
            if part in file:
                return row
    network = any(part in name for part in NETWORK)
    if "transpose(" in name:
        return "learning: network backward" if network else "learning: loss backward"
    if "jvp(" in name:
        return "learning: network forward" if network else "learning: loss"
    if network:
        return "acting: network"
    if any("mjxhand/rollout" in file for file in origin.files):
        return "acting: the rest"
    if any("mjxhand/ppo" in file for file in origin.files):
        return "learning: the rest"
    return "other"


def self_times(data, others: str | None = None) -> dict[str, float]:
    """Seconds that each HLO operation itself took, all threads or streams together.

    Args:
        data: the `jax.profiler.ProfileData` of a trace.
        others: name for what ran on a device's stream for no HLO operation; None: its own.
    """
    device = [p for p in data.planes if p.name.startswith("/device:")]
    seconds: dict[str, float] = collections.defaultdict(float)
    for plane in device or data.planes:
        for line in plane.lines:
            wanted = line.name.startswith("Stream" if device else "tf_XLA")
            if wanted:
                _add_line(line.events, seconds, others if device else None)
    return seconds


def _add_line(events, seconds: dict[str, float], others: str | None = None) -> None:
    rows = sorted((e.start_ns, -e.duration_ns, _name(e, others)) for e in events)
    stack: list[list] = []  # [end, name, own time]

    def close():
        _, name, own = stack.pop()
        if "wait for completion" not in name:
            seconds[name] += own / 1e9

    for start, minus, name in rows:
        while stack and stack[-1][0] <= start:
            close()
        if stack:
            stack[-1][2] += minus
        stack.append([start - minus, name, -minus])
    while stack:
        close()


def _name(event, others: str | None) -> str:
    known = dict(event.stats).get("hlo_op")
    moved = event.name.startswith(("Memcpy", "Memset"))
    return known or (event.name if moved else others or event.name)


class Clock:
    """Processor and wall time inside C MuJoCo's threads."""

    def __init__(self):
        self.cpu = self.wall = 0.0
        step = native.ThreadedStepper.step

        def timed(stepper, *args, **more):
            cpu, wall = time.process_time(), time.perf_counter()
            try:
                return step(stepper, *args, **more)
            finally:
                self.cpu += time.process_time() - cpu
                self.wall += time.perf_counter() - wall

        native.ThreadedStepper.step = timed


def shares(
    seconds: dict[str, float],
    where: dict[str, hlo.Origin],
    *,
    wall: float,
    cores: int = 1,
    busy: float | None = None,
    physics: float | None = None,
) -> dict[str, float]:
    """Core- or stream-seconds of each row of the table, largest first; they add up to all.

    Args:
        seconds: what each operation itself took, and WARP what is no operation.
        where: origin of each operation.
        busy: on a CPU, processor seconds of the whole process.
        physics: on a CPU, processor seconds of C MuJoCo's threads.
    """
    rows: collections.defaultdict[str, float] = collections.defaultdict(float)
    for name, own in seconds.items():
        rows[WARP if name == WARP else category(where.get(name))] += own
    if physics is not None:
        # The trace has the thread that waited for them.
        rows["C MuJoCo"] = physics
    if busy is not None:
        rows[HELPERS] = max(0.0, busy - sum(rows.values()))
    rows["idle"] = max(0.0, cores * wall - sum(rows.values()))
    return {k: v for k, v in sorted(rows.items(), key=lambda row: -row[1]) if v}


def trace(preset: str, impl: str, num_envs: int | None) -> dict:
    """Compile, warm up and trace one update."""
    clock = Clock()
    program = programs.update_program(preset, impl, num_envs)
    on_gpu = jax.default_backend() == "gpu"
    lowered = program.function.lower(*program.args)
    compiled = lowered.compile(UNGRAPHED if on_gpu else None)
    output = jax.block_until_ready(compiled(*program.args))
    args = (*output[:2], program.args[2])
    clock.cpu = clock.wall = 0.0
    with tempfile.TemporaryDirectory() as folder:
        cpu, begin = time.process_time(), time.perf_counter()
        with jax.profiler.trace(folder):
            jax.block_until_ready(compiled(*args))
            wall = time.perf_counter() - begin
            cpu = time.process_time() - cpu
        (file,) = Path(folder).rglob("*.xplane.pb")
        others = WARP if impl == "warp" else None
        seconds = self_times(ProfileData.from_file(str(file)), others)
    text = compiled.as_text()
    where = hlo.origins(text)
    on_cpu = jax.default_backend() == "cpu"
    rows = shares(
        seconds,
        where,
        wall=wall,
        cores=len(os.sched_getaffinity(0)) if on_cpu else program.devices,
        busy=cpu if on_cpu else None,
        physics=clock.cpu if on_cpu else None,
    )
    return {
        "preset": preset,
        "impl": impl,
        "num_envs": num_envs,
        "control_steps": program.control_steps,
        "wall_seconds": wall,
        "cpu_seconds": cpu,
        "physics_wall_seconds": clock.wall,
        "operations": hlo.operations(text),
        "rows": rows,
    }


def show(result: dict) -> None:
    total = sum(result["rows"].values())
    for name, seconds in result["rows"].items():
        each = 1e6 * seconds / result["control_steps"]
        print(f"| {name} | {100 * seconds / total:.1f} % | {each:.1f} µs |")
    print(
        f"{result['control_steps']} control steps in {result['wall_seconds']:.2f} s, "
        f"{result['cpu_seconds']:.2f} s of processor time, {result['operations']:,} operations"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Where the time of an update goes.")
    parser.add_argument("preset", nargs="?", default="laptop")
    parser.add_argument("--impl", default="native", choices=("native", "jax", "warp"))
    parser.add_argument("--num-envs", type=int)
    parser.add_argument("--json", type=Path, help="write the result to this file")
    args = parser.parse_args()
    result = trace(args.preset, args.impl, args.num_envs)
    print("| part | share | per control step |\n|---|---|---|")
    show(result)
    environment.save(args.json, breakdown=result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
