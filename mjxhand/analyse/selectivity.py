"""Abstraction: which senses drive a unit, alone and together.

Encoding models: a unit's activity from the senses, cross-validated over groups of start
states. What a sense adds to all others is its own; a unit to which more than one
sense adds is mixed. Products of the senses' leading components show mixing that no sum explains.

Reference: Rigotti et al. 2013, Nature 497 (mixed selectivity, linear and nonlinear).
"""

import numpy as np
import pandas as pd

from mjxhand.analyse import moments, ridge, threads
from mjxhand.analyse.gather import Kept
from mjxhand.analyse.moments import Joint

OWN = 0.01
"""Least share of a unit's variance that a sense must add to count."""
PRODUCT_COMPONENTS = 3
"""Leading components of each sense whose products enter."""


def encode(joint: Joint, area: str, senses: tuple[str, ...]) -> pd.DataFrame:
    """Encoding of each unit of an area that varies.

    Returns:
        `unit, all` (R² from all senses), and for each sense `alone SENSE` (R² from it),
        `own SENSE` (R² that it adds to the others) and `low SENSE` (lower end of that).
    """
    found = joint.moments(senses, [area])
    varies = ~ridge.constant(found)
    found = found.targets(varies)
    edges = np.cumsum([0, *(joint.sizes[s] for s in senses)])
    columns = np.arange(edges[-1])
    whole = ridge.cross_validate(found)
    table = {"unit": np.flatnonzero(varies), "all": whole.r2()}
    for sense, a, b in zip(senses, edges[:-1], edges[1:], strict=True):
        inside = (columns >= a) & (columns < b)
        alone = ridge.cross_validate(found.predictors(inside))
        without = ridge.cross_validate(found.predictors(~inside))
        name = short(sense)
        table[f"alone {name}"] = alone.r2()
        own = whole.r2() - without.r2()
        left_out = whole.leave_one_out() - without.leave_one_out()
        g = len(left_out)
        error = np.sqrt((g - 1) / g * np.square(left_out - left_out.mean(0)).sum(0))
        table[f"own {name}"] = own
        table[f"low {name}"] = own - ridge.t_quantile(g) * error
    return pd.DataFrame(table)


def short(name: str) -> str:
    """An array's name without its prefix: `sense/touch` is `touch`."""
    return name.rpartition("/")[2]


def mixing(table: pd.DataFrame, senses: tuple[str, ...]) -> pd.DataFrame:
    """How many senses drive each unit, from `encode`'s table.

    Returns:
        `unit, senses` (how many count: they add more than `OWN`, and surely more than
        nothing), `index`: (Σ own)² / Σ own² over those, 1 for one sense, their number for equal
        shares, NaN where none counts.
    """
    names = [short(s) for s in senses]
    own = table[[f"own {n}" for n in names]].to_numpy()
    low = table[[f"low {n}" for n in names]].to_numpy()
    counts = (own > OWN) & (low > 0)
    # What adds next to nothing is noise, and noise of many senses looks like mixing.
    own = np.where(counts, own, 0.0)
    square = np.where(counts.any(1), np.square(own).sum(1), np.nan)
    return pd.DataFrame(
        {
            "unit": table["unit"],
            "senses": counts.sum(1),
            "index": np.square(own.sum(1)) / square,
        }
    )


def products(kept: Kept, senses: tuple[str, ...]) -> np.ndarray:
    """Products of pairs of the senses' leading components, `[n, ...]`."""
    lead = []
    for sense in senses:
        x = kept.sources[sense]
        z = (x - x.mean(0)) / np.maximum(x.std(0), 1e-6)
        _, _, vectors = np.linalg.svd(z[:: max(1, len(z) // 4000)], full_matrices=False)
        p = z @ vectors[:PRODUCT_COMPONENTS].T
        lead.append(p / np.maximum(p.std(0), 1e-6))
    # Tails would rule the fit: components are cut at four deviations.
    z = np.concatenate(lead, axis=1).clip(-4, 4)
    i, j = np.triu_indices(z.shape[1])
    return z[:, i] * z[:, j]


def nonlinear_gain(
    kept: Kept, area: str, senses: tuple[str, ...], groups: int
) -> float:
    """Mean share of the units' variance that products of the senses add to their sum."""
    y = kept.sources[area]
    linear = np.concatenate([kept.sources[s] for s in senses], axis=1)
    both = np.concatenate([linear, products(kept, senses)], axis=1)
    found = moments.of(both, y, kept.group, groups)
    varies = ~ridge.constant(found)
    found = found.targets(varies)
    plain = ridge.cross_validate(found.predictors(slice(0, linear.shape[1])))
    return float(np.nanmean(ridge.cross_validate(found).r2() - plain.r2()))


def summary(
    joint: Joint,
    kept: Kept,
    areas: tuple[str, ...],
    senses: tuple[str, ...],
    groups: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Selectivity of every area, and of every unit.

    Returns:
        By area: `source, units` (that vary), `all`, `alone …`, `own …` (means over units),
        `driven` (share of units that some sense drives), `mixed` (that more than one does),
        `index` (mean over those that are driven),
        `nonlinear` (what products add). By unit: `encode` and `mixing` together.
    """

    def one(area: str):
        table = encode(joint, area, senses)
        return table, nonlinear_gain(kept, area, senses, groups)

    rows, units = [], []
    for area, (table, gain) in threads.each(one, areas):
        both = table.merge(mixing(table, senses), on="unit")
        means = {
            c: table[c].mean() for c in table if c.startswith(("all", "alone", "own"))
        }
        rows.append(
            {"source": area, "units": len(table)}
            | means
            | {
                "driven": (both["senses"] > 0).mean(),
                "mixed": (both["senses"] > 1).mean(),
                "index": both["index"].mean(),
                "nonlinear": gain,
            }
        )
        units.append(both.assign(source=area))
    return pd.DataFrame(rows), pd.concat(units, ignore_index=True)
