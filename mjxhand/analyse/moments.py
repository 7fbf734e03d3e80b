"""Sums over samples from which every linear analysis follows, gathered block by block.

A recording may be larger than memory; its sums are not. They are kept apart for G groups of
whole episodes (all of one start state in the same), so that leaving groups out
(cross-validation, jackknife) costs a subtraction.

Axes: n samples, U predictors, K targets, G groups.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mjxhand.config import ConfigError

GROUPS = 10
"""Groups of start states: folds of the cross-validation and blocks of the jackknife."""


@dataclass(frozen=True)
class Moments:
    """Sums of predictors x and targets y by group."""

    count: np.ndarray  # [G]
    x_sum: np.ndarray  # [G, U]
    y_sum: np.ndarray  # [G, K]
    xx: np.ndarray  # [G, U, U]
    xy: np.ndarray  # [G, U, K]
    yy: np.ndarray  # [G, K] sums of squares

    @property
    def groups(self) -> int:
        """G."""
        return len(self.count)

    @property
    def samples(self) -> int:
        """n, over all groups."""
        return int(self.count.sum())

    def predictors(self, index) -> "Moments":
        """The same of some of the predictors."""
        index = np.arange(self.x_sum.shape[1])[index]
        return Moments(
            self.count,
            self.x_sum[:, index],
            self.y_sum,
            self.xx[:, index[:, None], index],
            self.xy[:, index],
            self.yy,
        )

    def targets(self, index) -> "Moments":
        """The same of some of the targets."""
        return Moments(
            self.count,
            self.x_sum,
            self.y_sum[:, index],
            self.xx,
            self.xy[:, :, index],
            self.yy[:, index],
        )

    def project(self, basis: np.ndarray) -> "Moments":
        """The same with x replaced by x @ basis `[U, P]`."""
        return Moments(
            self.count,
            self.x_sum @ basis,
            self.y_sum,
            basis.T @ self.xx @ basis,
            basis.T @ self.xy,
            self.yy,
        )


class Gathered:
    """Adds blocks of samples to `Moments` of several sources with the same targets.

    Values are shifted by the mean of the first block before they are squared, which no
    variance notices but rounding does.

    Args:
        groups: G.
        inner: another, whose samples are among this one's in every block, with the same
            sources: products of the predictors are then only made of what is left.
    """

    def __init__(self, groups: int = GROUPS, inner: "Gathered | None" = None):
        self.groups = groups
        self._inner = inner
        self._count = np.zeros(groups)
        self._shift: dict[str, np.ndarray] = {} if inner is None else inner._shift
        self._y_shift: np.ndarray | None = None
        self._sums: dict[str, list[np.ndarray]] = {}  # x and xy of all, [G, ...]
        self._own: dict[str, np.ndarray] = {}  # xx of what is not in `inner`, [G, U, U]
        self._y: list[np.ndarray] = []
        self._block: tuple = ()
        self._used = np.zeros(0, bool)

    def targets(
        self, y: np.ndarray, group: np.ndarray, used: np.ndarray | None = None
    ) -> None:
        """Begin a block of n samples.

        Args:
            y: targets of those that are used, `[m, K]`.
            group: int `[n]` in 0 … G-1.
            used: bool `[n]`; default: all.
        """
        used = np.ones(len(group), bool) if used is None else used
        new = used
        if self._inner is not None:
            if (self._inner._used & ~used).any():
                raise ValueError("the inner samples are not all among the outer ones")
            new = used & ~self._inner._used
        rows = np.flatnonzero(used)
        # Those of a group side by side, new ones last.
        order = np.lexsort((new[rows], group[rows]))
        rows = rows[order]
        edges = np.searchsorted(group[rows], np.arange(self.groups + 1))
        slices = [slice(a, b) for a, b in itertools.pairwise(edges)]
        fresh = [slice(s.stop - int(new[rows[s]].sum()), s.stop) for s in slices]
        self._count += np.diff(edges)
        y = y.astype(np.float32, copy=False)
        if self._y_shift is None and len(y):
            self._y_shift = _mean(y)
        y = (y if self._y_shift is None else y - self._y_shift)[order]
        if not self._y:
            shape = (self.groups, y.shape[1])
            self._y = [np.zeros(shape), np.zeros(shape)]
        for g, part in enumerate(slices):
            self._y[0][g] += y[part].sum(0, dtype=np.float64)
            self._y[1][g] += np.square(y[part]).sum(0, dtype=np.float64)
        self._block, self._used = (rows, order, slices, fresh, y), used

    def source(self, name: str, x: np.ndarray, chosen: bool = False) -> None:
        """Add a source's x `[n, U]` of the block begun last; `chosen`: of the m samples used."""
        rows, order, slices, fresh, y = self._block
        x = self._shifted(name, x, order if chosen else rows)
        if name not in self._sums:
            u, k = x.shape[1], y.shape[1]
            self._sums[name] = [np.zeros((self.groups, *s)) for s in ((u,), (u, k))]
        sums, xy = self._sums[name]
        for g, part in enumerate(slices):
            sums[g] += x[part].sum(0, dtype=np.float64)
            xy[g] += x[part].T @ y[part]
        if any(part.stop > part.start for part in fresh):
            if name not in self._own:
                self._own[name] = np.zeros((self.groups, x.shape[1], x.shape[1]))
            for xx, part in zip(self._own[name], fresh, strict=True):
                if part.stop > part.start:
                    xx += x[part].T @ x[part]

    def moments(self, name: str) -> Moments:
        """What was gathered of one source."""
        sums, xy = self._sums[name]
        return Moments(self._count, sums, self._y[0], self._xx(name), xy, self._y[1])

    @property
    def samples(self) -> int:
        """Samples added so far."""
        return int(self._count.sum())

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources."""
        return tuple(self._sums)

    def _xx(self, name: str) -> np.ndarray:
        own = self._own.get(name)
        if self._inner is None or not self._inner._count.any():
            u = self._sums[name][0].shape[1]
            return np.zeros((self.groups, u, u)) if own is None else own
        inner = self._inner._xx(name)
        return inner if own is None else inner + own

    def _shifted(self, name: str, x: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The rows of x as float32, shifted."""
        if name not in self._shift and len(x):
            self._shift[name] = _mean(x)
        x = x[rows].astype(np.float32, copy=False)
        if len(x):
            x -= self._shift[name]
        return x


class Held:
    """Predictors in memory, x `[n, U]`, whose own sums are made once for many targets.

    Args:
        group: int `[n]`.
        groups: G.
    """

    def __init__(self, x: np.ndarray, group: np.ndarray, groups: int = GROUPS):
        self._order = np.argsort(group, kind="stable")
        edges = np.searchsorted(group[self._order], np.arange(groups + 1))
        self._slices = [slice(a, b) for a, b in itertools.pairwise(edges)]
        x = x.astype(np.float32, copy=False)
        self._x = (x - _mean(x))[self._order]
        blocks = [self._x[part] for part in self._slices]
        self.count = np.array([len(block) for block in blocks], float)
        self.x_sum = np.stack([block.sum(0, dtype=np.float64) for block in blocks])
        self.xx = np.stack([(block.T @ block).astype(np.float64) for block in blocks])

    def moments(self, y: np.ndarray) -> Moments:
        """With targets y `[n, K]`."""
        y = y.astype(np.float32, copy=False)
        y = (y - _mean(y))[self._order]
        return Moments(
            self.count,
            self.x_sum,
            np.stack([y[part].sum(0, dtype=np.float64) for part in self._slices]),
            self.xx,
            np.stack([self._x[part].T @ y[part] for part in self._slices], dtype=float),
            np.stack([np.square(y[p]).sum(0, dtype=np.float64) for p in self._slices]),
        )


def of(
    x: np.ndarray, y: np.ndarray, group: np.ndarray, groups: int = GROUPS
) -> Moments:
    """Moments of arrays in memory: x `[n, U]`, y `[n, K]`, group `[n]`."""
    return Held(x, group, groups).moments(y)


def _mean(x: np.ndarray) -> np.ndarray:
    return x.mean(0, dtype=np.float64).astype(np.float32)


def group_of(start: np.ndarray, groups: int = GROUPS) -> np.ndarray:
    """Group of each sample from its episode's start state: whole starts, dealt in turn.

    Args:
        start: int `[...]`, from `starts.of`; the episode's id where no two begin alike.

    Raises:
        ConfigError: fewer than two start states per group.
    """
    ids, index = np.unique(start, return_inverse=True)
    if len(ids) < 2 * groups:
        raise ConfigError(
            f"episodes from only {len(ids)} start states for {groups} groups: record more "
            f"steps (--steps), or use at most {len(ids) // 2} groups (--groups)"
        )
    return (index % groups).reshape(start.shape).astype(np.int32)


class Joint:
    """Moments of all named variables together; any of them may predict any other.

    Args:
        sizes: width of each variable, by name, in order.
    """

    def __init__(self, sizes: dict[str, int], groups: int = GROUPS):
        edges = np.cumsum([0, *sizes.values()])
        self.sizes = dict(sizes)
        self.slices = {
            name: slice(int(a), int(b))
            for name, a, b in zip(sizes, edges[:-1], edges[1:], strict=True)
        }
        self.groups = groups
        self._gathered = Gathered(groups)

    def add(self, values: dict[str, np.ndarray], group: np.ndarray) -> None:
        """Add n samples: arrays `[n, size]` by name."""
        z = np.concatenate([values[name] for name in self.sizes], axis=1)
        self._gathered.targets(z[:, :0], group)
        self._gathered.source("z", z)

    def index(self, names: Sequence[str]) -> np.ndarray:
        """Columns of the variables, int `[U]`."""
        return np.concatenate([np.r_[self.slices[name]] for name in names])

    @property
    def samples(self) -> int:
        """n."""
        return self._gathered.samples

    def moments(self, x: Sequence[str], y: Sequence[str]) -> Moments:
        """Moments of variables x as predictors of variables y."""
        whole = self._gathered.moments("z")
        a, b = self.index(x), self.index(y)
        return Moments(
            whole.count,
            whole.x_sum[:, a],
            whole.x_sum[:, b],
            whole.xx[:, a[:, None], a],
            whole.xx[:, a[:, None], b],
            np.stack([np.diag(xx)[b] for xx in whole.xx]),
        )

    def covariance(self, x: str, y: str, leave_out: int | None = None) -> np.ndarray:
        """Covariance `[U, V]` of two variables, all groups or all but one."""
        whole = self._gathered.moments("z")
        keep = [g for g in range(self.groups) if g != leave_out]
        a, b = self.slices[x], self.slices[y]
        n = whole.count[keep].sum()
        mean_a, mean_b = (whole.x_sum[keep, at].sum(0) / n for at in (a, b))
        # Group by group: the sums of all variables together are large.
        product = sum(whole.xx[g, a, b] for g in keep)
        return product / n - np.outer(mean_a, mean_b)

    def parts(self, x: str, y: str) -> np.ndarray:
        """What each group adds to the covariance of two variables, `[G, U, V]`.

        Sums of products of deviations from the mean of all groups.
        """
        whole = self._gathered.moments("z")
        a, b = self.slices[x], self.slices[y]
        n = whole.count.sum()
        mean_a, mean_b = (whole.x_sum[:, at].sum(0) / n for at in (a, b))
        from_a = whole.x_sum[:, a] - whole.count[:, None] * mean_a
        return (
            whole.xx[:, a, b]
            - from_a[:, :, None] * mean_b
            - mean_a[:, None] * whole.x_sum[:, None, b]
        )
