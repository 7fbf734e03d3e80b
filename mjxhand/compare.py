"""`python -m mjxhand.compare RUN RUN ...`: what differs between runs, and what came of it.

Prints the settings in which the runs differ, how far each was trained, and what its evaluation
found; `--figure FILE` draws their training curves. Runs may still be training.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mjxhand import cli, metrics, pretrained, runs
from mjxhand.checks import flatten
from mjxhand.config import ConfigError

EPISODES = 250
"""Episodes that ended per point of a curve, at least; fewer are noise."""
POINTS = 200
"""Points of a curve, at most."""
EVALUATION = "evaluation.json"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")  # Okabe and Ito


def curve(run: Path) -> list[dict[str, Any]]:
    """Training curve of a run folder: a point per so many episodes that ended."""
    points, group, lines = [], [], metrics.read(run)
    enough = max(EPISODES, sum(line["episodes"] for line in lines) / POINTS)
    for line in lines:
        group.append(line)
        if sum(x["episodes"] for x in group) >= enough:
            points.append(_point(group))
            group = []
    return points


def _point(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the episodes that ended in some updates; the rest as it is at their end."""
    ended = [line for line in lines if line["episodes"]]
    episodes = sum(line["episodes"] for line in ended)

    def mean(name: str) -> float:
        return round(sum(x[name] * x["episodes"] for x in ended) / episodes, 4)

    last = lines[-1]
    return {
        "env_steps": last["env_steps"],
        "goals_per_episode": mean("goals_per_episode"),
        "drop_rate": mean("drop_rate"),
        "goal_angle_max": round(last["goal_angle_max"], 4),
        "entropy": round(last["policy/entropy"], 4),
        "explained_variance": round(last["value/explained_variance"], 4),
    }


def settings(folders: Sequence[Path]) -> list[tuple[str, ...]]:
    """Rows (name, value in each run) of the settings that are not the same in all."""
    configs = [flatten(runs.read_config(folder)) for folder in folders]
    rows = []
    for name in configs[0]:
        values = [str(config[name][1]) for config in configs]
        if len(set(values)) > 1:
            rows.append((name, *values))
    return rows


def outcome(folder: Path) -> dict[str, str]:
    """How far a run came: words by what they are about; what is not known is left out."""
    said = {}
    if (folder / metrics.FILE).exists() and (lines := metrics.read(folder)):
        seconds = sum(line["seconds"] for line in lines)
        said["control steps"] = f"{lines[-1]['env_steps'] / 1e6:.2f} M"
        said["hours of updates"] = f"{seconds / 3600:.2f}"
        if points := curve(folder):
            said["goals per training episode, last"] = (
                f"{points[-1]['goals_per_episode']:.2f}"
            )
            said["drops in training, last"] = f"{points[-1]['drop_rate']:.0%}"
            said["farthest goal, rad"] = f"{points[-1]['goal_angle_max']:.2f}"
    if (folder / EVALUATION).exists():
        found = json.loads((folder / EVALUATION).read_text(encoding="utf-8"))
        for task, results in found.items():
            for brain, result in results.items():
                goals = result["goals"]
                name = f"evaluated goals, {task.replace('_', ' ')}, {brain}"
                said[name] = f"{goals['mean']:.2f} ± {goals['ci95']:.2f}"
    return said


def table(rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        .rstrip()
        for row in rows
    )  # fmt: skip


def report(folders: Sequence[Path]) -> str:
    """Settings that differ, and what came of each run, as text."""
    head = ("", *(folder.name for folder in folders))
    outcomes = [outcome(folder) for folder in folders]
    names = dict.fromkeys(name for said in outcomes for name in said)
    rows = [(name, *(said.get(name, "–") for said in outcomes)) for name in names]
    differ = settings(folders) or [("no setting", *("" for _ in folders))]
    return table([head, *differ, head, *rows])


def draw(folders: Sequence[Path], path: Path) -> None:
    """Goals per training episode, and the farthest goal where it moves, of every run."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
    except ModuleNotFoundError:
        raise ConfigError(
            "--figure needs matplotlib: pip install 'mjxhand[analysis]'"
        ) from None

    curves = {folder.name: curve(folder) for folder in folders}
    moved = any(
        len({p["goal_angle_max"] for p in each}) > 1 for each in curves.values()
    )
    shown = {"goals_per_episode": "goals per\ntraining episode"}
    if moved:
        shown["goal_angle_max"] = "farthest goal, rad"
    figure, axes = plt.subplots(
        len(shown), 1, figsize=(7, 1 + 2 * len(shown)), sharex=True, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for axis, (name, label) in zip(axes[:, 0], shown.items(), strict=True):
        for number, (run, points) in enumerate(curves.items()):
            steps = [point["env_steps"] / 1e6 for point in points]
            colour = COLOURS[number % len(COLOURS)]
            axis.plot(steps, [p[name] for p in points], color=colour, label=run)
        axis.set(ylabel=label, ylim=(0, None))
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].legend(frameon=False)
    axes[-1, 0].set(xlabel="control steps (millions)", xlim=(0, None))
    figure.savefig(path, dpi=160)


@cli.main_guard
def main(argv: Sequence[str] | None = None) -> int:
    """Command line of `python -m mjxhand.compare`."""
    parser = argparse.ArgumentParser(
        prog="python -m mjxhand.compare", description=(__doc__ or "").split("\n\n")[1]
    )
    parser.add_argument("runs", nargs="+", help="run folders, or pretrained:NAME")
    parser.add_argument("--figure", type=Path, help="draw the training curves into it")
    args = parser.parse_args(sys.argv[1:] if argv is None else argv)
    folders = [pretrained.folder(run) for run in args.runs]
    if len(folders) < 2:
        raise ConfigError("give at least two runs to compare")
    print(report(folders))
    if args.figure is not None:
        cli.refuse_unwritable("--figure", args.figure)
        without = [str(f) for f in folders if not (f / metrics.FILE).exists()]
        if without:
            raise ConfigError(f"--figure: {without[0]} has no training curve")
        draw(folders, args.figure)
        print(f"figure: {args.figure}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
