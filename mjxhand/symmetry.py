"""The 24 orientations in which a cube without letters looks the same."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np

from mjxhand import rotations


def _cube_group() -> np.ndarray:
    """All products of 90° turns: unit quaternions `[24, 4]`, first component that is not
    0 positive."""
    half = math.sqrt(0.5)
    group = list(np.eye(4))
    # After the identity and half turns about faces (3): quarter turns (6) and half turns
    # about edges (6), then turns by 120° (8).
    for i, j in itertools.combinations(range(4), 2):
        for sign in (1.0, -1.0):
            q = np.zeros(4)
            q[i], q[j] = half, sign * half
            group.append(q)
    for signs in itertools.product((1.0, -1.0), repeat=3):
        group.append(0.5 * np.array([1.0, *signs]))
    return np.array(group)


GROUP = _cube_group()
"""The 24 orientations of a cube, quaternions `[24, 4]`; the first is the identity."""


def nearest(quat: jax.Array) -> jax.Array:
    """The one of the 24 orientations that is nearest to `quat` `[4]`."""
    group = jnp.asarray(GROUP, jnp.float32)
    return group[jnp.argmax(jnp.abs(group @ quat))]


def fold(quat: jax.Array) -> jax.Array:
    """`quat` `[4]`, of a cube, turned in the cube's own frame to its look-alike nearest to the
    identity, w ≥ 0: the same for all 24 that look the same."""
    back = rotations.conjugate(nearest(quat))
    return rotations.canonical(rotations.multiply(quat, back))
