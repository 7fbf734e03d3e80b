"""The showcase's claims about its network (Human Brain Project, deliverable D3.14), each beside
what is measured here and what an untrained network of the same wiring gives.

Learning has brought something about where the trained network exceeds the untrained one:
what is tested is that difference, paired over the groups of start states that both saw. Nothing
is corrected for the number of claims, and all of it is of one trained and one untrained network.
"""

from dataclasses import dataclass

import pandas as pd
from scipy import stats

from mjxhand.analyse import planning
from mjxhand.analyse.evidence import Evidence, Part
from mjxhand.analyse.gather import (
    ALL_SENSES,
    PAST,
    PRESENT,
    PROFILE,
)
from mjxhand.analyse.recording import SENSE
from mjxhand.analyse.ridge import Blocks, Estimate
from mjxhand.analyse.rivals import CURVED_BOTH, CURVED_SENSES, CURVES, WITH_COMMAND
from mjxhand.analyse.showcase import pick

PLANNER, EXECUTOR = "PMC", "M1"
REDUCED = f"{PLANNER} cut to the size of {EXECUTOR}"
"""Area of the rows of `evidence` that `planning.reduced` gives."""
SENSES = tuple(
    name.removeprefix(SENSE)
    for name in (ALL_SENSES, CURVED_SENSES, WITH_COMMAND, CURVED_BOTH)
)
RIVALS = (EXECUTOR, "LPFC", *SENSES)
"""What has to foretell worse, if the planner plans: an area is a nonlinear function of the senses
that was trained to make the present command, so each of these alone would be no finding."""
LEAST = 0.01
"""R² below which nothing is said to be encoded, whatever chance is."""
NEAR, FAR = "0.08 s", "4 s"
"""Leads of the showcase's comparison."""
WHO = ("trained", "untrained")
YES, PARTLY, NO, UNKNOWN = "agrees", "partly", "does not agree", "cannot be said"
REWARD = f"{EXECUTOR} and {PLANNER} encode reward"
SAME = f"{NO}: it is not shown to exceed the untrained network"
ALONE = f"{UNKNOWN}: no untrained network was recorded"


@dataclass(frozen=True)
class Claim:
    """One row of the table."""

    claim: str
    showcase: str
    measure: str
    ours: str
    control: str
    difference: str
    verdict: str


def table(
    evidence: Evidence, decoding: pd.DataFrame, selectivity: pd.DataFrame
) -> pd.DataFrame:
    """Claim, measure, agreement or not.

    Args:
        evidence: of both networks.
        decoding: `decoding.table` of both, with the columns `policy` and `area`.
        selectivity: `selectivity.summary` of both, with `policy, area, depth`.
    """
    missing = [a for a in (PLANNER, EXECUTOR) if a not in evidence.areas]
    if missing:
        said = f"{UNKNOWN}: this network has no {' and no '.join(missing)}"
        texts = (REWARD, f"{PLANNER} plans")
        claims = [Claim(text, *[""] * 5, said) for text in texts]
    else:
        claims = [
            _reward(evidence, decoding, PAST, "reward", "R² of the last step's reward"),
            _reward(
                evidence,
                decoding,
                PRESENT,
                "reward to come",
                "R² of the reward to come",
            ),
            _turn(evidence),
            _plans(evidence),
        ]
    return pd.DataFrame([vars(c) for c in (*claims, _integration(selectivity))])


def verdict(parts: list[Part]) -> str:
    """Agrees where all parts are learned; partly, and which, where some are."""
    if any(part.trained is None for part in parts):
        return UNKNOWN
    if not any(part.found for part in parts):
        return NO
    if any(part.untrained is None for part in parts):
        return ALONE
    learned = [part.name for part in parts if part.learned]
    if not learned:
        return SAME
    return YES if len(learned) == len(parts) else f"{PARTLY}: {', '.join(learned)}"


def _claim(name, showcase, measure, parts: list[Part], said: str | None = None):
    columns = [
        "; ".join(f"{part.name} {_number(estimate)}" for part, estimate in each)
        for each in (
            [(p, p.trained and p.trained.estimate()) for p in parts],
            [(p, p.untrained and p.untrained.estimate()) for p in parts],
            [(p, p.difference) for p in parts],
        )
    ]
    return Claim(name, showcase, measure, *columns, said or verdict(parts))


def _number(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    return f"{estimate.value:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]"


def _reward(evidence: Evidence, decoding, window: str, target: str, measure: str):
    parts = []
    for area in (PLANNER, EXECUTOR):
        own, fresh = (evidence.of(who, area, window, target) for who in WHO)
        row = pick(decoding, "trained", area, target, window)
        chance = LEAST if row is None else max(LEAST, row["chance_high"])
        # A NaN, where there were no permutations, would hide LEAST.
        parts.append(Part(area, own, fresh, chance if chance == chance else LEAST))
    said = verdict(parts)
    others = [a for a in evidence.areas if a not in (PLANNER, EXECUTOR, REDUCED)]
    above = [
        area
        for area in (PLANNER, EXECUTOR)
        if all(
            _exceeds(evidence.gap("trained", area, other, window, target))
            for other in others
        )
    ]
    if said == YES and len(above) < 2:
        which = f"{above[0]} alone is" if above else "neither is"
        said = f"{PARTLY}: both, but {which} shown to exceed all other areas"
    return _claim(
        REWARD,
        "PMC 0.67, M1 0.25, all others at most 0.08",
        f"{measure}, above chance, the untrained network and all other areas",
        parts,
        said,
    )


def _gap(evidence: Evidence, name: str, a: str, b: str, window: str, target: str):
    trained, untrained = (evidence.gap(who, a, b, window, target) for who in WHO)
    return Part(name, trained, untrained)


def _exceeds(gap: Blocks | None) -> bool:
    return gap is None or gap.estimate().low > 0


def _turn(evidence: Evidence) -> Claim:
    """The showcase's own measure: how far the cube will have turned."""
    order = ((EXECUTOR, PLANNER, NEAR, "80 ms"), (PLANNER, EXECUTOR, FAR, "4 s"))
    parts = [
        _gap(evidence, f"{a} over {b} at {said}", a, b, window, "future turn")
        for a, b, window, said in order
    ]
    return _claim(
        f"{PLANNER} plans, {EXECUTOR} executes (the showcase's measure)",
        "80 ms: PMC 0.30, M1 0.40; 4 s: PMC 0.32, M1 0.08",
        "differences of R² of how far the cube will have turned; each lead on goals that last "
        "so long, at 4 s thus on goals that are reached late or not at all",
        parts,
    )


def plan_parts(evidence: Evidence) -> list[Part]:
    """The planner's R² of the command ahead, minus that of each rival.

    Both networks are asked for what the trained one commands: commands of their own would
    differ in how well anything tells them.
    """
    target = planning.target("command", planning.AHEAD)
    pairs = [(PLANNER, rival, f"over {rival}") for rival in RIVALS]
    pairs.append((REDUCED, EXECUTOR, f"over {EXECUTOR}, with as few components"))
    parts = [_gap(evidence, name, a, b, PROFILE, target) for a, b, name in pairs]
    # The planner is measured against those that there are.
    there = [part for part in parts if part.trained is not None]
    return there or parts[:1]


def plan_table(evidence: Evidence) -> pd.DataFrame:
    """`plan_parts` as a table: `against, of, difference, low, high`."""
    rows = []
    for part in plan_parts(evidence):
        pair = (part.trained, part.untrained)
        both = [blocks and blocks.estimate() for blocks in pair]
        of = (*WHO, "trained minus untrained")
        for who, found in zip(of, (*both, part.difference), strict=True):
            if found is not None:
                rows.append(
                    {
                        "against": part.name,
                        "of": who,
                        "difference": found.value,
                        "low": found.low,
                        "high": found.high,
                    }
                )
    return pd.DataFrame(rows, columns=["against", "of", "difference", "low", "high"])


def _plans(evidence: Evidence) -> Claim:
    return _claim(
        f"{PLANNER} plans",
        "not measured on actions",
        f"differences of R² of the trained network's command {planning.AHEAD:g} s ahead: {PLANNER} "
        f"over {EXECUTOR}, LPFC, all senses, {CURVES} random units that receive them, the senses "
        f"with the present command, and {CURVES} random units that receive both. That {EXECUTOR} "
        "tells the present command best is no finding: it alone feeds the actions",
        plan_parts(evidence),
    )


def _integration(selectivity: pd.DataFrame) -> Claim:
    depth = dict(zip(selectivity["area"], selectivity["depth"], strict=True))
    index = {
        who: dict(zip(rows["area"], rows["index"], strict=True))
        for who, rows in selectivity.groupby("policy")
    }
    trained, untrained = (index.get(who, {}) for who in WHO)
    gap = {a: trained[a] - untrained[a] for a in trained if a in untrained}

    def trend(values: dict[str, float]):
        known = {area: v for area, v in values.items() if v == v}
        at = [depth[area] for area in known]
        if len(known) < 4 or min(len(set(at)), len(set(known.values()))) < 2:
            return None
        return stats.spearmanr(at, list(known.values()))

    def shown(result) -> str:
        if result is None:
            return "–"
        return f"ρ {result.statistic:+.2f} (p {result.pvalue:.3f})"

    def rises(result) -> bool:
        return result is not None and result.statistic > 0 and result.pvalue < 0.05

    found, fresh, change = trend(trained), trend(untrained), trend(gap)
    said = UNKNOWN if found is None else NO
    if rises(found):
        said = SAME if gap else ALONE
        if rises(change):
            said = f"{PARTLY}: a trend over the areas of one network, which depend on each other"
    return Claim(
        "Information becomes more integrated from sensory and prefrontal to motor areas",
        "stated, not measured",
        "rank correlation of an area's depth with how many senses share in its units; depth "
        "comes from the wiring, and in random networks it predicts this as well",
        shown(found),
        shown(fresh),
        shown(change),
        said,
    )
