"""Areas, cells and pathways of the human hand network: the tables the brain is made from.

`load()` reads the bundled tables, or a folder that `python -m mjxhand.atlas refresh` wrote.
Nothing here needs a network; docs/atlas.md says what the tables hold and what they do not show.
"""

from pathlib import Path

from mjxhand.atlas import folder
from mjxhand.atlas.model import AreaPlan, Atlas, AtlasPathway, Pair, Region

__all__ = [
    "BUNDLED",
    "AreaPlan",
    "Atlas",
    "AtlasPathway",
    "Pair",
    "Region",
    "load",
]

BUNDLED = Path(__file__).parent / "data"


def load(path: str | Path | None = None) -> Atlas:
    """The atlas of a folder; by default the bundled one.

    Raises:
      ConfigError: a table is missing or wrong; one line that names it.
    """
    return folder.load(BUNDLED if path is None else Path(path))
