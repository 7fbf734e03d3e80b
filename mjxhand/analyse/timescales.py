"""Time scales: for how long an area's activity stays like itself.

They are those of the activity, not intrinsic ones of the area: an area without memory has those
of the senses that reach it, and what senses do slowly, as a goal that stays, is in them.

Reference: Murray et al. 2014, Nat. Neurosci. 17 (a decaying exponential with an offset, fitted
to the autocorrelation; there the mean time course of trials was taken away first, here not).
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.optimize import curve_fit

from mjxhand.analyse import gather, threads
from mjxhand.analyse.recording import Recording

LAGS = (*range(11), 12, 14, 16, 20, 25, 30, 35, 40, 50)
"""Lags, control steps."""
MAX_SAMPLES = 200_000


class Autocorrelation:
    """Autocorrelation of each unit, summed over blocks; never across an episode's end."""

    def __init__(self, lags: tuple[int, ...] = LAGS):
        self.lags = lags
        self._sums: list[np.ndarray] = []
        self._count = np.zeros(len(lags))

    def add(self, x: np.ndarray, episode: np.ndarray) -> None:
        """Add activity `[N, T, U]` with its episodes, int `[N, T]`."""
        n, t, u = x.shape
        x = x.astype(np.float32, copy=False)
        if not self._sums:
            self._shift = x.mean((0, 1), dtype=np.float64).astype(np.float32)
            self._sums = [np.zeros((len(self.lags), u)) for _ in range(5)]
        x = x - self._shift
        # Whether a step has a later, or an earlier, partner at each lag: sums over those that
        # do are products with these, which is much faster than to pick them out.
        early, late = np.zeros((2, len(self.lags), n, t), np.float32)
        products = np.zeros((n, t, u), np.float32)
        for i, lag in enumerate(self.lags):
            if lag >= t:
                continue
            same = episode[:, : t - lag] == episode[:, lag:]
            early[i, :, : t - lag] = late[i, :, lag:] = same
            self._count[i] += same.sum()
            # Where there is no partner the weight is 0, whatever an earlier lag left there.
            np.multiply(x[:, : t - lag], x[:, lag:], out=products[:, : t - lag])
            self._sums[4][i] += early[i].reshape(-1) @ products.reshape(-1, u)
        weights = [w.reshape(len(self.lags), -1) for w in (early, late)]
        for at, values in ((0, x), (2, np.square(x))):
            for which, weight in enumerate(weights):
                self._sums[at + which] += weight @ values.reshape(-1, u)

    def values(self) -> np.ndarray:
        """Correlation of activity with itself by lag and unit, `[lags, U]`; NaN if constant.

        Means are those of all episodes, not of each: what differs between
        episodes is the offset at long lags.
        """
        n = np.maximum(self._count, 1)[:, None]
        a, b, aa, bb, ab = (s / n for s in self._sums)
        spread = (aa - a * a) * (bb - b * b)
        alive = spread > 1e-16
        r = (ab - a * b) / np.sqrt(np.where(alive, spread, np.nan))
        return np.where(self._count[:, None] > 1, r, np.nan)


def time_scale(r: np.ndarray, seconds: np.ndarray) -> tuple[float, float]:
    """τ (s) and offset B of r = A (exp(-t/τ) + B), fitted from the first lag after 0 on.

    NaN, NaN where nothing can be fitted, or τ is longer than the longest lag with data: such
    a decay is not seen within the lags.
    """
    use = (seconds > 0) & np.isfinite(r)
    if use.sum() < 4:
        return np.nan, np.nan

    def model(t, tau, amplitude, level):
        return amplitude * np.exp(-t / tau) + level

    def slopes(t, tau, amplitude, level):
        decay = np.exp(-t / tau)
        return np.stack([amplitude * decay * t / tau**2, decay, np.ones_like(t)], 1)

    longest = float(seconds[use].max())
    start = (longest / 5, max(float(r[use][0] - r[use][-1]), 0.1), float(r[use][-1]))
    bounds = ((1e-3, 0.0, -1.0), (20 * longest, 3.0, 1.0))
    start = tuple(np.clip(start, *bounds))
    try:
        (tau, amplitude, level), _ = curve_fit(
            model,
            seconds[use],
            r[use],
            p0=start,
            jac=slopes,
            bounds=bounds,
            maxfev=2000,
        )
    except RuntimeError:  # did not converge
        return np.nan, np.nan
    if amplitude < 1e-3 or tau > longest:
        return np.nan, np.nan
    return float(tau), float(level / amplitude)


def of_recording(
    recording: Recording,
    names: tuple[str, ...],
    max_samples: int = MAX_SAMPLES,
    show: Callable[[float], None] = lambda done: None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Time scales of areas and senses, by array name.

    Returns:
        By source: `source, tau` (s, of the mean autocorrelation), `offset`, `tau_median`,
        `tau_low`, `tau_high` (quartiles over units with a fit), `units` (with a fit),
        `unfitted` (share of the units that vary without one: mostly slow ones, so that the
        quartiles are too low where it is large). And the mean autocorrelation: `source,
        seconds, r`.
    """
    size = recording.settings.envs * recording.settings.length
    shards = min(len(recording), max(1, max_samples // size))
    sums = {name: Autocorrelation() for name in names}
    for shard in range(shards):
        episode = recording.read(shard, ["episode"])["episode"]

        def one(name: str, shard=shard, episode=episode):
            sums[name].add(recording.read(shard, [name])[name], episode)

        for _ in threads.each(one, names, most=gather.AT_ONCE):
            pass
        show(len(recording) * (shard + 1) / shards)
    seconds = np.array(LAGS) * recording.step_seconds
    rows, curves = [], []
    for name in names:
        r = sums[name].values()
        alive = np.isfinite(r[0])
        # A unit that is silent in the pairs of some lag has no value there.
        known = np.isfinite(r).sum(1)
        mean = np.where(known > 0, np.nansum(r, axis=1) / np.maximum(known, 1), np.nan)
        tau, offset = time_scale(mean, seconds)
        each = np.array(
            [time_scale(r[:, u], seconds)[0] for u in np.flatnonzero(alive)]
        )
        varying, each = len(each), each[np.isfinite(each)]
        quartiles = np.quantile(each, (0.25, 0.5, 0.75)) if len(each) else [np.nan] * 3
        rows.append(
            {
                "source": name,
                "tau": tau,
                "offset": offset,
                "tau_low": quartiles[0],
                "tau_median": quartiles[1],
                "tau_high": quartiles[2],
                "units": len(each),
                "unfitted": 1.0 - len(each) / varying if varying else np.nan,
            }
        )
        curves += [
            {"source": name, "seconds": s, "r": v}
            for s, v in zip(seconds, mean, strict=True)
        ]
    return pd.DataFrame(rows), pd.DataFrame(curves)
