"""Text tables: tab-separated, a header, `#` comments; every value checked as it is read."""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mjxhand.config import ConfigError

EMPTY = "-"
"""An entry that holds nothing."""


def read(
    path: Path, columns: Mapping[str, Callable[[str], Any]], key: Sequence[str] = ()
) -> list[dict]:
    """Rows of a table, {column: value}.

    Args:
      columns: name and converter of each column, in any order. A converter raises
        ValueError, whose text says what it wanted.
      key: columns whose entries, taken together, no two rows may share.

    Raises:
      ConfigError: no file, another header, a row of another length, a wrong value, a
        second row of a key; one line that gives the file and the line's number.
    """
    lines = _lines(path)
    if not lines:
        raise ConfigError(f"{path} is empty; it must begin with {' '.join(columns)}")
    header = lines[0][1].split("\t")
    wrong = set(header) ^ set(columns)
    if wrong or len(header) != len(columns):
        raise ConfigError(
            f"{path} has the columns {' '.join(header)}; it must have "
            f"{' '.join(columns)}, separated by tabs"
        )
    rows = []
    seen: dict[tuple, int] = {}
    for number, line in lines[1:]:
        cells = line.split("\t")
        if len(cells) != len(header):
            raise ConfigError(
                f"{path}, line {number}: {len(cells)} entries under {len(header)} columns"
            )
        row = {}
        for name, cell in zip(header, cells, strict=True):
            try:
                row[name] = columns[name](cell.strip())
            except ValueError as error:
                raise ConfigError(
                    f"{path}, line {number}: {name} is {cell.strip()!r}: {error}"
                ) from None
        entries = tuple(row[name] for name in key)
        first = seen.setdefault(entries, number) if key else number
        if first != number:
            raise ConfigError(
                f"{path}, line {number}: {', '.join(entries)} stands in line {first} too"
            )
        rows.append(row)
    return rows


def _lines(path: Path) -> list[tuple[int, str]]:
    """Numbered lines that are neither blank nor comments."""
    lines = enumerate(read_text(path).splitlines(), 1)
    return [(n, s) for n, s in lines if s.strip() and not s.startswith("#")]


def read_text(path: Path) -> str:
    """A text file, with or without a byte-order mark, its lines ended by a newline each.

    ConfigError, one line, if it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        problem = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot read {path}: {problem}") from None


def render(columns: Sequence[str], rows: Iterable[Sequence[Any]], *notes: str) -> str:
    """Text of a table; floats in their shortest form, None as `-`."""
    lines = [f"# {note}" for note in notes] + ["\t".join(columns)]
    lines += ["\t".join(_text(value) for value in row) for row in rows]
    return "\n".join(lines) + "\n"


def _text(value: Any) -> str:
    if value is None or value == "":
        return EMPTY
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def text(cell: str) -> str:
    """Some text, not empty."""
    if not cell or cell == EMPTY:
        raise ValueError("give a text")
    return cell


def maybe(cell: str) -> str:
    """Some text, or `-` for none."""
    return "" if cell == EMPTY else text(cell)


def names(cell: str) -> tuple[str, ...]:
    """Names separated by commas, or `-` for none."""
    return () if cell == EMPTY else tuple(text(c.strip()) for c in cell.split(","))


def number(cell: str) -> float:
    """A finite number."""
    try:
        value = float(cell)
    except ValueError:
        raise ValueError("give a number") from None
    if not math.isfinite(value):
        raise ValueError("give a finite number")
    return value


def amount(cell: str) -> float:
    """A finite number, not below 0."""
    value = number(cell)
    if value < 0:
        raise ValueError("give a number that is not negative")
    return value


def count(cell: str) -> int:
    """A whole number, not below 0."""
    value = amount(cell)
    if value != int(value):
        raise ValueError("give a whole number")
    return int(value)


def one_of(*choices: str) -> Callable[[str], str]:
    """A converter that takes one of `choices`."""

    def convert(cell: str) -> str:
        if cell not in choices:
            raise ValueError(f"choose one of {', '.join(choices)}")
        return cell

    return convert


def sha256(path: Path) -> str:
    """SHA-256 of a table's text, whatever ends its lines."""
    return hashlib.sha256(read_text(path).encode()).hexdigest()
