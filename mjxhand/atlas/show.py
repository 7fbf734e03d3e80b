"""What `python -m mjxhand.atlas show` prints: areas, pathways, parameters, sources."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax

from mjxhand import agent, networks
from mjxhand.atlas import brains, folder
from mjxhand.atlas.model import Atlas
from mjxhand.config import CurriculumConfig, NetworkConfig
from mjxhand.env import Env
from mjxhand.presets import PRESETS, check, fitted
from mjxhand.wiring import HEADS, Pathway, Wiring, unheard


@dataclass(frozen=True)
class Shown:
    """A brain and the figures about it."""

    name: str
    wiring: Wiring
    sizes: dict[str, int]
    """Width of each observation stream."""
    areas: dict[str, int]
    """Parameters of each area and head."""
    pathways: list[tuple[Pathway, int]]
    """Weights of each pathway."""
    atlas: Atlas = field(repr=False)
    """Tables behind it; the bundled ones for a brain that has no own."""


def build(name: str, cfg: NetworkConfig, task: str) -> Shown:
    """The brain called `name`, with the senses and outputs of `task`.

    Raises:
      ConfigError: it cannot become a network.
    """
    base = fitted(PRESETS["fpn"], {"env.task": task})
    config = replace(
        base,
        network=cfg,
        env=replace(base.env, task=task),
        # Nothing is trained, and of somebody's own task it is not known whether one fits.
        curriculum=CurriculumConfig(),
        physics=replace(base.physics, impl="native"),
    )
    check(config, num_devices=1)
    env = Env(config)
    made = agent.build(config, env.observation_sizes, env.num_actuators)
    params = jax.eval_shape(made.init, jax.random.PRNGKey(0))
    wiring = made.network.wiring
    return Shown(
        name=name,
        wiring=wiring,
        sizes=env.observation_sizes,
        areas=networks.parameter_counts(params),
        pathways=networks.pathway_counts(
            wiring, env.observation_sizes, made.distribution.num_outputs, cfg.cell
        ),
        atlas=folder.load(Path(name) if Path(name).is_dir() else brains.BUNDLED),
    )


def text(shown: Shown) -> str:
    """The whole report."""
    parts = [
        f"{shown.name}: {len(shown.wiring.areas)} areas, "
        f"{sum(a.units * a.layers for a in shown.wiring.areas):,} units",
        _areas(shown),
        _pathways(shown),
        _totals(shown),
        _sources(shown),
    ]
    return "\n\n".join(parts)


def _areas(shown: Shown) -> str:
    cells = shown.atlas.cells()
    total = sum(cells.values())
    rows: list[Sequence[Any]] = [
        ("area", "units", "Mcells", "share", "cell", "parameters", "", "")
    ]
    for area in shown.wiring.areas:
        count = cells.get(area.name)
        rows.append(
            (
                area.name,
                f"{area.units}" + f" x {area.layers}" * (area.layers > 1),
                "" if count is None else f"{count / 1e6:,.0f}",
                "" if count is None else f"{count / total:.1%}",
                (area.cell or "network's") if area.recurrent else "",
                f"{shown.areas[area.name]:,}",
                area.label,
            )
        )
    for head in HEADS:
        units = ", ".join(map(str, shown.wiring.value_units)) * (head == "value")
        rows.append(
            (head, units, "", "", "", f"{shown.areas[f'{head}_head']:,}", "head")
        )
    return _table(rows, right=(1, 2, 3, 5))


def _pathways(shown: Shown) -> str:
    atlas = shown.atlas
    rows: list[Sequence[Any]] = [
        ("pathway", "weights", "streamlines", "length", "distance", "basis")
    ]
    measured = {
        frozenset((p.source, p.target)): p for p in atlas.pathways(0, kept=False)
    }
    kept = {frozenset(ends): reason for ends, reason in atlas.kept.items()}
    least = atlas.rules["min_streamlines"]
    stands_for = {a.streams[0]: a.name for a in atlas.areas if not a.layers}
    for pathway, weights in shown.pathways:
        ends = frozenset(
            (stands_for.get(pathway.source, pathway.source), pathway.target)
        )
        found, figures, basis = measured.get(ends), ("", "", ""), ""
        if found and len(ends) == 2:
            figures = (
                f"{found.streamlines:,.0f}",
                f"{found.length:.0f} mm",
                f"{atlas.distance(found.source, found.target):.0f} mm",
            )
            basis = f"at least {least:,.0f}" if found.streamlines >= least else "below"
            if basis == "below" and ends in kept:
                basis = f"below, kept: {kept[ends]}"
        elif pathway.target in HEADS:
            basis = "head"
        elif pathway.source in shown.sizes:
            basis = f"sense, {shown.sizes[pathway.source]} numbers"
        if pathway.delayed:
            basis = f"{basis}; one step late".lstrip("; ")
        rows.append((str(pathway), f"{weights:,}", *figures, basis))
    return _table(rows, right=(1, 2, 3, 4))


def _totals(shown: Shown) -> str:
    joint = sum(shown.areas.values())
    policy = joint - shown.areas["value_head"]
    said = f"parameters: policy {policy:,}, with the value head {joint:,}"
    return "\n".join([said, *unheard(shown.wiring, shown.sizes)])


def _sources(shown: Shown) -> str:
    tables, changed = shown.atlas.provenance["tables"], shown.atlas.changed()
    lines = [f"tables of {shown.atlas.folder}"]
    if shown.name != "derived" and not Path(shown.name).is_dir():
        lines[0] += (
            ": cells and streamlines above are theirs, units and pathways the network's own"
        )
    for name, about in tables.items():
        facts = [str(about[k]) for k in ("what", "source") if about.get(k)]
        facts += [f"{k} {about[k]}" for k in ("version", "cohort") if about.get(k)]
        if about.get("subjects"):
            facts.append(f"{about['subjects']} subjects")
        facts += [f"licence: {about.get('licence', 'not told')}"]
        facts += [f"sha256 {about['sha256'][:12]}"]
        mark = " (CHANGED since its provenance was written)" if name in changed else ""
        if not (shown.atlas.folder / name).is_file():
            mark = " (not in the folder)"
        lines.append(f"  {name}{mark}: {'; '.join(facts)}")
    if "groups.tsv" in changed and "pairs.tsv" not in changed:
        lines.append(
            "note: pathways are still those of the groups before the change: pairs.tsv holds "
            "streamlines between areas, not regions; python -m mjxhand.atlas refresh --groups "
            "FILE sums them anew"
        )
    return "\n".join(lines)


def _table(rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Columns padded to their widest entry; those in `right` end flush."""
    rows = [list(row) for row in rows]
    columns = max(map(len, rows))
    rows = [row + [""] * (columns - len(row)) for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(columns)]
    lines = []
    for row in rows:
        cells = (
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
