"""A whole brain as a table of text, and back.

    area    units    layers  cell  receives           feedback  label
    SSC     64       2       -     touch              -         somatosensory cortex
    M1      32       1       *     SSC,goal           -         primary motor cortex
    policy  -        -       -     M1                 -         -
    value   64,64    -       -     SSC,M1,privileged  -         -

Columns are separated by blanks, lists by commas; `-` is nothing and `#` begins a comment.
`area`, `units` and `receives` are needed; `label`, if there, comes last and may hold blanks.
`cell`: `-` feed-forward, `*` the network's cell, or `lstm`, `gru`, `rnn`. `feedback`: areas whose
activity arrives one control step late. The rows `policy` and `value` are the heads; the units of
`value` are its hidden layers (`-`: 512,512).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mjxhand.atlas import tables
from mjxhand.config import ConfigError
from mjxhand.wiring import HEADS, Area, Pathway, Wiring

_LABEL = "label"


def _units(cell: str) -> tuple[int, ...]:
    return tuple(tables.count(part) for part in tables.names(cell))


_COLUMNS: dict[str, Callable[[str], Any]] = {
    "area": tables.text,
    "units": _units,
    "layers": lambda cell: None if cell == tables.EMPTY else tables.count(cell),
    "cell": tables.maybe,
    "receives": tables.names,
    "feedback": tables.names,
    _LABEL: tables.maybe,
}
_NEEDED = ("area", "units", "receives")


def parse(text: str, where: str = "the table") -> Wiring:
    """The wiring that a table describes. Whether it can work is for `wiring.check`.

    Raises:
      ConfigError: a column or a head is missing, or an entry is wrong; one line.
    """
    lines = [
        (number, line.partition("#")[0].strip())
        for number, line in enumerate(text.splitlines(), 1)
    ]
    lines = [(number, line) for number, line in lines if line]
    header = lines[0][1].split() if lines else []
    for name in _NEEDED:
        if name not in header:
            raise ConfigError(f"{where}: the header lacks the column {name}")
    for name in header:
        if name not in _COLUMNS or header.count(name) > 1:
            raise ConfigError(
                f"{where}: column {name} is unknown or double; available: "
                f"{', '.join(_COLUMNS)}"
            )
    if _LABEL in header[:-1]:
        raise ConfigError(f"{where}: the column {_LABEL} must be the last")
    rows = [_row(header, number, line, where) for number, line in lines[1:]]
    heads = {row["area"]: row for row in rows if row["area"] in HEADS}
    for head in HEADS:
        if head not in heads:
            raise ConfigError(f"{where} lacks the row {head}: what that head reads")
        if [row["area"] for row in rows].count(head) > 1:
            raise ConfigError(f"{where} has the row {head} twice")
        allowed = ("units", "receives") if head == "value" else ("receives",)
        for name in ("units", "layers", "cell", "feedback"):
            if name not in allowed and heads[head][name] not in (None, "", ()):
                raise ConfigError(
                    f"{where}: the row {head} has only {' and '.join(allowed)}, no {name}"
                )
    rows = [row for row in rows if row["area"] not in HEADS]
    areas = tuple(_area(row, where) for row in rows)
    pathways = [Pathway(s, r["area"]) for r in rows for s in r["receives"]]
    pathways += [
        Pathway(s, r["area"], delayed=True) for r in rows for s in r["feedback"]
    ]
    value = heads["value"]
    return Wiring(
        areas=areas,
        pathways=tuple(pathways),
        policy=heads["policy"]["receives"],
        value=value["receives"],
        **({"value_units": value["units"]} if value["units"] else {}),
    )


def _row(header: list[str], number: int, line: str, where: str) -> dict[str, Any]:
    cells = line.split(None, len(header) - 1 if header[-1] == _LABEL else -1)
    if len(cells) != len(header):
        raise ConfigError(
            f"{where}, line {number}: {len(cells)} entries under {len(header)} columns"
        )
    row: dict[str, Any] = {"layers": None, "cell": "", "feedback": (), _LABEL: ""}
    for name, cell in zip(header, cells, strict=True):
        try:
            row[name] = _COLUMNS[name](cell.strip())
        except ValueError as error:
            raise ConfigError(
                f"{where}, line {number}: {name} is {cell.strip()!r}: {error}"
            ) from None
    return row


def _area(row: dict[str, Any], where: str) -> Area:
    if len(row["units"]) != 1:
        raise ConfigError(f"{where}: area {row['area']} needs one number of units")
    cell = row["cell"]
    return Area(
        name=row["area"],
        units=row["units"][0],
        layers=1 if row["layers"] is None else row["layers"],
        recurrent=bool(cell),
        cell=None if cell in ("", "*") else cell,
        label=row[_LABEL],
    )


def render(wiring: Wiring, *notes: str) -> str:
    """The text that `parse` reads as `wiring`, whose names `wiring.check` has passed.

    ConfigError if a label holds a `#`.
    """
    rows = [tuple(_COLUMNS)]
    for area in wiring.areas:
        if "#" in area.label:
            raise ConfigError(
                f"the label of area {area.name} is {area.label!r}: a # begins a comment in "
                "tables; leave it out"
            )
        inputs = wiring.inputs(area.name)
        cell = (area.cell or "*") if area.recurrent else tables.EMPTY
        rows.append(
            (
                area.name,
                str(area.units),
                str(area.layers),
                cell,
                _list(p.source for p in inputs if not p.delayed),
                _list(p.source for p in inputs if p.delayed),
                area.label or tables.EMPTY,
            )
        )
    none = tables.EMPTY
    value_units = _list(str(units) for units in wiring.value_units)
    rows.append(("policy", none, none, none, _list(wiring.policy), none, none))
    rows.append(("value", value_units, none, none, _list(wiring.value), none, none))
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    lines = [f"# {note}" for note in notes]
    for row in rows:
        pad = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join(pad).rstrip())
    return "\n".join(lines) + "\n"


def _list(names) -> str:
    return ",".join(names) or tables.EMPTY


def read(path: Path) -> Wiring:
    """The wiring of a file."""
    return parse(tables.read_text(path), str(path))
