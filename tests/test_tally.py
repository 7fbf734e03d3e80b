"""What evaluation counts, against two episodes worked by hand."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from mjxhand import tally as tallies

# Of two environments, per control step: distance and age of the goal before it, what came.
# The first reaches a goal 0.5 rad away in its second step, is given one 2 rad away, and
# drops in its fourth. The second runs out of time in its third step, 3.14 rad away; the
# fourth belongs to another episode, in which a goal is reached.
STEPS = [
    {"distance": (0.5, 3.14), "goal_step": (0, 0), "success": (0, 0)},
    {"distance": (0.45, 3.0), "goal_step": (1, 1), "success": (1, 0)},
    {"distance": (2.0, 2.9), "goal_step": (0, 2), "success": (0, 0), "out": (0, 1)},
    {"distance": (1.9, 1.0), "goal_step": (1, 0), "success": (0, 1), "drop": (1, 0)},
]


@pytest.fixture(scope="module")
def tallied():
    tally = tallies.begin(2)
    for step in STEPS:
        none = (0, 0)
        values = {
            "success": step["success"],
            "dropped": step.get("drop", none),
            "timed_out": step.get("out", none),
            "complete": none,
            "invalid": none,
        }
        metrics = {k: jnp.array(v, jnp.float32) for k, v in values.items()}
        before = SimpleNamespace(
            distance=jnp.array(step["distance"]), goal_step=jnp.array(step["goal_step"])
        )
        after = SimpleNamespace(metrics=metrics, reward=jnp.array([1.0, 10.0]))
        ended = (metrics["dropped"] + metrics["timed_out"]) > 0
        tally = tallies.count(tally, before, after, ended)
    return tallies.summary(tally, control_seconds=0.08), tallies.per_episode(tally)


@pytest.fixture(scope="module")
def counted(tallied):
    return tallied[0]


def test_episodes_are_told_one_by_one(tallied):
    each = {name: values.tolist() for name, values in tallied[1].items()}
    assert each == {"goals": [1, 0], "dropped": [1, 0], "timed_out": [0, 1]}


def test_every_first_episode_counts_and_no_other(counted):
    assert counted["episodes"] == 2
    assert counted["unfinished"] == 0
    assert counted["goals"]["histogram"] == {0: 1, 1: 1}
    assert counted["drop_rate"] == counted["time_out_rate"] == 0.5
    assert np.isclose(counted["seconds_per_goal"], 2 * 0.08)
    assert np.isclose(counted["episode_seconds"], 0.08 * (4 + 3) / 2)
    assert np.isclose(counted["return"], (4 * 1 + 3 * 10) / 2)


def test_intervals_of_few_episodes_are_wide():
    """By Student: 12.706 standard errors for two, 1.96 for many."""
    assert tallies.half_width(np.array([1.0, 3.0])) == pytest.approx(12.706, abs=1e-3)
    many = np.tile([1.0, 3.0], 50_000)
    assert tallies.half_width(many) == pytest.approx(1.96 / np.sqrt(1e5), rel=1e-3)
    assert tallies.half_width(np.array([2.0])) == 0.0


def test_one_episode_tells_no_interval():
    """± 0 would say that its mean is known."""
    one = tallies.begin(1).replace(goals=jnp.array([3.0]), goal_time=jnp.array([60.0]))
    found = tallies.summary(one, control_seconds=0.08) | {"object": "cube"}
    assert tallies.sentence(found) == (
        "3 goals in the one episode, 1.6 s per goal, dropped in 0.0 % of 1 episode"
    )


def test_goals_are_classed_by_where_they_were_when_given(counted):
    quarters = [(part["goals"], part["reached"]) for part in counted["by_distance"]]
    assert quarters == [(1, 1), (0, 0), (1, 0), (1, 0)]
    edges = [part["up_to"] for part in counted["by_distance"]]
    np.testing.assert_allclose(edges, np.pi * np.arange(1, 5) / 4)
    assert tallies.by_distance(counted) == (
        "goals reached, by how far they were: 0° to 45°: 100.0 % of 1, "
        "90° to 135°: 0.0 % of 1, 135° to 180°: 0.0 % of 1"
    )


def test_the_summary_of_three_episodes_by_hand():
    """0, 0 and 3 goals; the first ended in a state that was no number, two went on to the end."""
    tally = tallies.begin(3).replace(
        goals=jnp.array([0.0, 0.0, 3.0]),
        over=jnp.array([True, True, False]),
        invalid=jnp.array([1.0, 0.0, 0.0]),
        complete=jnp.array([0.0, 1.0, 1.0]),
    )
    found = tallies.summary(tally, control_seconds=0.08)
    goals = found["goals"]
    assert (goals["mean"], goals["median"], goals["max"]) == (1.0, 0.0, 3)
    assert goals["sd"] == pytest.approx(np.sqrt(3))  # (1 + 1 + 4) / 2
    assert goals["ci95"] == pytest.approx(4.3027, rel=1e-4)  # t of two, over √3 / √3
    assert found["complete_rate"] == pytest.approx(2 / 3)
    assert found["invalid_rate"] == pytest.approx(1 / 3)
    assert found["unfinished"] == 1


def test_every_end_is_counted_as_itself():
    ends = ("dropped", "timed_out", "complete", "invalid")
    metrics = {name: jnp.eye(4)[i] for i, name in enumerate(ends)}
    metrics["success"] = jnp.zeros(4)
    before = SimpleNamespace(distance=jnp.zeros(4), goal_step=jnp.zeros(4))
    after = SimpleNamespace(metrics=metrics, reward=jnp.zeros(4))
    tally = tallies.count(tallies.begin(4), before, after, jnp.ones(4, bool))
    for i, name in enumerate(ends):
        np.testing.assert_array_equal(getattr(tally, name), np.eye(4)[i])
