"""Many devices do what one does, and talk only where they must. Eight virtual CPU devices."""

import dataclasses
import sys
from pathlib import Path

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

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
import hlo

# One minibatch: its environments are then the same however they are split.
CONFIG = dataclasses.replace(
    TINY,
    ppo=dataclasses.replace(
        TINY.ppo, num_minibatches=1, normalize_obs=True, normalize_reward=True
    ),
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
def eight():
    return program_on(8)


def test_there_are_eight_devices():
    assert jax.device_count() == 8


def test_update_on_eight_devices_equals_the_one_on_one(eight):
    one = program_on(1)
    learner = eight.init_learner(0)
    _, experience = mapped_rollout(eight)(
        learner, eight.init_actors(0, probe_envs.PARAMS)
    )
    experience = jax.device_get(experience)
    keys = jax.random.split(jax.random.PRNGKey(0), 8)
    learner = jax.device_get(learner)
    many, many_metrics = mapped_update(eight)(learner, experience, keys)
    single, single_metrics = mapped_update(one)(learner, experience, keys[:1])
    for a, b in zip(jax.tree.leaves(many), jax.tree.leaves(single), strict=True):
        assert np.allclose(a, b, rtol=1e-4, atol=2e-5)
    for name, value in many_metrics.items():
        assert np.allclose(value, single_metrics[name], rtol=1e-3, atol=1e-4), name


def test_rollout_has_no_collective(eight):
    learner = eight.init_learner(0)
    actors = eight.init_actors(0, probe_envs.PARAMS)
    text = mapped_rollout(eight).lower(learner, actors).compile().as_text()
    assert hlo.collectives(text) == []


def test_update_reduces_gradients_statistics_and_metrics_alone(eight):
    """Bytes per update: each parameter once per gradient step, with it the loss, which
    shows a bad number to all; the rest fits in a letter."""
    learner = eight.init_learner(0)
    actors = eight.init_actors(0, probe_envs.PARAMS)
    text = eight.update.lower(learner, actors, probe_envs.PARAMS).compile().as_text()
    found = hlo.collectives(text)
    assert {c.kind for c in found} == {"all-reduce"}
    gradient = [c for c in found if "while" in c.op_name]
    parameters = sum(x.size for x in jax.tree.leaves(learner.params))
    steps = CONFIG.ppo.num_epochs * CONFIG.ppo.num_minibatches
    assert sum(c.times * c.bytes for c in gradient) == 4 * (parameters + 1) * steps
    # Of each sense the number of observations, two sums each for the normalisers of
    # observations and returns, and one number each for the metrics.
    senses = sum(probe_envs.SIZES.values())
    rest = sum(c.bytes for c in found if c not in gradient)
    assert 4 * 2 * senses < rest < 4 * (2 * senses + 60)


def test_learner_is_the_same_on_every_device(eight):
    learner = eight.init_learner(0)
    actors = eight.init_actors(0, probe_envs.PARAMS)
    for _ in range(3):
        learner, actors, _ = eight.update(learner, actors, probe_envs.PARAMS)
    for leaf in jax.tree.leaves(learner):
        copies = [np.asarray(shard.data) for shard in leaf.addressable_shards]
        assert len(copies) == 8
        assert all(np.array_equal(copies[0], copy) for copy in copies[1:])
    # … while every device plays its own episodes.
    vision = np.asarray(actors.state.goal).reshape(8, -1)
    assert not np.array_equal(vision[0], vision[1])
    assert eight.update._cache_size() == 1
