"""Saliency: how much of an area's activity, and of the actions, comes from each sense.

Integrated gradients along the straight line from a baseline to what was sensed, over a
window of time, so that what the recurrent area remembers is attributed as well:

    IG_i = (x_i - b_i) ∫₀¹ ∂f/∂x_i (b + α (x - b)) dα,   Σ_i IG_i = f(x) - f(b)

Reference: Sundararajan, Taly & Yan 2017, arXiv:1703.01365.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from mjxhand.analyse.anatomy import ACTIONS
from mjxhand.analyse.recorder import expected_action
from mjxhand.analyse.recording import SENSE, Recording
from mjxhand.config import ConfigError
from mjxhand.evaluate import Policy

WINDOW = 8
"""Control steps of a window; memory older than that is left out."""
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


def windows_of(
    recording: Recording, senses: tuple[str, ...], count: int, window: int, seed: int
) -> dict[str, np.ndarray]:
    """Raw senses `[count, window, size]` of windows inside one goal, by stream name.

    Raises:
        ConfigError: no goal lasts so long.
    """
    rng = np.random.default_rng(seed)
    kept: dict[str, list[np.ndarray]] = {s: [] for s in senses}
    share = -(-count // len(recording))
    for arrays in recording.shards([*(SENSE + s for s in senses), "segment"]):
        segment = arrays["segment"]
        last = segment.shape[1] - window + 1
        env, start = np.nonzero(segment[:, :last] == segment[:, window - 1 :])
        if not len(env):
            continue
        drawn = rng.choice(len(env), min(share, len(env)), replace=False)
        for s in senses:
            kept[s] += [
                arrays[SENSE + s][env[i], start[i] : start[i] + window] for i in drawn
            ]
    if not kept[senses[0]]:
        raise ConfigError(f"no goal lasts {window} steps: record more (--steps)")
    return {s: np.stack(v)[:count] for s, v in kept.items()}


def attribute(
    policy: Policy, senses: dict[str, np.ndarray], area: str, seed: int = 0
) -> tuple[dict[str, np.ndarray], float]:
    """Attributions of an area's (or the actions') last activity in each window.

    The baseline is the mean of every sense (0 once normalised); memory begins at zero.

    Args:
        senses: raw, `[count, window, size]` by stream.
        area: an area of the network, or `ACTIONS`.

    Returns:
        Attributions `[count, units, window, size]` by stream, and the largest error
        |Σ IG - (f(x) - f(b))| over the mean size of f(x) - f(b).
    """
    agent = policy.agent
    # The privileged stream reaches the critic only; a value is needed all the same.
    given = {
        n: np.zeros((1, 1, s), np.float32) for n, s in agent.observation_sizes.items()
    }

    def forward(obs):
        window = next(iter(obs.values())).shape[0]
        full = {
            n: jnp.broadcast_to(v, (window, 1, v.shape[2])) for n, v in given.items()
        }
        full |= {n: v[:, None] for n, v in obs.items()}
        began = jnp.zeros((window, 1), bool)
        _, out = agent.apply(policy.params, agent.initial_carry(1), full, began)
        if area == ACTIONS:
            return expected_action(agent.distribution, out.logits)[-1, 0]
        return out.areas[area][-1, 0]

    every = {n: np.zeros((*next(iter(senses.values())).shape[:2], s), np.float32)
             for n, s in agent.observation_sizes.items()}  # fmt: skip
    normalized = agent.normalize({**every, **senses}, policy.stats)
    x = {n: jnp.asarray(normalized[n]) for n in senses}
    zero = {n: jnp.zeros_like(v[0]) for n, v in x.items()}
    units = jax.eval_shape(forward, zero).shape[0]
    chosen = np.random.default_rng(seed).permutation(units)[:UNITS]

    def some(obs):
        return forward(obs)[chosen]

    one = jax.jit(lambda v: integrated_gradients(some, v, zero))
    found = [jax.device_get(one({n: v[i] for n, v in x.items()})) for i in range(
        len(next(iter(x.values())))
    )]  # fmt: skip
    grads = {n: np.stack([f[n] for f in found]) for n in x}
    change = np.asarray(jax.jit(jax.vmap(some))(x) - some(zero))
    total = sum(g.sum((2, 3)) for g in grads.values())
    error = float(np.abs(total - change).max() / max(np.abs(change).mean(), 1e-12))
    return grads, error


def table(
    policy: Policy,
    recording: Recording,
    areas: tuple[str, ...],
    *,
    count: int = 48,
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
    streams = [s for s in recording.of_kind(SENSE) if s != "privileged"]
    senses = windows_of(recording, tuple(streams), count, window, seed)
    rows = []
    for number, area in enumerate((*areas, ACTIONS)):
        grads, error = attribute(policy, senses, area, seed)
        size = {s: float(np.abs(g).sum()) for s, g in grads.items()}
        wide = {s: size[s] / grads[s].shape[-1] for s in size}
        total, total_wide = sum(size.values()), sum(wide.values())
        for s, g in grads.items():
            before = float(np.abs(g[:, :, :-1]).sum())
            rows.append(
                {
                    "source": area,
                    "sense": s,
                    "share": size[s] / total if total else np.nan,
                    "past": before / size[s] if size[s] else np.nan,
                    "per_input": wide[s] / total_wide if total_wide else np.nan,
                    "error": error,
                }
            )
        show(number + 1)
    return pd.DataFrame(rows)
