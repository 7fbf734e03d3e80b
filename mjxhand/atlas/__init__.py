"""Areas, cells and pathways of the human hand network: the tables a brain is made from.

`load()` reads the bundled tables, or a folder that `python -m mjxhand.atlas refresh` wrote;
`find(name)` gives a whole network. Nothing here needs the internet; docs/atlas.md says what
the tables hold and what they do not show.
"""

from pathlib import Path

from mjxhand.atlas import folder
from mjxhand.atlas.brains import BUNDLED, PRESETS, derive, find, notes
from mjxhand.atlas.model import AreaPlan, Atlas, AtlasPathway, Pair, Region
from mjxhand.atlas.network_table import parse, render

__all__ = [
    "BUNDLED",
    "PRESETS",
    "AreaPlan",
    "Atlas",
    "AtlasPathway",
    "Pair",
    "Region",
    "derive",
    "find",
    "load",
    "notes",
    "parse",
    "render",
]


def load(path: str | Path | None = None) -> Atlas:
    """The atlas of a folder; by default the bundled one.

    Raises:
      ConfigError: a table is missing or wrong; one line that names it.
    """
    return folder.load(BUNDLED if path is None else Path(path))
