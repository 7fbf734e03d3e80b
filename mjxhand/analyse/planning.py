"""Planning or executing: how far ahead an area tells what the hand will do.

Every lead is decoded on the same samples (those whose window of the longest lead is whole), so
that the profile is not one of ever fewer, ever longer attempts.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mjxhand.analyse import ridge, threads
from mjxhand.analyse.gather import PROFILE, PROFILE_SECONDS, Gathering
from mjxhand.analyse.moments import Moments
from mjxhand.analyse.ridge import Estimate, Scores
from mjxhand.config import ConfigError

SHORT, LONG = 0.0, 0.8
"""Leads, s, that the test of planning against executing compares."""


@dataclass(frozen=True)
class Comparison:
    """Area A against area B; paired differences of R², 95 % intervals over episodes."""

    a: str
    b: str
    now: Estimate  # A - B at the short lead
    ahead: Estimate  # A - B at the long lead
    change: Estimate  # ahead - now
    matched: Estimate  # ahead, with A reduced to as many components as B has units

    @property
    def a_leads(self) -> bool:
        """A foretells better, and its advantage grows with the lead."""
        return self.ahead.low > 0 and self.change.low > 0


def profile(gathering: Gathering, what: str = "command") -> pd.DataFrame:
    """R² of future actions by source and lead.

    Args:
        what: `command`, the mean of the policy's distribution, or `action`, what was sampled.

    Returns:
        `source, seconds, r2, low, high, samples`.
    """
    window = gathering.windows[PROFILE]
    rows = []
    sources = (*gathering.areas, *gathering.senses, "action")
    fits = threads.each(lambda name: _scores(window.sums.moments(name)), sources)
    for source, scores in fits:
        for lead in PROFILE_SECONDS:
            estimate = ridge.interval(scores, window.slices[f"{what} {lead:g}"])
            rows.append(
                {
                    "source": source,
                    "seconds": lead,
                    "r2": estimate.value,
                    "low": estimate.low,
                    "high": estimate.high,
                    "samples": window.sums.samples,
                }
            )
    return pd.DataFrame(rows)


def compare(
    gathering: Gathering,
    a: str,
    b: str,
    *,
    what: str = "command",
    short: float = SHORT,
    long: float = LONG,
) -> Comparison:
    """Test whether area `a` plans where area `b` executes (array names, `area/PMC`)."""
    window = gathering.windows[PROFILE]
    index = [window.slices[f"{what} {lead:g}"] for lead in (short, long)]
    found_a, found_b = window.sums.moments(a), window.sums.moments(b)
    scores_a, scores_b = _scores(found_a), _scores(found_b)
    reduced = _scores(leading(found_a, found_b.x_sum.shape[1]))
    return Comparison(
        a,
        b,
        ridge.difference(scores_a, scores_b, index[0]),
        ridge.difference(scores_a, scores_b, index[1]),
        interaction(scores_a, scores_b, index[0], index[1]),
        ridge.difference(reduced, scores_b, index[1]),
    )


def interaction(a: Scores, b: Scores, short: slice, long: slice) -> Estimate:
    """(A - B at targets `long`) - (A - B at targets `short`), paired over groups."""

    def gap(r2: np.ndarray) -> np.ndarray:
        return r2[..., long].mean(-1) - r2[..., short].mean(-1)

    value = float(gap(a.r2()) - gap(b.r2()))
    return ridge.jackknife(value, gap(a.leave_one_out()) - gap(b.leave_one_out()))


def leading(found: Moments, size: int) -> Moments:
    """The same of the `size` leading principal components of the predictors."""
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


def turns(
    gathering: Gathering, a: str, b: str, target: str = "future turn"
) -> pd.DataFrame:
    """Area A minus area B, R² of how far the cube will have turned, by lead.

    Each lead has its own samples (goals that last so long); paired 95 % intervals.

    Returns:
        `window, seconds, difference, low, high`; leads with too few samples are left out.
    """
    rows = []
    for window in gathering.windows.values():
        found = window.sums.moments(a), window.sums.moments(b)
        if target not in window.slices or found[0].count.min() < 2:
            continue
        index = window.slices[target]
        pair = [m.targets(index) for m in found]
        if ridge.constant(pair[0]).any():
            continue
        gap = ridge.difference(*map(ridge.cross_validate, pair))
        rows.append(
            {
                "window": window.name,
                "seconds": window.seconds,
                "difference": gap.value,
                "low": gap.low,
                "high": gap.high,
            }
        )
    columns = ["window", "seconds", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=columns)
