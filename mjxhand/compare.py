"""`python -m mjxhand.compare RUN RUN ...`: what differs between runs, and what came of it.

Prints the settings in which the runs differ, how far each was trained, and what its evaluation
found; of runs that differ in their seed alone also their mean. `--figure FILE` draws their training
curves. Runs may still be training.
"""

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mjxhand import cli, conditions, metrics, pretrained, progress, runs
from mjxhand.checks import flatten
from mjxhand.config import ConfigError
from mjxhand.video import save_whole

EPISODES = 250
"""Episodes that ended per point of a curve, at least; fewer are noise."""
POINTS = 200
"""Points of a curve, at most."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")  # Okabe and Ito
LINES = ("-", "--", ":", "-.")
"""Styles that tell runs apart whose colours are the same."""


def curve(run: Path) -> list[dict[str, Any]]:
    """Training curve of a run folder: a point per so many episodes that ended."""
    points, group, lines = [], [], _lines(run)
    enough = max(EPISODES, sum(_count(line) for line in lines) / POINTS)
    for line in lines:
        group.append(line)
        if sum(_count(x) for x in group) >= enough:
            points.append(_point(group))
            group = []
    return points


def _lines(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics without what is no number: NaN was written as null."""
    kept = [
        {name: value for name, value in line.items() if isinstance(value, int | float)}
        for line in metrics.read(run)
    ]
    return [line for line in kept if "env_steps" in line]


def _count(line: dict[str, Any]) -> float:
    return line.get("episodes", 0)


def _point(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the episodes that ended in some updates; the rest as it is at their end.

    None: not known.
    """
    last = lines[-1]

    def mean(name: str) -> float | None:
        known = [line for line in lines if _count(line) and name in line]
        if not known:
            return None
        total = sum(line[name] * line["episodes"] for line in known)
        return round(total / sum(line["episodes"] for line in known), 4)

    def at_the_end(name: str) -> float | None:
        return round(last[name], 4) if name in last else None

    return {
        "env_steps": last["env_steps"],
        "goals_per_episode": mean("goals_per_episode"),
        "drop_rate": mean("drop_rate"),
        "goal_angle_max": at_the_end("goal_angle_max"),
        "entropy": at_the_end("policy/entropy"),
        "explained_variance": at_the_end("value/explained_variance"),
    }


def labels(folders: Sequence[Path]) -> list[str]:
    """The end of each folder's path, long enough to tell it from the others."""
    paths = [Path(os.path.abspath(folder)).parts for folder in folders]

    def label(own: tuple[str, ...]) -> str:
        others = [path for path in paths if path != own]
        size = 1
        while any(path[-size:] == own[-size:] for path in others):
            size += 1
        return str(Path(*own[-size:]))

    return [label(path) for path in paths]


def settings(folders: Sequence[Path]) -> list[tuple[str, ...]]:
    """Rows (name, value in each run) of the settings that are not the same in all.

    Of a table or file that each run has its own copy of, the contents are compared.
    """
    told, used = [], []
    for folder in folders:
        config = flatten(runs.read_config(folder))
        used.append({name: str(value) for name, (_, value) in config.items()})
        text = (folder / runs.CONFIG).read_text(encoding="utf-8")
        config = flatten(runs.config_from_json(text, str(folder / runs.CONFIG)))
        told.append({name: str(value) for name, (_, value) in config.items()})
    rows = []
    for name in told[0]:
        values = [each[name] for each in told]
        differ = {
            _content(Path(own[name])) if own[name] != value else value
            for own, value in zip(used, values, strict=True)
        }
        if len(differ) > len(set(values)):  # other contents under one name
            values = [own[name] for own in used]
        if len(differ) > 1:
            rows.append((name, *values))
    return rows


def _content(copy: Path) -> bytes:
    """What a run's own copy holds; a table without its notes, which say whence it came."""
    held = copy.read_bytes()
    if copy.name != runs.NETWORK:
        return held
    return b"".join(x for x in held.splitlines(True) if not x.startswith(b"#"))


def outcome(folder: Path) -> dict[str, str]:
    """How far a run came: words by what they are about; what is not known is left out.

    Raises:
        ConfigError: its evaluation is damaged.
    """
    said = {}
    if lines := _lines(folder):
        seconds = sum(line.get("seconds", 0.0) for line in lines)
        said["control steps"] = progress.count(lines[-1]["env_steps"])
        said["time in updates"] = progress.clock(seconds)
    if points := curve(folder):
        for about, name, form in (
            ("goals per training episode, last", "goals_per_episode", ".2f"),
            ("drops in training, last", "drop_rate", ".0%"),
            ("farthest goal, rad", "goal_angle_max", ".2f"),
        ):
            if points[-1][name] is not None:
                said[about] = format(points[-1][name], form)
    for name, (mean, half) in evaluated(folder).items():
        said[name] = f"{mean:.2f} ± {half:.2f}"
    return said


def evaluated(folder: Path) -> dict[str, tuple[float, float]]:
    """Goals per episode that a run's evaluation found, each with half its 95 % interval.

    Raises:
        ConfigError: it is damaged.
    """
    path = folder / runs.EVALUATION
    if not path.exists():
        return {}
    found = {}
    try:
        for task, results in json.loads(path.read_text(encoding="utf-8")).items():
            for brain, result in results.items():
                name = f"evaluated goals, {task.replace('_', ' ')}, {brain}"
                goals = result["goals"]
                found[name] = float(goals["mean"]), float(goals["ci95"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ConfigError(
            f"{path} is damaged: delete it; python -m mjxhand.evaluate {folder} measures "
            "that policy anew"
        ) from None
    return found


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
    head = ("", *labels(folders))
    outcomes = [outcome(folder) for folder in folders]
    names = dict.fromkeys(name for said in outcomes for name in said)
    rows = [(name, *(said.get(name, "–") for said in outcomes)) for name in names]
    differ = settings(folders)
    shown = differ or [("no setting", *("" for _ in folders))]
    means = [
        {
            name: mean
            for name, (mean, _) in evaluated(folder).items()
            if not name.endswith("untrained")
        }
        for folder in folders
    ]
    said = table([head, *shown, head, *rows])
    over = conditions.rows(differ, means)
    if not over:
        return said
    names = labels(folders)
    notes = [
        f"note: {names[run]} has the settings and the seed of {names[first]}: they are one "
        f"sample, and the means count {names[first]}"
        for run, first in conditions.repeated(differ, len(folders)).items()
    ]
    return "\n".join([f"{said}\n", table(over), *notes])


def draw(folders: Sequence[Path], path: Path) -> None:
    """Goals per training episode, and the farthest goal where it moves, of every run."""
    plt = _pyplot()
    curves = [curve(folder) for folder in folders]
    moved = any(len({p["goal_angle_max"] for p in each}) > 1 for each in curves)
    shown = {"goals_per_episode": "goals per\ntraining episode"}
    if moved:
        shown["goal_angle_max"] = "farthest goal, rad"
    figure, axes = plt.subplots(
        len(shown), 1, figsize=(7, 1 + 2 * len(shown)), sharex=True, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for axis, (name, label) in zip(axes[:, 0], shown.items(), strict=True):
        for number, (run, points) in enumerate(
            zip(labels(folders), curves, strict=True)
        ):
            steps = [point["env_steps"] / 1e6 for point in points]
            turn, place = divmod(number, len(COLOURS))
            # A gap where it is not known.
            known = [math.nan if p[name] is None else p[name] for p in points]
            axis.plot(
                steps, known, color=COLOURS[place], linestyle=LINES[turn % len(LINES)],
                marker="o" if len(points) == 1 else "",  # a line of one point is none
                label=run if points else f"{run}: fewer than {EPISODES} episodes",
            )  # fmt: skip
        axis.set(ylabel=label, ylim=(0, None))
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].legend(frameon=False)
    axes[-1, 0].set(xlabel="control steps (millions)", xlim=(0, None))
    save_whole(path, lambda hidden: figure.savefig(hidden, dpi=160))
    plt.close(figure)


def _pyplot() -> Any:
    """matplotlib, drawing into files."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
    except ModuleNotFoundError:
        raise ConfigError(
            "--figure needs matplotlib: pip install 'mjxhand[analysis]'"
        ) from None
    return plt


def _refuse_figure(path: Path, folders: Sequence[Path]) -> None:
    """Raises: ConfigError: it could not be drawn, or not be written under that name."""
    cli.refuse_unwritable("--figure", path)
    _pyplot()
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    kinds = FigureCanvasAgg.get_supported_filetypes()
    if path.suffix[1:].lower() not in kinds:
        raise ConfigError(
            f"--figure is {path}: its name must end in .{', .'.join(sorted(kinds))}"
        )
    without = [folder for folder in folders if not (folder / metrics.FILE).exists()]
    if without:
        raise ConfigError(f"--figure: {without[0]} has no training curve")


@cli.main_guard
def main(argv: Sequence[str] | None = None) -> int:
    """Command line of `python -m mjxhand.compare`."""
    parser = argparse.ArgumentParser(
        prog="python -m mjxhand.compare", description=(__doc__ or "").split("\n\n")[1]
    )
    parser.add_argument("runs", nargs="+", help="run folders, or pretrained:NAME")
    parser.add_argument("--figure", type=Path, help="draw the training curves into it")
    args = parser.parse_args(sys.argv[1:] if argv is None else argv)
    if "" in args.runs:  # as the variable of a shell that was never set
        raise ConfigError("a run's name is empty: give its folder")
    folders = [pretrained.folder(run) for run in args.runs]
    if len(folders) < 2:
        raise ConfigError("give at least two runs to compare")
    if args.figure is not None:
        _refuse_figure(args.figure, folders)
    print(report(folders))
    if args.figure is not None:
        draw(folders, args.figure)
        print(f"figure: {args.figure}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
