"""In-hand reorientation: turn the object to one orientation after another.

Goal      an orientation of the object in the world, at once replaced when reached
Reward    time, progress (rad), drop, success, force
Success   geodesic distance to the goal below `threshold`; if `position_tolerance` is set,
          the object must also lie within it of the mean place
          of settled objects
End       the object falls off the hand (terminated); a goal is not reached in time, or the
          last goal is reached (both truncated)

Variants: `goal_angle_max` and `goal_axis` (near goals, vertical axis only), `threshold`
(0.4 rad in the showcase; 0.2 and 0.1 are harder), `position_tolerance`, `pose_noise_angle`
and `pose_noise_position` (vision errs), `push_speed` (the object is pushed). In training:
`curriculum.onward` (goals go on about one axis).
"""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from mjxhand import pools, rotations, symmetry
from mjxhand.body import Body
from mjxhand.config import Config, ConfigError
from mjxhand.randomize import rows_of
from mjxhand.scene import Scene
from mjxhand.tasks.base import Sign, Task, refuse_sequence
from mjxhand.tasks.variants import check_object, variants

# A cube that rests on the palm has its centre 36 mm above the palm-centre site (palm half
# thickness 11 mm + half an edge). Below the middle of the palm it lies on nothing.
DROP_HEIGHT = 0.0
# Farther than this from the palm's centre nothing of the hand can hold it (the fingertips
# of the open hand are 0.14 m away). Isaac Gym's hand tasks use the same 0.24 m.
DROP_DISTANCE = 0.24

ANY = 3.1415
"""From this farthest goal on, rad, goals are in any orientation: π, in however few digits."""

PLACED = 128
"""Objects that settle for the place that `position_tolerance` is measured from."""


@chex.dataclass(frozen=True)
class Onward:
    """A goal that knows about which axis it turns, so that the next can go on about it."""

    quat: jax.Array  # [4] target orientation
    axis: jax.Array  # [3] unit vector in the world


class Reorient(Task):
    """Goals and rewards of the reorientation task.

    A goal is a quaternion `[4]`; with `curriculum.onward` an `Onward`.
    """

    def __init__(self, config: Config, scene: Scene):
        super().__init__(config, scene)
        self.place = None
        if self.cfg.position_tolerance is not None:
            self.place = _resting_place(config, scene)

    @classmethod
    def check(cls, config: Config) -> None:
        """Goals must lie beyond the threshold, and there must be an object."""
        env, curriculum = config.env, config.curriculum
        check_object(config)
        refuse_sequence(config)
        if env.threshold >= env.goal_angle_max:
            raise ConfigError(
                f"env.threshold ({env.threshold:g} rad) is not below env.goal_angle_max "
                f"({env.goal_angle_max:g} rad): every new goal would be reached already"
            )
        loosest, nearest = curriculum.threshold_start, env.goal_angle_max
        if curriculum.enabled:
            nearest = curriculum.start
        if loosest is not None and not env.threshold < loosest < nearest:
            raise ConfigError(
                f"curriculum.threshold_start ({loosest:g} rad) must be above env.threshold "
                f"({env.threshold:g}) and below the farthest goal at the start "
                f"({nearest:g})"
            )
        if curriculum.enabled and curriculum.goals > env.max_goals:
            raise ConfigError(
                f"curriculum.goals ({curriculum.goals:g} per episode) cannot be reached with "
                f"env.max_goals {env.max_goals}: goals would never grow farther; give "
                f"--curriculum.goals {0.5 * env.max_goals:g}, or --curriculum.no-enabled"
            )
        start = min(curriculum.start, np.pi)  # 3.1416 is allowed for π
        if curriculum.enabled and not env.threshold < start <= env.goal_angle_max:
            raise ConfigError(
                f"curriculum.start ({curriculum.start:g} rad) must be above env.threshold "
                f"({env.threshold:g}) and at most env.goal_angle_max "
                f"({env.goal_angle_max:g})"
            )

    def label(self, goal_angle_max: float) -> str:
        """The name, and in how far this variant is easier or harder than the full task."""
        cfg = self.cfg
        axis = "any axis" if cfg.goal_axis == "any" else "the vertical axis only"
        if cfg.goal_axis == "any" and goal_angle_max >= ANY:
            text = "reorient: any orientation (full task)"
        else:
            text = f"reorient-near: goals up to {goal_angle_max:.2f} rad away, {axis}"
        return ", ".join([text, *variants(self.config, self.scene.object)])

    @property
    def is_near(self) -> bool:
        """Whether goals are limited to less than any orientation."""
        return self.cfg.goal_angle_max < ANY or self.cfg.goal_axis != "any"

    @property
    def sizes(self) -> dict[str, int]:
        """The critic sees the true pose too where vision errs."""
        return {"vision": 7, "goal": 4, "privileged": 25 + 7 * self._errs}

    @property
    def _errs(self) -> bool:
        # No pose is told of frames, and the environment gives the critic the true one.
        if self.cfg.vision == "pixels":
            return False
        if self.cfg.vision == "perceived":
            return True
        rows = rows_of(self.config, self.scene.object)
        return any(row.told for row in rows.values())

    def first_goal(self, key: jax.Array, body: Body, params) -> Any:
        """A goal, never already reached.

        The turn from the present orientation has an axis uniform on the sphere and the
        angle of a uniform rotation, cut to (threshold, goal_angle_max]. With
        goal_angle_max = π the goal is uniform on SO(3) outside the success region, whatever
        the present orientation, since the Haar measure is invariant.
        """
        key_axis, key_angle = jax.random.split(key)
        return self._turned(key_angle, self._axis(key_axis), body, params)

    def next_goal(self, key: jax.Array, goal, body: Body, params) -> Any:
        """Likewise; with probability `params.onward` about the axis of `goal`."""
        if params.onward is None:
            return self.first_goal(key, body, params)
        key, key_onward = jax.random.split(key)
        key_axis, key_angle = jax.random.split(key)
        onward = jax.random.bernoulli(key_onward, params.onward)
        axis = jax.lax.select(onward, goal.axis, self._axis(key_axis))
        return self._turned(key_angle, axis, body, params)

    def _axis(self, key: jax.Array) -> jax.Array:
        if self.cfg.goal_axis == "z":
            return jnp.array([0.0, 0.0, 1.0]) * jax.random.rademacher(
                key, (), jnp.float32
            )
        return rotations.random_axis(key)

    def _turned(self, key: jax.Array, axis: jax.Array, body: Body, params) -> Any:
        """The goal that lies about `axis` from the present orientation."""
        farthest = jnp.minimum(params.goal_angle_max, jnp.pi)
        # A hair above the threshold, so that rounding never makes a solved goal.
        now = params.threshold
        loosest = self.threshold if now is None else jnp.maximum(self.threshold, now)
        low = loosest * 1.001
        if self.cfg.goal_axis == "z":
            angle = jax.random.uniform(key, (), minval=low, maxval=farthest)
        else:
            angle = rotations.random_angle(key, low, farthest)
        turn = rotations.from_axis_angle(axis, angle)
        quat = rotations.canonical(rotations.multiply(turn, body.cube_quat))
        return Onward(quat=quat, axis=axis) if self.config.curriculum.onward else quat

    def target(self, goal) -> jax.Array:
        """Target orientation `[4]` of a goal."""
        return goal.quat if self.config.curriculum.onward else goal

    def distance(self, goal, body: Body) -> jax.Array:
        """Geodesic distance to the goal, rad in [0, π]."""
        return rotations.angle_between(self.target(goal), body.cube_quat)

    def reached(self, goal, body: Body, distance: jax.Array) -> jax.Array:
        """Near enough in orientation and, if a tolerance is set, in position."""
        reached = distance < self.threshold
        if self.place is not None:
            off = jnp.linalg.norm(body.cube_in_palm - jnp.asarray(self.place))
            reached &= off < self.cfg.position_tolerance
        return reached

    def dropped(self, body: Body) -> jax.Array:
        """Whether the object has left the hand, judged in the palm's frame.

        The palm's frame turns with the wrist, so that bending it moves no threshold.
        """
        low = body.cube_height < DROP_HEIGHT
        far = jnp.linalg.norm(body.cube_in_palm) > DROP_DISTANCE
        return low | far

    def remaining(self, goal, body: Body) -> jax.Array:
        """Rotation from the present orientation to the goal, quaternion `[4]`, w ≥ 0."""
        back = rotations.conjugate(body.cube_quat)
        return rotations.canonical(rotations.multiply(self.target(goal), back))

    def observe(self, goal, body: Body, seen: Body) -> dict[str, jax.Array]:
        """What is seen.

        vision [7]: position (m) and orientation of the object, or of its look-alike.
        goal [4]: the target orientation, or the rotation still to make as vision has it.
        privileged [25]: fingertip positions (15, m), remaining rotation (4), the object's
        linear (3, m/s) and angular (3, rad/s) velocity; world frame. Where vision errs,
        7 more: the true pose.
        """
        relative = self.cfg.goal_encoding == "relative"
        folded = self.cfg.pose_encoding == "folded"
        seen_quat = symmetry.fold(seen.cube_quat) if folded else seen.cube_quat
        privileged = [
            body.fingertips,
            self.remaining(goal, body),
            body.cube_linear_velocity,
            body.cube_angular_velocity,
        ]
        if self._errs:
            privileged += [body.cube_pos, body.cube_quat]
        return {
            "vision": jnp.concatenate([seen.cube_pos, seen_quat]),
            "goal": self.remaining(goal, seen) if relative else self.target(goal),
            "privileged": jnp.concatenate(privileged),
        }

    def show(self, goal, qpos: np.ndarray, distance: float) -> Sign:
        """The goal object, turned; the angle of the state in the picture."""
        target = np.asarray(self.target(goal))
        likeness = abs(float(qpos[self.scene.cube_qpos][3:] @ target))
        angle = np.degrees(2.0 * np.arccos(min(1.0, likeness)))
        return Sign(text=f"{angle:.0f}° to the goal", quat=target)


def _resting_place(config: Config, scene: Scene) -> np.ndarray:
    """Mean place of settled objects, f32[3], m in the frame of site palm_centre.

    A 50 mm cube: (6, -42, 32) mm in the published and (8, -44, 22) mm in the cupped hand, each
    ± 1 cm; one of 80 mm lies 22 mm farther from the palm.
    """
    seconds = config.env.settle_seconds
    pool, _ = pools.start_states(
        scene, config.physics, num=PLACED, seconds=seconds, seed=0
    )
    return np.mean(pool.sensordata[:, scene.sensors["cube_in_palm"]], axis=0)
