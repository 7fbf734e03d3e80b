"""One look for all figures: sizes, colours, labels. Importing it chooses no display."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from mjxhand.video import save_whole

# Okabe & Ito's palette, told apart by colour-blind readers.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#222222")
TRAINED, CONTROL, INK, SOFT = "#0072b2", "#b4b8bf", "#222222", "#8a8f98"
SENSES = {
    "vision": "#0072b2",
    "proprioception": "#009e73",
    "touch": "#e69f00",
    "goal": "#cc79a7",
}
AREAS = {
    "PMC": "#d55e00",
    "M1": "#0072b2",
    "LPFC": "#cc79a7",
    "MCC": "#e69f00",
    "SSC": "#009e73",
    "SSC1": "#8fd3bd",
    "SPL": "#56b4e9",
    "IPL": "#7f3c8d",
    "IPS": "#80ba5a",
}
OTHER = ("#d55e00", "#56b4e9", "#222222", "#7f3c8d", "#80ba5a", "#0072b2")
"""Of areas without a colour of their own: no sense's, as far as they last."""
WIDTH = 7.0
"""Width of a figure over two columns of a page, inches."""

_STYLE = {
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 3.5,
    "svg.fonttype": "none",  # text stays text
    "savefig.dpi": 200,
}


def colour(name: str, index: int = 0) -> str:
    """Colour of an area or sense; by position where it has none of its own."""
    return AREAS.get(name) or SENSES.get(name) or OTHER[index % len(OTHER)]


def colours(names: Sequence[str]) -> dict[str, str]:
    """Colour of each area or sense, all different as far as `OTHER` lasts."""
    own = {name: (AREAS | SENSES).get(name) for name in names}
    free = [hue for hue in OTHER if hue not in own.values()] or OTHER
    turn = itertools.cycle(free)
    return {name: hue or next(turn) for name, hue in own.items()}


@contextmanager
def figure(
    path: Path, rows: int = 1, columns: int = 1, height: float = 2.6, **more
) -> Iterator:
    """Axes `[rows][columns]` of a figure that is saved as `path`.png and .svg."""
    with plt.rc_context(cast(Any, _STYLE)):
        made, axes = plt.subplots(
            rows,
            columns,
            figsize=(WIDTH, height),
            squeeze=False,
            layout="constrained",
            **more,
        )
        yield axes
        save(made, path)
        plt.close(made)


def save(made: Figure, path: Path) -> None:
    """Write a figure as PNG and SVG."""
    save_whole(path.with_suffix(".png"), made.savefig)
    save_whole(path.with_suffix(".svg"), partial(made.savefig, metadata={"Date": None}))


def heatmap(
    axis, values, rows, columns, *, low=0.0, high=1.0, cmap="viridis", digits=2
):
    """A matrix as colours with its numbers in it; NaN is left white."""
    image = axis.imshow(values, vmin=low, vmax=high, cmap=cmap, aspect="auto")
    axis.set_xticks(range(len(columns)), columns, rotation=40, ha="right")
    axis.set_yticks(range(len(rows)), rows)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    small = 6.5 if len(columns) <= 12 else 5.0 if len(rows) > 12 else 6.0
    for i in range(len(rows)):
        for j in range(len(columns)):
            value = values[i][j]
            if value == value:
                r, g, b, _ = image.cmap(image.norm(value))
                dark = 0.3 * r + 0.59 * g + 0.11 * b < 0.55
                # Adding 0 after rounding turns −0.00 into 0.00.
                text = f"{round(float(value), digits) + 0.0:.{digits}f}".replace(
                    "-", "−"
                )
                if digits:
                    text = text.replace("0.", ".", 1) if abs(value) < 0.995 else text
                axis.text(
                    j, i, text, ha="center", va="center", fontsize=small,
                    color="white" if dark else INK,
                )  # fmt: skip
    return image
