"""`python -m mjxhand.compare`: rows worked by hand."""

import dataclasses
import json

import pytest

from mjxhand import compare, runs
from mjxhand.presets import PRESETS


def write(folder, preset, lines, goals=None):
    runs.prepare(folder, preset)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text)
    if goals is not None:
        result = {"goals": {"mean": goals, "ci95": 0.25}}
        found = {"task": {"untrained": result, "trained": result}}
        (folder / "evaluation.json").write_text(json.dumps(found))


def line(update, episodes, goals, dropped):
    return {
        "update": update,
        "env_steps": 100 * update,
        "seconds": 1800.0,
        "episodes": episodes,
        # As in a run: 0 where no episode ended.
        "goals_per_episode": goals,
        "drop_rate": dropped,
        "goal_angle_max": 0.8 + 0.1 * update,
        "policy/entropy": 2.0,
        "value/explained_variance": 0.5,
    }


@pytest.fixture
def folders(tmp_path):
    smoke = PRESETS["smoke"]
    first, second = tmp_path / "first", tmp_path / "second"
    lines = [line(1, 100, 1.0, 0.5), line(2, 0, 0.0, 0.0), line(3, 300, 3.0, 0.1)]
    write(first, smoke, [*lines, line(4, 10, 9.0, 1.0)], goals=1.5)
    slower = dataclasses.replace(smoke.ppo, learning_rate=1e-4)
    write(second, dataclasses.replace(smoke, ppo=slower, seed=1), lines[:1])
    return first, second


def test_a_point_is_the_mean_over_episodes(folders):
    """(100·1 + 300·3) / 400 = 2.5 goals, (100·0.5 + 300·0.1) / 400 = 0.2 dropped; ten more
    episodes are too few for a point."""
    (point,) = compare.curve(folders[0])
    assert (point["env_steps"], point["goal_angle_max"]) == (300, 1.1)
    assert (point["goals_per_episode"], point["drop_rate"]) == (2.5, 0.2)
    assert compare.curve(folders[1]) == []


def test_only_what_differs_is_listed(folders):
    assert compare.settings(folders) == [
        ("ppo.learning_rate", "0.0003", "0.0001"),
        ("seed", "0", "1"),
    ]
    assert compare.settings([folders[0], folders[0]]) == []


def test_the_report_has_a_column_for_each_run(folders, capsys):
    assert compare.main([str(folder) for folder in folders]) == 0
    rows = {
        tuple(cell.strip() for cell in text.split("  ") if cell.strip())
        for text in capsys.readouterr().out.splitlines()
    }
    assert ("control steps", "0.00 M", "0.00 M") in rows
    assert ("hours of updates", "2.00", "0.50") in rows
    assert ("farthest goal, rad", "1.10", "–") in rows
    assert ("evaluated goals, task, trained", "1.50 ± 0.25", "–") in rows


def test_the_figure_and_what_cannot_be_drawn(folders, tmp_path, capsys):
    argv = [str(folder) for folder in folders]
    assert compare.main([*argv, "--figure", str(tmp_path / "both.png")]) == 0
    assert (tmp_path / "both.png").read_bytes().startswith(b"\x89PNG")
    assert compare.main([argv[0]]) == 2
    assert compare.main([*argv, "--figure", str(tmp_path / "no" / "x.png")]) == 2
    argv.append("pretrained:laptop")
    assert compare.main([*argv, "--figure", str(tmp_path / "three.png")]) == 2
    errors = capsys.readouterr().err.splitlines()
    for error, words in zip(
        errors,
        ("at least two", "folder that is there", "no training curve"),
        strict=True,
    ):
        assert words in error
