"""Brains by name: the published one, the one that the tables give, or your own."""

from pathlib import Path

from mjxhand.atlas import folder, network_table, tables
from mjxhand.atlas.model import Atlas
from mjxhand.config import ConfigError
from mjxhand.wiring import PRIVILEGED, Area, Pathway, Wiring

BUNDLED = Path(__file__).parent / "data"
PRESETS = ("angorapy_v2", "derived")


def derive(
    atlas: Atlas,
    *,
    budget: float | None = None,
    multiple: float | None = None,
    min_streamlines: float | None = None,
    kept: bool = True,
) -> Wiring:
    """The network of an atlas: sizes from cells, pathways from streamlines.

    Arguments as for `Atlas.unit_counts` and `Atlas.pathways`. An area's streams come
    first among its inputs, then areas in processing order.

    ConfigError if an area that stands for a stream has a pathway to none.
    """
    units = atlas.unit_counts(budget, multiple)
    stream = {area.name: area.streams[0] for area in atlas.areas if not area.layers}
    found = atlas.pathways(min_streamlines, kept=kept)
    ends = {(p.source, p.target) for p in found}
    modelled = [area for area in atlas.areas if area.layers]
    pathways = []
    for target in modelled:
        pathways += [Pathway(name, target.name) for name in target.streams]
        pathways += [
            Pathway(stream.get(source.name, source.name), target.name)
            for source in atlas.areas
            if (source.name, target.name) in ends
        ]
    received = {p.source for p in pathways}
    for name in stream:
        if stream[name] not in received:
            raise ConfigError(
                f"{atlas.folder}: {name} has no pathway to an area that follows it in "
                f"areas.tsv, so nothing would receive {stream[name]}"
            )
    layers, value_units = atlas.rules["value_layers"], atlas.rules["value_units"]
    return Wiring(
        areas=tuple(
            Area(
                name=a.name,
                units=units[a.name],
                layers=a.layers,
                recurrent=bool(a.cell),
                cell=None if a.cell in ("", "*") else a.cell,
                label=a.label,
            )
            for a in modelled
        ),
        pathways=tuple(pathways),
        policy=tuple(a.name for a in modelled if "policy" in a.heads),
        value=(*(a.name for a in modelled if "value" in a.heads), PRIVILEGED),
        value_units=(int(value_units),) * int(layers),
    )


def find(name: str | Path) -> Wiring:
    """The wiring called `name`.

    Args:
      name: `angorapy_v2`, `derived`, a folder of atlas tables (as `refresh` writes it),
        or a file with a table of areas (`network_table`).

    Raises:
      ConfigError: there is no such thing, or its tables are wrong; one line.
    """
    path = Path(name)
    if name == "angorapy_v2":
        return network_table.read(BUNDLED / "angorapy_v2.tsv")
    if name == "derived":
        return derive(folder.load(BUNDLED))
    if path.is_dir():
        return derive(folder.load(path))
    if path.is_file():
        return network_table.read(path)
    raise ConfigError(
        f"network.atlas is {str(name)!r}: give {', '.join(PRESETS)}, a folder of tables "
        "or a table's file"
    )


def notes(name: str | Path) -> tuple[str, ...]:
    """Where the wiring called `name` comes from, for the head of a copy of its table."""
    if not Path(name).is_dir() or str(name) in PRESETS:
        return (f"from {name}",)
    atlas = folder.load(Path(name))
    lines = [f"from {name}"]
    for table in (*folder.MEASUREMENTS, *folder.CHOICES):
        about = atlas.provenance["tables"][table]
        facts = [f"{key} {about[key]}" for key in ("version", "cohort") if key in about]
        if table in atlas.changed():
            facts.append("CHANGED since its provenance was written")
        facts.append(f"sha256 {tables.sha256(atlas.folder / table)}")
        lines.append(f"{table}: {', '.join(facts)}")
    return tuple(lines)
