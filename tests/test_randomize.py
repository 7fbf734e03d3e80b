"""Domain randomisation: what each row changes, by hand and against C MuJoCo."""

import copy
import dataclasses
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
from scipy import stats

import mjxhand
from mjxhand import (
    disturb,
    mjx_steps,
    physics,
    pools,
    presets,
    randomize,
    rotations,
    scene,
)
from mjxhand.body import read
from mjxhand.config import Config, ConfigError, PhysicsConfig, SceneConfig
from mjxhand.native import ThreadedStepper, native_model
from mjxhand.physics_state import Variant, part
from mjxhand.simulate import simulate

N = 32  # one compiled shape for every test of MJX
CUPPED = SceneConfig(start_pose="cupped")
HOLD = jnp.full((N, 20), 5, jnp.int32)


@pytest.fixture(scope="module")
def made() -> scene.Scene:
    return scene.build(CUPPED)


@pytest.fixture(scope="module")
def env():
    return mjxhand.make(
        "reorient", impl="native", start_pose="cupped", pool_size=64, randomize="all"
    )


@pytest.fixture(scope="module")
def functions(env):
    return jax.jit(jax.vmap(env.reset)), jax.jit(jax.vmap(env.step))


def world_of(made, **drawn):
    """A World in which rows have these values, as `draw` makes it."""
    rows = {name: randomize.TABLE[name] for name in drawn}
    values = {
        name: np.broadcast_to(np.float32(x), randomize.SIZES[rows[name].size])
        for name, x in drawn.items()
    }
    model = copy.copy(made.mj_model)
    randomize.write(model, made, values)
    mujoco.mj_setConst(model, mujoco.MjData(model))
    return rows, model


def test_nothing_drawn_is_the_scene(made):
    """All factors 1: every field that a world has is the compiled model's, to rounding."""
    _, model = world_of(
        made, friction=1, link_mass=1, object_mass=1, object_size=1, damping=1, gain=1
    )
    for name in randomize.parts(made, randomize.TABLE):
        np.testing.assert_allclose(
            part(model, name), part(made.mj_model, name), rtol=1e-12, err_msg=name
        )


def test_rows_change_the_fields_they_name_and_no_others(made):
    """Every array of the model, before and after; those of no row stay as they are."""
    arrays = [
        name
        for name in dir(made.mj_model)
        if isinstance(getattr(made.mj_model, name), np.ndarray)
    ]
    # What mj_setConst makes besides and no step of ours reads: for cameras and lights that
    # follow a centre of mass, for muscles, for bodies that fall asleep.
    unread = {"cam_poscom0", "light_poscom0", "actuator_acc0", "dof_length"}
    for name, row in randomize.TABLE.items():
        if not row.fields:
            continue
        _, model = world_of(made, **{name: 1.25})
        changed = {
            field
            for field in arrays
            if not np.allclose(
                getattr(model, field), getattr(made.mj_model, field), rtol=1e-9, atol=0
            )
        }
        if not np.array_equal(model.opt.gravity, made.mj_model.opt.gravity):
            changed.add("opt.gravity")
        named = set(row.fields)
        assert changed <= named | unread, (name, changed - named)
        assert changed & named, name


def test_mass_and_size_by_hand(made):
    """A cube 10 % larger: mass 1.1³, inertia 1.1⁵; then 1.5 times as heavy."""
    cube = made.mj_model.body("cube").id
    before = made.mj_model
    _, model = world_of(made, object_size=1.1, object_mass=1.5)
    assert np.isclose(model.body_mass[cube] / before.body_mass[cube], 1.5 * 1.1**3)
    np.testing.assert_allclose(
        model.body_inertia[cube] / before.body_inertia[cube], 1.5 * 1.1**5, rtol=1e-6
    )
    # What MuJoCo's compiler makes of a cube of that edge and density.
    larger = scene.build(
        dataclasses.replace(CUPPED, cube_edge=0.055, cube_density=1.5 * 567)
    ).mj_model
    rows = {name: randomize.TABLE[name] for name in ("object_size", "object_mass")}
    for name, index in randomize.parts(made, rows).items():
        got, wanted = (part(m, name)[index] for m in (model, larger))
        np.testing.assert_allclose(got, wanted, rtol=1e-6, err_msg=name)


def free_fall(made, rows, model, **start):
    """Cube velocity after 80 ms of free fall far from the hand, by the stepper."""
    parts = randomize.parts(made, rows)
    stepper = ThreadedStepper(made.mj_model, 10, 1, parts)
    qpos = made.start_qpos.copy()
    qpos[24:27] = (2.0, 0.0, 2.0)
    values = [np.float32(part(model, k)[i]) for k, i in parts.items()]
    _, qvel, _, _ = stepper.step(
        qpos, np.zeros(30), np.zeros(30), made.start_ctrl, values
    )
    return qvel[made.cube_qvel][:3]


def test_gravity_and_mass_move_the_object_as_computed(made):
    """Fall with the free joint's damping b: v = (m/b) g (1 - exp(-b t/m))."""
    mass = made.mj_model.body_mass[made.mj_model.body("cube").id]
    b, t = CUPPED.object_damping, 0.08
    for factor in (0.5, 1.0, 2.0):
        v = free_fall(made, *world_of(made, object_mass=factor))
        m = factor * mass
        expected = -9.81 * m / b * (1 - np.exp(-b * t / m))
        np.testing.assert_allclose(v, [0, 0, expected], rtol=2e-3, atol=1e-6)
    pull = np.array([0.5, -1.0, 2.0])
    v = free_fall(made, *world_of(made, gravity=pull))
    scale = mass / b * (1 - np.exp(-b * t / mass))
    np.testing.assert_allclose(v, scale * (pull + [0, 0, -9.81]), rtol=2e-3)


def test_damping_and_gain_by_hand():
    """A servo holds kp (ctrl - angle) - damping · velocity: read from MuJoCo's forces."""
    made = scene.build(SceneConfig(object="none"))
    data = {}
    for name, row in (
        ("plain", {}),
        ("gain", {"gain": 1.5}),
        ("damping", {"damping": 2.0}),
    ):
        _, model = world_of(made, **row) if row else ({}, made.mj_model)
        d = data[name] = mujoco.MjData(model)
        d.qpos[:] = made.start_qpos
        d.qvel[:24] = 0.3
        d.ctrl[:] = made.start_ctrl + 0.05
        mujoco.mj_forward(model, d)
    plain = data["plain"]
    np.testing.assert_allclose(data["gain"].actuator_force, 1.5 * plain.actuator_force)
    np.testing.assert_allclose(
        data["damping"].qfrc_damper[:24], 2 * plain.qfrc_damper[:24]
    )
    assert np.abs(plain.actuator_force).min() > 0.01


def test_friction_decides_whether_the_cube_slides(made):
    """A cube on the tilted palm: it holds where µ > tan(tilt) and slides where it is not."""
    travelled = {}
    for factor in (0.3, 3.0):
        rows, model = world_of(made, friction=factor)
        states, _ = start(made, 16)
        parts = randomize.parts(made, rows)
        stepper = ThreadedStepper(made.mj_model, 10, 1, parts)
        values = [
            np.broadcast_to(np.float32(part(model, k)), (16, *part(model, k).shape))
            for k in parts
        ]
        now = (states.qpos, states.qvel, states.qacc_warmstart)
        tilted = np.tile(made.start_ctrl, (16, 1))
        tilted[:, 1] += 0.6  # WRJ0: fingers down
        for _ in range(6):
            now = stepper.step(*now[:3], tilted, values)
        moved = (
            now[3][:, made.sensors["cube_in_palm"]]
            - states.sensordata[:, made.sensors["cube_in_palm"]]
        )
        travelled[factor] = np.median(np.linalg.norm(moved, axis=1))
    assert travelled[0.3] > 1.5 * travelled[3.0]


def start(made, num):
    return pools.start_states(made, PhysicsConfig(), num, seconds=0.64, seed=0)


def test_native_steps_each_copy_in_its_own_world(env):
    """Bit for bit mj_step on a model with that copy's values, its late command included."""
    made, pool, worlds = env.scene, env.params.pool, env.params.worlds
    parts = randomize.parts(made, env.rows)
    stepper = ThreadedStepper(made.mj_model, 10, 2, parts)
    assert set(parts) == set(worlds.model)
    num = 9
    values = [worlds.model[name][:num] for name in parts]
    last = np.tile(made.start_ctrl, (num, 1))
    ctrl = last + np.random.default_rng(0).uniform(-0.3, 0.3, last.shape)
    delay = np.arange(num)
    state = [x[:num] for x in (pool.qpos, pool.qvel, pool.qacc_warmstart)]
    after = stepper.step(*state, ctrl, values, last, delay)
    for i in range(num):
        model = native_model(made.mj_model)
        for (name, index), value in zip(parts.items(), values, strict=True):
            part(model, name)[index] = value[i]
        data = mujoco.MjData(model)
        data.qpos[:], data.qvel[:], data.qacc_warmstart[:] = (x[i] for x in state)
        for k in range(10):
            data.ctrl[:] = last[i] if k < delay[i] else ctrl[i]
            mujoco.mj_step(model, data)
        np.testing.assert_array_equal(after[0][i], data.qpos)
        np.testing.assert_array_equal(after[3][i], data.sensordata)


def variants(env):
    last = jnp.tile(jnp.asarray(env.scene.start_ctrl, jnp.float32), (N, 1))
    worlds = jax.tree.map(lambda x: x[:N], env.params.worlds)
    return jax.vmap(lambda w, c: randomize.variant_of(w, env.scene, 10, c))(
        worlds, last
    )


@pytest.mark.slow
@pytest.mark.parametrize("impl", ["jax", "warp"])
def test_back_ends_agree_on_worlds(env, impl):
    """32 worlds of every row at once, with late commands: float32 against float64.

    As in test_physics: a contact that opens or closes within the 80 ms may part them.
    """
    if impl == "warp":
        pytest.importorskip("warp")
    variant = variants(env)
    assert len(np.unique(variant.delay)) > 3
    states = jax.tree.map(lambda x: jnp.asarray(x[:N]), env.params.pool)
    moves = np.random.default_rng(0).uniform(-0.1, 0.1, (N, 20))
    ctrl = jnp.asarray(env.scene.start_ctrl + moves, jnp.float32)
    native = jax.jit(jax.vmap(env.physics.step))(states, ctrl, variant)
    parts = randomize.parts(env.scene, env.rows)
    other = physics.make_physics(env.scene, PhysicsConfig(impl=impl), parts)
    got = jax.jit(jax.vmap(other.step))(states, ctrl, variant)
    hand = np.abs(got.qpos[:, :24] - native.qpos[:, :24]).max(1)
    cube = np.linalg.norm(got.qpos[:, 24:27] - native.qpos[:, 24:27], axis=1)
    for error, bound in ((hand, 1e-3), (cube, 2e-4)):
        assert np.median(error) < bound
        assert np.quantile(error, 0.9) < 10 * bound
    # The worlds are no detail: in the scene's own world the hand ends up elsewhere.
    plain = physics.make_physics(env.scene, PhysicsConfig(impl="native"))
    same = jax.jit(jax.vmap(plain.step))(states, ctrl)
    assert np.median(np.abs(same.qpos - native.qpos)[:, :24].max(1)) > 0.01


@pytest.mark.parametrize("name", randomize.TABLE)
def test_draws_follow_the_stated_distribution(made, name):
    row = randomize.TABLE[name]
    x = randomize.sample(row, np.random.default_rng(0), 2000)
    assert x.shape == (2000, randomize.SIZES[row.size])
    a, b = row.range
    if a == b:
        assert (x == a).all()
        return
    law = {
        "uniform": stats.uniform(a, b - a),
        "log-uniform": stats.loguniform(a, b) if a > 0 else None,
        "normal": stats.norm(a, b) if b > 0 else None,
    }[row.distribution]
    assert law is not None
    assert stats.kstest(x.ravel(), law.cdf).pvalue > 1e-3
    if row.distribution != "normal":
        assert a <= x.min()
        assert x.max() <= b


def test_sizes_are_those_of_the_hand(made):
    assert randomize.SIZES["each link"] == len(randomize.moving_links(made))
    assert randomize.SIZES["each servo"] == made.mj_model.nu
    for name, sensor in (
        ("each touch region", "touch"),
        ("each fingertip's axis", "fingertip"),
    ):
        place = made.sensors[sensor]
        assert randomize.SIZES[name] == place.stop - place.start


def test_off_costs_nothing_and_changes_nothing(env):
    """The compiled program of a step is the same text as without the table."""
    plain = mjxhand.make("reorient", impl="native", start_pose="cupped", pool_size=8)
    assert plain.params.worlds is None
    assert plain.rows == {}
    state = plain.reset(jax.random.PRNGKey(0))
    assert state.world is None
    body = read(plain.scene, state.physics)
    assert disturb.perceive(jax.random.PRNGKey(0), body, {}, None) is body
    program = str(jax.make_jaxpr(plain.step)(state, HOLD[0]))

    def bare(state, ctrl):
        return plain.physics.step(state, ctrl)

    # One call of the physics, with four arguments: no variant.
    (call,) = [x for x in program.splitlines() if "ffi_call" in x and "=" in x]
    (alone,) = [
        x
        for x in str(jax.make_jaxpr(bare)(state.physics, state.target)).splitlines()
        if "ffi_call" in x and "=" in x
    ]
    assert call.count("f32[") == alone.count("f32[")
    more = jax.make_jaxpr(env.step)(env.reset(jax.random.PRNGKey(0)), HOLD[0])
    assert len(more.eqns) > len(jax.make_jaxpr(plain.step)(state, HOLD[0]).eqns)


def test_a_world_lasts_an_episode_and_the_next_has_another(env, functions):
    reset, step = functions
    state = reset(jax.random.split(jax.random.PRNGKey(0), N))
    again = reset(jax.random.split(jax.random.PRNGKey(0), N))
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)
    first = jax.tree.map(np.asarray, state.world)
    for _ in range(3):
        state = step(state, HOLD)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(state.world), strict=True):
        np.testing.assert_array_equal(a, b)
    other = reset(jax.random.split(jax.random.PRNGKey(1), N))
    for name, x in other.world.drawn.items():
        assert len(np.unique(np.asarray(x), axis=0)) > N / 3, name
        assert not np.array_equal(x, first.drawn[name]), name


def test_a_start_state_comes_with_the_world_that_it_settled_in(env, functions):
    reset, _ = functions
    state = reset(jax.random.split(jax.random.PRNGKey(0), N))
    same = np.asarray(state.physics.qpos)[:, None] == env.params.pool.qpos
    rows, drawn = np.nonzero(same.all(-1))
    assert np.array_equal(rows, np.arange(N))
    assert len(set(drawn)) > N / 3
    for of_state, of_pool in zip(
        jax.tree.leaves(state.world), jax.tree.leaves(env.params.worlds), strict=True
    ):
        np.testing.assert_array_equal(of_state, of_pool[drawn])


def test_worlds_of_objects_that_fell_go_with_them(made, monkeypatch):
    """Each state tells the damping of its first joint in place of an angle."""

    def settle_once(scene, stepper, rng, num, steps, damping):
        qpos = np.zeros((num, 31))
        qpos[:, 0] = damping[:, 0]
        return qpos, np.zeros((num, 30)), np.zeros((num, 30)), np.zeros((num, 130))

    monkeypatch.setattr(physics, "settle_once", settle_once)
    monkeypatch.setattr(
        physics, "is_held", lambda scene, qpos, *_: qpos[:, 0] > np.median(qpos[:, 0])
    )
    rows = {"damping": randomize.TABLE["damping"]}
    states, worlds = physics.settle_in_worlds(made, PhysicsConfig(), 50, 0.08, 0, rows)
    assert worlds is not None
    assert len(set(states.qpos[:, 0])) == 50
    np.testing.assert_array_equal(worlds.model["dof_damping"][:, 0], states.qpos[:, 0])
    plain = made.mj_model.dof_damping[0]
    np.testing.assert_allclose(
        worlds.drawn["damping"][:, 0] * plain, states.qpos[:, 0], rtol=1e-6
    )


def test_the_pool_and_its_worlds_are_a_function_of_the_seed(env):
    a, b, c = (env.make_params(seed) for seed in (5, 5, 6))
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)
    assert not np.array_equal(a.worlds.drawn["gain"], c.worlds.drawn["gain"])
    # Each state has settled in its own world: held, and at rest in it.
    late = jax.jit(jax.vmap(env.physics.step))
    parts = jax.tree.map(lambda x: jnp.asarray(x[:N]), (a.pool, a.worlds))
    ctrl = jnp.tile(jnp.asarray(env.scene.start_ctrl, jnp.float32), (N, 1))
    variant = jax.vmap(lambda w, c: randomize.variant_of(w, env.scene, 10, c))(
        parts[1], ctrl
    )
    after = late(parts[0], ctrl, variant)
    moved = np.linalg.norm((after.qpos - parts[0].qpos)[:, 24:27], axis=1)
    assert np.median(moved) < 5e-4


def test_senses_err_as_the_table_says(env, functions):
    """Bias stays for the episode, noise is new at each step, both of the stated size."""
    rows = env.rows
    world = jax.tree.map(lambda x: jnp.asarray(x[0]), env.params.worlds)
    physics_state = jax.tree.map(lambda x: jnp.asarray(x[0]), env.params.pool)
    body = read(env.scene, physics_state)
    keys = jax.random.split(jax.random.PRNGKey(0), 4000)
    seen = jax.vmap(lambda k: disturb.perceive(k, body, rows, world))(keys)
    for name in ("joint_angle", "fingertip"):
        field = "fingertips" if name == "fingertip" else name
        error = np.asarray(getattr(seen, field) - getattr(body, field))
        np.testing.assert_allclose(
            error.mean(0),
            world.drawn[f"{name}_bias"],
            atol=4e-3 if name[0] == "j" else 2e-4,
        )
        sigma = randomize.TABLE[f"{name}_noise"].range[1]
        np.testing.assert_allclose(error.std(0), sigma, rtol=0.06)
    speed = np.asarray(seen.joint_velocity - body.joint_velocity)
    np.testing.assert_allclose(speed.std(0), 0.1, rtol=0.06)
    np.testing.assert_allclose(
        seen.touch,
        np.tile(body.touch * world.drawn["touch_gain"], (4000, 1)),
        rtol=1e-6,
    )
    off = np.asarray(seen.cube_pos - body.cube_pos - world.drawn["position_bias"])
    np.testing.assert_allclose(np.linalg.norm(off, axis=1), 0.001, rtol=1e-3)
    # No error tells another: 4,000 draws leave correlations of 0.016.
    turned = rotations.multiply(seen.cube_quat, rotations.conjugate(body.cube_quat))
    errors = (
        seen.joint_angle,
        seen.joint_velocity,
        seen.fingertips,
        off,
        turned[:, 1:],
    )
    likeness = np.corrcoef(np.concatenate(errors, axis=1), rowvar=False)
    assert np.abs(likeness - np.eye(len(likeness))).max() < 0.1
    # The reward's body is the true one, and so is what the critic sees besides.
    reset, _ = functions
    state = reset(jax.random.split(jax.random.PRNGKey(0), N))
    assert env.observation_sizes["privileged"] == 32
    np.testing.assert_array_equal(
        state.obs["privileged"][:, 25:28], state.physics.qpos[:, 24:27]
    )
    assert not np.allclose(state.obs["vision"][:, :3], state.physics.qpos[:, 24:27])
    assert not np.allclose(
        state.obs["proprioception"][:, :24], state.physics.qpos[:, :24], atol=1e-3
    )


def test_delay_is_in_whole_physics_steps_below_a_control_step(made):
    def steps(seconds, substeps=10):
        world = randomize.World(model={}, drawn={"delay": jnp.float32([seconds])})
        variant = randomize.variant_of(world, made, substeps, jnp.zeros(20))
        assert isinstance(variant, Variant)
        return int(variant.delay)

    assert [steps(x) for x in (0.0, 0.003, 0.005, 0.024, 0.04)] == [0, 0, 1, 3, 5]
    assert steps(0.04, substeps=3) == 2
    assert randomize.variant_of(None, made, 10, jnp.zeros(20)) is None


def test_until_a_command_arrives_the_servos_hold_the_one_before(env):
    told = []

    def step_told(state, ctrl, variant):
        told.append((ctrl, variant))
        return state, jnp.bool_(False)

    state = env.reset(jax.random.PRNGKey(0))
    target = state.target + 0.1
    back_end = physics.Physics(impl="none", step_told=step_told)
    simulate(back_end, env.scene, env.config, jax.random.PRNGKey(1), state, target)
    [(ctrl, variant)] = told
    np.testing.assert_array_equal(ctrl, target)
    np.testing.assert_array_equal(variant.last_ctrl, state.target)
    chex.assert_trees_all_equal(variant.model, state.world.model)


def test_a_late_command_in_mjx_by_hand():
    """Four physics steps of two servos."""
    last, now = np.array([0.1, 0.2]), np.array([0.3, 0.4])

    def held(delay):
        return mjx_steps._ctrls(now, Variant(model={}, last_ctrl=last, delay=delay), 4)

    for delay in range(4):
        expected = [last] * delay + [now] * (4 - delay)
        np.testing.assert_allclose(held(jnp.int32(delay)), expected, rtol=1e-6)
    assert held(None) is None


def test_friction_of_every_kind_is_scaled_alike(made):
    _, model = world_of(made, friction=1.25)
    plain = made.mj_model.pair_friction
    assert plain.shape[1] == 5
    np.testing.assert_allclose(model.pair_friction, 1.25 * plain)


def test_a_late_command_moves_the_hand_later(made):
    """With half a step's delay the hand has gone less far after it, but it has gone."""
    native = physics.make_physics(made, PhysicsConfig(impl="native"))
    states = jax.tree.map(jnp.asarray, start(made, 16)[0])
    last = jnp.asarray(made.start_ctrl, jnp.float32)

    def moved(delay):
        variant = Variant(model={}, last_ctrl=last, delay=jnp.int32(delay))
        step = jax.vmap(native.step, in_axes=(0, None, None))
        after = step(states, last + 0.2, variant)
        return float(np.abs(after.qpos - states.qpos)[:, 2:24].sum())

    assert 0.1 * moved(0) < moved(5) < 0.8 * moved(0)
    assert moved(9) < 0.2 * moved(0)


def test_a_state_without_a_world_is_refused(env):
    plain = mjxhand.make("reorient", impl="native", start_pose="cupped", pool_size=8)
    state = plain.reset(jax.random.PRNGKey(0))
    with pytest.raises(ConfigError, match="that randomises nothing was given to one"):
        env.step(state, HOLD[0])


def test_an_empty_hand_has_no_rows_of_an_object():
    env = mjxhand.make("opposition", impl="native", pool_size=16, randomize="all")
    assert not any(row.object for row in env.rows.values())
    worlds = env.params.worlds
    assert "link_mass" in worlds.drawn
    assert "object_mass" not in worlds.drawn
    # Hands of other weight and gain come to rest elsewhere.
    assert np.ptp(env.params.pool.qpos[:, :24], axis=0).max() > 0.01
    assert "randomised: all" in env.label


@pytest.mark.parametrize(
    ("word", "task", "message"),
    [
        (
            "frction",
            "reorient",
            "'frction' cannot be randomised; give none, all, or some",
        ),
        ("", "reorient", "'' cannot be randomised"),
        (
            "friction",
            "reach",
            "friction is about an object, and the hand of reach is empty",
        ),
    ],
)
def test_bad_rows_are_one_line(word, task, message):
    config = presets.PRESETS["smoke"]
    env = dataclasses.replace(config.env, task=task, randomize=word)
    with pytest.raises(ConfigError, match=message) as error:
        presets.check(dataclasses.replace(config, env=env), 1)
    assert "\n" not in str(error.value)


def test_one_start_state_is_not_enough():
    env = dataclasses.replace(Config().env, randomize="gain", pool_size=1)
    with pytest.raises(ConfigError, match="every episode would have the same gain"):
        presets.check(dataclasses.replace(Config(), env=env), 1)


def test_the_documented_table_is_the_table():
    text = (Path(__file__).parent.parent / "docs" / "randomization.md").read_text()
    assert randomize.markdown() in text
