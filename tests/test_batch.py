"""Many environments at once equal one after another."""

import jax
import jax.numpy as jnp
import numpy as np
from probe_envs import PARAMS, Recall

from mjxhand import batch

N = 5


def test_step_is_that_of_each_environment_and_resets_those_that_ended():
    env = Recall()
    key_start, key_new = jax.random.split(jax.random.PRNGKey(3))
    state = batch.reset(env, key_start, N, PARAMS)
    action = jnp.arange(N)[:, None] % 2
    ended_at = []
    for t in range(2 * env.length):
        key = jax.random.fold_in(key_new, t)
        stepped = batch.step(env, state, action, key, PARAMS)
        for i, new in enumerate(jax.random.split(key, N)):
            one = jax.tree.map(lambda x, i=i: x[i], state)
            after = env.step(one, action[i], PARAMS)
            ended = bool(after.terminated | after.truncated)
            assert bool(stepped.ended[i]) == ended
            _equal(stepped.after, i, after)
            _equal(stepped.state, i, env.reset(new, PARAMS) if ended else after)
        if stepped.ended.any():
            ended_at.append(t)
        state = stepped.state
    assert ended_at == [env.length - 1, 2 * env.length - 1]


def test_where_chooses_per_environment_whatever_the_shape_of_a_leaf():
    mask = jnp.array([True, False, True])
    new = {"a": jnp.ones(3), "b": jnp.ones((3, 2, 2), jnp.int32)}
    old = {"a": jnp.zeros(3), "b": jnp.zeros((3, 2, 2), jnp.int32)}
    chosen = batch.where(mask, new, old)
    assert chosen["a"].tolist() == [1, 0, 1]
    assert chosen["b"].sum((1, 2)).tolist() == [4, 0, 4]
    assert chosen["b"].dtype == jnp.int32


def _equal(batched, i, single):
    for many, one in zip(
        jax.tree.leaves(batched), jax.tree.leaves(single), strict=True
    ):
        np.testing.assert_allclose(many[i], one, rtol=1e-6)
