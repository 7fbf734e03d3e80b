"""What an update learns from: advantages, and experience cut into chunks and minibatches.

Advantages: Schulman et al. 2016, arXiv:1506.02438.
"""

from typing import Any

import chex
import jax
import jax.numpy as jnp


@chex.dataclass(frozen=True)
class Sequences:
    """Chunks to learn from; B sequences of L steps.

    Of all environments together (`ppo.sequences`) the axis B is two, [N, C], until
    `minibatch` takes some.
    """

    obs: dict[str, jax.Array]  # [L, B, size], normalised; frames u8[L, B, H, W, C]
    began: jax.Array  # [L, B]
    action: jax.Array  # [L, B, A]
    log_prob: jax.Array  # [L, B], under the policy that acted
    value: jax.Array  # [L, B], likewise
    advantage: jax.Array  # [L, B]
    target: jax.Array  # [L, B] value target
    carry: Any  # [B, ...] recurrent state before the chunk
    pose: jax.Array | None = None  # [L, B, 7] of the object; only for `pose_weight`


def gae(
    reward: jax.Array,
    value: jax.Array,
    next_value: jax.Array,
    terminated: jax.Array,
    episode_end: jax.Array,
    *,
    gamma: float,
    lam: float,
) -> jax.Array:
    """Generalised advantage estimate, all arrays `[T, N]` → `[T, N]`.

        δ_t = r_t + γ (1 - terminated_t) V(s_{t+1}) - V(s_t)
        A_t = δ_t + γ λ (1 - episode_end_t) A_{t+1}

    `next_value[t]` is V of the observation *before* any reset, so a time limit
    (`episode_end` without `terminated`) still bootstraps. Flags describe the step taken at t.

    Reference: Schulman et al. 2016, arXiv:1506.02438, eq. 16.
    """
    # Selected, not multiplied by 0: of a state that is no number V is none either.
    ahead = jnp.where(terminated.astype(bool), 0.0, next_value)
    going = 1.0 - episode_end.astype(reward.dtype)
    delta = reward + gamma * ahead - value

    def backward(advantage, step):
        delta_t, going_t = step
        advantage = delta_t + gamma * lam * going_t * advantage
        return advantage, advantage

    start = jnp.zeros_like(delta[0])
    _, advantage = jax.lax.scan(backward, start, (delta, going), reverse=True)
    return advantage


def to_chunks(x: jax.Array, chunk_length: int) -> jax.Array:
    """`[T, N, ...]` → `[L, N, C, ...]`, every chunk contiguous in time."""
    num_chunks = x.shape[0] // chunk_length
    x = x.reshape(num_chunks, chunk_length, *x.shape[1:])
    return jnp.moveaxis(x, 0, 2)


def minibatch(sequences: Sequences, envs: jax.Array) -> Sequences:
    """Every chunk of the environments `envs` [n]: `[L, N, C, ...]` → `[L, n·C, ...]`."""

    def steps(x):
        x = x[:, envs]
        return x.reshape(x.shape[0], -1, *x.shape[3:])

    def starts(x):
        x = x[envs]
        return x.reshape(-1, *x.shape[2:])

    fields = {k: v for k, v in sequences.items() if k != "carry"}
    return Sequences(
        carry=jax.tree.map(starts, sequences.carry), **jax.tree.map(steps, fields)
    )
