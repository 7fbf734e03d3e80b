"""What a run writes: `metrics.jsonl` and TensorBoard events."""

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from mjxhand.progress import Progress as Progress
from mjxhand.storage import write_text_atomically

FILE = "metrics.jsonl"


class Metrics:
    """Appends one JSON object per update to `metrics.jsonl`, and the same to TensorBoard.

    Args:
        run_dir: folder of the run.
        resume_at: updates done before; lines of later ones, and a half-written last line,
            are dropped, so that no update is there twice or missing.
    """

    def __init__(self, run_dir: str | Path, resume_at: int = 0):
        self.path = Path(run_dir) / FILE
        _keep_until(self.path, resume_at)
        self._file = self.path.open("a", encoding="utf-8")
        self._board = _open_board(Path(run_dir), resume_at)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, line: Mapping[str, Any]) -> None:
        """Write one update's numbers; `line["update"]` counts from 1. NaN becomes null."""
        finite = {name: _finite(value) for name, value in line.items()}
        self._file.write(json.dumps(finite, allow_nan=False) + "\n")
        self._file.flush()
        if self._board is None:
            return
        try:
            for name, value in finite.items():
                if value is not None and name != "update":
                    tag = name if "/" in name else f"run/{name}"
                    self._board.add_scalar(tag, value, line["update"])
        except OSError as error:
            self._board = _no_board(error)

    def close(self) -> None:
        """Close both files."""
        self._file.close()
        if self._board is not None:
            self._board.close()


def read(run_dir: str | Path) -> list[dict[str, Any]]:
    """The lines of a run's `metrics.jsonl`; a half-written last one is left out."""
    return [line for _, line in _lines(Path(run_dir) / FILE)]


def _finite(value: Any) -> int | float | None:
    number = value if isinstance(value, int) else float(value)
    return number if math.isfinite(number) else None


def _lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Whole lines of a metrics file as text and object."""
    if not path.exists():
        return []
    whole = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines(True):
        try:
            line = json.loads(text)
        except ValueError:
            break  # cut off when the run was killed; nothing after it can be trusted
        if text.endswith("\n") and isinstance(line, dict):
            whole.append((text, line))
    return whole


def _keep_until(path: Path, update: int) -> None:
    kept = [text for text, line in _lines(path) if line.get("update", 0) <= update]
    if path.exists():
        write_text_atomically(path, "".join(kept))


def _open_board(run_dir: Path, resume_at: int) -> Any:
    """A TensorBoard writer; None, and one line on stderr, if it cannot write."""
    from tensorboardX import SummaryWriter

    try:
        # Later points of an earlier, killed process are hidden from `purge_step` on.
        return SummaryWriter(str(run_dir), purge_step=resume_at + 1, flush_secs=10)
    except OSError as error:
        return _no_board(error)


def _no_board(error: OSError) -> None:
    print(f"warning: no TensorBoard events ({error})", file=sys.stderr)
