"""In-hand reorientation: turn the cube to one orientation after another.

Goal      an orientation of the cube in the world, at once replaced when reached
Reward    time, progress, drop, success, force (`reward_terms`)
Success   geodesic distance to the goal below `threshold`; the position does not matter
End       the cube falls off the hand (terminated); a goal is not reached in time, or the
          last goal is reached (both truncated)
"""

import math

import jax
import jax.numpy as jnp

from mjxhand import rotations
from mjxhand.body import Body
from mjxhand.config import EnvConfig, RewardConfig

# A cube that rests on the palm has its centre 36 mm above the palm-centre site (palm half
# thickness 11 mm + half an edge). Below the middle of the palm it lies on nothing.
DROP_HEIGHT = 0.0
# Farther than this from the palm's centre nothing of the hand can hold it (the fingertips
# of the open hand are 0.14 m away). Isaac Gym's hand tasks use the same 0.24 m.
DROP_DISTANCE = 0.24


class Reorient:
    """Goals and rewards of the reorientation task."""

    goal_size = 4
    privileged_size = 25

    def __init__(self, cfg: EnvConfig):
        self.cfg = cfg

    @property
    def label(self) -> str:
        """Honest one-line name: how far from the full task this variant is."""
        cfg = self.cfg
        axis = "any axis" if cfg.goal_axis == "any" else "the vertical axis only"
        if cfg.goal_axis == "any" and cfg.goal_angle_max >= math.pi:
            text = "reorient: any orientation (full task)"
        else:
            text = (
                f"reorient-near: goals up to {cfg.goal_angle_max:.2f} rad away, {axis}"
            )
        if cfg.goal_encoding == "relative":
            text += ", goal given as the rotation still to make"
        return text

    def new_goal(
        self, key: jax.Array, body: Body, goal_angle_max: jax.Array
    ) -> jax.Array:
        """A goal orientation `[4]`, never already reached.

        The turn from the present orientation has an axis uniform on the sphere and the
        angle of a uniform rotation, cut to (threshold, goal_angle_max]. With
        goal_angle_max = π the goal is uniform on SO(3) outside the success region, whatever
        the present orientation, since the Haar measure is invariant.
        """
        key_axis, key_angle = jax.random.split(key)
        # A hair above the threshold, so that rounding never makes a solved goal.
        low = self.cfg.threshold * 1.001
        if self.cfg.goal_axis == "z":
            sign = jax.random.rademacher(key_axis, (), jnp.float32)
            axis = jnp.array([0.0, 0.0, 1.0]) * sign
            angle = jax.random.uniform(key_angle, (), minval=low, maxval=goal_angle_max)
        else:
            axis = rotations.random_axis(key_axis)
            angle = rotations.random_angle(key_angle, low, goal_angle_max)
        turn = rotations.from_axis_angle(axis, angle)
        return rotations.canonical(rotations.multiply(turn, body.cube_quat))

    def distance(self, goal: jax.Array, body: Body) -> jax.Array:
        """Geodesic distance to the goal, rad in [0, π]."""
        return rotations.angle_between(goal, body.cube_quat)

    def dropped(self, body: Body) -> jax.Array:
        """Whether the cube has left the hand, judged in the palm's frame.

        The palm's frame turns with the wrist, so that bending it moves no threshold.
        """
        low = body.cube_height < DROP_HEIGHT
        far = jnp.linalg.norm(body.cube_in_palm) > DROP_DISTANCE
        return low | far

    def observe_goal(self, goal: jax.Array, body: Body) -> jax.Array:
        """The goal stream `[4]`: target orientation, or the rotation still to make."""
        if self.cfg.goal_encoding == "relative":
            return self.remaining(goal, body)
        return goal

    def remaining(self, goal: jax.Array, body: Body) -> jax.Array:
        """Rotation from the present orientation to the goal, quaternion `[4]`, w ≥ 0."""
        turn = rotations.multiply(goal, rotations.conjugate(body.cube_quat))
        return rotations.canonical(turn)

    def privileged(self, goal: jax.Array, body: Body) -> jax.Array:
        """What only the critic sees `[25]`.

        Fingertip positions (15, m), remaining rotation (4), the cube's linear (3, m/s) and
        angular (3, rad/s) velocity; all in the world's frame.
        """
        return jnp.concatenate(
            [
                body.fingertips,
                self.remaining(goal, body),
                body.cube_linear_velocity,
                body.cube_angular_velocity,
            ]
        )

    def reward_terms(
        self,
        weights: RewardConfig,
        *,
        progress: jax.Array,
        success: jax.Array,
        dropped: jax.Array,
        body: Body,
    ) -> dict[str, jax.Array]:
        """Signed, weighted terms whose sum is the reward.

        Args:
            progress: rad by which the distance to the present goal shrank in this step.
            success, dropped: bool, what happened in this step.
            body: the state after the step.
        """
        # The two wrist servos hold up the whole hand; the seed's cost leaves them out.
        force = jnp.sum(jnp.square(body.actuator_force[2:]))
        return {
            "time": jnp.float32(-weights.time),
            "progress": weights.progress * progress,
            "drop": -weights.drop * dropped,
            "success": weights.success * success,
            "force": -weights.force * force,
        }
