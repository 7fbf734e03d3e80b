"""What an analysis knows of a network's build: its areas, in what order, and which remember."""

import zlib
from typing import Any

import numpy as np

from mjxhand.agent import Agent
from mjxhand.wiring import Wiring, layer_names

ACTIONS = "actions"
"""The policy's mean commands, where they stand beside areas."""
MOST_UNITS = 256
"""Units of a convolutional area that are recorded: V1 alone has more than all others together."""


def wiring_of(agent: Agent) -> Wiring | None:
    """Areas and pathways of a network; None: one of your own that does not tell (`wiring`)."""
    found = getattr(agent.network, "wiring", None)
    return found if isinstance(found, Wiring) else None


def senses_of(agent: Agent) -> tuple[str, ...]:
    """Streams on which the policy's actions can depend."""
    wiring = wiring_of(agent)
    if wiring is None:
        return tuple(n for n in agent.observation_sizes if n != "privileged")
    read = {p.source for p in wiring.pathways}
    return tuple(n for n in agent.observation_sizes if n in read)


def depths(agent: Agent, areas: tuple[str, ...] = ()) -> dict[str, int]:
    """Layers between the senses (0) and each area, by the longest way forward.

    Delayed pathways lead back and do not count. Of a network that does not tell its
    wiring, the areas have the order in which it gives them.

    Args:
        areas: all that were recorded, by name.
    """
    depth = dict.fromkeys(agent.observation_sizes, 0)
    wiring = wiring_of(agent)
    if wiring is None:
        return depth | {name: index + 1 for index, name in enumerate(areas)}
    for _ in wiring.areas:  # as often as there are areas: enough for any order of them
        for area in wiring.areas:
            before = max(
                (depth.get(s, 0) for s in wiring.sources(area.name)), default=0
            )
            depth |= {
                name: before + index + 1 for index, name in enumerate(layer_names(area))
            }
    return depth


def sampled(agent: Agent) -> dict[str, np.ndarray]:
    """Units of the convolutional areas that are recorded, in order; of other areas all are.

    The same ones every time, drawn at random over maps and channels. An area that a recurrent
    one receives is kept whole: its dynamics depend on all of it.
    """
    wiring = wiring_of(agent)
    if wiring is None:
        return {}
    needed = {s for area in recurrent(agent) for s in wiring.sources(area)}
    chosen = {}
    for area in wiring.areas:
        if area.conv and area.name not in needed and area.units > MOST_UNITS:
            rng = np.random.default_rng(zlib.crc32(area.name.encode()))
            drawn = rng.choice(area.units, MOST_UNITS, replace=False)
            chosen[area.name] = np.sort(drawn)
    return chosen


def recurrent(agent: Agent) -> tuple[str, ...]:
    """Names of the areas with a memory of their own."""
    wiring = wiring_of(agent)
    return tuple(a.name for a in wiring.areas if a.recurrent) if wiring else ()


def described(agent: Agent) -> list[dict[str, Any]]:
    """Areas in the order of the wiring, JSON-ready; none of a network that tells none."""
    wiring = wiring_of(agent)
    if wiring is None:
        return []
    return [
        {
            "area": area.name,
            "label": area.label,
            "units": area.units,
            "layers": area.layers,
            "recurrent": area.recurrent,
            "receives": list(dict.fromkeys(wiring.sources(area.name))),
            "feedback": [p.source for p in wiring.inputs(area.name) if p.delayed],
        }
        for area in wiring.areas
    ]
