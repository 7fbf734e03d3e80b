"""Means over seeds: hand-worked, and against SciPy's Welch test."""

import numpy as np
import pytest
from scipy import stats

from mjxhand import compare, conditions

GOALS = "evaluated goals, task, trained"


def found(*means):
    return [{} if mean is None else {GOALS: mean} for mean in means]


def test_runs_that_differ_in_their_seed_alone_are_one_condition():
    settings = [("network.atlas", "a", "b", "a", "b", "b"), ("seed", *"01234")]
    table = conditions.rows(settings, found(1.0, 4.0, 3.0, 6.0, None))
    assert table[0] == ("over seeds", "network.atlas a", "network.atlas b")
    # Of two numbers that are 2 apart the standard error is 1, and t of one degree 12.706.
    assert table[1] == (GOALS, "2.00 ± 12.71 (2 runs)", "5.00 ± 12.71 (2 runs)")
    # The error of the difference is √2, t of two degrees 4.3027.
    assert table[2] == ("less the first", "", "+3.00 ± 6.08")


def test_one_condition_has_no_difference():
    table = conditions.rows([("seed", "0", "1")], found(1.0, 3.0))
    assert table == [("over seeds", "all runs"), (GOALS, "2.00 ± 12.71 (2 runs)")]


def test_nothing_is_said_where_no_condition_has_two_runs():
    settings = [("ppo.lam", "0.9", "0.95"), ("seed", "0", "1")]
    assert conditions.rows(settings, found(1.0, 3.0)) == []


def test_a_single_run_has_no_interval():
    settings = [("ppo.lam", "1", "1", "2", "3"), ("seed", "0", "1", "0", "0")]
    table = conditions.rows(settings, found(1.0, 3.0, 7.0, None))
    assert table[1][2:] == ("7.00 (1 run)", "–")
    assert table[2] == ("less the first", "", "+5.00", "–")


def test_a_copy_of_a_run_is_no_further_sample():
    """Twice the same number would leave no doubt about it."""
    settings = [("seed", "0", "0", "1", "0")]
    assert conditions.repeated(settings, 4) == {1: 0, 3: 0}
    table = conditions.rows(settings, found(1.0, 1.0, 3.0, 1.0))
    assert table[1] == (GOALS, "2.00 ± 12.71 (2 runs)")
    assert conditions.repeated([], 2) == {1: 0}
    assert conditions.rows([], found(1.0, 1.0)) == []


def test_welch_is_that_of_scipy():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=4), 3 * rng.normal(size=7)
    low, high = stats.ttest_ind(x, y, equal_var=False).confidence_interval(0.95)
    assert conditions.welch(x, y) == pytest.approx((high - low) / 2)
    assert conditions.welch(np.ones(2), np.ones(3)) == 0.0


def test_compare_says_it(tmp_path, capsys):
    import dataclasses

    from test_compare import line, write

    from mjxhand.presets import PRESETS

    names = []
    for seed, goals in enumerate((1.0, 3.0)):
        names.append(str(tmp_path / f"run{seed}"))
        config = dataclasses.replace(PRESETS["smoke"], seed=seed)
        write(tmp_path / f"run{seed}", config, [line(1, 300, 1.0, 0.5)], goals=goals)
    assert compare.main(names) == 0
    said = capsys.readouterr().out
    assert "over seeds" in said
    (row,) = (text for text in said.splitlines() if "(2 runs)" in text)
    assert row.split("  ")[0] == GOALS
    assert "2.00 ± 12.71" in row
    copy = str(tmp_path / "copy")
    write(tmp_path / "copy", config, [line(1, 300, 1.0, 0.5)], goals=3.0)
    assert compare.main([*names, copy]) == 0
    said = capsys.readouterr().out
    assert "note: copy has the settings and the seed of run1" in said
    assert "2.00 ± 12.71 (2 runs)" in said
