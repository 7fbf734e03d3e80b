"""Cross-validated ridge regression in closed form, from sums alone.

Every group of episodes is predicted by a model fitted to the others, whose penalty was chosen
per target on one of the others. Predictors are standardised on the fitted groups; R² does not
depend on the scale of a target.

References: Hoerl & Kennard 1970, Technometrics 12 (ridge); Efron & Stein 1981, Ann. Stat. 9
(jackknife).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from mjxhand.analyse.moments import Held, Moments
from mjxhand.config import ConfigError

PENALTIES = tuple(10.0 ** np.arange(-5, 4))
"""Ridge penalties tried, in units of a standardised predictor's variance. Under the largest
little but the mean is left of noise, so that it scores about 0. Of many units that share few
latents, whose eigenvalues are as large as their number, it leaves more."""
# A predictor whose variance is below this part of the largest carries rounding only.
_DEAD = 1e-9


@dataclass(frozen=True)
class Scores:
    """Squared errors on groups that were left out."""

    error: np.ndarray  # [G, K] of the prediction
    total: np.ndarray  # [G, K] of the mean of the fitted groups

    def r2(self) -> np.ndarray:
        """1 - Σ error / Σ total per target `[K]`; below 0: worse than the mean."""
        return _one_minus(self.error.sum(0), self.total.sum(0))

    def leave_one_out(self) -> np.ndarray:
        """`r2` without each group in turn, `[G, K]`."""
        error = self.error.sum(0) - self.error
        return _one_minus(error, self.total.sum(0) - self.total)


def _one_minus(error: np.ndarray, total: np.ndarray) -> np.ndarray:
    """1 - error / total; NaN where nothing varies."""
    return 1.0 - error / np.where(total > 0, total, np.nan)


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Blocks:
    """A number from all groups, and from all but each of them; differences are paired."""

    value: float
    left_out: np.ndarray  # [G]

    def __sub__(self, other: "Blocks") -> "Blocks":
        return Blocks(self.value - other.value, self.left_out - other.left_out)

    def estimate(self) -> Estimate:
        """With its 95 % interval."""
        return jackknife(self.value, self.left_out)


def jackknife(value: float, left_out: np.ndarray) -> Estimate:
    """95 % interval of a statistic from its values without each of G blocks, `[G]`.

    se² = (G-1)/G Σ (θ_g - mean θ)²,  interval ± t(0.975, G-1) se
    """
    g = len(left_out)
    error = np.sqrt((g - 1) / g * np.square(left_out - left_out.mean()).sum())
    half = t_quantile(g) * float(error)
    return Estimate(float(value), float(value) - half, float(value) + half)


def t_quantile(groups: int) -> float:
    """Half width of a 95 % interval over G blocks, in standard errors."""
    return float(stats.t.ppf(0.975, groups - 1))


def interval(scores: Scores, index: Any = slice(None)) -> Estimate:
    """Mean R² over some of the targets, with its 95 % interval over groups."""
    return blocks(scores, index).estimate()


def blocks(scores: Scores, index: Any = slice(None)) -> Blocks:
    """Mean R² over some of the targets, whole and without each group."""
    left_out = scores.leave_one_out()[:, index].mean(1)
    return Blocks(float(scores.r2()[index].mean()), left_out)


def constant(moments: Moments) -> np.ndarray:
    """Bool `[K]`: targets that do not vary within some group, so that R² has no meaning."""
    n = moments.count[:, None]
    variance = moments.yy / n - np.square(moments.y_sum / n)
    scale = moments.yy / n + 1e-30
    return np.any(variance <= 1e-7 * scale, axis=0)


def cross_validate(
    moments: Moments, penalties=PENALTIES, bases: "Bases | None" = None
) -> Scores:
    """Errors of ridge regression on left-out groups, for every target at once.

    Args:
        bases: of the same predictors, to spare their making again for other targets.

    Raises:
        ConfigError: fewer than three groups that hold samples.
    """
    groups = moments.groups
    if groups < 3 or (moments.count < 2).any():
        raise ConfigError(
            f"cross-validation needs at least 3 groups of start states with samples in each, "
            f"not {int((moments.count >= 2).sum())} of {groups}: record more steps"
        )
    bases = bases or Bases(moments)
    errors, totals = [], []
    for group in range(groups):
        # Groups choose the penalty for each other in pairs, which share that model.
        inner = group ^ 1 if group ^ 1 < groups else 0
        fit = bases.fit(moments, (group, inner))
        tried = _tried(fit, moments, inner, penalties, bases)
        chosen = np.asarray(penalties)[tried.argmin(0)]
        fit = bases.fit(moments, (group,))
        errors.append(_error(fit, moments, group, chosen))
        totals.append(_total(fit, moments, group))
    return Scores(np.stack(errors), np.stack(totals))


@dataclass(frozen=True)
class _Fit:
    """Eigenvectors of the standardised predictors' covariance, and what they tell of y."""

    left_out: tuple[int, ...]
    x_mean: np.ndarray  # [U]
    y_mean: np.ndarray  # [K]
    basis: np.ndarray  # [U, R] columns: eigenvectors over the deviations
    values: np.ndarray  # [R] eigenvalues
    along: np.ndarray  # [R, K] covariance of each direction with y


class Bases:
    """Eigenvectors of predictors with groups left out, made when first asked for.

    Args:
        predictors: `Moments` or `Held`, of which only the predictors' own sums are used.
    """

    def __init__(self, predictors: Moments | Held):
        self._of = predictors
        self._made: dict[tuple[int, ...], tuple[np.ndarray, ...]] = {}
        self._spread: dict[tuple[tuple[int, ...], int], np.ndarray] = {}

    def fit(self, m: Moments, left_out: tuple[int, ...]) -> _Fit:
        """Fit to the targets of `m`, whose predictors are those the bases were made for."""
        left_out = tuple(sorted(left_out))
        keep = ~np.isin(np.arange(m.groups), left_out)
        if left_out not in self._made:
            self._made[left_out] = _decompose(self._of, keep)
        x_mean, basis, values = self._made[left_out]
        n = m.count[keep].sum()
        y_mean = m.y_sum[keep].sum(0) / n
        cross = m.xy[keep].sum(0) / n - np.outer(x_mean, y_mean)
        return _Fit(left_out, x_mean, y_mean, basis, values, basis.T @ cross)

    def spread(self, fit: _Fit, group: int) -> np.ndarray:
        """Products of a group's deviations from the fit's mean along its basis, `[R, R]`."""
        key = fit.left_out, group
        if key not in self._spread:
            n, x = self._of.count[group], self._of.x_sum[group]
            # Of symmetric matrices, in one product of two columns.
            about = np.stack([x, fit.x_mean], 1) @ np.stack(
                [-fit.x_mean, n * fit.x_mean - x]
            )
            self._spread[key] = fit.basis.T @ (self._of.xx[group] + about) @ fit.basis
        return self._spread[key]


def _decompose(m: Moments | Held, keep: np.ndarray) -> tuple[np.ndarray, ...]:
    """Mean, eigenvectors over the deviations, and eigenvalues."""
    n = m.count[keep].sum()
    x_mean = m.x_sum[keep].sum(0) / n
    cov = m.xx[keep].sum(0) / n - np.outer(x_mean, x_mean)
    variance = np.diag(cov).clip(0)
    alive = variance > _DEAD * max(variance.max(initial=0.0), 1e-30)
    scale = np.zeros_like(variance)
    scale[alive] = 1.0 / np.sqrt(variance[alive])
    values, vectors = np.linalg.eigh(cov * scale[:, None] * scale)
    return x_mean, scale[:, None] * vectors, values.clip(0)


def _cross(fit: _Fit, m: Moments, group: int) -> np.ndarray:
    """Products of a group's deviations from the fit's means of x and y, `[U, K]`."""
    n, x, y = m.count[group], m.x_sum[group], m.y_sum[group]
    left = np.stack([x, fit.x_mean], 1)
    return m.xy[group] + left @ np.stack([-fit.y_mean, n * fit.y_mean - y])


def _total(fit: _Fit, m: Moments, group: int) -> np.ndarray:
    """Squared deviations of a group's targets from the fit's mean, `[K]`."""
    n, y = m.count[group], m.y_sum[group]
    return m.yy[group] - 2 * y * fit.y_mean + n * np.square(fit.y_mean)


def _tried(fit: _Fit, m: Moments, group: int, penalties, bases: Bases) -> np.ndarray:
    """Squared errors on one group by penalty, less what all have in common, `[P, K]`.

    In the eigenbasis, where a penalty costs one product. Single precision will do to choose.
    """
    spread = bases.spread(fit, group).astype(np.float32)
    cross = fit.basis.T @ _cross(fit, m, group)
    errors = []
    for penalty in penalties:
        weights = fit.along / (fit.values[:, None] + penalty)
        single = weights.astype(np.float32)
        bend = (single * (spread @ single)).sum(0, dtype=np.float64)
        errors.append(bend - 2 * (weights * cross).sum(0))
    return np.stack(errors)


def _error(fit: _Fit, m: Moments, group: int, penalty: np.ndarray) -> np.ndarray:
    """Squared errors `[K]` on one group, with a penalty `[K]` for each target.

    Outside the eigenbasis, into which the predictors' products would have to be brought.
    """
    weights = fit.basis @ (fit.along / (fit.values[:, None] + penalty))
    n, x = m.count[group], m.x_sum[group] @ weights
    mean = fit.x_mean @ weights
    bend = (weights * (m.xx[group] @ weights)).sum(0) - 2 * x * mean + n * mean**2
    reached = (weights * _cross(fit, m, group)).sum(0)
    return _total(fit, m, group) - 2 * reached + bend
