"""What an environment carries: the parameters of a run, the state between two steps."""

from typing import Any

import chex
import jax

from mjxhand.physics import PhysicsState
from mjxhand.tasks.base import Goal

METRICS = (
    "goals",
    "success",
    "dropped",
    "timed_out",
    "complete",
    "invalid",
    "overflow",
    "return",
    "length",
)
"""Names in `State.metrics` of every task."""


@chex.dataclass(frozen=True)
class EnvParams:
    """What a run may change without recompiling."""

    pool: PhysicsState  # [P, ...] settled states that resets draw from
    goal_angle_max: jax.Array  # [] rad, the curriculum's farthest goal
    goals: Any = None  # what the task draws goals from, if it needs anything
    worlds: Any = None  # randomize.World [P, ...]: in what each pool state differs
    threshold: Any = None  # [] the curriculum's threshold; None: the task's own
    onward: Any = None  # [] probability that a goal goes on about an axis; None: never
    keep_state: Any = (
        None  # [] probability that a time-out leaves the hand as it is; None: never
    )
    looks: Any = None  # [P, ...] what `Env.look` gives of the pool, if there is an eye
    stream: Any = None  # weights of what reads the pose from frames; None: nothing does


@chex.dataclass(frozen=True)
class State:
    """One environment between two control steps."""

    physics: PhysicsState
    target: jax.Array  # [A] servo targets, rad
    goal: Goal  # the task's; reorient: [4] target orientation, w x y z
    distance: jax.Array  # [] to the goal, rad or m, see the task
    goal_step: jax.Array  # [] int32, control steps spent on this goal
    episode_step: jax.Array  # [] int32
    goals: jax.Array  # [] int32, goals reached in this episode
    key: jax.Array  # [2] uint32
    obs: dict[str, jax.Array]  # stream → [size]; frames u8[H, W, C]
    reward: jax.Array  # []
    terminated: jax.Array  # [] bool: dropped, or a state that is no number
    truncated: jax.Array  # [] bool: out of time, or all goals reached
    metrics: dict[str, jax.Array]  # name → []
    world: Any = None  # randomize.World of this episode; None: nothing is randomised
    perceived: Any = (
        None  # [7] pose read from a frame; None: the pose is told, or not read
    )
