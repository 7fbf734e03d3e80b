"""What `metrics.jsonl` says of one update."""

import math
from typing import Any

from mjxhand import ppo, watch
from mjxhand.config import Config

PER_EPISODE = (
    "goals_per_episode",
    "drop_rate",
    "time_out_rate",
    "episode_return",
    "episode_length",
)
SECONDS_PER_YEAR = 365.25 * 86_400


def line(
    config: Config, update: int, m: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """Numbers of one update by name.

    Args:
        update: counts from 1.
        m: what the compiled update measured, on the host.
        seconds: how long the update took.
    """
    steps = update * config.steps_per_update
    line = {
        "update": update,
        "env_steps": steps,
        "simulated_years": steps * config.control_seconds / SECONDS_PER_YEAR,
        "sps": config.steps_per_update / seconds,
        "seconds": seconds,
        "episodes": m["episodes"],
        "goals_per_episode": m["episode/goals"],
        "drop_rate": m["episode/dropped"],
        "time_out_rate": m["episode/timed_out"],
        "episode_return": m["episode/return"],
        "episode_length": m["episode/length"],
        "invalid_states": m["step/invalid"] * config.steps_per_update,
        "overflow_rate": m["step/overflow"],
        ppo.SKIPPED: m[ppo.SKIPPED],
        "goal_angle_max": m["goal_angle_max"],
        **watch.memory(),
    }
    if not m["episodes"]:  # then nothing is known of episodes
        for name in PER_EPISODE:
            line[name] = math.nan
    if "threshold" in m:
        line["threshold"] = m["threshold"]
    for name, value in m.items():
        if name.startswith("step/reward/"):
            line[name.removeprefix("step/")] = value
        elif name.startswith(("loss/", "policy/", "value/")):
            line[name] = value
    return {k: v if isinstance(v, int) else float(v) for k, v in line.items()}
