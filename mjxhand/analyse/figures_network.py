"""Figures of the network itself: geometry, selectivity, dynamics, lesions, tuning. From tables."""

from pathlib import Path

import numpy as np
import pandas as pd

from mjxhand.analyse import geometry, style
from mjxhand.analyse.figures import POLICIES, Tables, order
from mjxhand.analyse.tuning import TURNS


def dimensions(tables: Tables, folder: Path) -> None:
    """Participation ratio along the hierarchy."""
    table = tables["dimensions"]
    names = [a for a in order(table) if a in set(table[table["depth"] > 0]["area"])]
    with style.figure(folder / "dimensions", 1, 2, 2.5) as axes:
        for axis, value in zip(axes[0], ("ratio", "ratio_standardised"), strict=True):
            for shift, policy, hue in (
                (-0.2, "trained", style.TRAINED),
                (0.2, "untrained", style.CONTROL),
            ):
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
        with style.figure(folder / name, 1, 2, 3.7) as axes:
            for axis, policy in zip(axes[0], POLICIES, strict=True):
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
                POLICIES, (style.TRAINED, style.CONTROL), strict=True
            ):
                rows = table[table["policy"] == policy].set_index("area").reindex(names)
                axis.plot(rows[value], names, "o-", color=hue, label=policy)
            axis.set_title(title)
            axis.invert_yaxis()
        axes[0][2].set_xlabel("(Σ own)² / Σ own²")
        axes[0][3].set_xlabel("R² that products add")
        for axis in axes[0][1:]:
            axis.tick_params(labelleft=False)
        axes[0][2].legend(loc="upper right")
        handles, labels = axes[0][0].get_legend_handles_labels()
        axes[0][0].figure.legend(handles, labels, loc="outside lower center", ncol=4)


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
        for shift, policy, hue in (
            (-0.15, "trained", style.TRAINED),
            (0.15, "untrained", style.CONTROL),
        ):
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
        axis.set(title="units: median, quartiles", ylabel="intrinsic time scale τ (s)")
        top = table[table["depth"] > 0]["tau_high"].max()
        axis.set_ylim(0, 1.3 * max(top, table["tau_median"].max()))
        axis.legend(loc="upper left")


def dynamics(tables: Tables, folder: Path) -> None:
    """Linearised modes around fixed points, and mean paths by turn."""
    spectrum = tables["spectrum"]
    with style.figure(folder / "dynamics", 1, 3, 2.6) as axes:
        circle = np.linspace(0, 2 * np.pi, 200)
        for axis, policy in zip(axes[0], POLICIES, strict=False):
            axis.plot(np.cos(circle), np.sin(circle), color=style.SOFT, lw=0.7)
            rows = spectrum[spectrum["policy"] == policy]
            axis.scatter(
                rows["real"],
                rows["imaginary"],
                s=3,
                color=style.TRAINED,
                alpha=0.5,
                lw=0,
            )
            area = rows["area"].iloc[0] if len(rows) else ""
            axis.set(
                title=f"{area}, {policy}", xlabel="real part", ylabel="imaginary part",
                aspect="equal",
            )  # fmt: skip
        axis = axes[0][2]
        if "paths" not in tables:
            axis.axis("off")
            return
        paths = tables["paths"]
        for turn, hue in zip(TURNS, style.PALETTE, strict=False):
            one = paths[(paths["turn"] == turn) & (paths["policy"] == "trained")]
            axis.plot(one["pc1"], one["pc2"], color=hue, label=turn, lw=1.1)
            axis.plot(one["pc1"].iloc[:1], one["pc2"].iloc[:1], "o", color=hue)
        axis.set(
            title="mean paths by turn",
            xlabel="component 1",
            ylabel="component 2",
        )
        axis.legend(ncol=1, fontsize=6.5, loc="center left", bbox_to_anchor=(1.0, 0.5))


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


def tuning(tables: Tables, folder: Path) -> None:
    """Units tuned to turns that are wanted and that are made."""
    if "tuning_units" not in tables:
        return
    units = tables["tuning_units"]
    names = [a for a in order(units) if a in set(units["area"])]
    with style.figure(folder / "tuning", 1, 3, 2.7) as axes:
        for axis, which in zip(axes[0], ("wanted", "made"), strict=False):
            for shift, policy, hue in (
                (-0.2, "trained", style.TRAINED),
                (0.2, "untrained", style.CONTROL),
            ):
                rows = units[(units["policy"] == policy) & (units["turn"] == which)]
                share = 100 * rows.groupby("area")["tuned"].mean().reindex(names)
                axis.bar(
                    np.arange(len(names)) + shift, share, 0.38, color=hue, label=policy
                )
            axis.set_xticks(range(len(names)), names, rotation=40, ha="right")
            axis.set(title=f"turn {which}", ylabel="tuned units (%)", ylim=(0, 100))
        handles, labels = axes[0][0].get_legend_handles_labels()
        axes[0][0].figure.legend(handles, labels, loc="outside lower left", ncol=2)
        last = names[-1] if "M1" not in names else "M1"
        rows = units[
            (units["policy"] == "trained")
            & (units["turn"] == "made")
            & (units["area"] == last)
        ]
        best = rows.sort_values(["preferred", "eta2"], ascending=[True, False])
        grid = best[[f"mean {c}" for c in range(len(TURNS))]].to_numpy()
        axis = axes[0][2]
        image = axis.imshow(grid, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
        axis.set_xticks(range(len(TURNS)), TURNS)
        axis.set(
            title=f"{last} by turn made",
            ylabel="unit, by preferred turn",
            xlabel="turn about",
        )
        axis.set_yticks([])
        axis.figure.colorbar(image, ax=axis, shrink=0.7, label="activity (deviations)")
