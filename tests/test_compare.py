"""`python -m mjxhand.compare`: rows worked by hand."""

import dataclasses
import errno
import json
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from mjxhand import compare, runs
from mjxhand.analyse import style
from mjxhand.config import ConfigError
from mjxhand.presets import PRESETS

BRAIN = """
area    units    receives
M       {units}  touch,proprioception,vision,goal
policy  -        M
value   16       M,privileged
"""


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
    assert ("control steps", "400", "100") in rows
    assert ("time in updates", "2:00:00", "30:00") in rows
    assert ("farthest goal, rad", "1.10", "–") in rows
    assert ("evaluated goals, task, trained", "1.50 ± 0.25", "–") in rows


def test_the_figure_and_what_cannot_be_drawn(folders, tmp_path, capsys):
    argv = [str(folder) for folder in folders]
    assert compare.main([*argv, "--figure", str(tmp_path / "both.png")]) == 0
    assert (tmp_path / "both.png").read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    assert compare.main([argv[0]]) == 2
    assert compare.main([argv[0], ""]) == 2
    for name in ("no/x.png", "x.xyz", "x"):
        assert compare.main([*argv, "--figure", str(tmp_path / name)]) == 2
    argv.append("pretrained:laptop")
    assert compare.main([*argv, "--figure", str(tmp_path / "three.png")]) == 2
    out, errors = capsys.readouterr()
    assert out == ""  # refused before anything is said
    for error, words in zip(
        errors.splitlines(),
        (
            "at least two",
            "name is empty",
            "folder that is there",
            "must end in .avif, .eps",
            "must end in .avif, .eps",
            "no training curve",
        ),
        strict=True,
    ):
        assert words in error


def half_a_figure(figure, path, **_):
    Path(path).write_text("half")
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_figure_is_there_in_whole_or_not_at_all(
    folders, tmp_path, monkeypatch, capsys
):
    old = tmp_path / "both.png"
    old.write_text("old")
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", half_a_figure)
    argv = [*map(str, folders), "--figure", str(old)]
    assert compare.main(argv) == 2
    assert capsys.readouterr().err.startswith(f"error: cannot write {old}: No space")
    with pytest.raises(ConfigError, match="No space left"):
        style.save(Figure(), old)
    assert old.read_text() == "old"
    assert not list(tmp_path.glob(".*"))


@pytest.fixture
def drawn(monkeypatch):
    """Lines of the upper panel of a figure that is drawn."""
    lines = []

    def savefig(figure, path, **_):
        lines.extend(figure.axes[0].lines)
        path.touch()

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", savefig)
    return lines


def test_the_curve_that_is_drawn_is_of_goals(folders, tmp_path, drawn):
    compare.draw(folders[:1], tmp_path / "one.png")
    (curve,) = drawn
    assert curve.get_xdata().tolist() == [300 / 1e6]
    assert curve.get_ydata().tolist() == [2.5]


def test_six_runs_have_lines_of_their_own(tmp_path, drawn):
    """Of one point: a dot. Without a point the legend says why there is no line."""
    folders = [tmp_path / f"run{i}" for i in range(6)]
    for folder, episodes in zip(folders, (300, 300, 300, 250, 249, 300), strict=True):
        updates = (1,) if episodes < 300 else (1, 2)
        write(folder, PRESETS["smoke"], [line(i, episodes, 1.0, 0.5) for i in updates])
    compare.draw(folders, tmp_path / "six.png")
    assert len({(each.get_color(), each.get_linestyle()) for each in drawn}) == 6
    assert [each.get_marker() for each in drawn] == ["", "", "", "o", "", ""]
    assert drawn[4].get_label() == "run4: fewer than 250 episodes"


def test_runs_in_folders_of_one_name_are_told_apart(
    tmp_path, monkeypatch, capsys, drawn
):
    """Their heads, and their lines in the figure."""
    smoke = PRESETS["smoke"]
    lines = [line(1, 300, 1.0, 0.5), line(2, 300, 2.0, 0.5)]
    folders = [tmp_path / name for name in ("a/safe", "b/safe", "other")]
    for seed, folder in enumerate(folders):
        write(folder, dataclasses.replace(smoke, seed=seed), lines)
    monkeypatch.chdir(folders[2])
    assert compare.labels([*folders[:2], Path(".")]) == ["a/safe", "b/safe", "other"]
    argv = [*map(str, folders[:2]), ".", "--figure", str(tmp_path / "three.png")]
    assert compare.main(argv) == 0
    assert [each.get_label() for each in drawn] == ["a/safe", "b/safe", "other"]
    assert [list(each.get_ydata()) for each in drawn] == [[1.0, 2.0]] * 3
    assert capsys.readouterr().out.split("\n")[0].split() == [
        "a/safe",
        "b/safe",
        "other",
    ]


def test_what_was_no_number_is_left_out(tmp_path, capsys):
    """NaN is null in the file: 300·2 / 300 goals, the other line's are not known."""
    lines = [line(1, 300, None, 0.5), line(2, 300, 2.0, None), line(3, None, 1.0, 1.0)]
    lines[1]["goal_angle_max"] = lines[2]["seconds"] = None
    lines.append({"update": 4})
    folder = tmp_path / "run"
    write(folder, PRESETS["smoke"], lines)
    first, second = compare.curve(folder)
    assert (first["goals_per_episode"], first["drop_rate"]) == (None, 0.5)
    assert (second["goals_per_episode"], second["drop_rate"]) == (2.0, None)
    assert second["goal_angle_max"] is None
    assert compare.outcome(folder) == {
        "control steps": "300",
        "time in updates": "1:00:00",
        "goals per training episode, last": "2.00",
    }
    figure = tmp_path / "x.svg"
    assert compare.main([str(folder), str(folder), "--figure", str(figure)]) == 0
    assert "<svg" in figure.read_text()


@pytest.mark.parametrize("text", ["", "[]", '{"task": 3}', '{"task": {"trained": {}}}'])
def test_a_damaged_evaluation_is_one_line_that_names_it(folders, text, capsys):
    path = folders[0] / "evaluation.json"
    path.write_text(text)
    assert compare.main([str(folder) for folder in folders]) == 2
    assert f"error: {path} is damaged: delete it" in capsys.readouterr().err


def test_a_run_that_was_not_evaluated_has_no_such_row(folders):
    (folders[0] / "evaluation.json").write_text("{}")
    assert not any("evaluated" in name for name in compare.outcome(folders[0]))


def test_networks_are_compared_by_what_they_hold(tmp_path):
    """Each run has a copy of its own: a path tells nothing."""
    one, two = tmp_path / "one.tsv", tmp_path / "two.tsv"
    smoke = PRESETS["smoke"]

    def run(name, source, **sizes):
        source.write_text(BRAIN.format(**{"units": 10} | sizes))
        network = dataclasses.replace(smoke.network, atlas=str(source))
        return runs.prepare(
            tmp_path / name, dataclasses.replace(smoke, network=network)
        )

    first = run("at0", one)
    assert compare.settings([first, run("at1", one)]) == []
    assert (
        compare.settings([first, run("at2", two)]) == []
    )  # the same under another name
    larger = run("at3", two, units=11)
    assert compare.settings([first, larger]) == [("network.atlas", str(one), str(two))]
    # One name, and what it named has changed in between.
    copies = [str(run / "network.tsv") for run in (first, run("at4", one, units=11))]
    assert compare.settings([first, tmp_path / "at4"]) == [("network.atlas", *copies)]
    plain = runs.prepare(tmp_path / "plain", smoke)
    assert compare.settings([first, plain])[0][1:] == (str(one), "angorapy_v2")
