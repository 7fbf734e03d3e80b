"""Tasks other than turning the cube, variants of that, and tasks of a user's own."""

import dataclasses
import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import mjxhand
from mjxhand import (
    ConfigError,
    agent,
    disturb,
    pools,
    presets,
    rotations,
    symmetry,
    tasks,
    touch,
    train,
)
from mjxhand.body import read
from mjxhand.tasks import opposition, reach

N = 32
HOLD = jnp.full((N, 20), 5, jnp.int32)  # bin 5 of 0 … 10 is "no move"
KEYS = jax.random.split(jax.random.PRNGKey(0), N)


@dataclasses.dataclass
class Made:
    """An environment, its compiled functions, and N start states."""

    env: mjxhand.Env

    def __post_init__(self):
        self.reset = jax.jit(jax.vmap(self.env.reset))
        self.step = jax.jit(jax.vmap(self.env.step))
        self.start = self.reset(KEYS)


def make(task, **changes) -> Made:
    return Made(mjxhand.make(task, impl="native", pool_size=16, **changes))


@pytest.fixture(scope="module", autouse=True)
def few_postures():
    """Reach draws its goals from fewer postures, so that they are made sooner."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reach, "POSTURES", 128)
        yield


@pytest.fixture(scope="module")
def reaching() -> Made:
    return make("reach", max_goals=2)


@pytest.fixture(scope="module")
def opposing() -> Made:
    return make("opposition", sequence="ff_lf_mf", max_goals=4)


@pytest.fixture(scope="module")
def made(reaching, opposing):
    return {"reach": reaching, "opposition": opposing}


# Laws of every task with an empty hand.


@pytest.mark.parametrize("name", ["reach", "opposition"])
def test_the_hand_is_empty_and_nothing_moves_the_parked_body(made, name):
    env, state = made[name].env, made[name].start
    assert env.scene.object == "none"
    assert not np.any(
        env.scene.mj_model.geom_bodyid == env.scene.mj_model.body("cube").id
    )
    parked = np.asarray(state.physics.qpos[:, env.scene.cube_qpos])
    for _ in range(5):
        action = jax.random.randint(jax.random.PRNGKey(1), (N, 20), 0, 11)
        state = made[name].step(state, action)
    assert np.allclose(state.physics.qpos[:, env.scene.cube_qpos], parked, atol=1e-6)
    assert not np.any(state.terminated)


@pytest.mark.parametrize("name", ["reach", "opposition"])
def test_streams_metrics_and_rewards_are_what_the_task_names(made, name):
    env, start = made[name].env, made[name].start
    assert {k: v.shape for k, v in start.obs.items()} == {
        k: (N, size) for k, size in env.observation_sizes.items()
    }
    state = made[name].step(start, HOLD)
    assert set(state.metrics) == set(start.metrics) == set(env.metrics)
    terms = {k for k in state.metrics if k.startswith("reward/")}
    assert terms == {
        f"reward/{term}" for term in ("time", "progress", "success", "force")
    }
    total = sum(state.metrics[term] for term in terms)
    assert np.allclose(state.reward, total, atol=1e-6)


@pytest.mark.parametrize("name", ["reach", "opposition"])
def test_goals_are_never_already_reached_and_progress_sums_to_distance(made, name):
    state = made[name].start
    assert state.distance.min() > made[name].env.task.threshold
    assert np.allclose(state.metrics["distance"], state.distance)
    first, paid = np.asarray(state.distance), np.zeros(N)
    for t in range(10):
        action = jax.random.randint(jax.random.PRNGKey(t), (N, 20), 0, 11)
        state = made[name].step(state, action)
        paid += np.asarray(state.metrics["reward/progress"])
    still = np.asarray(state.goals) == 0
    assert np.mean(still) > 0.5
    assert np.allclose(paid[still], (first - state.distance)[still], atol=1e-5)


@pytest.mark.parametrize("name", ["reach", "opposition"])
def test_an_object_in_the_way_and_a_curriculum_are_refused(name):
    with pytest.raises(ConfigError, match="empty hand"):
        mjxhand.make(name, object="cube")
    grown = dataclasses.replace(
        presets.PRESETS[name], curriculum=presets.PRESETS["laptop"].curriculum
    )
    with pytest.raises(ConfigError, match="no goal angles to grow"):
        presets.check(grown, num_devices=1)


# Reach.


def test_reach_goals_are_fingertips_of_postures_that_servos_hold(reaching):
    task, scene = reaching.env.task, reaching.env.scene
    goals = np.asarray(reaching.env.params.goals)
    assert goals.shape == (reach.POSTURES, 15)
    assert np.isfinite(goals).all()
    assert np.array_equal(goals, task.make_goals(0))
    assert not np.array_equal(goals, task.make_goals(1))
    # With the wrist held, postures are those of the fingers alone: nearer to the start's.
    config = dataclasses.replace(
        reaching.env.config,
        env=dataclasses.replace(reaching.env.config.env, hold_wrist=True),
    )
    near = type(task)(config, scene).make_goals(0)
    spread = goals.std(0).mean()
    assert 0 < near.std(0).mean() < 0.8 * spread
    # A fingertip is never farther from the palm than the straight finger is long.
    data = mujoco.MjData(scene.mj_model)
    data.qpos[:] = scene.start_qpos
    mujoco.mj_forward(scene.mj_model, data)
    for i, finger in enumerate(("ff", "mf", "rf")):
        # The wrist moves the knuckle, by less than its own distance from the wrist.
        knuckle = data.body(f"{finger}knuckle").xpos
        far = np.linalg.norm(goals[:, 3 * i : 3 * i + 3] - knuckle, axis=1)
        assert far.max() < 0.096 + 0.14
    assert goals.reshape(-1, 5, 3).std(0).min() > 0.004


def test_reach_distance_by_hand(reaching):
    env = reaching.env
    one = jax.tree.map(lambda x: x[0], reaching.start)
    body = read(env.scene, one.physics)
    # Four tips in place, the fifth off by 3, 4 and 0 cm: a mean of 5 cm / 5.
    goal = body.fingertips.at[12:].add(jnp.array([0.03, 0.04, 0.0]))
    assert np.isclose(env.task.distance(goal, body), 0.01, atol=1e-6)
    obs = env.observe(body, goal, one.key)
    assert np.allclose(obs["privileged"], [*[0.0] * 12, 0.03, 0.04, 0.0], atol=1e-6)
    assert np.allclose(obs["goal"], goal)
    assert np.allclose(obs["vision"], body.fingertips)


def test_reach_success_gives_another_goal_and_the_last_completes(reaching):
    tips = reaching.env.scene.sensors["fingertip"]
    goal = reaching.start.physics.sensordata[:, tips] + 0.004
    state = reaching.step(reaching.start.replace(goal=goal), HOLD)
    assert np.all(state.metrics["success"] == 1)
    assert np.all(state.goals == 1)
    assert np.all(state.goal_step == 0)
    assert state.distance.min() > 0.02
    assert not np.any(state.truncated)
    goal = state.physics.sensordata[:, tips]
    state = reaching.step(state.replace(goal=goal), HOLD)
    assert np.all(state.truncated & (state.metrics["complete"] == 1))


def test_postures_lie_half_way_from_the_start_to_any(reaching, monkeypatch):
    """Along each servo: uniform within the half of its range on either side of the start."""
    scene, held = reaching.env.scene, []

    def hold(scene, cfg, targets, seconds):
        held.append(targets)
        return pools.hold(scene, cfg, targets[:1], 0.08)

    monkeypatch.setattr(reach, "pools", types.SimpleNamespace(hold=hold))
    reaching.env.task.make_goals(0)
    low, high = scene.ctrl_range.T
    away = (held[0] - scene.start_ctrl) / (high - low)
    below, above = (
        0.5 * (end - scene.start_ctrl) / (high - low) for end in (low, high)
    )
    assert np.all((below <= away) & (away <= above))
    np.testing.assert_allclose(away.min(0), below, atol=0.05)
    np.testing.assert_allclose(away.max(0), above, atol=0.05)
    np.testing.assert_allclose(away.mean(0), (below + above) / 2, atol=0.06)


@pytest.mark.parametrize("name", ["reach", "opposition"])
def test_fingertips_that_are_seen_wrongly_mislead_the_policy_alone(made, name):
    env, start = made[name].env, made[name].start
    one = jax.tree.map(lambda x: x[0], start)
    body = read(env.scene, one.physics)
    seen = body.replace(fingertips=body.fingertips + 0.001 * jnp.arange(15.0))
    obs = env.task.observe(one.goal, body, seen)
    np.testing.assert_array_equal(obs["vision"], seen.fingertips)
    np.testing.assert_array_equal(obs["privileged"], one.obs["privileged"])
    if name == "reach":
        np.testing.assert_array_equal(obs["goal"], one.goal)
        relative = reach.Reach(
            dataclasses.replace(
                env.config,
                env=dataclasses.replace(env.config.env, goal_encoding="relative"),
            ),
            env.scene,
        )
        way = relative.observe(one.goal, body, seen)["goal"]
        np.testing.assert_allclose(way + seen.fingertips, one.goal, atol=1e-6)


# Opposition.


def with_tips(env, state, *, near=(), gap=0.015, felt=()):
    """A body whose fingers' tips lie 10 cm from the thumb's, those `near` at `gap`; the
    last links `felt` feel 1 N."""
    body = read(env.scene, jax.tree.map(lambda x: x[0], state.physics))
    thumb = np.array([0.4, 0.0, 0.05])
    gaps = [gap if f in near else 0.1 for f in opposition.FINGERS]
    tips = np.concatenate([*(thumb + [gap, 0, 0] for gap in gaps), thumb])
    pads = np.zeros(92)
    for name in felt:
        pads[[p.name for p in touch.PADS].index(f"touch_{name}tip_tip")] = 1.0
    return body.replace(
        fingertips=jnp.asarray(tips, jnp.float32), touch=jnp.asarray(pads, jnp.float32)
    )


def test_opposition_touches_by_hand(opposing):
    env, task = opposing.env, opposing.env.task
    goal = opposition.Goal(finger=jnp.int32(1), place=jnp.int32(0))  # mf

    def reached(near, felt):
        body = with_tips(env, opposing.start, near=near, felt=felt)
        return bool(task.reached(goal, body, task.distance(goal, body)))

    assert reached(near=["mf"], felt=["mf", "th"])
    assert not reached(near=[], felt=["mf", "th"])
    assert not reached(near=["ff"], felt=["ff", "th"])
    assert not reached(near=["mf", "ff"], felt=["mf", "th"])  # two at once
    assert not reached(near=["mf"], felt=["mf"])  # near, but no touch
    assert not reached(near=["mf"], felt=["ff", "th"])
    assert opposition.TIP_PADS.sum(axis=1).tolist() == [5] * 5
    body = with_tips(env, opposing.start, near=("mf",))
    assert np.allclose(task.gaps(body), [0.1, 0.015, 0.1, 0.1], atol=1e-6)
    obs = task.observe(goal, body, body)
    assert obs["goal"].tolist() == [0, 1, 0, 0]
    assert np.allclose(
        obs["privileged"], [0.015, 0, 0, 0.1, 0.015, 0.1, 0.1], atol=1e-6
    )


def test_opposition_follows_its_sequence_again_and_again(opposing):
    task, body = opposing.env.task, with_tips(opposing.env, opposing.start)
    goal = task.first_goal(jax.random.PRNGKey(0), body, None)
    order = [int(goal.finger)]
    for _ in range(6):
        goal = task.next_goal(jax.random.PRNGKey(0), goal, body, None)
        order.append(int(goal.finger))
    assert order == [0, 3, 1, 0, 3, 1, 0]  # ff_lf_mf


def test_opposition_in_an_order_never_begins_with_a_touched_finger(opposing):
    """As it would where `keep_state` begins an episode at a finger that was held."""
    task = opposing.env.task
    for near, first in (((), 0), (("ff",), 3), (("ff", "lf"), 1), (("lf",), 0)):
        body = with_tips(opposing.env, opposing.start, near=near)
        goal = task.first_goal(jax.random.PRNGKey(0), body, None)
        assert int(goal.finger) == first  # of ff_lf_mf
        following = task.next_goal(jax.random.PRNGKey(0), goal, body, None)
        assert int(following.finger) == {0: 3, 3: 1, 1: 0}[first]


def test_opposition_at_random_never_asks_for_the_finger_just_touched():
    task = mjxhand.make("opposition", impl="native", pool_size=8).task
    env = mjxhand.make("opposition", impl="native", pool_size=8)
    start = jax.vmap(env.reset)(KEYS[:2])
    body = with_tips(env, start, near=("rf",))
    keys = jax.random.split(jax.random.PRNGKey(4), 3000)
    goal = opposition.Goal(finger=jnp.int32(2), place=jnp.int32(0))
    nexts = jax.vmap(lambda k: task.next_goal(k, goal, body, None).finger)(keys)
    firsts = jax.vmap(lambda k: task.first_goal(k, body, None).finger)(keys)
    for drawn in (nexts, firsts):
        counts = np.bincount(drawn, minlength=4)
        assert counts[2] == 0
        assert np.all(np.abs(counts[[0, 1, 3]] - 1000) < 120)


@pytest.mark.parametrize(
    ("sequence", "word"),
    [("ff_xx", "'xx' is no finger"), ("ff_ff_mf", "itself"), ("ff_mf_ff", "itself")],
)
def test_a_bad_sequence_is_one_line(sequence, word):
    with pytest.raises(ConfigError, match=word) as caught:
        mjxhand.make("opposition", sequence=sequence)
    assert "\n" not in str(caught.value)


def test_one_finger_alone_is_a_goal_when_nothing_follows():
    env = mjxhand.make(
        "opposition", sequence="rf", max_goals=1, impl="native", pool_size=1
    )
    state = env.reset(jax.random.PRNGKey(0))
    assert int(state.goal.finger) == 2
    with pytest.raises(ConfigError, match="one finger alone needs --env"):
        mjxhand.make("opposition", sequence="rf")


@pytest.mark.parametrize("name", ["reorient", "reach"])
def test_a_sequence_is_refused_where_goals_have_no_order(name):
    with pytest.raises(ConfigError, match="have no order"):
        mjxhand.make(name, sequence="l_r")


# Variants of reorient.


def test_errors_of_vision_have_the_stated_size():
    env = mjxhand.make(
        "reorient",
        impl="native",
        pool_size=8,
        pose_noise_angle=np.radians(5.0),
        pose_noise_position=0.00371,
    )
    body = read(env.scene, jax.tree.map(lambda x: x[0], env.params.pool))
    keys = jax.random.split(jax.random.PRNGKey(0), 20_000)
    seen = jax.vmap(lambda key: disturb.perceive(key, body, env.rows, None))(keys)
    shift = np.linalg.norm(seen.cube_pos - body.cube_pos, axis=1)
    assert np.allclose(shift, 0.00371, atol=1e-6)
    quat = np.asarray(seen.cube_quat)
    assert np.allclose(np.linalg.norm(quat, axis=1), 1, atol=1e-5)
    error = (
        Rotation.from_quat(quat, scalar_first=True)
        * Rotation.from_quat(np.asarray(body.cube_quat), scalar_first=True).inv()
    )
    angle = np.degrees(error.magnitude())
    # |N(0, σ)|: a mean of σ √(2/π), a root mean square of σ.
    assert np.isclose(angle.mean(), 5.0 * np.sqrt(2 / np.pi), rtol=0.02)
    assert np.isclose(np.sqrt(np.mean(angle**2)), 5.0, rtol=0.02)
    axis = error.as_rotvec() / np.maximum(error.magnitude(), 1e-9)[:, None]
    assert np.abs(axis.mean(0)).max() < 0.02
    assert np.allclose(axis.T @ axis / len(axis), np.eye(3) / 3, atol=0.02)
    assert disturb.perceive(keys[0], body, {}, None) is body


def test_noisy_pose_reaches_the_policy_only_and_the_critic_sees_the_truth():
    noisy = make("reorient", pose_noise_angle=0.1, goal_encoding="relative")
    obs, qpos = noisy.start.obs, noisy.start.physics.qpos
    assert noisy.env.observation_sizes["privileged"] == 32
    true = rotations.canonical(qpos[:, 27:])
    assert np.allclose(obs["privileged"][:, 25:28], qpos[:, 24:27])
    assert np.allclose(
        rotations.angle_between(obs["privileged"][:, 28:], true), 0, atol=2e-3
    )
    off = rotations.angle_between(obs["vision"][:, 3:], true)
    assert 0.02 < np.mean(off) < 0.2
    # The rotation still to make is the one from the pose as seen: no way round the noise.
    there = rotations.multiply(obs["goal"], obs["vision"][:, 3:])
    assert np.allclose(rotations.angle_between(there, noisy.start.goal), 0, atol=2e-3)
    # Distance and reward are of the true pose; each step has another error.
    state = noisy.step(noisy.start, HOLD)
    assert np.allclose(
        state.distance,
        rotations.angle_between(state.goal, state.physics.qpos[:, 27:]),
        atol=2e-3,
    )
    a = rotations.multiply(obs["vision"][:, 3:], rotations.conjugate(true))
    truth = rotations.canonical(state.physics.qpos[:, 27:])
    b = rotations.multiply(state.obs["vision"][:, 3:], rotations.conjugate(truth))
    assert np.mean(rotations.angle_between(a, b)) > 0.02


def test_a_folded_pose_is_that_of_the_cube_as_seen():
    noisy = make("reorient", pose_noise_angle=0.1, pose_encoding="folded")
    obs = noisy.start.obs
    true = rotations.canonical(noisy.start.physics.qpos[:, 27:])
    folded = jax.vmap(symmetry.fold)(true)
    off = np.asarray(rotations.angle_between(obs["vision"][:, 3:], folded))
    assert 0.02 < np.median(off) < 0.2
    assert np.allclose(
        rotations.angle_between(obs["privileged"][:, 28:], true), 0, atol=2e-3
    )


def test_an_object_is_lost_beneath_the_palm_or_out_of_reach():
    task = mjxhand.make("reorient", impl="native", pool_size=2).task

    def lost(*place):
        body = types.SimpleNamespace(
            cube_in_palm=jnp.array(place), cube_height=-place[1]
        )
        return bool(task.dropped(body))

    # Out of the palm is -y; the fingertips of the open hand are 0.14 m away.
    assert not lost(0.0, -0.01, 0.0)
    assert lost(0.0, 0.01, 0.0)
    assert not lost(0.0, -0.036, 0.236)
    assert lost(0.0, -0.036, 0.24)


def test_pushes_kick_the_object_alone_at_the_stated_rate():
    env = mjxhand.make("reorient", impl="native", pool_size=8, push_speed=0.3)
    physics, world = jax.tree.map(
        lambda x: jnp.asarray(x[0]), (env.params.pool, env.params.worlds)
    )
    keys = jax.random.split(jax.random.PRNGKey(0), 10_000)
    kicked = jax.vmap(
        lambda key: disturb.push(key, physics, env.scene, world, 0.8, 0.08)
    )(keys)
    kick = np.asarray(kicked.qvel - physics.qvel)
    size = np.linalg.norm(kick[:, 24:27], axis=1)
    pushed = size > 0
    assert np.allclose(size[pushed], 0.3, atol=1e-5)
    assert np.isclose(pushed.mean(), 1 - np.exp(-0.1), atol=0.01)
    assert not kick[:, :24].any()
    assert not kick[:, 27:].any()
    assert np.abs(kick[pushed, 24:27].mean(0)).max() < 0.03
    assert disturb.push(keys[0], physics, env.scene, None, 0.8, 0.08) is physics


def test_pushes_move_the_object_and_the_label_tells():
    still, pushed = (
        make("reorient"),
        make("reorient", push_speed=0.5, push_seconds=0.01),
    )
    assert "pushed by 0.5 m/s about every 0.01 s" in pushed.env.label
    a = still.step(still.start, HOLD).physics.qpos
    b = pushed.step(pushed.start, HOLD).physics.qpos
    assert np.array_equal(still.start.physics.qpos, pushed.start.physics.qpos)
    assert np.median(np.linalg.norm((a - b)[:, 24:27], axis=1)) > 0.005


@pytest.mark.parametrize("threshold", [0.1, 0.2, 0.4])
def test_goals_about_the_vertical_axis_alone(threshold):
    env = mjxhand.make(
        "reorient", impl="native", pool_size=8, goal_axis="z", goal_angle_max=1.5,
        threshold=threshold,
    )  # fmt: skip
    assert "the vertical axis only" in env.label
    body = read(env.scene, jax.tree.map(lambda x: x[0], env.params.pool))
    keys = jax.random.split(jax.random.PRNGKey(0), 2000)
    goals = jax.vmap(lambda key: env.task.first_goal(key, body, env.params))(keys)
    now = Rotation.from_quat(np.asarray(body.cube_quat), scalar_first=True)
    turn = Rotation.from_quat(np.asarray(goals), scalar_first=True) * now.inv()
    vector = turn.as_rotvec()
    assert np.abs(vector[:, :2]).max() < 1e-5
    angle = np.abs(vector[:, 2])
    assert threshold < angle.min() < threshold + 0.02
    assert 1.48 < angle.max() < 1.5 + 1e-5
    assert 0.45 < (vector[:, 2] > 0).mean() < 0.55
    for off, reached in ((0.99, True), (1.01, False)):
        distance = jnp.float32(off * threshold)
        assert bool(env.task.reached(goals[0], body, distance)) == reached


def test_position_tolerance_and_threshold():
    strict = make("reorient", position_tolerance=0.02, threshold=0.1)
    env = strict.env
    assert "within 0.1 rad, within 20 mm of the place" in env.label
    assert strict.start.distance.min() > 0.1
    body = read(env.scene, jax.tree.map(lambda x: x[0], strict.start.physics))
    place = env.task.place
    for off, reached in ((0.019, True), (0.021, False)):
        there = body.replace(cube_in_palm=jnp.asarray(place + [0, off, 0], jnp.float32))
        assert (
            bool(env.task.reached(body.cube_quat, there, jnp.float32(0.05))) == reached
        )
        assert not env.task.reached(body.cube_quat, there, jnp.float32(0.15))
    assert mjxhand.make("reorient").task.place is None


@pytest.mark.parametrize(
    "settings",
    [
        {"cube_edge": 0.03},
        {"cube_edge": 0.05, "start_pose": "cupped"},
        {"cube_edge": 0.08, "start_pose": "cupped"},
        {"object": "sphere"},
    ],
)
def test_the_place_is_where_such_objects_settle(settings):
    env = mjxhand.make("reorient", position_tolerance=0.02, pool_size=128, **settings)
    pool, _ = pools.start_states(env.scene, env.config.physics, 128, 0.64, seed=1)
    settled = pool.sensordata[:, env.scene.sensors["cube_in_palm"]]
    assert np.linalg.norm(settled.mean(0) - env.task.place) < 0.005


# Tasks of a user's own.

MINE = '''
import jax.numpy as jnp
from mjxhand.networks import Baseline
from mjxhand.tasks import Task

class Fist(Task):
    """Close the hand: the mean joint angle above a half of its range."""
    object, measure, terms, metrics = "none", "openness", ("close", "time"), ("closed",)
    threshold = 0.3
    sizes = {"vision": 1, "goal": 1, "privileged": 1}

    def first_goal(self, key, body, params):
        return jnp.zeros(1)

    def distance(self, goal, body):
        return 1.0 - jnp.mean(body.joint_angle)

    def reward_terms(self, weights, *, progress, success, dropped, body):
        return {"close": progress, "time": jnp.float32(-weights.time)}

    def observe(self, goal, body, seen):
        return {name: self.distance(goal, body)[None] for name in self.sizes}

    def extra_metrics(self, goal, body):
        return {"closed": jnp.mean(body.joint_angle)}

class Wrong(Fist):
    sizes = {"vision": 2, "goal": 1, "privileged": 1}

class Unnamed(Fist):
    terms = ("time",)

class Slip(Fist):
    def observe(self, goal, body, seen):
        return {"vision": gaol}

class Half(Task):
    def distance(self, goal, body):
        return jnp.float32(1.0)

text = "no task"

def network(cfg, sizes, num_outputs):
    return Baseline(num_outputs, cfg.cell, (32,), 16)

def slip(cfg, sizes, num_outputs):
    return Baseline(num_outputs, cfg.cell, 32, 16)

def two_arguments(cfg, sizes):
    return Baseline(20, cfg.cell, (32,), 16)
'''


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    (tmp_path / "my_tasks.py").write_text(MINE)
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("my_tasks", None)


def test_a_network_by_import_path(own_module):
    config = presets.PRESETS["smoke"]
    sizes = mjxhand.make("reorient", impl="native", pool_size=8).observation_sizes

    def build(name):
        network = dataclasses.replace(config.network, name=name)
        changed = dataclasses.replace(config, network=network)
        presets.check(changed, num_devices=1)
        return agent.build(changed, sizes, 20)

    mine = build("my_tasks:network")
    assert type(mine.network).__name__ == "Baseline"
    kernel = mine.init(jax.random.PRNGKey(0))["params"]["policy"]["logits"]["kernel"]
    assert kernel.shape == (16, 20 * config.env.bins)
    for name, words in (
        ("my_tasks:text", "cannot be called"),
        ("my_tasks:nothing", "has no 'nothing'"),
        ("fpm", "choose one of fpn, baseline, mlp, lstm, or give your own"),
    ):
        with pytest.raises(ConfigError, match=words) as caught:
            build(name)
        assert "\n" not in str(caught.value)


def test_a_task_by_import_path(own_module):
    own = make("my_tasks:Fist")
    assert own.env.label == "fist"
    state = own.step(own.start, HOLD)
    assert {"reward/close", "reward/time", "openness", "closed"} <= set(state.metrics)
    assert np.allclose(state.metrics["openness"], 1 - state.metrics["closed"])


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("my_tasks:Fits", "'my_tasks' has no 'Fits'"),
        ("my_tusks:Fist", "cannot import 'my_tusks'.*in the folder of my_tusks.py"),
        ("broken:Task", "nothing_of_that_name"),
        ("my_tasks:text", "no subclass of"),
        ("my_tasks:Half", "which lacks first_goal, sizes, observe: see"),
        (":Fist", "as module:name"),
        ("my_tasks:", "as module:name"),
        ("fist", "or give your own as module:Class"),
    ],
)
def test_a_path_that_leads_nowhere_is_one_line(own_module, path, words):
    with pytest.raises(ConfigError, match=words) as caught:
        mjxhand.make(path)
    assert "env.task" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "words"),
    [("my_tasks:Wrong", "its sizes say"), ("my_tasks:Unnamed", "reward/close")],
)
def test_a_task_that_contradicts_itself_is_one_line(own_module, path, words):
    env = mjxhand.make(path, impl="native", pool_size=8)
    with pytest.raises(ConfigError, match=words):
        env.step(env.reset(KEYS[0]), HOLD[0])


@pytest.mark.parametrize(
    ("option", "name", "words"),
    [
        ("--env.task", "Wrong", "its sizes say"),
        ("--env.task", "Unnamed", "reward/close"),
        ("--network.name", "two_arguments", "called as two_arguments.config.network"),
        ("--network.name", "text", "cannot be called"),
    ],
)
def test_what_contradicts_itself_is_refused_before_there_is_a_folder(
    own_module, capsys, option, name, words
):
    argv = ["smoke", option, f"my_tasks:{name}", "--out", "run"]
    assert train.main(argv) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(words, line)
    assert not (own_module / "run").exists()


@pytest.mark.parametrize(
    ("option", "name", "error"),
    [
        ("--env.task", "Slip", NameError),
        ("--network.name", "slip", TypeError),  # sizes of its layers are no tuples
    ],
)
def test_a_slip_inside_keeps_its_traceback_and_makes_no_folder(
    own_module, option, name, error
):
    with pytest.raises(error):
        train.main(["smoke", option, f"my_tasks:{name}", "--out", "run"])
    assert not (own_module / "run").exists()


@pytest.mark.slow
def test_commands_run_a_task_of_ones_own(own_module):
    """Trained, recorded, resumed, evaluated and filmed by its import path."""
    # The commands start in another folder, where an uninstalled checkout is not importable.
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}

    def run(command, *args):
        done = subprocess.run(
            [sys.executable, "-m", f"mjxhand.{command}", *map(str, args)],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env=env,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    smoke = ["smoke", "--env.task", "my_tasks:Fist", "--total-steps", 256]
    run("train", *smoke, "--out", "run", "--no-film", "--evaluate-episodes", 0)
    config = json.loads((own_module / "run" / "config.json").read_text())
    assert config["env"]["task"] == "my_tasks:Fist"
    run("train", "--resume", "run", "--total-steps", 512)
    assert "fist, native physics" in run("evaluate", "run", "--episodes", 2)
    run("render", "run", "--seconds", 0.5, "--width", 64, "--height", 48)
    assert (own_module / "run" / "film.mp4").stat().st_size > 500


def test_every_task_is_named_and_documented():
    assert list(tasks.TASKS) == ["reorient", "chain", "reach", "opposition"]
    for task in tasks.TASKS.values():
        text = sys.modules[task.__module__].__doc__ or ""
        assert all(
            f"\n{word:10}" in text for word in ("Goal", "Reward", "Success", "End")
        )
