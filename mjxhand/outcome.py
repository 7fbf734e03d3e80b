"""What came of one control step: rewards, and whether the goal or the episode is over."""

import chex
import jax
import jax.numpy as jnp

from mjxhand.body import Body
from mjxhand.config import RewardConfig
from mjxhand.episode import EnvParams, State
from mjxhand.tasks.base import Task


@chex.dataclass(frozen=True)
class Outcome:
    """Of one environment; all `[]`."""

    distance: jax.Array  # to the goal that the step was for, rad or m
    terms: dict[str, jax.Array]  # reward terms by name
    reward: jax.Array  # their sum
    success: jax.Array  # bool: that goal is reached
    dropped: jax.Array  # bool
    goals: jax.Array  # int32, goals reached in this episode
    timed_out: jax.Array  # bool: truncated for want of time
    complete: jax.Array  # bool: truncated because all goals are reached
    terminated: jax.Array  # bool: dropped, or a state that is no number
    truncated: jax.Array  # bool


def judge(
    task: Task,
    weights: RewardConfig,
    goal_steps: int,
    state: State,
    body: Body,
    finite: jax.Array,
    params: EnvParams,
) -> Outcome:
    """Judge a control step.

    Args:
        goal_steps: control steps allowed per goal.
        state: before the step.
        body: after the step.
        finite: bool `[]`, whether the physics gave a state that is one.
    """
    distance = task.distance(state.goal, body)
    dropped = task.dropped(body) & finite
    # Tasks compare with their own threshold. Where a curriculum has another one, the distance
    # is scaled instead, so that both ratios are equal.
    scaled = distance
    if params.threshold is not None:
        scaled = distance * (task.threshold / params.threshold)
    success = task.reached(state.goal, body, scaled) & ~dropped & finite
    terms = task.reward_terms(
        weights,
        progress=state.distance - distance,
        success=success,
        dropped=dropped,
        body=body,
    )
    goals = state.goals + success
    complete = goals >= task.num_goals
    timed_out = (state.goal_step + 1 >= goal_steps) & ~success
    terminated = dropped | ~finite
    truncated = (timed_out | complete) & ~terminated
    return Outcome(
        distance=distance,
        terms=terms,
        reward=sum(terms.values(), jnp.float32(0)),
        success=success,
        dropped=dropped,
        goals=goals,
        timed_out=timed_out & truncated,
        complete=complete & truncated,
        terminated=terminated,
        truncated=truncated,
    )
