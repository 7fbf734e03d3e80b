"""What the devices of a run tell each other in one update, counted from the compiled program.

    python benchmarks/scaling.py [PRESET] [--devices 1 2 4 8] [--json FILE]

Devices are virtual ones of a CPU, so nothing is timed. Bytes are those of the reductions'
results, each as often as it runs; a ring of D devices sends 2 (D - 1)/D times as many from
each.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path


def count(preset: str, devices: int, num_envs: int | None) -> dict:
    """Collectives of the update on so many devices; call it before JAX has started."""
    import jax

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", devices)
    import hlo
    import programs

    program = programs.update_program(preset, "native", num_envs)
    learner, *_ = program.args
    found = hlo.collectives(program.function.lower(*program.args).compile().as_text())
    gradient = [c for c in found if "while" in c.op_name]
    rest = [c for c in found if "while" not in c.op_name]
    return {
        "devices": devices,
        "kinds": sorted({c.kind for c in found}),
        "parameters": sum(x.size for x in jax.tree.leaves(learner.params)),
        "gradient_reductions": sum(c.times for c in gradient),
        "gradient_bytes": sum(c.times * c.bytes for c in gradient),
        "other_reductions": sum(c.times for c in rest),
        "other_bytes": sum(c.times * c.bytes for c in rest),
        "control_steps": program.control_steps,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Bytes between devices per update.")
    parser.add_argument("preset", nargs="?", default="laptop")
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--num-envs", type=int)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(count(args.preset, args.devices[0], args.num_envs)))
        return 0
    rows = []
    for devices in args.devices:
        # JAX's number of devices cannot change within a process.
        command = [sys.executable, __file__, args.preset, "--one"]
        command += ["--devices", str(devices)]
        if args.num_envs:
            command += ["--num-envs", str(args.num_envs)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        row = json.loads(done.stdout.splitlines()[-1])
        rows.append(row)
        print(
            f"{devices} devices: {row['gradient_reductions']} gradient reductions of "
            f"{row['gradient_bytes'] / 1e6:.2f} MB, {row['other_reductions']} others of "
            f"{row['other_bytes'] / 1e3:.2f} kB; {', '.join(row['kinds']) or 'none'}",
            flush=True,
        )
    if args.json:
        import environment

        environment.save(args.json, scaling=rows, preset=args.preset)
    return 0


if __name__ == "__main__":
    sys.exit(main())
