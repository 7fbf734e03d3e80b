"""Figures of activity over time and by goal: time scales, dynamics, tuning. From tables alone."""

from pathlib import Path

import numpy as np
import pandas as pd

from mjxhand.analyse import style
from mjxhand.analyse.figures import Tables, beside, order, recorded
from mjxhand.analyse.tuning import MADE


def time_scales(tables: Tables, folder: Path) -> None:
    """Autocorrelation of areas and their time scales."""
    curves, table = tables["autocorrelation"], tables["timescales"]
    names = order(table)
    with style.figure(folder / "timescales", 1, 2, 2.8) as axes:
        axis = axes[0][0]
        for index, name in enumerate(names):
            one = curves[
                (curves["area"] == name) & curves["policy"].isin(("trained", "both"))
            ]
            dashed = "--" if name in style.SENSES else "-"
            axis.plot(
                one["seconds"], one["r"], dashed, lw=1.1,
                color=style.colour(name, index), label=name,
            )  # fmt: skip
        axis.set(title="trained", xlabel="lag (s)", ylabel="mean autocorrelation")
        axis.figure.legend(loc="outside lower center", ncol=7, fontsize=6.5)
        axis = axes[0][1]
        for shift, policy, hue in beside(table, 0.15):
            rows = table[table["policy"].isin((policy, "both"))]
            rows = rows.drop_duplicates("area").set_index("area").reindex(names)
            x = np.arange(len(names)) + shift
            error = [
                rows["tau_median"] - rows["tau_low"],
                rows["tau_high"] - rows["tau_median"],
            ]
            axis.errorbar(
                x, rows["tau_median"], error, fmt="o", color=hue, label=policy, lw=1.0
            )
        axis.set_xticks(range(len(names)), names, rotation=40, ha="right")
        axis.set(title="units: median, quartiles", ylabel="time scale τ (s)")
        # Areas set the scale: a sense's slowest quarter may leave it.
        top = table[table["depth"] > 0]["tau_high"].max()
        axis.set_ylim(0, 1.5 * max(top, table["tau_median"].max()))
        axis.legend(loc="upper left")


def dynamics(tables: Tables, folder: Path) -> None:
    """Linearised modes around fixed points, and mean paths by goal: a row per area."""
    spectrum, paths = tables["spectrum"], tables.get("paths")
    areas = list(dict.fromkeys(tables["fixed_points"]["area"]))
    who = recorded(tables["fixed_points"])
    size = len(areas), len(who) + 1, 2.6 * len(areas)
    with style.figure(folder / "dynamics", *size) as axes:
        for row, area in zip(axes, areas, strict=True):
            for axis, policy in zip(row, who, strict=False):
                here = (spectrum["policy"] == policy) & (spectrum["area"] == area)
                _modes(axis, pd.DataFrame(spectrum[here]))
                axis.set_title(f"{area}, {policy}")
            if paths is None or area not in set(paths["area"]):
                row[-1].axis("off")
                continue
            here = (paths["policy"] == "trained") & (paths["area"] == area)
            _paths(row[-1], pd.DataFrame(paths[here]))
            row[-1].set_title(f"{area}, mean paths")


def _modes(axis, rows: pd.DataFrame) -> None:
    circle = np.linspace(0, 2 * np.pi, 200)
    axis.plot(np.cos(circle), np.sin(circle), color=style.SOFT, lw=0.7)
    inputs = list(dict.fromkeys(rows["input"]))
    for name in inputs:
        one = rows[rows["input"] == name]
        first = name == "mean"
        axis.scatter(
            one["real"], one["imaginary"], s=5 if first else 3, lw=0,
            color=style.TRAINED if first else style.CONTROL, zorder=3 if first else 2,
        )  # fmt: skip
    # Analyses of earlier versions have fixed points alone, and none of some inputs.
    at = rows.get("at", pd.Series("fixed point", rows.index))
    slow = rows["input"][at != "fixed point"]
    if not len(rows):
        axis.text(0, 0, "no fixed point\nfound", ha="center", va="center")
    elif len(slow):
        number = f"{slow.nunique()} of {len(inputs)} inputs"
        text = f"no fixed point for {number}:\nthere at the slowest state"
        axis.text(
            0.03, 0.97, text, transform=axis.transAxes, va="top", fontsize=6.5,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )  # fmt: skip
    far = max(1.0, rows[["real", "imaginary"]].abs().to_numpy().max(initial=0.0))
    axis.set(
        xlabel="real part", ylabel="imaginary part", aspect="equal",
        xlim=(-1.1 * far, 1.1 * far), ylim=(-1.1 * far, 1.1 * far),
    )  # fmt: skip


def _paths(axis, rows: pd.DataFrame) -> None:
    for index, goal in enumerate(dict.fromkeys(rows["goal"])):
        hue = style.PALETTE[index % len(style.PALETTE)]
        one = rows[rows["goal"] == goal]
        axis.plot(one["pc1"], one["pc2"], color=hue, label=goal, lw=1.1)
        axis.plot(one["pc1"].iloc[:1], one["pc2"].iloc[:1], "o", color=hue)
    axis.set(xlabel="component 1", ylabel="component 2")
    axis.legend(
        fontsize=6.5, loc="center left", bbox_to_anchor=(1.0, 0.5), title="goal"
    )


def tuning(tables: Tables, folder: Path) -> None:
    """Units tuned to what a goal asks for, and to turns that are made."""
    if "tuning_units" not in tables:
        return
    units = tables["tuning_units"]
    names = [a for a in order(units) if a in set(units["area"])]
    kinds = [k for k in ("wanted", "made") if k in set(units["turn"])]
    titles = {
        "wanted": "by what the goal asks",
        "made": f"by the turn made in {MADE}",
    }
    with style.figure(folder / "tuning", 1, len(kinds) + 1, 2.7) as axes:
        for axis, kind in zip(axes[0], kinds, strict=False):
            for shift, policy, hue in beside(units, 0.2):
                rows = units[(units["policy"] == policy) & (units["turn"] == kind)]
                share = 100 * rows.groupby("area")["tuned"].mean().reindex(names)
                place = np.arange(len(names)) + shift
                axis.bar(place, share, 0.38, color=hue, label=policy)
            axis.set_xticks(range(len(names)), names, rotation=40, ha="right")
            axis.set(title=titles[kind], ylabel="tuned units (%)", ylim=(0, 100))
        handles, labels = axes[0][0].get_legend_handles_labels()
        axes[0][0].figure.legend(handles, labels, loc="outside lower left", ncol=2)
        last = "M1" if "M1" in names else names[-1]
        rows = units[
            (units["policy"] == "trained")
            & (units["turn"] == kinds[-1])
            & (units["area"] == last)
        ]
        _by_class(axes[0][-1], pd.DataFrame(rows))
        axes[0][-1].set_title(f"{last}, {titles[kinds[-1]]}")


def _by_class(axis, rows: pd.DataFrame) -> None:
    """Mean activity of each unit by class, units sorted by the class they prefer."""
    columns = [c for c in rows if c.startswith("mean ")]
    columns = [c for c in columns if np.isfinite(rows[c].to_numpy()).any()]
    names = [c.removeprefix("mean ") for c in columns]
    rank = [names.index(p) for p in rows["preferred"]]
    best = rows.assign(rank=rank).sort_values(["rank", "eta2"], ascending=[True, False])
    grid = best[columns].to_numpy()
    image = axis.imshow(grid, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    slanted = sum(map(len, names)) > 30
    axis.set_xticks(
        range(len(names)),
        names,
        rotation=40 * slanted,
        ha="right" if slanted else "center",
    )
    axis.set(ylabel="unit, by preference")
    axis.set_yticks([])
    axis.figure.colorbar(image, ax=axis, shrink=0.7, label="activity (deviations)")
