"""Many devices do what one does, and talk only where they must. Four virtual CPU devices."""

import dataclasses
import re

import jax
import numpy as np
import probe_envs
import pytest
from jax.sharding import PartitionSpec as P
from test_ppo import TINY

from mjxhand import agent as agent_module
from mjxhand import ppo
from mjxhand.rollout import rollout
from mjxhand.sharding import Program, make_mesh

# One minibatch: its environments are then the same however they are split.
CONFIG = dataclasses.replace(
    TINY,
    ppo=dataclasses.replace(
        TINY.ppo, num_minibatches=1, normalize_obs=True, normalize_reward=True
    ),
)
COLLECTIVE = re.compile(
    r"= [^=]*\b(all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)"
    r"(?:-start)?\("
)


def program_on(num_devices):
    env = probe_envs.Recall()
    agent = agent_module.build(CONFIG, env.observation_sizes, env.num_actuators)
    return Program(CONFIG, env, agent, make_mesh(jax.devices()[:num_devices]))


def mapped_rollout(program):
    return jax.jit(
        jax.shard_map(
            lambda learner, actors: rollout(
                program.env,
                program.agent,
                CONFIG.ppo,
                learner,
                actors,
                probe_envs.PARAMS,
            ),
            mesh=program.mesh,
            in_specs=(P(), P("device")),
            out_specs=(P("device"), P(None, "device")),
            check_vma=False,
        )
    )


def mapped_update(program):
    def update(learner, experience, keys):
        return ppo.update(
            program.agent,
            CONFIG.ppo,
            CONFIG.curriculum,
            1.0,
            learner,
            experience,
            keys[0],
        )

    return jax.jit(
        jax.shard_map(
            update,
            mesh=program.mesh,
            in_specs=(P(), P(None, "device"), P("device")),
            out_specs=(P(), P()),
            check_vma=False,
        )
    )


@pytest.fixture(scope="module")
def four():
    return program_on(4)


def test_there_are_four_devices():
    assert jax.device_count() == 4


def test_update_on_four_devices_equals_the_one_on_one(four):
    one = program_on(1)
    learner = four.init_learner(0)
    _, experience = mapped_rollout(four)(
        learner, four.init_actors(0, probe_envs.PARAMS)
    )
    experience = jax.device_get(experience)
    keys = jax.random.split(jax.random.PRNGKey(0), 4)
    learner = jax.device_get(learner)
    many, many_metrics = mapped_update(four)(learner, experience, keys)
    single, single_metrics = mapped_update(one)(learner, experience, keys[:1])
    for a, b in zip(jax.tree.leaves(many), jax.tree.leaves(single), strict=True):
        assert np.allclose(a, b, rtol=1e-4, atol=2e-5)
    for name, value in many_metrics.items():
        assert np.allclose(value, single_metrics[name], rtol=1e-3, atol=1e-4), name


def test_rollout_has_no_collective_and_update_only_reductions(four):
    learner = four.init_learner(0)
    actors = four.init_actors(0, probe_envs.PARAMS)
    text = mapped_rollout(four).lower(learner, actors).compile().as_text()
    assert COLLECTIVE.findall(text) == []
    text = four.update.lower(learner, actors, probe_envs.PARAMS).compile().as_text()
    assert set(COLLECTIVE.findall(text)) == {"all-reduce"}


def test_learner_is_the_same_on_every_device(four):
    learner = four.init_learner(0)
    actors = four.init_actors(0, probe_envs.PARAMS)
    for _ in range(3):
        learner, actors, _ = four.update(learner, actors, probe_envs.PARAMS)
    for leaf in jax.tree.leaves(learner):
        copies = [np.asarray(shard.data) for shard in leaf.addressable_shards]
        assert len(copies) == 4
        assert all(np.array_equal(copies[0], copy) for copy in copies[1:])
    # … while every device plays its own episodes.
    vision = np.asarray(actors.state.goal).reshape(4, -1)
    assert not np.array_equal(vision[0], vision[1])
    assert four.update._cache_size() == 1
