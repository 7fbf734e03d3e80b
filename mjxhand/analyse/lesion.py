"""Causality: what the hand can no longer do when a part of the network is silent.

`lesioned` is the one place that knows how a lesion is made: areas, pathways and senses by
setting rows of the kernels that read them to zero, recurrence by starting the memory
afresh at every step.

A silent sense is one replaced by its running mean: normalised observations are then 0, which is
what a kernel without those rows sees.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from mjxhand.agent import Agent
from mjxhand.config import ConfigError
from mjxhand.env import Env
from mjxhand.evaluate import Evaluator, Policy
from mjxhand.networks.fpn import FPN
from mjxhand.wiring import PRIVILEGED

Kind = Literal["area", "pathway", "sense", "recurrence"]


@dataclass(frozen=True)
class Lesion:
    """A part of a network to silence."""

    kind: Kind
    source: str = ""  # the area or sense; of a pathway, where it begins
    target: str = ""  # of a pathway, where it ends

    @property
    def name(self) -> str:
        """For tables: `PMC`, `LPFC → PMC`, `touch`, `recurrence`."""
        if self.kind == "pathway":
            return f"{self.source} → {self.target}"
        return self.source or self.kind


@dataclass(frozen=True)
class Edge:
    """One source of one kernel: the rows that read it."""

    source: str
    target: str  # an area, or a head
    path: tuple[str, ...]  # of the kernel in the parameters
    rows: slice


class Forgetful(Agent):
    """An agent whose recurrent state is zero before every step."""

    def act(self, params, stats, carry, obs, began):
        """As `Agent.act`, with every step the first of an episode."""
        return super().act(params, stats, carry, obs, jnp.ones_like(began))


def edges(agent: Agent) -> list[Edge]:
    """Every source of every kernel on the way from the senses to the actions."""
    found: list[Edge] = []

    def add(path: tuple[str, ...], target: str, sources: Iterable[tuple[str, int]]):
        start = 0
        for source, size in sources:
            rows = slice(start, start + size)
            found.append(Edge(source, target, path, rows))
            start += size

    sizes = dict(agent.observation_sizes)
    network = agent.network
    if isinstance(network, FPN):
        sizes |= {a.name: a.units for a in network.wiring.areas}
        for area in network.wiring.areas:
            first = "recurrent" if area.recurrent and area.layers == 1 else "layer1"
            sources = [(s, sizes[s]) for s in network.wiring.sources(area.name)]
            add((area.name, first), area.name, sources)
        add(("policy_head",), "actions", [(s, sizes[s]) for s in network.wiring.policy])
    else:
        sources = [(s, sizes[s]) for s in sorted(sizes) if s != PRIVILEGED]
        several = len(network.dense_units) > 1
        for index, units in enumerate(network.dense_units):
            name = f"dense{index + 1}" if several else "dense"
            add(("policy", name), name, sources)
            sources = [(name, units)]
        if network.recurrent_units:
            add(("policy", "recurrent"), "recurrent", sources)
            sources = [("recurrent", network.recurrent_units)]
        add(("policy", "logits"), "actions", sources)
    return found


def possible(agent: Agent) -> list[Lesion]:
    """Every lesion of a network: areas, senses, pathways, recurrence."""
    every = edges(agent)
    sources = list(dict.fromkeys(e.source for e in every))
    senses = [s for s in sources if s in agent.observation_sizes]
    areas = [s for s in sources if s not in agent.observation_sizes]
    pathways = dict.fromkeys((e.source, e.target) for e in every)
    return [
        *(Lesion("area", a) for a in areas),
        *(Lesion("sense", s) for s in senses),
        Lesion("recurrence"),
        *(Lesion("pathway", s, t) for s, t in pathways),
    ]


def lesioned(policy: Policy, lesion: Lesion) -> Policy:
    """The policy with a part of its network silent.

    Raises:
        ConfigError: the network has no such part.
    """
    if lesion.kind == "recurrence":
        agent = policy.agent
        forgetful = Forgetful(
            agent.network,
            agent.distribution,
            agent.observation_sizes,
            agent.normalize_obs,
        )
        return replace(policy, agent=forgetful)
    cut = [
        e
        for e in edges(policy.agent)
        if e.source == lesion.source and lesion.target in ("", e.target)
    ]
    if not cut:
        known = ", ".join(
            p.name for p in possible(policy.agent) if p.kind == lesion.kind
        )
        raise ConfigError(f"no {lesion.kind} {lesion.name!r}; there are: {known}")
    is_sense = lesion.source in policy.agent.observation_sizes
    mean = None
    if is_sense and not policy.agent.normalize_obs:
        mean = policy.stats.mean[lesion.source]
    params = policy.params
    for edge in cut:
        params = _silence(params, edge, mean)
    return replace(policy, params=params)


def _silence(params: Any, edge: Edge, mean: jax.Array | None) -> Any:
    """Parameters whose kernel no longer reads a source; `mean`: what it then reads instead."""

    def cut(tree: Any, path: tuple[str, ...]) -> Any:
        if path:
            return {**tree, path[0]: cut(tree[path[0]], path[1:])}
        kernel, bias = tree["kernel"], tree["bias"]
        if mean is not None:
            bias = bias + mean @ kernel[edge.rows]
        return {**tree, "kernel": kernel.at[edge.rows].set(0.0), "bias": bias}

    return cut(params, ("params", *edge.path))


def measure(
    policy: Policy,
    env: Env,
    lesions: Iterable[Lesion],
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
        `drop_rate, time_out_rate, episode_seconds, episodes`. The first row is the intact one.
    """
    if episodes < 2:
        raise ConfigError(
            f"--lesion-episodes is {episodes}: give at least 2, or 0 for none"
        )
    lesions = list(lesions)
    play = Evaluator(env, policy.agent, episodes)
    rows = [_row("intact", "intact", play(policy, seed=seed), None)]
    total = len(lesions) + 1 + (untrained is not None)
    show(1 / total)
    for number, lesion in enumerate(lesions):
        cut = lesioned(policy, lesion)
        # Only another agent needs another program; lesions of weights share one.
        run = play if cut.agent is policy.agent else Evaluator(env, cut.agent, episodes)
        rows.append(_row(lesion.kind, lesion.name, run(cut, seed=seed), rows[0]))
        show((number + 2) / total)
    if untrained is not None:
        rows.append(_row("untrained", "untrained", play(untrained, seed=seed), rows[0]))
        show(1.0)
    return pd.DataFrame(rows)


def _row(kind: str, name: str, result: dict[str, Any], intact: dict | None) -> dict:
    goals, ci = result["goals"]["mean"], result["goals"]["ci95"]
    reference = (goals, 0.0) if intact is None else (intact["goals"], intact["ci95"])
    return {
        "kind": kind,
        "lesion": name,
        "goals": goals,
        "ci95": ci,
        "change": goals - reference[0],
        "change_ci95": 0.0 if intact is None else float(np.hypot(ci, reference[1])),
        "seconds_per_goal": result["seconds_per_goal"] or np.nan,
        "drop_rate": result["drop_rate"],
        "time_out_rate": result["time_out_rate"],
        "episode_seconds": result["episode_seconds"],
        "episodes": result["episodes"],
    }
