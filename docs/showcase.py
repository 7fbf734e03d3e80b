"""The showcase's question, as one command: does the anatomical network chain more goals?

    python docs/showcase.py                # all of it: 6 runs of 5.9e8 steps
    python docs/showcase.py --seconds 540  # a piece; the same command again goes on
    python docs/showcase.py --draw         # figure and results of what is there

Trains the presets `fpn` and `baseline` from the same seeds with the same budget, plays each
on 1,024 fresh episodes with goals within 0.4 and 0.1 rad and without the limit of 50 goals, and
draws the curves with their range over seeds. Needs nothing but a run of `python -m mjxhand.train`
per seed; a piece that is cut saves, and is resumed. `--seconds` ends the training; evaluations
and films that have begun are not cut. How long it takes on a GPU is not known:
none was tried; `bash benchmarks/gpu.sh` tells its steps per second. Run it from the
repository's root.
"""

import argparse
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import curves
import numpy as np

BRAINS = ("fpn", "baseline")
RULES = {
    "0.4 rad": [],
    "0.1 rad": ["--threshold", "0.1"],
    "0.4 rad, no limit of goals": ["--max-goals", "500"],
}
NAMES = {"fpn": "frontoparietal network", "baseline": "dense and LSTM"}


def command(name: str, *args: object) -> None:
    """Run one of the package's commands; stop with its own message where it fails."""
    words = [sys.executable, "-m", f"mjxhand.{name}", *map(str, args)]
    print("+ python", *words[1:], flush=True)
    process = subprocess.Popen(words)
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    while True:
        try:
            code = process.wait()
            break
        except KeyboardInterrupt:  # the terminal has told it, too: it saves and leaves
            continue
    signal.signal(signal.SIGTERM, before)
    if code:
        sys.exit(code)


def train(run: Path, brain: str, seed: int, seconds: float, extra: list[str]) -> bool:
    """Train, or go on, for at most so long; whether the run is complete."""
    until = [] if seconds == float("inf") else ["--until-seconds", round(seconds)]
    if (run / "config.json").exists():
        command("train", "--resume", run, "--quiet", *until)
    else:
        command("train", brain, "--seed", seed, "--out", run, "--quiet", *extra, *until)
    return (run / "evaluation.json").exists()


def evaluate(run: Path, episodes: int) -> None:
    """Every rule of RULES on the same fresh episodes; kept in the run's folder."""
    for name, rule in RULES.items():
        path = run / f"evaluation {name}.json".replace(" ", "-")
        if not path.exists():
            command("evaluate", run, "--episodes", episodes, "--json", path, *rule)


def results(run: Path) -> dict:
    """What is worth keeping of a complete run."""
    return {
        "run": run.name,
        "evaluation": {
            name: json.loads(
                (run / f"evaluation {name}.json".replace(" ", "-")).read_text()
            )
            for name in RULES
        },
        "curve": curves.curve(run),
        "hours": sum(line["seconds"] for line in curves.metrics.read(run)) / 3600,
        # Not in this process: JAX would take the device from the runs that follow.
        **curves.environment.alone(curves.environment.describe),
    }


def draw(runs: dict[str, list[dict]], path: Path) -> None:
    """Goals per training episode, and how far away the goals are by then where that grows:
    the mean over seeds, and the range from least to most."""
    points = [p for several in runs.values() for run in several for p in run["curve"]]
    shown = {"goals_per_episode": "goals per\ntraining episode"}
    if len({point["goal_angle_max"] for point in points}) > 1:
        shown["goal_angle_max"] = "farthest goal, rad"
    figure, axes = curves.plt.subplots(
        len(shown),
        figsize=(6, 2.2 + 1.6 * len(shown)),
        height_ratios=(3, 2)[: len(shown)],
        sharex=True,
        squeeze=False,
        layout="constrained",
    )
    for axis, (measure, title) in zip(axes[:, 0], shown.items(), strict=True):
        for (brain, several), colour in zip(runs.items(), curves.COLOURS, strict=False):
            long = [run["curve"] for run in several if len(run["curve"]) > 1]
            if long:
                _band(axis, long, measure, NAMES[brain], colour)
        axis.set(ylabel=title, ylim=(0, None))
    axes[-1, 0].set(xlabel="control steps (millions)")
    if axes[0, 0].get_legend_handles_labels()[0]:
        axes[0, 0].legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=160)


def _band(axis, several: list[list[dict]], measure: str, name: str, colour) -> None:
    """Mean of curves, and the range from least to most, where all of them have points."""
    lines = [
        ([p["env_steps"] for p in curve], [p[measure] for p in curve])
        for curve in several
    ]
    first, last = max(x[0] for x, _ in lines), min(x[-1] for x, _ in lines)
    steps = np.linspace(first, last, 200)
    values = np.array([np.interp(steps, x, y) for x, y in lines])
    seeds = f"mean and range of {len(lines)} seeds" if len(lines) > 1 else "1 seed"
    label = f"{name} ({seeds})"
    axis.plot(steps / 1e6, values.mean(0), color=colour, label=label)
    low, high = values.min(0), values.max(0)
    axis.fill_between(steps / 1e6, low, high, color=colour, alpha=0.2, linewidth=0)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/showcase"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--episodes", type=int, default=1024)
    parser.add_argument("--draw", action="store_true", help="train nothing")
    parser.add_argument(
        "options", nargs="*", help="for every training, after --: such as --total-steps"
    )
    args = parser.parse_args()
    deadline = time.monotonic() + args.seconds
    complete: dict[str, list[dict]] = {brain: [] for brain in BRAINS}
    for seed in args.seeds:
        for brain in BRAINS:
            run = args.out / f"{brain}-seed{seed}"
            if not (args.draw or (run / "evaluation.json").exists()):
                left = deadline - time.monotonic()
                if left < 1 or not train(run, brain, seed, left, args.options):
                    print(f"{run} is not complete: the same command again goes on")
                    return 0
            if (run / "evaluation.json").exists():
                if time.monotonic() > deadline:
                    print(f"{run} is not evaluated: the same command again goes on")
                    return 0
                evaluate(run, args.episodes)
                complete[brain].append(results(run))
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "results.json"
    path.write_text(json.dumps(complete, indent=1) + "\n")
    draw(complete, args.out / "results.png")
    for several in complete.values():
        for result in several:
            goals = {n: e["goals"]["mean"] for n, e in result["evaluation"].items()}
            said = ", ".join(
                f"{mean:.2f} within {name}" for name, mean in goals.items()
            )
            print(f"{result['run']:<20} {said}; {result['hours']:.2f} h")
    print(f"{path}, {args.out / 'results.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
