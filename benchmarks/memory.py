"""Memory of one whole update as the compiler lays it out, by number of environments.

    python benchmarks/memory.py [PRESET] [--impl jax] [--num-envs 1024 2048 ...] [--json FILE]

Compiles the update of `mjxhand.train` for this machine's devices and runs nothing: sizes are
those of XLA's plan (arguments, results and what it needs in between), on one device. A plan for
a CPU is not the one for a GPU, which fuses other operations and has kernels of its own, so there
it is an estimate. What C MuJoCo holds is outside of it.
"""

import argparse
import sys
import time
from pathlib import Path

import environment
import jax
import programs

MIB = 2**20


def plan(preset: str, impl: str, num_envs: int) -> dict:
    """Bytes of the update's arguments, results and temporaries; and the seconds to compile."""
    config = programs.config_of(preset, impl, num_envs)
    program = programs.sharded(config, jax.devices()[:1])
    params = program.env.make_params(0)
    actors = jax.eval_shape(lambda params: program.init_actors(0, params), params)
    begin = time.perf_counter()
    compiled = program.update.lower(program.learner_shapes(), actors, params).compile()
    seconds = time.perf_counter() - begin
    sizes = compiled.memory_analysis()
    if sizes is None:
        raise SystemExit(f"{jax.default_backend()} does not tell what a program needs")
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
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args()
    rows = []
    for num_envs in args.num_envs:
        row = plan(args.preset, args.impl, num_envs)
        rows.append(row)
        print(
            f"{num_envs} environments: {row['total'] / MIB:,.0f} MiB, of them "
            f"{row['temporaries'] / MIB:,.0f} only while it runs; compiled in "
            f"{row['compile_seconds']:.0f} s",
            flush=True,
        )
    environment.save(args.json, memory=rows, preset=args.preset, impl=args.impl)
    return 0


if __name__ == "__main__":
    sys.exit(main())
