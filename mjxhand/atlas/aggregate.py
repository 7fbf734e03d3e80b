"""From measurements per region to the atlas's tables: volumes, and streamlines per pair of areas.

Used by `docs/atlas_tables.py` (the bundled tables) and by `refresh` (live ones).
"""

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence

from mjxhand.atlas import tables
from mjxhand.config import ConfigError

HEMISPHERES = ("left", "right")
VOLUME_COLUMNS = ("region", "left_mm3", "right_mm3", "left_xyz_mm", "right_xyz_mm")
PAIR_COLUMNS = ("a", "b", "left", "right", "left_length_mm", "right_length_mm")

Volumes = Mapping[tuple[str, str], tuple[float, Sequence[float]]]
"""(normalised region, hemisphere): volume mm³, centroid mm in MNI152."""
Matrix = Mapping[tuple[str, str], float]
"""(normalised name with hemisphere, the same): streamlines or their length, mm."""


def normalise(name: str) -> str:
    """A region's name without what differs between releases: case and spaces.

    "Area IFJ1 (IFS,PreCS)" in 2.9 is "Area IFJ1 (IFS, PreCS)" in 3.1.
    """
    return re.sub(r"\s+", "", name).lower()


def volume_rows(regions: Iterable[str], volumes: Volumes) -> list[tuple]:
    """Rows of volumes.tsv. ConfigError lists the regions that are missing."""
    regions = list(regions)
    keys = [(region, side) for region in regions for side in HEMISPHERES]
    require(
        "volumes",
        [f"{r} {s}" for r, s in keys if (normalise(r), s) not in volumes],
    )
    rows = []
    for region in regions:
        sides = [volumes[normalise(region), side] for side in HEMISPHERES]
        centroids = [",".join(f"{x:.1f}" for x in xyz) for _, xyz in sides]
        rows.append((region, *(float(v) for v, _ in sides), *centroids))
    return rows


def pair_rows(
    members: Mapping[str, Sequence[str]], counts: Matrix, lengths: Matrix
) -> list[tuple]:
    """Rows of pairs.tsv: for each pair of areas and hemisphere the sum of streamlines
    over pairs of regions, and their mean length weighted by their number.

    Args:
      members: area: the regions that count for its pathways.

    Raises:
      ConfigError: a region is missing; a count is negative or not finite.
    """
    rows = []
    for a, b in itertools.combinations(members, 2):
        sums, means = [], []
        for side in HEMISPHERES:
            total, weighted = 0.0, 0.0
            for pair in itertools.product(members[a], members[b]):
                key = tuple(normalise(f"{region} {side}") for region in pair)
                count, length = _entry(counts, key), _entry(lengths, key)
                total += count
                weighted += count * length
            sums.append(round(total, 1))
            means.append(round(weighted / total, 1) if total else 0.0)
        rows.append((a, b, *sums, *means))
    return rows


def _entry(matrix: Matrix, key: tuple[str, ...]) -> float:
    value = matrix.get(key)  # type: ignore[arg-type]
    if value is None:
        raise ConfigError(f"the matrix lacks {' or '.join(key)}")
    if not (math.isfinite(value) and value >= 0):
        raise ConfigError(f"the matrix holds {value} for {' and '.join(key)}")
    return value


def require(what: str, missing: Sequence[str]) -> None:
    """Refuse if anything is missing, naming up to five."""
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise ConfigError(f"the {what} lack {', '.join(missing[:5])}{more}")


def volumes_text(rows: Iterable[tuple], *notes: str) -> str:
    """The text of volumes.tsv."""
    return tables.render(VOLUME_COLUMNS, rows, *notes)


def pairs_text(rows: Iterable[tuple], *notes: str) -> str:
    """The text of pairs.tsv."""
    return tables.render(PAIR_COLUMNS, rows, *notes)
