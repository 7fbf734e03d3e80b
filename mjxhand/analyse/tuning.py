"""Tuning: which turns of the cube, or which goals, excite which unit; paths of activity by goal.

A turn belongs to the nearest axis of the world, in which the forearm is fixed: +x points along
the fingers and +z up, out of the palm, while the wrist is straight; the sign is that of a
right-handed turn. The wrist turns the hand against these axes. Where goals are no orientations
but few (opposition: four fingers), each goal is a class of its own.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mjxhand import tasks
from mjxhand.analyse.decoding import permuted
from mjxhand.analyse.recording import Recording
from mjxhand.config import ConfigError

TURNS = ("+x", "−x", "+y", "−y", "+z", "−z")
SMALLEST = 0.1
"""Turns smaller than this, rad, have no class."""
MADE = "0.8 s"
"""Window whose turn of the cube is the one made."""
PERMUTATIONS = 100
MOST_GOALS = 12
"""Most goals that are told apart one by one."""


def turn_class(rotation: np.ndarray, smallest: float = SMALLEST) -> np.ndarray:
    """Index into `TURNS` of rotation vectors `[n, 3]` (rad); -1 where there is hardly a turn."""
    axis = np.abs(rotation).argmax(-1)
    along = np.take_along_axis(rotation, axis[..., None], -1)[..., 0]
    index = 2 * axis + (along < 0)
    return np.where(np.linalg.norm(rotation, axis=-1) < smallest, -1, index)


@dataclass(frozen=True)
class Goals:
    """How goals of a task are told apart: by the turn they ask for, or one by one."""

    names: tuple[str, ...]
    values: np.ndarray | None = None
    """Of goals told apart one by one: each `[C, size]`; None: turns."""

    def label(self, arrays: dict[str, np.ndarray]) -> np.ndarray:
        """Class of samples, int `[...]`, from `remaining` or `goal` `[..., size]`; -1: none."""
        if self.values is None:
            return turn_class(arrays["remaining"])
        far = np.abs(arrays["goal"][..., None, :] - self.values).max(-1)
        return np.where(far.min(-1) < 1e-3, far.argmin(-1), -1)


def goals_of(recording: Recording) -> Goals | None:
    """Classes of a recording's goals; None: they are neither turns nor few."""
    if "remaining" in recording.sizes:
        return Goals(TURNS)
    goal = recording.read(0, ["goal"])["goal"]
    values = np.unique(goal.reshape(-1, goal.shape[-1]).round(3), axis=0)
    if not 2 <= len(values) <= MOST_GOALS:
        return None
    values = values[::-1]  # of goals that are a choice, 1 0 0 … comes first
    known = tasks.find(recording.config.env.task).goal_names
    if known:
        return Goals(tuple(known[i] for i in values.argmax(-1)), values)
    return Goals(tuple(f"goal {i + 1}" for i in range(len(values))), values)


def tuning(
    x: np.ndarray,
    label: np.ndarray,
    start: np.ndarray,
    *,
    classes: tuple[str, ...] = TURNS,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> pd.DataFrame:
    """Tuning of each unit to a class of each sample.

    Args:
        x: activity `[n, U]`, ordered by start state, episode and time.
        label: int `[n]`, index into `classes`; -1 is left out.
        start: start state of each sample's episode, int `[n]`.

    Returns:
        `unit`, `mean +x` … (activity by class, in the unit's deviations from its mean),
        `preferred` (class), `eta2` (share of variance between classes), `chance` (its 95 %
        quantile when whole start states change places) and `tuned` (above what the
        best of all units reaches by chance in 95 % of the permutations); units that vary.

    Raises:
        ConfigError: fewer than two classes occur.
    """
    use = label >= 0
    x, label, start = x[use], label[use], start[use]
    if len(np.unique(label)) < 2:
        raise ConfigError("tuning needs at least two classes in the sample")
    deviation = x.std(0)
    alive = deviation > 1e-6
    z = (x[:, alive] - x[:, alive].mean(0)) / deviation[alive]
    eta, means = _eta2(z, label, len(classes))
    rng = np.random.default_rng(seed)
    null = np.array(
        [
            _eta2(z, permuted(label[:, None], start, rng)[:, 0], len(classes))[0]
            for _ in range(permutations)
        ]
    )
    table: dict[str, np.ndarray] = {"unit": np.flatnonzero(alive)}
    table |= {f"mean {name}": mean for name, mean in zip(classes, means, strict=True)}
    table["preferred"] = np.array(classes)[np.nan_to_num(means, nan=-np.inf).argmax(0)]
    table["eta2"] = eta
    table["chance"] = np.quantile(null, 0.95, axis=0)
    # Of a silent area no unit is left.
    table["tuned"] = eta > np.quantile(null.max(1, initial=0.0), 0.95)
    return pd.DataFrame(table)


def _eta2(z: np.ndarray, label: np.ndarray, classes: int):
    """Share of variance between classes `[U]` and class means `[C, U]` of standardised z."""
    member = (label[:, None] == np.arange(classes)).astype(np.float32)
    count = member.sum(0)[:, None]
    means = np.where(count > 0, member.T @ z / np.maximum(count, 1), np.nan)
    return (count * np.nan_to_num(means) ** 2).sum(0) / len(z), means


def paths(
    recording: Recording,
    name: str,
    goals: Goals,
    *,
    steps: int = 20,
    components: int = 3,
) -> tuple[pd.DataFrame, float]:
    """Mean path of an area's activity from a goal's start, by the class of the goal.

    Goals that begin an episode are left out: memory is empty there, and the hand at rest.

    Args:
        name: array, `area/PMC`.
        goals: the classes (`goals_of`).
        steps: control steps followed; goals reached sooner leave the mean.

    Returns:
        `goal, seconds, pc1 …, goals` (in how many the mean is); and the share of the
        variance of all mean paths that lies between classes (not in the time course they
        share), from products of two halves of the environments: noise of the means, which
        differs between halves, adds nothing, and the share may come out below 0. NaN where
        the halves share no variance.

    Raises:
        ConfigError: of some class there are too few goals.
    """
    halves, numbers = _path_sums(recording, name, goals, steps)
    if not (numbers > 0).all():
        raise ConfigError(
            "too few goals of some kinds for their paths: record more steps (--steps)"
        )
    counts = numbers.sum(0)
    mean = halves.sum(0) / counts[..., None]
    flat = (mean - mean.mean((0, 1))).reshape(-1, mean.shape[2])
    _, _, vectors = np.linalg.svd(flat, full_matrices=False)
    low = (flat @ vectors[:components].T).reshape(*counts.shape, -1)
    one, other = halves / numbers[..., None]
    whole = ((one - one.mean((0, 1))) * (other - other.mean((0, 1)))).sum()
    between = ((one - one.mean(0)) * (other - other.mean(0))).sum()
    share = float(between / whole) if whole > 0 else float("nan")
    rows = [
        {"goal": goal, "seconds": step * recording.step_seconds}
        | {f"pc{i + 1}": low[c, step, i] for i in range(low.shape[2])}
        | {"goals": int(counts[c, step])}
        for c, goal in enumerate(goals.names)
        for step in range(steps)
    ]
    return pd.DataFrame(rows), share


def _path_sums(
    recording: Recording, name: str, goals: Goals, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sums of activity `[2, C, steps, U]` after a goal's start, and of how many goals.

    By halves: even and odd environments.
    """
    shape = (2, len(goals.names), steps)
    total = np.zeros((*shape, recording.sizes[name]))
    counts = np.zeros(shape)
    given = "remaining" if goals.values is None else "goal"
    for arrays in recording.shards([name, given, "segment", "began"]):
        x, segment = arrays[name], arrays["segment"]
        first = np.zeros(segment.shape, bool)
        first[:, 1:] = segment[:, 1:] != segment[:, :-1]
        first &= ~arrays["began"]
        env, start = np.nonzero(first)
        label = goals.label({given: arrays[given][env, start]})
        for step in range(steps):
            at = start + step
            ok = (at < segment.shape[1]) & (label >= 0)
            ok[ok] &= segment[env[ok], at[ok]] == segment[env[ok], start[ok]]
            place = env[ok] % 2, label[ok]
            np.add.at(total[:, :, step], place, x[env[ok], at[ok]])
            np.add.at(counts[:, :, step], place, 1)
    return total, counts
