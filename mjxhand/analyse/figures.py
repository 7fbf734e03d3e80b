"""Figures of what was read: decoding, planning, saliency, claims' numbers. From tables alone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mjxhand.analyse import claims, style
from mjxhand.analyse.gather import ALL_SENSES
from mjxhand.analyse.recording import SENSE
from mjxhand.analyse.rivals import AHEAD_ONLY

Tables = dict[str, pd.DataFrame]
PRESENT = (
    "reward", "reward to come", "value", "goal", "goal as shown", "remaining rotation",
    "distance to goal", "cube position", "cube orientation", "pose as seen", "cube velocity",
    "fingertips", "touch", "proprioception", "action", "command",
)  # fmt: skip
POLICIES = ("trained", "untrained")
AHEAD = ("PMC", "M1", "LPFC", "IPL", "SSC")
"""Areas whose future is drawn; as many, where a brain lacks some of them."""
RIVAL_LINES = {
    name.removeprefix(SENSE): line
    for name, line in zip(
        (ALL_SENSES, *AHEAD_ONLY),
        (":", "-.", "--", (0, (5, 1, 1, 1, 1, 1))),
        strict=True,
    )
}
"""What no area is needed for, beside the planning profile of the areas."""


def recorded(table: pd.DataFrame) -> list[str]:
    """The networks that a table tells of: the trained one, and the untrained if it was recorded."""
    return [policy for policy in POLICIES if policy in set(table["policy"])]


def beside(table: pd.DataFrame, shift: float) -> list[tuple[float, str, str]]:
    """`recorded` networks with what tells them apart side by side: place and colour."""
    looks = {"trained": (-shift, style.TRAINED), "untrained": (shift, style.CONTROL)}
    return [(looks[who][0], who, looks[who][1]) for who in recorded(table)]


def order(table: pd.DataFrame) -> list[str]:
    """Areas of a table by depth, then senses."""
    first = table.drop_duplicates("area").sort_values("depth", kind="stable")
    areas = first[first["depth"] > 0]["area"]
    return [*areas, *first[first["depth"] == 0]["area"]]


def told_ahead(table: pd.DataFrame) -> list[str]:
    """Those of `AHEAD` that a table has, then its deepest areas, then senses; by depth."""
    deepest = table.sort_values("depth", ascending=False, kind="stable")["area"]
    there = [a for a in dict.fromkeys(deepest) if a != "present action"]
    first = sorted(there, key=lambda area: area not in AHEAD)[: len(AHEAD)]
    return [area for area in order(table) if area in first]


def compared(table: pd.DataFrame) -> list[str]:
    """The two areas that `planning` compares: PMC and M1, or the deepest; fewer if there are."""
    areas = order(pd.DataFrame(table[table["depth"] > 0]))
    pair = [claims.PLANNER, claims.EXECUTOR]
    return pair if set(pair) <= set(areas) else areas[-2:]


def decoding(tables: Tables, folder: Path) -> None:
    """What every area tells of the present, trained and untrained."""
    table = tables["decoding"]
    now = pd.DataFrame(
        table[table["window"].isin(("present", "past", "success 0.8 s"))]
    )
    columns = [c for c in (*PRESENT, "success soon") if c in set(now["target"])]
    rows = order(table)
    who = recorded(table)
    height = 0.4 + 2.9 * len(who)
    with style.figure(folder / "decoding", len(who), 1, height, sharex=True) as axes:
        for (axis,), policy in zip(axes, who, strict=True):
            grid = _grid(now, policy, rows, columns)
            image = style.heatmap(axis, grid, rows, columns)
            axis.set_title(policy)
        bar = axes[0][0].figure.colorbar(image, ax=axes[:, 0], shrink=0.4, pad=0.01)
        bar.set_label("cross-validated R²")


def _grid(
    table: pd.DataFrame, policy: str, rows: Sequence[str], columns: Sequence[str]
):
    # Senses and actions are the same for both networks: they have no policy of their own.
    own = table[table["policy"].isin((policy, "both"))]
    grid = own.pivot_table(index="area", columns="target", values="r2")
    return grid.reindex(index=rows, columns=columns).to_numpy()


def nonlinear(tables: Tables, folder: Path) -> None:
    """What a nonlinear decoder finds beyond a linear one."""
    table = tables["decoding"]
    now = table[(table["window"] == "present") & (table["policy"] == "trained")]
    with style.figure(folder / "nonlinear", 1, 1, 3.0) as axes:
        axis = axes[0][0]
        areas = [a for a in order(table) if a in set(now["area"])]
        targets = [t for t in PRESENT if t in set(now["target"])]
        for index, area in enumerate(areas):
            rows = now[now["area"] == area].set_index("target").reindex(targets)
            gain = rows["nonlinear"] - rows["linear_same"]
            shift = 0.7 * (index - (len(areas) - 1) / 2) / len(areas)
            axis.scatter(
                np.arange(len(targets)) + shift, gain, s=14,
                color=style.colour(area, index), label=area,
            )  # fmt: skip
        axis.axhline(0, color=style.SOFT, lw=0.7)
        axis.set_xticks(range(len(targets)), targets, rotation=30, ha="right")
        axis.set_ylabel("nonlinear minus linear R²\n(same samples)")
        axis.legend(ncol=5, loc="lower left", bbox_to_anchor=(0, 1.0))


def future(tables: Tables, folder: Path) -> None:
    """Decoding of what comes, over the lead time."""
    table = tables["decoding"]
    targets = ("future turn", "future rotation", "future command", "success soon")
    targets = [t for t in targets if t in set(table["target"])]
    areas = told_ahead(table)
    hues = style.colours(areas) | {"present action": style.SOFT}
    with style.figure(folder / "future", 1, len(targets), 2.8) as axes:
        for axis, target in zip(axes[0], targets, strict=True):
            rows = table[table["target"] == target]
            for area, hue in hues.items():
                for policy, line in (
                    ("trained", "-"),
                    ("untrained", ":"),
                    ("both", "--"),
                ):
                    one = rows[(rows["area"] == area) & (rows["policy"] == policy)]
                    if not len(one):
                        continue
                    one = one.sort_values("seconds")
                    label = area if policy != "untrained" else None
                    axis.plot(
                        one["seconds"],
                        one["r2"],
                        line,
                        color=hue,
                        marker="o",
                        label=label,
                    )
                    if policy == "trained":
                        axis.fill_between(
                            one["seconds"], one["low"], one["high"],
                            color=hue, alpha=0.15, lw=0,
                        )  # fmt: skip
            chance = rows.groupby("seconds")["chance_high"].max()
            axis.plot(
                chance.index, chance, color=style.INK, lw=0.6, label="chance, 95 %"
            )
            axis.set(title=target, xscale="log", xlabel="lead (s)")
            # What is far worse than the mean would hide what is better.
            axis.set_ylim(bottom=max(axis.get_ylim()[0], -0.3))
            ticks = (0.8, 1.6) if target == "success soon" else (0.08, 0.4, 1.6, 4)
            axis.set_xticks(ticks, [f"{t:g}" for t in ticks])
            axis.minorticks_off()
        axes[0][0].set_ylabel("cross-validated R²")
        handles, labels = axes[0][0].get_legend_handles_labels()
        axes[0][0].figure.legend(
            handles, labels, loc="outside lower center", ncol=len(labels),
            title=", ".join(
                f"{line}: {policy}"
                for line, policy in zip(
                    ("solid", "dotted"), recorded(table), strict=False
                )
            ),
            title_fontsize=7.5,
        )  # fmt: skip


def planning(tables: Tables, folder: Path) -> None:
    """Lead-time profiles of the `compared` areas, and their difference."""
    if "planning_profile" not in tables:
        return
    profile = tables["planning_profile"]
    pair, who = compared(profile), recorded(profile)
    hues, panels = style.colours(pair), len(who) + (len(pair) == 2)
    with style.figure(folder / "planning", 1, panels, 3.2) as axes:
        for axis, policy in zip(axes[0], who, strict=False):
            for area in order(profile):
                one = profile[
                    (profile["area"] == area) & profile["policy"].isin((policy, "both"))
                ]
                if not len(one):
                    continue
                main, line = area in pair, RIVAL_LINES.get(area, "-")
                named = main or area in RIVAL_LINES
                hue = hues.get(area, "#d5d8dd")
                axis.plot(
                    one["seconds"], one["r2"], linestyle=line, lw=1.8 if main else 0.8,
                    color=style.INK if named and not main else hue,
                    zorder=3 if main else 1, label=area if named else None,
                )  # fmt: skip
                if main:
                    axis.fill_between(
                        one["seconds"],
                        one["low"],
                        one["high"],
                        color=hue,
                        alpha=0.2,
                        lw=0,
                    )
            axis.set(
                title=policy,
                xlabel="lead (s)",
                ylabel="R² of the mean command",
                ylim=(0, 1),
            )
        handles, labels = axes[0][0].get_legend_handles_labels()
        axes[0][0].figure.legend(
            handles, labels, loc="outside lower center", ncol=3,
            title="grey: other areas, single senses, the action", title_fontsize=7,
        )  # fmt: skip
        if len(pair) < 2:
            return
        axis = axes[0][-1]
        for policy, hue in zip(who, (style.INK, style.SOFT), strict=False):
            wide = profile[profile["policy"] == policy].pivot_table(
                index="seconds", columns="area", values="r2"
            )
            if set(pair) <= set(wide.columns):
                axis.plot(
                    wide.index, wide[pair[0]] - wide[pair[1]], color=hue, label=policy
                )
        axis.axhline(0, color=style.SOFT, lw=0.7)
        axis.set(
            title=f"{' − '.join(pair)}", xlabel="lead (s)", ylabel="difference of R²"
        )
        axis.legend()


def saliency(tables: Tables, folder: Path) -> None:
    """Shares of the senses in what drives each area and the actions."""
    if "saliency" not in tables:
        return
    table = tables["saliency"]
    shown = [("trained", "share"), ("trained", "per_input"), ("untrained", "share")]
    shown = shown[: len(recorded(table)) + 1]
    with style.figure(folder / "saliency", 1, len(shown), 2.6, sharey=True) as axes:
        for axis, (policy, value) in zip(axes[0], shown, strict=True):
            rows = table[table["policy"] == policy]
            wide = rows.pivot_table(index="source", columns="sense", values=value)
            wide = wide.reindex(list(dict.fromkeys(rows["source"])))
            left = np.zeros(len(wide))
            for index, sense in enumerate(wide.columns):
                axis.barh(
                    wide.index, wide[sense], left=left, height=0.75,
                    color=style.colour(sense, index), label=sense,
                )  # fmt: skip
                left += wide[sense].to_numpy()
            what = "per input" if value == "per_input" else "of the whole"
            axis.set(
                title=policy, xlabel=f"share of |attribution|,\n{what}", xlim=(0, 1)
            )
        axes[0][0].invert_yaxis()
        handles, labels = axes[0][0].get_legend_handles_labels()
        axes[0][0].figure.legend(handles, labels, loc="outside lower center", ncol=4)
