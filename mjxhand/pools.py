"""Start states: made once on the host by C MuJoCo, so that a reset only has to draw one."""

from collections.abc import Mapping

import jax
import numpy as np

from mjxhand import randomize
from mjxhand.config import PhysicsConfig
from mjxhand.native import ThreadedStepper
from mjxhand.physics import PhysicsState, settle_in_worlds
from mjxhand.randomize import Row, World
from mjxhand.scene import Scene


def start_states(
    scene: Scene,
    cfg: PhysicsConfig,
    num: int,
    seconds: float,
    seed: int,
    rows: Mapping[str, Row] | None = None,
) -> tuple[PhysicsState, World | None]:
    """`num` states to start episodes from, numpy float32 arrays `[num, ...]`.

    An object settles in the still hand (`physics.settle`); an empty hand has come to rest
    in its start posture, the same way wherever the world is the same.

    Args:
      rows: what is randomised; each state comes with a world, in which it has settled.
    """
    rows = rows or {}
    if scene.object != "none":
        return settle_in_worlds(scene, cfg, num, seconds, seed, rows)
    worlds = randomize.draw(scene, rows, np.random.default_rng([seed, 2]), num)
    count = num if worlds and worlds.model else 1
    targets = np.tile(scene.start_ctrl, (count, 1))
    states = hold(scene, cfg, targets, seconds, worlds, rows)
    return jax.tree.map(lambda x: np.repeat(x, num // count, axis=0), states), worlds


def hold(
    scene: Scene,
    cfg: PhysicsConfig,
    targets: np.ndarray,
    seconds: float,
    worlds: World | None = None,
    rows: Mapping[str, Row] | None = None,
) -> PhysicsState:
    """States in which the servos have held `targets` [num, 20] (rad) for `seconds`.

    Args:
      worlds: [num, ...] drawn from `rows`: the world of each.
    """
    num = len(targets)
    parts = randomize.parts(scene, rows or {})
    stepper = ThreadedStepper(scene.mj_model, cfg.substeps, cfg.threads, parts)
    model = [worlds.model[name] for name in parts] if worlds else []
    qpos = np.tile(scene.start_qpos, (num, 1))
    qvel = np.zeros((num, scene.mj_model.nv))
    warmstart = np.zeros_like(qvel)
    sensordata = np.zeros((num, scene.mj_model.nsensordata))
    period = scene.mj_model.opt.timestep * cfg.substeps
    for _ in range(max(1, round(seconds / period))):
        qpos, qvel, warmstart, sensordata = stepper.step(
            qpos, qvel, warmstart, targets, model
        )
    arrays = (x.astype(np.float32) for x in (qpos, qvel, warmstart, sensordata))
    qpos, qvel, warmstart, sensordata = arrays
    return PhysicsState(
        qpos=qpos, qvel=qvel, qacc_warmstart=warmstart, sensordata=sensordata
    )
