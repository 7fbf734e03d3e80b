"""What an analysis knows of a network's build: its areas, in what order, and which remember."""

from typing import Any

from mjxhand.agent import Agent
from mjxhand.wiring import Wiring, layer_names

ACTIONS = "actions"
"""The policy's mean commands, where they stand beside areas."""


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
