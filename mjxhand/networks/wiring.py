"""A network of areas as data: the tables, the published preset, and their checks."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

from mjxhand.config import ConfigError

PRIVILEGED = "privileged"
"""The stream that the policy never sees."""

_MIN_UNITS = 4


@dataclass(frozen=True)
class Area:
    """A population of units."""

    name: str
    units: int
    """Units of each layer."""
    layers: int = 1
    """Layers in sequence; targets read the last one."""
    recurrent: bool = False
    """Whether the last layer is recurrent; its activity is then the hidden state."""


@dataclass(frozen=True)
class Pathway:
    """A projection. `source` is an observation stream or an area, `target` an area.

    Listed twice, the source is concatenated twice and has two kernels.
    """

    source: str
    target: str


@dataclass(frozen=True)
class Wiring:
    """Areas, the pathways between them, and what the two heads read."""

    areas: tuple[Area, ...]
    pathways: tuple[Pathway, ...]
    policy: tuple[str, ...]
    """Areas that the policy head reads."""
    value: tuple[str, ...]
    """Areas and streams that the value head reads."""

    def sources(self, target: str) -> tuple[str, ...]:
        """What `target` receives, in the order of the table."""
        return tuple(p.source for p in self.pathways if p.target == target)


def _pathways(table: dict[str, tuple[str, ...]]) -> tuple[Pathway, ...]:
    return tuple(Pathway(s, target) for target, ss in table.items() for s in ss)


# Sizes and pathways of AngoraPy's second frontoparietal network (Weidler et al., model
# "shadowv2"). IPS receives SSC twice there, and its number of parameters (594,432)
# counts both; so it does here.
FRONTOPARIETAL = Wiring(
    areas=(
        Area("SSC", 296, layers=2),
        Area("SPL", 456),
        Area("IPL", 672),
        Area("IPS", 344),
        Area("MCC", 216),
        Area("LPFC", 360),
        Area("PMC", 256, recurrent=True),
        Area("M1", 96),
    ),
    pathways=_pathways(
        {
            "SSC": ("proprioception", "touch"),
            "SPL": ("SSC",),
            "IPL": ("SSC", "vision", "SPL"),
            "IPS": ("IPL", "SSC", "SSC", "vision", "SPL"),
            "MCC": ("goal",),
            "LPFC": ("MCC", "IPL", "IPS"),
            "PMC": ("LPFC", "SPL", "SSC"),
            "M1": ("PMC", "SSC", "SPL"),
        }
    ),
    policy=("M1",),
    value=("PMC", "MCC", "IPS", "LPFC", "SSC", PRIVILEGED),
)


def scale_units(units: int, scale: float) -> int:
    """`units` times `scale`, rounded, at least 4."""
    return max(_MIN_UNITS, round(units * scale))


def scaled(wiring: Wiring, scale: float) -> Wiring:
    """The wiring with every area's units scaled. ConfigError unless `scale` > 0."""
    if not scale > 0:
        raise ConfigError(f"units_scale is {scale}; it must be above 0")
    areas = tuple(
        dataclasses.replace(a, units=scale_units(a.units, scale)) for a in wiring.areas
    )
    return dataclasses.replace(wiring, areas=areas)


def layer_names(area: Area) -> tuple[str, ...]:
    """Names of the layers' activities: SSC of two layers gives ("SSC1", "SSC")."""
    return (*(f"{area.name}{i + 1}" for i in range(area.layers - 1)), area.name)


def check(wiring: Wiring, streams: Iterable[str]) -> None:
    """Raise ConfigError, naming the culprit, if `wiring` cannot become a network.

    Args:
      streams: names of the observation streams.
    """
    streams = set(streams)
    names = [name for area in wiring.areas for name in layer_names(area)]
    taken = sorted({n for n in names if names.count(n) > 1 or n in streams})
    if taken:
        raise ConfigError(f"names used twice: {', '.join(taken)}; rename the area")
    _check_ends(wiring, streams, {area.name for area in wiring.areas})
    order(wiring)


def _check_ends(wiring: Wiring, streams: set[str], areas: set[str]) -> None:
    """Every end of every pathway exists, and no area hangs loose."""
    known = f"areas: {', '.join(sorted(areas))}; streams: {', '.join(sorted(streams))}"
    for p in wiring.pathways:
        if p.source not in areas | streams or p.target not in areas:
            raise ConfigError(
                f"pathway {p.source} -> {p.target} leads from or to nothing; {known}"
            )
        if p.source == PRIVILEGED:
            raise ConfigError(
                f"pathway {p.source} -> {p.target}: only the value head may read it"
            )
    for head, reads, allowed in (
        ("policy", wiring.policy, areas),
        ("value", wiring.value, areas | streams),
    ):
        missing = sorted(set(reads) - allowed)
        if missing or not reads:
            raise ConfigError(
                f"the {head} head reads {', '.join(missing) or 'nothing'}; {known}"
            )
    read = {p.source for p in wiring.pathways} | {*wiring.policy, *wiring.value}
    for area in wiring.areas:
        if not wiring.sources(area.name):
            raise ConfigError(f"area {area.name} receives nothing; add a pathway to it")
        if area.name not in read:
            raise ConfigError(f"nothing reads area {area.name}; add a pathway from it")


def order(wiring: Wiring) -> tuple[Area, ...]:
    """Areas such that each follows all it receives. ConfigError names a cycle."""
    waiting = {area.name: area for area in wiring.areas}
    ordered = []
    while waiting:
        ready = [n for n in waiting if not waiting.keys() & set(wiring.sources(n))]
        if not ready:
            raise ConfigError(f"pathways form a cycle: {_cycle(wiring, set(waiting))}")
        ordered.append(waiting.pop(ready[0]))
    return tuple(ordered)


def _cycle(wiring: Wiring, waiting: set[str]) -> str:
    """One cycle as "A -> B -> A", given areas each of which receives from one."""
    path = [min(waiting)]
    while path[-1] not in path[:-1]:
        path.append(next(s for s in wiring.sources(path[-1]) if s in waiting))
    return " -> ".join(reversed(path[path.index(path[-1]) :]))
