"""The figure of lesions. From its table alone."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd

from mjxhand.analyse import style
from mjxhand.analyse.figures import Tables

KINDS = {
    "area": ("area silent", style.PALETTE[1]),
    "held": ("area held at its mean", style.PALETTE[4]),
    "random": ("as many random units silent", style.PALETTE[5]),
    "sense": ("sense silent", style.PALETTE[2]),
    "recurrence": ("memory cut", style.PALETTE[3]),
    "pathway": ("pathway cut", style.PALETTE[0]),
    "untrained": ("untrained network", style.SOFT),
}
"""Kinds of lesion in the order of the figure: what they are called, their colour."""
GAP = 0.7
"""Space between kinds, rows."""


def lesions(tables: Tables, folder: Path) -> None:
    """Change of goals and of drops without each part, paired; time per goal."""
    table = tables["lesions"]
    whole = table.iloc[0]
    parts = [table[table["kind"] == kind] for kind in KINDS]
    shown = pd.concat(parts, ignore_index=True)
    kinds = shown["kind"].tolist()
    changes = np.cumsum([0, *(a != b for a, b in itertools.pairwise(kinds))])
    place = np.arange(len(shown)) + GAP * changes
    drops = ("drop", "episodes with a drop")
    if not table["drop_rate"].to_numpy().any():  # an empty hand, or one that holds on
        drops = ("time_out", "episodes out of time")
    columns = (
        ("change", 1.0, f"change of goals per episode\n(intact: {whole['goals']:.2f})"),
        (
            f"{drops[0]}_change",
            100.0,
            f"change of {drops[1]},\npercentage points "
            f"(intact: {100 * whole[drops[0] + '_rate']:.0f} %)",
        ),
        ("seconds_per_goal", 1.0, "seconds per goal reached"),
    )
    height = 0.16 * place[-1] + 1.3
    with style.figure(folder / "lesions", 1, 3, height, sharey=True) as axes:
        for axis, (value, scale, label) in zip(axes[0], columns, strict=True):
            hues = [KINDS[k][1] for k in kinds]
            axis.barh(place, scale * shown[value], 0.7, color=hues)
            if f"{value}_ci95" in shown:
                axis.errorbar(
                    scale * shown[value], place, xerr=scale * shown[f"{value}_ci95"],
                    fmt="none", ecolor=style.INK, lw=0.8,
                )  # fmt: skip
                axis.axvline(0, color=style.INK, lw=0.9)
                both = shown[[value, f"{value}_ci95"]].to_numpy()
                if not both.any():
                    axis.set_xlim(-1, 1)
            elif np.isfinite(table[value].to_numpy()).any():
                axis.axvline(whole[value], color=style.INK, lw=0.9, ls="--")
                label += "\n(dashed: intact)"
                axis.set_xlim(left=0)
            else:
                axis.text(
                    0.5, 0.5, "no goal reached", transform=axis.transAxes, ha="center"
                )
            axis.set_xlabel(label)
        axes[0][0].set_yticks(place, shown["lesion"])
        axes[0][0].set_ylim(place[-1] + 0.6, -0.6)
        bars = [
            axes[0][0].barh(place[:1], [0], color=KINDS[k][1], label=KINDS[k][0])
            for k in dict.fromkeys(kinds)
        ]
        axes[0][0].figure.legend(handles=bars, loc="outside lower center", ncol=4)
