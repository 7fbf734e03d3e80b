"""The advantage estimate and the chunks: by hand, against a loop, and as laws."""

import chex
import jax.numpy as jnp
import numpy as np
import pytest

from mjxhand import ppo


def column(*values):
    return jnp.array(values, jnp.float32)[:, None]


def test_gae_by_hand():
    """γ = λ = ½, V ≡ 1, r = (1, 0, 2), dropped at t=0, time limit at t=1.

    t=2: δ = 2 + ½·1 - 1 = 1.5,          A = 1.5
    t=1: δ = 0 + ½·1 - 1 = -0.5, cut,    A = -0.5
    t=0: δ = 1 + 0 - 1 = 0, terminated,  A = 0
    """
    one = column(1, 1, 1)
    advantage = ppo.gae(
        column(1, 0, 2),
        one,
        one,
        column(1, 0, 0),
        column(1, 1, 0),
        gamma=0.5,
        lam=0.5,
    )
    assert np.allclose(advantage[:, 0], [0.0, -0.5, 1.5])


class GaeVariants(chex.TestCase):
    """Equal to a plain loop, compiled or not."""

    @chex.variants(with_jit=True, without_jit=True)
    def test_equals_loop(self):
        rng = np.random.default_rng(0)
        t, n, gamma, lam = 40, 7, 0.97, 0.9
        reward, value, next_value = rng.normal(size=(3, t, n))
        terminated = rng.random((t, n)) < 0.1
        next_value = np.where(terminated, np.nan, next_value)  # of no state that counts
        ended = terminated | (rng.random((t, n)) < 0.1)
        expected = np.zeros((t + 1, n))
        for i in reversed(range(t)):
            ahead = np.where(terminated[i], 0.0, next_value[i])
            delta = reward[i] + gamma * ahead - value[i]
            expected[i] = delta + gamma * lam * ~ended[i] * expected[i + 1]
        fn = self.variant(lambda *x: ppo.gae(*x, gamma=gamma, lam=lam))
        args = [jnp.asarray(x, jnp.float32) for x in (reward, value, next_value)]
        got = fn(*args, jnp.asarray(terminated), jnp.asarray(ended))
        assert np.allclose(got, expected[:-1], atol=1e-4)


def test_lambda_one_is_the_return_minus_the_value():
    """With λ = 1 and no end, A_0 = Σ γ^k r_k + γ^T V_T - V_0."""
    rng = np.random.default_rng(1)
    reward = rng.normal(size=(10, 1))
    value = rng.normal(size=(11, 1))
    no = jnp.zeros((10, 1), bool)
    got = ppo.gae(
        jnp.asarray(reward),
        jnp.asarray(value[:-1]),
        jnp.asarray(value[1:]),
        no,
        no,
        gamma=0.9,
        lam=1.0,
    )
    discounts = 0.9 ** np.arange(11)[:, None]
    expected = (discounts[:-1] * reward).sum() + discounts[-1] * value[-1] - value[0]
    assert np.allclose(got[0], expected, atol=1e-5)


@pytest.mark.parametrize("chunk", [2, 4, 8])
def test_chunks_are_contiguous_in_time(chunk):
    x = jnp.arange(8)[:, None] * 10 + jnp.arange(3)[None]
    chunks = np.asarray(ppo.to_chunks(x, chunk))
    assert chunks.shape == (chunk, 3, 8 // chunk)
    for env in range(3):
        for c in range(8 // chunk):
            times = np.arange(c * chunk, (c + 1) * chunk)
            assert np.array_equal(chunks[:, env, c], times * 10 + env)
