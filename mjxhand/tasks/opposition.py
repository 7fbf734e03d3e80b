"""Opposition: touch the tip of a named finger with the tip of the thumb, empty-handed.

Goal      a finger: drawn at random, never the one just touched, or in the order of
          `sequence` (such as ff_mf_rf_lf, again and again)
Reward    time, progress (m), success, force
Success   the tips of thumb and finger are within `tip_threshold` of each other (sites thtip
          and fftip …: those of touching tips are 13 to 17 mm apart), the touch pads of both
          last links feel a force, and no other finger's tip is within `tip_threshold`
End       a goal is not reached in time, or the last goal is reached (both truncated)

Since touching two fingers at once does not count, a next goal is never already reached.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from mjxhand import touch
from mjxhand.body import Body
from mjxhand.config import Config, ConfigError
from mjxhand.tasks.base import Mark, Sign, Task
from mjxhand.tasks.reach import COLOURS, check_empty, rgba
from mjxhand.tasks.variants import of_any_task

FINGERS = {"ff": "first finger", "mf": "middle finger", "rf": "ring finger"}
FINGERS["lf"] = "little finger"

TIP_PADS = np.array(
    [
        [pad.name.startswith(f"touch_{finger}tip_") for pad in touch.PADS]
        for finger in (*FINGERS, "th")
    ]
)
"""bool [5, 92]: the touch pads of the last link of each finger and of the thumb."""
LEAST_FORCE = 0.01
"""What a tip must feel to be touched, N."""


@chex.dataclass(frozen=True)
class Goal:
    """Which finger is to be touched."""

    finger: jax.Array  # [] int32, in FINGERS
    place: jax.Array  # [] int32, in the sequence, if there is one


def parse(sequence: str, max_goals: int) -> tuple[int, ...]:
    """Fingers of a sequence such as `ff_mf_rf_lf`, as indices in FINGERS; "" is ().

    Args:
        max_goals: goals of an episode; after the only one nothing follows.

    Raises:
        ConfigError: an unknown finger; the same finger twice in a row.
    """
    if not sequence:
        return ()
    names, order = list(FINGERS), []
    for word in sequence.split("_"):
        if word not in names:
            raise ConfigError(
                f"env.sequence is {sequence!r}: {word!r} is no finger, choose of "
                f"{', '.join(names)} and join them by _"
            )
        order.append(names.index(word))
    alone = len(order) == max_goals == 1
    if not alone and any(
        a == b for a, b in zip(order, order[1:] + order[:1], strict=True)
    ):
        raise ConfigError(
            f"env.sequence is {sequence!r}: a finger follows itself, over the end too, and "
            "would be touched already; one finger alone needs --env.max-goals 1"
        )
    return tuple(order)


class Opposition(Task):
    """Thumb to finger; a goal is a `Goal`."""

    object = "none"
    measure = "distance"
    unit = "m"
    terms = ("time", "progress", "success", "force")
    goal_names = tuple(FINGERS.values())

    def __init__(self, config, scene):
        super().__init__(config, scene)
        self.order = parse(self.cfg.sequence, self.cfg.max_goals)

    @classmethod
    def check(cls, config: Config) -> None:
        """The hand must be empty, the sequence one of fingers."""
        check_empty(config)
        parse(config.env.sequence, config.env.max_goals)

    def label(self, goal_angle_max: float) -> str:
        """The name, the tolerance, the order."""
        which = f"in the order {self.cfg.sequence}" if self.order else "in random order"
        text = (
            f"opposition: thumb to fingers {which}, within {1000 * self.threshold:g} mm"
        )
        return ", ".join([text, *of_any_task(self.config)])

    @property
    def threshold(self) -> float:
        """Metres."""
        return self.cfg.tip_threshold

    def first_goal(self, key: jax.Array, body: Body, params) -> Goal:
        """The first of the sequence, or any, of the fingers that are not touched."""
        free = self.gaps(body) > 1.001 * self.threshold
        if not self.order:
            return Goal(finger=_draw(key, free), place=jnp.int32(0))
        order = jnp.array(self.order, jnp.int32)
        # With `curriculum.keep_state` an episode may begin on a touched finger.
        place = jnp.argmax(free[order]).astype(jnp.int32)
        return Goal(finger=order[place], place=place)

    def next_goal(self, key: jax.Array, goal: Goal, body: Body, params) -> Goal:
        """The next of the sequence, or any finger but the one just touched."""
        if self.order:
            place = (goal.place + 1) % len(self.order)
            return Goal(finger=jnp.array(self.order, jnp.int32)[place], place=place)
        others = jnp.arange(len(FINGERS)) != goal.finger
        return Goal(finger=_draw(key, others), place=goal.place)

    def gaps(self, body: Body) -> jax.Array:
        """Distances `[4]`, m, of the fingers' tips from the thumb's."""
        tips = body.fingertips.reshape(5, 3)
        return jnp.linalg.norm(tips[:4] - tips[4], axis=-1)

    def distance(self, goal: Goal, body: Body) -> jax.Array:
        """Distance of the named finger's tip from the thumb's, m."""
        return self.gaps(body)[goal.finger]

    def reached(self, goal: Goal, body: Body, distance: jax.Array) -> jax.Array:
        """The named finger is touched and no other is near."""
        near = self.gaps(body) < self.threshold
        felt = jnp.asarray(TIP_PADS, jnp.float32) @ body.touch > LEAST_FORCE
        return near[goal.finger] & (jnp.sum(near) == 1) & felt[goal.finger] & felt[4]

    @property
    def sizes(self) -> dict[str, int]:
        """Vision: five fingertips; goal: one of four fingers; privileged: see `observe`."""
        return {"vision": 15, "goal": 4, "privileged": 7}

    def observe(self, goal: Goal, body: Body, seen: Body) -> dict[str, jax.Array]:
        """What is seen.

        vision [15]: where the fingertips are, m, world frame.
        goal [4]: 1 for the finger to touch, else 0.
        privileged [7]: the way from the thumb's tip to the named finger's (3, m, world
        frame), and the distance from each finger (4, m).
        """
        tips = body.fingertips.reshape(5, 3)
        return {
            "vision": seen.fingertips,
            "goal": jax.nn.one_hot(goal.finger, len(FINGERS)),
            "privileged": jnp.concatenate(
                [tips[goal.finger] - tips[4], self.gaps(body)]
            ),
        }

    def show(self, goal: Goal, qpos: np.ndarray, distance: float) -> Sign:
        """A ball on the thumb's tip and on that of the finger to touch."""
        name = list(FINGERS)[int(goal.finger)]
        colour = rgba(COLOURS[f"{name}tip"], 1.0)
        marks = tuple(
            Mark(colour, 0.0105, site=site) for site in (f"{name}tip", "thtip")
        )
        return Sign(f"{FINGERS[name]}: {1000 * distance:.0f} mm", marks=marks)


def _draw(key: jax.Array, allowed: jax.Array) -> jax.Array:
    """One of the allowed indices, uniformly; any index if none is allowed."""
    logits = jnp.where(allowed | ~jnp.any(allowed), 0.0, -jnp.inf)
    return jax.random.categorical(key, logits).astype(jnp.int32)
