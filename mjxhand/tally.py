"""What is counted of whole episodes, and what it says: numbers for a file, a line for a person."""

import math
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from mjxhand.episode import State

QUARTERS = 4
"""Classes of goals by their angle when they were given: of π / 4 each."""


@chex.dataclass(frozen=True)
class Tally:
    """What is counted of each environment's one episode; `[N]` where nothing else is said."""

    over: jax.Array  # bool
    goals: jax.Array
    goal_time: jax.Array  # control steps spent on goals that were reached
    length: jax.Array  # control steps
    reward: jax.Array  # sum of rewards
    dropped: jax.Array
    timed_out: jax.Array
    complete: jax.Array
    invalid: jax.Array
    distance: jax.Array  # to the present goal when it was given
    given: jax.Array  # [N, QUARTERS] goals that are over, by that distance
    reached: jax.Array  # [N, QUARTERS] those of them that were reached


def begin(episodes: int) -> Tally:
    """Before anything was counted."""
    zeros = jnp.zeros(episodes)
    classes = dict.fromkeys(("given", "reached"), jnp.zeros((episodes, QUARTERS)))
    names = [name for name in Tally.__annotations__ if name not in ("over", *classes)]
    return Tally(over=zeros > 0, **dict.fromkeys(names, zeros), **classes)


def count(tally: Tally, before: State, after: State, ended: jax.Array) -> Tally:
    """The tally after one more control step: a first episode counts until it has ended."""
    live = ~tally.over
    m = after.metrics
    gained = m["success"] * live

    def at_end(name):
        return getattr(tally, name) + m[name] * (live & ended)

    distance = jnp.where(before.goal_step == 0, before.distance, tally.distance)
    quarter = jnp.minimum(distance / (math.pi / QUARTERS), QUARTERS - 1)
    classes = jax.nn.one_hot(quarter.astype(int), QUARTERS)
    settled = live * jnp.maximum(m["success"], ended)

    return Tally(
        over=tally.over | ended,
        goals=tally.goals + gained,
        goal_time=tally.goal_time + gained * (before.goal_step + 1),
        length=tally.length + live,
        reward=tally.reward + after.reward * live,
        dropped=at_end("dropped"),
        timed_out=at_end("timed_out"),
        complete=at_end("complete"),
        invalid=at_end("invalid"),
        distance=distance,
        given=tally.given + settled[:, None] * classes,
        reached=tally.reached + gained[:, None] * classes,
    )


def summary(tally: Tally, control_seconds: float) -> dict[str, Any]:
    """What the episodes came to, JSON-ready.

    Args:
        tally: on the host.
        control_seconds: duration of a control step, s.
    """
    goals = np.asarray(tally.goals)
    total = float(goals.sum())
    sd = float(goals.std(ddof=1)) if len(goals) > 1 else 0.0
    values, counts = np.unique(goals.astype(int), return_counts=True)
    seconds = control_seconds * float(tally.goal_time.sum())
    return {
        "episodes": len(goals),
        "unfinished": int((~np.asarray(tally.over)).sum()),
        "goals": {
            "mean": float(goals.mean()),
            "sd": sd,
            "ci95": half_width(goals),
            "median": float(np.median(goals)),
            "max": int(goals.max()),
            "histogram": {int(v): int(c) for v, c in zip(values, counts, strict=True)},
        },
        "seconds_per_goal": seconds / total if total else None,
        "drop_rate": float(tally.dropped.mean()),
        "time_out_rate": float(tally.timed_out.mean()),
        "complete_rate": float(tally.complete.mean()),
        "invalid_rate": float(tally.invalid.mean()),
        "episode_seconds": control_seconds * float(tally.length.mean()),
        "return": float(tally.reward.mean()),
        "by_distance": [
            {
                "up_to": (i + 1) * math.pi / QUARTERS,
                "goals": int(tally.given[:, i].sum()),
                "reached": int(tally.reached[:, i].sum()),
            }
            for i in range(QUARTERS)
        ],
    }


def half_width(x: np.ndarray) -> float:
    """Half of the 95 % interval of a mean, by Student's t; 0 of a single number."""
    n = len(x)
    if n < 2:
        return 0.0
    return float(special.stdtrit(n - 1, 0.975) * x.std(ddof=1) / math.sqrt(n))


def per_episode(tally: Tally) -> dict[str, np.ndarray]:
    """Of every episode, in the order of its environment: what pairs two policies' episodes.

    Returns:
        `goals`, `dropped` and `timed_out` (0 or 1), float64 `[N]`.
    """
    names = ("goals", "dropped", "timed_out")
    return {name: np.asarray(getattr(tally, name), np.float64) for name in names}


def by_distance(result: dict[str, Any]) -> str:
    """One line for a person: which share of goals was reached, by their angle at first."""
    said = [
        f"{math.degrees(part['up_to']) - 180 / QUARTERS:.0f}° to "
        f"{math.degrees(part['up_to']):.0f}°: "
        f"{100 * part['reached'] / part['goals']:.1f} % of {part['goals']}"
        for part in result["by_distance"]
        if part["goals"]
    ]
    return "goals reached, by how far they were: " + ", ".join(said)


def sentence(result: dict[str, Any]) -> str:
    """One line for a person."""
    goals = result["goals"]
    per_goal = result["seconds_per_goal"]
    pace = f"{per_goal:.1f} s per goal" if per_goal else "no goal reached"
    if result["object"] == "none":
        end = f"all of them in {100 * result['complete_rate']:.1f} %"
    else:
        end = f"dropped in {100 * result['drop_rate']:.1f} %"
    if result["episodes"] == 1:  # whose mean has an interval that nobody knows
        return f"{goals['max']} goals in the one episode, {pace}, {end} of 1 episode"
    return (
        f"{goals['mean']:.2f} ± {goals['ci95']:.2f} goals per episode "
        f"(median {goals['median']:g}, most {goals['max']}), {pace}, "
        f"{end} of {result['episodes']} episodes"
    )
