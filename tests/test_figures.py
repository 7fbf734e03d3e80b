"""Figures of an analysis: what is drawn of which brain."""

import pandas as pd
import pytest

from mjxhand.analyse import figures, figures_dynamics, sections, style

SENSES = {"touch": 0, "all senses": 0, "present action": 0}
KNOWN = {"SSC": 1, "IPL": 2, "SPL": 2, "LPFC": 3, "PMC": 4, "M1": 5}
OWN = {"S1": 1, "MIP": 1, "AIP": 2, "S2": 2, "PMd": 2, "PMv": 3, "M1": 4}
DENSE = {"dense": 1}


def rows(depth, target):
    """R² of areas `{name: depth}` and of senses at two leads."""
    return pd.DataFrame(
        {"area": area, "policy": "trained" if d else "both", "depth": d, "r2": 0.1 * d,
         "seconds": seconds, "target": target, "low": 0.0, "high": 0.5, "chance_high": 0.0}
        for area, d in (SENSES | depth).items()
        for seconds in (0.08, 0.8)
    )  # fmt: skip


@pytest.fixture
def drawn(monkeypatch):
    """Lines of each panel that a figure would have: label → colour."""
    panels = []

    def save(made, path):
        panels.extend(
            {
                line.get_label(): line.get_color()
                for line in axis.lines
                if not line.get_label().startswith("_")
            }
            for axis in made.axes
        )

    monkeypatch.setattr(style, "save", save)
    return panels


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        (KNOWN, ["SSC", "IPL", "LPFC", "PMC", "M1"]),
        (OWN, ["AIP", "S2", "PMd", "PMv", "M1"]),
        (DENSE, ["dense", "touch", "all senses"]),
    ],
)
def test_the_future_is_told_of_five_areas(drawn, tmp_path, depth, expected):
    """A brain of one's own that shares a name with ours loses no other area by that."""
    figures.future({"decoding": rows(depth, "future turn")}, tmp_path)
    (lines,) = drawn
    assert list(lines) == [*expected, "present action", "chance, 95 %"]
    assert len({lines[area] for area in expected}) == len(expected)


@pytest.mark.parametrize(
    ("depth", "pair"),
    [
        (KNOWN, ["PMC", "M1"]),
        (OWN, ["PMv", "M1"]),
        (KNOWN | {"M1": 0}, ["LPFC", "PMC"]),
    ],
)
def test_planning_compares_two_areas(drawn, tmp_path, depth, pair):
    figures.planning({"planning_profile": rows(depth, "command")}, tmp_path)
    profiles, difference = drawn
    assert [name for name in profiles if name not in SENSES] == pair
    assert profiles[pair[0]] != profiles[pair[1]]
    assert list(difference) == ["trained"]


def test_planning_of_one_area_has_no_empty_panel(drawn, tmp_path):
    figures.planning({"planning_profile": rows(DENSE, "command")}, tmp_path)
    (profiles,) = drawn
    assert list(profiles) == ["dense", "all senses"]


def test_the_lead_of_the_turn_made_is_said(monkeypatch, tmp_path):
    """`tuning.MADE`, which the table does not hold."""
    units = pd.DataFrame(
        {"area": "M1", "policy": "trained", "depth": 1, "turn": turn, "unit": 0,
         "mean +x": 1.0, "mean −x": -1.0, "preferred": "+x", "eta2": 0.5, "tuned": True}
        for turn in ("wanted", "made")
    )  # fmt: skip
    titles = []
    monkeypatch.setattr(
        style, "save", lambda made, path: titles.extend(
            axis.get_title(loc="left") for axis in made.axes
        ),
    )  # fmt: skip
    figures_dynamics.tuning({"tuning_units": units}, tmp_path)
    made = "by the turn made in 0.8 s"
    assert titles[:3] == ["by what the goal asks", made, f"M1, {made}"]
    (said,) = [each.text for each in sections.SECTIONS if each.needs == "tuning_units"]
    assert "A turn made is that of the next 0.8 s." in said
