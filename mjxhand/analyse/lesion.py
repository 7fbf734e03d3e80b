"""Causality: what the hand can no longer do when a part of the network is silent.

Lesions act at run time, as gains beside the weights (`mjxhand.networks.lesions`): areas and
pathways send nothing, an area sends its mean at every step, a recurrent area begins every step
from zero. Lesions share one compiled program, those of random units another. A silent sense is at
its running mean (normalised observations are then 0), or mid-grey where it is frames.
"""

import itertools
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
import pandas as pd

from mjxhand import streams
from mjxhand.agent import Agent
from mjxhand.analyse import anatomy
from mjxhand.analyse.anatomy import ACTIONS
from mjxhand.config import ConfigError
from mjxhand.env import Env
from mjxhand.evaluate import Evaluator, Policy
from mjxhand.networks import lesions
from mjxhand.tally import half_width
from mjxhand.wiring import Area, Pathway, Wiring

Row = dict[str, float]
Kind = Literal["area", "held", "random", "pathway", "sense", "recurrence"]
AT_ONCE = 8192
"""Episodes of lesions that share a batch on an accelerator, at most: it takes a control step of
so many in little more time than one of few (docs/speed.md, "A GPU, compiled for before one was
seen")."""
DRAWS = 5
"""Draws of as many random units as an area has: what is lost depends on which they are."""


@dataclass(frozen=True)
class Lesion:
    """A part of a network to silence.

    Or an area to keep at its mean activity (`held`), or as many units as it has, drawn at random
    from all areas (`random`): what the loss of so many does, wherever they are.
    """

    kind: Kind
    source: str = ""
    """The area or sense; of a pathway, where it begins; empty: the memory of all areas."""
    target: str = ""
    """Of a pathway, where it ends: an area, or `actions`."""
    draw: int = 0
    """Of random units: which draw."""

    @property
    def name(self) -> str:
        """For tables: `PMC`, `PMC held`, `as many as PMC`, `LPFC → PMC`, `memory of PMC`."""
        if self.kind == "held":
            return f"{self.source} held"
        if self.kind == "random":
            return f"as many as {self.source}"
        if self.kind == "pathway":
            return f"{self.source} → {self.target}"
        if self.kind == "recurrence":
            return f"memory of {self.source or 'all areas'}"
        return self.source


def possible(agent: Agent) -> list[Lesion]:
    """Every lesion of a network: areas silent and held, as many random units, senses,
    memories, pathways.

    Areas that are recorded in part (`anatomy.sampled`) have no mean to be held at. Of a network
    that does not tell its wiring, the senses alone.
    """
    wiring = anatomy.wiring_of(agent)
    senses = [Lesion("sense", s) for s in anatomy.senses_of(agent)]
    if wiring is None:  # silenced by way of their statistics, which frames have none of
        sizes = agent.observation_sizes
        return [s for s in senses if not streams.is_frames(sizes[s.name])]
    memories = [Lesion("recurrence", a) for a in anatomy.recurrent(agent)]
    in_part = anatomy.sampled(agent)
    return [
        *(Lesion("area", a.name) for a in wiring.areas),
        *(Lesion("held", a.name) for a in wiring.areas if a.name not in in_part),
        *(Lesion("random", a.name) for a in wiring.areas if not a.conv),
        *senses,
        *memories,
        *([Lesion("recurrence")] if len(memories) > 1 else []),
        *dict.fromkeys(Lesion("pathway", p.source, _end(p)) for p in _acting(wiring)),
    ]


def _acting(wiring: Wiring) -> list[Pathway]:
    """Pathways on the way to the actions: all but those into the critic's head."""
    return [p for p in wiring.all_pathways if p.target != "value"]


def _end(pathway: Pathway) -> str:
    return ACTIONS if pathway.target == "policy" else pathway.target


def lesioned(
    policy: Policy, lesion: Lesion, means: Mapping[str, np.ndarray] | None = None
) -> Policy:
    """The policy with a part of its network silent, or held at its mean.

    Args:
        means: mean activity `[units]` of the areas that are held, by name (`Recording.mean`).

    Raises:
        ConfigError: the network has no such part, or its mean is not given.
    """
    parts = possible(policy.agent)
    if any(p.kind == "recurrence" for p in parts):
        parts.append(Lesion("recurrence"))
    if replace(lesion, draw=0) not in parts:
        known = [p.name for p in possible(policy.agent) if p.kind == lesion.kind]
        raise ConfigError(
            f"no {lesion.kind} {lesion.name!r}; there are: {', '.join(known) or 'none'}"
        )
    wiring = anatomy.wiring_of(policy.agent)
    if wiring is None:
        return _numb(policy, lesion.source)
    part: dict[str, Any] = {"areas": [lesion.source]}
    if lesion.kind == "held":
        if means is None or lesion.source not in means:
            raise ConfigError(f"{lesion.name}: no mean activity of it is given (means)")
        part["levels"] = {lesion.source: means[lesion.source]}
    if lesion.kind == "random":
        part = {"areas": _random_units(wiring, wiring.area(lesion.source), lesion.draw)}
    elif lesion.kind == "pathway":
        ends = (lesion.source, lesion.target)
        cut = [str(p) for p in _acting(wiring) if (p.source, _end(p)) == ends]
        part = {"pathways": cut}
    elif lesion.kind == "recurrence":
        every = anatomy.recurrent(policy.agent)
        part = {"memories": [lesion.source] if lesion.source else every}
    return replace(policy, params=lesions.apply(policy.params, wiring, **part))


def _random_units(wiring: Wiring, like: Area, draw: int) -> dict[str, np.ndarray]:
    """Gains `[units]` of every area, 0 for as many units as an area has.

    Which, is fixed by the area's name and the draw.

    Convolutional areas are spared: they have more units than all others together.
    """
    areas = [area for area in wiring.areas if not area.conv]
    sizes = [area.units for area in areas]
    rng = np.random.default_rng([zlib.crc32(like.name.encode()), draw])
    gains = np.ones(sum(sizes), np.float32)
    gains[rng.choice(len(gains), like.units, replace=False)] = 0.0
    parts = np.split(gains, np.cumsum(sizes)[:-1])
    return {area.name: part for area, part in zip(areas, parts, strict=True)}


def intact(policy: Policy) -> Policy:
    """The whole policy in the form of a lesioned one, so that it shares their program."""
    wiring = anatomy.wiring_of(policy.agent)
    if wiring is None:
        return policy
    return replace(policy, params=lesions.apply(policy.params, wiring))


def _numb(policy: Policy, sense: str) -> Policy:
    """A sense at its mean, in any network: whatever it tells, divided by infinity."""
    if not policy.agent.normalize_obs:
        raise ConfigError(
            f"cannot silence {sense!r}: this network neither tells its wiring nor normalises "
            "its senses"
        )
    std = policy.stats.std
    infinite = jnp.full_like(std[sense], jnp.inf)
    return replace(policy, stats=policy.stats.replace(std={**std, sense: infinite}))


def measure(
    policy: Policy,
    env: Env,
    parts: Iterable[Lesion],
    *,
    episodes: int,
    seed: int = 0,
    untrained: Policy | None = None,
    means: Mapping[str, np.ndarray] | None = None,
    show: Callable[[float], None] = lambda done: None,
) -> pd.DataFrame:
    """Behaviour under each lesion, on the same start states and first goals.

    Changes are paired: each episode against that of the intact network from the same start.
    Later goals of an episode differ, as do the actions that are sampled.

    Args:
        episodes: whole episodes per lesion, and per draw of random units.
        untrained: a control to play as well.
        means: activity at which areas are held (`Recording.mean`), for lesions of kind `held`.

    Returns:
        `kind, lesion, goals, ci95` (per episode), `change, change_ci95` (of goals, against the
        intact network), `seconds_per_goal` (of goals that were reached; NaN without any),
        `drop_rate, drop_change, drop_change_ci95`, the same of `time_out`,
        `episode_seconds, episodes`. `ci95`: half widths of 95 % intervals over episodes, of
        random units over their `draws` as well, whose goals lie between `least` and `most`. The
        first row is the intact network.

    Raises:
        ConfigError: fewer than two episodes, a part that the network does not have, or an area
            that is held without its mean.
    """
    if episodes < 2:
        raise ConfigError(
            f"--lesion-episodes is {episodes}: give at least 2, or 0 for none"
        )
    whole = [("intact", "intact", [intact(policy)])]
    cut = [
        (part.kind, part.name, [lesioned(policy, one, means) for one in _drawn(part)])
        for part in parts
    ]
    fresh = [] if untrained is None else [intact(untrained)]
    every = [*whole, *cut, *(("untrained", "untrained", [one]) for one in fresh)]
    number = sum(len(policies) for *_, policies in every)
    play = Evaluator(env, policy.agent, episodes)
    played = _played(play, [one for *_, policies in every for one in policies], seed)
    rows, before, done = [], None, 0
    for kind, name, policies in every:
        each = []
        for result, own in itertools.islice(played, len(policies)):
            before = before or own
            each.append(_row(result, own, before))
            done += 1
            show(done / number)
        rows.append({"kind": kind, "lesion": name} | _over_draws(each))
    return pd.DataFrame(rows)


def _played(
    play: Evaluator, policies: list[Policy], seed: int
) -> Iterator[tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """What came of each policy's episodes, in order; many share a batch, but in native physics."""
    wiring = anatomy.wiring_of(play.agent)
    sizes = play.agent.observation_sizes
    # Gains of rows do not go with areas and senses that are pictures.
    flat = wiring is not None and not any(map(streams.is_frames, sizes.values()))
    if play.env.physics.impl == "native" or not flat:
        for one in policies:
            yield play.each(one, seed=seed)
        return
    batches = -(-len(policies) * play.episodes // AT_ONCE)
    size = -(-len(policies) // batches)
    # The control has other weights, so it does not share a batch.
    for _, those in itertools.groupby(policies, lambda p: id(p.params["params"])):
        alike = list(those)
        for first in range(0, len(alike), size):
            some = alike[first : first + size]
            # Of one size, as each size is a compilation, which takes longer than to play more.
            full = [*some, *[some[-1]] * (size - len(some))]
            yield from play.together(full, seed=seed)[: len(some)]


def _drawn(part: Lesion) -> list[Lesion]:
    draws = range(DRAWS if part.kind == "random" else 1)
    return [replace(part, draw=draw) for draw in draws]


def _over_draws(rows: list[Row]) -> Row:
    """The mean of the rows of several draws; of one, the row.

    Intervals hold both which units were drawn and, as those of other lesions do, which episodes
    were played: draws share the episodes, and where all draws come to the same, they alone would
    seem to leave no doubt.
    """
    if len(rows) == 1:
        return rows[0] | {"draws": 1, "least": np.nan, "most": np.nan}
    every = pd.DataFrame(rows)
    row = every.mean().to_dict()  # seconds per goal: of the draws that reached any
    for name in every.columns[every.columns.str.endswith("ci95")]:
        what = {"ci95": "goals"}.get(name, name.removesuffix("_ci95"))
        row[name] = math.hypot(half_width(every[what].to_numpy()), row[name])
    goals = every["goals"]
    return row | {"draws": len(rows), "least": goals.min(), "most": goals.max()}


def _row(
    result: dict[str, Any], own: dict[str, np.ndarray], before: dict[str, np.ndarray]
) -> Row:
    change = own["goals"] - before["goals"]
    row = {
        "goals": result["goals"]["mean"],
        "ci95": half_width(own["goals"]),
        "change": change.mean(),
        "change_ci95": half_width(change),
        "seconds_per_goal": result["seconds_per_goal"] or np.nan,
    }
    for name, rate in (("dropped", "drop"), ("timed_out", "time_out")):
        change, half = _share_change(own[name], before[name])
        row |= {
            f"{rate}_rate": own[name].mean(),
            f"{rate}_change": change,
            f"{rate}_change_ci95": half,
        }
    return row | {k: result[k] for k in ("episode_seconds", "episodes")}


def _share_change(after: np.ndarray, before: np.ndarray) -> tuple[float, float]:
    """Difference of paired shares, 0 or 1 each, and half the width of its 95 % interval.

    Half an episode is added to each of the four outcomes of a pair, so that shares near 0 keep
    a width, and the difference is a little nearer to 0 than it was found (Agresti & Min 2005,
    Stat. Med. 24).
    """
    n = len(after) + 2.0
    gained = ((after > 0) & (before == 0)).sum() + 0.5
    lost = ((after == 0) & (before > 0)).sum() + 0.5
    variance = (gained + lost) - (gained - lost) ** 2 / n
    return float(gained - lost) / n, 1.96 * float(np.sqrt(variance)) / n
