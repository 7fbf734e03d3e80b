"""Memory of one whole update as the compiler lays it out, by number of environments.

    python benchmarks/memory.py [PRESET] [--impl jax] [--num-envs 1024 2048 ...] [--on h200]
        [--json FILE]

Compiles the update of `mjxhand.train` for one of this machine's devices, or for a GPU that it has
not, and runs nothing: sizes are those of XLA's plan (arguments, results and what it needs in
between). What libraries take besides, and what C MuJoCo and Warp hold, is outside of it.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import ahead
import environment
import jax
import programs

MIB = 2**20


def plan(preset: str, impl: str, num_envs: int, device: Any) -> dict:
    """Bytes of the update's arguments, results and temporaries; and the seconds to compile."""
    config = programs.config_of(preset, impl, num_envs)
    begin = time.perf_counter()
    compiled = programs.update_for(config, device).compile()
    seconds = time.perf_counter() - begin
    sizes = compiled.memory_analysis()
    if sizes is None:
        raise SystemExit(f"{device.platform} does not tell what a program needs")
    # Donated arguments are results, too: once.
    total = (
        sizes.argument_size_in_bytes
        + sizes.output_size_in_bytes
        - sizes.alias_size_in_bytes
        + sizes.temp_size_in_bytes
    )
    return {
        "num_envs": num_envs,
        "arguments": sizes.argument_size_in_bytes,
        "temporaries": sizes.temp_size_in_bytes,
        "total": total,
        "compile_seconds": seconds,
        "control_steps": config.steps_per_update,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Memory of an update, as compiled.")
    parser.add_argument("preset", nargs="?", default="fpn")
    parser.add_argument("--impl", choices=("jax", "warp", "native"), default="jax")
    parser.add_argument(
        "--num-envs", type=int, nargs="+", default=[1024, 2048, 4096, 8192]
    )
    parser.add_argument("--on", choices=ahead.GPUS, help="a GPU that is not there")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args()
    device = ahead.device(args.on) if args.on else jax.devices()[0]
    rows = []
    for num_envs in args.num_envs:
        row = plan(args.preset, args.impl, num_envs, device)
        rows.append(row)
        print(
            f"{num_envs} environments: {row['total'] / MIB:,.0f} MiB, of them "
            f"{row['temporaries'] / MIB:,.0f} only while it runs; compiled in "
            f"{row['compile_seconds']:.0f} s",
            flush=True,
        )
        told = {"memory": rows, "preset": args.preset, "impl": args.impl, "on": args.on}
        environment.save(args.json, **told)
    return 0


if __name__ == "__main__":
    sys.exit(main())
