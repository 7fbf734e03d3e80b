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
from mjxhand.config import Config
from mjxhand.presets import PRESETS

RESULTS = Path(__file__).resolve().parent / "results"
EPISODES = 250
"""Episodes that ended per point of a curve, at least; fewer are noise."""
POINTS = 200
"""Points of a curve, at most."""
INK, SOFT = "#222222", "#8a8f98"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")  # Okabe and Ito


def curve(run: Path) -> list[dict]:
    """Training curve: one point per so many episodes that ended."""
    points, group, lines = [], [], metrics.read(run)
    enough = max(EPISODES, sum(line["episodes"] for line in lines) / POINTS)
    for line in lines:
        group.append(line)
        episodes = sum(x["episodes"] for x in group)
        if episodes < enough:
            continue

        def mean(name, group=group, episodes=episodes):
            ended = [x for x in group if x["episodes"]]
            return sum(x[name] * x["episodes"] for x in ended) / episodes

        points.append(
            {
                "env_steps": group[-1]["env_steps"],
                "goals_per_episode": round(mean("goals_per_episode"), 4),
                "drop_rate": round(mean("drop_rate"), 4),
                "goal_angle_max": round(group[-1]["goal_angle_max"], 4),
                "entropy": round(group[-1]["policy/entropy"], 4),
                "explained_variance": round(group[-1]["value/explained_variance"], 4),
            }
        )
        group = []
    return points


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
        "evaluation": json.loads((run / "evaluation.json").read_text()),
        "curve": curve(run),
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}-seed{config.seed}.json"
    path.write_text(json.dumps(kept, indent=1) + "\n")
    print(path)


def draw(name: str) -> Path:
    """The curves of all seeds, and what the evaluation found before and after."""
    paths = sorted(RESULTS.glob(f"{name}-seed*.json"))
    if not paths:
        sys.exit(f"no docs/results/{name}-seed*.json: name the runs to keep")
    runs = [json.loads(path.read_text()) for path in paths]
    plt.rcParams.update(
        {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
    )
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(9, 3.4), width_ratios=(1.6, 1), constrained_layout=True
    )
    for run, path, colour in zip(runs, paths, COLOURS, strict=False):
        x = [point["env_steps"] / 1e6 for point in run["curve"]]
        y = [point["goals_per_episode"] for point in run["curve"]]
        left.plot(x, y, color=colour, label=path.stem.rpartition("-")[2])
    left.set(
        xlabel="control steps (millions)",
        ylabel="goals per training episode",
        ylim=(0, None),
    )
    left.legend(frameon=False, loc="lower right")
    _farthest_goals(left, runs)
    evaluations = [run["evaluation"] for run in runs]
    _before_and_after(right, evaluations)
    label = evaluations[0]["task"]["trained"]["task"]
    figure.suptitle(label, fontsize=10, color=INK, x=0.01, ha="left")
    path = RESULTS.parent / f"{name}.png"
    figure.savefig(path, dpi=160)
    return path


def _farthest_goals(axis, runs: list[dict]) -> None:
    """Where a curriculum moved them, on the right; goals per episode alone would hide it."""
    angles = [[point["goal_angle_max"] for point in run["curve"]] for run in runs]
    if all(len(set(several)) == 1 for several in angles):
        return
    right = axis.twinx()
    right.spines["right"].set_visible(True)
    for run, several, colour in zip(runs, angles, COLOURS, strict=False):
        x = [point["env_steps"] / 1e6 for point in run["curve"]]
        right.plot(x, several, color=colour, linestyle="--", linewidth=1)
    right.set(ylabel="farthest goal, rad (dashed)", ylim=(0, None))


def _before_and_after(axis, evaluations: list[dict]) -> None:
    tasks = [task for task in ("task", "full_task") if task in evaluations[0]]
    for place, task in enumerate(tasks):
        for index, (evaluation, colour) in enumerate(
            zip(evaluations, COLOURS, strict=False)
        ):
            shift = 0.09 * (index - (len(evaluations) - 1) / 2)
            x = [2.4 * place + shift, 2.4 * place + 1 + shift]
            goals = [evaluation[task][w]["goals"] for w in ("untrained", "trained")]
            axis.errorbar(
                x,
                [g["mean"] for g in goals],
                [g["ci95"] for g in goals],
                color=colour,
                marker="o",
                markersize=4,
                linewidth=1,
                capsize=2,
            )
    names = {"task": "this task", "full_task": "any orientation"}
    ticks, labels = [], []
    for place, task in enumerate(tasks):
        ticks += [2.4 * place, 2.4 * place + 1]
        labels += ["untrained", "trained"]
        axis.text(
            2.4 * place + 0.5, 1.0, names[task], transform=axis.get_xaxis_transform(),
            ha="center", va="bottom", color=SOFT,
        )  # fmt: skip
    axis.set_xticks(ticks, labels)
    axis.set(
        xlim=(-0.5, ticks[-1] + 0.5),
        ylim=(0, None),
        ylabel="goals per evaluated episode",
    )


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
