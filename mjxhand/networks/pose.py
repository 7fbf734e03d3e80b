"""A pose as numbers that a network can learn: nine, without a jump anywhere.

Position in units of `SPREAD` from `CENTRE`, then the first two columns of the rotation matrix:
a continuous code of SO(3) (Zhou et al. 2019, arXiv:1812.07035), and the same for q and -q.
"""

import chex
import jax
import jax.numpy as jnp

from mjxhand import rotations

SIZE = 9
CENTRE = (0.365, 0.0, 0.055)
"""About where a held object is, m in the world."""
SPREAD = 0.02
"""About how far it strays, m."""


@chex.dataclass(frozen=True)
class Errors:
    """How far a pose is off."""

    position: jax.Array  # m
    angle: jax.Array  # rad, geodesic


def encode(pose: jax.Array) -> jax.Array:
    """f32[..., 7], position (m) and quaternion w x y z -> f32[..., 9]."""
    position, quat = pose[..., :3], pose[..., 3:]
    columns = [
        rotations.rotate(quat, jnp.broadcast_to(jnp.eye(3)[i], position.shape))
        for i in range(2)
    ]
    place = (position - jnp.array(CENTRE)) / SPREAD
    return jnp.concatenate([place, *columns], axis=-1)


def decode(code: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Position f32[..., 3] (m) and rotation matrix f32[..., 3, 3] of any nine numbers.

    The columns are made orthonormal in turn (Gram and Schmidt).
    """
    position = code[..., :3] * SPREAD + jnp.array(CENTRE)
    first = _unit(code[..., 3:6])
    second = code[..., 6:9]
    second = _unit(second - jnp.sum(first * second, -1, keepdims=True) * first)
    third = jnp.cross(first, second)
    return position, jnp.stack([first, second, third], axis=-1)


def told(code: jax.Array) -> jax.Array:
    """f32[..., 9], any nine numbers -> position (m) and quaternion w x y z, w ≥ 0, f32[..., 7]."""
    position, matrix = decode(code)
    return jnp.concatenate([position, rotations.from_matrix(matrix)], axis=-1)


def loss(code: jax.Array, pose: jax.Array) -> jax.Array:
    """Mean squared error of the nine numbers, [...]."""
    return jnp.mean(jnp.square(code - encode(pose)), axis=-1)


def errors(code: jax.Array, pose: jax.Array) -> Errors:
    """How far a coded pose is from a true one, [...]."""
    position, matrix = decode(code)
    _, truth = decode(encode(pose))
    # trace(AᵀB) = 1 + 2 cos(angle); |A - B|² = 4 (1 - cos(angle)), which keeps its digits.
    chord = jnp.sum(jnp.square(matrix - truth), axis=(-2, -1))
    sine = jnp.sqrt(jnp.clip(chord / 8.0, 0.0, 1.0))
    return Errors(
        position=jnp.linalg.norm(position - pose[..., :3], axis=-1),
        angle=2.0 * jnp.arcsin(sine),
    )


def _unit(x: jax.Array) -> jax.Array:
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-9)
