"""Keeps the curves of training runs, and draws them.

    python docs/curves.py NAME RUN [RUN ...]   # runs → docs/results/NAME-seedN.json, docs/NAME.png
    python docs/curves.py NAME                 # docs/results/NAME-seed*.json → docs/NAME.png

Run it from the repository's root.
"""

import argparse
import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
import environment

from mjxhand import metrics, runs
from mjxhand.checks import flatten
from mjxhand.compare import COLOURS, curve
from mjxhand.config import Config
from mjxhand.presets import PRESETS
from mjxhand.storage import write_text_atomically

RESULTS = Path(__file__).resolve().parent / "results"
TASKS = {"task": "this task", "full_task": "any orientation"}
"""What an evaluation plays, and how it is called in the figure."""
INK, SOFT = "#222222", "#8a8f98"


def command(config: Config) -> str:
    """The command that begins such a run: what its preset does not say, and the seed."""
    words = [f"python -m mjxhand.train {config.preset} --seed {config.seed}"]
    preset = flatten(PRESETS[config.preset])
    for name, (_, value) in flatten(config).items():
        if name not in ("seed", "preset") and value != preset[name][1]:
            option = name.replace("_", "-")
            if isinstance(value, bool):
                head, _, last = option.rpartition(".")
                head += "." if head else ""
                words.append(f"--{head}{'' if value else 'no-'}{last}")
            else:
                words.append(f"--{option} {value}")
    return " ".join(words)


def keep(name: str, run: Path) -> None:
    """Write a run's curve and evaluation, small enough to commit."""
    lines = metrics.read(run)
    config = runs.read_config(run)
    evaluation = json.loads((run / "evaluation.json").read_text())
    if not evaluation:
        raise SystemExit(f"{run} ended without an evaluation: nothing to keep")
    seconds = sum(line["seconds"] for line in lines)
    kept = {
        "command": command(config),
        **environment.describe(),
        "env_steps": lines[-1]["env_steps"],
        # Updates alone: neither compilation (in the first update) nor evaluation.
        "seconds": round(seconds - lines[0]["seconds"], 1),
        "steps_per_second": round(
            (lines[-1]["env_steps"] - lines[0]["env_steps"])
            / (seconds - lines[0]["seconds"])
        ),
        "evaluation": evaluation,
        "curve": curve(run),
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}-seed{config.seed}.json"
    write_text_atomically(path, json.dumps(kept, indent=1) + "\n")
    print(path)


def draw(name: str) -> Path:
    """The curves of all seeds, and what the evaluation found before and after."""
    paths = sorted(RESULTS.glob(f"{name}-seed*.json"))
    if not paths:
        sys.exit(f"no docs/results/{name}-seed*.json: name the runs to keep")
    runs = [json.loads(path.read_text()) for path in paths]
    seeds = [f"seed {path.stem.rpartition('-seed')[2]}" for path in paths]
    plt.rcParams.update(
        {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
    )
    evaluations = [run["evaluation"] for run in runs]
    tasks = [task for task in TASKS if task in evaluations[0]]
    moved = any(len({p["goal_angle_max"] for p in run["curve"]}) > 1 for run in runs)
    figure = plt.figure(figsize=(9, 4.2 if moved else 3.4), layout="constrained")
    wide = 3.2 if len(tasks) == 1 else 2.2
    grid = figure.add_gridspec(
        2, 1 + len(tasks), width_ratios=(wide, *(1 for _ in tasks))
    )
    goals = figure.add_subplot(grid[0 if moved else slice(None), 0])
    _curves(goals, runs, seeds, "goals_per_episode")
    goals.set(ylabel="goals per\ntraining episode")
    if len(seeds) > 1:
        goals.legend(frameon=False, loc="lower right")
    last = goals
    if moved:  # goals per episode alone would hide it
        goals.tick_params(labelbottom=False)
        last = figure.add_subplot(grid[1, 0], sharex=goals)
        _curves(last, runs, seeds, "goal_angle_max")
        last.set(ylabel="farthest goal, rad")
    last.set(xlabel="control steps (millions)")
    for place, task in enumerate(tasks, start=1):
        axis = figure.add_subplot(grid[:, place])
        _before_and_after(axis, [evaluation[task] for evaluation in evaluations])
        if len(tasks) > 1:
            axis.set_title(TASKS[task], fontsize=10, color=SOFT)
        if place == 1:
            axis.set(ylabel="goals per evaluated episode")
    label = evaluations[0]["task"]["trained"]["task"]
    if len(seeds) == 1:
        label += f"; {seeds[0]}"
    figure.suptitle(label, fontsize=10, color=INK, x=0.01, ha="left")
    path = RESULTS.parent / f"{name}.png"
    figure.savefig(path, dpi=160)
    return path


def _curves(axis, runs: list[dict], seeds: list[str], name: str) -> None:
    """A line per seed."""
    for run, seed, colour in zip(runs, seeds, COLOURS, strict=False):
        x = [point["env_steps"] / 1e6 for point in run["curve"]]
        y = [point[name] for point in run["curve"]]
        axis.plot(x, y, color=colour, label=seed)
    axis.set(ylim=(0, None))


def _before_and_after(axis, evaluations: list[dict]) -> None:
    """Means and their 95 % intervals: untrained on the left, trained on the right."""
    for index, (results, colour) in enumerate(zip(evaluations, COLOURS, strict=False)):
        shift = 0.16 * (index - (len(evaluations) - 1) / 2)
        goals = [results[which]["goals"] for which in ("untrained", "trained")]
        axis.errorbar(
            [shift, 1 + shift],
            [g["mean"] for g in goals],
            [g["ci95"] for g in goals],
            color=colour,
            fmt="o",
            markersize=5,
            linewidth=1.5,
            capsize=3,
        )
    axis.set_xticks([0, 1], ["untrained", "trained"])
    axis.set(xlim=(-0.5, 1.5), ylim=(0, None))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="name of the figure and the result files")
    parser.add_argument("runs", nargs="*", type=Path, help="run folders to keep")
    args = parser.parse_args()
    for run in args.runs:
        keep(args.name, run)
    print(draw(args.name))


if __name__ == "__main__":
    main()
