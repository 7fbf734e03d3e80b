"""Goals that go on about one axis, and a cube seen without its letters."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import probe_envs
import pytest
from scipy.spatial.transform import Rotation
from test_ppo import TINY
from test_rotations import random_turns

import mjxhand
from mjxhand import ConfigError, presets, rotations, symmetry
from mjxhand.body import read
from mjxhand.config import CurriculumConfig
from mjxhand.env import Env

N = 64


def axes(goal, body_quat):
    """Axes `[N, 3]` of the turns from orientations to targets, by SciPy."""
    target, there = (
        Rotation.from_quat(np.asarray(q), scalar_first=True) for q in (goal, body_quat)
    )
    turn = (target * there.inv()).as_rotvec()
    return turn / np.linalg.norm(turn, axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def env():
    smoke = presets.PRESETS["smoke"]
    return Env(
        dataclasses.replace(
            smoke,
            env=dataclasses.replace(smoke.env, pool_size=N),
            curriculum=CurriculumConfig(onward=0.5),
        )
    )


@pytest.fixture(scope="module")
def start(env):
    return jax.vmap(env.reset)(jax.random.split(jax.random.PRNGKey(0), N))


def following(env, start, onward):
    """Axes before and after each of N goals, were they reached now."""
    params = env.params.replace(onward=onward)
    bodies = jax.vmap(lambda physics: read(env.scene, physics))(start.physics)
    keys = jax.random.split(jax.random.PRNGKey(1), N)
    after = jax.vmap(lambda *x: env.task.next_goal(*x, params))(
        keys, start.goal, bodies
    )
    there = start.physics.qpos[:, 27:]
    angle = np.asarray(rotations.angle_between(after.quat, there))
    assert angle.min() > env.task.threshold
    assert angle.max() <= env.config.env.goal_angle_max + 1e-3
    assert np.allclose(axes(after.quat, there), after.axis, atol=1e-2)
    return axes(start.goal.quat, there), np.asarray(after.axis)


def test_goals_go_on_about_the_axis_of_the_one_before(env, start):
    before, after = following(env, start, 1.0)
    assert np.allclose(before, after, atol=1e-2)


def test_with_the_probability_that_is_asked_for(env, start):
    before, after = following(env, start, 0.5)
    same = np.allclose
    count = sum(same(a, b, atol=1e-2) for a, b in zip(before, after, strict=True))
    assert abs(count - N / 2) < 16  # four standard deviations


def test_evaluation_gives_plain_goals(env, start):
    assert env.params.onward is None
    before, after = following(env, start, None)
    cosine = np.sum(before * after, -1)
    assert np.max(np.abs(cosine)) < 0.9999
    assert abs(cosine.mean()) < 4 / np.sqrt(3 * N)


def test_the_goal_that_is_seen_is_the_target(env, start):
    shown = np.asarray(jax.vmap(env.task.target)(start.goal))
    assert np.array_equal(shown, start.goal.quat)
    there = start.physics.qpos[:, 27:]
    back = rotations.multiply(start.obs["goal"], there)  # relative, in this preset
    assert np.allclose(rotations.angle_between(back, shown), 0, atol=2e-3)
    assert np.allclose(start.distance, rotations.angle_between(shown, there), atol=2e-3)


def test_only_updates_give_goals_that_go_on():
    """Traced, not compiled."""
    seen = []

    class Spy(probe_envs.Recall):
        def step(self, state, action, params=None):
            seen.append(params.onward)
            return super().step(state, action, params)

    for curriculum in (CurriculumConfig(), CurriculumConfig(onward=0.75)):
        config = dataclasses.replace(TINY, curriculum=curriculum)
        seen.clear()
        probe_envs.traced_update(config, Spy())
        assert set(seen) == {curriculum.onward or None}


def test_a_folded_orientation_is_the_same_for_all_look_alikes():
    quats = random_turns(500, seed=2)
    group = jnp.asarray(symmetry.GROUP, jnp.float32)
    alike = rotations.multiply(quats[:, None], group)  # turned in the cube's own frame
    folded = np.asarray(jax.vmap(jax.vmap(symmetry.fold))(alike))
    angle = rotations.angle_between(folded, folded[:, :1])
    assert np.max(angle) < 5e-3
    # Of the 24 it is the one nearest to the identity, by SciPy.
    every = Rotation.from_quat(np.asarray(alike).reshape(-1, 4), scalar_first=True)
    least = every.magnitude().reshape(500, 24).min(1)
    got = Rotation.from_quat(folded[:, 0], scalar_first=True).magnitude()
    np.testing.assert_allclose(got, least, atol=5e-3)


def test_a_cube_seen_without_letters_keeps_its_place_and_its_goal():
    plain, folded = (
        mjxhand.make(
            "reorient", impl="native", pool_size=8, goal_encoding="relative",
            pose_encoding=encoding,
        )
        for encoding in ("absolute", "folded")
    )  # fmt: skip
    key = jax.random.PRNGKey(0)
    a, b = plain.reset(key).obs, folded.reset(key).obs
    for name in ("proprioception", "touch", "goal", "privileged"):
        assert np.array_equal(a[name], b[name])
    assert np.array_equal(a["vision"][:3], b["vision"][:3])
    assert np.allclose(b["vision"][3:], symmetry.fold(a["vision"][3:]), atol=1e-6)
    assert "without letters" in folded.label
    assert "without letters" not in plain.label


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("reach", {"curriculum": CurriculumConfig(onward=0.5)}, "no axes to go on"),
        ("chain", {"curriculum": CurriculumConfig(onward=0.5)}, "no axes to go on"),
    ],
)
def test_tasks_without_axes_refuse(task, options, message):
    smoke = presets.PRESETS["smoke"]
    env = dataclasses.replace(smoke.env, task=task, goal_angle_max=3.0)
    with pytest.raises(ConfigError, match=message) as caught:
        Env(dataclasses.replace(smoke, env=env, **options))
    assert "\n" not in str(caught.value)


def test_only_cubes_have_look_alikes():
    with pytest.raises(ConfigError, match=r"folded is for a cube, not .* sphere"):
        mjxhand.make("reorient", pose_encoding="folded", object="sphere")
    mjxhand.make("reorient", pose_encoding="folded", object="cube")
