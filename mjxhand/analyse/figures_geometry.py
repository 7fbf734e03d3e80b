"""Figures of geometry: dimensions, likeness, selectivity. From tables alone."""

from pathlib import Path

import numpy as np
import pandas as pd

from mjxhand.analyse import geometry, style
from mjxhand.analyse.figures import Tables, beside, order, recorded


def dimensions(tables: Tables, folder: Path) -> None:
    """Participation ratio along the hierarchy."""
    table = tables["dimensions"]
    names = [a for a in order(table) if a in set(table[table["depth"] > 0]["area"])]
    with style.figure(folder / "dimensions", 1, 2, 2.5) as axes:
        for axis, value in zip(axes[0], ("ratio", "ratio_standardised"), strict=True):
            for shift, policy, hue in beside(table, 0.2):
                rows = table[table["policy"] == policy].set_index("area").reindex(names)
                x = np.arange(len(names)) + shift
                axis.bar(x, rows[value], 0.38, color=hue, label=policy)
                if value == "ratio":
                    error = [rows["ratio"] - rows["low"], rows["high"] - rows["ratio"]]
                    axis.errorbar(
                        x, rows[value], error, fmt="none", ecolor=style.INK, lw=0.8
                    )
            axis.set_xticks(range(len(names)), names, rotation=40, ha="right")
        axes[0][0].set(title="activity as it is", ylabel="participation ratio")
        axes[0][1].set(title="every unit standardised")
        axes[0][0].legend()


def similarity(tables: Tables, folder: Path) -> None:
    """CKA and RSA between areas and with the senses."""
    for name, value, label in (
        ("cka", "cka", "linear CKA"),
        ("rsa", "rho", "Spearman ρ"),
    ):
        table = tables[name]
        who = recorded(table)
        with style.figure(folder / name, 1, len(who), 3.7) as axes:
            for axis, policy in zip(axes[0], who, strict=True):
                square = geometry.matrix(
                    pd.DataFrame(table[table["policy"] == policy]), value
                )
                grid = square.to_numpy()
                image = style.heatmap(axis, grid, square.index, square.columns)
                axis.set_title(policy)
            bar = axes[0][0].figure.colorbar(image, ax=axes[0], shrink=0.6, pad=0.01)
            bar.set_label(label)


def selectivity(tables: Tables, folder: Path) -> None:
    """Which senses drive the units of each area; mixed units."""
    table = tables["selectivity"]
    senses = [c.removeprefix("own ") for c in table if c.startswith("own ")]
    names = order(table)
    with style.figure(folder / "selectivity", 1, 4, 2.7) as axes:
        for axis, kind, title in zip(
            axes[0],
            ("alone", "own"),
            ("one sense alone", "added to the others"),
            strict=False,
        ):
            rows = table[table["policy"] == "trained"].set_index("area").reindex(names)
            for sense in senses:
                axis.plot(
                    rows[f"{kind} {sense}"], names, "o-",
                    color=style.colour(sense), label=sense,
                )  # fmt: skip
            axis.set(title=title, xlabel="R² of the units")
            axis.invert_yaxis()
        for axis, value, title in (
            (axes[0][2], "index", "senses per unit"),
            (axes[0][3], "nonlinear", "nonlinear mixing"),
        ):
            for policy, hue in zip(
                recorded(table), (style.INK, style.CONTROL), strict=False
            ):
                rows = table[table["policy"] == policy].set_index("area").reindex(names)
                axis.plot(rows[value], names, "o-", color=hue, label=policy)
            axis.set_title(title)
            axis.invert_yaxis()
        axes[0][2].set_xlabel("(Σ own)² / Σ own²")
        axes[0][3].set_xlabel("R² that products add")
        for axis in axes[0][1:]:
            axis.tick_params(labelleft=False)
        # Left two panels: senses; right two: networks.
        lines = [*axes[0][0].get_lines(), *axes[0][2].get_lines()]
        axes[0][0].figure.legend(handles=lines, loc="outside lower center", ncol=7)
