"""The environment on native physics: goals, rewards, ends, control, senses."""

import dataclasses

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
from scipy import stats
from scipy.spatial.transform import Rotation

import mjxhand
from mjxhand import ConfigError, rotations
from mjxhand import env as env_module
from mjxhand.body import read

N = 64
HOLD = jnp.full((N, 20), 5, jnp.int32)  # bin 5 of 0 … 10 is "no move"


@pytest.fixture(scope="module")
def env():
    return mjxhand.make("reorient", impl="native", pool_size=256, max_goals=3)


@pytest.fixture(scope="module")
def reset(env):
    return jax.jit(jax.vmap(env.reset))


@pytest.fixture(scope="module")
def step(env):
    return jax.jit(jax.vmap(env.step))


@pytest.fixture
def start(reset):
    return reset(jax.random.split(jax.random.PRNGKey(0), N))


def scipy_angle(q, p):
    a, b = (Rotation.from_quat(np.asarray(x, float), scalar_first=True) for x in (q, p))
    return (a * b.inv()).magnitude()


def with_qpos(state, **changes):
    """`state` with hand or cube positions set: `cube=[..., 7]`, `hand=[..., 24]`."""
    qpos = np.array(state.physics.qpos)
    if "cube" in changes:
        qpos[:, 24:31] = changes["cube"]
    if "hand" in changes:
        qpos[:, :24] = changes["hand"]
    return state.replace(physics=state.physics.replace(qpos=jnp.asarray(qpos)))


def test_streams(env, start):
    sizes = {
        "vision": 7,
        "proprioception": 48,
        "touch": 92,
        "goal": 4,
        "privileged": 25,
    }
    assert env.observation_sizes == sizes
    assert {k: v.shape for k, v in start.obs.items()} == {
        k: (N, n) for k, n in sizes.items()
    }
    qpos, qvel = start.physics.qpos, start.physics.qvel
    assert np.array_equal(start.obs["proprioception"][:, :24], qpos[:, :24])
    assert np.array_equal(start.obs["proprioception"][:, 24:], qvel[:, :24])
    assert np.array_equal(start.obs["vision"][:, :3], qpos[:, 24:27])
    assert np.allclose(
        scipy_angle(start.obs["vision"][:, 3:], qpos[:, 27:]), 0, atol=1e-3
    )
    assert np.all(start.obs["vision"][:, 3] >= 0)
    assert np.array_equal(start.obs["goal"], start.goal)
    assert np.all(start.obs["touch"] >= 0)
    assert np.any(start.obs["touch"] > 0)


def test_no_product_of_the_environment_is_rounded():
    """As on NVIDIA GPUs, unless told not to: a tenth of a millimetre of a cube's height."""
    env = mjxhand.make("reorient", impl="native", pool_size=8, pose_encoding="folded")
    key = jax.random.PRNGKey(0)
    state = env.reset(key)
    programs = {
        "reset": jax.jit(env.reset).lower(key),
        "step": jax.jit(env.step).lower(state, HOLD[0]),
        "go_on": jax.jit(env.go_on).lower(state, key, env.params),
    }
    for name, program in programs.items():
        lines = program.as_text().splitlines()
        products = [line for line in lines if "stablehlo.dot_general" in line]
        assert products, name
        assert all("[HIGHEST, HIGHEST]" in line for line in products), name


def test_reset_clears_everything(start):
    for name in ("goal_step", "episode_step", "goals", "reward"):
        assert not np.any(getattr(start, name))
    assert not np.any(start.terminated | start.truncated)
    assert np.allclose(start.target, start.target[0])


def test_same_key_same_state_and_observing_changes_nothing(env, start):
    one = jax.tree.map(lambda x: x[0], start)
    body = read(env.scene, one.physics)
    first, second = (env.observe(body, one.goal, one.key) for _ in range(2))
    for name in first:
        assert np.array_equal(first[name], second[name])
        assert np.allclose(first[name], one.obs[name], atol=1e-5)


def test_start_states_follow_the_seed(smoke):
    """So that runs of two seeds do not begin alike."""
    for seed in (0, 3):
        env = env_module.Env(dataclasses.replace(smoke, seed=seed))
        other = env.make_params(3 - seed).pool.qpos
        assert np.array_equal(env.params.pool.qpos, env.make_params(seed).pool.qpos)
        assert not np.array_equal(env.params.pool.qpos, other)


def test_goals_are_uniform_and_never_solved(env, reset):
    states = jax.vmap(env.reset)(jax.random.split(jax.random.PRNGKey(3), 4096))
    angle = scipy_angle(states.goal, states.physics.qpos[:, 27:])
    assert np.allclose(angle, states.distance, atol=1e-3)
    assert angle.min() > 0.4
    haar = lambda t: (t - np.sin(t)) / np.pi  # noqa: E731
    cdf = lambda t: (haar(t) - haar(0.4)) / (1 - haar(0.4))  # noqa: E731
    assert stats.kstest(angle, cdf).pvalue > 0.01
    # Uniform orientations carry any vector to one uniform on the sphere.
    axis = Rotation.from_quat(np.asarray(states.goal), scalar_first=True).apply(
        [0, 0, 1]
    )
    assert stats.kstest(axis[:, 2], stats.uniform(-1, 2).cdf).pvalue > 0.001


def test_near_goals_keep_within_their_limit(env):
    params = env.params.replace(goal_angle_max=np.float32(0.9))
    draw = jax.vmap(env.reset, in_axes=(0, None))
    states = draw(jax.random.split(jax.random.PRNGKey(3), 1000), params)
    assert states.distance.min() > 0.4
    assert states.distance.max() < 0.9 + 1e-3
    # Nor does rounding ever make the nearest a solved one.
    nearest = env.params.replace(goal_angle_max=np.float32(0.4004))
    states = draw(jax.random.split(jax.random.PRNGKey(3), 1000), nearest)
    assert states.distance.min() > 0.4002


def test_reward_terms(env, start, step):
    key = jax.random.PRNGKey(1)
    state = start
    for _ in range(5):
        key, k = jax.random.split(key)
        before = state
        state = step(state, jax.random.randint(k, (N, 20), 0, 11))
        m = state.metrics
        angle = scipy_angle(before.goal, state.physics.qpos[:, 27:])
        # The first step of an episode included: nothing of an earlier one remains.
        assert np.allclose(m["reward/progress"], before.distance - angle, atol=2e-3)
        assert np.allclose(m["reward/time"], -0.01)
        assert np.allclose(m["reward/success"], 5.0 * (angle < 0.4), atol=1e-6)
        force = env.scene.sensors["actuator_force"]
        squares = np.square(np.asarray(state.physics.sensordata)[:, force])[:, 2:]
        assert np.allclose(m["reward/force"], -0.001 * squares.sum(1), rtol=1e-3)
        total = sum(v for k, v in m.items() if k.startswith("reward/"))
        assert np.allclose(state.reward, total, atol=1e-5)


def test_success_sets_a_new_goal_at_once(start, step):
    cube = np.asarray(start.physics.qpos[:, 27:])
    # Half of them have the goal where the cube is, given with the other sign.
    goal = np.where(np.arange(N)[:, None] % 2, -cube, np.asarray(start.goal))
    state = step(
        start.replace(goal=jnp.asarray(goal), goal_step=start.goal_step + 7), HOLD
    )
    reached = np.arange(N) % 2 == 1
    assert np.array_equal(state.metrics["success"] > 0, reached)
    assert np.array_equal(state.goals, reached)
    assert np.array_equal(state.goal_step, np.where(reached, 0, 8))
    assert np.all(np.asarray(state.distance)[reached] > 0.4)
    assert np.allclose(
        state.distance, scipy_angle(state.goal, state.physics.qpos[:, 27:]), atol=2e-3
    )
    assert not np.any(state.terminated | state.truncated)
    # The next step is paid for the new goal alone.
    after = step(state, HOLD)
    moved = scipy_angle(after.physics.qpos[:, 27:], state.physics.qpos[:, 27:])
    assert np.all(np.abs(after.metrics["reward/progress"]) <= moved + 2e-3)


def test_return_and_length_are_those_of_the_whole_episode(start, step):
    """Three steps, a goal reached in the second."""
    first = step(start, HOLD)
    second = step(first.replace(goal=first.physics.qpos[:, 27:]), HOLD)
    third = step(second, HOLD)
    assert np.all(second.metrics["success"] == 1)
    paid = first.reward + second.reward + third.reward
    assert np.all(paid > 4)
    np.testing.assert_allclose(third.metrics["return"], paid, rtol=1e-5)
    assert np.all(third.metrics["length"] == 3)
    assert np.all(third.episode_step == 3)
    assert np.all(third.goal_step == 1)


def judged(state, i):
    """(success, dropped, timed out, invalid, terminated, truncated) of one of them."""
    names = ("success", "dropped", "timed_out", "invalid")
    marks = [state.metrics[name][i] > 0 for name in names]
    return (*map(bool, marks), bool(state.terminated[i]), bool(state.truncated[i]))


def test_ends_that_fall_together(env, start, step):
    """In one step: the goal reached or not, the last step for it or not, a drop or not."""
    cube = np.array(start.physics.qpos[:, 24:])
    site = np.asarray(start.physics.sensordata)[:, env.scene.sensors["cube_in_palm"]]
    normal = np.asarray(env.scene.palm_normal)
    assert np.all(site @ normal > 0)
    beneath, far, last, solved, broken = range(3), 3, (1, 4, 5), (0, 1, 4), 2
    cube[beneath, 2] -= 0.15
    # A hand's breadth beside the hand, and no lower than it was.
    cube[far, 0] += 0.3
    goal = np.array(start.goal)
    goal[list(solved)] = cube[list(solved), 3:]
    late = np.isin(np.arange(N), last)
    state = with_qpos(start, cube=cube).replace(
        goal=jnp.asarray(goal),
        goal_step=jnp.where(late, 99, start.goal_step).astype(jnp.int32),
    )
    qvel = state.physics.qvel.at[broken].set(jnp.nan)
    state = state.replace(physics=state.physics.replace(qvel=qvel))
    after = step(state, HOLD)
    yes, no = True, False
    assert judged(after, 0) == (no, yes, no, no, yes, no)  # there, but dropped
    assert judged(after, 1) == (no, yes, no, no, yes, no)  # and in the last step
    assert judged(after, 2) == (
        no,
        no,
        no,
        yes,
        yes,
        no,
    )  # beneath, and no state at all
    assert judged(after, 3) == (no, yes, no, no, yes, no)
    assert after.metrics["reward/drop"][3] == -20
    assert judged(after, 4) == (yes, no, no, no, no, no)  # there in the last step
    assert judged(after, 5) == (no, no, yes, no, no, yes)
    assert judged(after, 6) == (no, no, no, no, no, no)
    # Nor is anything paid, or another goal given, for one that was lost on the way.
    assert np.all(after.metrics["reward/success"][:4] == 0)
    assert np.array_equal(after.goals[:6], [0, 0, 0, 0, 1, 0])
    np.testing.assert_array_equal(after.goal[:2], goal[:2])


def test_a_quaternion_that_drifted_is_of_unit_length(env, start):
    """Back ends hold the cube's to rounding alone."""
    one = jax.tree.map(lambda x: x[0], start.physics)
    longer = one.replace(qpos=one.qpos.at[27:].multiply(1.5))
    body, expected = (read(env.scene, physics) for physics in (longer, one))
    np.testing.assert_allclose(body.cube_quat, expected.cube_quat, atol=1e-6)
    np.testing.assert_allclose(
        body.cube_angular_velocity, expected.cube_angular_velocity, atol=1e-5
    )


def test_every_draw_of_a_step_has_a_key_of_its_own(env, start, monkeypatch):
    """The push, the next goal, the senses, the next step."""
    drawn = {}

    def push(physics, scene, config, key, state, target):
        drawn["push"] = key
        return state.physics, jnp.bool_(True), jnp.bool_(False)

    def next_goal(key, goal, body, params):
        drawn["goal"] = key
        return goal

    def observe(body, goal, key, *more):
        drawn["senses"] = jax.random.fold_in(key, 2)
        return one.obs

    one = jax.tree.map(lambda x: x[0], start)
    monkeypatch.setattr(env_module, "simulate", push)
    monkeypatch.setattr(env.task, "next_goal", next_goal)
    monkeypatch.setattr(env, "observe", observe)
    after = env.step(one, HOLD[0])
    keys = [*drawn.values(), one.key, after.key]
    assert len({tuple(np.asarray(key)) for key in keys}) == len(keys) == 5


def test_contacts_that_were_lost_are_told(env, start, monkeypatch):
    one = jax.tree.map(lambda x: x[0], start)
    for lost in (True, False):
        monkeypatch.setattr(
            env_module,
            "simulate",
            lambda *_, lost=lost: (one.physics, jnp.bool_(True), jnp.bool_(lost)),
        )
        assert env.step(one, HOLD[0]).metrics["overflow"] == lost


def test_last_goal_completes_the_episode(start, step):
    state = start.replace(goal=start.physics.qpos[:, 27:], goals=start.goals + 2)
    state = step(state, HOLD)
    assert np.all(state.truncated)
    assert not np.any(state.terminated)
    assert np.all(state.metrics["complete"] == 1)


def test_time_limit_truncates(start, step):
    state = step(start.replace(goal_step=start.goal_step + 98), HOLD)
    assert not np.any(state.truncated)
    state = step(start.replace(goal_step=start.goal_step + 99), HOLD)
    assert np.all(state.truncated)
    assert not np.any(state.terminated)


@pytest.mark.parametrize("wrist", [(-0.489, -0.698), (0.0, 0.0), (0.14, 0.489)])
def test_drop_is_judged_against_the_palm(env, start, step, wrist):
    """A cube above the palm is held and one beneath it lost, however the wrist is bent."""
    model = env.scene.mj_model
    data = mujoco.MjData(model)
    data.qpos[:] = env.scene.start_qpos
    data.qpos[:2] = wrist
    mujoco.mj_kinematics(model, data)
    site = data.site("palm_centre")
    normal = site.xmat.reshape(3, 3) @ env.scene.palm_normal
    hand = np.tile(data.qpos[:24], (N, 1))
    for height, dropped in [(0.07, False), (-0.06, True)]:
        cube = np.tile([*(site.xpos + height * normal), 1.0, 0, 0, 0], (N, 1))
        state = start.replace(target=start.target.at[:, :2].set(jnp.array(wrist)))
        after = step(with_qpos(state, cube=cube, hand=hand), HOLD)
        assert np.all(after.terminated == dropped)
        assert np.all(after.metrics["dropped"] == dropped)
        assert np.allclose(after.metrics["reward/drop"], -20.0 * dropped)
        assert not np.any(after.truncated)


def test_a_state_that_is_no_number_ends_its_own_episode(start, step):
    qvel = start.physics.qvel.at[3].set(jnp.nan)
    state = step(start.replace(physics=start.physics.replace(qvel=qvel)), HOLD)
    bad = np.arange(N) == 3
    assert np.array_equal(state.terminated, bad)
    assert np.array_equal(state.metrics["invalid"] > 0, bad)
    others = jax.tree.map(lambda x: np.asarray(x)[~bad], state)
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(others))
    assert np.all(np.isfinite(state.reward))


def test_a_command_that_is_no_number_ends_its_own_episode():
    """C MuJoCo would take it for 0, of all servos and for the rest of the episode."""
    env = mjxhand.make("reorient", impl="native", pool_size=4, actions="continuous")
    start = jax.vmap(env.reset)(jax.random.split(jax.random.PRNGKey(0), 4))
    action = jnp.zeros((4, 20)).at[2, 5].set(jnp.nan)
    state = jax.jit(jax.vmap(env.step))(start, action)
    bad = np.arange(4) == 2
    assert np.array_equal(state.metrics["invalid"] > 0, bad)
    assert np.array_equal(state.terminated, bad)
    assert np.isfinite(state.reward).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e11])
def test_a_bad_state_leaves_its_neighbours_as_they_are(start, step, bad):
    """Also one beyond mjMAXVAL that is still a number; nothing of it is seen or paid."""
    physics = start.physics
    hurt = physics.replace(qvel=physics.qvel.at[3, 5].set(bad))
    action = jnp.full((len(start.reward), 20), 7)
    good, with_bad = step(start, action), step(start.replace(physics=hurt), action)
    assert with_bad.metrics["invalid"].sum() == with_bad.metrics["invalid"][3] == 1
    assert with_bad.terminated[3]
    for a, b in zip(jax.tree.leaves(good), jax.tree.leaves(with_bad), strict=True):
        others = np.arange(len(start.reward)) != 3
        np.testing.assert_array_equal(np.asarray(a)[others], np.asarray(b)[others])


def test_no_action_holds_the_cube(start, step):
    """Relative control keeps its target, so that doing nothing does not let go."""
    state = start
    for _ in range(25):
        state = step(state, HOLD)
    assert np.array_equal(state.target, start.target)
    assert np.mean(state.metrics["dropped"]) < 0.05


def test_control_modes(env, start):
    low, high = env.scene.ctrl_range.T
    half = (high - low) / 2
    one = jax.tree.map(lambda x: x[0], start)
    action = jnp.array([10, 0, *[5] * 18])

    def target(mode, **changes):
        cfg = dataclasses.replace(env.config.env, control=mode, **changes)
        config = dataclasses.replace(env.config, env=cfg)
        twin = mjxhand.Env.__new__(mjxhand.Env)
        twin.__dict__.update(env.__dict__, config=config)
        return np.asarray(twin.control(action, one.target, one.physics))

    absolute = target("absolute")
    assert np.allclose(absolute[:2], [high[0], low[1]], atol=1e-6)
    assert np.allclose(absolute[2:], (low + high)[2:] / 2, atol=1e-6)
    relative = target("relative_to_target", relative_step=0.1)
    assert np.allclose(relative[2:], one.target[2:], atol=1e-6)
    expected = np.clip(one.target[0] + 0.1 * half[0], low[0], high[0])
    assert np.isclose(relative[0], expected, atol=1e-6)
    measured = np.asarray(one.physics.qpos)[env.scene.actuated]
    got = target("relative_to_measured", relative_step=1.0)
    assert np.allclose(got[2:], np.clip(measured, low, high)[2:], atol=1e-6)
    assert np.isclose(
        got[1], np.clip(measured[1] - half[1], low[1], high[1]), atol=1e-6
    )
    held = target("absolute", hold_wrist=True)
    assert np.array_equal(held[:2], one.target[:2])  # joints WRJ1 and WRJ0
    assert np.array_equal(held[2:], absolute[2:])
    names = [env.scene.mj_model.actuator(i).name for i in range(3)]
    assert [name.startswith("WRJ") for name in names] == [True, True, False]


def test_continuous_actions_equal_the_bins(env, start, step):
    continuous = mjxhand.make(
        "reorient", impl="native", pool_size=256, max_goals=3, actions="continuous"
    )
    bins = jax.random.randint(jax.random.PRNGKey(2), (N, 20), 0, 11)
    a = step(start, bins)
    b = jax.jit(jax.vmap(continuous.step))(start, bins / 5.0 - 1.0)
    assert np.allclose(a.target, b.target, atol=1e-5)
    assert np.allclose(a.physics.qpos, b.physics.qpos, atol=1e-3)


def test_privileged_sees_the_remaining_rotation_and_world_velocities(env, start):
    turn = Rotation.from_quat(np.asarray(start.goal), scalar_first=True)
    turn = (
        turn
        * Rotation.from_quat(
            np.asarray(start.physics.qpos[:, 27:]), scalar_first=True
        ).inv()
    )
    seen = np.asarray(start.obs["privileged"])
    assert np.allclose(
        scipy_angle(seen[:, 15:19], turn.as_quat(scalar_first=True)), 0, atol=2e-3
    )
    # C MuJoCo's own object velocity, world frame, is the reference for the rest.
    model, data = env.scene.mj_model, mujoco.MjData(env.scene.mj_model)
    for i in range(4):
        data.qpos[:] = start.physics.qpos[i]
        data.qvel[:] = start.physics.qvel[i]
        mujoco.mj_forward(model, data)
        velocity = np.zeros(6)
        cube = model.body("cube").id
        mujoco.mj_objectVelocity(
            model, data, mujoco.mjtObj.mjOBJ_XBODY, cube, velocity, 0
        )
        assert np.allclose(seen[i, 19:22], velocity[3:], atol=1e-4)
        assert np.allclose(seen[i, 22:25], velocity[:3], atol=1e-4)


def test_relative_goal_is_the_remaining_rotation(start):
    env = mjxhand.make("reorient", impl="native", pool_size=8, goal_encoding="relative")
    one = jax.tree.map(lambda x: x[0], start)
    obs = env.observe(read(env.scene, one.physics), one.goal, one.key)
    cube = rotations.canonical(one.physics.qpos[27:])
    assert np.isclose(
        rotations.angle_between(rotations.multiply(obs["goal"], cube), one.goal),
        0.0,
        atol=1e-3,
    )


def test_labels_are_honest():
    full = mjxhand.make("reorient", impl="native", pool_size=8)
    near = mjxhand.make("reorient", impl="native", pool_size=8, goal_angle_max=1.0)
    assert "full task" in full.label
    assert "full task" not in near.label
    assert "1.00 rad" in near.label
    small = mjxhand.make("reorient", impl="native", pool_size=8, cube_edge=0.045)
    assert small.label.endswith(", cube sized 45 mm")
    for task in ("reach", "opposition"):
        assert "the wrist held" not in mjxhand.make(task, impl="native").label
        assert (
            "the wrist held" in mjxhand.make(task, impl="native", hold_wrist=True).label
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"thresold": 0.2}, "threshold"),
        ({"goal_angle_max": 0.3}, "goal_angle_max"),
        ({"impl": "nativ"}, "native"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        mjxhand.make("reorient", **change)


@pytest.mark.parametrize(
    ("task", "change", "name"),
    [
        ("reach", {"threshold": 0.005}, "env.threshold"),
        ("reach", {"drop": 40.0}, "env.reward.drop"),
        ("reorient", {"push_seconds": 1.0}, "env.push_seconds"),
        ("reach", {"cube_edge": 0.04}, "scene.cube_edge"),
    ],
)
def test_settings_that_would_do_nothing_are_refused(task, change, name):
    with pytest.raises(ConfigError, match=f"^{name} does nothing "):
        mjxhand.make(task, **change)


def test_unknown_task_is_refused():
    with pytest.raises(ConfigError, match="reorient"):
        mjxhand.make("reorientt")
