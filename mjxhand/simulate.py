"""One control step of the physics, with what disturbs it, and a guard against what is no state."""

from typing import Any

import jax
import jax.numpy as jnp

from mjxhand import disturb, randomize
from mjxhand.config import Config
from mjxhand.episode import State
from mjxhand.physics import Physics, PhysicsState
from mjxhand.scene import Scene

MAX_VALUE = 1e10
"""Magnitude from which a state is no state any more: MuJoCo's mjMAXVAL."""


def simulate(
    physics: Physics,
    scene: Scene,
    config: Config,
    key: jax.Array,
    state: State,
    target: jax.Array,
) -> tuple[PhysicsState, jax.Array, Any]:
    """Step one environment.

    Args:
        key: of pushes; consumed.
        target: servo targets `[A]`, rad.

    Returns:
        The next state, or the last one if that would be none; whether it is one, bool `[]`;
        lost contacts.
    """
    pushed = disturb.push(
        key,
        state.physics,
        scene,
        state.world,
        config.env.push_seconds,
        config.control_seconds,
    )
    variant = randomize.variant_of(
        state.world, scene, config.physics.substeps, state.target
    )
    stepped, overflow = physics.step_told(pushed, target, variant)
    # NaN is not below either. C MuJoCo takes a command that is none for 0, of all servos.
    checked = (stepped, target)
    sound = [jnp.all(jnp.abs(x) < MAX_VALUE) for x in jax.tree.leaves(checked)]
    finite = jnp.all(jnp.array(sound))
    # A state that is no number ends its own episode and spreads no further.
    return (
        jax.tree.map(
            lambda new, old: jnp.where(finite, new, old), stepped, state.physics
        ),
        finite,
        overflow,
    )
