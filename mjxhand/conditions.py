"""Runs that differ in their seed alone are one condition: means over seeds, and differences.

Seeds differ by more than the episodes of one run do, so an interval of one run says little
about the settings it was trained with.

Reference: Welch 1947, Biometrika 34 (difference of two means whose variances are not equal).
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import special

from mjxhand.tally import half_width


def rows(
    settings: Sequence[tuple[str, ...]], found: Sequence[Mapping[str, float]]
) -> list[tuple[str, ...]]:
    """Rows of a table, a column for each condition; none where no condition has two seeds.

    Of runs with one seed (`repeated`) the first counts: they are one sample.

    Args:
        settings: rows (name, value in each run) of the settings that differ.
        found: what was measured of each run, by name; of a run without a measure, nothing.
    """
    own = [row for row in settings if row[0] != "seed"]
    again = repeated(settings, len(found))
    members: dict[tuple[str, ...], list[int]] = {}
    for run in range(len(found)):
        if run not in again:
            members.setdefault(tuple(row[1 + run] for row in own), []).append(run)
    if max(map(len, members.values())) < 2:
        return []
    heads = [
        ", ".join(f"{row[0]} {value}" for row, value in zip(own, key, strict=True))
        for key in members
    ]
    table = [("over seeds", *(head or "all runs" for head in heads))]
    for name in dict.fromkeys(name for run in found for name in run):
        groups = [
            np.array([found[run][name] for run in runs if name in found[run]])
            for runs in members.values()
        ]
        table.append((name, *map(_mean, groups)))
        if len(groups) > 1:
            less = (_difference(each, groups[0]) for each in groups[1:])
            table.append(("less the first", "", *less))
    return table


def repeated(settings: Sequence[tuple[str, ...]], runs: int) -> dict[int, int]:
    """Runs that have all settings of an earlier one, seed included, such as copies: of which."""
    first: dict[tuple[str, ...], int] = {}
    keys = [tuple(row[1 + run] for row in settings) for run in range(runs)]
    places = [first.setdefault(key, run) for run, key in enumerate(keys)]
    return {run: place for run, place in enumerate(places) if run != place}


def _mean(x: np.ndarray) -> str:
    if not len(x):
        return "–"
    half = f" ± {half_width(x):.2f}" if len(x) > 1 else ""
    return f"{x.mean():.2f}{half} ({len(x)} run{'s' * (len(x) > 1)})"


def _difference(x: np.ndarray, y: np.ndarray) -> str:
    if not len(x) or not len(y):
        return "–"
    said = f"{x.mean() - y.mean():+.2f}"
    return f"{said} ± {welch(x, y):.2f}" if min(len(x), len(y)) > 1 else said


def welch(x: np.ndarray, y: np.ndarray) -> float:
    """Half of the 95 % interval of the difference of two means, of two or more numbers each."""
    parts = np.array([each.var(ddof=1) / len(each) for each in (x, y)])
    if not parts.any():
        return 0.0
    freedom = np.array([len(x), len(y)]) - 1
    degrees = parts.sum() ** 2 / (parts**2 / freedom).sum()
    return float(special.stdtrit(degrees, 0.975)) * math.sqrt(parts.sum())
