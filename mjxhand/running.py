"""Means and standard deviations of all that was ever observed, with which senses are normalised.

The same as brax's `running_statistics` (`tests/test_running.py`), and saved under the same names.
Importing brax takes longer than all else of this package: it brings MJX and Warp along.
"""

import math
from typing import Any

import chex
import jax
import jax.numpy as jnp

Array = jax.Array
STD_RANGE = (1e-6, 1e6)


@chex.dataclass(frozen=True)
class Count:
    """hi · 2³² + lo: billions of steps are more than 32 bits count."""

    hi: Array  # [] uint32
    lo: Array  # [] uint32


@chex.dataclass(frozen=True)
class RunningStatistics:
    """Of one array, or of a dict of them: every field has its shapes."""

    count: Count
    mean: Any
    std: Any
    summed_variance: Any  # sum of squared differences from the mean
    std_eps: Array  # [] 0; here since checkpoints have it


def init(like: Any) -> RunningStatistics:
    """Before anything was observed: mean 0, deviation 1."""
    zero = jnp.zeros((), jnp.uint32)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.float32), like)
    return RunningStatistics(
        count=Count(hi=zero, lo=zero),
        mean=zeros,
        std=jax.tree.map(jnp.ones_like, zeros),
        summed_variance=zeros,
        std_eps=jnp.zeros(()),
    )


def update(stats: RunningStatistics, batch: Any, axis_name: str) -> RunningStatistics:
    """With a batch more, by Welford's method for batches.

    Args:
      batch: as `stats.mean`, with leading axes.
      axis_name: of the mesh, over whose devices the batch is spread.

    Raises:
      ValueError: a shape is not that of the statistics with the same leading axes.
    """
    means, shape = jax.tree.flatten(stats.mean)
    batches = shape.flatten_up_to(batch)
    lead = batches[0].shape[: batches[0].ndim - means[0].ndim]
    for x, mean in zip(batches, means, strict=True):
        if x.shape != (*lead, *mean.shape):
            raise ValueError(
                f"a batch has the shape {x.shape}, not {(*lead, *mean.shape)}"
            )
    axes = tuple(range(len(lead)))
    added = jax.lax.psum(jnp.uint32(math.prod(lead)), axis_name)
    lo = stats.count.lo + added
    count = Count(hi=stats.count.hi + (lo < added).astype(jnp.uint32), lo=lo)
    number = count.hi.astype(jnp.float32) * 2.0**32 + count.lo.astype(jnp.float32)

    def one(mean: Array, summed: Array, x: Array) -> tuple[Array, Array, Array]:
        difference = x - mean
        mean += jax.lax.psum(jnp.sum(difference, axes) / number, axis_name)
        more = jnp.sum(difference * (x - mean), axes)
        summed += jax.lax.psum(more, axis_name)
        # Rounding may leave less than nothing.
        std = jnp.sqrt(jnp.maximum(summed, 0) / number + stats.std_eps)
        return mean, summed, jnp.clip(std, *STD_RANGE)

    summed = shape.flatten_up_to(stats.summed_variance)
    after = [one(*leaves) for leaves in zip(means, summed, batches, strict=True)]
    mean, summed, std = (shape.unflatten(leaves) for leaves in zip(*after, strict=True))
    return stats.replace(count=count, mean=mean, summed_variance=summed, std=std)


def normalize(batch: Any, stats: RunningStatistics, limit: float) -> Any:
    """(x - mean) / std, cut to ± `limit`; `batch` as for `update`."""
    return jax.tree.map(
        lambda x, mean, std: jnp.clip((x - mean) / std, -limit, limit),
        batch,
        stats.mean,
        stats.std,
    )
