"""The network as a picture: areas by depth, pathways by streamlines; and where they lie."""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mjxhand.atlas.show import Shown
from mjxhand.config import ConfigError
from mjxhand.wiring import HEADS, Wiring, order

INK, SOFT, SENSE = "#222222", "#8a8f98", "#e9ebee"
COLOURS = ("#56b4e9", "#0072b2", "#009e73", "#8bc34a", "#cc79a7", "#e69f00", "#d55e00",
           "#7b4fa3", "#999999")  # fmt: skip
FORMATS = (".png", ".svg", ".pdf")

BENDS = np.arange(-16, 17) / 20
"""How an arrow may bend: the height of its arc is half of this times its length."""
GAP = 0.04
"""Between an arrow and a node that it passes, at least; areas stand 1.5 apart."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Shape:
    """What a node covers: a circle, or a box."""

    centre: Point
    radius: float = 0.0
    half: Point = (0.0, 0.0)  # width and height of a box

    def gap(self, points: np.ndarray) -> float:
        """Distance of the nearest of points `[N, 2]`, 0 if one lies within."""
        beyond = np.maximum(np.abs(points - self.centre) - self.half, 0.0)
        return max(np.linalg.norm(beyond, axis=-1).min() - self.radius, 0.0)


def draw(shown: Shown, path: Path) -> None:
    """Write the figure; its format is the file's ending.

    Raises:
      ConfigError: another ending, no matplotlib, or the file cannot be written.
    """
    if path.suffix not in FORMATS:
        raise ConfigError(f"--figure {path}: the file must end in {', '.join(FORMATS)}")
    try:
        import matplotlib
    except ImportError:
        raise ConfigError(
            "--figure needs matplotlib: pip install 'mjxhand[notebooks]'"
        ) from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    colours = {
        area.name: COLOURS[i % len(COLOURS)]
        for i, area in enumerate(shown.wiring.areas)
    }
    figure, axes = pyplot.subplot_mosaic(
        [["network", "network"], ["cortex", "bars"]],
        figsize=(11.5, 8.6),
        width_ratios=(1.7, 1),
        height_ratios=(1.25, 1),
        layout="constrained",
    )
    _cortex(axes["cortex"], shown, colours)
    _bars(axes["bars"], shown, colours)
    _network(axes["network"], shown, colours)
    try:
        figure.savefig(path, dpi=130, metadata={})
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        pyplot.close(figure)


def positions(wiring: Wiring) -> dict[str, Point]:
    """Place of every stream, area and head: x is its depth, y spreads a column.

    Depth: one more than the deepest source within a control step.
    """
    depth: dict[str, int] = {}
    for area in order(wiring):
        sources = wiring.sources(area.name)
        depth[area.name] = 1 + max((depth.get(s, 0) for s in sources), default=0)
    last = max(depth.values()) + 1
    streams = dict.fromkeys(
        p.source for p in wiring.all_pathways if p.source not in depth
    )
    readers: dict[str, list[str]] = defaultdict(list)
    for p in wiring.pathways:
        readers[p.source] += [] if p.delayed else [p.target]
    # An area that need not be early stands next to the first that reads it.
    for area in reversed(order(wiring)):
        found = [depth[name] for name in readers[area.name]]
        depth[area.name] = max(depth[area.name], min(found, default=last) - 1)
    columns: dict[int, list[str]] = defaultdict(list)
    for name, d in depth.items():
        columns[d].append(name)
    columns[last] = list(HEADS)
    placed: dict[str, Point] = {}
    for x in sorted(columns):
        names = columns[x]
        for i, name in enumerate(names):
            # Columns of one alternate, so that long pathways pass beside the areas.
            single = 0.7 * (1 if x % 2 else -1) if x < last else 0.0
            y = single if len(names) == 1 else 2.4 * (0.5 - i / (len(names) - 1))
            placed[name] = (1.5 * x, y)
    outside: dict[tuple[float, int], int] = defaultdict(int)
    for stream in streams:
        found = [placed[name] for name in readers[stream]]
        x, y = min(found, default=(1.5 * last, -1.0))
        side = 1 if y > 0 else -1
        # Senses stand above or below, to the left of the first area that they reach.
        x -= 0.9 + 0.95 * outside[x, side]
        outside[min(found, default=(1.5 * last, -1.0))[0], side] += 1
        placed[stream] = (x, 2.0 * side)
    return placed


def arc(start: Point, end: Point, bend: float) -> np.ndarray:
    """Points `[101, 2]` along an arrow: matplotlib's arc3, `bend` being its rad."""
    (x0, y0), (x1, y1) = start, end
    middle = ((x0 + x1) / 2 + bend * (y1 - y0), (y0 + y1) / 2 - bend * (x1 - x0))
    t = np.linspace(0.0, 1.0, 101)[:, None]
    return (
        (1 - t) ** 2 * np.array(start)
        + 2 * t * (1 - t) * np.array(middle)
        + t**2 * np.array(end)
    )


def around(start: Point, end: Point, bend: float, others: Iterable[Shape]) -> float:
    """The bend nearest to `bend` by which an arrow passes no other node; `bend` if none does.

    An arrow that passes behind a node reads as two others.
    """
    others = list(others)
    for other in (bend, *sorted(BENDS, key=lambda b: abs(b - bend))):
        path = arc(start, end, other)
        if all(shape.gap(path) > GAP for shape in others):
            return float(other)
    return bend


def _radius(units: int) -> float:
    return 0.10 + 0.014 * math.sqrt(units)


def _network(axes, shown: Shown, colours: dict[str, str]) -> None:
    from matplotlib.patches import Circle, FancyArrowPatch

    wiring, places = shown.wiring, positions(shown.wiring)
    streamlines = _streamlines(shown)
    kept = {frozenset(ends) for ends in shown.atlas.kept}
    nodes = {}
    small = {"ha": "center", "fontsize": 8, "color": INK}
    for name, (x, y) in places.items():
        if name not in colours:
            text = name if name not in HEADS else f"{name} head"
            box = {"boxstyle": "round", "fc": SENSE, "ec": SOFT}
            nodes[name] = axes.text(
                x, y, text, va="center", zorder=4, bbox=box, **small
            )
            continue
        area = wiring.area(name)
        radius = _radius(area.units)
        node = Circle((x, y), radius, color=colours[name], zorder=3)
        nodes[name] = axes.add_patch(node)
        label = f"{name}\n{area.units}" + f" x {area.layers}" * (area.layers > 1)
        label += "\nrecurrent" * area.recurrent
        box = {"fc": "white", "ec": "none", "alpha": 0.75, "pad": 0.5}
        axes.text(x, y - radius - 0.05, label, va="top", zorder=5, bbox=box, **small)
    wide = [x for x, _ in places.values()]
    axes.set_xlim(min(wide) - 0.6, max(wide) + 0.7)
    axes.set_ylim(-2.7, 2.4)
    axes.set_aspect("equal")
    axes.axis("off")
    axes.figure.canvas.draw()  # text boxes get their places
    shapes = {name: _covered(node) for name, node in nodes.items()}
    for pathway in dict.fromkeys(wiring.all_pathways):
        ends = frozenset((pathway.source, pathway.target))
        count = streamlines.get(ends)
        width = 0.8 if count is None else 0.6 + 1.1 * math.log10(1 + count / 500)
        start, end = places[pathway.source], places[pathway.target]
        bend = 0.2 if start[1] + end[1] < 0 else -0.2
        bend = 0.3 if pathway.delayed else bend * (abs(end[0] - start[0]) >= 2)
        others = [shape for name, shape in shapes.items() if name not in ends]
        arrow = FancyArrowPatch(
            start, end,
            patchA=_shape(nodes[pathway.source]), patchB=_shape(nodes[pathway.target]),
            connectionstyle=f"arc3,rad={around(start, end, bend, others)}",
            arrowstyle="-|>", mutation_scale=9, lw=width, zorder=2,
            color=colours.get(pathway.source, SOFT),
            linestyle=":" if pathway.delayed else "--" if ends in kept else "-",
            alpha=0.4 if pathway.target in HEADS else 0.55 if pathway.delayed else 0.85,
        )  # fmt: skip
        axes.add_patch(arrow)
    lines = ["width: streamlines", "dashed: kept below the threshold"]
    lines += ["dotted: one step late"] * any(p.delayed for p in wiring.pathways)
    axes.text(0, 0, " · ".join(lines), transform=axes.transAxes, fontsize=8, color=SOFT)
    axes.set_title(
        f"{Path(shown.name).name}: units per layer, pathways", fontsize=10, loc="left"
    )


def _covered(node) -> Shape:
    """What a node of the network covers, in the axes' own units."""
    shape = _shape(node)
    if shape is node:
        return Shape(node.center, radius=node.radius)
    box = shape.get_window_extent().transformed(node.axes.transData.inverted())
    return Shape(
        ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2),
        half=(box.width / 2, box.height / 2),
    )


def _shape(node):
    """What an arrow is clipped to: a circle itself, or a text's box."""
    box = getattr(node, "get_bbox_patch", None)
    return box() if box else node


def _streamlines(shown: Shown) -> dict[frozenset[str], float]:
    """Streamlines between two names of the network; streams in the place of areas."""
    stream = {a.name: a.streams[0] for a in shown.atlas.areas if not a.layers}
    return {
        frozenset((stream.get(p.a, p.a), stream.get(p.b, p.b))): p.streamlines
        for p in shown.atlas.pairs
    }


def _cortex(axes, shown: Shown, colours: dict[str, str]) -> None:
    """Centres of the left hemisphere's regions from the side; size: volume."""
    seen = set()
    for region in shown.atlas.regions:
        y, z = region.centroid[0][1:]
        colour = colours.get(region.area, SOFT)
        axes.scatter(y, z, s=region.volume[0] / 22, color=colour, alpha=0.45, lw=0)
        seen.add(region.area)
    for name, (left, _) in shown.atlas.centroids().items():
        axes.text(left[1], left[2], name, ha="center", va="center", fontsize=8,
                  color=INK, weight="bold")  # fmt: skip
    axes.set_aspect("equal")
    axes.set_xlabel("posterior - anterior, mm (MNI152)", fontsize=8, color=SOFT)
    axes.set_ylabel("inferior - superior, mm", fontsize=8, color=SOFT)
    axes.tick_params(labelsize=8, colors=SOFT)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.set_title(
        "regions of the areas, left hemisphere from the side", fontsize=10, loc="left"
    )


def _bars(axes, shown: Shown, colours: dict[str, str]) -> None:
    """Parameters of each area and head."""
    areas = [area.name for area in shown.wiring.areas]
    names = list(reversed([*areas, *(f"{head}_head" for head in HEADS)]))
    counts = [shown.areas[name] / 1e3 for name in names]
    labels = [name.replace("_", " ") for name in names]
    axes.barh(labels, counts, color=[colours.get(name, SOFT) for name in names])
    for label, count in zip(labels, counts, strict=True):
        axes.text(count, label, f" {count:,.0f}", va="center", fontsize=8, color=INK)
    axes.margins(x=0.18)
    axes.tick_params(labelsize=8, colors=SOFT)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.set_title("parameters, thousands", fontsize=10, loc="left")
