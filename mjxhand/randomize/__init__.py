"""Domain randomisation: what may differ between episodes, as one table.

`--env.randomize all` switches every row on, `--env.randomize friction,delay` those named.
Each start state of the pool (`EnvParams.pool`) comes with a world of its own, drawn from
the table, in which it has settled; a reset draws a state and its world together, and the
world stays until the next reset (`curriculum.keep_state` begins episodes without one).
`python -m mjxhand.randomize` prints the table.

Rows that change the MjModel are written into a copy of it on the host, whose derived
constants C MuJoCo makes again (`mj_setConst`); the back ends are given the parts of it that
can differ, see `parts`.
"""

from mjxhand.randomize.table import SIZES, TABLE, Row, label, markdown, rows_of
from mjxhand.randomize.world import (
    World,
    draw,
    moving_links,
    parts,
    sample,
    variant_of,
    write,
)

__all__ = [
    "SIZES",
    "TABLE",
    "Row",
    "World",
    "draw",
    "label",
    "markdown",
    "moving_links",
    "parts",
    "rows_of",
    "sample",
    "variant_of",
    "write",
]
