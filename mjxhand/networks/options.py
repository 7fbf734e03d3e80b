"""The wiring that a NetworkConfig asks for: a table, and what the options change in it."""

import dataclasses

from mjxhand import atlas
from mjxhand.arguments import suggest
from mjxhand.config import ConfigError, NetworkConfig
from mjxhand.networks import vision
from mjxhand.networks.recurrent import find_cell
from mjxhand.wiring import PRIVILEGED, STREAMS, Pathway, Wiring

TABLE, NONE, ALL = "table", "none", "all"


def wiring_of(cfg: NetworkConfig) -> Wiring:
    """The network of `cfg` at full size.

    Raises:
      ConfigError: no such table, area or cell; one line.
    """
    wiring = with_recurrence(atlas.find(cfg.atlas), cfg.recurrent)
    wiring = with_feedback(wiring, cfg.feedback)
    for area in wiring.areas:
        if area.recurrent:
            find_cell(area.cell or cfg.cell)
    return wiring


def with_recurrence(wiring: Wiring, option: str) -> Wiring:
    """Which areas are recurrent.

    Args:
      option: `table`, as the table says; `none`; `all`; or areas separated by commas,
        each with its own cell if one follows a colon: `PMC,LPFC:gru`.
    """
    if option == TABLE:
        return wiring
    chosen = dict.fromkeys((a.name for a in wiring.areas), "") if option == ALL else {}
    if option not in (NONE, ALL):
        for part in option.split(","):
            name, colon, cell = part.strip().partition(":")
            _find(wiring, name, "network.recurrent")
            if colon:
                find_cell(cell)
            chosen[name] = cell
    areas = tuple(
        dataclasses.replace(
            area, recurrent=area.name in chosen, cell=chosen.get(area.name) or None
        )
        for area in wiring.areas
    )
    return dataclasses.replace(wiring, areas=areas)


def with_feedback(wiring: Wiring, option: str) -> Wiring:
    """Which areas receive others' activity of the step before.

    Args:
      option: `table`; `none`; `all`, a way back for every pathway between areas; or ways
        SOURCE:TARGET separated by commas: `M1:PMC,PMC:LPFC`.
    """
    if option == TABLE:
        return wiring
    forward = [p for p in wiring.pathways if not p.delayed]
    names = {area.name for area in wiring.areas}
    ends: list[tuple[str, str]] = []
    if option == ALL:
        ends = [(p.target, p.source) for p in forward if p.source in names]
    elif option != NONE:
        for part in option.split(","):
            source, colon, target = part.strip().partition(":")
            if not colon:
                raise ConfigError(
                    f"network.feedback is {option!r}: write SOURCE:TARGET, as in M1:PMC"
                )
            for name in (source, target):
                _find(wiring, name, "network.feedback")
            ends.append((source, target))
    back = [Pathway(*e, delayed=True) for e in dict.fromkeys(ends)]
    return dataclasses.replace(wiring, pathways=(*forward, *back))


def _find(wiring: Wiring, name: str, option: str) -> None:
    names = [area.name for area in wiring.areas]
    if name not in names:
        problem = f"which is no area{suggest(name, names)}"
        if name in vision.NAMES:
            problem = "but V1 to IT take neither recurrence nor feedback"
        raise ConfigError(
            f"{option} names {name!r}, {problem}; available: {', '.join(names)}"
        )


def dropped_streams(cfg: NetworkConfig) -> tuple[tuple[str, float], ...]:
    """Streams that drop out in training, and how often.

    Raises:
      ConfigError: no such stream, or one that the policy never sees.
    """
    if cfg.stream_dropout == 0:
        return ()
    streams = [name.strip() for name in cfg.dropout_streams.split(",")]
    allowed = [name for name in STREAMS if name != PRIVILEGED]
    for name in streams:
        if name not in allowed:
            raise ConfigError(
                f"network.dropout_streams names {name!r}{suggest(name, allowed)}; "
                f"available: {', '.join(allowed)}"
            )
    return tuple((name, cfg.stream_dropout) for name in dict.fromkeys(streams))
