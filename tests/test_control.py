"""Servo targets from actions, worked by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

import mjxhand
from mjxhand import ConfigError, presets
from mjxhand.config import EnvConfig
from mjxhand.control import servo_targets

RANGE = jnp.array([[-1.0, 1.0], [-1.0, 1.0], [0.0, 2.0], [0.0, 4.0]])  # half: 1 1 1 2
UP, STAY, DOWN = 10, 5, 0


def targets(action, target, measured, **options):
    cfg = EnvConfig(relative_step=0.25, **options)
    got = servo_targets(
        cfg, RANGE, jnp.full(4, action), jnp.array(target), jnp.array(measured)
    )
    return np.asarray(got)


BLOCKED = ([0.0, 0.0, 1.0, 2.0], [0.0, 0.0, 1.0, 2.0])


def test_a_lead_ends_where_it_is_told_to():
    # One step from rest is 0.25 half ranges, below a lead of 0.3; a second would be 0.5.
    target, measured = BLOCKED
    once = targets(UP, target, measured, target_lead=0.3)
    np.testing.assert_allclose(once, [0.25, 0.25, 1.25, 2.5], rtol=1e-6)
    twice = targets(UP, once, measured, target_lead=0.3)
    np.testing.assert_allclose(twice, [0.3, 0.3, 1.3, 2.6], rtol=1e-6)
    plain = targets(UP, once, measured)
    np.testing.assert_allclose(plain, [0.5, 0.5, 1.5, 3.0], rtol=1e-6)


def test_a_blocked_finger_lets_go_when_its_command_turns_round():
    """After 20 commands to close, two to open pull away from the block; without a limit they
    still press."""
    for lead, opens in ((0.3, True), (None, False)):
        target, measured = BLOCKED
        for _ in range(20):
            target = targets(UP, target, measured, target_lead=lead)
        for _ in range(2):
            target = targets(DOWN, target, measured, target_lead=lead)
        assert np.all((target < np.array(measured)) == opens), lead


def test_a_lead_leaves_a_target_within_its_range_and_held():
    at_the_end = [1.0, -1.0, 2.0, 0.0]
    got = targets(UP, at_the_end, at_the_end, target_lead=0.3)
    np.testing.assert_allclose(got, [1.0, -0.75, 2.0, 0.5], rtol=1e-6)
    # The middle bin leaves a target where it is: it holds a load that bends the joint a little.
    bent = [0.2, -0.2, 1.2, 2.5]
    held = targets(STAY, BLOCKED[0], bent, target_lead=0.3)
    np.testing.assert_allclose(held, BLOCKED[0], atol=1e-7)


@pytest.mark.parametrize(
    ("actions", "action"),
    [
        # Of somebody used to continuous ones.
        ("discrete", jnp.array([-1.0, 1.0, 0.5, 0.0])),
        ("discrete", 5),
        ("discrete", jnp.full(3, 5)),
        ("continuous", 0.5),
        ("continuous", jnp.zeros(1)),
        ("continuous", jnp.zeros((2, 4))),
    ],
)
def test_an_action_that_is_none_moves_nothing(actions, action):
    """One number would be given to all servos, and -1 … 1 as levels all be near the first."""
    target, measured = map(jnp.array, BLOCKED)
    with pytest.raises(ConfigError, match=r"an action is .* of shape \(4,\), not"):
        servo_targets(EnvConfig(actions=actions), RANGE, action, target, measured)


@pytest.mark.parametrize("action", [[STAY] * 4, jnp.full(4, float(STAY))])
def test_a_list_and_whole_floats_are_actions(action):
    target, measured = map(jnp.array, BLOCKED)
    got = servo_targets(EnvConfig(), RANGE, action, target, measured)
    np.testing.assert_allclose(got, target)


def test_a_lead_is_checked():
    smoke = presets.PRESETS["smoke"]
    assert smoke.env.target_lead is None
    with pytest.raises(ConfigError, match=r"target.lead"):
        mjxhand.make("reorient", target_lead=-1.0)


@pytest.mark.parametrize("control", ["relative_to_target", "relative_to_measured"])
def test_a_continuous_action_beyond_one_is_one(control):
    options = {"actions": "continuous", "control": control}
    for action, whole in ((5.0, 1.0), (-1.5, -1.0)):
        got = targets(action, *BLOCKED, **options)
        np.testing.assert_array_equal(got, targets(whole, *BLOCKED, **options))
        assert np.isclose(got[0], 0.25 * whole)
