"""Saliency: how much of an area's activity, and of the actions, comes from each sense.

Integrated gradients along the straight line from a baseline to what was sensed, over a
window of time, so that what the recurrent area remembers is attributed as well:

    IG_i = (x_i - b_i) ∫₀¹ ∂f/∂x_i (b + α (x - b)) dα,   Σ_i IG_i = f(x) - f(b)

Reference: Sundararajan, Taly & Yan 2017, arXiv:1703.01365.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from mjxhand import streams
from mjxhand.agent import Agent
from mjxhand.analyse import retina
from mjxhand.analyse.anatomy import ACTIONS
from mjxhand.analyse.recorder import expected_action
from mjxhand.analyse.recording import SENSE, Recording
from mjxhand.config import ConfigError
from mjxhand.evaluate import Policy
from mjxhand.exact import exact
from mjxhand.networks import vision

WINDOW = 8
"""Control steps of a window; memory older than that is left out."""
WINDOWS = 48
"""Windows that are attributed."""
WINDOWS_OF_FRAMES = 6
"""The same where frames are seen, of which each has thousands of numbers."""
POINTS = 24
"""Points of the midpoint rule along the line."""
UNITS = 16
"""Most units of an area that are attributed."""


def integrated_gradients(
    fn: Callable[[Any], jax.Array], x: Any, baseline: Any, points: int = POINTS
) -> Any:
    """Attributions of each output of `fn` to each input.

    Args:
        fn: pytree of arrays → outputs `[O]`.
        x, baseline: pytrees of the same structure.

    Returns:
        Pytree like x, leaves `[O, ...]`; they sum to fn(x) - fn(baseline) but for the error
        of the midpoint rule.
    """
    difference = jax.tree.map(jnp.subtract, x, baseline)

    def gradient(total, alpha):
        at = jax.tree.map(lambda b, d: b + alpha * d, baseline, difference)
        return jax.tree.map(jnp.add, total, jax.jacrev(fn)(at)), None

    outputs = jax.eval_shape(fn, x).shape
    zeros = jax.tree.map(lambda v: jnp.zeros((*outputs, *jnp.shape(v))), x)
    alphas = (jnp.arange(points) + 0.5) / points
    total, _ = jax.lax.scan(gradient, zeros, alphas)
    return jax.tree.map(lambda t, d: t * d / points, total, difference)


def windows_for(policy: Policy) -> int:
    """How many windows are attributed."""
    return WINDOWS_OF_FRAMES if policy.config.env.vision == "pixels" else WINDOWS


def windows_of(
    recording: Recording, names: tuple[str, ...], count: int, window: int, seed: int
) -> dict[str, np.ndarray]:
    """Arrays `[count, window, size]` of windows inside one goal, by name.

    Args:
        names: arrays of the recording.

    Raises:
        ConfigError: no goal lasts so long.
    """
    rng = np.random.default_rng(seed)
    kept: dict[str, list[np.ndarray]] = {n: [] for n in names}
    share = -(-count // len(recording))
    for arrays in recording.shards([*names, "segment"]):
        segment = arrays["segment"]
        last = segment.shape[1] - window + 1
        env, start = np.nonzero(segment[:, :last] == segment[:, window - 1 :])
        if not len(env):
            continue
        drawn = rng.choice(len(env), min(share, len(env)), replace=False)
        for n in names:
            kept[n] += [arrays[n][env[i], start[i] : start[i] + window] for i in drawn]
    if not kept[names[0]]:
        raise ConfigError(f"no goal lasts {window} steps: record more (--steps)")
    return {n: np.stack(v)[:count] for n, v in kept.items()}


@dataclass(frozen=True)
class Attribution:
    """Attributions of what one area (or the actions) does last in each window."""

    grads: dict[str, np.ndarray]  # `[count, units, window, size]` by stream
    error: float  # largest |Σ IG - (f(x) - f(b))|, over the mean size of f(x) - f(b)


@exact
def attribute(
    policy: Policy,
    senses: dict[str, np.ndarray],
    areas: tuple[str, ...],
    seed: int = 0,
    show: Callable[[float], None] = lambda done: None,
) -> dict[str, Attribution]:
    """Attributions of areas' and the actions' last activity in each window, by area.

    The baseline is the mean of every sense (0 once normalised), of frames the mean of those
    given; memory begins at zero. All areas are attributed by one program, which no weights are
    compiled into.

    Args:
        senses: raw, `[count, window, size]` by stream; frames `[count, window, H, W, C]`.
        areas: areas of the network, or `ACTIONS`; of each at most `UNITS` units.
        show: called with the windows done.
    """
    agent = policy.agent
    count, window = next(iter(senses.values())).shape[:2]
    # The privileged stream reaches the critic only; a value is needed all the same.
    sizes = agent.observation_sizes
    every = streams.blank(sizes, count, window)
    normalized = agent.normalize({**every, **senses}, policy.stats)
    x = {n: jnp.asarray(normalized[n], jnp.float32) for n in senses}
    zero = {
        n: jnp.broadcast_to(jnp.mean(v, (0, 1)), v.shape[1:])
        if streams.is_frames(sizes[n])
        else jnp.zeros_like(v[0])
        for n, v in x.items()
    }
    chosen = _chosen(policy, zero, areas, seed)

    def some(params, obs):
        found = _last(agent, params, obs)
        return jnp.concatenate([found[a][u] for a, u in chosen.items()])

    @jax.jit
    def one(params, obs):
        grads = integrated_gradients(lambda v: some(params, v), obs, zero)
        return grads, some(params, obs) - some(params, zero)

    parts = []
    for index in range(count):
        obs = {n: v[index] for n, v in x.items()}
        grads, change = jax.device_get(one(policy.params, obs))
        # Frames as vectors, like all other senses.
        grads = {n: g.reshape(*g.shape[:2], -1) for n, g in grads.items()}
        parts.append((grads, change))
        show(index + 1)
    grads = {n: np.stack([g[n] for g, _ in parts]) for n in x}
    change = np.stack([c for _, c in parts])
    total = np.sum([g.sum((2, 3)) for g in grads.values()], axis=0)
    wrong = np.abs(total - change)
    attributed, start = {}, 0
    for area, units in chosen.items():
        own = slice(start, start + len(units))
        start += len(units)
        scale = max(float(np.abs(change[:, own]).mean()), 1e-12)
        attributed[area] = Attribution(
            {n: g[:, own] for n, g in grads.items()},
            float(wrong[:, own].max()) / scale,
        )
    return attributed


def _last(agent: Agent, params: Any, obs: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """What every area, and the policy, does after normalised senses `[window, size]`."""
    window = next(iter(obs.values())).shape[0]
    full = streams.blank(agent.observation_sizes, window, 1)
    full |= {n: v[:, None] for n, v in obs.items()}
    began = jnp.zeros((window, 1), bool)
    _, out = agent.apply(params, agent.initial_carry(1), full, began)
    command = expected_action(agent.distribution, out.logits)
    return {k: v[-1, 0] for k, v in ({**out.areas, ACTIONS: command}).items()}


def _chosen(
    policy: Policy, zero: dict[str, jax.Array], areas: tuple[str, ...], seed: int
) -> dict[str, np.ndarray]:
    """Units of each area that are attributed, drawn at random."""
    agent = policy.agent
    shapes = jax.eval_shape(lambda p, v: _last(agent, p, v), policy.params, zero)
    return {
        a: np.random.default_rng(seed).permutation(shapes[a].shape[0])[:UNITS]
        for a in areas
    }


def table(
    policy: Policy,
    recording: Recording,
    areas: tuple[str, ...],
    *,
    count: int | None = None,
    window: int = WINDOW,
    seed: int = 0,
    show: Callable[[float], None] = lambda done: None,
) -> pd.DataFrame:
    """Share of each sense in what drives each area and the actions.

    Returns:
        `source, sense, share` (of Σ |IG| over units, windows and time), `past` (share of
        that which comes from before the last step), `per_input` (share over the width of the
        sense, of the sum of that), `error` (of the integral, as in `attribute`).
    """
    names = [s for s in recording.of_kind(SENSE) if s != "privileged"]
    redraw = retina.redraw(policy)
    count = count or windows_for(policy)
    poses = retina.POSE if redraw else ()
    found = windows_of(
        recording, (*(SENSE + s for s in names), *poses), count, window, seed
    )
    senses = {s: found[SENSE + s] for s in names}
    if redraw:
        senses[vision.STREAM] = redraw(found)
    found = attribute(policy, senses, (*areas, ACTIONS), seed, show)
    rows = []
    for area, one in found.items():
        size = {s: float(np.abs(g).sum()) for s, g in one.grads.items()}
        wide = {s: size[s] / one.grads[s].shape[-1] for s in size}
        total, total_wide = sum(size.values()), sum(wide.values())
        for s, g in one.grads.items():
            before = float(np.abs(g[:, :, :-1]).sum())
            rows.append(
                {
                    "source": area,
                    "sense": s,
                    "share": size[s] / total if total else np.nan,
                    "past": before / size[s] if size[s] else np.nan,
                    "per_input": wide[s] / total_wide if total_wide else np.nan,
                    "error": one.error,
                }
            )
    return pd.DataFrame(rows)
