"""brax's interface and brax's own PPO on our environment."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from brax.training.agents.ppo import train

import mjxhand
from mjxhand import ConfigError, brax_env

SETTINGS = {"impl": "native", "pool_size": 32, "goal_seconds": 0.8}


@pytest.fixture(scope="module")
def env():
    made = mjxhand.make("reorient", actions="continuous", **SETTINGS)
    return brax_env.BraxEnv(made)


def test_discrete_actions_are_refused():
    with pytest.raises(ConfigError, match='actions="continuous"'):
        brax_env.BraxEnv(mjxhand.make("reorient", **SETTINGS))


def test_the_actor_sees_nothing_privileged(env):
    state = env.reset(jax.random.PRNGKey(0))
    sizes = env.observation_size
    assert sizes == {"state": 7 + 48 + 92 + 4, "privileged_state": 151 + 25}
    assert {k: v.shape[0] for k, v in state.obs.items()} == sizes
    ours = state.pipeline_state.obs
    np.testing.assert_array_equal(
        state.obs["privileged_state"][:151], state.obs["state"]
    )
    np.testing.assert_array_equal(
        state.obs["privileged_state"][151:], ours["privileged"]
    )


def test_metrics_can_be_added_up(env):
    """brax sums them over an episode: running totals would be counted again at every step."""
    metrics = jax.vmap(env.reset)(jax.random.split(jax.random.PRNGKey(0), 4)).metrics
    assert not {"goals", "return", "length"} & set(metrics)
    assert {"success", "dropped"} <= set(metrics)


def test_ends_are_true_resets_and_time_outs_are_truncations(env):
    """Ten control steps per goal: held still, all time out at the tenth."""
    wrapped = brax_env.wrap(env, episode_length=1000)
    state = jax.jit(wrapped.reset)(jax.random.split(jax.random.PRNGKey(0), 4))
    step = jax.jit(wrapped.step)
    first = state.pipeline_state.goal
    for t in range(10):
        state = step(state, jnp.zeros((4, 20)))
        np.testing.assert_array_equal(state.done, float(t == 9))
    np.testing.assert_array_equal(state.info["truncation"], 1.0)
    np.testing.assert_array_equal(state.pipeline_state.episode_step, 0)
    # Another start and another goal, not the first ones again as brax's wrapper gives.
    assert (jnp.abs(state.pipeline_state.goal - first).max(-1) > 1e-3).all()
    # What is seen then is of the new episode.
    seen = jax.vmap(env._observe)(state.pipeline_state)
    for name, value in seen.items():
        np.testing.assert_array_equal(state.obs[name], value)
    second = np.asarray(state.pipeline_state.goal)
    assert len(np.unique(second, axis=0)) == 4
    state = step(state, jnp.zeros((4, 20)))
    np.testing.assert_array_equal(state.info["steps"], 1)
    np.testing.assert_array_equal(state.done, 0)
    for _ in range(9):
        state = step(state, jnp.zeros((4, 20)))
    np.testing.assert_array_equal(state.done, 1)
    assert (np.abs(state.pipeline_state.goal - second).max(-1) > 1e-3).all()


def test_nothing_follows_an_end_where_actions_are_repeated(env):
    """Each action four times; the time of a goal is up in the second of the third four."""
    wrapped = brax_env.wrap(env, episode_length=1000, action_repeat=4)
    state = jax.jit(wrapped.reset)(jax.random.split(jax.random.PRNGKey(0), 4))
    step = jax.jit(wrapped.step)
    once = jax.jit(jax.vmap(env.step))
    for _ in range(2):
        state = step(state, jnp.zeros((4, 20)))
    alone, paid = state, 0.0
    for _ in range(2):
        alone = once(alone, jnp.zeros((4, 20)))
        paid += alone.reward
    np.testing.assert_array_equal(alone.done, 1.0)
    after = once(alone, jnp.zeros((4, 20)))
    np.testing.assert_array_equal(after.done, 1.0)
    np.testing.assert_array_equal(after.reward, 0.0)
    state = step(state, jnp.zeros((4, 20)))
    np.testing.assert_array_equal(state.done, 1.0)
    np.testing.assert_array_equal(state.info["truncation"], 1.0)
    np.testing.assert_allclose(state.reward, paid, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(jax, "device_put_replicated"),
    reason="brax 0.14.2 calls jax.device_put_replicated, which JAX 0.11 has no more",
)
def test_brax_ppo_trains_two_updates(env):
    seen = []
    _, params, metrics = train.train(
        env,
        wrap_env_fn=brax_env.wrap,
        num_timesteps=2 * 8 * 4 * 2,
        episode_length=100,
        num_envs=8,
        unroll_length=4,
        batch_size=8,
        num_minibatches=2,
        num_updates_per_batch=1,
        num_evals=2,
        num_eval_envs=8,
        max_devices_per_host=1,
        network_factory=functools.partial(
            brax_env.ppo_networks,
            policy_hidden_layer_sizes=(16,),
            value_hidden_layer_sizes=(16,),
        ),
        progress_fn=lambda steps, _: seen.append(steps),
    )
    assert seen[-1] >= 64
    assert np.isfinite(metrics["eval/episode_reward"])
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(params))
