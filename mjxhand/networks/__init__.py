"""Networks: `build` gives the flax module that a NetworkConfig describes."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from mjxhand import atlas, streams, wiring
from mjxhand.config import ConfigError, NetworkConfig
from mjxhand.networks import distributions, lesions, options, vision
from mjxhand.networks.baseline import FORMS, Baseline
from mjxhand.networks.fpn import FPN
from mjxhand.networks.recurrent import find_cell
from mjxhand.networks.types import Carry, Output
from mjxhand.streams import Sizes
from mjxhand.wiring import (
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
    "lesions",
    "options",
    "parameter_counts",
    "pathway_counts",
    "vision",
    "wiring",
]

FRONTOPARIETAL = atlas.find("angorapy_v2")
"""The published network, as the bundled table has it."""


def build(cfg: NetworkConfig, observation_sizes: Sizes, num_outputs: int) -> nn.Module:
    """The network of `cfg`.

    `module.apply(params, carry, obs, reset) -> (carry, Output)`, time-major.

    Args:
      observation_sizes: width of each observation stream, or the shape of its frames;
        `privileged` is among them.
      num_outputs: width of the logits (`Distribution.num_outputs`).

    Raises:
      ConfigError: unknown network, table, area or cell; scale not positive; a stream
        missing; a pathway that is cyclic or dangling.
    """
    find_cell(cfg.cell)
    if not cfg.units_scale > 0:
        raise ConfigError(f"units_scale is {cfg.units_scale}; it must be above 0")
    if PRIVILEGED not in observation_sizes:
        raise ConfigError(
            f"the observations lack '{PRIVILEGED}', which the critic reads"
        )
    dropped = options.dropped_streams(cfg)
    visual = vision.areas(observation_sizes, cfg.units_scale)
    if cfg.name == "fpn":
        areas = vision.attach(scaled(options.wiring_of(cfg), cfg.units_scale), visual)
        check(areas, observation_sizes)
        return FPN(areas, num_outputs, cfg.cell, dropped, cfg.freeze_vision)
    if cfg.name in FORMS:
        dense, recurrent = FORMS[cfg.name]
        return Baseline(
            num_outputs,
            cfg.cell,
            tuple(scale_units(units, cfg.units_scale) for units in dense),
            scale_units(recurrent, cfg.units_scale) if recurrent else 0,
            dropped,
            visual,
            cfg.freeze_vision,
        )
    available = ", ".join(("fpn", *FORMS))
    raise ConfigError(f"network '{cfg.name}' not found; available: {available}")


def init(module: nn.Module, key: jax.Array, observation_sizes: Sizes):
    """Fresh parameters, {"params": {area or head: ...}}. The key is consumed."""
    obs = streams.blank(observation_sizes, 1, 1)
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


def pathway_counts(
    areas: Wiring, observation_sizes: Sizes, num_outputs: int, cell: str
) -> list[tuple[Pathway, int]]:
    """Weights of every pathway, those into the heads last, in the order of the table.

    A pathway has a weight from each unit of its source to each unit of its target's first
    layer, for each gate if that layer is recurrent; into a convolutional area, its filters'.
    """
    widths = {name: streams.width(size) for name, size in observation_sizes.items()}
    widths |= {area.name: area.units for area in areas.areas}
    first = {"policy": num_outputs, "value": (*areas.value_units, 1)[0]}
    for area in areas.areas:
        gates = find_cell(area.cell or cell).gates
        gated = area.recurrent and area.layers == 1
        first[area.name] = area.units * (gates if gated else 1)
    filters = {area.name: area.conv.weights for area in areas.areas if area.conv}
    return [
        (p, filters.get(p.target) or widths[p.source] * first[p.target])
        for p in areas.all_pathways
    ]
