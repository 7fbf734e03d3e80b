"""What an accelerator is given for one update: operations and bytes, by source.

    python benchmarks/kernels.py [PRESET] [--impl IMPL] [--num-envs N] [--on h200] [--json FILE]

Compiles the update of `mjxhand.train` for one of this machine's devices, or for a GPU that it has
not, and runs nothing. On a GPU an operation is about a kernel. `at best` is the larger of two
times: the bytes at the memory's bandwidth, and a launch. Reads that caches answer make it less,
arithmetic, uncoalesced reads and what libraries and Warp do inside make it more.
"""

import argparse
import collections
import sys
import time
from pathlib import Path
from typing import Any

import ahead
import breakdown
import environment
import hlo
import jax
import programs

LAUNCH = 2e-6
"""Seconds from one kernel of a stream to the next, at least: an assumption."""


def count(
    preset: str, impl: str, num_envs: int | None, device: Any, speed: float
) -> dict:
    """Rows by source, and what the whole program is.

    Args:
        speed: of the device's memory, bytes/s.
    """
    config = programs.config_of(preset, impl, num_envs)
    begin = time.perf_counter()
    lowered = programs.update_for(config, device)
    traced = time.perf_counter()
    text = lowered.compile().as_text()
    compiled = time.perf_counter()
    if text is None:
        raise SystemExit(f"{device.platform} does not tell what it compiled")
    where = hlo.origins(text)
    rows = collections.defaultdict(lambda: {"kernels": 0, "bytes": 0, "seconds": 0.0})
    for kernel in hlo.kernels(text):
        row = rows[breakdown.category(where.get(kernel.name))]
        row["kernels"] += kernel.times
        row["bytes"] += kernel.times * kernel.bytes
        row["seconds"] += kernel.times * max(LAUNCH, kernel.bytes / speed)
    return {
        "preset": preset,
        "impl": impl,
        "num_envs": config.ppo.num_envs,
        "control_steps": config.steps_per_update,
        "trace_seconds": traced - begin,
        "compile_seconds": compiled - traced,
        "rows": dict(sorted(rows.items(), key=lambda row: -row[1]["seconds"])),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Operations of one update.")
    parser.add_argument("preset", nargs="?", default="fpn")
    parser.add_argument("--impl", choices=("jax", "warp", "native"), default="jax")
    parser.add_argument("--num-envs", type=int)
    parser.add_argument("--on", choices=ahead.GPUS, help="a GPU that is not there")
    parser.add_argument(
        "--bandwidth",
        type=float,
        help="GB/s of the memory; of a GPU in --on it is known",
    )
    parser.add_argument("--json", type=Path, help="write the result to this file")
    args = parser.parse_args()
    if not (args.on or args.bandwidth):
        parser.error("give --bandwidth (GB/s of this device's memory) or --on")
    device = ahead.device(args.on) if args.on else jax.devices()[0]
    speed = args.bandwidth * 1e9 if args.bandwidth else ahead.BANDWIDTH[args.on]
    result = count(args.preset, args.impl, args.num_envs, device, speed)
    for name, row in result["rows"].items():
        print(
            f"{name:32s} {row['kernels']:8,} kernels {row['bytes'] / 1e9:8.1f} GB"
            f" {1e3 * row['seconds']:8.1f} ms at best"
        )
    seconds = sum(row["seconds"] for row in result["rows"].values())
    steps = result["control_steps"]
    print(
        f"{steps:,} control steps in {seconds:.3f} s at best, {steps / seconds:,.0f}/s;"
        f" compiled in {result['compile_seconds']:.0f} s"
    )
    if breakdown.WARP in result["rows"]:
        print("of Warp the buffers it is given are counted; its kernels come on top")
    environment.save(args.json, kernels=result, on=args.on, launch=LAUNCH)
    return 0


if __name__ == "__main__":
    sys.exit(main())
