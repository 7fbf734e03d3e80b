"""A network of areas as data, and the checks that refuse one which cannot work.

Where the areas come from is for `mjxhand.atlas` to say; what computes them is
`mjxhand.networks.fpn`.
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

from mjxhand.config import ConfigError
from mjxhand.streams import Conv

STREAMS = ("vision", "proprioception", "touch", "goal", "privileged")
"""Observation streams that every environment gives."""
PRIVILEGED = "privileged"
"""The stream that the policy never sees."""
HEADS = ("policy", "value")

_MIN_UNITS = 4
# Tables, options and lesions separate names by these, and by blanks.
_SEPARATORS = ",#:/"


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
    cell: str | None = None
    """Cell of the recurrent layer; None: the one that the whole network uses."""
    label: str = ""
    """Its anatomical name."""
    conv: Conv | None = None
    """Filters of a convolutional area, whose units are those of its map, row by row."""


@dataclass(frozen=True)
class Pathway:
    """A projection. `source` is an observation stream or an area, `target` an area.

    Listed twice, the source is concatenated twice and has two kernels.
    """

    source: str
    target: str
    delayed: bool = False
    """Whether the target receives the source's activity of one control step before (zero
    in an episode's first step): the only way back up the order of areas."""

    def __str__(self) -> str:
        return f"{self.source} {'~>' if self.delayed else '->'} {self.target}"


@dataclass(frozen=True)
class Wiring:
    """Areas, the pathways between them, and what the two heads read."""

    areas: tuple[Area, ...]
    pathways: tuple[Pathway, ...]
    policy: tuple[str, ...]
    """Areas that the policy head reads."""
    value: tuple[str, ...]
    """Areas and streams that the value head reads."""
    value_units: tuple[int, ...] = (512, 512)
    """Hidden layers of the value head."""

    def area(self, name: str) -> Area:
        """The area called `name`."""
        return next(area for area in self.areas if area.name == name)

    def inputs(self, target: str) -> tuple[Pathway, ...]:
        """Pathways into `target`, in the order of the table, delayed ones last."""
        found = [p for p in self.pathways if p.target == target]
        return tuple(sorted(found, key=lambda p: p.delayed))

    def sources(self, target: str) -> tuple[str, ...]:
        """What `target` receives within a control step, in the order of the table."""
        return tuple(p.source for p in self.inputs(target) if not p.delayed)

    @property
    def all_pathways(self) -> tuple[Pathway, ...]:
        """Pathways between areas, then those into the heads."""
        heads = zip(HEADS, (self.policy, self.value), strict=True)
        into_heads = tuple(Pathway(s, head) for head, reads in heads for s in reads)
        return self.pathways + into_heads


def scale_units(units: int, scale: float) -> int:
    """`units` times `scale`, rounded, at least 4 (or `units`, if those are fewer)."""
    return max(min(_MIN_UNITS, units), round(units * scale))


def scaled(wiring: Wiring, scale: float) -> Wiring:
    """The wiring with all units scaled, the value head's too.

    ConfigError unless `scale` > 0.
    """
    if not scale > 0:
        raise ConfigError(f"units_scale is {scale}; it must be above 0")
    areas = tuple(
        dataclasses.replace(a, units=scale_units(a.units, scale)) for a in wiring.areas
    )
    value_units = tuple(scale_units(units, scale) for units in wiring.value_units)
    return dataclasses.replace(wiring, areas=areas, value_units=value_units)


def layer_names(area: Area) -> tuple[str, ...]:
    """Names of the layers' activities: SSC of two layers gives ("SSC1", "SSC")."""
    return (*(f"{area.name}{i + 1}" for i in range(area.layers - 1)), area.name)


def check(wiring: Wiring, streams: Iterable[str]) -> None:
    """Raise ConfigError, naming the culprit, if `wiring` cannot become a network.

    Args:
      streams: names of the observation streams.
    """
    streams = set(streams)
    taken_by_heads = {*HEADS, *(f"{head}_head" for head in (*HEADS, "pose")), "streams"}
    names = [name for area in wiring.areas for name in layer_names(area)]
    taken = sorted(
        {n for n in names if names.count(n) > 1 or n in streams | taken_by_heads}
    )
    if taken:
        raise ConfigError(f"names used twice: {', '.join(taken)}; rename the area")
    for area in wiring.areas:
        _check_name(area.name)
        if area.units < 1 or area.layers < 1:
            raise ConfigError(
                f"area {area.name} has {area.units} units in {area.layers} layers; give "
                "at least 1 of each"
            )
    if any(units < 1 for units in wiring.value_units):
        raise ConfigError(
            f"the value head has layers of {', '.join(map(str, wiring.value_units))} "
            "units; give at least 1 in each"
        )
    _check_ends(wiring, streams, {area.name for area in wiring.areas})
    _check_reach(wiring, streams)
    order(wiring)


def _check_name(name: str) -> None:
    """A name that tables, options and lesions can carry."""
    wrong = [c for c in name if c.isspace() or c in _SEPARATORS]
    if wrong:
        what = "blank" if wrong[0].isspace() else wrong[0]
        raise ConfigError(f"area {name!r} has a {what} in its name; rename it")
    if name in ("", "-", "*"):
        raise ConfigError(f"{name!r} is no name for an area; rename it")


def _check_ends(wiring: Wiring, streams: set[str], areas: set[str]) -> None:
    """Every end of every pathway exists, and no area hangs loose."""
    known = f"areas: {', '.join(sorted(areas))}; streams: {', '.join(sorted(streams))}"
    for p in wiring.pathways:
        if p.source not in areas | streams or p.target not in areas:
            raise ConfigError(f"pathway {p} leads from or to nothing; {known}")
        if p.source == PRIVILEGED:
            raise ConfigError(f"pathway {p}: only the value head may read it")
        if p.delayed and p.source in streams:
            raise ConfigError(f"pathway {p}: only an area's activity comes delayed")
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
        if not wiring.inputs(area.name):
            raise ConfigError(f"area {area.name} receives nothing; add a pathway to it")
        if area.name not in read:
            raise ConfigError(f"nothing reads area {area.name}; add a pathway from it")


def _check_reach(wiring: Wiring, streams: set[str]) -> None:
    """No areas that only hear, or are only heard by, themselves and each other."""
    reach = _reach(wiring)
    sensing = {p.target for p in wiring.pathways if p.source in streams}
    reached = sensing.union(*(reach[name] for name in sensing))
    for name, targets in reach.items():
        if name not in reached:
            raise ConfigError(f"no sense reaches area {name}; add a pathway from one")
        if not (targets | {name}) & {*wiring.policy, *wiring.value}:
            raise ConfigError(f"area {name} reaches no head; add a pathway from it")


def unheard(wiring: Wiring, streams: Iterable[str]) -> list[str]:
    """A note, or none, on senses of the task that no area receives; for a person.

    Allowed, since what a hand does without one of its senses is a question. But such a network
    may look as if it had learned badly.
    """
    received = {p.source for p in wiring.pathways}
    lost = [s for s in streams if s not in received and s != PRIVILEGED]
    if not lost:
        return []
    return [f"note: no area receives {', '.join(lost)}: actions do not depend on it"]


def order(wiring: Wiring) -> tuple[Area, ...]:
    """Areas such that each follows all it receives undelayed.

    ConfigError names a cycle.
    """
    waiting = {area.name: area for area in wiring.areas}
    ordered = []
    while waiting:
        ready = [n for n in waiting if not waiting.keys() & set(wiring.sources(n))]
        if not ready:
            raise ConfigError(
                f"pathways form a cycle: {_cycle(wiring, set(waiting))}; delay one "
                "(feedback)"
            )
        ordered.append(waiting.pop(ready[0]))
    return tuple(ordered)


def _cycle(wiring: Wiring, waiting: set[str]) -> str:
    """One cycle as "A -> B -> A", given areas each of which receives from one."""
    path = [min(waiting)]
    while path[-1] not in path[:-1]:
        path.append(next(s for s in wiring.sources(path[-1]) if s in waiting))
    return " -> ".join(reversed(path[path.index(path[-1]) :]))


def blocks(wiring: Wiring) -> tuple[tuple[Area, ...], ...]:
    """Areas in an order of computation; those of a delayed loop share a block.

    Every block follows all blocks that it receives from, delayed or not. Areas of a block
    of several, or of one that receives itself delayed, must be computed step by step;
    a single other area can be computed for all steps at once.
    """
    ordered = order(wiring)
    reach = _reach(wiring)
    groups: list[tuple[Area, ...]] = []
    placed: set[str] = set()
    for area in ordered:
        if area.name not in placed:
            loop = {b.name for b in ordered if area.name in reach[b.name]}
            loop = loop & reach[area.name] | {area.name}
            groups.append(tuple(b for b in ordered if b.name in loop))
            placed |= loop
    done: list[tuple[Area, ...]] = []
    while groups:
        waiting = {area.name for group in groups for area in group}
        for group in groups:
            names = {area.name for area in group}
            needs = {p.source for n in names for p in wiring.inputs(n)} - names
            if not needs & waiting:
                break
        else:  # cannot be: groups are the strongly connected components
            raise AssertionError("no block is ready")
        groups.remove(group)
        done.append(group)
    return tuple(done)


def _reach(wiring: Wiring) -> dict[str, set[str]]:
    """Areas that each area can influence, over one or more pathways of either kind."""
    reach = {area.name: set() for area in wiring.areas}
    for p in wiring.pathways:
        if p.source in reach:
            reach[p.source].add(p.target)
    for middle in reach:
        for name in reach:
            if middle in reach[name]:
                reach[name] |= reach[middle]
    return reach
