"""What every network returns.

Axes: T control steps, B environments, U units of an area. Time-major always.
"""

from typing import Any

import chex
import jax

Carry = Any
"""Recurrent state: a pytree of f32[B, U]."""


@chex.dataclass(frozen=True)
class Output:
    """Policy, value and the activity of every area, for T steps of B environments."""

    logits: jax.Array  # f32[T, B, num_outputs], parameters of the policy distribution
    value: jax.Array  # f32[T, B]
    areas: dict[str, jax.Array]  # name: f32[T, B, U]
    pose: jax.Array | None = None  # f32[T, B, 9] read from IT, see `pose`; frames only
