"""All analyses of a recording, as tables by name. Every function here is a list of others'."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from mjxhand.analyse import (
    decoding,
    dynamics,
    geometry,
    lesion,
    planning,
    saliency,
    selectivity,
    timescales,
    tuning,
)
from mjxhand.analyse.gather import Gathering
from mjxhand.analyse.recording import AREA, CONTROL, SENSE, Recording
from mjxhand.config import ConfigError
from mjxhand.evaluate import Policy
from mjxhand.networks.fpn import FPN

Tables = dict[str, pd.DataFrame]
Show = Callable[[float], None]
POLICY = {AREA: "trained", CONTROL: "untrained"}
STARTS = 64
"""States from which fixed points are looked for, per input."""
INPUTS = 4
"""Typical inputs: the mean one and that of steps drawn at random."""


def depths(policy: Policy) -> dict[str, int]:
    """Layers between the senses (0) and each area, by the longest way."""
    sizes = policy.agent.observation_sizes
    depth = dict.fromkeys(sizes, 0)
    edges = lesion.edges(policy.agent)
    layers: dict[str, int] = {}
    if isinstance(policy.agent.network, FPN):
        layers = {a.name: a.layers for a in policy.agent.network.wiring.areas}
    for _ in edges:  # as often as there are edges: enough for any order of them
        for edge in edges:
            reached = depth.get(edge.source, 0) + layers.get(edge.target, 1)
            depth[edge.target] = max(depth.get(edge.target, 0), reached)
    for area, count in layers.items():
        for layer in range(1, count):
            depth[f"{area}{layer}"] = depth[area] - count + layer
    return depth


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
) -> Tables:
    """What follows from one pass over a recording: decoding, planning, geometry, tuning."""
    own = tuple(sorted(gathered.areas, key=lambda a: depth[a.rpartition("/")[2]]))
    both = (*own, *gathered.senses)
    decoded, parts = decoding.table(
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
                gathered.kept.episode,
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
    tables |= _planning(gathered, prefix, depth)
    tables |= _tuning(gathered, own, prefix, depth)
    show(1.0)
    return tables


def _named(pairs: pd.DataFrame, prefix: str) -> pd.DataFrame:
    short = {c: pairs[c].str.rpartition("/")[2] for c in ("a", "b")}
    return pairs.assign(**short, policy=POLICY[prefix])


def _planning(gathered: Gathering, prefix: str, depth: dict[str, int]) -> Tables:
    try:
        profile = planning.profile(gathered)
    except ConfigError:  # too few long goals: the report says that the test is missing
        return {}
    tables = {"planning_profile": labelled(profile, prefix, depth)}
    a, b = prefix + "PMC", prefix + "M1"
    if not {a, b} <= set(gathered.areas):
        return tables
    rows = []
    for what in ("command", "action"):
        found = planning.compare(gathered, a, b, what=what)
        row: dict[str, Any] = {
            "policy": POLICY[prefix],
            "what": what,
            "a": "PMC",
            "b": "M1",
        }
        for name in ("now", "ahead", "change", "matched"):
            estimate = getattr(found, name)
            row |= {
                name: estimate.value,
                f"{name}_low": estimate.low,
                f"{name}_high": estimate.high,
            }
        rows.append(row | {"a_leads": found.a_leads})
    return tables | {"planning_test": pd.DataFrame(rows)}


def _tuning(gathered: Gathering, areas: tuple[str, ...], prefix: str, depth) -> Tables:
    kept = gathered.kept
    found = []
    window = gathered.windows.get("0.8 s")
    for area in areas:
        if "remaining" in kept.extra:
            label = tuning.turn_class(kept.extra["remaining"])
            table = tuning.tuning(kept.sources[area], label, kept.episode)
            found.append(table.assign(source=area, turn="wanted"))
        if window is not None:
            at = window.slices["future rotation"]
            label = tuning.turn_class(kept.y["0.8 s"][:, at])
            label = np.where(kept.valid["0.8 s"], label, -1)
            if len(np.unique(label[label >= 0])) > 1:
                table = tuning.tuning(kept.sources[area], label, kept.episode)
                found.append(table.assign(source=area, turn="made"))
    if not found:
        return {}
    return {
        "tuning_units": labelled(pd.concat(found, ignore_index=True), prefix, depth)
    }


def of_sequences(
    recording: Recording, prefix: str, depth: dict[str, int], show: Show
) -> Tables:
    """Time scales of areas and senses; mean paths of the recurrent area by goal."""
    areas = tuple(prefix + n for n in recording.of_kind(prefix))
    senses = tuple(
        "sense/" + n for n in recording.of_kind("sense/") if n != "privileged"
    )
    table, curves = timescales.of_recording(recording, (*areas, *senses), show=show)
    return {
        "timescales": labelled(table, prefix, depth),
        "autocorrelation": labelled(curves, prefix, depth),
    }


def of_dynamics(
    recording: Recording, policy: Policy, prefix: str, seed: int = 0
) -> Tables:
    """Fixed points and modes of the recurrent area under typical inputs; its paths by turn."""
    core = dynamics.core(policy)
    arrays = _inputs(recording, policy, prefix, core.sources)
    own = core.sources
    rng = np.random.default_rng(seed)
    n, t = arrays[own[0]].shape[:2]
    window = min(32, t)
    env, start = rng.integers(n, size=STARTS), rng.integers(t - window + 1, size=STARTS)
    drives = np.stack(
        [core.drive([arrays[a][env, start + w] for a in own]) for w in range(window)]
    )
    starts = dynamics.visited(core, drives)
    typical = [drives.mean((0, 1)), *drives[-1, : INPUTS - 1]]
    rows, spectrum, summary = [], [], []
    for number, drive in enumerate(typical):
        found = dynamics.fixed_points(core.step, starts, drive)
        name = "mean" if number == 0 else f"step {number}"
        rows.append(dynamics.modes(found, recording.step_seconds).assign(input=name))
        summary.append(
            {
                "input": name,
                "points": len(found.points),
                "stable": int((np.abs(found.eigenvalues[:, 0]) < 1).sum())
                if len(found.points)
                else 0,
                "found": found.found,
                "speed": float(np.median(found.speed)),
                "slowest": float(rows[-1]["tau"].max()) if len(rows[-1]) else np.nan,
            }
        )
        for index, values in enumerate(found.eigenvalues):
            spectrum += [
                {"input": name, "point": index, "real": v.real, "imaginary": v.imag}
                for v in values
            ]
    tag = {"policy": POLICY[prefix], "area": core.area}
    columns = ["input", "point", "real", "imaginary"]
    tables = {
        "modes": pd.concat(rows, ignore_index=True).assign(**tag),
        "fixed_points": pd.DataFrame(summary).assign(**tag),
        "spectrum": pd.DataFrame(spectrum, columns=columns).assign(**tag),
    }
    try:
        path, share = tuning.paths(recording, prefix + core.area)
    except ConfigError:  # goals are no orientations, or too few: no paths
        return tables
    return tables | {"paths": path.assign(**tag, share=share)}


def _inputs(
    recording: Recording, policy: Policy, prefix: str, names: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """What areas sent and senses, as the network sees them, in the first shard, by name."""
    senses = policy.agent.observation_sizes
    areas = [n for n in names if n not in senses]
    found = recording.read(0, [prefix + n for n in areas])
    arrays = {n: found[prefix + n] for n in areas}
    if len(areas) < len(names):
        obs = recording.read(0, [SENSE + n for n in senses])
        normal = policy.agent.normalize(
            {n: obs[SENSE + n] for n in senses}, policy.stats
        )
        arrays |= {n: np.asarray(normal[n]) for n in names if n in senses}
    return arrays


def of_saliency(
    recording: Recording, policy: Policy, prefix: str, show: Show
) -> Tables:
    """Integrated gradients of each area and of the actions."""
    depth = depths(policy)
    areas = sorted(recording.of_kind(prefix), key=lambda a: depth[a])
    table = saliency.table(policy, recording, tuple(areas), show=show)
    return {"saliency": table.assign(policy=POLICY[prefix])}


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
