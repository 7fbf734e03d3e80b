"""Reach: bring all five fingertips to their targets, with an empty hand.

Goal      five points in the world, where the fingertips of another posture were: one that
          the servos held, so that every goal can be reached
Reward    time, progress (m), success, force
Success   the fingertips are within `tip_threshold` of their targets in the mean
End       a goal is not reached in time, or the last goal is reached (both truncated)
"""

import jax
import jax.numpy as jnp
import numpy as np

from mjxhand import pools
from mjxhand.body import Body
from mjxhand.config import Config, ConfigError
from mjxhand.control import WRIST
from mjxhand.hand import FINGERTIPS
from mjxhand.tasks.base import Mark, Sign, Task, refuse_curriculum, refuse_sequence
from mjxhand.tasks.variants import of_any_task

POSTURES = 2048
"""Postures that goals are drawn from."""
DRAWS = 16
"""Postures drawn for one goal. One in a hundred counts as reached from another, so that all of
these do is beyond chance; weighing every posture took as long as the physics."""
HOLD_SECONDS = 1.2
"""Time that the servos are given to take a posture, seconds."""
REACH = 0.5
"""How far a posture's servo targets are from those of the start posture: the part of the
way to a target that is uniform in the servo's range."""

COLOURS = {  # of the fingers, as a film shows them (Okabe and Ito 2008)
    "fftip": "#E69F00",
    "mftip": "#56B4E9",
    "rftip": "#009E73",
    "lftip": "#F0E442",
    "thtip": "#D55E00",
}


def rgba(colour: str, alpha: float) -> tuple[float, float, float, float]:
    """`#RRGGBB` as numbers in [0, 1]."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue, alpha


def check_empty(config: Config) -> None:
    """Refuse an object in the hand."""
    if config.scene.object not in ("auto", "none"):
        raise ConfigError(
            f"env.task {config.env.task} is done with an empty hand: leave out "
            f"--scene.object {config.scene.object}"
        )
    refuse_curriculum(config)


class Reach(Task):
    """A goal is the five target points, `[15]`, m, world frame, FF MF RF LF TH."""

    object = "none"
    measure = "distance"
    unit = "m"
    terms = ("time", "progress", "success", "force")

    @classmethod
    def check(cls, config: Config) -> None:
        """The hand must be empty, and goals have no order."""
        check_empty(config)
        refuse_sequence(config)

    def label(self, goal_angle_max: float) -> str:
        """The name and the tolerance."""
        text = f"reach: five fingertips within {1000 * self.threshold:g} mm"
        if self.cfg.goal_encoding == "relative":
            text += ", targets given as the ways still to go"
        return ", ".join([text, *of_any_task(self.config)])

    @property
    def threshold(self) -> float:
        """Metres."""
        return self.cfg.tip_threshold

    def make_goals(self, seed: int) -> np.ndarray:
        """Fingertips `[POSTURES, 15]` of postures that the servos have taken and held."""
        rng = np.random.default_rng([seed, 1])
        low, high = self.scene.ctrl_range.T
        anywhere = rng.uniform(low, high, (POSTURES, len(low)))
        start = self.scene.start_ctrl
        targets = start + REACH * (anywhere - start)
        if self.cfg.hold_wrist:
            targets[:, :WRIST] = start[:WRIST]
        held = pools.hold(self.scene, self.config.physics, targets, HOLD_SECONDS)
        return np.asarray(held.sensordata)[:, self.scene.sensors["fingertip"]]

    def first_goal(self, key: jax.Array, body: Body, params) -> jax.Array:
        """A posture's fingertips, drawn uniformly from those not already reached.

        The first of `DRAWS` postures that is not; if all are, the farthest of them.
        """
        goals = jnp.asarray(params.goals)
        goals = goals[jax.random.randint(key, (DRAWS,), 0, len(goals))]
        away = jax.vmap(self.distance, in_axes=(0, None))(goals, body)
        # A hair above the threshold, so that rounding never makes a solved goal.
        far = away > 1.001 * self.threshold
        return goals[jnp.where(jnp.any(far), jnp.argmax(far), jnp.argmax(away))]

    def distance(self, goal, body: Body) -> jax.Array:
        """Mean distance of the fingertips from their targets, m."""
        way = (goal - body.fingertips).reshape(len(FINGERTIPS), 3)
        return jnp.mean(jnp.linalg.norm(way, axis=-1))

    @property
    def sizes(self) -> dict[str, int]:
        """Three numbers per fingertip in each."""
        return {"vision": 15, "goal": 15, "privileged": 15}

    def observe(self, goal, body: Body, seen: Body) -> dict[str, jax.Array]:
        """What is seen, m.

        vision [15]: where the fingertips are.
        goal [15]: where they should be, or the ways still to go.
        privileged [15]: the ways still to go.
        """
        relative = self.cfg.goal_encoding == "relative"
        return {
            "vision": seen.fingertips,
            "goal": goal - seen.fingertips if relative else goal,
            "privileged": goal - body.fingertips,
        }

    def show(self, goal, qpos: np.ndarray, distance: float) -> Sign:
        """A pale ball at each target and a small one of its colour on each fingertip."""
        marks = []
        for (tip, colour), pos in zip(
            COLOURS.items(), np.reshape(goal, (-1, 3)), strict=True
        ):
            x, y, z = (float(v) for v in pos)
            marks.append(Mark(rgba(colour, 0.45), self.threshold / 2, pos=(x, y, z)))
            marks.append(Mark(rgba(colour, 1.0), 0.0085, site=tip))
        return Sign(f"{1000 * distance:.0f} mm to the goal", marks=tuple(marks))
