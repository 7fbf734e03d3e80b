"""The showcase's claims about its network (Human Brain Project, deliverable D3.14), each beside
what is measured here and what an untrained network of the same wiring gives.

A claim agrees where a 95 % interval says so for the trained network and not for the untrained
one as well; that is a statement about learning. Nothing is corrected for the number of claims.
"""

from dataclasses import dataclass

import pandas as pd
from scipy import stats

from mjxhand.analyse.showcase import pick

PLANNER, EXECUTOR = "PMC", "M1"
LEAST = 0.01
"""R² below which nothing is said to be encoded, whatever chance is."""
NEAR, FAR = "0.08 s", "4 s"
"""Leads of the showcase's comparison."""
YES, PARTLY, NO, UNKNOWN = "agrees", "partly", "does not agree", "cannot be said"
REWARD = f"{EXECUTOR} and {PLANNER} encode reward"
WIRING = "the untrained network does so too"


@dataclass(frozen=True)
class Claim:
    """One row of the table."""

    claim: str
    showcase: str
    measure: str
    ours: str
    control: str
    verdict: str


def table(
    decoding: pd.DataFrame,
    planning: pd.DataFrame,
    turns: pd.DataFrame,
    selectivity: pd.DataFrame,
) -> pd.DataFrame:
    """Claim, measure, agreement or not.

    Args:
        decoding: `decoding.table` of both networks, with the columns `policy` and `area`.
        planning: one row per policy, `now, now_low, now_high`, `ahead …`, `change …`,
            `matched …`: PMC minus M1, R² of commands.
        turns: `policy, window, difference, low, high`: PMC minus M1, R² of how far the cube
            will have turned.
        selectivity: `selectivity.summary` of both, with `policy, area, depth`.
    """
    if not {PLANNER, EXECUTOR} <= set(decoding["area"]):
        missing = f"{UNKNOWN}: this network has no {PLANNER} and {EXECUTOR}"
        texts = (REWARD, f"{PLANNER} plans", f"{EXECUTOR} executes")
        claims = [Claim(text, "", "", "", "", missing) for text in texts]
    else:
        claims = [
            _reward(decoding, "past", "reward", "R² of the last step's reward"),
            _reward(decoding, "present", "reward to come", "R² of the reward to come"),
            _turn(decoding, turns),
            _plans(planning),
            _executes(planning),
        ]
    return pd.DataFrame([vars(c) for c in (*claims, _integration(selectivity))])


def _number(row) -> str:
    if row is None:
        return "–"
    return f"{row['r2']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"


def _reward(decoding: pd.DataFrame, window: str, target: str, measure: str) -> Claim:
    rows = decoding[(decoding["window"] == window) & (decoding["target"] == target)]
    areas = rows[(rows["policy"] == "trained") & rows["source"].str.startswith("area/")]
    others = areas[~areas["area"].isin((PLANNER, EXECUTOR))]
    best = others.loc[others["r2"].idxmax()] if len(others) else None
    trained, control, above, first = [], [], [], []
    for area in (PLANNER, EXECUTOR):
        row = pick(decoding, "trained", area, target, window)
        fresh = pick(decoding, "untrained", area, target, window)
        trained.append(f"{area} {_number(row)}")
        control.append(f"{area} {_number(fresh)}")
        if row is not None:
            levels = [
                LEAST,
                row["chance_high"],
                fresh["high"] if fresh is not None else 0,
            ]
            above.append(row["low"] > max(x for x in levels if x == x))
            first.append(best is None or row["low"] > best["high"])
    if best is not None:
        trained.append(f"best other: {best['area']} {_number(best)}")
    verdict = NO
    if len(above) < 2:
        verdict = UNKNOWN
    elif all(above):
        verdict = YES if all(first) else f"{PARTLY}: other areas encode it as well"
    elif any(above):
        verdict = f"{PARTLY}: {PLANNER if above[0] else EXECUTOR} only"
    return Claim(
        REWARD,
        "PMC 0.67, M1 0.25, all others at most 0.08",
        f"{measure}, above chance, the untrained network and all other areas",
        "; ".join(trained),
        "; ".join(control),
        verdict,
    )


def _turn(decoding: pd.DataFrame, turns: pd.DataFrame) -> Claim:
    """The showcase's own measure: how far the cube will have turned."""

    def difference(policy: str, window: str):
        rows = turns[(turns["policy"] == policy) & (turns["window"] == window)]
        return rows.iloc[0] if len(rows) else None

    def shown(policy: str) -> str:
        parts = []
        for window in (NEAR, FAR):
            pair = [
                f"{a} {_number(pick(decoding, policy, a, 'future turn', window))}"
                for a in (PLANNER, EXECUTOR)
            ]
            row = difference(policy, window)
            gap = "–" if row is None else _pair(row, "difference", "low", "high")
            parts.append(f"{window}: {', '.join(pair)}, difference {gap}")
        return "; ".join(parts)

    def holds(policy: str) -> tuple[bool, bool] | None:
        near, far = difference(policy, NEAR), difference(policy, FAR)
        if near is None or far is None:
            return None
        return bool(near["high"] < 0), bool(far["low"] > 0)

    names = (f"{EXECUTOR} first at 80 ms only", f"{PLANNER} first at 4 s only")
    return Claim(
        f"{PLANNER} plans, {EXECUTOR} executes (the showcase's measure)",
        "80 ms: PMC 0.30, M1 0.40; 4 s: PMC 0.32, M1 0.08",
        "R² of how far the cube will have turned: M1 ahead at 80 ms, PMC at 4 s",
        shown("trained"),
        shown("untrained"),
        _verdict(holds("trained"), holds("untrained"), names),
    )


def _verdict(
    trained: tuple[bool, ...] | None,
    untrained: tuple[bool, ...] | None,
    names: tuple[str, ...],
) -> str:
    """From what holds of each network; `names`: what is said where only one part holds."""
    if trained is None:
        return UNKNOWN
    if not any(trained):
        return NO
    if not all(trained):
        return f"{PARTLY}: {names[trained.index(True)]}"
    same = untrained is not None and all(untrained)
    return f"{PARTLY}: {WIRING}" if same else YES


def _pair(row, name: str, low: str | None = None, high: str | None = None) -> str:
    if row is None:
        return "–"
    ends = row[low or f"{name}_low"], row[high or f"{name}_high"]
    return f"{row[name]:+.3f} [{ends[0]:+.3f}, {ends[1]:+.3f}]"


def _of(planning: pd.DataFrame, policy: str):
    rows = planning[planning["policy"] == policy] if len(planning) else planning
    return rows.iloc[0] if len(rows) else None


def _plans(planning: pd.DataFrame) -> Claim:
    row, fresh = _of(planning, "trained"), _of(planning, "untrained")

    def holds(one) -> tuple[bool, bool] | None:
        if one is None:
            return None
        return bool(one["ahead_low"] > 0), bool(one["change_low"] > 0)

    names = (
        f"{PLANNER} foretells better, but no more ahead than now",
        f"{PLANNER}'s share grows with the lead, but {EXECUTOR} foretells as well",
    )
    verdict = _verdict(holds(row), holds(fresh), names)
    if verdict == YES and row is not None and not row["matched_low"] > 0:
        verdict = f"{PARTLY}: not beyond what its greater number of units gives"
    return Claim(
        f"{PLANNER} plans",
        "not measured on actions",
        "PMC minus M1, R² of the command 0.8 s ahead; and how much that grows from lead 0",
        _advantage(row),
        _advantage(fresh),
        verdict,
    )


def _advantage(row) -> str:
    parts = f"{_pair(row, 'ahead')}; grows by {_pair(row, 'change')}"
    return f"{parts}; PMC cut to M1's size {_pair(row, 'matched')}"


def _executes(planning: pd.DataFrame) -> Claim:
    row, fresh = _of(planning, "trained"), _of(planning, "untrained")

    def holds(one) -> tuple[bool] | None:
        return None if one is None else (bool(one["now_high"] < 0),)

    return Claim(
        f"{EXECUTOR} executes",
        "not measured on actions",
        "PMC minus M1, R² of the present command (M1 feeds the actions, so it should lead)",
        _pair(row, "now"),
        _pair(fresh, "now"),
        _verdict(holds(row), holds(fresh), ("",)),
    )


def _integration(selectivity: pd.DataFrame) -> Claim:
    def trend(policy: str):
        rows = pd.DataFrame(selectivity[selectivity["policy"] == policy])
        rows = rows.dropna(subset=["index"])
        depth, index = rows["depth"].to_numpy(), rows["index"].to_numpy()
        if len(rows) < 4 or min(len(set(depth)), len(set(index))) < 2:
            return None
        return stats.spearmanr(depth, index)

    def holds(result) -> tuple[bool] | None:
        if result is None:
            return None
        return (bool(result.statistic > 0 and result.pvalue < 0.05),)

    def shown(result) -> str:
        if result is None:
            return "–"
        return f"ρ {result.statistic:+.2f} (p {result.pvalue:.3f})"

    found, fresh = trend("trained"), trend("untrained")
    return Claim(
        "Information becomes more integrated from sensory and prefrontal to motor areas",
        "stated, not measured",
        "rank correlation of an area's depth with how many senses share in its units",
        shown(found),
        shown(fresh),
        _verdict(holds(found), holds(fresh), ("",)),
    )
