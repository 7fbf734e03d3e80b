"""Dropout of whole senses in training: a stream is silent for an episode.

Whether an environment's stream is silent is drawn at each episode's start, from a key and a
count of episodes that travel in the carry. So the learner, which replays chunks from
stored carries, sees the very silences of the rollout. A carry made without a key has
no such state, and nothing drops out: that is how evaluation differs from training.
"""

import jax
import jax.numpy as jnp

from mjxhand.networks.types import Carry

Rates = tuple[tuple[str, float], ...]
"""(stream, probability that it is silent for an episode)."""
KEY = "streams"
"""The carry's entry: {"key": uint32[B, 2], "episode": int32[B]}."""


def begin(carry: dict, rates: Rates, batch: int, key: jax.Array | None) -> Carry:
    """`carry` with the state of dropout, if there is a key and something to drop."""
    if key is None or not any(rate > 0 for _, rate in rates):
        return carry
    state = {
        "key": jax.random.split(key, batch),
        "episode": jnp.zeros(batch, jnp.int32),
    }
    return carry | {KEY: state}


def apply(
    carry: Carry, rates: Rates, obs: dict[str, jax.Array], reset: jax.Array
) -> tuple[Carry, dict[str, jax.Array]]:
    """The carry after these steps, and observations with silent streams at zero.

    Zero is a normalised stream's mean. Streams that stay are not scaled up: a sense is
    there or not.

    Args:
      obs: {stream: f32[T, B, size]}.
      reset: bool[T, B], True where an episode begins.
    """
    state = state_of(carry).get(KEY)
    if state is None:
        return carry, obs
    episode = state["episode"] + jnp.cumsum(reset, axis=0, dtype=jnp.int32)  # [T, B]
    silenced = {}
    for index, (stream, rate) in enumerate(rates):
        keys = jax.vmap(jax.random.fold_in, (0, None))(state["key"], index)
        draw = jax.vmap(lambda k, n: jax.random.uniform(jax.random.fold_in(k, n)))
        silent = jax.vmap(draw, (None, 0))(keys, episode) < rate  # [T, B]
        silenced[stream] = jnp.where(silent[..., None], 0.0, obs[stream])
    state = {"key": state["key"], "episode": episode[-1]}
    return carry | {KEY: state}, obs | silenced


def state_of(carry: Carry) -> dict:
    """The part of a carry that is dropout's."""
    return {KEY: carry[KEY]} if KEY in carry else {}
