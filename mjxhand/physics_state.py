"""What the back ends of `physics.py` step, and what they may vary."""

from typing import Any

import chex
import jax
import numpy as np

Array = jax.Array | np.ndarray
Index = Any
"""Which part of an array: what stands between the brackets of `array[...]`. Integers and
slices only, so that numpy gives a view."""


def part(model: Any, name: str) -> Any:
    """An array of an MjModel or an mjx.Model by a name such as `opt.gravity`."""
    for word in name.split("."):
        model = getattr(model, word)
    return model


@chex.dataclass(frozen=True)
class PhysicsState:
    """State of one environment's physics (no batch axis; `vmap` adds it)."""

    qpos: Array  # f32[31] m, rad, quaternion; hand then cube
    qvel: Array  # f32[30] m/s, rad/s
    qacc_warmstart: Array  # f32[30] where the constraint solver starts
    sensordata: Array  # f32[S] as of the last physics step, see Scene.sensors


@chex.dataclass(frozen=True)
class Variant:
    """In what one environment's model and control differ from the scene's."""

    model: dict[str, Any]  # name in the MjModel → f32, values of the part that differs
    last_ctrl: Any  # f32[20] rad, servo targets of the control step before
    delay: Any  # int32 [] < substeps, physics steps that they still hold; None: 0


Told = tuple[PhysicsState, Array]
"""A state, and whether contacts or constraints may have been left out on the way to it."""
