"""The learner on probes whose answer is known, and the seams rollout → chunks → loss."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import probe_envs
import pytest

from mjxhand import agent as agent_module
from mjxhand import ppo
from mjxhand.config import Config, EnvConfig, NetworkConfig, PPOConfig
from mjxhand.rollout import rollout
from mjxhand.sharding import Program, make_mesh

TINY = Config(
    env=EnvConfig(bins=2),
    network=NetworkConfig(name="baseline", units_scale=0.03),
    ppo=PPOConfig(
        num_envs=32,
        unroll_length=16,
        chunk_length=8,
        num_epochs=2,
        num_minibatches=2,
        learning_rate=5e-3,
        gamma=0.9,
        entropy_weight=0.0,
        normalize_reward=False,
        normalize_obs=False,
    ),
)


def program_for(env, config=TINY):
    agent = agent_module.build(config, env.observation_sizes, env.num_actuators)
    return Program(config, env, agent, make_mesh(jax.devices()[:1]))


def train(env, updates, config=TINY):
    """Learner, actors, and the metrics of the last update."""
    program = program_for(env, config)
    learner = program.init_learner(0)
    actors = program.init_actors(0, probe_envs.PARAMS)
    for _ in range(updates):
        learner, actors, metrics = program.update(learner, actors, probe_envs.PARAMS)
    return program, learner, actors, jax.device_get(metrics)


def values(program, learner, actors):
    """Values of the states of one more rollout, and the states' step in the episode."""
    _, experience = jax.jit(
        lambda learner, actors: rollout(
            program.env,
            program.agent,
            program.config.ppo,
            learner,
            actors,
            probe_envs.PARAMS,
        )
    )(learner, actors)
    return np.asarray(experience.value), np.asarray(experience.obs["vision"])


def test_value_of_a_constant():
    value, _ = values(*train(probe_envs.Constant(), 60)[:3])
    assert np.allclose(value, 1.0, atol=0.1)


def test_value_of_a_delay_is_discounted():
    value, vision = values(*train(probe_envs.Delayed(), 80)[:3])
    assert np.allclose(value[vision[..., 0] == 1], 0.9, atol=0.1)
    assert np.allclose(value[vision[..., 1] == 1], 1.0, atol=0.1)


def test_time_limit_is_no_end():
    """Paid 1 for ever with γ = 0.5, V = 2 although every episode is cut at 3 steps."""
    cfg = dataclasses.replace(TINY, ppo=dataclasses.replace(TINY.ppo, gamma=0.5))
    value, _ = values(*train(probe_envs.Endless(), 80, cfg)[:3])
    assert np.allclose(value, 2.0, atol=0.2)


@pytest.mark.parametrize("name", ["baseline", "fpn", "mlp", "lstm"])
def test_policy_reads_its_senses(name):
    network = NetworkConfig(name=name, units_scale=0.03)
    cfg = dataclasses.replace(TINY, network=network)
    *_, metrics = train(probe_envs.Match(), 60, cfg)
    assert metrics["step/goals"] > 0.9


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_policy_remembers_across_a_chunk_border(cell):
    """Half of the recalls cross a border, so 0.9 cannot be had within chunks alone (0.75)."""
    network = NetworkConfig(name="baseline", units_scale=0.06, cell=cell)
    cfg = dataclasses.replace(TINY, network=network)
    *_, metrics = train(probe_envs.Recall(), 250, cfg)
    earned_per_episode = metrics["episode/goals"]
    assert earned_per_episode > 0.9


@pytest.mark.parametrize(
    "network",
    [
        TINY.network,
        NetworkConfig(units_scale=0.02, feedback="all", stream_dropout=0.5),
        NetworkConfig(name="mlp", units_scale=0.02),
    ],
    ids=["baseline", "fpn with feedback and dropout", "mlp"],
)
def test_ratio_is_one_before_the_first_step(network):
    """Replaying the chunks from their stored carries gives the acting policy's log-probabilities.

    Episodes of five steps end inside the chunks of eight; the second rollout starts from
    carries that the first one left. Statistics of what is seen have moved meanwhile: both
    sides use the same.
    """
    ppo_config = dataclasses.replace(TINY.ppo, normalize_obs=True)
    config = dataclasses.replace(TINY, network=network, ppo=ppo_config)
    program = program_for(probe_envs.Recall(), config)
    cfg = program.config.ppo
    learner = program.init_learner(0)
    # Two updates first: away from the near-uniform policy of the start.
    actors = program.init_actors(0, probe_envs.PARAMS)
    for _ in range(2):
        learner, actors, _ = program.update(learner, actors, probe_envs.PARAMS)

    def first_minibatch(learner, actors):
        _, experience = rollout(
            program.env, program.agent, cfg, learner, actors, probe_envs.PARAMS
        )
        data, _ = ppo.sequences(
            program.agent, cfg, learner, experience, learner.return_stats
        )
        batch = ppo.minibatch(data, jnp.array([3, 1, 20]))
        _, infos = ppo.loss(learner.params, program.agent, cfg, batch)
        _, out = program.agent.apply(
            learner.params, batch.carry, batch.obs, batch.began
        )
        return infos, jnp.max(jnp.abs(out.value - batch.value))

    mapped = jax.shard_map(
        first_minibatch,
        mesh=program.mesh,
        in_specs=(jax.P(), jax.P("device")),
        out_specs=jax.P(),
        check_vma=False,
    )
    infos, value_error = jax.jit(mapped)(learner, actors)
    assert infos["policy/max_log_ratio"] < 1e-5
    assert value_error < 1e-4


def test_one_compilation():
    program, *_ = train(probe_envs.Match(), 5)
    assert program.update._cache_size() == 1


def losses_of_one_step(**changes):
    """(ratio, advantage, V before minus V, target minus V) → (policy loss, value loss)."""
    program = program_for(probe_envs.Constant())
    agent, cfg = program.agent, dataclasses.replace(program.config.ppo, **changes)
    learner = program.init_learner(0)
    obs = {k: jnp.zeros((1, 1, n)) for k, n in probe_envs.SIZES.items()}
    carry, began = agent.initial_carry(1), jnp.ones((1, 1), bool)
    action = jnp.zeros((1, 1, 1), jnp.int32)

    @jax.jit
    def losses(ratio, advantage, before, target):
        _, out = agent.apply(learner.params, carry, obs, began)
        batch = ppo.Sequences(
            obs=obs,
            began=began,
            action=action,
            log_prob=agent.distribution.log_prob(out.logits, action) - jnp.log(ratio),
            value=out.value + before,
            advantage=jnp.full((1, 1), advantage),
            target=out.value + target,
            carry=carry,
        )
        _, infos = ppo.loss(learner.params, agent, cfg, batch)
        return infos["loss/policy"], infos["loss/value"]

    return losses


def test_clipped_objective_by_hand():
    """One action of two, ratio r against clip 0.2 and advantage A: min(rA, clip(r)A)."""
    losses = losses_of_one_step()
    for ratio, advantage, expected in [
        (1.5, 2.0, 2.4),
        (1.5, -2.0, -3.0),
        (0.5, 2.0, 1.0),
        (0.5, -2.0, -1.6),
        (1.1, 2.0, 2.2),
    ]:
        policy, value = losses(ratio, advantage, 0.0, 0.5)
        assert np.isclose(-policy, expected, rtol=1e-4)
        assert np.isclose(value, 0.25, rtol=1e-4)


def test_clipped_value_error_by_hand():
    """The larger of the errors of V and of V within 0.2 of what it was, each squared."""
    losses = losses_of_one_step(value_clip=0.2)
    for before, target, expected in [
        (0.1, 0.5, 0.25),  # within the range: V itself
        (-0.5, 0.3, 0.36),  # V came nearer than the range allows: at -0.3, 0.6 away
        (-0.5, -0.4, 0.16),  # V went past the target: its own error is the larger
    ]:
        _, value = losses(1.0, 1.0, before, target)
        assert np.isclose(value, expected, rtol=1e-4)


def test_the_largest_change_of_an_update_is_no_mean():
    """Of two epochs the first step changes nothing, the last sees what all others did."""
    program = program_for(probe_envs.Match(), TINY)
    learner = program.init_learner(0)
    actors = program.init_actors(0, probe_envs.PARAMS)
    *_, metrics = program.update(learner, actors, probe_envs.PARAMS)
    # Each r - 1 - log r is at most that of the largest |log r|, whichever its sign.
    largest = float(metrics[ppo.FARTHEST])
    assert largest > 0
    assert float(metrics["policy/kl"]) < np.expm1(largest) - largest


def test_the_kl_of_a_single_step_is_not_that_before_it():
    """Else it is 0, and with a target the learning rate only rises."""
    alone = dataclasses.replace(TINY.ppo, num_epochs=1, num_minibatches=1)
    program = program_for(probe_envs.Match(), dataclasses.replace(TINY, ppo=alone))
    learner = program.init_learner(0)
    actors = program.init_actors(0, probe_envs.PARAMS)
    *_, metrics = program.update(learner, actors, probe_envs.PARAMS)
    assert float(metrics[ppo.FARTHEST]) < 1e-4  # what the step itself saw
    assert float(metrics["policy/kl"]) > 1e-6


def test_curriculum_grows_only_on_success():
    curriculum = dataclasses.replace(
        TINY.curriculum, enabled=True, start=0.5, goals=0.9, episodes=64
    )
    cfg = dataclasses.replace(TINY, curriculum=curriculum)
    easy = train(probe_envs.Constant(), 3, cfg)[1].progress.goal_angle_max
    hard = train(probe_envs.Match(), 3, cfg)[1].progress.goal_angle_max
    assert easy > 0.5
    assert np.isclose(hard, 0.5)


def test_learning_rate_follows_kl():
    cfg = dataclasses.replace(TINY.ppo, target_kl=0.01)
    adapt = lambda kl: float(ppo._adapt(jnp.float32(1e-3), jnp.float32(kl), cfg))  # noqa: E731
    assert np.isclose(adapt(0.03), 1e-3 / 1.5)
    assert np.isclose(adapt(0.001), 1.5e-3)
    assert np.isclose(adapt(0.01), 1e-3)
