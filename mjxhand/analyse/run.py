"""All analyses of a recording, as tables by name. Every function here is a list of others'."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from mjxhand.analyse import (
    anatomy,
    claims,
    decoding,
    evidence,
    geometry,
    linearise,
    pictures,
    planning,
    saliency,
    selectivity,
    threads,
    timescales,
    tuning,
)
from mjxhand.analyse.gather import PROFILE, Gathering, senses_of
from mjxhand.analyse.recording import AREA, CONTROL, Recording
from mjxhand.config import ConfigError
from mjxhand.evaluate import Policy

Tables = dict[str, pd.DataFrame]
Show = Callable[[float], None]
POLICY = {AREA: "trained", CONTROL: "untrained"}


def depths(recording: Recording, policy: Policy) -> dict[str, int]:
    """`anatomy.depths` of every area that was recorded."""
    return anatomy.depths(policy.agent, tuple(recording.of_kind(AREA)))


def labelled(table: pd.DataFrame, prefix: str, depth: dict[str, int]) -> pd.DataFrame:
    """A table with `area` (the source, without prefix), `policy` and `depth`, sorted by it."""
    kind, _, name = zip(*(s.rpartition("/") for s in table["source"]), strict=True)
    own = prefix.rstrip("/")
    area = [n if k else f"present {n}" for k, n in zip(kind, name, strict=True)]
    return table.assign(
        area=area,
        policy=[POLICY[prefix] if k == own else "both" for k in kind],
        depth=[
            depth.get(n, 0) if k == own else 0 for k, n in zip(kind, name, strict=True)
        ],
    ).sort_values("depth", kind="stable", ignore_index=True)


def of_sums(
    gathered: Gathering,
    prefix: str,
    depth: dict[str, int],
    permutations: int,
    show: Show,
    goals: tuning.Goals | None = None,
) -> Tables:
    """What follows from one pass over a recording: decoding, planning, geometry, tuning."""
    own = tuple(sorted(gathered.areas, key=lambda a: depth[a.rpartition("/")[2]]))
    both = (*own, *gathered.senses)
    decoded, parts, blocks = decoding.table(
        gathered, permutations=permutations, show=lambda d: show(0.8 * d)
    )
    tables = {
        "decoding": labelled(decoded, prefix, depth),
        "decoding_components": labelled(parts, prefix, depth),
        "dimensions": labelled(
            geometry.dimensions(gathered.joint, both), prefix, depth
        ),
        "cka": _named(geometry.cka_table(gathered.joint, both), prefix),
        "rsa": _named(
            geometry.rsa(
                {n: gathered.kept.sources[n] for n in both},
                gathered.kept.start,
                groups=gathered.groups,
            ),
            prefix,
        ),
    }
    show(0.85)
    summary, units = selectivity.summary(
        gathered.joint, gathered.kept, own, gathered.senses, gathered.groups
    )
    tables["selectivity"] = labelled(summary, prefix, depth)
    tables["selectivity_units"] = labelled(units, prefix, depth)
    show(0.95)
    profile, more = _planning(gathered, prefix, depth)
    every = pd.concat([blocks, *more], ignore_index=True)
    tables |= profile | {"jackknife": labelled(every, prefix, depth)}
    tables |= _tuning(gathered, own, goals, prefix, depth)
    show(1.0)
    return tables


def _named(pairs: pd.DataFrame, prefix: str) -> pd.DataFrame:
    short = {c: pairs[c].str.rpartition("/")[2] for c in ("a", "b")}
    return pairs.assign(**short, policy=POLICY[prefix])


def _planning(
    gathered: Gathering, prefix: str, depth: dict[str, int]
) -> tuple[Tables, list[pd.DataFrame]]:
    """Lead-time profiles; rows of `evidence`, also of PMC cut to the size of M1."""
    try:
        profile, blocks = planning.profile(gathered)
    except ConfigError:  # too few long goals: the report says that the test is missing
        return {}, []
    parts = [blocks]
    a, b = prefix + claims.PLANNER, prefix + claims.EXECUTOR
    if {a, b} <= set(gathered.areas):
        found = planning.reduced(gathered, a, b)
        target = planning.target("command", planning.AHEAD)
        row = evidence.row(prefix + claims.REDUCED, PROFILE, target, found)
        parts.append(pd.DataFrame([row]))
    return {"planning_profile": labelled(profile, prefix, depth)}, parts


def _tuning(
    gathered: Gathering,
    areas: tuple[str, ...],
    goals: tuning.Goals | None,
    prefix: str,
    depth: dict[str, int],
) -> Tables:
    """Tuning to what a goal asks for (`wanted`), and to the turn that is made (`made`)."""
    labels: dict[str, tuple[np.ndarray, tuple[str, ...]]] = {}
    kept = gathered.kept
    if goals is not None:
        labels["wanted"] = goals.label(kept.extra), goals.names
    if (lead := tuning.MADE) in gathered.windows:
        at = gathered.windows[lead].slices["future rotation"]
        label = tuning.turn_class(kept.y[lead][:, at])
        labels["made"] = np.where(kept.valid[lead], label, -1), tuning.TURNS
    labels = {k: v for k, v in labels.items() if len(np.unique(v[0][v[0] >= 0])) > 1}
    every = [(which, area) for which in labels for area in areas]

    def one(what: tuple[str, str]) -> pd.DataFrame:
        label, names = labels[what[0]]
        x = kept.sources[what[1]]
        return tuning.tuning(x, label, kept.start, classes=names)

    found = [
        table.assign(source=area, turn=which)
        for (which, area), table in threads.each(one, every)
    ]
    if not found:
        return {}
    units = pd.concat(found, ignore_index=True)
    return {"tuning_units": labelled(units, prefix, depth)}


def of_sequences(
    recording: Recording, prefix: str, depth: dict[str, int], show: Show
) -> Tables:
    """Time scales of areas and senses."""
    areas = tuple(prefix + n for n in recording.of_kind(prefix))
    names = (*areas, *senses_of(recording))
    table, curves = timescales.of_recording(recording, names, show=show)
    return {
        "timescales": labelled(table, prefix, depth),
        "autocorrelation": labelled(curves, prefix, depth),
    }


def of_dynamics(
    recording: Recording, policy: Policy, prefix: str, show: Show
) -> Tables:
    """Fixed points, modes and mean paths by goal of every recurrent area."""
    areas = linearise.recurrent_areas(recording, policy, prefix)
    goals = tuning.goals_of(recording)
    parts = []
    for number, area in enumerate(areas):
        tables = linearise.tables(recording, policy, prefix, area)
        if goals is not None:
            tables |= _paths(recording, prefix + area, goals)
        tag = {"policy": POLICY[prefix], "area": area}
        parts.append({name: table.assign(**tag) for name, table in tables.items()})
        show(number + 1)
    return joined(parts)


def _paths(recording: Recording, name: str, goals: tuning.Goals) -> Tables:
    try:
        path, share = tuning.paths(recording, name, goals)
    except (
        ConfigError
    ):  # too few goals of some kind: the report says that paths are missing
        return {}
    return {"paths": path.assign(share=share)}


def of_saliency(
    recording: Recording, policy: Policy, prefix: str, show: Show
) -> Tables:
    """Integrated gradients of each area and of the actions."""
    depth = depths(recording, policy)
    areas = sorted(recording.of_kind(prefix), key=lambda a: depth[a])
    try:
        table = saliency.table(policy, recording, tuple(areas), show=show)
    except ConfigError:  # no goal lasts a whole window: the report says so
        return {}
    return {"saliency": table.assign(policy=POLICY[prefix])}


def of_pictures(
    recording: Recording, policy: Policy, prefix: str, show: Show
) -> Tables:
    """Feature maps and maximising images of the visual areas."""
    table = pictures.table(policy, recording, show=show)
    return {"pictures": table.assign(policy=POLICY[prefix])}


def joined(parts: list[Tables]) -> Tables:
    """Tables of the same name one after the other; what is of both networks once."""
    whole: Tables = {}
    for part in parts:
        for name, table in part.items():
            if name in whole and "policy" in table:
                table = pd.DataFrame(table[table["policy"] != "both"])
            before = [whole[name]] if name in whole else []
            whole[name] = pd.concat([*before, table], ignore_index=True)
    return whole
