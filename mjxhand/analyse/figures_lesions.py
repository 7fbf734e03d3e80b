"""The figure of lesions. From its table alone."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd

from mjxhand.analyse import style
from mjxhand.analyse.figures import Tables

KINDS = {
    "area": ("area silent", style.PALETTE[1]),
    "sense": ("sense silent", style.PALETTE[2]),
    "recurrence": ("memory cut", style.PALETTE[3]),
    "pathway": ("pathway cut", style.PALETTE[0]),
    "untrained": ("untrained network", style.SOFT),
}
"""Kinds of lesion in the order of the figure: what they are called, their colour."""
GAP = 0.7
"""Space between kinds, rows."""


def lesions(tables: Tables, folder: Path) -> None:
    """Goals, drops and time per goal without each part."""
    table = tables["lesions"]
    whole = table.iloc[0]
    parts = [table[table["kind"] == kind] for kind in KINDS]
    shown = pd.concat(parts, ignore_index=True)
    kinds = shown["kind"].tolist()
    changes = np.cumsum([0, *(a != b for a, b in itertools.pairwise(kinds))])
    place = np.arange(len(shown)) + GAP * changes
    hues = [KINDS[k][1] for k in kinds]
    drops = ("drop_rate", "drop_ci95", 100.0, "episodes with a drop (%)")
    if not table["drop_rate"].to_numpy().any():  # an empty hand, or one that holds on
        drops = ("time_out_rate", "time_out_ci95", 100.0, "episodes out of time (%)")
    columns = (
        ("goals", "ci95", 1.0, "goals per episode"),
        drops,
        ("seconds_per_goal", None, 1.0, "seconds per goal reached"),
    )
    height = 0.16 * place[-1] + 1.3
    with style.figure(folder / "lesions", 1, 3, height, sharey=True) as axes:
        for axis, (value, ci, scale, label) in zip(axes[0], columns, strict=True):
            axis.barh(place, scale * shown[value], 0.7, color=hues)
            if ci:
                # No episode has fewer than none.
                low = np.minimum(shown[value], shown[ci])
                axis.errorbar(
                    scale * shown[value], place, xerr=scale * np.stack([low, shown[ci]]),
                    fmt="none", ecolor=style.INK, lw=0.8,
                )  # fmt: skip
                axis.axvspan(
                    scale * max(whole[value] - whole[ci], 0),
                    scale * (whole[value] + whole[ci]),
                    color=style.INK, alpha=0.1, lw=0, zorder=0,
                )  # fmt: skip
            axis.axvline(scale * whole[value], color=style.INK, lw=0.9, ls="--")
            axis.set_xlabel(label)
            known = np.isfinite(table[value].to_numpy()).any()
            if not known:
                axis.text(
                    0.5, 0.5, "no goal reached", transform=axis.transAxes, ha="center"
                )
            top = axis.get_xlim()[1] if known and table[value].to_numpy().any() else 1.0
            axis.set_xlim(0, min(top, 100.0) if scale == 100.0 else top)
        axes[0][0].set_yticks(place, shown["lesion"])
        axes[0][0].set_ylim(place[-1] + 0.6, -0.6)
        bars = [
            axes[0][0].barh(place[:1], [0], color=KINDS[k][1], label=KINDS[k][0])
            for k in dict.fromkeys(kinds)
        ]
        line = axes[0][0].axvline(
            whole["goals"], lw=0.9, ls="--", color=style.INK, label="intact"
        )
        axes[0][0].figure.legend(
            handles=[*bars, line], loc="outside lower center", ncol=6
        )
