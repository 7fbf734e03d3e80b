"""How long a user waits for the first update: cold, and with compiled programs kept.

    python benchmarks/first.py [PRESET ...] [--option NAME=VALUE ...] [--json FILE]

Runs `python -m mjxhand.train PRESET` for one update with empty caches of what JAX and Warp
compile, then again with those it left; from the start of Python to the update's line of metrics.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import environment


def wait(preset: str, options: list[str], cache: Path, out: Path) -> dict:
    """Seconds until the first update is written, and those that the update itself took."""
    command = [sys.executable, "-m", "mjxhand.train", preset, "--out", str(out)]
    command += [
        "--total-steps",
        "1",
        "--evaluate-episodes",
        "0",
        "--no-film",
        "--quiet",
    ]
    caches = {
        "JAX_COMPILATION_CACHE_DIR": str(cache / "jax"),
        "WARP_CACHE_PATH": str(cache / "warp"),
    }
    begin = time.perf_counter()
    process = subprocess.Popen([*command, *options], env=os.environ | caches)
    path = out / "metrics.jsonl"
    try:
        while True:
            ended = process.poll() is not None
            if path.exists() and path.read_text().endswith("\n"):
                break
            if ended:
                raise SystemExit(f"{' '.join(command)} ended without an update")
            time.sleep(0.02)
        seconds = time.perf_counter() - begin
        process.wait()
    finally:  # stopped: what comes next must find the device free
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    line = json.loads(path.read_text().splitlines()[0])
    return {"seconds": seconds, "update_seconds": line["seconds"]}


def main() -> int:
    parser = argparse.ArgumentParser(description="Time to the first update.")
    parser.add_argument("presets", nargs="*", default=["laptop"])
    parser.add_argument(
        "--option", action="append", default=[], help="NAME=VALUE, passed on to train"
    )
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args()
    options = [f"--{option}" for option in args.option]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Not in this process: JAX would take the device, which is for those that are timed.
    facts = environment.alone(environment.describe) if args.json else {}
    rows = []
    for preset in args.presets:
        with tempfile.TemporaryDirectory() as folder:
            for state in ("cold", "warm"):
                paths = Path(folder) / "cache", Path(folder) / state
                row = {"preset": preset, "cache": state}
                row |= wait(preset, options, *paths)
                rows.append(row)
                print(
                    f"{preset}, {state} cache: {row['seconds']:.1f} s until the first "
                    f"update, {row['update_seconds']:.1f} s of them in it",
                    flush=True,
                )
                environment.save(args.json, facts, first=rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
