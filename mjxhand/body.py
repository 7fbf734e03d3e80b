"""What the senses and the tasks read of a physics state, by name."""

import chex
import jax
import jax.numpy as jnp

from mjxhand import rotations
from mjxhand.physics import PhysicsState
from mjxhand.scene import Scene

POSE = 7
"""Length of a pose: position (3, m) and quaternion (4, w x y z)."""


@chex.dataclass(frozen=True)
class Body:
    """Named quantities of one hand and its cube."""

    joint_angle: jax.Array  # [24] rad, published joint order
    joint_velocity: jax.Array  # [24] rad/s
    touch: jax.Array  # [92] N
    fingertips: jax.Array  # [15] m, world frame, FF MF RF LF TH
    actuator_force: jax.Array  # [20] N·m
    cube_pos: jax.Array  # [3] m, world frame
    cube_quat: jax.Array  # [4] w x y z, w ≥ 0, world frame
    cube_linear_velocity: jax.Array  # [3] m/s, world frame
    cube_angular_velocity: jax.Array  # [3] rad/s, world frame
    cube_in_palm: jax.Array  # [3] m, frame of site palm_centre
    cube_height: jax.Array  # [] m above the palm's centre, along its normal


def read(scene: Scene, physics: PhysicsState) -> Body:
    """Body of one environment.

    Positions and velocities are those at the end of the control step; touch, forces, fingertips
    and `cube_in_palm` are MuJoCo sensors, which `mj_step` evaluates at the start of the
    last physics step (8 ms earlier).
    """
    cube = jnp.asarray(physics.qpos)[scene.cube_qpos]
    velocity = jnp.asarray(physics.qvel)[scene.cube_qvel]
    quat = rotations.canonical(rotations.normalize(cube[3:]))

    def sensor(name):
        return jnp.asarray(physics.sensordata)[scene.sensors[name]]

    in_palm = sensor("cube_in_palm")
    return Body(
        joint_angle=jnp.asarray(physics.qpos)[scene.hand_qpos],
        joint_velocity=jnp.asarray(physics.qvel)[scene.hand_qvel],
        touch=sensor("touch"),
        fingertips=sensor("fingertip"),
        actuator_force=sensor("actuator_force"),
        cube_pos=cube[:3],
        cube_quat=quat,
        cube_linear_velocity=velocity[:3],
        # A free joint's angular velocity is in the body's own frame.
        cube_angular_velocity=rotations.rotate(quat, velocity[3:]),
        cube_in_palm=in_palm,
        cube_height=in_palm @ jnp.asarray(scene.palm_normal, jnp.float32),
    )
