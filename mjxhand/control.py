"""From actions to servo targets."""

import jax
import jax.numpy as jnp

from mjxhand.config import ConfigError, EnvConfig

WRIST = 2
"""Servos of the wrist: the first two."""


def servo_targets(
    cfg: EnvConfig,
    ctrl_range: jax.Array,
    action: jax.Array,
    target: jax.Array,
    measured: jax.Array,
) -> jax.Array:
    """New servo targets `[A]`, rad, within their ranges; see `EnvConfig.control`.

    Args:
        ctrl_range: smallest and largest target of each servo, f32 [A, 2], rad.
        action: int32 [A] in 0 … bins-1 (discrete) or float [A] in [-1, 1].
        target: the last targets [A], rad.
        measured: the angles that the servos hold [A], rad.

    Raises:
        ConfigError: an action of another shape, or levels that are no whole numbers.
    """
    action = _checked(cfg, action, target.shape)
    low, high = ctrl_range.T
    half = 0.5 * (high - low)
    if cfg.actions == "discrete":
        # Integers up to the division, so that the middle bin is exactly 0.
        level = (2 * action - (cfg.bins - 1)) / jnp.float32(cfg.bins - 1)
    else:
        level = jnp.clip(action, -1.0, 1.0)
    if cfg.control == "absolute":
        moved = low + half * (1.0 + level)
    elif cfg.control == "relative_to_target":
        moved = target + cfg.relative_step * half * level
    else:
        moved = measured + cfg.relative_step * half * level
    if cfg.target_lead is not None:
        lead = cfg.target_lead * half
        moved = jnp.clip(moved, measured - lead, measured + lead)
    moved = jnp.clip(moved, low, high)
    if cfg.hold_wrist:
        moved = moved.at[:WRIST].set(target[:WRIST])
    return moved


def _checked(cfg: EnvConfig, action: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """An action as an array; one number would move all servos, and -1 … 1 be nearly one level.

    Levels may be floats, as some libraries keep them; whether those are whole numbers can be
    told outside of a compiled program alone.
    """
    action = jnp.asarray(action)
    discrete = cfg.actions == "discrete"
    integer = jnp.issubdtype(action.dtype, jnp.integer)
    seen = not isinstance(action, jax.core.Tracer)
    broken = not integer and seen and bool(jnp.any(action != jnp.round(action)))
    if action.shape == shape and not (discrete and broken):
        return action
    kind = f"whole numbers in 0 … {cfg.bins - 1}" if discrete else "numbers in [-1, 1]"
    other = '; for numbers in [-1, 1] give actions="continuous"' if discrete else ""
    raise ConfigError(
        f"an action is {kind}, of shape {shape}, not {action.dtype} of shape "
        f"{action.shape}{other}"
    )
