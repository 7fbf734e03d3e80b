"""Figures of an analysis: what is drawn of which brain."""

import numpy as np
import pandas as pd
import pytest

from mjxhand.analyse import (
    figures,
    figures_dynamics,
    figures_geometry,
    figures_lesions,
    sections,
    style,
)

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


@pytest.fixture
def made(monkeypatch):
    """Axes of the figures that are made, before they would be saved."""
    axes = []
    monkeypatch.setattr(style, "save", lambda figure, path: axes.extend(figure.axes))
    return axes


def values(axis):
    """Lengths of an axis's bars, in the order they were drawn."""
    return [round(bar.get_width(), 6) for bar in axis.patches]


def test_the_difference_of_planning_is_of_the_first_less_the_second(made, tmp_path):
    """PMC has 0.4, M1 0.5."""
    figures.planning({"planning_profile": rows(KNOWN, "command")}, tmp_path)
    _, axis = made
    assert axis.get_title(loc="left") == "PMC − M1"
    np.testing.assert_allclose(axis.lines[0].get_ydata(), -0.1)
    np.testing.assert_allclose(axis.lines[0].get_xdata(), [0.08, 0.8])


def test_decoding_is_drawn_network_by_network(made, tmp_path):
    """And what the senses tell, which both share, in both."""
    table = pd.DataFrame(
        [("PMC", "trained", 2, 0.6), ("PMC", "untrained", 2, 0.2), ("M1", "trained", 3, 0.5),
         ("M1", "untrained", 3, 0.1), ("touch", "both", 0, 0.4)],
        columns=["area", "policy", "depth", "r2"],
    ).assign(window="present", target="goal", low=0.0, high=1.0)  # fmt: skip
    figures.decoding({"decoding": table}, tmp_path)
    for axis, title, expected in (
        (made[0], "trained", [0.6, 0.5, 0.4]),
        (made[1], "untrained", [0.2, 0.1, 0.4]),
    ):
        assert axis.get_title(loc="left") == title
        assert [t.get_text() for t in axis.get_yticklabels()] == ["PMC", "M1", "touch"]
        np.testing.assert_allclose(axis.images[0].get_array()[:, 0], expected)


def test_what_nonlinear_decoding_adds_is_above_0(made, tmp_path):
    table = pd.DataFrame(
        {"area": ["PMC"], "policy": "trained", "depth": 1, "window": "present",
         "target": "goal", "r2": 0.9, "nonlinear": 0.7, "linear_same": 0.4}
    )  # fmt: skip
    figures.nonlinear({"decoding": table}, tmp_path)
    (points,) = made[0].collections
    np.testing.assert_allclose(points.get_offsets()[:, 1], [0.3])


def test_dimensions_are_drawn_as_they_are_and_standardised(made, tmp_path):
    table = pd.DataFrame(
        {"area": ["PMC", "M1"] * 2, "policy": ["trained"] * 2 + ["untrained"] * 2,
         "depth": [1, 2] * 2, "ratio": [3.0, 4.0, 5.0, 6.0], "low": 2.0, "high": 7.0,
         "ratio_standardised": [13.0, 14.0, 15.0, 16.0]}
    )  # fmt: skip
    figures_geometry.dimensions({"dimensions": table}, tmp_path)
    heights = [[bar.get_height() for bar in axis.patches] for axis in made]
    assert heights == [[3, 4, 5, 6], [13, 14, 15, 16]]


def test_time_scales_are_drawn_with_their_quartiles(made, tmp_path):
    table = pd.DataFrame(
        {"area": ["PMC"], "policy": "trained", "depth": 1, "tau": 9.0,
         "tau_low": 0.5, "tau_median": 0.8, "tau_high": 1.4}
    )  # fmt: skip
    curves = pd.DataFrame(
        {
            "area": "PMC",
            "policy": ["trained", "untrained"],
            "seconds": 0.08,
            "r": [0.5, 0.1],
        }
    )
    tables = {"timescales": table, "autocorrelation": curves}
    figures_dynamics.time_scales(tables, tmp_path)
    curve, units = made
    np.testing.assert_allclose(curve.lines[0].get_ydata(), [0.5])
    ((low, high),) = units.collections[0].get_segments()
    np.testing.assert_allclose([low[1], high[1]], [0.5, 1.4])
    assert float(units.lines[0].get_ydata()[0]) == 0.8


def test_paths_are_those_of_the_trained_network_in_that_area(made, tmp_path):
    paths = pd.DataFrame(
        [(area, who, "+x", x, x) for area in ("PMC", "LPFC")
         for who in ("trained", "untrained") for x in (0.0, len(area) + len(who))],
        columns=["area", "policy", "goal", "pc1", "pc2"],
    )  # fmt: skip
    spectrum = pd.DataFrame(
        {"policy": ["trained"], "area": "PMC", "input": "mean", "at": "fixed point",
         "real": 0.5, "imaginary": 0.2}
    )  # fmt: skip
    points = pd.DataFrame({"policy": ["trained"], "area": "PMC"})
    tables = {"spectrum": spectrum, "paths": paths, "fixed_points": points}
    figures_dynamics.dynamics(tables, tmp_path)
    modes, path = made
    np.testing.assert_allclose(modes.collections[0].get_offsets(), [[0.5, 0.2]])
    np.testing.assert_allclose(path.lines[0].get_xdata(), [0, 10])  # PMC, trained


def test_lesions_are_drawn_in_the_units_that_are_told(made, tmp_path):
    table = pd.DataFrame(
        {"kind": ["intact", "area", "sense"], "lesion": ["intact", "PMC", "touch"],
         "goals": [9.0, 4.0, 8.0], "change": [0.0, -5.0, -1.0], "change_ci95": 0.5,
         "drop_rate": [0.1, 0.4, 0.2], "drop_change": [0.0, 0.3, 0.1],
         "drop_change_ci95": 0.05, "seconds_per_goal": [2.0, 6.0, 3.0]}
    )  # fmt: skip
    figures_lesions.lesions({"lesions": table}, tmp_path)
    change, drops, seconds = made
    assert values(change)[:2] == [-5, -1]
    assert "(intact: 9.00)" in change.get_xlabel()
    assert values(drops)[:2] == [30, 10]  # percentage points
    assert "(intact: 10 %)" in drops.get_xlabel()
    assert values(seconds)[:2] == [6, 3]
    assert seconds.lines[0].get_xdata()[0] == 2
    assert [t.get_text() for t in change.get_yticklabels()] == ["PMC", "touch"]


def test_the_future_is_drawn_over_its_leads(made, tmp_path):
    table = rows(KNOWN, "future turn").assign(chance_high=[0.01, 0.02] * 9)
    figures.future({"decoding": table}, tmp_path)
    lines = {line.get_label(): line for line in made[0].lines}
    for area, r2 in (("PMC", 0.4), ("M1", 0.5), ("present action", 0.0)):
        np.testing.assert_allclose(lines[area].get_xdata(), [0.08, 0.8])
        np.testing.assert_allclose(lines[area].get_ydata(), r2)
    np.testing.assert_allclose(lines["chance, 95 %"].get_ydata(), [0.01, 0.02])


def test_saliency_is_drawn_of_the_whole_and_per_input(made, tmp_path):
    table = pd.DataFrame(
        [("trained", "touch", 0.75, 0.4), ("trained", "vision", 0.25, 0.6),
         ("untrained", "touch", 0.1, 0.3), ("untrained", "vision", 0.9, 0.7)],
        columns=["policy", "sense", "share", "per_input"],
    ).assign(source="PMC")  # fmt: skip
    figures.saliency({"saliency": table}, tmp_path)
    assert [values(axis) for axis in made] == [[0.75, 0.25], [0.4, 0.6], [0.1, 0.9]]


def test_likeness_is_drawn_network_by_network(made, tmp_path):
    pairs = pd.DataFrame(
        [("PMC", "PMC", 1.0), ("PMC", "M1", 0.5), ("M1", "M1", 1.0)],
        columns=["a", "b", "cka"],
    )
    both = pd.concat(
        [pairs.assign(policy="trained"), pairs.assign(policy="untrained", cka=0.2)]
    )
    tables = {"cka": both, "rsa": both.assign(rho=both["cka"] / 2, cka=9.0)}
    figures_geometry.similarity(tables, tmp_path)
    found = [axis.images[0].get_array() for axis in made if axis.images]
    trained = np.array([[1, 0.5], [0.5, 1]])
    for grid, expected in zip(found, (trained, 0.2, trained / 2, 0.1), strict=True):
        np.testing.assert_allclose(grid, np.broadcast_to(expected, (2, 2)))


def test_selectivity_is_drawn_as_it_is_told(made, tmp_path):
    table = pd.DataFrame(
        {"area": "PMC", "depth": 1, "policy": ["trained", "untrained"],
         "alone touch": [0.3, 0.9], "own touch": [0.1, 0.9], "index": [1.5, 1.2],
         "nonlinear": [0.05, 0.02]}
    )  # fmt: skip
    figures_geometry.selectivity({"selectivity": table}, tmp_path)
    drawn = [[line.get_xdata()[0] for line in axis.lines] for axis in made]
    assert drawn == [[0.3], [0.1], [1.5, 1.2], [0.05, 0.02]]


def test_the_share_of_tuned_units_is_that_of_each_kind_of_turn(made, tmp_path):
    units = pd.DataFrame(
        [(who, turn, unit, unit < tuned)
         for who, turn, tuned in (("trained", "wanted", 3), ("trained", "made", 1),
                                  ("untrained", "wanted", 2), ("untrained", "made", 0))
         for unit in range(4)],
        columns=["policy", "turn", "unit", "tuned"],
    ).assign(area="M1", depth=1, eta2=0.5, preferred="+x")  # fmt: skip
    units = units.assign(**{"mean +x": 1.0, "mean −x": -1.0})
    figures_dynamics.tuning({"tuning_units": units}, tmp_path)
    heights = [[bar.get_height() for bar in axis.patches] for axis in made[:2]]
    assert heights == [[75, 50], [25, 0]]
