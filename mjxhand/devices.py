"""Means, sums and maxima over an array and over all devices; inside `shard_map`."""

import jax
import jax.numpy as jnp

AXIS = "device"
"""Axis of the mesh, over which environments are split."""


def mean(x: jax.Array) -> jax.Array:
    """Mean over the array and over the devices, []."""
    return jax.lax.pmean(jnp.mean(x.astype(jnp.float32)), AXIS)


def largest(x: jax.Array) -> jax.Array:
    """Maximum of the array and over the devices, []."""
    return jax.lax.pmax(jnp.max(x.astype(jnp.float32)), AXIS)


def total(x: jax.Array) -> jax.Array:
    """Sum over the array and over the devices, []."""
    return jax.lax.psum(jnp.sum(x.astype(jnp.float32)), AXIS)
