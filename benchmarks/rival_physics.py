"""Bare physics: C MuJoCo's own threads, and the hand as it was published."""

import copy
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from mujoco import rollout
from programs import SCENE

from mjxhand import physics, scene
from mjxhand.config import PhysicsConfig
from mjxhand.native import ThreadedStepper, usable_cores
from mjxhand.scene import CUBE_START

Pair = tuple[Callable[[], float], Callable[[], float]]
ENVS, CONTROL_STEPS = 512, 8
FULL = mujoco.mjtState.mjSTATE_FULLPHYSICS.value
BOX_ENVS, BOX_STEPS = 64, 20


def rollout_all_sensors() -> Pair:
    """`mujoco.rollout` as anybody calls it: it reads sensors at every physics step."""
    return _rollout(sensors=True)


def rollout_no_sensors() -> Pair:
    """Its fastest form; ours still reads them once per control step."""
    return _rollout(sensors=False)


def _rollout(sensors: bool) -> Pair:
    made, cfg = scene.build(SCENE), PhysicsConfig()
    states = physics.settle(made, cfg, ENVS, seconds=0.64, seed=0)
    stepper = ThreadedStepper(made.mj_model, cfg.substeps)
    targets = _targets(made)
    start = tuple(np.asarray(x) for x in (states.qpos, states.qvel))
    warm = np.asarray(states.qacc_warmstart)
    model = stepper.model
    if not sensors:
        model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_SENSOR.value
        stepper = ThreadedStepper(made.mj_model, cfg.substeps)
    threads = usable_cores()
    data = [mujoco.MjData(model) for _ in range(threads)]
    full = np.stack([_full(model, data[0], q, v) for q, v in zip(*start, strict=True)])
    control = np.repeat(targets, cfg.substeps, axis=1)
    count = ENVS * CONTROL_STEPS * cfg.substeps

    def ours() -> float:
        begin = time.perf_counter()
        now = (*start, warm)
        for step in range(CONTROL_STEPS):
            now = stepper.step(*now, targets[:, step])[:3]
        return count / (time.perf_counter() - begin)

    def theirs() -> float:
        begin = time.perf_counter()
        rollout.rollout(
            model, data, full, control, initial_warmstart=warm, persistent_pool=True
        )
        return count / (time.perf_counter() - begin)

    return ours, theirs


def _targets(made) -> np.ndarray:
    """Wandering servo targets, [ENVS, CONTROL_STEPS, 20]."""
    low, high = made.ctrl_range.T
    rng = np.random.default_rng(0)
    moves = rng.uniform(-1, 1, (ENVS, CONTROL_STEPS, low.size)).cumsum(axis=1)
    return np.clip(made.start_ctrl + 0.125 * (high - low) * moves, low, high)


def _full(model, data, qpos, qvel) -> np.ndarray:
    mujoco.mj_resetData(model, data)
    data.qpos, data.qvel = qpos, qvel
    state = np.empty(mujoco.mj_stateSize(model, FULL))
    mujoco.mj_getState(model, data, state, FULL)
    return state


def published_hand() -> mujoco.MjModel:
    """Gymnasium-Robotics' hand with block and 92 touch sensors, as MJX can load it.

    MJX refuses its margins between boxes and meshes, so they are 0 here.
    """
    spec = importlib.util.find_spec("gymnasium_robotics")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(
            "the published hand is in another package: pip install gymnasium-robotics"
        )
    root = Path(spec.submodule_search_locations[0]) / "envs/assets/hand"
    model = mujoco.MjModel.from_xml_path(
        str(root / "manipulate_block_touch_sensors.xml")
    )
    model.geom_margin[:] = 0
    return model


def both_hands() -> tuple[mujoco.MjModel, mujoco.MjModel]:
    """Our scene and the published hand, both with our solver's options and without sensors."""
    models = copy.copy(scene.build(SCENE).mj_model), published_hand()
    for name in ("timestep", "iterations", "ls_iterations", "integrator", "jacobian"):
        setattr(models[1].opt, name, getattr(models[0].opt, name))
    for model in models:
        model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_SENSOR.value
    return models


def box_hand() -> Pair:
    """`mjx.step` on either hand, with cubes that have come to rest on it.

    The same function, options and kind of states: the models differ. The published one collides
    boxes and meshes where ours has capsules and keeps few contacts, and has a target's free joint
    besides.
    """
    ours, theirs = both_hands()
    made = scene.build(SCENE)
    start = made.start_qpos.copy()
    start[made.cube_qpos][:3] = CUBE_START
    middle = theirs.actuator_ctrlrange.mean(axis=1)  # where its environment starts
    mine = _dropped(ours, start, made.cube_qpos, made.start_ctrl)
    address = theirs.joint("object:joint").qposadr[0]
    block = slice(address, address + 7)
    other = _dropped(theirs, theirs.qpos0, block, middle)
    return _mjx_steps(ours, *mine), _mjx_steps(theirs, *other)


def _dropped(
    model: mujoco.MjModel, start: np.ndarray, cube: slice, ctrl: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """BOX_ENVS states, 0.64 s after the cube was let go; and the servos' targets.

    It begins N(0, 5 mm) off `start`, turned at random, as those of `physics.settle` do.
    """
    rng, data = np.random.default_rng(0), mujoco.MjData(model)
    states = []
    for _ in range(BOX_ENVS):
        mujoco.mj_resetData(model, data)
        data.qpos, data.ctrl = start, ctrl
        data.qpos[cube][:3] += 0.005 * rng.standard_normal(3)
        turn = rng.standard_normal(4)
        data.qpos[cube][3:] = turn / np.linalg.norm(turn)
        mujoco.mj_step(model, data, round(0.64 / model.opt.timestep))
        states.append((data.qpos.copy(), data.qvel.copy(), data.qacc_warmstart.copy()))
    names = ("qpos", "qvel", "qacc_warmstart")
    return dict(zip(names, map(np.stack, zip(*states, strict=True)), strict=True)), ctrl


def _mjx_steps(
    model: mujoco.MjModel, states: dict[str, np.ndarray], ctrl: np.ndarray
) -> Callable[[], float]:
    from mujoco import mjx

    device_model = mjx.put_model(model, impl="jax")
    data = mjx.make_data(model, impl="jax").replace(ctrl=jnp.asarray(ctrl, jnp.float32))
    many = jax.tree.map(lambda x: jnp.broadcast_to(x, (BOX_ENVS, *x.shape)), data)
    given = {name: jnp.asarray(x, jnp.float32) for name, x in states.items()}
    many = many.replace(**given)
    step = jax.vmap(mjx.step, in_axes=(None, 0))

    def run(many):
        def one(many, _):
            return step(device_model, many), None

        return jax.lax.scan(one, many, None, length=BOX_STEPS)[0]

    compiled = jax.jit(run).lower(many).compile()
    return timed(compiled, (many,), BOX_ENVS * BOX_STEPS)


def timed(function, args, count: int) -> Callable[[], float]:
    """A function that calls a compiled one and returns `count` per second."""
    jax.block_until_ready(function(*args))

    def once() -> float:
        begin = time.perf_counter()
        jax.block_until_ready(function(*args))
        return count / (time.perf_counter() - begin)

    return once
