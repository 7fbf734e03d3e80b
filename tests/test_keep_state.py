"""Episodes that begin where the last one ran out of time."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import probe_envs
from test_ppo import TINY

import mjxhand
from mjxhand import agent as agent_module
from mjxhand.rollout import init_actors, rollout
from mjxhand.sharding import Program, make_mesh


class Walk(probe_envs.Recall):
    """Five steps; the physics counts them for ever. Cue +1: time is up, -1: terminated."""

    def _state(self, key, cue, t, reward, end):
        state = super()._state(key, cue, t, reward, end)
        limited = end & (cue > 0)
        metrics = state.metrics | {"timed_out": limited.astype(jnp.float32)}
        return state.replace(
            terminated=end & ~limited, truncated=limited, metrics=metrics
        )

    def step(self, state, action, params=None):
        return super().step(state, action).replace(physics=state.physics + 1)

    def go_on(self, state, key, params):
        return self.reset(key).replace(physics=state.physics)


def after_ends(keep_state):
    """[physics, step] of every control step of two unrolls, and what they recorded."""
    env, params = Walk(), probe_envs.PARAMS.replace(keep_state=keep_state)
    agent = agent_module.build(TINY, env.observation_sizes, env.num_actuators)
    learner = Program(TINY, env, agent, make_mesh(jax.devices()[:1])).init_learner(0)
    seen = []

    class Watched(Walk):
        def step(self, state, action, params=None):
            jax.debug.callback(
                lambda *x: seen.append([float(np.ravel(v)[0]) for v in x]),
                state.physics, state.episode_step,
            )  # fmt: skip
            return super().step(state, action, params)

    actors = init_actors(env, agent, TINY.ppo.num_envs, jax.random.PRNGKey(3), params)
    run = jax.jit(
        lambda actors: rollout(Watched(), agent, TINY.ppo, learner, actors, params)
    )
    experiences = []
    for _ in range(2):
        actors, experience = run(actors)
        experiences.append(experience)
    jax.effects_barrier()
    return np.array(seen), experiences


def test_time_outs_leave_the_state_and_terminations_do_not():
    """The physics counts the steps since the last start state."""
    for keep, longest in ((None, 4), (1.0, 12)):
        seen, experiences = after_ends(keep)
        physics, step = seen[:, 0], seen[:, 1]
        assert step.max() == 4  # counters begin anew either way
        if keep is None:
            assert np.array_equal(physics, step)
        else:
            assert np.all(physics % 5 == step)  # whole episodes are kept
            assert physics.max() > longest
            # A half of the cues terminates: those begin at the start.
            begun = physics[step == 0]
            assert 0.3 < np.mean(begun == 0) < 0.7
        for experience in experiences:
            began = np.asarray(experience.began)[1:]
            assert np.array_equal(began, np.asarray(experience.episode_end)[:-1])


def test_with_the_probability_that_is_asked_for():
    seen, _ = after_ends(0.5)
    begun = seen[seen[:, 1] == 0, 0]
    # Of the ends a half are time-outs, and a half of those are kept.
    assert 0.6 < np.mean(begun == 0) < 0.9


def test_going_on_is_a_new_episode_of_the_same_hand():
    env = mjxhand.make("reorient", impl="native", pool_size=8)
    key = jax.random.PRNGKey(0)
    state, step = env.reset(key), jax.jit(env.step)
    for _ in range(3):
        state = step(state, jnp.full(20, 9, jnp.int32), env.params)
    state = state.replace(goals=jnp.int32(2), truncated=jnp.bool_(True))
    on = env.go_on(state, jax.random.PRNGKey(1), env.params)
    for name in ("qpos", "qvel", "sensordata"):
        assert np.array_equal(
            getattr(on.physics, name), getattr(state.physics, name)
        ), name
    assert np.array_equal(on.target, state.target)
    assert not np.array_equal(on.target, env.reset(key).target)
    assert (on.goals, on.goal_step, on.episode_step) == (0, 0, 0)
    assert not on.truncated
    assert on.distance > env.task.threshold
    assert not np.array_equal(on.goal, state.goal)
    for name in ("vision", "proprioception", "touch"):
        assert np.allclose(on.obs[name], state.obs[name], atol=1e-6), name
    assert on.metrics["goals"] == 0
    assert on.metrics["return"] == 0
    after = step(on, jnp.full(20, 5, jnp.int32), env.params)
    assert after.episode_step == 1


def test_going_on_stays_in_the_same_world():
    env = mjxhand.make(
        "reorient", impl="native", pool_size=8, randomize="friction,push"
    )
    state = env.reset(jax.random.PRNGKey(0))
    on = env.go_on(state, jax.random.PRNGKey(1), env.params)
    chex.assert_trees_all_equal(on.world, state.world)


def test_only_updates_keep_states():
    """Traced, not compiled."""
    for keep_state in (0.0, 0.9):
        curriculum = dataclasses.replace(TINY.curriculum, keep_state=keep_state)
        config = dataclasses.replace(TINY, curriculum=curriculum)
        called = []

        class Spy(Walk):
            def go_on(self, state, key, params, called=called):
                called.append(params.keep_state)
                return super().go_on(state, key, params)

        probe_envs.traced_update(config, Spy())
        assert set(called) == ({0.9} if keep_state else set())
    assert mjxhand.make("reorient", pool_size=8).params.keep_state is None
