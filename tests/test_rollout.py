"""What the rollout records, against a plain loop over the same environments."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import probe_envs
import pytest
from test_ppo import TINY

from mjxhand import agent as agent_module
from mjxhand import batch
from mjxhand import rollout as rollout_module
from mjxhand.config import NetworkConfig
from mjxhand.rollout import init_actors, rollout
from mjxhand.sharding import Program, make_mesh

NETWORK = NetworkConfig(units_scale=0.02, feedback="all", stream_dropout=0.5)
CONFIG = dataclasses.replace(TINY, network=NETWORK)


class Mixed(probe_envs.Recall):
    """Five steps; every other environment is cut by a time limit, the others terminate."""

    def _state(self, key, cue, t, reward, end):
        state = super()._state(key, cue, t, reward, end)
        limited = cue > 0
        return state.replace(terminated=end & ~limited, truncated=end & limited)

    def pay(self, cue, t, action):
        return 1.0 + t + action


def both(env, cfg):
    """The learner, and experience of two unrolls from one start."""
    agent = agent_module.build(cfg, env.observation_sizes, env.num_actuators)
    learner = Program(cfg, env, agent, make_mesh(jax.devices()[:1])).init_learner(0)
    key = jax.random.PRNGKey(3)
    actors = init_actors(env, agent, cfg.ppo.num_envs, key, probe_envs.PARAMS)
    run = jax.jit(
        lambda actors: rollout(env, agent, cfg.ppo, learner, actors, probe_envs.PARAMS)
    )
    for _ in range(2):
        start = actors
        actors, experience = run(actors)
    return agent, learner, start, experience


@pytest.mark.parametrize("block", [1, 32], ids=["blocks of one", "one block"])
def test_next_value_is_that_of_the_state_before_any_reset(block, monkeypatch):
    """Step by step: V of where each action led, from the carry that the policy then had."""
    monkeypatch.setattr(rollout_module, "SMALLEST_BLOCK", block)
    monkeypatch.setattr(rollout_module, "LARGEST_COUNT", 10**9)
    env = Mixed()
    agent, learner, start, experience = both(env, CONFIG)
    act = jax.jit(agent.act)
    step = jax.jit(jax.vmap(env.step))
    ended = np.asarray(experience.episode_end)
    terminated = np.asarray(experience.terminated)
    assert (ended & ~terminated).any()
    assert terminated.any()
    reset = jax.jit(jax.vmap(env.reset))
    carry, state, key, checked = start.carry, start.state, start.key[0], 0
    for t in range(CONFIG.ppo.unroll_length):
        obs = {name: x[t] for name, x in experience.obs.items()}
        began = experience.began[t]
        params, stats = learner.params, learner.obs_stats
        carry, out = act(params, stats, carry, obs, began)
        assert np.allclose(out.value, experience.value[t], atol=1e-5)
        stepped = step(state, experience.action[t])
        no = jnp.zeros_like(began)
        _, after = act(params, stats, carry, stepped.obs, no)
        wanted = ~terminated[t]
        checked += wanted.sum()
        assert np.allclose(
            np.asarray(after.value)[wanted],
            np.asarray(experience.next_value[t])[wanted],
            atol=1e-5,
        )
        key, _, key_reset = jax.random.split(key, 3)
        fresh = reset(jax.random.split(key_reset, len(began)))
        state = batch.where(experience.episode_end[t], fresh, stepped)
    assert checked > 100


@pytest.fixture(scope="module")
def mixed():
    return both(Mixed(), CONFIG)


def test_the_running_return_is_that_of_a_plain_loop(mixed):
    """What rewards are divided by the deviation of; every episode begins it anew."""
    _, _, start, experience = mixed
    running = np.asarray(start.discounted)
    assert running.max() > 0  # episodes that the unroll before has begun
    for reward, ended, discounted in zip(
        experience.reward, experience.episode_end, experience.discounted, strict=True
    ):
        running = CONFIG.ppo.gamma * running + np.asarray(reward)
        np.testing.assert_allclose(discounted, running, rtol=1e-5)
        running = np.where(ended, 0.0, running)


def test_a_state_that_terminated_has_no_value_beyond_it(mixed):
    *_, experience = mixed
    terminated = np.asarray(experience.terminated)
    assert (np.asarray(experience.next_value)[terminated] == 0).all()
