"""Weights that learned without errors of the seen pose, for a run with them.

There the critic's stream `privileged` ends in 7 numbers more, the true pose. Its first kernel
gets rows of zeros for them, so that at the start it gives the values that it gave before.
"""

from typing import Any

import jax
import jax.numpy as jnp

from mjxhand.agent import Agent
from mjxhand.body import POSE
from mjxhand.running import RunningStatistics
from mjxhand.streams import width
from mjxhand.wiring import PRIVILEGED, Wiring


def for_told_pose(
    params: Any, stats: RunningStatistics, was: Agent, now: Agent
) -> tuple[Any, RunningStatistics]:
    """Weights and statistics of `was` for `now`, whose critic is told the true pose as well.

    As they are where it is not so, or where the network does not tell what its critic reads.
    """
    before, after = (a.observation_sizes[PRIVILEGED] for a in (was, now))
    wiring = getattr(was.network, "wiring", None)
    if after != before + POSE or not isinstance(wiring, Wiring):
        return params, stats
    like = jax.eval_shape(now.init, jax.random.PRNGKey(0))
    if jax.tree.structure(params) != jax.tree.structure(like):
        return params, stats

    def wider(leaf: jax.Array, wanted: Any) -> jax.Array:
        rows = [n + POSE for n in leaf.shape[:1]]
        if wanted.shape == leaf.shape or wanted.shape != (*rows, *leaf.shape[1:]):
            return leaf
        return jnp.insert(leaf, jnp.full(POSE, _end(wiring, was)), 0.0, axis=0)

    # Only one leaf differs: nothing but the critic's first layer reads that stream.
    return jax.tree.map(wider, params, like), _statistics(stats)


def _end(wiring: Wiring, agent: Agent) -> int:
    """Row of the critic's first kernel after those of `privileged`."""
    widths = {name: width(size) for name, size in agent.observation_sizes.items()}
    widths |= {area.name: area.units for area in wiring.areas}
    place = wiring.value.index(PRIVILEGED)
    return sum(widths[name] for name in wiring.value[: place + 1])


def _statistics(stats: RunningStatistics) -> RunningStatistics:
    """With mean 0 and deviation 1 for the new numbers."""
    number = stats.count.hi.astype(jnp.float32) * 2.0**32
    number += stats.count.lo.astype(jnp.float32)

    def append(streams: dict[str, jax.Array], value: Any) -> dict[str, jax.Array]:
        new = jnp.full(POSE, value, jnp.float32)
        return streams | {PRIVILEGED: jnp.concatenate([streams[PRIVILEGED], new])}

    return stats.replace(
        mean=append(stats.mean, 0.0),
        std=append(stats.std, 1.0),
        summed_variance=append(stats.summed_variance, number),
    )
