"""The back ends against plain mj_step and against each other."""

import builtins
import copy
import gc
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from mjxhand import mjx_steps, physics, scene
from mjxhand.config import ConfigError, PhysicsConfig, SceneConfig
from mjxhand.native import KEPT, ThreadedStepper, blocks
from mjxhand.physics_state import part

BATCH = 32  # one compiled shape for every test of MJX
CUPPED = SceneConfig(start_pose="cupped")


@pytest.fixture(scope="module")
def made() -> scene.Scene:
    return scene.build(CUPPED)


@pytest.fixture(scope="module")
def settled(made) -> physics.PhysicsState:
    return physics.settle(made, PhysicsConfig(), num=256, seconds=0.64, seed=0)


@pytest.fixture(scope="module")
def native(made) -> physics.Physics:
    return physics.make_physics(made, PhysicsConfig(impl="native"))


@pytest.fixture(scope="module")
def mjx_told(made):
    """One control step of BATCH copies in MJX, compiled once; with its overflow flag."""
    mjx = physics.make_physics(made, PhysicsConfig(impl="jax"))
    return jax.jit(jax.vmap(mjx.step_told))


@pytest.fixture(scope="module")
def mjx_step(mjx_told):
    return lambda states, ctrl: mjx_told(states, ctrl)[0]


def first(states: physics.PhysicsState, num: int = BATCH) -> physics.PhysicsState:
    return jax.tree.map(lambda x: jnp.asarray(x[:num]), states)


def gentle_commands(made, steps: int, num: int = BATCH) -> np.ndarray:
    """float32[steps, num, 20]: targets that wander from the start pose."""
    low, high = made.ctrl_range.T
    moves = np.random.default_rng(0).uniform(-0.1, 0.1, (steps, num, 20))
    targets = made.start_ctrl + np.cumsum(moves, 0) * (high - low) / 2
    return np.clip(targets, low, high).astype(np.float32)


def test_auto_is_native_on_a_cpu(made):
    assert jax.default_backend() == "cpu"
    assert physics.make_physics(made, PhysicsConfig()).impl == "native"


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        (PhysicsConfig(substeps=0), "substeps"),
        (PhysicsConfig(threads=-1), "threads"),
        (PhysicsConfig(impl="cuda"), "choose one of auto, native, jax, warp"),  # type: ignore
    ],
)
def test_bad_settings_say_what_to_do(made, cfg, message):
    with pytest.raises(ConfigError, match=message):
        physics.make_physics(made, cfg)


def test_missing_warp_says_how_to_install_it(made, monkeypatch):
    real = builtins.__import__

    def without_warp(name, *args, **kwargs):
        if name == "warp":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_warp)
    with pytest.raises(ConfigError, match=r"pip install 'mjxhand\[warp\]'"):
        physics.make_physics(made, PhysicsConfig(impl="warp"))


@pytest.mark.parametrize("threads", [1, 3])
def test_native_is_a_loop_of_mj_step(made, settled, threads):
    """Bit for bit, whatever the number of threads, warm start and sensors included."""
    stepper = ThreadedStepper(made.mj_model, substeps=10, threads=threads)
    num = 13
    state = [np.asarray(x[:num], np.float64) for x in
             (settled.qpos, settled.qvel, settled.qacc_warmstart)]  # fmt: skip
    data = [mujoco.MjData(stepper.model) for _ in range(num)]
    for i, d in enumerate(data):
        d.qpos[:], d.qvel[:], d.qacc_warmstart[:] = (x[i] for x in state)
    for ctrl in gentle_commands(made, steps=4, num=num):
        *state, sensordata = stepper.step(*state, ctrl)
        for i, d in enumerate(data):
            d.ctrl[:] = ctrl[i]
            for _ in range(10):
                mujoco.mj_step(stepper.model, d)
            np.testing.assert_array_equal(state[0][i], d.qpos)
            np.testing.assert_array_equal(state[1][i], d.qvel)
            np.testing.assert_array_equal(state[2][i], d.qacc_warmstart)
            np.testing.assert_array_equal(sensordata[i], d.sensordata)
    assert (sensordata[:, made.sensors["touch"]] > 0).any()


@pytest.mark.parametrize("threads", [1, 2, 16])
@pytest.mark.parametrize("count", [0, 1, 7, 256, 1000])
def test_blocks_hold_every_copy_once_and_shrink(count, threads):
    found = list(blocks(count, threads))
    assert [i for block in found for i in range(*block)] == list(range(count))
    sizes = [end - begin for begin, end in found]
    assert sizes == sorted(sizes, reverse=True)
    # No thread begins with more than half of its share, and the last wait for little.
    assert all(size <= max(2, count / (2 * threads)) for size in sizes)
    assert all(size <= 2 for size in sizes[-1:])


def test_an_error_in_any_thread_of_native_is_raised(made, settled, monkeypatch):
    """And the threads go on to serve the next call."""
    stepper = ThreadedStepper(made.mj_model, 1, threads=3)
    ctrl = np.tile(made.start_ctrl, (len(settled.qpos), 1))
    args = (settled.qpos, settled.qvel, settled.qacc_warmstart, ctrl)
    real = ThreadedStepper._step_block

    def fail_once(self, worker, numbers, *rest):
        if len(settled.qpos) - 1 in numbers:
            raise RuntimeError("the last block")
        real(self, worker, numbers, *rest)

    monkeypatch.setattr(ThreadedStepper, "_step_block", fail_once)
    with pytest.raises(RuntimeError, match="the last block"):
        stepper.step(*args)
    monkeypatch.undo()
    assert np.isfinite(stepper.step(*args)[0]).all()


@pytest.mark.parametrize("batch", [(), (0,), (1,), (2, 0)])
def test_native_keeps_the_leading_axes(made, settled, batch):
    """Of no hands, too; with commands held before the new ones."""
    model = made.mj_model
    stepper = ThreadedStepper(model, 2, threads=2)
    qpos, qvel, warmstart = (
        np.broadcast_to(x[0], (*batch, x.shape[1]))
        for x in (settled.qpos, settled.qvel, settled.qacc_warmstart)
    )
    ctrl = np.broadcast_to(made.start_ctrl, (*batch, model.nu))
    after = stepper.step(
        qpos, qvel, warmstart, ctrl, last_ctrl=ctrl, delay=np.ones(batch)
    )
    lasts = (model.nq, model.nv, model.nv, model.nsensordata)
    assert [x.shape for x in after] == [(*batch, last) for last in lasts]
    assert all(np.isfinite(x).all() for x in after)


@pytest.mark.filterwarnings("ignore:os.fork")
def test_native_in_a_forked_child(made, settled):
    """It has none of its parent's threads, of which one may have held the lock."""
    stepper = ThreadedStepper(made.mj_model, 1, threads=3)
    ctrl = np.tile(made.start_ctrl, (16, 1))
    args = (settled.qpos[:16], settled.qvel[:16], settled.qacc_warmstart[:16], ctrl)
    wanted = stepper.step(*args)
    with stepper._turn:
        child = os.fork()
        if not child:  # whatever happens, no test runs on in the child
            same = False
            try:
                got = stepper.step(*args)
                same = all(map(np.array_equal, got, wanted))
            finally:
                os._exit(0 if same else 1)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            assert os.waitstatus_to_exitcode(status) == 0
            break
        time.sleep(0.02)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    np.testing.assert_array_equal(stepper.step(*args)[0], wanted[0])


def threads_of_native() -> int:
    return sum(t.name.startswith("mujoco") for t in threading.enumerate())


def test_programs_call_the_stepper_of_their_own_model_and_settings(made):
    """By its name: one compiled for another would step with the wrong numbers, in silence."""

    def name(change="", factor=2.0, parts=None, **cfg):
        model = copy.copy(made.mj_model)
        if change:
            part(model, change)[...] *= factor
        return physics._fingerprint(model, PhysicsConfig(**cfg), parts or {})

    slow = copy.copy(made.mj_model)
    slow.opt.timestep *= 2
    names = [
        name(),
        name("dof_damping"),
        name("body_mass"),
        name("opt.gravity"),
        physics._fingerprint(slow, PhysicsConfig(), {}),
        name(substeps=5),
        name(threads=1),
        name(parts={"dof_damping": np.s_[:]}),
        name(parts={"dof_damping": np.s_[:3]}),
    ]
    assert len(set(names)) == len(names)
    again = scene.build(CUPPED).mj_model
    assert physics._fingerprint(again, PhysicsConfig(), {}) == names[0]


def test_native_keeps_threads_of_the_last_few_steppers(made, settled):
    """A stepper has none before it is used; one that lost them makes them anew."""
    gc.collect()  # a call that failed in another test keeps its threads until then
    before = threads_of_native()
    steppers = [ThreadedStepper(made.mj_model, 1, threads=2) for _ in range(KEPT + 3)]
    assert threads_of_native() <= before  # those of dead steppers may go meanwhile
    ctrl = np.tile(made.start_ctrl, (16, 1))
    args = (settled.qpos[:16], settled.qvel[:16], settled.qacc_warmstart[:16], ctrl)
    wanted = [stepper.step(*args)[0] for stepper in steppers]
    steppers[3].step(*args)  # not the one to go next, then
    steppers[0].step(*args)
    kept = {i for i, stepper in enumerate(steppers) if stepper._pool}
    assert kept == {0, 3, *range(5, KEPT + 3)}
    deadline = time.monotonic() + 20
    while threads_of_native() > KEPT and time.monotonic() < deadline:
        time.sleep(0.02)  # threads whose pool is gone end by themselves
    assert threads_of_native() <= KEPT  # the calling thread is the second of each
    for stepper, qpos in zip(steppers, wanted, strict=True):
        np.testing.assert_array_equal(stepper.step(*args)[0], qpos)


def test_native_loses_no_pool_that_is_in_use(made, settled):
    """More steppers than are kept, from several threads at once."""
    steppers = [ThreadedStepper(made.mj_model, 1, threads=2) for _ in range(KEPT + 2)]
    ctrl = np.tile(made.start_ctrl, (16, 1))
    args = (settled.qpos[:16], settled.qvel[:16], settled.qacc_warmstart[:16], ctrl)
    wanted = steppers[0].step(*args)[0]
    with ThreadPoolExecutor(8) as callers:
        calls = [callers.submit(s.step, *args) for _ in range(12) for s in steppers]
        for call in calls:
            np.testing.assert_array_equal(call.result(timeout=60)[0], wanted)
    assert sum(stepper._pool is not None for stepper in steppers) <= KEPT


def test_native_solver_settings_change_only_digits(made, settled):
    """Sparse Jacobians and no islands: the scene's own settings give the same step."""
    plain = mujoco.MjData(made.mj_model)
    tuned_model = ThreadedStepper(made.mj_model, substeps=1, threads=1).model
    tuned = mujoco.MjData(tuned_model)
    for i in range(16):
        for model, data in ((made.mj_model, plain), (tuned_model, tuned)):
            data.qpos[:], data.qvel[:] = settled.qpos[i], settled.qvel[i]
            data.qacc_warmstart[:] = settled.qacc_warmstart[i]
            data.ctrl[:] = made.start_ctrl
            mujoco.mj_step(model, data)
        np.testing.assert_allclose(tuned.qpos, plain.qpos, atol=1e-9)


def test_native_batches_do_not_mix(made, settled, native):
    """A copy's result does not depend on its batch, nor on how vmaps are nested."""
    states = first(settled, 12)
    ctrl = jnp.asarray(gentle_commands(made, 1, 12)[0])
    whole = jax.jit(jax.vmap(native.step))(states, ctrl)
    alone = native.step(jax.tree.map(lambda x: x[7], states), ctrl[7])
    np.testing.assert_array_equal(whole.qpos[7], alone.qpos)
    nested = jax.vmap(jax.vmap(native.step))(
        *jax.tree.map(lambda x: x.reshape(3, 4, -1), (states, ctrl))
    )
    for a, b in zip(jax.tree.leaves(nested), jax.tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(a.reshape(b.shape), b)
    # A command shared by all copies is not mapped over.
    shared = jax.vmap(native.step, in_axes=(0, None))(states, ctrl[7])
    np.testing.assert_array_equal(shared.qpos[7], alone.qpos)


def test_native_shows_a_diverged_state(made, settled, tmp_path, monkeypatch):
    """C MuJoCo would reset it; one copy's NaN is its own and stays visible."""
    monkeypatch.chdir(tmp_path)  # where MuJoCo writes its log
    stepper = ThreadedStepper(made.mj_model, substeps=10, threads=1)
    qvel = settled.qvel[:3].copy()
    qvel[1, 5] = np.nan
    ctrl = np.tile(made.start_ctrl, (3, 1))
    bad = stepper.step(settled.qpos[:3], qvel, settled.qacc_warmstart[:3], ctrl)
    good = stepper.step(
        settled.qpos[:3], settled.qvel[:3], settled.qacc_warmstart[:3], ctrl
    )
    assert not np.isfinite(bad[0][1]).all()
    for a, b in zip(bad, good, strict=True):
        np.testing.assert_array_equal(a[[0, 2]], b[[0, 2]])


def test_native_runs_in_scan_and_shard_map(made, settled, native):
    """512 copies × 32 steps on all devices at once, the load of a real rollout."""
    states = physics.PhysicsState(
        **{k: jnp.tile(v, (2, 1)) for k, v in settled.items()}
    )
    ctrl = jnp.asarray(made.start_ctrl, jnp.float32)
    mesh = jax.make_mesh((jax.device_count(),), ("device",))
    spec = jax.sharding.PartitionSpec("device")

    def roll(states):
        def step(states, _):
            return jax.vmap(native.step, in_axes=(0, None))(states, ctrl), None

        return jax.lax.scan(step, states, length=32)[0]

    sharded = jax.jit(jax.shard_map(roll, mesh=mesh, in_specs=spec, out_specs=spec))
    states = jax.device_put(states, jax.NamedSharding(mesh, spec))
    qpos = np.asarray(sharded(states).qpos)
    assert np.isfinite(qpos).all()
    # The two halves began alike.
    np.testing.assert_array_equal(qpos[:256], qpos[256:])


def test_settled_cubes_are_held(made, settled):
    assert settled.qpos.shape == (256, 31)
    assert all(x.dtype == np.float32 for x in settled.values())
    place = settled.sensordata[:, made.sensors["cube_in_palm"]]
    height = place @ made.palm_normal
    # No deeper than the palm's surface and a half edge, no higher than on the fingers.
    assert height.min() > 0.03
    assert height.max() < 0.08
    # A second later, still: the hand holds them.
    stepper = ThreadedStepper(made.mj_model, 10)
    state = (settled.qpos, settled.qvel, settled.qacc_warmstart)
    for _ in range(12):
        *state, sensordata = stepper.step(*state, np.tile(made.start_ctrl, (256, 1)))
    assert physics.is_held(made, *state, sensordata).mean() > 0.99


@pytest.mark.parametrize(
    ("place", "speed", "held"),
    [
        ((0, 0, 0.05), 0.29, True),
        ((0, 0, 0.05), 0.31, False),  # it falls
        ((0.1, 0, 0.05), 0.0, True),
        ((0.11, 0, 0.05), 0.0, False),  # 12.1 cm away
        ((0, 0, -0.01), 0.0, False),  # behind the palm
        ((0, 0, np.nan), 0.0, False),
    ],
)
def test_a_cube_is_held_within_reach_of_the_palm_and_not_falling(
    made, place, speed, held
):
    """`place` is along two axes in the palm and away from it, m; m/s down."""
    palm = np.array([*np.eye(3)[made.palm_normal == 0], made.palm_normal])
    qpos = made.start_qpos[None]
    qvel = np.zeros((1, made.mj_model.nv))
    qvel[:, made.cube_qvel] = (0, 0, -speed, 9, 9, 9)  # a cube may turn
    sensordata = np.zeros((1, made.mj_model.nsensordata))
    sensordata[:, made.sensors["cube_in_palm"]] = np.array(place) @ palm
    state = (qpos, qvel, np.zeros_like(qvel), sensordata)
    assert physics.is_held(made, *state).tolist() == [held]


def test_settled_orientations_are_spread(settled, made):
    """Uniform when dropped; held, any face may be up and any way round."""
    quat = settled.qpos[:, 27:31].astype(np.float64)
    np.testing.assert_allclose(np.linalg.norm(quat, axis=1), 1, atol=1e-5)
    matrices = np.zeros((256, 9))
    for matrix, q in zip(matrices, quat, strict=True):
        mujoco.mju_quat2Mat(matrix, q)
    up = matrices.reshape(-1, 3, 3)[:, 2]  # world z in the cube's frame
    face = 2 * np.abs(up).argmax(1) + (np.take_along_axis(
        up, np.abs(up).argmax(1)[:, None], 1)[:, 0] > 0)  # fmt: skip
    counts = np.bincount(face, minlength=6)
    assert (counts > 256 / 6 / 2).all()
    # Mean rotation matrix of a uniform distribution: 0; entries' deviation: 1/sqrt(3 N).
    assert np.abs(matrices.mean(0)).max() < 4.5 / np.sqrt(3 * 256)


def test_settle_is_a_function_of_its_seed(made, settled):
    again = physics.settle(made, PhysicsConfig(threads=1), num=64, seconds=0.64, seed=0)
    other = physics.settle(made, PhysicsConfig(), num=64, seconds=0.64, seed=1)
    np.testing.assert_array_equal(
        again.qpos,
        physics.settle(made, PhysicsConfig(), num=64, seconds=0.64, seed=0).qpos,
    )
    assert not np.array_equal(again.qpos, other.qpos)


def test_settle_draws_fallen_cubes_again(made, monkeypatch):
    """With half of all cubes declared fallen, the pool is full all the same."""
    judged = []

    def half(scene, qpos, *rest):
        judged.append(qpos[:, 24])
        return qpos[:, 24] > np.median(qpos[:, 24])

    monkeypatch.setattr(physics, "is_held", half)
    states = physics.settle(made, PhysicsConfig(), num=100, seconds=0.16, seed=0)
    assert states.qpos.shape == (100, 31)
    assert len(judged) > 1
    monkeypatch.setattr(
        physics, "is_held", lambda s, qpos, *_: np.zeros(len(qpos), bool)
    )
    with pytest.raises(ConfigError, match="the hand held 0 of"):
        physics.settle(made, PhysicsConfig(), num=8, seconds=0.08, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("integrator", scene.INTEGRATORS)
def test_mjx_step_equals_native(made, settled, native, mjx_step, integrator):
    """One control step from the same states, float32 against float64.

    Where a contact opens or closes within the 80 ms the two may part by more, so the
    bound holds for the median and, tenfold, for nine in ten.
    """
    states, ctrl = first(settled), jnp.asarray(gentle_commands(made, 1)[0])
    if integrator != CUPPED.integrator:
        other = scene.build(replace(CUPPED, integrator=integrator))
        mjx, native = (
            physics.make_physics(other, PhysicsConfig(impl=impl))
            for impl in ("jax", "native")
        )
        mjx_step = jax.jit(jax.vmap(mjx.step))
    a = mjx_step(states, ctrl)
    b = jax.jit(jax.vmap(native.step))(states, ctrl)
    hand = np.abs(a.qpos[:, :24] - b.qpos[:, :24]).max(1)
    cube = np.linalg.norm(a.qpos[:, 24:27] - b.qpos[:, 24:27], axis=1)
    for error, bound in ((hand, 1e-3), (cube, 1e-4)):
        assert np.median(error) < bound
        assert np.quantile(error, 0.9) < 10 * bound


def test_mjx_sensors_equal_native(made, settled, native, mjx_step):
    """Sensors of the last physics step, as mj_step leaves them."""
    states, ctrl = first(settled), jnp.asarray(gentle_commands(made, 1)[0])
    a = np.asarray(mjx_step(states, ctrl).sensordata)
    b = np.asarray(jax.jit(jax.vmap(native.step))(states, ctrl).sensordata)
    tolerance = {"fingertip": 2e-4, "actuator_force": 2e-3, "cube_in_palm": 2e-4}
    for name, bound in tolerance.items():
        error = np.abs(a - b)[:, made.sensors[name]].max(1)
        assert np.median(error) < bound, name
    touch_a, touch_b = (x[:, made.sensors["touch"]] for x in (a, b))
    assert (touch_b > 0.01).sum() > BATCH
    felt = np.maximum(touch_a, touch_b) > 0.05
    agree = np.abs(touch_a - touch_b) < 0.05 + 0.1 * np.maximum(touch_a, touch_b)
    assert agree[felt].mean() > 0.8
    assert not touch_a[:, touch_b.max(0) == 0].max() > 1.0


def test_mjx_follows_native_for_a_second(made, settled, native, mjx_step):
    """Rounding grows at each contact; after 0.96 s the cubes are still together."""
    a = b = first(settled)
    native_step = jax.jit(jax.vmap(native.step))
    for ctrl in gentle_commands(made, steps=12):
        a, b = mjx_step(a, ctrl), native_step(b, ctrl)
    shift = np.linalg.norm(a.qpos[:, 24:27] - b.qpos[:, 24:27], axis=1)
    dot = np.abs((a.qpos[:, 27:31] * b.qpos[:, 27:31]).sum(1))
    assert np.median(shift) < 2e-3
    assert np.median(2 * np.arccos(np.minimum(dot, 1))) < 0.05


def test_no_product_of_the_physics_is_rounded(made, settled, mjx_told):
    """NVIDIA GPUs multiply in TF32 unless told not to; many of these products are MJX's."""
    states = first(settled)
    ctrl = jnp.zeros((BATCH, made.mj_model.nu))
    text = mjx_told.trace(states, ctrl).lower().as_text()
    products = [line for line in text.splitlines() if "stablehlo.dot_general" in line]
    assert len(products) > 20
    assert all("precision = [HIGHEST, HIGHEST]" in line for line in products)


def test_mjx_slots_are_full_only_where_c_has_as_many_contacts(made, settled, mjx_told):
    """Contacts per condim in each of the ten physics steps, counted by C MuJoCo."""
    states, ctrl = first(settled), gentle_commands(made, 1)[0]
    full = np.asarray(mjx_told(states, jnp.asarray(ctrl))[1])
    most = np.zeros(BATCH, int)
    data = mujoco.MjData(made.mj_model)
    for i in range(BATCH):
        mujoco.mj_resetData(made.mj_model, data)
        data.qpos[:], data.qvel[:] = states.qpos[i], states.qvel[i]
        data.qacc_warmstart[:], data.ctrl[:] = states.qacc_warmstart[i], ctrl[i]
        for _ in range(10):
            mujoco.mj_step(made.mj_model, data)
            most[i] = max(most[i], np.bincount(data.contact.dim, minlength=1).max())
    slots = CUPPED.max_contact_points
    assert (most < slots - 2).any()
    assert not full[most < slots - 2].any()  # rounding may make or lose one
    assert full[most > slots + 2].all()


@pytest.mark.parametrize(
    ("used", "full"),
    [
        ((True, True, True, False), True),  # both slots of condim 3
        (
            (True, False, True, True),
            False,
        ),  # two of three of condim 3; condim 4 has one
        ((False, False, False, False), False),
    ],
)
def test_full_slots_are_told_apart_by_condim(made, used, full):
    class Contact:
        dim = np.array([3, 3, 3, 4])
        dist = jnp.where(jnp.array(used), -1e-3, 1.0)
        includemargin = jnp.zeros(4)

    data = type("Data", (), {"_impl": type("Impl", (), {"contact": Contact})})
    model = scene.build(SceneConfig(max_contact_points=3)).mj_model
    assert bool(mjx_steps._slots_full(model, data)) is full


@pytest.mark.slow
def test_warp_tells_of_constraints_beyond_its_buffer(made, settled, monkeypatch, capfd):
    pytest.importorskip("warp")
    monkeypatch.setattr(mjx_steps, "WARP_CONSTRAINTS", 24)
    warp = physics.make_physics(made, PhysicsConfig(impl="warp"))
    ctrl = jnp.asarray(gentle_commands(made, 1)[0])
    _, overflow = jax.jit(jax.vmap(warp.step_told))(first(settled), ctrl)
    assert overflow.any()
    assert "overflow" in capfd.readouterr().out  # its own words


def test_warp_step_equals_native(made, settled, native, capfd):
    """Alone and in a batch, whose contact buffer has to grow with it; on the CPU."""
    pytest.importorskip("warp")
    warp = physics.make_physics(made, PhysicsConfig(impl="warp"))
    states, ctrl = first(settled), jnp.asarray(gentle_commands(made, 1)[0])
    a, overflow = jax.jit(jax.vmap(warp.step_told))(states, ctrl)
    assert not overflow.any()
    b = jax.jit(jax.vmap(native.step))(states, ctrl)
    cube = np.linalg.norm(a.qpos[:, 24:27] - b.qpos[:, 24:27], axis=1)
    assert np.median(cube) < 1e-4
    assert np.quantile(cube, 0.9) < 1e-3
    sensors = np.abs(a.sensordata - b.sensordata)[:, made.sensors["actuator_force"]]
    assert np.median(sensors) < 1e-3
    alone = jax.jit(warp.step)(jax.tree.map(lambda x: x[3], states), ctrl[3])
    np.testing.assert_allclose(alone.qpos, a.qpos[3], atol=1e-3)
    # 0.96 s, as test_mjx_follows_native_for_a_second.
    warp_step, native_step = (
        jax.jit(jax.vmap(warp.step)),
        jax.jit(jax.vmap(native.step)),
    )
    a = b = states
    for ctrl in gentle_commands(made, steps=12):
        a, b = warp_step(a, ctrl), native_step(b, ctrl)
    shift = np.linalg.norm(a.qpos[:, 24:27] - b.qpos[:, 24:27], axis=1)
    dot = np.abs((a.qpos[:, 27:31] * b.qpos[:, 27:31]).sum(1))
    assert np.median(shift) < 2e-3
    assert np.median(2 * np.arccos(np.minimum(dot, 1))) < 0.05
    assert "overflow" not in capfd.readouterr().out


def test_native_without_the_cpu_of_jax_is_one_line(made, monkeypatch):
    """With JAX_PLATFORMS=cuda no program could call C MuJoCo."""

    def none(backend=None):
        raise RuntimeError(f"Unknown backend {backend}")

    monkeypatch.setattr(jax, "local_devices", none)
    with pytest.raises(ConfigError, match=r"^.*add cpu to JAX_PLATFORMS"):
        physics.make_physics(made, PhysicsConfig(impl="native"))


def test_native_is_the_same_where_the_default_device_is_no_cpu(monkeypatch):
    """There C MuJoCo is a callback of JAX: what `--impl native` is on a GPU."""
    made, cfg = scene.build(), PhysicsConfig(impl="native")
    states = physics.settle(made, cfg, 4, seconds=0.16, seed=0)
    ctrl = np.tile(made.start_ctrl, (4, 1)).astype(np.float32)

    def after():
        step = jax.vmap(physics.make_physics(made, cfg).step)

        def more(states, _):
            return step(states, ctrl), None

        return jax.jit(lambda s: jax.lax.scan(more, s, None, length=3)[0])

    there = after()(states)
    with monkeypatch.context() as patch:
        patch.setattr(jax, "default_backend", lambda: "gpu")
        elsewhere = after()
        assert "callback" in elsewhere.lower(states).as_text()
    assert "callback" not in after().lower(states).as_text()
    jax.tree.map(np.testing.assert_array_equal, there, elsewhere(states))
