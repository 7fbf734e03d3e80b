"""What makes a task harder: a pose seen with error, pushes on the object.

Both act on qpos and qvel between control steps, so they are the same on every back end.
"""

import jax
import jax.numpy as jnp

from mjxhand import rotations
from mjxhand.body import Body
from mjxhand.config import EnvConfig
from mjxhand.physics import PhysicsState
from mjxhand.scene import Scene


def perceive(key: jax.Array, body: Body, cfg: EnvConfig) -> Body:
    """`body` as a pose estimator gives it: the object's orientation and position are off.

    The error is a rotation about an axis uniform on the sphere by |N(0, pose_noise_angle)|
    rad, and a shift of exactly `pose_noise_position` m in a uniform direction. (The
    showcase splits an N(0, 5°) angle over three axes, which gives 2.5° in the mean; here
    the angle is the angle of the error.)
    """
    if not (cfg.pose_noise_angle or cfg.pose_noise_position):
        return body
    key_angle, key_axis, key_shift = jax.random.split(key, 3)
    angle = cfg.pose_noise_angle * jax.random.normal(key_angle)
    error = rotations.from_axis_angle(rotations.random_axis(key_axis), angle)
    shift = cfg.pose_noise_position * rotations.random_axis(key_shift)
    return body.replace(
        cube_quat=rotations.canonical(rotations.multiply(error, body.cube_quat)),
        cube_pos=body.cube_pos + shift,
    )


def push(
    key: jax.Array,
    physics: PhysicsState,
    scene: Scene,
    cfg: EnvConfig,
    control_seconds: float,
) -> PhysicsState:
    """Now and then, kick the object: its velocity jumps by `push_speed` m/s.

    The direction is uniform; the impulse is mass times `push_speed`. Pushes are a Poisson
    process with a mean distance of `push_seconds`, at most one per control step.
    """
    if not cfg.push_speed:
        return physics
    key_now, key_axis = jax.random.split(key)
    chance = 1.0 - jnp.exp(-control_seconds / cfg.push_seconds)
    now = jax.random.uniform(key_now) < chance
    kick = cfg.push_speed * rotations.random_axis(key_axis) * now
    start = scene.cube_qvel.start
    qvel = jnp.asarray(physics.qvel).at[start : start + 3].add(kick)
    return physics.replace(qvel=qvel)
