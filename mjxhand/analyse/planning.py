"""Planning: how far ahead an area tells what the hand will do.

Every lead is decoded on the same samples (those whose window of the longest lead is whole), so
that the profile is not one of ever fewer, ever longer attempts.
"""

import numpy as np
import pandas as pd

from mjxhand.analyse import evidence, ridge, threads
from mjxhand.analyse.gather import PROFILE, PROFILE_SECONDS, Gathering
from mjxhand.analyse.moments import Moments
from mjxhand.analyse.ridge import Blocks, Scores
from mjxhand.config import ConfigError

AHEAD = 0.8
"""Lead, s, at which planning is tested."""


def target(what: str, lead: float) -> str:
    """Name of a target of the profile: `command 0.8`."""
    return f"{what} {lead:g}"


def profile(
    gathering: Gathering, what: str = "command"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """R² of future actions by source and lead.

    Args:
        what: `command`, the mean of the acting network's distribution, or `action`, what was done.

    Returns:
        `source, target, seconds, r2, low, high, samples`; and the rows of `evidence`.

    Raises:
        ConfigError: too few goals last as long as the longest lead.
    """
    window = gathering.windows[PROFILE]
    rows, parts = [], []
    fits = threads.each(
        lambda name: _scores(window.sums.moments(name)), gathering.sources_ahead
    )
    for source, scores in fits:
        for lead, actual in window.leads.items():
            name = target(what, lead)
            found = ridge.blocks(scores, window.slices[name])
            estimate = found.estimate()
            rows.append(
                {
                    "source": source,
                    "target": what,
                    "seconds": actual,
                    "r2": estimate.value,
                    "low": estimate.low,
                    "high": estimate.high,
                    "samples": window.sums.samples,
                }
            )
            parts.append(evidence.row(source, PROFILE, name, found))
    return pd.DataFrame(rows), pd.DataFrame(parts)


def reduced(
    gathering: Gathering, a: str, b: str, what: str = "command", lead: float = AHEAD
) -> Blocks:
    """R² at a lead from area `a`, cut to as many leading components as `b` has units.

    Args:
        a: array name, `area/PMC`; so is `b`.

    Raises:
        ConfigError: as `profile`.
    """
    window = gathering.windows[PROFILE]
    size = window.sums.moments(b).x_sum.shape[1]
    scores = _scores(leading(window.sums.moments(a), size))
    return ridge.blocks(scores, window.slices[target(what, lead)])


def leading(found: Moments, size: int) -> Moments:
    """The same of the `size` leading principal components of the predictors, of all groups."""
    n = found.count.sum()
    mean = found.x_sum.sum(0) / n
    covariance = found.xx.sum(0) / n - np.outer(mean, mean)
    _, vectors = np.linalg.eigh(covariance)
    return found.project(vectors[:, ::-1][:, :size])


def _scores(found: Moments) -> Scores:
    if found.count.min() < 2:
        raise ConfigError(
            "too few goals last long enough for the planning profile "
            f"({PROFILE_SECONDS[-1]:g} s): record more steps (--steps)"
        )
    return ridge.cross_validate(found)
