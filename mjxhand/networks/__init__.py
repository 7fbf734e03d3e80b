"""Networks: `build` gives the flax module that a NetworkConfig describes."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from mjxhand.config import ConfigError, NetworkConfig
from mjxhand.networks import distributions
from mjxhand.networks.baseline import DENSE_UNITS, RECURRENT_UNITS, Baseline
from mjxhand.networks.fpn import FPN
from mjxhand.networks.recurrent import find_cell
from mjxhand.networks.types import Carry, Output
from mjxhand.networks.wiring import (
    FRONTOPARIETAL,
    PRIVILEGED,
    Area,
    Pathway,
    Wiring,
    check,
    scale_units,
    scaled,
)

__all__ = [
    "FPN",
    "FRONTOPARIETAL",
    "Area",
    "Baseline",
    "Carry",
    "Output",
    "Pathway",
    "Wiring",
    "build",
    "distributions",
    "init",
    "parameter_counts",
]

_VALUE_UNITS = (512, 512)


def build(
    cfg: NetworkConfig, observation_sizes: dict[str, int], num_outputs: int
) -> nn.Module:
    """The network of `cfg`.

    `module.apply(params, carry, obs, reset) -> (carry, Output)`, time-major.

    Args:
      observation_sizes: width of each observation stream; `privileged` is among them.
      num_outputs: width of the logits (`Distribution.num_outputs`).

    Raises:
      ConfigError: unknown network or cell, scale not positive, a stream missing.
    """
    find_cell(cfg.cell)
    wiring = scaled(FRONTOPARIETAL, cfg.units_scale)
    if PRIVILEGED not in observation_sizes:
        raise ConfigError(
            f"the observations lack '{PRIVILEGED}', which the critic reads"
        )
    if cfg.name == "fpn":
        check(wiring, observation_sizes)
        value_units = tuple(scale_units(u, cfg.units_scale) for u in _VALUE_UNITS)
        return FPN(wiring, num_outputs, cfg.cell, value_units)
    if cfg.name == "baseline":
        dense = scale_units(DENSE_UNITS, cfg.units_scale)
        recurrent = scale_units(RECURRENT_UNITS, cfg.units_scale)
        return Baseline(num_outputs, cfg.cell, dense, recurrent)
    raise ConfigError(f"network '{cfg.name}' not found; available: fpn, baseline")


def init(module: nn.Module, key: jax.Array, observation_sizes: dict[str, int]):
    """Fresh parameters, {"params": {area or head: ...}}. The key is consumed."""
    obs = {name: jnp.zeros((1, 1, size)) for name, size in observation_sizes.items()}
    return module.init(key, module.initial_carry(1), obs, jnp.zeros((1, 1), bool))


def parameter_counts(params) -> dict[str, int]:
    """Number of parameters of each area and head (baseline: of each tower).

    Args:
      params: what `init` returned, or its shapes (`jax.eval_shape` of `init`).
    """
    return {
        name: sum(leaf.size for leaf in jax.tree.leaves(part))
        for name, part in params["params"].items()
    }
