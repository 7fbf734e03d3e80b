"""Many environments at once: reset all, step all, and begin anew where an episode ended."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mjxhand.env import EnvParams, State
from mjxhand.types import Environment


class Stepped(NamedTuple):
    """A control step of N environments."""

    after: State  # [N, ...] what came of the action, also where the episode ended
    ended: jax.Array  # [N] bool: terminated or truncated
    state: State  # [N, ...] to go on from: `after`, or the first state of a new episode


def reset(env: Environment, key: jax.Array, num_envs: int, params: EnvParams) -> State:
    """First states of `num_envs` episodes; `[N, ...]`."""
    keys = jax.random.split(key, num_envs)
    return jax.vmap(env.reset, in_axes=(0, None))(keys, params)


def step(
    env: Environment,
    state: State,
    action: jax.Array,
    key: jax.Array,
    params: EnvParams,
) -> Stepped:
    """Step N environments, and reset those whose episode ended.

    Args:
        state: `[N, ...]`.
        action: `[N, A]`.
        key: of the new episodes. They are drawn for all N at every step.
    """
    after = jax.vmap(env.step, in_axes=(0, 0, None))(state, action, params)
    ended = after.terminated | after.truncated
    fresh = reset(env, key, ended.shape[0], params)
    return Stepped(after, ended, where(ended, fresh, after))


def where(mask: jax.Array, new: Any, old: Any) -> Any:
    """Per environment: leaf of `new` where `mask` [N], else of `old`; leaves `[N, ...]`."""

    def select(a, b):
        return jnp.where(mask.reshape(mask.shape + (1,) * (a.ndim - 1)), a, b)

    return jax.tree.map(select, new, old)
