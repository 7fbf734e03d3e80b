"""The same work done by others, side by side on this machine: ratios.

    python benchmarks/rivals.py [-f REGEX] [--rounds N] [--json FILE]

Each comparison times ours and the rival in turn, `rounds` times, so that whatever else the
machine does weighs on both; a ratio is that of the medians. What is compared:

    rollout    bare native physics against `mujoco.rollout` on all cores, same scene
    box-hand   `mjx.step` on our scene against `mjx.step` on the hand as published (boxes, meshes):
               same options, no sensors, cubes at rest on either hand
    processes  gathering with the full network: all environments in one program against one
               process per core, each with one environment and a policy of batch 1
    brax       a whole PPO update on `reorient`: ours (native) against brax's PPO: through MJX
               with our solver (brax), as published (brax-published), with our native physics
               (brax-native)
"""

import argparse
import re
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import environment
import rival_brax
import rival_physics
import rival_processes


@dataclass(frozen=True)
class Rival:
    """`make()` → two functions: each does its work once and returns steps per second."""

    name: str
    unit: str
    ours: str
    theirs: str
    make: Callable[[], tuple[Callable[[], float], Callable[[], float]]]


RIVALS = (
    Rival(
        "rollout",
        "physics steps/s",
        "native, 512 environments",
        "mujoco.rollout, 512 environments, sensors at every step",
        rival_physics.rollout_all_sensors,
    ),
    Rival(
        "rollout-quiet",
        "physics steps/s",
        "native, 512 environments",
        "mujoco.rollout, 512 environments, no sensors at all",
        rival_physics.rollout_no_sensors,
    ),
    Rival(
        "box-hand",
        "physics steps/s",
        "mjx.step on our scene, 64 environments",
        "mjx.step on Gymnasium-Robotics' hand and block, margins 0, our options, 64 environments",
        rival_physics.box_hand,
    ),
    Rival(
        "processes",
        "control steps/s",
        "full FPN, native, 512 environments in one program",
        "full FPN, native, one process per core, batch 1",
        rival_processes.make,
    ),
    Rival(
        "brax",
        "control steps/s",
        "our PPO, mlp of brax's size, native, 256 environments",
        "brax's PPO, its default mlp, MJX (jax) with our solver, 256 environments",
        rival_brax.make,
    ),
    Rival(
        "brax-published",
        "control steps/s",
        "our PPO, mlp of brax's size, native, 256 environments",
        "brax's PPO, its default mlp, MJX (jax) as published, 256 environments",
        rival_brax.make_published,
    ),
    Rival(
        "brax-native",
        "control steps/s",
        "our PPO, mlp of brax's size, native, 256 environments",
        "brax's PPO, its default mlp, native, 256 environments",
        rival_brax.make_native,
    ),
)


def compare(rival: Rival, rounds: int) -> dict:
    """Both in turn; medians, their ratio, and the spread of each."""
    ours, theirs = rival.make()
    seen: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(rounds):
        seen["ours"].append(ours())
        seen["theirs"].append(theirs())
    mine, other = (statistics.median(seen[name]) for name in ("ours", "theirs"))
    return {
        "name": rival.name,
        "unit": rival.unit,
        "ours": rival.ours,
        "theirs": rival.theirs,
        "ours_per_second": mine,
        "theirs_per_second": other,
        "ratio": mine / other,
        "ratios": [a / b for a, b in zip(seen["ours"], seen["theirs"], strict=True)],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Ratios to other people's programs.")
    parser.add_argument("-f", "--filter", default="", help="regular expression")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args()
    chosen = [r for r in RIVALS if re.search(args.filter, r.name)]
    if not chosen:
        print(f"no rival matches {args.filter!r}: {', '.join(r.name for r in RIVALS)}")
        return 2
    rows = []
    for rival in chosen:
        began = time.monotonic()
        row = compare(rival, args.rounds)
        rows.append(row)
        print(
            f"{row['name']}: {row['ours_per_second']:,.0f} against "
            f"{row['theirs_per_second']:,.0f} {row['unit']}, ratio {row['ratio']:.2f} "
            f"({min(row['ratios']):.2f}–{max(row['ratios']):.2f}), "
            f"{time.monotonic() - began:.0f} s",
            flush=True,
        )
        environment.save(args.json, rivals=rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
