"""What a task is: its goals, its distance, its rewards, its ends, what is seen of it.

A task is one file with one subclass of `Task`. To make another, copy `reach.py` (the
shortest), change it, and run it from wherever it lies:

    python -m mjxhand.train reach --env.task my_file:MyTask --out DIR

A goal is any pytree of arrays. Functions of `goal` and `body` are pure JAX on *one*
environment (no batch axis); `mjxhand.env` vmaps and compiles them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from mjxhand.body import Body
from mjxhand.config import Config, ConfigError, EnvConfig, RewardConfig
from mjxhand.control import WRIST
from mjxhand.scene import Scene

if TYPE_CHECKING:
    from mjxhand.env import EnvParams

Goal = Any  # a pytree of arrays without a batch axis


@dataclass(frozen=True)
class Mark:
    """A ball that a film shows, m in the world, or fixed to a site if `site` names one."""

    rgba: tuple[float, float, float, float]
    radius: float
    pos: tuple[float, float, float] = (0.0, 0.0, 0.0)
    site: str = ""


@dataclass(frozen=True)
class Sign:
    """How a film shows a goal."""

    text: str  # what is still to do, a few words: "28° to the goal"
    quat: np.ndarray | None = None  # orientation of the goal object, where one is shown
    name: str = "goal"  # written below the goal object
    marks: tuple[Mark, ...] = ()


class Task:
    """Goals and rewards of one environment. Subclasses override what differs."""

    object = "cube"
    """What lies in the hand unless `scene.object` says otherwise; "none": nothing."""
    measure = "angle"
    """Name of `distance` among the metrics."""
    unit = "rad"
    """Unit of `distance`."""
    terms: tuple[str, ...] = ("time", "progress", "drop", "success", "force")
    """Names of the reward terms, all of them, always."""
    metrics: tuple[str, ...] = ()
    """Names of the task's own metrics, see `extra_metrics`."""
    goal_names: tuple[str, ...] = ()
    """Where the goal that is observed is one choice of few: the name of each."""

    def __init__(self, config: Config, scene: Scene):
        self.config = config
        self.cfg: EnvConfig = config.env
        self.scene = scene

    @classmethod
    def check(cls, config: Config) -> None:
        """Refuse settings with which the task cannot work.

        Raises:
            ConfigError: one line that names the numbers and the fix.
        """

    # What it is called and how long it lasts.

    def label(self, goal_angle_max: float) -> str:
        """Honest one-line name: how far from the full task this variant is.

        Args:
            goal_angle_max: farthest goal, rad, for tasks that limit it.
        """
        return type(self).__name__.lower()

    @property
    def is_near(self) -> bool:
        """Whether goals lie nearer than in the full task, so that both are evaluated."""
        return False

    @property
    def threshold(self) -> float:
        """Distance below which a goal counts as reached, in `unit`."""
        return self.cfg.threshold

    @property
    def num_goals(self) -> int:
        """Goals after which an episode is complete."""
        return self.cfg.max_goals

    # Goals.

    def make_goals(self, seed: int) -> Any:
        """What goals are drawn from, made on the host; becomes `params.goals`."""
        return None

    def first_goal(self, key: jax.Array, body: Body, params: "EnvParams") -> Goal:
        """Goal at the start of an episode, never already reached."""
        raise NotImplementedError

    def next_goal(
        self, key: jax.Array, goal: Goal, body: Body, params: "EnvParams"
    ) -> Goal:
        """Goal that follows `goal`, just reached, at once; never already reached."""
        return self.first_goal(key, body, params)

    def distance(self, goal: Goal, body: Body) -> jax.Array:
        """How far the goal is, `[]`, in `unit`; the progress term pays for its decrease."""
        raise NotImplementedError

    def reached(self, goal: Goal, body: Body, distance: jax.Array) -> jax.Array:
        """Whether the goal counts as reached, bool `[]`."""
        return distance < self.threshold

    # Reward and end.

    def dropped(self, body: Body) -> jax.Array:
        """Whether the object has left the hand, bool `[]`; it ends the episode."""
        return jnp.bool_(False)

    def reward_terms(
        self,
        weights: RewardConfig,
        *,
        progress: jax.Array,
        success: jax.Array,
        dropped: jax.Array,
        body: Body,
    ) -> dict[str, jax.Array]:
        """Signed, weighted terms whose sum is the reward; the keys are `terms`.

        Args:
            progress: by how much the distance to the present goal shrank in this step.
            success, dropped: bool, what happened in this step.
            body: the state after the step.
        """
        # Not of the two wrist servos, which hold up the whole hand.
        force = jnp.sum(jnp.square(body.actuator_force[WRIST:]))
        every = {
            "time": jnp.float32(-weights.time),
            "progress": weights.progress * progress,
            "drop": -weights.drop * dropped,
            "success": weights.success * success,
            "force": -weights.force * force,
        }
        return {name: every[name] for name in self.terms}

    # What is seen.

    @property
    def sizes(self) -> dict[str, int]:
        """Lengths of the three streams that `observe` returns."""
        raise NotImplementedError

    def observe(self, goal: Goal, body: Body, seen: Body) -> dict[str, jax.Array]:
        """The streams `vision`, `goal` and `privileged` (for the critic only).

        Args:
            body: the state as it is.
            seen: the state as the senses give it, with their errors, if any.
        """
        raise NotImplementedError

    def extra_metrics(self, goal: Goal, body: Body) -> dict[str, jax.Array]:
        """The task's own metrics, each `[]`; the keys are `metrics`."""
        return {}

    def show(self, goal: Goal, qpos: np.ndarray, distance: float) -> Sign:
        """How a film shows the goal; on the host.

        Args:
            goal: as numpy arrays.
            qpos: [nq] the state in the picture.
            distance: to the goal, at the start of the control step.
        """
        return Sign(text=f"{distance:.2f} {self.unit} to the goal")


def refuse_curriculum(config: Config) -> None:
    """Refuse a curriculum where goals have no angles."""
    name = config.env.task
    if config.curriculum.enabled:
        raise ConfigError(
            f"env.task {name} has no goal angles to grow: give --curriculum.no-enabled"
        )
    if config.curriculum.threshold_start is not None:
        raise ConfigError(
            f"env.task {name} has no threshold that falls: leave out "
            "--curriculum.threshold-start"
        )
    if config.curriculum.onward:
        raise ConfigError(
            f"env.task {name} has no axes to go on about: give --curriculum.onward 0"
        )


def refuse_sequence(config: Config) -> None:
    """Refuse a sequence where goals have no order."""
    if config.env.sequence:
        raise ConfigError(
            f"env.sequence is {config.env.sequence!r}, but the goals of "
            f"{config.env.task} have no order: it is for chain and opposition"
        )
