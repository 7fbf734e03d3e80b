"""The atlas: tables of areas, regions and streamlines, and what is derived from them.

cells(area) = Σ over its regions of (volume left + right) · density
units(area) = budget · cells / Σ cells, shared by its layers, to a multiple of 8
pathway a → b where a precedes b and the mean count of both hemispheres ≥ threshold
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mjxhand.atlas import tables
from mjxhand.config import ConfigError

Point = tuple[float, float, float]


@dataclass(frozen=True)
class AreaPlan:
    """An area of the model, before it has a size."""

    name: str
    label: str
    """Its anatomical name."""
    layers: int
    """Layers in sequence; 0: the area stands for a stream and has no units."""
    cell: str
    """Recurrent cell: `*` the network's, a name, or empty for none."""
    streams: tuple[str, ...]
    """Observation streams that it receives, or the one that it stands for."""
    heads: tuple[str, ...]
    """Output heads that read it."""


@dataclass(frozen=True)
class Region:
    """A region of the parcellation, both hemispheres."""

    area: str
    name: str
    economo: str
    """Area of von Economo and Koskinas; empty: no size is derived from the region."""
    density: float
    """Cells/mm³, 0 without `economo`."""
    volume: tuple[float, float]
    """mm³, left and right."""
    centroid: tuple[Point, Point]
    """mm in MNI152, left and right."""
    use: str
    """`units`, `pathways` or `both`."""

    @property
    def cells(self) -> float:
        """Cells of both hemispheres, if the region counts for the area's size."""
        return 0.0 if self.use == "pathways" else self.density * sum(self.volume)


@dataclass(frozen=True)
class Pair:
    """Streamlines between two areas; they have no direction."""

    a: str
    b: str
    counts: tuple[float, float]
    """Mean over subjects, summed over pairs of regions, left and right."""
    lengths: tuple[float, float]
    """Mean length, mm, left and right."""

    @property
    def streamlines(self) -> float:
        """Mean of the two hemispheres."""
        return sum(self.counts) / 2

    @property
    def length(self) -> float:
        """Mean length, mm, weighted by count."""
        total = sum(self.counts)
        both = zip(self.counts, self.lengths, strict=True)
        return sum(n * mm for n, mm in both) / total if total else 0.0


@dataclass(frozen=True)
class AtlasPathway:
    """A pathway that the atlas gives, from the earlier to the later area."""

    source: str
    target: str
    streamlines: float
    length: float
    """mm."""
    reason: str
    """`count`, or why it is kept below the threshold."""


@dataclass(frozen=True)
class Atlas:
    """Tables of one folder."""

    folder: Path
    areas: tuple[AreaPlan, ...]
    """In processing order."""
    regions: tuple[Region, ...]
    pairs: tuple[Pair, ...]
    kept: dict[tuple[str, str], str]
    """(source, target): why the pathway is there whatever its count."""
    rules: dict[str, float]
    """`budget`, `multiple`, `min_streamlines`, `value_layers`, `value_units`."""
    provenance: dict[str, Any]

    def cells(self) -> dict[str, float]:
        """Cortical cells of each area that has units, both hemispheres."""
        cells = {area.name: 0.0 for area in self.areas if area.layers}
        for region in self.regions:
            if region.area in cells:
                cells[region.area] += region.cells
        return cells

    def unit_counts(
        self, budget: float | None = None, multiple: float | None = None
    ) -> dict[str, int]:
        """Units of each layer of each area, in proportion to its cortical cells.

        Args:
          budget: units of all layers together, before rounding; rules.tsv's by default.
          multiple: units of a layer are the nearest multiple of this, at least one.

        Raises:
          ConfigError: a number is not positive; an area has no cells.
        """
        budget = self.rules["budget"] if budget is None else budget
        multiple = self.rules["multiple"] if multiple is None else multiple
        if not (0 < budget < math.inf and 1 <= multiple == int(multiple)):
            raise ConfigError(
                f"budget {budget:g} and multiple {multiple:g}: give a positive number "
                "and a whole number of at least 1"
            )
        cells = self.cells()
        empty = [name for name, n in cells.items() if not n > 0]
        if empty:
            raise ConfigError(f"area {empty[0]} has no cells: no region of it has both")
        layers = {area.name: area.layers for area in self.areas}
        total = sum(cells.values())
        exact = {k: budget * n / total / layers[k] for k, n in cells.items()}
        step = int(multiple)
        # Halves upward, as people round; Python would go to the even one.
        return {k: step * max(1, math.floor(n / step + 0.5)) for k, n in exact.items()}

    def pathways(
        self, min_streamlines: float | None = None, *, kept: bool = False
    ) -> tuple[AtlasPathway, ...]:
        """Pathways of at least `min_streamlines`, the strongest first.

        Args:
          min_streamlines: threshold on the mean count; rules.tsv's by default.
          kept: whether those of kept.tsv are added, whatever their count.
        """
        least = self.rules["min_streamlines"] if min_streamlines is None else None
        least = min_streamlines if least is None else least
        if least is None or not least >= 0:
            raise ConfigError(f"min_streamlines is {least}: give at least 0")
        rank = {area.name: i for i, area in enumerate(self.areas)}
        units = {area.name for area in self.areas if area.layers}
        found = []
        for pair in sorted(self.pairs, key=lambda p: -p.streamlines):
            source, target = sorted((pair.a, pair.b), key=lambda name: rank[name])
            reason = "count" if pair.streamlines >= least else ""
            if not reason and kept:
                reason = self.kept.get((source, target), "")
            if reason and target in units:
                found.append(
                    AtlasPathway(source, target, pair.streamlines, pair.length, reason)
                )
        return tuple(found)

    def centroids(self) -> dict[str, tuple[Point, Point]]:
        """Centre of each area in each hemisphere, mm in MNI152, weighted by volume.

        Of the regions that count for its pathways.
        """
        return {area.name: self._centroid(area.name) for area in self.areas}

    def _centroid(self, area: str) -> tuple[Point, Point]:
        regions = [r for r in self.regions if r.area == area and r.use != "units"]
        sides = []
        for side in range(2):
            total = sum(r.volume[side] for r in regions)
            sides.append(
                tuple(
                    sum(r.volume[side] * r.centroid[side][axis] for r in regions)
                    / total
                    for axis in range(3)
                )
            )
        return tuple(sides)

    def distance(self, a: str, b: str) -> float:
        """Distance of two areas' centres, mm, mean of the hemispheres."""
        centroids = self.centroids()
        ends = zip(centroids[a], centroids[b], strict=True)
        return sum(math.dist(p, q) for p, q in ends) / 2

    def changed(self) -> tuple[str, ...]:
        """Tables whose content is not what the provenance was written for.

        One that is not there, such as a network's table that was not copied, is none.
        """
        return tuple(
            name
            for name, about in self.provenance["tables"].items()
            if (self.folder / name).is_file()
            and tables.sha256(self.folder / name) != about["sha256"]
        )
