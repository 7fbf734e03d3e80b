"""The threshold that falls on schedule."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import probe_envs
import pytest
from test_ppo import TINY

from mjxhand import ConfigError, presets, rotations
from mjxhand.config import CurriculumConfig
from mjxhand.env import Env
from mjxhand.sharding import threshold_at

FALLING = CurriculumConfig(threshold_start=0.4, threshold_steps=1000)


def falling(**env):
    smoke = presets.PRESETS["smoke"]
    return dataclasses.replace(
        smoke,
        env=dataclasses.replace(smoke.env, pool_size=8, **{"threshold": 0.1, **env}),
        curriculum=FALLING,
    )


def test_it_falls_in_a_straight_line_and_stays():
    got = [float(threshold_at(falling(), jnp.int32(n))) for n in (0, 250, 1000, 5000)]
    np.testing.assert_allclose(got, [0.4, 0.325, 0.1, 0.1], rtol=1e-6)
    assert threshold_at(presets.PRESETS["smoke"], jnp.int32(0)) is None


def test_a_fall_may_take_more_steps_than_an_int32_holds():
    cfg = dataclasses.replace(
        falling(), curriculum=dataclasses.replace(FALLING, threshold_steps=4 * 10**9)
    )
    assert threshold_at(cfg, jnp.float32(10**9)) == pytest.approx(0.325)


def test_a_goal_counts_below_the_threshold_of_the_moment():
    env = Env(falling())
    step = jax.jit(env.step)
    state = env.reset(jax.random.PRNGKey(0))
    # Goals lie beyond the threshold of the moment: none is reached already, and once it has
    # fallen, as in an evaluation, near ones are among them.
    keys = jax.random.split(jax.random.PRNGKey(1), 256)
    reset = jax.vmap(env.reset, in_axes=(0, None))
    loose = env.params.replace(threshold=jnp.float32(0.4))
    assert reset(keys, loose).distance.min() > 0.4
    assert 0.1 < reset(keys, env.params).distance.min() < 0.2
    # 0.25 rad to go, the hand still: reached at 0.3, not at 0.2, nor without a schedule.
    turn = rotations.from_axis_angle(jnp.array([0.0, 0.0, 1.0]), jnp.float32(0.25))
    hold = jnp.full(20, 5, jnp.int32)
    for threshold, reached in ((0.3, True), (0.2, False), (None, False)):
        params = env.params
        if threshold is not None:
            params = params.replace(threshold=jnp.float32(threshold))
        at_rest = state
        for _ in range(10):
            at_rest = step(at_rest, hold, env.params)
        goal = rotations.multiply(turn, at_rest.physics.qpos[27:31])
        after = step(at_rest.replace(goal=rotations.canonical(goal)), hold, params)
        assert bool(after.metrics["success"]) == reached, threshold


def test_it_does_not_wrap_around_in_a_run_of_more_steps_than_an_int32_holds():
    program = probe_envs.program(dataclasses.replace(TINY, curriculum=FALLING))
    params = program._now(probe_envs.PARAMS, jnp.float32(1.0), jnp.int32(2**31 - 1))
    assert float(params.threshold) == pytest.approx(TINY.env.threshold)


def test_updates_carry_the_schedule_where_there_is_one():
    """Traced, not compiled."""
    for curriculum in (CurriculumConfig(), FALLING):
        config = dataclasses.replace(TINY, curriculum=curriculum)
        metrics = probe_envs.traced_update(config, probe_envs.Recall())
        assert ("threshold" in metrics) == (curriculum is FALLING)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"threshold": 0.5}, "must be above env.threshold"),
        ({"goal_angle_max": 0.3}, "below the farthest goal"),
        ({"task": "reach"}, "has no threshold that falls"),
        ({"task": "chain", "goal_angle_max": 3.0}, "has no threshold that falls"),
    ],
)
def test_schedules_that_cannot_be_are_one_line(env, message):
    with pytest.raises(ConfigError, match=message):
        presets.check(falling(**env), 1)
