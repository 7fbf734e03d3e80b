"""Chain: quarter turns of the object in a given order, from one of the cube's 24 orientations.

Goal      the sub-goals of `sequence` in order (l_r_u_d_c_a by default), each a turn of the
          last target by one or more quarter turns; the first turns the one of the 24
          orientations that is nearest to how the object lies
Reward    time, progress (rad), drop, success, force
Success   geodesic distance to the sub-goal below `threshold`
End       the object falls off the hand (terminated); a sub-goal is not reached in time, or
          the chain is complete (both truncated)

Metric `face_up`: which face is up, 0 … 5 for A … F.

Letters, quarter turns about the world's axes (fingers along +x, the palm turned up):

    l  r   roll to the left, to the right    -90°, +90° about x
    u  d   roll towards the fingertips,      +90°, -90° about y
           towards the wrist
    c  a   clockwise, anticlockwise          -90°, +90° about z
           as seen from above
"""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np

from mjxhand import look, rotations
from mjxhand.body import Body
from mjxhand.config import Config, ConfigError
from mjxhand.symmetry import GROUP as GROUP
from mjxhand.symmetry import nearest
from mjxhand.tasks.base import Sign, refuse_curriculum
from mjxhand.tasks.reorient import Reorient
from mjxhand.tasks.variants import check_object, variants

DEFAULT = "l_r_u_d_c_a"

LETTERS: dict[str, tuple[tuple[float, float, float], float]] = {
    # letter: axis in the world, angle (rad)
    "l": ((1.0, 0.0, 0.0), -math.pi / 2),
    "r": ((1.0, 0.0, 0.0), math.pi / 2),
    "u": ((0.0, 1.0, 0.0), math.pi / 2),
    "d": ((0.0, 1.0, 0.0), -math.pi / 2),
    "c": ((0.0, 0.0, 1.0), -math.pi / 2),
    "a": ((0.0, 0.0, 1.0), math.pi / 2),
}

# No orientation is farther than this from the nearest of the 24 (met between them), so a
# first goal, a quarter turn away from that, is at least 90° - 62.8° away.
FARTHEST = 2 * math.acos((math.sqrt(2) + 1) / math.sqrt(8))


@chex.dataclass(frozen=True)
class Goal:
    """One sub-goal of a chain."""

    quat: jax.Array  # [4] target orientation
    place: jax.Array  # [] int32, in the chain


def parse(sequence: str) -> np.ndarray:
    """Turns `[G, 4]` of a code: sub-goals joined by _, each of one or more letters.

    The letters of a sub-goal act one after the other: `lu` rolls left, then up.

    Raises:
        ConfigError: an unknown letter, an empty sub-goal, or one that turns nothing.
    """
    turns = []
    for word in sequence.split("_"):
        turn = np.array([1.0, 0.0, 0.0, 0.0])
        for letter in word:
            if letter not in LETTERS:
                raise ConfigError(
                    f"env.sequence is {sequence!r}: {letter!r} is no quarter turn, choose "
                    f"of {', '.join(LETTERS)} and join sub-goals by _"
                )
            axis, angle = LETTERS[letter]
            step = np.array(
                [math.cos(angle / 2), *(math.sin(angle / 2) * np.array(axis))]
            )
            turn = _multiply(step, turn)
        if abs(turn[0]) > 0.99:
            raise ConfigError(
                f"env.sequence is {sequence!r}: its sub-goal {word!r} turns nothing"
            )
        turns.append(turn)
    return np.array(turns)


def _multiply(q: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Hamilton product on the host, in double precision."""
    w, v, s, u = q[0], q[1:], p[0], p[1:]
    return np.array([w * s - v @ u, *(w * u + s * v + np.cross(v, u))])


def face_up(quat: jax.Array) -> jax.Array:
    """Which face of a cube turned by `quat` `[4]` is up: 0 … 5 for A … F, int32 `[]`."""
    up = rotations.rotate(rotations.conjugate(quat), jnp.array([0.0, 0.0, 1.0]))
    # In MuJoCo's order of faces: +x, -x, +y, -y, +z, -z.
    return jnp.argmax(jnp.stack([up, -up], axis=-1).ravel()).astype(jnp.int32)


class Chain(Reorient):
    """Reorientation along a chain; a goal is a `Goal`."""

    metrics = ("face_up",)

    def __init__(self, config, scene):
        super().__init__(config, scene)
        self.code = self.cfg.sequence or DEFAULT
        self.turns = parse(self.code)

    @classmethod
    def check(cls, config: Config) -> None:
        """The code must be one, and a first goal must lie beyond the threshold."""
        check_object(config)
        parse(config.env.sequence or DEFAULT)
        least = math.pi / 2 - FARTHEST
        if config.env.threshold >= least:
            raise ConfigError(
                f"env.threshold ({config.env.threshold:g} rad) must be below {least:.3f} "
                "for chain: a first goal could be reached already"
            )
        refuse_curriculum(config)

    def label(self, goal_angle_max: float) -> str:
        """The name and the code."""
        return ", ".join(
            [f"chain: {self.code}", *variants(self.config, self.scene.object)]
        )

    @property
    def is_near(self) -> bool:
        """A chain has no nearer variant."""
        return False

    @property
    def num_goals(self) -> int:
        """The chain's length."""
        return len(self.turns)

    def first_goal(self, key: jax.Array, body: Body, params) -> Goal:
        """The first turn, from the orientation of the 24 that is nearest."""
        return self._turn(nearest(body.cube_quat), jnp.int32(0))

    def next_goal(self, key: jax.Array, goal: Goal, body: Body, params) -> Goal:
        """The next turn, from the last target; after the last, the first again."""
        return self._turn(goal.quat, (goal.place + 1) % self.num_goals)

    def _turn(self, quat: jax.Array, place: jax.Array) -> Goal:
        turn = jnp.asarray(self.turns, jnp.float32)[place]
        # To the nearest of the 24, so that rounding never adds up.
        return Goal(quat=nearest(rotations.multiply(turn, quat)), place=place)

    def target(self, goal: Goal) -> jax.Array:
        """Target orientation `[4]` of a goal."""
        return rotations.canonical(goal.quat)

    def extra_metrics(self, goal: Goal, body: Body) -> dict[str, jax.Array]:
        """Which face is up."""
        return {"face_up": face_up(body.cube_quat)}

    def show(self, goal: Goal, qpos: np.ndarray, distance: float) -> Sign:
        """The goal object; which letter of the chain, and the face that is up."""
        sign = super().show(goal, qpos, distance)
        words = self.code.split("_")
        letter, _ = look.FACES[
            int(face_up(jnp.asarray(qpos[self.scene.cube_qpos][3:])))
        ]
        place = int(goal.place)
        return Sign(
            f"{sign.text}, {letter} up",
            quat=sign.quat,
            name=f"{words[place]} ({place + 1} of {len(words)})",
        )
