"""Gathering experience: a scan of policy and environments, nothing else.

Runs inside `shard_map` on one device's environments; holds no collective.
"""

import jax
import jax.numpy as jnp

from mjxhand import batch
from mjxhand.agent import Agent
from mjxhand.config import PPOConfig
from mjxhand.env import EnvParams, State
from mjxhand.types import Actors, Environment, Learner, Rollout

SMALLEST_BLOCK = 32
"""Environments whose last value is computed at once, where there are so many."""
LARGEST_COUNT = 16
"""Most blocks of a step: all episodes may end together."""


def init_actors(
    env: Environment, agent: Agent, num_envs: int, key: jax.Array, params: EnvParams
) -> Actors:
    """`num_envs` environments at the start of an episode."""
    key, key_reset = jax.random.split(key)
    return Actors(
        state=batch.reset(env, key_reset, num_envs, params),
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
    _, out = agent.act(
        learner.params,
        learner.obs_stats,
        actors.carry,
        actors.state.obs,
        actors.began,
    )
    # V(s_{t+1}) is what the next step's pass gives, unless the episode ended in between.
    later = jnp.concatenate([steps["value"][1:], out.value[None]])
    bootstrap = steps.pop("bootstrap")
    next_value = jnp.where(steps["episode_end"], bootstrap, later)
    return actors, Rollout(carry=carry, next_value=next_value, **steps)


def _step(
    env: Environment,
    agent: Agent,
    cfg: PPOConfig,
    learner: Learner,
    actors: Actors,
    params,
) -> tuple[Actors, dict]:
    key, key_action, key_reset = jax.random.split(actors.key[0], 3)
    carry, out = agent.act(
        learner.params,
        learner.obs_stats,
        actors.carry,
        actors.state.obs,
        actors.began,
    )
    action = agent.distribution.sample(out.logits, key_action)
    after, ended, state = batch.step(env, actors.state, action, key_reset, params)
    bootstrap = _values(
        agent, learner, carry, after.obs, after.truncated & ~after.terminated
    )
    discounted = cfg.gamma * actors.discounted + after.reward
    if params.keep_state is not None:
        # After the start states are drawn, so that those are the same without this option.
        state = _kept(env, after, state, key_reset, params)
    record = {
        "obs": actors.state.obs,
        "began": actors.began,
        "action": action,
        "log_prob": agent.distribution.log_prob(out.logits, action),
        "value": out.value,
        "bootstrap": bootstrap,
        "reward": after.reward,
        "discounted": discounted,
        "terminated": after.terminated,
        "episode_end": ended,
        "metrics": after.metrics,
    }
    actors = Actors(
        state=state,
        carry=carry,
        began=ended,
        discounted=jnp.where(ended, 0.0, discounted),
        key=key[None],
    )
    return actors, record


def _kept(env: Environment, after: State, state: State, key, params) -> State:
    """`state`, but some of those whose time was up begin where they are."""
    num_envs = after.truncated.shape[0]
    key_keep, key_goal = jax.random.split(jax.random.fold_in(key, 1))
    here = jax.vmap(env.go_on, in_axes=(0, 0, None))(
        after, jax.random.split(key_goal, num_envs), params
    )
    timed_out = after.metrics["timed_out"] > 0
    keep = timed_out & jax.random.bernoulli(key_keep, params.keep_state, (num_envs,))
    return batch.where(keep, here, state)


def _values(agent: Agent, learner: Learner, carry, obs, wanted: jax.Array) -> jax.Array:
    """V of the environments `wanted` [N] before any reset, 0 of the others: [N].

    A time limit bootstraps from it. Few episodes end at once, so the network runs over
    blocks of those that did.
    """
    num_envs = wanted.shape[0]
    size = max(min(num_envs, SMALLEST_BLOCK), num_envs // LARGEST_COUNT)

    def one_block(state):
        left, values = state
        # Past the last one the index is out of range: read as the last, written nowhere.
        index = jnp.nonzero(left, size=size, fill_value=num_envs)[0]
        took = jax.tree.map(lambda x: x.at[index].get(mode="clip"), (carry, obs))
        _, out = agent.act(
            learner.params, learner.obs_stats, *took, jnp.zeros(size, bool)
        )
        values = values.at[index].set(out.value, mode="drop")
        return left.at[index].set(False, mode="drop"), values

    start = (wanted, jnp.zeros(num_envs))
    return jax.lax.while_loop(lambda state: state[0].any(), one_block, start)[1]
