"""Bare physics: C MuJoCo's own threads, and the hand as it was published."""

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from mujoco import rollout
from programs import SCENE, physics_program

from mjxhand import physics, scene
from mjxhand.config import PhysicsConfig
from mjxhand.native import ThreadedStepper, usable_cores

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


def box_hand() -> Pair:
    """MJX on both scenes, in physics steps, which are 8 ms of ours and 2 ms of theirs."""
    from mujoco import mjx

    control_steps = BOX_STEPS // PhysicsConfig().substeps
    mine = physics_program("jax", BOX_ENVS, control_steps)
    ours = jax.jit(mine.function).lower(*mine.args).compile()
    model = published_hand()
    device_model = mjx.put_model(model, impl="jax")
    data = mjx.make_data(model, impl="jax")
    many = jax.tree.map(lambda x: jnp.broadcast_to(x, (BOX_ENVS, *x.shape)), data)
    step = jax.vmap(mjx.step, in_axes=(None, 0))

    def run(many):
        def one(many, _):
            return step(device_model, many), None

        return jax.lax.scan(one, many, None, length=BOX_STEPS)[0]

    theirs = jax.jit(run).lower(many).compile()
    count = BOX_ENVS * BOX_STEPS
    return timed(ours, mine.args, count), timed(theirs, (many,), count)


def timed(function, args, count: int) -> Callable[[], float]:
    """A function that calls a compiled one and returns `count` per second."""
    jax.block_until_ready(function(*args))

    def once() -> float:
        begin = time.perf_counter()
        jax.block_until_ready(function(*args))
        return count / (time.perf_counter() - begin)

    return once
