"""Start states: made once on the host by C MuJoCo, so that a reset only has to draw one."""

import jax
import numpy as np

from mjxhand.config import PhysicsConfig
from mjxhand.native import ThreadedStepper
from mjxhand.physics import PhysicsState, settle
from mjxhand.scene import Scene


def start_states(
    scene: Scene, cfg: PhysicsConfig, num: int, seconds: float, seed: int
) -> PhysicsState:
    """`num` states to start episodes from, numpy float32 arrays `[num, ...]`.

    An object settles in the still hand (`physics.settle`); an empty hand has come to rest
    in its start posture, always the same way.
    """
    if scene.object != "none":
        return settle(scene, cfg, num=num, seconds=seconds, seed=seed)
    one = hold(scene, cfg, scene.start_ctrl[None], seconds)
    return jax.tree.map(lambda x: np.repeat(x, num, axis=0), one)


def hold(
    scene: Scene, cfg: PhysicsConfig, targets: np.ndarray, seconds: float
) -> PhysicsState:
    """States in which the servos have held `targets` [num, 20] (rad) for `seconds`."""
    num = len(targets)
    stepper = ThreadedStepper(scene.mj_model, cfg.substeps, cfg.threads)
    qpos = np.tile(scene.start_qpos, (num, 1))
    qvel = np.zeros((num, scene.mj_model.nv))
    warmstart = np.zeros_like(qvel)
    sensordata = np.zeros((num, scene.mj_model.nsensordata))
    period = scene.mj_model.opt.timestep * cfg.substeps
    for _ in range(max(1, round(seconds / period))):
        qpos, qvel, warmstart, sensordata = stepper.step(qpos, qvel, warmstart, targets)
    arrays = (x.astype(np.float32) for x in (qpos, qvel, warmstart, sensordata))
    qpos, qvel, warmstart, sensordata = arrays
    return PhysicsState(
        qpos=qpos, qvel=qvel, qacc_warmstart=warmstart, sensordata=sensordata
    )
