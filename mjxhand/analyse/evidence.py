"""What paired differences are made of: every R², and the same without each group of start states.

Two sources, or two networks, that saw the same steps share their groups. The interval of their
difference is the jackknife over the differences, group by group; whether one interval includes 0
and another does not is no test of it (Gelman & Stern 2006, Am. Stat. 60).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mjxhand.analyse.ridge import Blocks, Estimate

WITHOUT = "without "
"""Columns of a table: `without 0`, `without 1`, …"""


def row(source: str, window: str, target: str, found: Blocks) -> dict:
    """A row of the table: `source, window, target, r2, without 0 …`."""
    left_out = {f"{WITHOUT}{g}": value for g, value in enumerate(found.left_out)}
    names = {"source": source, "window": window, "target": target}
    return {**names, "r2": found.value, **left_out}


class Evidence:
    """Reads the table of `row`s of both networks, with the columns `policy` and `area`."""

    def __init__(self, table: pd.DataFrame):
        self.areas = self._names(table, "area/")
        self._without = [c for c in table if str(c).startswith(WITHOUT)]
        keys = table[["policy", "area", "window", "target"]].itertuples(index=False)
        self._place = {tuple(key): i for i, key in enumerate(keys)}
        self._table = table

    @staticmethod
    def _names(table: pd.DataFrame, prefix: str) -> tuple[str, ...]:
        rows = table["source"].str.startswith(prefix)
        return tuple(dict.fromkeys(table["area"][rows]))

    def of(self, policy: str, area: str, window: str, target: str) -> Blocks | None:
        """R² of a target from an area or sense; None where there is none.

        Args:
            policy: `trained` or `untrained`; what both share, as senses, is found under either.
        """
        for who in (policy, "both"):
            place = self._place.get((who, area, window, target))
            if place is not None:
                found = self._table.iloc[place]
                left_out = found[self._without].to_numpy(np.float64)
                return Blocks(float(found["r2"]), left_out)
        return None

    def gap(
        self, policy: str, a: str, b: str, window: str, target: str
    ) -> Blocks | None:
        """R² from `a` minus that from `b`; None where one is missing."""
        pair = [self.of(policy, area, window, target) for area in (a, b)]
        return None if pair[0] is None or pair[1] is None else pair[0] - pair[1]


@dataclass(frozen=True)
class Part:
    """A quantity that a claim says is above 0, of both networks; None: not measured."""

    name: str
    trained: Blocks | None
    untrained: Blocks | None
    least: float = 0.0
    """What the trained network must exceed, such as chance."""

    @property
    def difference(self) -> Estimate | None:
        """Trained minus untrained, paired."""
        if self.trained is None or self.untrained is None:
            return None
        return (self.trained - self.untrained).estimate()

    @property
    def found(self) -> bool:
        """Whether the trained network has it."""
        return self.trained is not None and self.trained.estimate().low > self.least

    @property
    def learned(self) -> bool:
        """Whether it has it, and more of it than the untrained one."""
        gap = self.difference
        return self.found and gap is not None and gap.low > 0
