"""Causality: what the hand can no longer do when a part of the network is silent.

Lesions act at run time, as gains beside the weights (`mjxhand.networks.lesions`): areas and
pathways send nothing, a recurrent area forgets at every step. All lesions share one compiled
program. A silent sense is one at its running mean: normalised observations are then 0.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
import pandas as pd

from mjxhand.agent import Agent
from mjxhand.analyse import anatomy
from mjxhand.analyse.anatomy import ACTIONS
from mjxhand.config import ConfigError
from mjxhand.env import Env
from mjxhand.evaluate import Evaluator, Policy
from mjxhand.networks import lesions
from mjxhand.wiring import Pathway, Wiring

Kind = Literal["area", "pathway", "sense", "recurrence"]


@dataclass(frozen=True)
class Lesion:
    """A part of a network to silence."""

    kind: Kind
    source: str = ""
    """The area or sense; of a pathway, where it begins; empty: the memory of all areas."""
    target: str = ""
    """Of a pathway, where it ends: an area, or `actions`."""

    @property
    def name(self) -> str:
        """For tables: `PMC`, `LPFC → PMC`, `touch`, `memory of PMC`."""
        if self.kind == "pathway":
            return f"{self.source} → {self.target}"
        if self.kind == "recurrence":
            return f"memory of {self.source or 'all areas'}"
        return self.source


def possible(agent: Agent) -> list[Lesion]:
    """Every lesion of a network: areas, senses, memories, pathways.

    Of a network that does not tell its wiring, the senses alone.
    """
    wiring = anatomy.wiring_of(agent)
    senses = [Lesion("sense", s) for s in anatomy.senses_of(agent)]
    if wiring is None:
        return senses
    memories = [Lesion("recurrence", a) for a in anatomy.recurrent(agent)]
    return [
        *(Lesion("area", a.name) for a in wiring.areas),
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


def lesioned(policy: Policy, lesion: Lesion) -> Policy:
    """The policy with a part of its network silent.

    Raises:
        ConfigError: the network has no such part.
    """
    parts = possible(policy.agent)
    if any(p.kind == "recurrence" for p in parts):
        parts.append(Lesion("recurrence"))
    if lesion not in parts:
        known = [p.name for p in possible(policy.agent) if p.kind == lesion.kind]
        raise ConfigError(
            f"no {lesion.kind} {lesion.name!r}; there are: {', '.join(known) or 'none'}"
        )
    wiring = anatomy.wiring_of(policy.agent)
    if wiring is None:
        return _numb(policy, lesion.source)
    part: dict[str, Any] = {"areas": [lesion.source]}
    if lesion.kind == "pathway":
        ends = (lesion.source, lesion.target)
        cut = [str(p) for p in _acting(wiring) if (p.source, _end(p)) == ends]
        part = {"pathways": cut}
    elif lesion.kind == "recurrence":
        every = anatomy.recurrent(policy.agent)
        part = {"memories": [lesion.source] if lesion.source else every}
    return replace(policy, params=lesions.apply(policy.params, wiring, **part))


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
    show: Callable[[float], None] = lambda done: None,
) -> pd.DataFrame:
    """Behaviour under each lesion, on the same start states and first goals.

    Args:
        episodes: whole episodes per lesion.
        untrained: a control to play as well.

    Returns:
        `kind, lesion, goals, ci95` (per episode), `change, change_ci95` (against the intact
        network, intervals of independent means), `seconds_per_goal` (NaN without goals),
        `drop_rate, time_out_rate` (with 95 % half widths `drop_ci95`, `time_out_ci95`),
        `episode_seconds, episodes`. The first row is the intact one.
    """
    if episodes < 2:
        raise ConfigError(
            f"--lesion-episodes is {episodes}: give at least 2, or 0 for none"
        )
    play = Evaluator(env, policy.agent, episodes)
    whole = [("intact", "intact", intact(policy))]
    cut = [(part.kind, part.name, lesioned(policy, part)) for part in parts]
    fresh = [] if untrained is None else [("untrained", "untrained", intact(untrained))]
    rows: list[dict] = []
    every = [*whole, *cut, *fresh]
    for number, (kind, name, one) in enumerate(every):
        rows.append(_row(kind, name, play(one, seed=seed), rows[0] if rows else None))
        show((number + 1) / len(every))
    return pd.DataFrame(rows)


def _row(kind: str, name: str, result: dict[str, Any], whole: dict | None) -> dict:
    goals, ci = result["goals"]["mean"], result["goals"]["ci95"]
    before = (goals, 0.0) if whole is None else (whole["goals"], whole["ci95"])
    return {
        "kind": kind,
        "lesion": name,
        "goals": goals,
        "ci95": ci,
        "change": goals - before[0],
        "change_ci95": 0.0 if whole is None else float(np.hypot(ci, before[1])),
        "seconds_per_goal": result["seconds_per_goal"] or np.nan,
        "drop_rate": result["drop_rate"],
        "drop_ci95": _share_ci95(result["drop_rate"], result["episodes"]),
        "time_out_rate": result["time_out_rate"],
        "time_out_ci95": _share_ci95(result["time_out_rate"], result["episodes"]),
        "episode_seconds": result["episode_seconds"],
        "episodes": result["episodes"],
    }


def _share_ci95(share: float, n: int) -> float:
    """Half width of the 95 % interval of a share of n, Agresti & Coull 1998, Am. Stat. 52."""
    centre = (share * n + 2.0) / (n + 4.0)
    return 1.96 * float(np.sqrt(centre * (1.0 - centre) / (n + 4.0)))
