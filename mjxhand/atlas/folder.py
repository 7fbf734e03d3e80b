"""An atlas's folder: reading its tables, and refusing those that do not fit together."""

import itertools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mjxhand.atlas import tables
from mjxhand.atlas.aggregate import PAIR_COLUMNS, VOLUME_COLUMNS
from mjxhand.atlas.model import AreaPlan, Atlas, Pair, Point, Region
from mjxhand.config import ConfigError
from mjxhand.wiring import HEADS

SCHEMA = 1
CHOICES = ("areas.tsv", "groups.tsv", "kept.tsv", "rules.tsv")
"""Tables that say how this model reads the measurements."""
MEASUREMENTS = ("densities.tsv", "volumes.tsv", "pairs.tsv")
PROVENANCE = "provenance.json"
RULES = ("budget", "multiple", "min_streamlines", "value_layers", "value_units")


def load(folder: Path) -> Atlas:
    """Read the atlas of a folder.

    Raises:
      ConfigError: a table is missing or wrong, or the tables do not fit together.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder of an atlas")
    atlas = Atlas(
        folder=folder,
        areas=_areas(folder / "areas.tsv"),
        regions=_regions(folder),
        pairs=_pairs(folder / "pairs.tsv"),
        kept=_kept(folder / "kept.tsv"),
        rules=_rules(folder / "rules.tsv"),
        provenance=_provenance(folder),
    )
    _check(atlas)
    return atlas


def _areas(path: Path) -> tuple[AreaPlan, ...]:
    columns = {
        "area": tables.text,
        "label": tables.text,
        "layers": tables.count,
        "cell": tables.maybe,
        "streams": tables.names,
        "heads": _heads,
    }
    rows = tables.read(path, columns)
    return tuple(AreaPlan(row.pop("area"), **row) for row in rows)


def _heads(cell: str) -> tuple[str, ...]:
    return tuple(map(tables.one_of(*HEADS), tables.names(cell)))


def _regions(folder: Path) -> tuple[Region, ...]:
    cells = densities(folder)
    kinds = [tables.text, tables.amount, tables.amount, _point, _point]
    columns = {**dict(zip(VOLUME_COLUMNS, kinds, strict=True))}
    rows = tables.read(folder / "volumes.tsv", columns, key=("region",))
    measured = {row["region"]: row for row in rows}
    path = folder / "groups.tsv"
    regions = []
    for row in groups(path):
        name, classes = row["region"], [c for c in row["economo"].split("+") if c]
        missing = [c for c in classes if c not in cells]
        if missing or name not in measured:
            table = "densities.tsv" if missing else "volumes.tsv"
            raise ConfigError(f"{path}: {table} lacks {(*missing, name)[0]}")
        if not classes and row["use"] != "pathways":
            raise ConfigError(f"{path}: {name} counts for units but has no economo")
        found = measured[name]
        regions.append(
            Region(
                area=row["area"],
                name=name,
                economo=row["economo"],
                density=sum(cells[c] for c in classes) / max(1, len(classes)),
                volume=(found["left_mm3"], found["right_mm3"]),
                centroid=(found["left_xyz_mm"], found["right_xyz_mm"]),
                use=row["use"],
            )
        )
    return tuple(regions)


def densities(folder: Path) -> dict[str, float]:
    """Cells/mm³ of each area of von Economo and Koskinas."""
    columns = {"economo": tables.text, "cells_per_mm3": tables.amount}
    columns |= {"basis": tables.text}
    rows = tables.read(folder / "densities.tsv", columns, key=("economo",))
    return {row["economo"]: row["cells_per_mm3"] for row in rows}


def groups(path: Path) -> list[dict]:
    """Rows of groups.tsv: `area`, `region`, `economo`, `use`; each region once."""
    columns = {
        "area": tables.text,
        "region": tables.text,
        "economo": tables.maybe,
        "use": tables.one_of("units", "pathways", "both"),
    }
    return tables.read(path, columns, key=("region",))


def members(rows: Iterable[Mapping[str, str]]) -> dict[str, list[str]]:
    """Regions that count for the pathways of each area, from rows of groups.tsv."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row["use"] != "units":
            found.setdefault(row["area"], []).append(row["region"])
    return found


def _point(cell: str) -> Point:
    parts = [tables.number(part) for part in cell.split(",")]
    if len(parts) != 3:
        raise ValueError("give three numbers, x,y,z")
    return parts[0], parts[1], parts[2]


def _pairs(path: Path) -> tuple[Pair, ...]:
    kinds = [tables.text, tables.text, *[tables.amount] * 4]
    rows = tables.read(path, dict(zip(PAIR_COLUMNS, kinds, strict=True)))
    return tuple(
        Pair(
            row["a"],
            row["b"],
            (row["left"], row["right"]),
            (row["left_length_mm"], row["right_length_mm"]),
        )
        for row in rows
    )


def _kept(path: Path) -> dict[tuple[str, str], str]:
    columns = {"source": tables.text, "target": tables.text, "reason": tables.text}
    rows = tables.read(path, columns, key=("source", "target"))
    return {(row["source"], row["target"]): row["reason"] for row in rows}


def _rules(path: Path) -> dict[str, float]:
    columns = {"rule": tables.one_of(*RULES), "value": tables.amount}
    rows = tables.read(path, columns | {"meaning": tables.text}, key=("rule",))
    rules = {row["rule"]: row["value"] for row in rows}
    missing = [name for name in RULES if name not in rules]
    if missing:
        raise ConfigError(f"{path} lacks the rule {missing[0]}")
    for name in ("value_layers", "value_units"):
        if rules[name] < 1 or rules[name] != int(rules[name]):
            raise ConfigError(
                f"{path}: {name} is {rules[name]:g}: give a whole number of at least 1"
            )
    return rules


def _provenance(folder: Path) -> dict[str, Any]:
    path = folder / PROVENANCE
    try:
        provenance = json.loads(tables.read_text(path))
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON ({error})") from None
    if not isinstance(provenance, dict) or provenance.get("schema") != SCHEMA:
        raise ConfigError(f"{path} is not of schema {SCHEMA}, which this version reads")
    told = provenance.get("tables")
    if not isinstance(told, dict):
        raise ConfigError(f"{path}: tables is no object")
    for table in (*CHOICES, *MEASUREMENTS, *told):
        about = told.get(table)
        if not isinstance(about, dict) or not isinstance(about.get("sha256"), str):
            raise ConfigError(f"{path} gives no sha256 of {table}")
    return provenance


def _check(atlas: Atlas) -> None:
    """The tables speak of the same areas, each pair once."""
    names = [area.name for area in atlas.areas]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{atlas.folder}/areas.tsv names {twice[0]} twice")
    for area in atlas.areas:
        if area.layers == 0 and len(area.streams) != 1:
            raise ConfigError(
                f"{atlas.folder}/areas.tsv: {area.name} has no layers, so it must stand "
                "for one stream"
            )
        if area.layers == 0 and (area.cell or area.heads):
            raise ConfigError(
                f"{atlas.folder}/areas.tsv: {area.name} has no layers, so it can have "
                "neither cell nor heads"
            )
    for name in names:
        counted = [r for r in atlas.regions if r.area == name and r.use != "units"]
        if not all(sum(r.volume[side] for r in counted) > 0 for side in range(2)):
            raise ConfigError(
                f"{atlas.folder}/groups.tsv: {name} has no region that counts for its "
                "pathways (use: pathways or both)"
            )
    for table, used in (
        ("groups.tsv", [r.area for r in atlas.regions]),
        ("pairs.tsv", [name for p in atlas.pairs for name in (p.a, p.b)]),
        ("kept.tsv", [name for ends in atlas.kept for name in ends]),
    ):
        unknown = [name for name in used if name not in names]
        if unknown:
            raise ConfigError(
                f"{atlas.folder}/{table} speaks of {unknown[0]}, which is not in areas.tsv"
            )
    pairs = [frozenset((p.a, p.b)) for p in atlas.pairs]
    for a, b in itertools.combinations(names, 2):
        if pairs.count(frozenset((a, b))) != 1:
            raise ConfigError(
                f"{atlas.folder}/pairs.tsv must have {a} and {b} in exactly one line"
            )
    for source, target in atlas.kept:
        if names.index(source) >= names.index(target):
            raise ConfigError(
                f"{atlas.folder}/kept.tsv: {source} does not precede {target} in areas.tsv"
            )
