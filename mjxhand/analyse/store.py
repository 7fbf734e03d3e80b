"""Tables on disk: CSV for everybody, Parquet as well where a library writes it."""

import importlib.util
import json
import os
from pathlib import Path

import pandas as pd

from mjxhand.config import ConfigError
from mjxhand.storage import write_text_atomically

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
        write_text_atomically(out / SUMMARY, json.dumps(facts, indent=1) + "\n")
    except OSError as error:
        raise ConfigError(f"cannot write to {out}: {error.strerror}") from None


def load(out: Path) -> tuple[Tables, dict]:
    """What `save` wrote.

    Raises:
        ConfigError: there is none.
    """
    try:
        facts = json.loads((out / SUMMARY).read_text())
    except (OSError, ValueError):
        raise ConfigError(f"{out} holds no analysis (no {SUMMARY})") from None
    paths = sorted((out / FOLDER).glob("*.csv"))
    return {p.stem: pd.read_csv(p) for p in paths}, facts
