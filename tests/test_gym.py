"""Gymnasium environments: Gymnasium's own checks, and equality with our own."""

import dataclasses
import types

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from mjxhand import ConfigError, gym

SETTINGS = {"impl": "native", "pool_size": 32, "goal_seconds": 0.8}


@pytest.fixture(scope="module")
def envs():
    return gym.make_vec("reorient", num_envs=8, **SETTINGS)


def test_gymnasium_accepts_the_single_environment():
    env = gymnasium.make("mjxhand/Reorient-v0", disable_env_checker=True, **SETTINGS)
    check_env(env.unwrapped, skip_render_check=True)


def test_continuous_actions_are_a_box():
    env = gym.make("reorient", actions="continuous", **SETTINGS)
    assert env.action_space == gymnasium.spaces.Box(-1.0, 1.0, (20,), np.float32)


def test_single_episodes_differ_by_their_seed_and_from_one_to_the_next(envs):
    env = gym.HandEnv(envs.env)
    goals = [env.reset(seed=seed)[0]["goal"].tolist() for seed in (1, 2, 1, None, None)]
    assert goals[2] == goals[0]
    assert len(set(map(tuple, goals))) == 4


def test_the_vector_environment_keeps_to_its_spaces(envs):
    assert isinstance(envs, gymnasium.vector.VectorEnv)
    obs, info = envs.reset(seed=3)
    assert info == {}
    assert envs.observation_space.contains(obs)
    envs.action_space.seed(0)
    for _ in range(3):
        obs, reward, terminated, truncated, _ = envs.step(envs.action_space.sample())
        assert envs.observation_space.contains(obs)
        assert reward.shape == terminated.shape == truncated.shape == (8,)
        assert reward.dtype == np.float64
        assert terminated.dtype == truncated.dtype == bool


def test_an_episode_ends_and_the_next_begins_in_the_same_step(envs):
    """10 control steps per goal: untouched hands time out together at the tenth."""
    obs, _ = envs.reset(seed=0)
    still = np.full((8, 20), 5)
    for t in range(10):
        obs, _, terminated, truncated, info = envs.step(still)
        assert truncated.all() == (t == 9)
        assert ("final_obs" in info) == (t == 9)
    assert not terminated.any()
    assert info["_final_obs"].all()
    np.testing.assert_array_equal(info["final_info"]["length"], 10)
    # The hand that was held still has sagged a little; the new episode's has not.
    assert not np.array_equal(info["final_obs"][0]["goal"], obs["goal"][0])
    begun = obs["goal"].copy()
    _, _, _, truncated, info = envs.step(still)
    assert not truncated.any()
    np.testing.assert_array_equal(info["length"], 1)
    # The episodes after those are others again.
    for _ in range(9):
        obs, _, _, truncated, _ = envs.step(still)
    assert truncated.all()
    assert np.abs(obs["goal"] - begun).max(1).min() > 1e-3


class Toy(gymnasium.Env):
    """Gymnasium's own vector environment is made of these; one of three ends at the second step."""

    observation_space = gymnasium.spaces.Dict(
        goal=gymnasium.spaces.Box(-np.inf, np.inf, (4,), np.float32)
    )
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return {"goal": np.zeros(4, np.float32)}, {}

    def step(self, action):
        return {"goal": np.ones(4, np.float32)}, 0.0, bool(action), False, {"goals": 1}


def test_ends_are_told_as_gymnasium_tells_them(envs, monkeypatch):
    """Its wrappers go through `final_obs` copy by copy."""
    same_step = gymnasium.vector.AutoresetMode.SAME_STEP
    toys = gymnasium.vector.SyncVectorEnv([Toy] * 8, autoreset_mode=same_step)
    toys.reset(seed=0)
    ended = np.arange(8) == 3
    *_, theirs = toys.step(ended.astype(int))
    envs.reset(seed=0)
    step = envs._step

    def one_ends(*args):
        stepped, *rest = step(*args)
        return stepped.replace(terminated=jnp.asarray(ended)), *rest

    monkeypatch.setattr(envs, "_step", one_ends)
    *_, ours = envs.step(np.full((8, 20), 5))
    np.testing.assert_array_equal(ours["_final_obs"], theirs["_final_obs"])
    for info in (ours, theirs):
        final = info["final_obs"]
        assert (final.dtype, final.shape) == (object, (8,))
        assert [x is None for x in final] == (~ended).tolist()
        assert final[3]["goal"].shape == (4,)
        np.testing.assert_array_equal(info["final_info"]["_goals"], ended)
    assert ours["_goals"].all()


def test_the_same_seed_gives_the_same_episode_and_another_another(envs):
    def play(seed):
        obs, _ = envs.reset(seed=seed)
        actions = np.random.default_rng(0).integers(0, 11, (4, 8, 20))
        return [obs["goal"], *(envs.step(a)[0]["proprioception"] for a in actions)]

    first, again, other = play(1), play(1), play(2)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], other[0])


def test_steps_are_those_of_our_own_environment(envs):
    obs, _ = envs.reset(seed=5)
    state = envs._state
    actions = np.random.default_rng(1).integers(0, 11, (8, 20))
    expected = jax.vmap(envs.env.step)(state, actions)
    obs, reward, *_ = envs.step(actions)
    np.testing.assert_allclose(reward, expected.reward, rtol=1e-4, atol=1e-5)
    for name, value in expected.obs.items():
        np.testing.assert_allclose(obs[name], value, rtol=1e-4, atol=1e-5)


def test_gymnasiums_own_wrapper_counts_our_episodes():
    envs = RecordEpisodeStatistics(
        gymnasium.make_vec("mjxhand/Reorient-v0", num_envs=4, **SETTINGS)
    )
    envs.reset(seed=0)
    info = {}
    for _ in range(10):
        *_, info = envs.step(np.full((4, 20), 5))
    np.testing.assert_array_equal(info["episode"]["l"], 10)


def test_programs_do_not_hold_the_pool(envs):
    """With frames and what reads them it is large, and would be compiled into each."""
    keys = jax.random.split(jax.random.PRNGKey(0), 8)
    envs.reset(seed=0)
    single = gym.HandEnv(envs.env)
    programs = (
        envs._reset.lower(keys, envs._params),
        envs._step.lower(envs._state, jnp.zeros((8, 20), int), keys[0], envs._params),
        single._reset.lower(keys[0], envs._params),
    )
    pool = envs.env.params.pool.qpos
    held = f"tensor<{'x'.join(map(str, pool.shape))}xf32>"
    for program in programs:
        lines = program.as_text().splitlines()
        assert not any("constant" in line and held in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_envs": 0}, "num_envs is 0"),
        ({"num_envs": "8"}, "num_envs is '8': it must be a whole number"),
        ({"treshold": 1}, "did you mean 'threshold'"),
        ({"reward": {"drop": 3}}, "give a RewardConfig, or its fields by name"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(arguments, words):
    with pytest.raises(ConfigError, match=words):
        gym.make_vec("reorient", **arguments)


@pytest.mark.parametrize(
    ("actions", "words"),
    [
        (np.zeros((8, 20)), r"whole numbers .* not float64"),
        (np.full((8, 20), 11), "levels from 0 to 10, not from 11 to 11"),
        (np.full((8, 20), -1), "levels from 0 to 10, not from -1 to -1"),
        (np.zeros((20,), int), r"of shape \(8, 20\), not .* \(20,\)"),
    ],
)
def test_actions_that_are_no_levels_are_refused(envs, actions, words):
    envs.reset(seed=0)
    with pytest.raises(ConfigError, match=words):
        envs.step(actions)
    single = gym.HandEnv(envs.env)
    single._state = envs._state  # as after a reset
    with pytest.raises(ConfigError, match=r"whole numbers|levels"):
        single.step(actions[0])


@pytest.mark.parametrize("actions", [np.zeros(8), np.zeros((1, 20)), np.zeros(20), 0.0])
def test_actions_of_another_shape_are_not_given_to_all_servos(envs, actions):
    continuous = dataclasses.replace(envs.env.config.env, actions="continuous")
    config = dataclasses.replace(envs.env.config, env=continuous)
    env = types.SimpleNamespace(config=config, num_actuators=20)
    space = gym.batch_space(gym._action_space(env), 8)
    assert gym._taken(np.zeros((8, 20)), env, space).shape == (8, 20)
    with pytest.raises(ConfigError, match=r"numbers in \[-1, 1\] of shape \(8, 20\)"):
        gym._taken(actions, env, space)


def test_step_before_reset_says_so():
    with pytest.raises(ConfigError, match=r"call reset\(\)"):
        gym.make("reorient", **SETTINGS).step(np.zeros(20))
