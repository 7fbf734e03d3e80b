"""The curriculum: goals that grow farther with success, a threshold that falls on schedule."""

import jax
import jax.numpy as jnp

from mjxhand.config import Config, CurriculumConfig
from mjxhand.devices import mean, total
from mjxhand.types import Progress, Rollout


def advance(
    progress: Progress,
    cfg: CurriculumConfig,
    limit: float,
    experience: Rollout,
) -> tuple[Progress, dict[str, jax.Array]]:
    """Count every episode that ended; move the curriculum; per-update statistics."""
    ended = experience.episode_end.astype(jnp.float32)
    episodes = total(ended)
    metrics = {"episodes": episodes, "goal_angle_max": progress.goal_angle_max}
    for name, values in experience.metrics.items():
        metrics[f"step/{name}"] = mean(values)
        # 0 where no episode ended.
        metrics[f"episode/{name}"] = total(values * ended) / jnp.maximum(episodes, 1.0)
    if not cfg.enabled:
        return progress, metrics
    goals = progress.goals + total(experience.metrics["goals"] * ended)
    episodes = progress.episodes + episodes
    full = episodes >= cfg.episodes
    grow = full & (goals >= cfg.goals * episodes)
    angle = progress.goal_angle_max
    return Progress(
        goal_angle_max=jnp.where(grow, jnp.minimum(angle * cfg.growth, limit), angle),
        goals=jnp.where(full, 0.0, goals),
        episodes=jnp.where(full, 0.0, episodes),
    ), metrics


def threshold_at(config: Config, steps: jax.Array) -> jax.Array | None:
    """Threshold of the curriculum after that many control steps; None: it has none."""
    start, end = config.curriculum.threshold_start, config.env.threshold
    if start is None:
        return None
    # As a float: so many steps may not fit into an int32.
    fallen = jnp.minimum(steps / float(config.curriculum.threshold_steps), 1.0)
    return jnp.float32(start + (end - start) * fallen)
