"""`python -m mjxhand.analyse.across ANALYSIS ANALYSIS ... --out DIR`: what holds over networks.

Joins finished analyses of networks that were trained alike from different seeds. The interval
of one analysis is over start states of one network; a claim on learning, or on anatomy, needs
networks as its sample. Writes `DIR/across.csv`, `DIR/verdicts.csv` and a figure, and prints
what is largest.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from mjxhand.analyse import extra  # noqa: F401  # isort: skip  # first: what is missing
import numpy as np
import pandas as pd

from mjxhand import cli
from mjxhand.analyse import claims, figures, store, style
from mjxhand.config import ConfigError
from mjxhand.storage import write_text_atomically
from mjxhand.tally import half_width

KEYS = ["measure", "area", "what", "window"]
"""What a value is of: `what` is the target, the rival, or nothing."""
ALIKE = ("task", "goal_encoding", "pose_encoding", "impl", "step_seconds")
"""Facts of an analysis that all must share; and their networks' areas and `BUILD`."""
BUILD = ("cell", "distribution")
"""Settings of a network that all must share, beside what is told of its areas."""
READ, PLANS, SHARED = "R²", "R² ahead, PMC minus another", "senses that share in a unit"
RATIO, LOSS = "participation ratio", "goals per episode, with the lesion minus without"
WHO = (*claims.WHO, "difference")
NEEDED = ("decoding", "selectivity", "dimensions", "planning_test", "claims")
LEAST, SHOWN = 0.01, 12
"""Smallest difference of R², and number of rows of a measure, that the terminal is told of."""


def values(tables: store.Tables) -> pd.DataFrame:
    """What one analysis found, one number per row: `measure, area, what, window, depth, policy,
    value`; `policy` is `trained`, `untrained`, or `both` for what the two share."""
    decoding = tables["decoding"]
    parts = [
        decoding.assign(measure=READ, what=decoding["target"], value=decoding["r2"]),
        _of(tables, "selectivity", SHARED, "index"),
        _of(tables, "dimensions", RATIO, "ratio"),
    ]
    tested = tables["planning_test"]
    tested = tested[tested["of"].isin(claims.WHO)]
    parts.append(
        tested.assign(
            measure=PLANS, area=claims.PLANNER, what=tested["against"], depth=0,
            policy=tested["of"], value=tested["difference"],
        )
    )  # fmt: skip
    if "lesions" in tables:
        cut = tables["lesions"]
        cut = cut[~cut["kind"].isin(("intact", "untrained"))]
        parts.append(
            cut.assign(
                measure=LOSS, area=cut["lesion"], what=cut["kind"], depth=0,
                policy="trained", value=cut["change"],
            )
        )  # fmt: skip
    columns = [*KEYS, "depth", "policy", "value"]
    rows = [part.reindex(columns=columns) for part in parts if len(part)]
    return pd.concat(rows, ignore_index=True).fillna({"what": "", "window": ""})


def _of(tables: store.Tables, name: str, measure: str, column: str) -> pd.DataFrame:
    table = tables[name]
    return table.assign(measure=measure, value=table[column])


def interval(x: np.ndarray) -> tuple[float, float]:
    """Mean of networks, and half width of its 95 % interval (Student); NaN of fewer than 2."""
    x = x[np.isfinite(x)]
    mean = float(x.mean()) if len(x) else np.nan
    return mean, half_width(x) if len(x) > 1 else np.nan


def table(analyses: Sequence[store.Tables]) -> pd.DataFrame:
    """Means over networks, and their 95 % intervals.

    The difference is paired: each trained network against its own untrained one, which was
    shown the same senses.

    Args:
        analyses: tables of each network, two or more.

    Returns:
        `measure, area, what, window, depth, networks`; `trained`, `untrained` and `difference`
        (trained minus untrained), each with `…_ci95`; `above`: networks whose difference is
        above 0. What both networks share has a value under `trained` alone.
    """
    every = pd.concat(
        [values(tables).assign(network=i) for i, tables in enumerate(analyses)],
        ignore_index=True,
    )
    every["policy"] = every["policy"].replace("both", "trained")
    rows = []
    for _, group in every.groupby(KEYS, sort=False):
        wide = group.pivot_table(index="network", columns="policy", values="value")
        wide = wide.reindex(columns=claims.WHO)
        wide["difference"] = wide["trained"] - wide["untrained"]
        row = group[[*KEYS, "depth"]].iloc[0].to_dict() | {"networks": len(wide)}
        for who in WHO:
            row[who], row[f"{who}_ci95"] = interval(wide[who].to_numpy())
        above = np.count_nonzero(wide["difference"].to_numpy() > 0)
        rows.append(row | {"above": above})
    return pd.DataFrame(rows)


def verdicts(analyses: Sequence[store.Tables], names: Sequence[str]) -> pd.DataFrame:
    """Each claim of the showcase, and the verdict on it in every network: `claim, measure`, then
    `names`."""
    by = ["claim", "measure"]
    found = {
        name: tables["claims"].fillna({"measure": ""}).set_index(by)["verdict"]
        for name, tables in zip(names, analyses, strict=True)
    }
    return pd.DataFrame(found).reset_index()


def load(folders: Sequence[Path]) -> list[tuple[store.Tables, dict]]:
    """Tables and facts of analyses that can be joined.

    Raises:
        ConfigError: one is missing, of another network or task, or of the same network twice:
            of one run, or of runs that began with the same weights.
    """
    found = [store.load(folder) for folder in folders]
    seen: dict[str, Path] = {}
    for folder, (tables, facts) in zip(folders, found, strict=True):
        for name in NEEDED:
            if name not in tables:
                raise ConfigError(
                    f"{folder} has no table {name}: analyse that run anew"
                )
        if facts.get("control") is False:
            raise ConfigError(
                f"{folder} was made with --no-control: without an untrained network nothing "
                "tells what learning added"
            )
        begun = facts["network"]["weights"] or f"seed {facts['seed']}"
        for who in (facts["run"], begun):
            if who in seen:
                raise ConfigError(
                    f"{folder} and {seen[who]} both come of {who}: networks that did not "
                    "begin with weights of their own are one sample; give one of them"
                )
            seen[who] = folder
        for what in ALIKE:
            _refuse_other(
                folders[0], found[0][1].get(what), folder, facts.get(what), what
            )
        for what in BUILD:
            own, first = (f["network"].get(what) for f in (facts, found[0][1]))
            _refuse_other(folders[0], first, folder, own, what)
        if _anatomy(facts) != _anatomy(found[0][1]):
            raise ConfigError(
                f"{folder} is of a network with other areas, layers, units, pathways or memory "
                f"than {folders[0]}"
            )
    return found


def _anatomy(facts: dict) -> list[dict]:
    """What is told of a network's areas, less their names in words."""
    return [
        {k: v for k, v in area.items() if k != "label"}
        for area in facts.get("areas", ())
    ]


def _refuse_other(first: Path, theirs, folder: Path, ours, what: str) -> None:
    if ours != theirs:
        raise ConfigError(
            f"{folder} has {what.replace('_', ' ')} {ours}, {first} has {theirs}: join analyses "
            "of networks that were trained alike"
        )


def draw(found: pd.DataFrame, folder: Path) -> None:
    """What learning adds to every area's R² of the present, as `across.png` and `.svg`."""
    now = pd.DataFrame(
        found[
            (found["measure"] == READ)
            & (found["depth"] > 0)
            & found["window"].isin(("present", "past"))
        ]
    )
    rows = figures.order(now)
    columns = [t for t in figures.PRESENT if t in set(now["what"])]
    with style.figure(folder / "across", 2, 1, 5.6, sharex=True) as axes:
        for (axis,), who, title in zip(
            axes,
            ("trained", "difference"),
            (
                "trained",
                "trained minus untrained: in grey where the interval includes 0",
            ),
            strict=True,
        ):
            grid = _grid(now, who, rows, columns)
            low = 0.0 if who == "trained" else -1.0
            image = style.heatmap(
                axis, grid, rows, columns, low=low,
                cmap="viridis" if who == "trained" else "RdBu",
            )  # fmt: skip
            axis.set_title(title)
            bar = axis.figure.colorbar(image, ax=axis, pad=0.01)
            bar.set_label("R²" if who == "trained" else "difference of R²")
            if who == "trained":
                continue
            unsure = np.abs(grid) <= _grid(now, f"{who}_ci95", rows, columns)
            for text in axis.texts:
                column, row = (int(at) for at in text.get_position())
                if unsure[row][column]:
                    text.set(color=style.CONTROL, fontstyle="italic")


def _grid(table: pd.DataFrame, value: str, rows, columns) -> np.ndarray:
    grid = table.pivot_table(index="area", columns="what", values=value, dropna=False)
    return grid.reindex(index=rows, columns=columns).to_numpy()


def report(found: pd.DataFrame, said: pd.DataFrame) -> str:
    """The part of the tables that fits a terminal: what is learned, and the verdicts."""
    found = pd.DataFrame(found[found["window"].isin(("present", "past", ""))])
    sure = found["difference"].abs() > found["difference_ci95"]
    small = found["measure"].isin((READ, PLANS)) & (found["difference"].abs() < LEAST)
    learned = found[sure & ~small]
    lines = [
        "95 % intervals are over networks (Student's t), and not corrected for how many"
    ]
    lines += [
        "quantities are asked after.",
        "",
        "Trained minus untrained, interval without 0:",
    ]
    for measure, rows in learned.groupby("measure", sort=False):
        largest = rows.reindex(
            rows["difference"].abs().sort_values(ascending=False).index
        )
        lines += [f"  {measure}"]
        lines += [
            f"    {row['area']}{', ' * bool(row['what'])}{row['what']}: "
            f"{row['difference']:+.2f} ± {row['difference_ci95']:.2f} "
            f"({row['trained']:.2f} against {row['untrained']:.2f})"
            for _, row in largest.head(SHOWN).iterrows()
        ]
        if len(rows) > SHOWN:
            lines += [f"    and {len(rows) - SHOWN} more, in across.csv"]
    if learned.empty:
        lines += ["  nothing"]
    lines += ["", "The showcase's claims, network by network:"]
    for _, row in said.iterrows():
        measure = re.split("[,;:]", row["measure"])[0]
        lines += [f"  {row['claim']}: {measure}"]
        lines += [f"    {name}: {row[name]}" for name in said.columns[2:]]
    return "\n".join(lines)


@cli.main_guard
def main(argv: Sequence[str] | None = None) -> int:
    """Command line of `python -m mjxhand.analyse.across`."""
    parser = argparse.ArgumentParser(
        prog="python -m mjxhand.analyse.across",
        description=(__doc__ or "").split("\n\n")[1],
    )
    parser.add_argument(
        "analyses", nargs="+", type=Path, help="folders that mjxhand.analyse wrote"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    args = parser.parse_args(sys.argv[1:] if argv is None else argv)
    if len(args.analyses) < 2:
        raise ConfigError("give at least two analyses to join")
    joined = load(args.analyses)
    analyses = [tables for tables, _ in joined]
    found = table(analyses)
    said = verdicts(analyses, [str(folder) for folder in args.analyses])
    args.out.mkdir(parents=True, exist_ok=True)
    for name, one in (("across", found), ("verdicts", said)):
        text = one.to_csv(index=False, float_format="%.6g")
        write_text_atomically(args.out / f"{name}.csv", text)
    draw(found, args.out)
    updates = sorted({facts["update"] for _, facts in joined})
    if len(updates) > 1:
        print(
            f"note: networks after {', '.join(map(str, updates))} updates: the intervals hold "
            "what training longer changes, too\n"
        )
    print(report(found, said))
    print(f"\ntables and figure: {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
