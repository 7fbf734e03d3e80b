"""Integration: how many dimensions an area's activity has, and which areas are alike.

References: Gao et al. 2017, bioRxiv 214262 (participation ratio); Kornblith et al. 2019,
arXiv:1905.00414 (linear CKA); Kriegeskorte et al. 2008, Front. Syst. Neurosci. 2 (RSA).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from mjxhand.analyse.moments import Joint
from mjxhand.analyse.ridge import jackknife
from mjxhand.config import ConfigError

RSA_SAMPLES = 1000


def participation_ratio(covariance: np.ndarray) -> float:
    """(Σ λ)² / Σ λ² of a covariance `[U, U]`: 1 for a line, U for a sphere; 0 without variance."""
    square = float(np.square(covariance).sum())
    return float(np.trace(covariance)) ** 2 / square if square > 0 else 0.0


def components_for(covariance: np.ndarray, share: float = 0.9) -> int:
    """Fewest principal components that hold `share` (0 to 1) of the variance of `[U, U]`."""
    values = np.linalg.eigvalsh(covariance)[::-1].clip(0)
    if not values.sum() > 0:
        return 0
    return int(np.searchsorted(np.cumsum(values) / values.sum(), share - 1e-9)) + 1


def standard(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of a covariance `[U, U]`: 1 / deviation of the V units that vary `[V]`, and which these are,
    int `[V]`."""
    variance = np.diag(covariance)
    alive = np.flatnonzero(variance > 1e-9 * variance.max(initial=1e-30))
    return 1.0 / np.sqrt(variance[alive]), alive


def between_groups(products: np.ndarray) -> np.ndarray:
    """Sums of products `[G, G]` of all pairs of different groups, `[1 + G]`.

    The first is of all groups; the others leave out each in turn. An average over samples that
    hang together (steps of one start state) is off its mean, and its square too large; products
    of what different start states tell are not.
    """
    apart = products - np.diag(np.diag(products))
    return apart.sum() - np.concatenate([[0.0], 2 * apart.sum(0)])


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """above / below; 0 where nothing varies that groups share."""
    return np.where(below > 0, above / np.where(below > 0, below, 1.0), 0.0)


def _participation(parts: np.ndarray) -> np.ndarray:
    """Participation ratio from products of different groups, of all, then without each.

    Args:
        parts: each group's share of the covariance, `[G, U, U]`.
    """
    traces = np.trace(parts, axis1=1, axis2=2)
    above = between_groups(np.outer(traces, traces))
    return _ratio(above, between_groups(_products(parts)))


def dimensions(joint: Joint, names: Iterable[str]) -> pd.DataFrame:
    """Dimensionality of each variable.

    Returns:
        `source, units, silent` (units that never vary), `ratio` (participation ratio of the
        covariance, from products of different groups of start states: where groups share little
        it may exceed the units; `low`, `high`),
        `ratio_standardised` (the same, every unit with the same weight), `components90`
        (components that hold 90 % of the variance, of the covariance as it is: few start states
        make them too few).
    """
    rows = []
    for name in names:
        whole = joint.covariance(name, name)
        parts = joint.parts(name, name)
        estimate = jackknife(*_first_and_rest(_participation(parts)))
        scale, alive = standard(whole)
        even = parts[:, alive][:, :, alive] * scale[:, None] * scale
        rows.append(
            {
                "source": name,
                "units": len(whole),
                "silent": len(whole) - len(scale),
                "ratio": estimate.value,
                "low": estimate.low,
                "high": estimate.high,
                "ratio_standardised": float(_participation(even)[0]),
                "components90": components_for(whole),
            }
        )
    return pd.DataFrame(rows)


def cka(xx: np.ndarray, xy: np.ndarray, yy: np.ndarray) -> float:
    """Linear CKA from covariances: |Cxy|² / (|Cxx| |Cyy|), Frobenius; in [0, 1].

    Blind to rotation and to isotropic scale. Samples that do not hang together must be many
    more than units: else what shares nothing looks alike, as it does not in `cka_table`.
    """
    norm = np.sqrt(np.square(xx).sum() * np.square(yy).sum())
    return float(np.square(xy).sum() / norm) if norm > 0 else 0.0


def linear_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Linear CKA of two arrays of the same n samples, `[n, U]` and `[n, V]`.

    Raises:
        ConfigError: they have different numbers of samples.
    """
    if len(x) != len(y):
        raise ConfigError(f"x and y have {len(x)} and {len(y)} samples")
    x, y = x - x.mean(0), y - y.mean(0)
    return cka(x.T @ x, x.T @ y, y.T @ y)


def cka_table(joint: Joint, names: Iterable[str]) -> pd.DataFrame:
    """Linear CKA of every pair: `a, b, cka, low, high` (95 % over groups).

    From products of different groups of start states, so that slow activity that shares nothing
    comes to nearly 0 on average (to units / start states², for the mean that they share), and
    may fall below it.
    """
    names = list(names)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i:]]
    sums = {p: between_groups(_products(joint.parts(*p))) for p in pairs}
    rows = []
    for a, b in pairs:
        own = sums[a, a].clip(0) * sums[b, b].clip(0)
        estimate = jackknife(*_first_and_rest(_ratio(sums[a, b], np.sqrt(own))))
        rows.append(
            {
                "a": a,
                "b": b,
                "cka": estimate.value,
                "low": estimate.low,
                "high": estimate.high,
            }
        )
    return pd.DataFrame(rows)


def _products(parts: np.ndarray) -> np.ndarray:
    """Frobenius products `[G, G]` of matrices `[G, U, V]`."""
    flat = parts.reshape(len(parts), -1)
    return flat @ flat.T


def _first_and_rest(x: np.ndarray) -> tuple[float, np.ndarray]:
    return float(x[0]), x[1:]


def dissimilarity(x: np.ndarray) -> np.ndarray:
    """Representational dissimilarity `[n, n]`: Euclidean distance of standardised activity."""
    deviation = x.std(0)
    alive = deviation > 1e-6 * deviation.max(initial=1e-30)
    z = (x[:, alive] - x[:, alive].mean(0)) / deviation[alive]
    square = np.square(z).sum(1)
    return np.sqrt(np.maximum(square[:, None] + square - 2 * z @ z.T, 0.0))


def rsa(
    x: dict[str, np.ndarray],
    start: np.ndarray,
    *,
    samples: int = RSA_SAMPLES,
    groups: int = 10,
    seed: int = 0,
) -> pd.DataFrame:
    """Spearman correlation of dissimilarities between every pair of sources.

    Pairs of steps of episodes that began in the same state are left out: they are alike
    because they are near in time, or because of their start.

    Args:
        x: source → activity `[n, U]`.
        start: start state of each sample's episode, int `[n]`.
        samples: steps drawn.

    Returns:
        `a, b, rho, low, high`; the interval leaves out groups of start states.
    """
    rng = np.random.default_rng(seed)
    n = len(start)
    drawn = np.sort(rng.choice(n, min(samples, n), replace=False))
    i, j = np.triu_indices(len(drawn), 1)
    ids = start[drawn]
    apart = ids[i] != ids[j]
    i, j = i[apart], j[apart]
    ranks = np.stack(
        [stats.rankdata(dissimilarity(v[drawn])[i, j]) for v in x.values()]
    ).astype(np.float32)
    ranks -= ranks.mean(1, keepdims=True, dtype=np.float64)
    _, dense = np.unique(ids, return_inverse=True)
    group = dense % groups
    whole = Ranks.of(ranks)
    rho = whole.correlation()
    left_out = np.stack(
        [
            whole.without(ranks[:, (group[i] == g) | (group[j] == g)]).correlation()
            for g in range(groups)
        ]
    )
    names, rows = list(x), []
    for m, a in enumerate(names):
        for n, b in enumerate(names[m:], m):
            estimate = jackknife(rho[m, n], left_out[:, m, n])
            rows.append(
                {
                    "a": a,
                    "b": b,
                    "rho": estimate.value,
                    "low": estimate.low,
                    "high": estimate.high,
                }
            )
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Ranks:
    """Sums over pairs of the ranks of S sources, from which pairs can be taken away."""

    count: int
    total: np.ndarray  # [S]
    products: np.ndarray  # [S, S]

    @classmethod
    def of(cls, ranks: np.ndarray) -> "Ranks":
        """Of ranks `[S, pairs]`."""
        products = (ranks @ ranks.T).astype(np.float64)
        return cls(ranks.shape[1], ranks.sum(1, dtype=np.float64), products)

    def without(self, ranks: np.ndarray) -> "Ranks":
        """Those of the other pairs."""
        part = Ranks.of(ranks)
        return Ranks(
            self.count - part.count,
            self.total - part.total,
            self.products - part.products,
        )

    def correlation(self) -> np.ndarray:
        """Pearson correlation of the ranks, `[S, S]`."""
        mean = self.total / self.count
        covariance = self.products / self.count - np.outer(mean, mean)
        deviation = np.sqrt(np.diag(covariance).clip(1e-30))
        return covariance / np.outer(deviation, deviation)


def matrix(table: pd.DataFrame, value: str) -> pd.DataFrame:
    """A table of pairs (`a, b, value`) as a symmetric matrix, in the table's order."""
    names = list(dict.fromkeys([*table["a"], *table["b"]]))
    square = pd.DataFrame(np.nan, index=names, columns=names)
    for a, b, v in zip(table["a"], table["b"], table[value], strict=True):
        square.loc[a, b] = square.loc[b, a] = v
    return square
