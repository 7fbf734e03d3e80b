"""What makes a task harder: senses that err, pushes on the object.

Both act between control steps, on what is seen and on qvel, so they are the same on every
back end. How much, the rows of `randomize.TABLE` say that are on.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from mjxhand import rotations
from mjxhand.body import Body
from mjxhand.physics import PhysicsState
from mjxhand.randomize import Row, World
from mjxhand.scene import Scene


def perceive(
    key: jax.Array, body: Body, rows: Mapping[str, Row], world: World | None
) -> Body:
    """`body` as joint sensors, skin and a pose estimator give it.

    The error of the seen orientation is a rotation about an axis uniform on the sphere by
    |N(0, σ)| rad, that of the position a shift of a given length in a uniform direction.
    (The showcase splits an N(0, 5°) angle over three axes, which gives 2.5° in the mean;
    here the angle is the angle of the error.) Whatever errs the same way for an episode
    is in `world`.
    """
    if not rows:
        return body
    keys = jax.random.split(key, 3)
    # Keys of their own, so that a row that is off changes no draw of the others.
    extra = jax.random.split(jax.random.fold_in(key, 1), 4)
    return body.replace(
        joint_angle=_noisy("joint_angle", extra[0], body.joint_angle, rows, world),
        joint_velocity=_noisy(
            "joint_velocity", extra[1], body.joint_velocity, rows, world
        ),
        touch=body.touch * _drawn(world, "touch_gain", 1.0),
        fingertips=_noisy("fingertip", extra[2], body.fingertips, rows, world),
        cube_quat=_turned(keys[0], keys[1], body.cube_quat, rows, world),
        cube_pos=body.cube_pos
        + _drawn(world, "position_bias", 0.0)
        + _shift(keys[2], rows.get("position_noise")),
    )


def _drawn(world: World | None, name: str, default: float) -> jax.Array | float:
    return world.drawn.get(name, default) if world is not None else default


def _noisy(name, key, value, rows: Mapping[str, Row], world) -> jax.Array:
    """`value` with the errors `name`_bias and `name`_noise."""
    value = value + _drawn(world, f"{name}_bias", 0.0)
    if row := rows.get(f"{name}_noise"):
        value = value + row.range[1] * jax.random.normal(key, value.shape)
    return value


def _turned(key_angle, key_axis, quat, rows: Mapping[str, Row], world) -> jax.Array:
    if world is not None and "angle_bias" in world.drawn:
        bias = world.drawn["angle_bias"]
        angle = jnp.linalg.norm(bias)
        error = rotations.from_axis_angle(bias / jnp.maximum(angle, 1e-9), angle)
        quat = rotations.canonical(rotations.multiply(error, quat))
    if row := rows.get("angle_noise"):
        angle = row.range[1] * jax.random.normal(key_angle)
        error = rotations.from_axis_angle(rotations.random_axis(key_axis), angle)
        quat = rotations.canonical(rotations.multiply(error, quat))
    return quat


def _shift(key: jax.Array, row: Row | None) -> jax.Array | float:
    return row.range[1] * rotations.random_axis(key) if row else 0.0


def push(
    key: jax.Array,
    physics: PhysicsState,
    scene: Scene,
    world: World | None,
    push_seconds: float,
    control_seconds: float,
) -> PhysicsState:
    """Now and then, kick the object: its velocity jumps by what row `push` drew, m/s.

    The direction is uniform; the impulse is mass times that speed. Pushes are a Poisson
    process with a mean distance of `push_seconds`, at most one per control step.
    """
    if world is None or "push" not in world.drawn:
        return physics
    key_now, key_axis = jax.random.split(key)
    chance = 1.0 - jnp.exp(-control_seconds / push_seconds)
    now = jax.random.uniform(key_now) < chance
    kick = world.drawn["push"] * rotations.random_axis(key_axis) * now
    start = scene.cube_qvel.start
    qvel = jnp.asarray(physics.qvel).at[start : start + 3].add(kick)
    return physics.replace(qvel=qvel)
