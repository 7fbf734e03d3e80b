"""Tables on disk: CSV for everybody, Parquet as well where a library writes it."""

import importlib.util
import json
import os
from pathlib import Path

import pandas as pd

from mjxhand.config import ConfigError
from mjxhand.storage import write_text_atomically

FORMAT = 2
"""Of what is written. In 1 each network was asked for commands of its own, and CKA was of all
pairs of samples: its numbers do not compare."""
SUMMARY = "summary.json"
FOLDER = "tables"
WRITERS = ("pyarrow", "fastparquet")
"""Libraries of which pandas needs one to write Parquet."""

Tables = dict[str, pd.DataFrame]


def parquet() -> bool:
    """Whether Parquet can be written here."""
    return any(importlib.util.find_spec(name) for name in WRITERS)


def save(out: Path, tables: Tables, facts: dict) -> None:
    """Write tables, and how they were made.

    Raises:
        ConfigError: the folder cannot be written.
    """
    folder = out / FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # An earlier analysis leaves nothing behind that this one did not compute.
        for old in folder.iterdir():
            if old.suffix == ".parquet" or (
                old.suffix == ".csv" and old.stem not in tables
            ):
                old.unlink()
        for name, table in tables.items():
            text = table.to_csv(index=False, float_format="%.6g")
            write_text_atomically(folder / f"{name}.csv", text)
            if parquet():
                hidden = folder / f".{name}.parquet.tmp"
                table.to_parquet(hidden, index=False)
                os.replace(hidden, folder / f"{name}.parquet")
        text = json.dumps({"format": FORMAT} | facts, indent=1)
        write_text_atomically(out / SUMMARY, text + "\n")
    except OSError as error:
        raise ConfigError(f"cannot write to {out}: {error.strerror}") from None


def load(out: Path) -> tuple[Tables, dict]:
    """What `save` wrote.

    Raises:
        ConfigError: there is none, or one of another version.
    """
    try:
        facts = json.loads((out / SUMMARY).read_text())
    except OSError:
        raise ConfigError(f"{out} holds no analysis (no {SUMMARY})") from None
    except ValueError:
        facts = None
    if not isinstance(facts, dict):
        raise ConfigError(f"{out / SUMMARY} is damaged: analyse that run anew")
    if facts.get("format", 1) != FORMAT:
        raise ConfigError(
            f"{out} was written by another version, whose numbers do not compare: analyse that "
            "run anew"
        )
    paths = sorted((out / FOLDER).glob("*.csv"))
    tables = {}
    for path in paths:
        try:
            tables[path.stem] = pd.read_csv(path)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"cannot read {path}: {error}; analyse that run anew"
            ) from None
    return tables, facts
