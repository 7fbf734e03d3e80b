"""The figure of lesions. From its table alone."""

from pathlib import Path

import numpy as np

from mjxhand.analyse import style
from mjxhand.analyse.figures import Tables


def lesions(tables: Tables, folder: Path) -> None:
    """Goals, drops and time per goal without each part."""
    if "lesions" not in tables:
        return
    table = tables["lesions"]
    intact = table.iloc[0]
    shown = table[table["kind"] != "intact"]
    with style.figure(
        folder / "lesions", 1, 3, 0.17 * len(shown) + 0.9, sharey=True
    ) as axes:
        kinds = {
            "area": style.PALETTE[1], "sense": style.PALETTE[2], "pathway": style.PALETTE[0],
            "recurrence": style.PALETTE[3], "untrained": style.SOFT,
        }  # fmt: skip
        place = np.arange(len(shown))
        hues = [kinds[k] for k in shown["kind"]]
        values = (
            ("goals", 1.0, "goals per episode"),
            ("drop_rate", 100.0, "episodes with a drop (%)"),
            ("seconds_per_goal", 1.0, "seconds per goal reached"),
        )
        for axis, (value, scale, label) in zip(axes[0], values, strict=True):
            axis.barh(place, scale * shown[value], 0.7, color=hues)
            axis.axvline(scale * intact[value], color=style.INK, lw=0.9, ls="--")
            axis.set_xlabel(label)
        axes[0][0].errorbar(
            shown["goals"],
            place,
            xerr=shown["ci95"],
            fmt="none",
            ecolor=style.INK,
            lw=0.8,
        )
        axes[0][0].axvspan(
            intact["goals"] - intact["ci95"], intact["goals"] + intact["ci95"],
            color=style.INK, alpha=0.1, lw=0,
        )  # fmt: skip
        axes[0][0].set_yticks(place, shown["lesion"])
        axes[0][0].set_ylim(len(shown) - 0.4, -0.6)
        axes[0][0].set_title("dashed: intact")
