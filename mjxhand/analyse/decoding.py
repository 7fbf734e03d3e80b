"""Decoding: how much of a quantity can be read from an area's activity.

Cross-validated ridge regression, and for comparison a nonlinear one (`fourier`). What is left
out, and permuted for chance, are all episodes of a start state (`starts`).
"""

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from mjxhand.analyse import evidence, ridge, threads
from mjxhand.analyse import moments as moments_module
from mjxhand.analyse.fourier import fourier_features
from mjxhand.analyse.gather import PAST, PRESENT, PROFILE, Gathering, Window
from mjxhand.analyse.moments import GROUPS, Moments
from mjxhand.analyse.targets import component_names
from mjxhand.config import ConfigError

PERMUTATIONS = 20
CURVED = (PRESENT, PAST, "0.8 s", "success 0.8 s")
"""Windows that have a nonlinear control."""


def decode(
    x: np.ndarray,
    y: np.ndarray,
    start: np.ndarray,
    *,
    groups: int = GROUPS,
    nonlinear: bool = False,
    seed: int = 0,
) -> tuple[ridge.Estimate, np.ndarray]:
    """Decode targets from activity, for use on arrays.

    Args:
        x: activity `[n, U]`.
        y: targets `[n, K]`.
        start: start state of each sample's episode, int `[n]` (`starts.of`); the episode's
            id where no two episodes begin alike.
        groups: number of folds; all samples of a start state are in the same one.
        nonlinear: use random Fourier features as well.
        seed: of these features.

    Returns:
        Mean R² over the targets that vary, with its 95 % interval; R² of each `[K]`, NaN for
        a constant one.

    Raises:
        ConfigError: too few start states, no target that varies, or arrays that do not fit.
    """
    if not (len(x) == len(y) == len(start)):
        raise ConfigError(
            f"x, y and start have {len(x)}, {len(y)} and {len(start)} samples"
        )
    if nonlinear:
        x = fourier_features(x, seed=seed)
    found = moments_module.of(x, y, moments_module.group_of(start, groups), groups)
    varies = ~ridge.constant(found)
    if not varies.any():
        raise ConfigError("no target varies in every group")
    scores = ridge.cross_validate(found.targets(varies))
    r2 = np.full(y.shape[1], np.nan)
    r2[varies] = scores.r2()
    return ridge.interval(scores), r2


def permuted(y: np.ndarray, start: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each start state's samples with the targets of another start state.

    From the beginning of that one; repeated, or cut, where lengths differ. Laid end to end
    instead, the targets of one start would reach over the borders of two: they would hang less
    together with activity than whole start states do by chance.

    Args:
        y: `[n, K]`, ordered by start state, episode and time.
        start: int `[n]`, each number in one run.
    """
    first = np.r_[True, start[1:] != start[:-1]]
    begin = np.flatnonzero(first)
    lengths = np.diff(np.r_[begin, len(start)])
    run = np.cumsum(first) - 1
    other = rng.permutation(len(begin))[run]
    return y[begin[other] + (np.arange(len(start)) - begin[run]) % lengths[other]]


def chance(
    x: np.ndarray,
    y: np.ndarray,
    start: np.ndarray,
    group: np.ndarray,
    groups: int,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> np.ndarray:
    """R² of decoding permuted targets, `[P, K]`.

    Many permutations are the targets of one regression: their predictors' sums are the same.

    Args:
        x: activity `[n, U]`.
        y: targets `[n, K]`, ordered by start state, episode and time.
        start: start state of each sample's episode, int `[n]`, each number in one run.
        group: fold of each sample, int `[n]` in 0 … groups-1 (`moments.group_of`).
        groups: number of folds.
        permutations: P.
        seed: of the permutations.
    """
    held = moments_module.Held(x, group, groups)
    return _chance(held, ridge.Bases(held), y, start, permutations, seed)


def _chance(held, bases, y, start, permutations, seed) -> np.ndarray:
    rng = np.random.default_rng(seed)
    # So many at once that their targets stay small beside the activity.
    at_once = max(1, 500 // y.shape[1])
    found = []
    for done in range(0, permutations, at_once):
        count = min(at_once, permutations - done)
        mixed = np.concatenate([permuted(y, start, rng) for _ in range(count)], axis=1)
        scores = ridge.cross_validate(held.moments(mixed), bases=bases)
        found.append(scores.r2().reshape(count, y.shape[1]))
    return np.concatenate(found)


def table(
    gathering: Gathering,
    *,
    windows: Iterable[str] | None = None,
    permutations: int = PERMUTATIONS,
    nonlinear: bool = True,
    seed: int = 0,
    show: Callable[[float], None] = lambda done: None,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Decoding of every target from every source.

    Returns:
        By target: `source, window, seconds, target, r2, low, high` (95 %), `chance` and
        `chance_high` (mean and 95 % quantile over permutations), `p`, `nonlinear`, and
        `linear_same` (linear, on the nonlinear one's samples; both in the windows `CURVED`),
        `components`, `left_out`
        (constant components, by name), `samples`. By component: `r2` of each. And the rows of
        `evidence`.
    """
    # The profile's leads are `planning`'s: the same targets on fewer samples.
    names = list(windows or (n for n in gathering.windows if n != PROFILE))
    every = [(name, source) for name in names for source in gathering.sources]

    def one(what: tuple[str, str]):
        window = gathering.windows[what[0]]
        return _row(gathering, window, what[1], permutations, nonlinear, seed)

    found = ([], [], [])
    for done, (_, more) in enumerate(threads.each(one, every)):
        for rows, new in zip(found, more, strict=True):
            rows += new
        show((done + 1) / len(every))
    rows, parts, blocks = map(pd.DataFrame, found)
    return rows, parts, blocks


def usable(found: Moments) -> bool:
    """Whether every group holds samples enough to be predicted."""
    return bool((found.count >= 2).all())


def _row(
    gathering: Gathering, window: Window, source: str, permutations, nonlinear, seed
):
    found = window.sums.moments(source)
    if not usable(found):
        return [], [], []
    varies = ~ridge.constant(found)
    if not varies.any():  # no goal was ever reached, say
        return [], [], []
    scores = ridge.cross_validate(found.targets(varies))
    column = np.cumsum(varies) - 1  # of a target in `scores`
    null, curved, straight = _controls(
        gathering, window, source, varies, permutations, nonlinear, seed
    )
    rows, parts, left_out_rows = [], [], []
    for target, at in window.slices.items():
        size = at.stop - at.start
        labels = component_names(target, size)
        inside = [i for i in range(at.start, at.stop) if varies[i]]
        left_out = [
            labels[i - at.start] for i in range(at.start, at.stop) if not varies[i]
        ]
        if not inside:
            continue
        index = column[inside]
        blocks = ridge.blocks(scores, index)
        estimate = blocks.estimate()
        left_out_rows.append(evidence.row(source, window.name, target, blocks))
        levels = np.nanmean(null[:, index], axis=1) if len(null) else np.array([])
        rows.append(
            {
                "source": source,
                "window": window.name,
                "seconds": window.seconds,
                "target": target,
                "r2": estimate.value,
                "low": estimate.low,
                "high": estimate.high,
                "chance": levels.mean() if len(levels) else np.nan,
                "chance_high": np.quantile(levels, 0.95) if len(levels) else np.nan,
                "p": (1 + (levels >= estimate.value).sum()) / (1 + len(levels))
                if len(levels)
                else np.nan,
                "nonlinear": np.nanmean(curved[index]) if len(curved) else np.nan,
                "linear_same": np.nanmean(straight[index]) if len(straight) else np.nan,
                "components": len(inside),
                "left_out": ", ".join(left_out),
                "samples": found.samples,
            }
        )
        parts += [
            {"source": source, "window": window.name, "component": labels[i - at.start],
             "r2": scores.r2()[column[i]]}
            for i in inside
        ]  # fmt: skip
    return rows, parts, left_out_rows


def _controls(gathering, window, source, varies, permutations, nonlinear, seed):
    """Chance `[P, K']`, nonlinear `[K']` and linear `[K']` R² on the kept sample."""
    kept = gathering.kept
    valid = kept.valid[window.name]
    empty = np.array([])
    counts = np.bincount(kept.group[valid], minlength=gathering.groups)
    if counts.min() < 20:
        return empty, empty, empty
    x, y = kept.sources[source][valid], kept.y[window.name][valid][:, varies]
    start, group = kept.start[valid], kept.group[valid]
    # Half as many groups: it costs half, and these are compared with each other only.
    fewer = max(3, gathering.groups // 2)
    group = group % fewer
    held = moments_module.Held(x, group, fewer)
    bases = ridge.Bases(held)
    null = empty
    if permutations:
        null = _chance(held, bases, y, start, permutations, seed)
    if not nonlinear or window.name not in CURVED:
        return null, empty, empty
    straight = ridge.cross_validate(held.moments(y), bases=bases).r2()
    del held, bases  # as large as those of the features to come
    curved = moments_module.of(fourier_features(x, seed=seed), y, group, fewer)
    return null, ridge.cross_validate(curved).r2(), straight
