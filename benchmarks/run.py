"""Times the cases of `cases.py`.

    python benchmarks/run.py [-f REGEX] [--on accelerator] [--json FILE] [--repeats N] [--list]

Compile time stands apart from run time; a call before the first timed one warms up, and its
seconds are kept apart: Warp builds its kernels in it. Speeds are medians over the repeats. Each
case has a process of its own; the file is written after each.
"""

import argparse
import re
import statistics
import sys
import time
import traceback
from pathlib import Path

import environment
import hlo
import jax
from cases import CASES


def run_case(name: str, repeats: int) -> dict:
    """Compile, warm up and time one case; runs in a fresh process."""
    # Else the seconds that compiling takes would be those of reading an earlier result.
    jax.config.update("jax_enable_compilation_cache", False)
    (case,) = (case for case in CASES if case.name == name)
    start = time.perf_counter()
    program = case.make()
    prepared = time.perf_counter()
    carried = program.carried
    function = jax.jit(program.function, donate_argnums=tuple(range(carried)))
    compiled = function.lower(*program.args).compile()
    compile_seconds = time.perf_counter() - prepared
    text = compiled.as_text()  # None where a backend keeps none
    args = program.args
    seconds = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        output = jax.block_until_ready(compiled(*args))
        seconds.append(time.perf_counter() - begin)
        args = (*output[:carried], *args[carried:]) if carried else args
    first, *seconds = seconds
    median = statistics.median(seconds)
    return {
        "case": case.name,
        **case.settings,
        "control_steps_per_second": program.control_steps / median,
        "physics_steps_per_second": program.physics_steps / median,
        "prepare_seconds": prepared - start,
        "compile_seconds": compile_seconds,
        "operations": hlo.operations(text) if text else None,
        "first_call_seconds": first,
        "run_seconds": seconds,
        "devices_used": program.devices,
        "peak_memory_mb": environment.peak_memory_mb(),
        "device_peak_memory_mb": _device_peak_mb(jax.devices()[0]),
        **(program.check(output) if program.check else {}),
        **environment.describe(),
    }


def _device_peak_mb(device) -> float | None:
    """Peak memory of an accelerator, MB; None where the device does not count it."""
    stats = device.memory_stats()
    return stats["peak_bytes_in_use"] / 1e6 if stats else None


def main() -> int:
    parser = argparse.ArgumentParser(description="Times the cases of cases.py.")
    parser.add_argument(
        "-f", "--filter", default="", help="regular expression: cases to run"
    )
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--repeats", type=int, default=5, help="timed calls per case")
    parser.add_argument(
        "--on",
        choices=("cpu", "accelerator", "tiny"),
        default="cpu",
        help="whose cases; tiny: for no figures, to see that all of them run",
    )
    parser.add_argument("--list", action="store_true", help="print the cases and stop")
    args = parser.parse_args()
    cases = [case for case in CASES if case.on == args.on]
    names = [case.name for case in cases if re.search(args.filter, case.name)]
    if args.list or not names:
        print("\n".join(names or [f"no case matches {args.filter!r}; there are:"]))
        if not names:
            print("\n".join(case.name for case in cases))
        return 0 if names else 2
    if args.on == "accelerator" and (
        lacking := environment.alone(environment.no_accelerator)
    ):
        print(lacking, file=sys.stderr)
        return 2
    results, failed = [], 0
    for name in names:
        try:
            result = environment.alone(run_case, name, args.repeats)
        except Exception as error:  # out of memory, say: the others are still wanted
            failed += 1
            traceback.print_exception(error)
            what = str(error).strip().partition("\n")[0]
            print(f"{name} failed: {type(error).__name__}: {what}", flush=True)
            continue
        results.append(result)
        for key in ("control_steps_per_second", "physics_steps_per_second"):
            print(f"{name}.{key} {result[key]:,.0f}")
        if args.json:
            report = {"command": environment.command(), "results": results}
            environment.write(args.json, report)
        for key in ("compile_seconds", "first_call_seconds", "peak_memory_mb"):
            print(f"{name}.{key} {result[key]:.1f}")
        # On an accelerator about as many kernels are launched, one after another.
        if result["operations"] is not None:
            print(f"{name}.operations_per_call {result['operations']:,}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
