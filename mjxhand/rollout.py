"""Gathering experience: a scan of policy and environments, nothing else.

Runs inside `shard_map` on one device's environments; holds no collective.
"""

import jax
import jax.numpy as jnp

from mjxhand.agent import Agent
from mjxhand.config import PPOConfig
from mjxhand.env import EnvParams
from mjxhand.types import Actors, Environment, Learner, Rollout


def init_actors(
    env: Environment, agent: Agent, num_envs: int, key: jax.Array, params: EnvParams
) -> Actors:
    """`num_envs` environments at the start of an episode."""
    key, key_reset = jax.random.split(key)
    keys = jax.random.split(key_reset, num_envs)
    return Actors(
        state=jax.vmap(env.reset, in_axes=(0, None))(keys, params),
        carry=agent.initial_carry(num_envs, jax.random.fold_in(key_reset, 1)),
        began=jnp.ones(num_envs, bool),
        discounted=jnp.zeros(num_envs),
        key=key[None],
    )


def rollout(
    env: Environment,
    agent: Agent,
    cfg: PPOConfig,
    learner: Learner,
    actors: Actors,
    params: EnvParams,
) -> tuple[Actors, Rollout]:
    """Step every environment T times under the policy; resets in place.

    Returns:
        The actors after T steps and the experience `[T, N, ...]`.
    """

    def step(actors: Actors, _):
        return _step(env, agent, cfg, learner, actors, params)

    def chunk(actors: Actors, _):
        start = actors.carry
        actors, steps = jax.lax.scan(step, actors, None, length=cfg.chunk_length)
        return actors, (start, steps)

    num_chunks = cfg.unroll_length // cfg.chunk_length
    actors, (carry, steps) = jax.lax.scan(chunk, actors, None, length=num_chunks)
    steps = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), steps)
    return actors, Rollout(carry=carry, **steps)


def _step(env, agent, cfg, learner, actors, params) -> tuple[Actors, dict]:
    num_envs = actors.began.shape[0]
    key, key_action, key_reset = jax.random.split(actors.key[0], 3)
    carry, out = agent.act(
        learner.params,
        learner.obs_stats,
        actors.carry,
        actors.state.obs,
        actors.began,
    )
    action = agent.distribution.sample(out.logits, key_action)
    stepped = jax.vmap(env.step, in_axes=(0, 0, None))(actors.state, action, params)
    # The value of where the step led to, before any reset: a time limit bootstraps from it.
    not_began = jnp.zeros(num_envs, bool)
    _, after = agent.act(
        learner.params, learner.obs_stats, carry, stepped.obs, not_began
    )
    ended = stepped.terminated | stepped.truncated
    discounted = cfg.gamma * actors.discounted + stepped.reward

    fresh = jax.vmap(env.reset, in_axes=(0, None))(
        jax.random.split(key_reset, num_envs), params
    )
    state = where(ended, fresh, stepped)
    record = {
        "obs": actors.state.obs,
        "began": actors.began,
        "action": action,
        "log_prob": agent.distribution.log_prob(out.logits, action),
        "value": out.value,
        "next_value": after.value,
        "reward": stepped.reward,
        "discounted": discounted,
        "terminated": stepped.terminated,
        "episode_end": ended,
        "metrics": stepped.metrics,
    }
    actors = Actors(
        state=state,
        carry=carry,
        began=ended,
        discounted=jnp.where(ended, 0.0, discounted),
        key=key[None],
    )
    return actors, record


def where(mask: jax.Array, new, old):
    """Per environment: leaf of `new` where `mask` [N], else of `old`; leaves `[N, ...]`."""

    def select(a, b):
        return jnp.where(mask.reshape(mask.shape + (1,) * (a.ndim - 1)), a, b)

    return jax.tree.map(select, new, old)
