"""Tuning: which turns of the cube excite which unit; and paths of activity by goal.

A turn belongs to the axis of the hand's space nearest to its own: +x points along the
fingers, +z up, out of the palm; the sign is that of a right-handed turn.
"""

import numpy as np
import pandas as pd

from mjxhand.analyse.decoding import permuted
from mjxhand.analyse.recording import Recording
from mjxhand.config import ConfigError

TURNS = ("+x", "−x", "+y", "−y", "+z", "−z")
SMALLEST = 0.1
"""Turns smaller than this, rad, have no class."""
PERMUTATIONS = 100


def turn_class(rotation: np.ndarray, smallest: float = SMALLEST) -> np.ndarray:
    """Index into `TURNS` of rotation vectors `[n, 3]` (rad); -1 where there is hardly a turn."""
    axis = np.abs(rotation).argmax(-1)
    along = np.take_along_axis(rotation, axis[..., None], -1)[..., 0]
    index = 2 * axis + (along < 0)
    return np.where(np.linalg.norm(rotation, axis=-1) < smallest, -1, index)


def tuning(
    x: np.ndarray,
    label: np.ndarray,
    episode: np.ndarray,
    *,
    classes: int = len(TURNS),
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> pd.DataFrame:
    """Tuning of each unit to a class of each sample.

    Args:
        x: activity `[n, U]`, ordered by episode and time.
        label: int `[n]` in 0 … classes-1; -1 is left out.
        episode: int `[n]`.

    Returns:
        `unit`, `mean 0` … (activity by class, in the unit's deviations from its mean),
        `preferred` (class), `eta2` (share of variance between classes), `chance` (its 95 %
        quantile when whole episodes change places) and `tuned` (above what the
        best of all units reaches by chance in 95 % of the permutations).

    Raises:
        ConfigError: fewer than two classes occur.
    """
    use = label >= 0
    x, label, episode = x[use], label[use], episode[use]
    if len(np.unique(label)) < 2:
        raise ConfigError("tuning needs at least two classes of turns in the sample")
    deviation = x.std(0)
    alive = deviation > 1e-6
    z = (x[:, alive] - x[:, alive].mean(0)) / deviation[alive]
    eta, means = _eta2(z, label, classes)
    rng = np.random.default_rng(seed)
    null = np.array(
        [
            _eta2(z, permuted(label[:, None], episode, rng)[:, 0], classes)[0]
            for _ in range(permutations)
        ]
    )
    table = {"unit": np.flatnonzero(alive)}
    table |= {f"mean {c}": means[c] for c in range(classes)}
    table["preferred"] = np.nan_to_num(means, nan=-np.inf).argmax(0)
    table["eta2"] = eta
    table["chance"] = np.quantile(null, 0.95, axis=0)
    table["tuned"] = eta > np.quantile(null.max(1), 0.95)
    return pd.DataFrame(table)


def _eta2(z: np.ndarray, label: np.ndarray, classes: int):
    """Share of variance between classes `[U]` and class means `[C, U]` of standardised z."""
    member = (label[:, None] == np.arange(classes)).astype(np.float32)
    count = member.sum(0)[:, None]
    means = np.where(count > 0, member.T @ z / np.maximum(count, 1), np.nan)
    return (count * np.nan_to_num(means) ** 2).sum(0) / len(z), means


def paths(
    recording: Recording, name: str, *, steps: int = 20, components: int = 3
) -> tuple[pd.DataFrame, float]:
    """Mean path of an area's activity from a goal's start, by the turn that it asks for.

    Args:
        name: array, `area/PMC`.
        steps: control steps followed; goals reached sooner leave the mean.

    Returns:
        `turn, seconds, pc1 …, goals` (in how many the mean is); and the share of the
        variance of all mean paths that lies between turns (not in the time course they share).
    """
    if "remaining" not in recording.sizes:
        raise ConfigError("goals of this task are not orientations: no turn is wanted")
    total: np.ndarray | None = None
    counts = np.zeros((len(TURNS), steps))
    for arrays in recording.shards([name, "remaining", "segment"]):
        x, segment = arrays[name], arrays["segment"]
        first = np.zeros(segment.shape, bool)
        first[:, 1:] = segment[:, 1:] != segment[:, :-1]
        env, start = np.nonzero(first)
        label = turn_class(arrays["remaining"][env, start])
        if total is None:
            total = np.zeros((len(TURNS), steps, x.shape[2]))
        for step in range(steps):
            at = start + step
            ok = at < segment.shape[1]
            ok[ok] &= segment[env[ok], at[ok]] == segment[env[ok], start[ok]]
            ok &= label >= 0
            np.add.at(total[:, step], label[ok], x[env[ok], at[ok]])
            np.add.at(counts[:, step], label[ok], 1)
    if total is None or not (counts > 0).all():
        raise ConfigError(
            "too few goals of some turns for their paths: record more steps (--steps)"
        )
    mean = total / counts[..., None]
    flat = (mean - mean.mean((0, 1))).reshape(-1, mean.shape[2])
    _, _, vectors = np.linalg.svd(flat, full_matrices=False)
    low = (flat @ vectors[:components].T).reshape(*counts.shape, -1)
    between = mean - mean.mean(0)
    share = float(np.square(between).sum() / np.square(flat).sum())
    rows = [
        {"turn": TURNS[c], "seconds": step * recording.step_seconds}
        | {f"pc{i + 1}": low[c, step, i] for i in range(low.shape[2])}
        | {"goals": int(counts[c, step])}
        for c in range(len(TURNS))
        for step in range(steps)
    ]
    return pd.DataFrame(rows), share
