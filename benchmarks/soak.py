"""An hour of training in the worst worlds: do numbers, memory and compiled programs hold?

    python benchmarks/soak.py OUT [--seconds 3600] [--json FILE] [--figure FILE]

Trains the preset `laptop` on the full task (far goals, so that many drop) with every row of
domain randomisation at the ends of its range: bounds for uniform rows, three standard
deviations either way for normal ones. Fails if a weight is no number, if memory grows, or if
anything is compiled after the second pool of start states, by when all has run once.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import environment
import jax
import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from mjxhand import cli, metrics, runs, train
from mjxhand.presets import PRESETS
from mjxhand.randomize import world
from mjxhand.randomize.table import SIZES, Row

GROWTH = 0.02
"""Share by which memory may differ between the second quarter of the run and the last."""


def at_an_end(row: Row, rng: np.random.Generator, num: int) -> np.ndarray:
    """In place of `world.sample`: values at either end of the row's range."""
    low, high = row.range
    if row.distribution == "normal":
        low, high = low - 3 * high, low + 3 * high
    return rng.choice([low, high], (num, SIZES[row.size]))


def soak(out: Path, seconds: float) -> dict:
    """Train for so long; what was seen."""
    world.sample = at_an_end
    laptop = PRESETS["laptop"]
    config = replace(
        laptop,
        env=replace(laptop.env, randomize="all", goal_angle_max=np.pi),
        curriculum=replace(laptop.curriculum, enabled=False),
        total_steps=10**12,
    )
    compiled = []

    def count(event: str, duration_secs: float, **_: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(len(metrics.read(out)))  # in which update

    jax.monitoring.register_event_duration_secs_listener(count)
    runs.prepare(out, config)
    run = train.train(config, out, until_seconds=seconds)
    lines = metrics.read(out)
    settled = [line["memory/process"] for line in lines[len(lines) // 4 :]]
    third = len(settled) // 3
    before, after = np.median(settled[:third]), np.median(settled[-third:])
    leaves = jax.tree.leaves((run.learner.params, run.learner.opt_state))
    return {
        "seconds": round(sum(line["seconds"] for line in lines)),
        "updates": run.update,
        "env_steps": lines[-1]["env_steps"],
        "episodes": round(sum(line["episodes"] for line in lines)),
        "invalid_states": round(sum(line["invalid_states"] for line in lines)),
        "skipped_steps": round(sum(line["skipped_steps"] for line in lines)),
        "weights_finite": all(bool(np.all(np.isfinite(leaf))) for leaf in leaves),
        "memory_mib": [round(float(x), 1) for x in (before, after)],
        "memory_growth": round(float(after / before) - 1, 4),
        "compiled_late": sum(n > config.pool_updates + 1 for n in compiled),
        "compiled": len(compiled),
    }


def draw(lines: list[dict], path: Path) -> None:
    """Memory and speed over the run."""
    minutes = np.cumsum([line["seconds"] for line in lines]) / 60
    figure, (top, bottom) = plt.subplots(2, sharex=True, figsize=(7, 4))
    top.plot(minutes, [line["memory/process"] for line in lines], color="#0072b2")
    top.set(ylim=(0, None), ylabel="memory (MiB)")
    bottom.plot(minutes, [line["sps"] for line in lines], color="#0072b2", lw=0.5)
    bottom.set(ylim=(0, None), ylabel="control steps/s", xlabel="minutes of training")
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=150)


@cli.main_guard
def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description="An hour of training in the worst worlds."
    )
    parser.add_argument("out", type=Path, help="new folder of the run")
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()
    seen = soak(args.out, args.seconds)
    environment.save(args.json, **seen)
    if args.figure:
        draw(metrics.read(args.out), args.figure)
    for name, value in seen.items():
        print(f"{name:16} {value}")
    fine = seen["weights_finite"] and not seen["compiled_late"]
    return 0 if fine and seen["memory_growth"] < GROWTH else 1


if __name__ == "__main__":
    sys.exit(main())
